"""The page of formats says what operations do and how they are refused: no more than the rules, and no less."""

import ast
import re
from typing import Final, get_args

import pytest

from ledger.chain.execution import BeyondLimits
from ledger.encoding.codec import decode
from ledger.errors import SignatureError
from ledger.rules import proposals, state
from ledger.rules.operations import OPERATION_CLASSES, Operation, RotateKey, WrongChain
from ledger.rules.proposals import Change
from tests.ledger.rules.test_recorded_once import SCENES
from tests.support.consortium import Ledger, make_transaction
from tests.support.sources import ROOT

SECTION: Final = (
    (ROOT / "docs" / "formats.md")
    .read_text("utf-8")
    .partition("\n## Effects of operations\n")[2]
    .partition("\n## ")[0]
)
# Refusals that are raised as an error of their own.
NAMED: Final = {WrongChain.code, BeyondLimits.code, SignatureError.code}
LEAVES: Final = {
    value.TAG: name
    for module in (state, proposals)
    for name, value in vars(module).items()
    if isinstance(value, type) and hasattr(value, "TAG") and hasattr(value, "state_key")
}


def find_rows(head: str, section: str = SECTION) -> list[list[str]]:
    """Return the cells of the table with this first heading."""
    table = section.partition(f"\n| {head} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row[1:-1].split("|")] for row in table]


def find_tags(cell: str) -> list[str]:
    return re.findall(r"`([a-z_]+)`", cell)


def find_codes(cell: str) -> set[str]:
    """Return the codes with which a cell's parts begin; what follows says when."""
    found: set[str] = set()
    for part in cell.split("; "):
        leading = re.match(r"(?:`[a-z-]+`(?:, | and )?)*", part)
        assert leading is not None, "nothing is a match too"
        found.update(re.findall(r"`([a-z-]+)`", leading[0]))
    return found


def page_codes(section: str = SECTION) -> set[str]:
    rows = [*find_rows("on", section), *find_rows("operation | by", section), *find_rows("change", section)]
    succession = section.partition("A succession is refused with ")[2].partition("\n\n")[0]
    cells = [*(row[-1] for row in rows), " ".join(succession.split())]
    return {code for cell in cells for code in find_codes(cell)}


def raised_codes(source: str) -> set[str]:
    """Return every code that a module refuses with."""
    return {
        str(keyword.value.value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant)
        if isinstance(keyword.value.value, str)
    }


def rules_codes() -> set[str]:
    sources = [path.read_text("utf-8") for path in sorted((ROOT / "ledger" / "rules").glob("*.py"))]
    return set().union(NAMED, *map(raised_codes, sources))


def test_every_code_of_the_rules_is_on_the_page_and_no_other() -> None:
    assert page_codes() == rules_codes()


def test_no_code_is_made_where_this_test_does_not_look() -> None:
    """A refusal names its code where it is raised: no variable, no position."""
    for path in sorted((ROOT / "ledger" / "rules").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Refused":
                named = {keyword.arg: keyword.value for keyword in node.keywords}
                assert isinstance(named.get("code"), ast.Constant), f"{path.name}:{node.lineno}"


def test_every_operation_has_its_row_and_no_other_has() -> None:
    listed = {find_tags(row[0])[0] for row in find_rows("operation | by")}
    assert listed == {each.TAG for each in OPERATION_CLASSES}


def test_every_operation_says_what_refuses_it_once_it_is_recorded() -> None:
    listed = [tag for row in find_rows("operation | what refuses it") for tag in find_tags(row[0])]
    assert sorted(listed) == sorted(each.TAG for each in OPERATION_CLASSES)


def test_every_change_has_its_row_and_no_other_has() -> None:
    listed = [tag for row in find_rows("change") for tag in find_tags(row[0])]
    assert sorted(listed) == sorted(change.TAG for change in get_args(Change))


def row_of(operation: Operation) -> tuple[str, ...]:
    """Return what an operation's row begins with: its tag, and the role where that decides."""
    return (operation.TAG, operation.role) if isinstance(operation, RotateKey) else (operation.TAG,)


def leaves_written() -> dict[tuple[str, ...], set[str]]:
    """Return which leaves each operation writes where it is recorded."""
    found: dict[tuple[str, ...], set[str]] = {}
    for scene in SCENES:
        ledger = Ledger.start()
        shown = scene(ledger)
        executed = ledger.record(make_transaction(shown.sender, shown.operation))
        tags = {decode(value)[0] for value in executed.overlay.values.values()}  # type: ignore[index]
        found.setdefault(row_of(shown.operation), set()).update(LEAVES[str(tag)] for tag in tags)
    return found


def test_every_row_names_the_leaves_that_its_operation_writes_and_no_other() -> None:
    named = {
        tuple(find_tags(row[0])): {
            word for word in re.findall(r"[A-Z]\w+", row[2]) if word in LEAVES.values()
        }
        for row in find_rows("operation | by")
    }
    assert named == leaves_written()


@pytest.mark.parametrize(
    ("before", "after"),
    [("`not-wider`", "`wider`"), ("`quorum-lost`: ", ""), ("`named-member`: the change", "the change")],
)
def test_the_search_for_codes_would_notice(before: str, after: str) -> None:
    assert page_codes(SECTION.replace(before, after)) != rules_codes()
    assert raised_codes('raise Refused(code="new-code", where="", expected="", found="")') == {"new-code"}
