"""The page of stable outputs names every key that a command prints with `--json`, and every code that an error has.

Rule 1: a command's keys are those of the objects that it and what it calls in `cli/` write out, at any depth. What the
library makes (verdicts, records) has its own page.
Rule 2: a code is written as `code="…"`, as a class's `code = "…"`, or where a function takes one by its place.
Rule 3: both are compared in both directions: what is printed and not named, and what is named and not printed.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module

import click

from cli.program import COMMANDS
from tests.support.sources import ROOT

PAGE = (ROOT / "docs" / "stability.md").read_text("utf-8")
FORMATS = (ROOT / "docs" / "formats.md").read_text("utf-8")
# How an error looks is shown on the page already.
OF_ERRORS = ("cli.output", "cli.exits")
# What is written for others than whoever asked: an environment, sample files, a question at the terminal.
NO_ANSWERS = {
    "cli.processes._ps": {"LC_ALL"},
    "cli.demo._write_samples": {"sample", "kind", "person", "score"},
    "cli.consent.grant": {"en"},
}
# Records of `cli/` that are answers as they are, by who prints them.
RECORDS = {
    "cli.network.up": ("cli.processes.NetworkFile", "cli.processes.ListedNode"),
    "cli.network.status": ("cli.processes.ListedNode",),
}
CODE = re.compile(r"[a-z]+(?:-[a-z]+)*")
# What stands at the root of the tree, for classes that all have codes of their own.
NEVER_TOLD = {"error"}


def section(page: str, heading: str) -> str:
    return page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


# -- keys ----------------------------------------------------------------------------------------------------


@cache
def modules() -> dict[str, ast.Module]:
    return {f"cli.{path.stem}": ast.parse(path.read_text("utf-8")) for path in (ROOT / "cli").glob("*.py")}


def functions_of(module: str, tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield f"{module}.{node.name}", node


@cache
def functions() -> dict[str, ast.AST]:
    return dict(pair for module, tree in modules().items() for pair in functions_of(module, tree))


@cache
def meanings(module: str) -> dict[str, str]:
    """Return what each name in a module means, where it is a function or class of `cli/`."""
    tree = modules()[module]
    known = {name.rpartition(".")[2]: name for name, _ in functions_of(module, tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cli"):
            known |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
    return known


def keys_of(name: str, seen: set[str] | None = None) -> set[str]:
    """Return the keys that a function of `cli/` writes out, with those of whatever it calls there (rule 1)."""
    seen = set() if seen is None else seen
    module = name.rpartition(".")[0]
    if name in seen or name not in functions() or module in OF_ERRORS:
        return set()
    seen.add(name)
    found = written_in(functions()[name]) - NO_ANSWERS.get(name, set())
    found |= {key for record in RECORDS.get(name, ()) for key in fields_of(functions()[record])}
    for node in ast.walk(functions()[name]):
        if isinstance(node, ast.Name) and node.id in meanings(module):
            found |= keys_of(meanings(module)[node.id], seen)
    return found


def fields_of(record: ast.AST) -> set[str]:
    """Return the fields of a record class."""
    declared = [node.target for node in ast.walk(record) if isinstance(node, ast.AnnAssign)]
    return {target.id for target in declared if isinstance(target, ast.Name)}


def written_in(tree: ast.AST) -> set[str]:
    """Return the keys of the objects that some code writes: literals, and what is put into one later."""
    found: set[str] = set()
    for node in ast.walk(tree):
        keys: list[ast.expr | None] = []
        if isinstance(node, ast.Dict):
            keys = node.keys
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            keys = [node.slice]
        found |= {key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
    return found


def commands() -> Iterator[tuple[str, str]]:
    """Yield every command, as it is typed, with its function."""
    for name, entry in COMMANDS.items():
        module = import_module(entry.module)
        yield from _commands_below(f"luohu {name}", getattr(module, entry.name))


def _commands_below(typed: str, command: click.Command) -> Iterator[tuple[str, str]]:
    if isinstance(command, click.Group):
        for name in command.commands:
            yield from _commands_below(f"{typed} {name}", command.commands[name])
        return
    yield typed, _name_of(command.callback)


def _name_of(callback: object) -> str:
    """Return the name of a command's function, looking through what a decorator of ours makes of it."""
    function = inspect.unwrap(callback)  # type: ignore[arg-type]
    while "<locals>" in function.__qualname__:
        (function,) = filter(inspect.isfunction, inspect.getclosurevars(function).nonlocals.values())
    return f"{function.__module__}.{function.__name__}"


def named_keys(page: str) -> dict[str, set[str]]:
    """Return the keys that the page names for each command."""
    table = section(page, "The command").partition("| command | keys |\n")[2].partition("\n\n")[0]
    rows = [line.split("|")[1:3] for line in table.splitlines()[1:]]
    return {
        typed: set(re.findall(r"`([\w-]+)`", keys))
        for names, keys in rows
        for typed in re.findall(r"`(luohu [a-z -]+)`", names)
    }


def find_wrong_keys(page: str) -> list[str]:
    """Return what the page says of keys that is not so, and what it leaves out."""
    named, printed = named_keys(page), {typed: keys_of(function) for typed, function in commands()}
    wrong = [f"{typed} is no command" for typed in named.keys() - printed.keys()]
    for typed, keys in printed.items():
        wrong += [f"{typed}: the page lacks {key}" for key in sorted(keys - named.get(typed, set()))]
        wrong += [f"{typed} prints no {key}" for key in sorted(named.get(typed, set()) - keys)]
    return wrong


def test_the_page_names_every_key_that_a_command_prints_and_no_other() -> None:
    assert find_wrong_keys(PAGE) == []


def test_what_the_page_leaves_out_or_invents_is_found() -> None:
    assert "luohu anchor: the page lacks waiting_count" in find_wrong_keys(
        PAGE.replace("`waiting_count`", "")
    )
    invented = PAGE.replace("`waiting_count`", "`waiting_count`, `invented`", 1)
    assert [each for each in find_wrong_keys(invented) if "invented" in each] == [
        "luohu anchor prints no invented"
    ]
    assert "luohu anchors is no command" in find_wrong_keys(
        PAGE.replace("| `luohu anchor` |", "| `luohu anchors` |")
    )


def test_keys_are_found_in_literals_and_where_they_are_put_in_later() -> None:
    source = 'def f():\n    value = {"a": 1, **others, b: 2}\n    value["c"] = value["d"]\n'
    assert written_in(ast.parse(source)) == {"a", "c"}
    assert fields_of(ast.parse("class R:\n    a: int\n    b: str = ''\n    c = 1\n")) == {"a", "b"}


# -- codes ---------------------------------------------------------------------------------------------------


def takers_in(tree: ast.AST) -> dict[str, int]:
    """Return the functions of a module that take a code by its place, with that place."""
    found: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            names = [each.arg for each in node.args.args]
            if "code" in names:
                found[node.name] = names.index("code")
        elif isinstance(node, ast.ImportFrom) and any(each.name == "refuse" for each in node.names):
            found["refuse"] = 1
    return found


def defaults_of(function: ast.FunctionDef) -> list[ast.expr]:
    """Return what a function takes for a code where it is given none."""
    arguments = function.args
    pairs = [*zip(arguments.args[::-1], arguments.defaults[::-1], strict=False)]
    pairs += [
        (name, value)
        for name, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if value is not None
    ]
    return [value for name, value in pairs if name.arg == "code"]


def codes_in(tree: ast.AST) -> set[str]:
    """Return the codes that a module gives to errors (rule 2)."""
    values: list[ast.expr] = []
    takers = takers_in(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "code":
            values.append(node.value)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(each, ast.Name) and each.id == "code" for each in targets):
                values.append(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in takers:
            place = takers[node.func.id]
            values += node.args[place : place + 1]
        elif isinstance(node, ast.FunctionDef):
            values += defaults_of(node)
    parts = [
        each
        for value in values
        if not isinstance(value, ast.Call | ast.JoinedStr | ast.Subscript)
        for each in ast.walk(value)
    ]
    found = {each.value for each in parts if isinstance(each, ast.Constant) and isinstance(each.value, str)}
    constants = constants_in(tree)
    found |= {constants[each.id] for each in parts if isinstance(each, ast.Name) and each.id in constants}
    return {each for each in found if CODE.fullmatch(each)}


def constants_in(tree: ast.AST) -> dict[str, str]:
    """Return the texts that a module gives names to."""
    return {
        node.target.id: node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and node.target.id.isupper()
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }


@cache
def given_codes() -> set[str]:
    found: set[str] = set()
    for top in ("ledger", "node", "cli"):
        for path in (ROOT / top).rglob("*.py"):
            found |= codes_in(ast.parse(path.read_text("utf-8")))
    return found


@cache
def codes_of_formats() -> set[str]:
    """Return what the page of formats names where it says what refuses a document, a bundle or an operation."""
    sections = ("Verification", "Effects of operations", "Bundle")
    told = "".join(section(FORMATS, heading) for heading in sections)
    return set(re.findall(r"`([a-z]+(?:-[a-z]+)*)`", told))


def named_codes(page: str) -> set[str]:
    """Return the codes that the page's own table names."""
    table = section(page, "Error codes").partition("| codes | what they say |\n")[2].partition("\n\n")[0]
    return set(
        re.findall(r"`([a-z]+(?:-[a-z]+)*)`", "".join(line.split("|")[1] for line in table.splitlines()[1:]))
    )


def find_wrong_codes(page: str) -> list[str]:
    """Return the codes that neither page names, and those of the table that nothing gives."""
    named, given = named_codes(page), given_codes() - NEVER_TOLD
    wrong = [f"the page lacks {code}" for code in sorted(given - codes_of_formats() - named)]
    return wrong + [f"nothing gives {code}" for code in sorted(named - given)]


def test_the_pages_name_every_code_and_no_other() -> None:
    assert len(given_codes()) > 140
    assert find_wrong_codes(PAGE) == []


def test_a_code_that_is_left_out_or_invented_is_found() -> None:
    assert find_wrong_codes(PAGE.replace("`register-missing`", "")) == ["the page lacks register-missing"]
    invented = PAGE.replace("| `register-missing`", "| `never-given`, `register-missing`")
    assert find_wrong_codes(invented) == ["nothing gives never-given"]


def test_codes_are_found_however_they_are_given() -> None:
    source = (
        "class A(E):\n    code = 'of-a-class'\n"
        "def f(where, code):\n    raise E(code='by-name' if where else 'or-so')\n"
        "f('where', 'by-place')\nf('a-where', g('not-this'))\n"
        "from node.api.route import refuse\nrefuse(503, 'of-a-route', 'place')\n"
        "def h(*, code='by-default', found='nothing'): ...\n"
        "NAMED: Final = 'of-a-constant'\nOTHER: Final = 'no-code'\nraise E(code=NAMED)\n"
    )
    expected = {"of-a-class", "by-name", "or-so", "by-place", "of-a-route", "by-default", "of-a-constant"}
    assert codes_in(ast.parse(source)) == expected
