"""One concept, one word: the glossary defines each once, and the words that it rules out do not come back."""

import ast
import re
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.sources import ROOT, nodes_of, parsed

PAGE = (ROOT / "docs" / "glossary.md").read_text("utf-8")
# Names that had their day, as a text shows them. They stay in the changelog, in the glossary's last column, and where
# results name the modules of their commit.
RETIRED = re.compile(
    r"\b(?:doors?|Door\w*|crowns?|shel(?:f|ves)|SealedHeader|sealed header|spare states?|SpareState|arrivals|Arrivals"
    r"|DeskService|open_pair|PairError|ledger[./](?:pairs|answers|ahead)|node[./](?:desk|jobs|questions|doors)"
    r"|effects\.Evidence|trust\.Certified)\b"
)
TEXTS = ("ledger", "node", "cli", "bench", "examples", "scenarios", "docs", "web")
SUFFIXES = {".py", ".md", ".html", ".toml", ".java"}
MAY_NAME_THEM = {"docs/glossary.md"}
# A pair of anything but document and proof, and what a form's field is called for good.
MAY_HAVE = {
    "pair": {"ledger/encoding/records.py", "node/client/issuing/batchtree.py"},
}


def rows_of(page: str) -> list[tuple[list[str], str, list[str]]]:
    """Return each row: its words, what they mean, and the words that it rules out."""
    rows = []
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 3 and cells[0] not in ("word", "---"):
            rows.append((cells[0].split(", "), cells[1], [word for word in cells[2].split(", ") if word]))
    return rows


def find_repeated(page: str) -> list[str]:
    counts = Counter(word for words, _, _ in rows_of(page) for word in words)
    return [word for word, count in counts.items() if count > 1]


def names_in(source: str) -> Iterator[str]:
    """Yield every name that a module gives to something."""
    for node in nodes_of(parsed(source)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def words_of(name: str) -> str:
    """Return the words of a name, lower case, in the singular, each with a space about it."""
    parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)
    return " ".join(["", *(part.lower().removesuffix("s") for part in parts), ""])


def find_ruled_out(source: str, ruled_out: set[str]) -> set[str]:
    return {
        f"{name}: {word}"
        for name in names_in(source)
        for word in ruled_out
        if f" {word.removesuffix('s')} " in words_of(name)
    }


def test_no_word_is_defined_twice() -> None:
    assert len(rows_of(PAGE)) > 100
    assert find_repeated(PAGE) == []


def test_no_word_that_is_ruled_out_is_defined() -> None:
    defined = {word for words, _, _ in rows_of(PAGE) for word in words}
    assert {word for _, _, out in rows_of(PAGE) for word in out} & defined == set()


def test_what_is_ruled_out_names_nothing_in_the_code() -> None:
    ruled_out = {word for _, _, out in rows_of(PAGE) for word in out}
    for folder in ("ledger", "node", "cli"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            place = path.relative_to(ROOT).as_posix()
            judged = ruled_out - {word for word, places in MAY_HAVE.items() if place in places}
            assert find_ruled_out(path.read_text("utf-8"), judged) == set(), place
            assert not any(f" {word} " in words_of(path.stem) for word in judged), place


def test_retired_words_do_not_come_back() -> None:
    paths = [path for folder in TEXTS for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    paths += [*ROOT.glob("*.md"), *(ROOT / "tests").rglob("*.py")]
    found = {}
    for path in paths:
        place = path.relative_to(ROOT).as_posix()
        if place in MAY_NAME_THEM | {"CHANGELOG.md", "tests/house/test_glossary.py"}:
            continue
        words = RETIRED.findall(path.read_text("utf-8"))
        if words and "reliability-results" not in place:
            found[place] = words
    assert found == {}


@pytest.mark.parametrize("word", [word for _, _, out in rows_of(PAGE) for word in out])
def test_a_name_with_a_word_that_is_ruled_out_is_noticed(word: str) -> None:
    snake, camel = word.replace(" ", "_"), word.title().replace(" ", "")
    assert find_ruled_out(f"def load_{snake.removesuffix('s')}s(): pass", {word})
    assert find_ruled_out(f"class {camel}Error(Exception): pass", {word})
    assert find_ruled_out(f"self.{snake}_count = 1", {word})
    assert not find_ruled_out(f"un{snake.replace('_', '')} = 1", {word})


def test_the_searches_would_notice() -> None:
    page = "| word | means | not |\n| --- | --- | --- |\n| leaf, root | a | |\n| tip | b | top |\n| root | c | |\n"
    assert find_repeated(page) == ["root"]
    assert rows_of(page)[1] == (["tip"], "b", ["top"])
    for text in (
        "a door",
        "class DoorError",
        "the crown of",
        "a SealedHeader",
        "node/desk/form.py",
        "ledger.pairs",
    ):
        assert RETIRED.search(text), text
    for text in ("indoors", "outdoor", "shelfish", "the desk of a clerk", "ledger.bundles", "ahead"):
        assert not RETIRED.search(text), text
