"""No data becomes code: nothing of the program reads a form that names classes, functions or source.

Rule 1: no pickle, marshal, YAML or the like, in which data says what is called.
Rule 2: nothing evaluates or compiles text. A module is imported by its name from a closed table of ours alone.
Rule 3: processes that a command starts itself exchange pickles with it, over pipes that nobody else has: those of
node/workers.py. No listener, manager or queue that others could reach does.
"""

import ast
from collections.abc import Iterator

import pytest

from tests.support.sources import ROOT, imported, nodes_of, tree_of

FORBIDDEN = {
    "cloudpickle",
    "code",
    "codeop",
    "copyreg",
    "dill",
    "imp",
    "joblib",
    "jsonpickle",
    "logging.config",
    "marshal",
    "multiprocessing.connection",
    "multiprocessing.managers",
    "pickle",
    "pickletools",
    "runpy",
    "ruamel",
    "shelve",
    "xmlrpc",
    "yaml",
    "_pickle",
}
CALLS = {"eval", "exec", "compile", "__import__"}
IMPORTERS = {"import_module", "spec_from_file_location", "exec_module", "load_module", "find_spec"}

# Where a module is imported by its name, and whose names these are.
BY_NAME = {
    "cli/program.py": "the table of commands above it",
    "ledger/encoding/recordcode.py": "the generated code of a record class, by the name of the module that declares it",
}
# Tests may, of what they wrote themselves.
TESTS = {
    # They copy objects in memory, or in a folder of one run.
    "tests/campaigns/exploration/alone.py",
    "tests/campaigns/exploration/node.py",
    "tests/campaigns/exploration/process.py",
    "tests/campaigns/simulation/whole/parts.py",
    # It runs the script that makes the samples of a scenario.
    "tests/node/consent/test_scenarios.py",
    # It shows that a pickle is refused.
    "tests/node/replica/test_core_log.py",
}


def sources(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), tree_of(path)


def find_forms(tree: ast.AST) -> set[str]:
    return {name for name in imported(tree) if name in FORBIDDEN or name.partition(".")[0] in FORBIDDEN}


def find_calls(tree: ast.AST) -> set[str]:
    found = set()
    for node in nodes_of(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in CALLS | IMPORTERS:
                found.add(name)
            case ast.Attribute(attr=name) if name in IMPORTERS:
                found.add(name)
            case ast.Attribute(value=ast.Name(id="builtins"), attr=name) if name in CALLS:
                found.add(name)
            case _:
                pass
    return found


def test_nothing_reads_a_form_that_names_code() -> None:
    wrong = {path: find_forms(tree) for path, tree in sources("ledger", "node", "cli")}
    assert {path: found for path, found in wrong.items() if found} == {}


def test_nothing_evaluates_text_and_modules_are_imported_from_tables_alone() -> None:
    found = {path: find_calls(tree) for path, tree in sources("ledger", "node", "cli")}
    assert {path: calls for path, calls in found.items() if calls} == {
        path: {"import_module"} for path in BY_NAME
    }


def test_tests_read_such_forms_only_where_they_wrote_them() -> None:
    # A finding in a string, as in this file, is none: imports are what is looked for.
    assert {path for path, tree in sources("tests", "bench", "examples") if find_forms(tree)} == TESTS


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import os, marshal",
        "def f():\n    import shelve",
        "import yaml",
        "from multiprocessing.connection import Listener",
        "from multiprocessing import managers",
        "import logging.config",
    ],
)
def test_the_search_for_forms_would_notice(source: str) -> None:
    assert find_forms(ast.parse(source))
    assert find_forms(ast.parse("from multiprocessing import get_context\nimport json")) == set()


@pytest.mark.parametrize(
    "source",
    ["eval(x)", "exec(x)", "compile(x)", "__import__(x)", "importlib.import_module(x)", "builtins.eval(x)"],
)
def test_the_search_for_evaluation_would_notice(source: str) -> None:
    assert find_calls(ast.parse(source))
    assert find_calls(ast.parse("re.compile(x); loop.run(x)")) == set()
