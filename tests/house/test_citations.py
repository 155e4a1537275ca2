"""Every citation leads somewhere: a rule, a heading, a page, a decision, a claim of the campaigns.

Rule 1: an own rule is cited as `rule 3`; one of another module with its path, `node/replica/intake.py, rule 4`.
Rule 2: a rule of docs/consensus.md is cited as `C14`, everywhere. Rules of other pages are not cited by number.
Rule 3: a page is cited with its path; a heading follows after a comma: `docs/formats.md, State tree`. Pages link.
Rule 4: a claim of the campaigns (E, I, L, R, S with a number) is one of docs/exploration.md or docs/reliability.md, and
is cited in tests and pages only.
"""

import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.sources import ROOT

FOLDERS = ("ledger", "node", "cli", "tests", "bench", "examples", "scenarios")
PAGES = [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "tests").rglob("*.md")]
# It shows citations that lead nowhere.
OWN = "tests/house/test_citations.py"

PLACE = re.compile(r"\bdocs/[\w/-]+(?:\.\w+)*/?")
HEADING = re.compile(r"\b(docs/[\w-]+\.md), ([A-Z][^.,;:()\[\]`\"]*)")
NUMBERS = r"\d+(?:(?:, and |, | and | to |-)\d+)*"
RULES = re.compile(rf"(?:([\w/]+\.(?:py|md)), )?\b[Rr]ules? ({NUMBERS})\b")
MARK = re.compile(r"(?<![\w.#@-])([A-Z])(\d{1,2})(?![\w-])")
DECISION = re.compile(r"\b[Dd]ecisions? (\d+)")
TEXT = re.compile(r'"""(.*?)"""', re.DOTALL)
COMMENT = re.compile(r"(?:^\s*|  )#+ ?(.*)$")
# What every citation begins with, looked for before a module is taken apart.
TRIGGER = re.compile(rf"docs/|§|\b[Rr]ules?\b(?! \d+:)|\b[Dd]ecisions?\b|{MARK.pattern}")
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")


def headings_of(text: str) -> list[str]:
    return re.findall(r"^#+ (.+)$", text, re.MULTILINE)


def anchor_of(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@functools.cache
def read(place: str) -> str:
    return (ROOT / place).read_text("utf-8")


@functools.cache
def consensus_rules() -> frozenset[int]:
    return frozenset(int(number) for number in re.findall(r"^- \*\*C(\d+) ", read("docs/consensus.md"), re.M))


@functools.cache
def claims() -> frozenset[str]:
    rows = re.findall(r"^\| ((?:[ILR]\d+(?:, )?)+) \|", read("docs/reliability.md"), re.MULTILINE)
    explored = read("docs/exploration.md").partition("\n## Claims\n")[2].partition("\n## ")[0]
    return frozenset(", ".join(rows).split(", ")) | frozenset(re.findall(r"\b[ELS]\d+\b", explored))


@functools.cache
def rules_of(source: str) -> set[int]:
    """Return the numbers of the rules that a module opens with."""
    docstring = next(iter(TEXT.findall(source)), "") if source.startswith('"""') else ""
    return {int(number) for number in re.findall(r"^Rule (\d+):", docstring, re.MULTILINE)}


def numbers_in(text: str) -> set[int]:
    found: set[int] = set()
    for first, last in re.findall(r"(\d+)(?:(?: to |-)(\d+))?", text):
        found |= set(range(int(first), int(last or first) + 1))
    return found


@functools.cache
def prose_of(source: str) -> str:
    """Return the docstrings and comments of a module. Comments that follow one another are one text."""
    comments: list[str] = []
    last = -2
    for number, line in enumerate(source.splitlines()):
        found = COMMENT.search(line)
        if found:
            is_same = number == last + 1
            comments[-1:] = [f"{comments[-1]} {found[1]}"] if is_same else [*comments[-1:], found[1]]
            last = number
    return "\n\n".join([*TEXT.findall(source), *comments])


def find_unresolved(place: str, text: str) -> Iterator[str]:
    """Yield each citation in a module or a page that leads nowhere."""
    if not TRIGGER.search(text) and place.endswith(".py"):
        return
    if place.endswith(".py"):
        own_rules, prose = rules_of(text), prose_of(text)
    else:
        own_rules, prose = set(), re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        yield from find_dead_links(place, prose)
    for block in re.split(r"\n\s*\n", prose):
        yield from find_unresolved_in(place, " ".join(block.split()), own_rules)


def find_unresolved_in(place: str, text: str, own_rules: set[int]) -> Iterator[str]:
    for cited in PLACE.findall(text):
        if not ((ROOT / cited).exists() or [*(ROOT / "docs/decisions").glob(f"{Path(cited).name}-*")]):
            yield cited
    for page, phrase in HEADING.findall(text):
        known = headings_of(read(page)) if (ROOT / page).is_file() else []
        is_rule = page == "docs/consensus.md" and MARK.match(phrase)
        if not is_rule and not any(f"{phrase.strip()} ".startswith(f"{heading} ") for heading in known):
            yield f"{page}, {phrase}"
    for path, numbers in RULES.findall(text):
        known_rules = own_rules
        if path:
            known_rules = rules_of(read(path)) if path.endswith(".py") and (ROOT / path).is_file() else set()
        if numbers_in(numbers) - known_rules:
            yield f"{path} rule {numbers}".strip()
    for letter, number in MARK.findall(text):
        is_rule = letter == "C" and int(number) in consensus_rules()
        is_claim = f"{letter}{number}" in claims() and place.startswith(("tests/", "docs/"))
        if not is_rule and not is_claim:
            yield f"{letter}{number}"
    for number in DECISION.findall(text):
        if not [*(ROOT / "docs/decisions").glob(f"{int(number):04}-*")]:
            yield f"decision {number}"
    if "§" in text:
        yield "§"


def find_dead_links(place: str, text: str) -> Iterator[str]:
    for target, anchor in LINK.findall(text):
        path = (ROOT / place).parent / target if target else ROOT / place
        if not path.exists():
            yield target
        elif anchor and anchor not in map(anchor_of, headings_of(path.read_text("utf-8"))):
            yield f"{target}#{anchor}"


def cited_files() -> list[str]:
    modules = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    places = sorted(path.relative_to(ROOT).as_posix() for path in (*modules, *PAGES))
    return [place for place in places if place != OWN]


def test_every_citation_resolves() -> None:
    found = {place: [*find_unresolved(place, read(place))] for place in cited_files()}
    assert {place: cited for place, cited in found.items() if cited} == {}


def test_there_is_something_to_resolve() -> None:
    sources = [read(place) for place in cited_files() if place.endswith(".py")]
    texts = [prose_of(source) for source in sources if TRIGGER.search(source)]
    counts = {
        form.pattern: sum(len(form.findall(text)) for text in texts) for form in (PLACE, HEADING, RULES, MARK)
    }
    assert min(counts.values()) > 40, counts
    assert consensus_rules() == set(range(1, 21))
    assert {"E1", "E8", "I1", "I4", "I13", "L1", "L2", "R4"} <= claims()


RULED = '"""A module.\n\nRule 1: it is.\nRule 2: it stays.\n"""\n'


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (
            "node/x.py",
            RULED + "# rules 1 and 2; C14; docs/formats.md, State tree; docs/decisions/0015; decision 1\n",
        ),
        ("node/x.py", '"""See (ledger/trees/statetree.py, rules 1 to 7; docs/sync.md)."""'),
        ("node/x.py", RULED + "# A comment that goes on to docs/formats.md,\n# State tree and then on.\n"),
        ("tests/x.py", '"""I13, E1."""'),
        ("docs/x.md", "C20 and [formats](formats.md#state-tree)"),
    ],
)
def test_a_citation_that_leads_somewhere_is_let_through(place: str, text: str) -> None:
    assert [*find_unresolved(place, text)] == []


@pytest.mark.parametrize(
    ("place", "text", "found"),
    [
        ("node/x.py", RULED + "# rule 3\n", "rule 3"),
        ("node/x.py", RULED + "# rules 1 to 3\n", "rule 1 to 3"),
        ("node/x.py", RULED + "# docs/epochs.md, rule 1\n", "docs/epochs.md rule 1"),
        ("node/x.py", '"""Of (node/none.py, rule 1)."""', "node/none.py rule 1"),
        ("node/x.py", '"""Of (ledger/trees/statetree.py, rule 8)."""', "ledger/trees/statetree.py rule 8"),
        ("node/x.py", "def f():\n    # C21\n    pass\n", "C21"),
        ("node/x.py", 'class A:\n    """P5."""\n', "P5"),
        ("node/x.py", "# I13\n", "I13"),
        ("node/x.py", "# (docs/architecture.md, No such place)\n", "docs/architecture.md, No such place"),
        ("node/x.py", "# (docs/none.md)\n", "docs/none.md"),
        ("node/x.py", "# docs/decisions/0000\n", "docs/decisions/0000"),
        ("node/x.py", "# decision 999\n", "decision 999"),
        ("node/x.py", '"""docs/consensus.md, §1.5."""', "§"),
        ("docs/x.md", "as rule 18 says", "rule 18"),
        ("docs/x.md", "[here](none.md)", "none.md"),
        ("docs/x.md", "[here](formats.md#none)", "formats.md#none"),
    ],
)
def test_a_citation_that_leads_nowhere_is_noticed(place: str, text: str, found: str) -> None:
    assert found in [*find_unresolved(place, text)]
