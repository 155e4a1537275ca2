"""One shape of error and one tree of errors: the docstring of ledger/errors.py draws what the classes are."""

import ast
import importlib
import inspect
import re
from collections.abc import Callable, Iterator

import pytest

import ledger.errors
from ledger.errors import LedgerError, LuohuError
from node.errors import SetupError, VoteLogError
from tests.support.sources import ROOT, module_of, nodes_of, parsed

PACKAGES = ("ledger", "node", "cli")
CALLERS = (*PACKAGES, "tests", "bench", "examples")
PARTS = {"where", "expected", "found", "code", "cure"}
LINE = re.compile(r"    (?P<indent>(?:  )*)(?P<name>\w+) {2,}\S.*")

Tree = dict[str, str | None]
"""Each class with the one of ours above it, if there is one."""


def is_ours(kind: type[BaseException]) -> bool:
    return kind.__module__.partition(".")[0] in PACKAGES


def below(kind: type[BaseException]) -> Iterator[type[BaseException]]:
    for each in kind.__subclasses__():
        yield each
        yield from below(each)


def find_errors() -> set[type[BaseException]]:
    """Return every exception that a module of ours defines."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            importlib.import_module(module_of(path).removesuffix(".__init__"))
    return {each for each in below(BaseException) if is_ours(each)}


def tree_of(errors: set[type[BaseException]]) -> Tree:
    above = {each.__name__: each.__bases__[0] for each in errors}
    assert len(above) == len(errors), "each name is that of one class"
    return {name: base.__name__ if is_ours(base) else None for name, base in above.items()}


def read_tree(docstring: str) -> Tree:
    """Return the tree that the indented lines of a docstring draw."""
    tree: Tree = {}
    path: list[str] = []
    for line in docstring.splitlines():
        if not line.startswith("    "):
            continue
        found = LINE.fullmatch(line)
        assert found, f"expected a name, two spaces and what it means, found {line!r}"
        depth, name = len(found["indent"]) // 2, found["name"]
        assert depth <= len(path), f"expected a class above {name}, found none"
        assert name not in tree, f"expected {name} once, found it twice"
        path[depth:] = [name]
        tree[name] = path[depth - 1] if depth else None
    return tree


def find_positional_parameters(kind: type[BaseException]) -> list[str]:
    parameters = inspect.signature(kind).parameters.values()
    return [each.name for each in parameters if each.kind is not inspect.Parameter.KEYWORD_ONLY]


def find_kept_parts(source: str) -> set[tuple[str, str]]:
    """Return each class that keeps a part of an error on itself, with the part."""
    return {
        (kind.name, node.attr)
        for kind in nodes_of(parsed(source))
        if isinstance(kind, ast.ClassDef)
        for node in ast.walk(kind)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
        and node.attr in PARTS
    }


def find_positional_calls(source: str, module: str | None = None) -> list[int]:
    """Return the lines of a module that make a `LuohuError` with an argument that has no name."""
    tree = parsed(source)
    places = [
        (each.module, alias.name, alias.asname or alias.name)
        for each in nodes_of(tree)
        if isinstance(each, ast.ImportFrom) and (each.module or "").partition(".")[0] in PACKAGES
        for alias in each.names
    ]
    places += [(module, each.name, each.name) for each in tree.body if isinstance(each, ast.ClassDef)]
    errors = set()
    for origin, name, known_as in places:
        found = getattr(importlib.import_module(origin), name, None) if origin else None
        if isinstance(found, type) and issubclass(found, LuohuError):
            errors.add(known_as)
    return [
        call.lineno
        for call in nodes_of(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id in errors
        and call.args
    ]


def test_the_docstring_draws_the_tree_of_all_errors() -> None:
    assert read_tree(inspect.getdoc(ledger.errors) or "") == tree_of(find_errors())


@pytest.mark.parametrize(
    ("drawing", "complaint"),
    [
        ("    A  a\n      B  b\n      B  b", "found it twice"),
        ("    A  a\n          C  c", "expected a class above C"),
        ("    A\n", "expected a name"),
    ],
)
def test_a_drawing_that_is_no_tree_is_refused(drawing: str, complaint: str) -> None:
    assert read_tree("Title.\n\n    A  a\n      B  b\n    C  c") == {"A": None, "B": "A", "C": None}
    with pytest.raises(AssertionError, match=complaint):
        read_tree(drawing)


def test_every_error_is_made_with_keywords_alone() -> None:
    errors = [each for each in find_errors() if issubclass(each, LuohuError)]
    assert errors
    assert {each.__name__: found for each in errors if (found := find_positional_parameters(each))} == {}
    make: Callable[..., LuohuError] = LuohuError
    with pytest.raises(TypeError):
        make("place", "one", "two")


def test_only_the_base_keeps_the_parts_of_an_error() -> None:
    names = {each.__name__ for each in find_errors() if issubclass(each, LuohuError)}
    kept = {
        (kind, part)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for kind, part in find_kept_parts(path.read_text())
        if kind in names
    }
    assert kept == {("LuohuError", part) for part in PARTS}


def test_no_error_is_made_with_an_argument_that_has_no_name() -> None:
    found = {}
    for folder in CALLERS:
        for path in (ROOT / folder).rglob("*.py"):
            module = module_of(path) if folder in PACKAGES else None
            if lines := find_positional_calls(path.read_text(), module):
                found[module_of(path)] = lines
    assert found == {}


def test_the_searches_would_notice() -> None:
    class Positional(Exception):
        def __init__(self, where: str, *, cure: str) -> None: ...

    assert find_positional_parameters(Positional) == ["where"]
    source = "class A:\n    def __init__(self): self.cure = 1\n    def f(self): self.other = self.found\n"
    assert find_kept_parts(source) == {("A", "cure")}
    source = (
        "from ledger.errors import LedgerError as Wrong\nraise Wrong('a', expected='b')\nWrong(where='a')\n"
    )
    assert find_positional_calls(source) == [2]
    source = "from ledger.rules.state import Revoked\nRevoked('fraud', 3, 4)\n"
    assert find_positional_calls(source) == [], "a record of the same name as an error"


def test_an_error_says_its_parts_in_one_order() -> None:
    refused = LedgerError(where="height", expected="3", found="4")
    assert f"{refused}" == "height: expected 3, found 4"
    assert (refused.code, refused.cure) == ("invalid", None)
    assert f"{LedgerError(where='', expected='3', found='4')}" == "value: expected 3, found 4"


def test_a_user_reads_the_cure_as_well() -> None:
    refused = SetupError(where="tls.crt", expected="a file", found="none", cure="name the right file")
    assert f"{refused}" == "tls.crt: expected a file, found none; name the right file"
    assert refused.code == "configuration"
    other = SetupError(where="tls.crt", expected="a file", found="none", cure="name another", code="path")
    assert (other.code, SetupError.code) == ("path", "configuration")


def test_an_error_of_the_disk_is_one_of_ours_and_of_the_system() -> None:
    error = VoteLogError(where="votes", expected="room", found="none", cure="compact it")
    assert isinstance(error, OSError) and isinstance(error, SetupError)
    assert f"{error}" == "votes: expected room, found none; compact it"
