"""The architecture, as the source states it: imports run one way, and the rules reach nothing impure."""

import ast
from pathlib import Path

import pytest

from tests.support.sources import ROOT, closure, imported, nodes_of, parsed, tree_of

# Each package with those of ours that it may import.
MAY_IMPORT = {"ledger": {"ledger"}, "node": {"ledger", "node"}, "cli": {"ledger", "node", "cli"}}
PURE = ("ledger", "node/consensus")
IMPURE = {
    "aiohttp",
    "asyncio",
    "builtins",
    "click",
    "concurrent",
    "ctypes",
    "datetime",
    "glob",
    "importlib",
    "io",
    "locale",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "platform",
    "plyvel",
    "plyvel_next",
    "prometheus_client",
    "queue",
    "random",
    "secrets",
    "select",
    "shutil",
    "signal",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "time",
    "urllib",
    "uuid",
    "zoneinfo",
}
IMPURE_CALLS = {"open", "print", "input", "id", "hash", "exec", "eval", "__import__", "breakpoint"}
# What a module reaches all the same: the generated code of a module's records when one is first asked for
# (docs/decisions/0019), and the interpreter's version.
MAY_REACH = {
    "ledger/encoding/recordcode.py": ["importlib", "importlib.import_module"],
    "ledger/selftest.py": ["sys"],
}
# One module makes files durable and gives them their names: where fsync is not enough, it is so for all.
DURABLE = "node/files/durablefile.py"
HOMELESS = {"utils", "util", "common", "helpers", "helper", "manager", "handler", "base", "misc"}
# The verifier is what a bank reads and installs: neither execution nor anything of the node.
VERIFIER_NEVER = {
    "ledger.rules.transition",
    "ledger.chain.execution",
    "node",
    "aiohttp",
    "plyvel",
    "plyvel_next",
    "click",
}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def find_wrong_ways(source: str, package: str) -> list[str]:
    return [
        name
        for name in imported(parsed(source))
        if name.startswith(".")
        or (
            name.split(".")[0] in {*MAY_IMPORT, "tests", "bench"}
            and name.split(".")[0] not in MAY_IMPORT[package]
        )
    ]


def find_impurities(source: str) -> list[str]:
    tree = parsed(source)
    found = [name for name in imported(tree) if name.split(".")[0] in IMPURE]
    calls = (node.func for node in nodes_of(tree) if isinstance(node, ast.Call))
    return found + [call.id for call in calls if isinstance(call, ast.Name) and call.id in IMPURE_CALLS]


@pytest.mark.parametrize("package", list(MAY_IMPORT))
def test_imports_run_one_way(package: str) -> None:
    files = sources(package)
    assert files
    wrong = {name_of(path): find_wrong_ways(path.read_text(), package) for path in files}
    assert {name: found for name, found in wrong.items() if found} == {}


@pytest.mark.parametrize("folder", PURE)
def test_the_rules_reach_no_clock_disk_socket_thread_logger_or_chance(folder: str) -> None:
    files = sources(folder)
    assert files
    impure = {name_of(path): find_impurities(path.read_text()) for path in files}
    found = {name: found for name, found in impure.items() if found}
    assert found == {name: calls for name, calls in MAY_REACH.items() if name.startswith(folder)}


def test_the_consensus_core_uses_nothing_of_the_node_but_itself() -> None:
    for path in sources("node/consensus"):
        foreign = [
            name
            for name in imported(parsed(path.read_text()))
            if name.startswith("node") and not name.startswith("node.consensus")
        ]
        assert foreign == [], name_of(path)


def test_the_verifier_loads_neither_the_transition_nor_anything_of_a_node() -> None:
    loaded = closure("ledger.verifier")
    assert "ledger.trust" in loaded and "ledger.trees.statetree" in loaded, "the walk finds what is loaded"
    assert {
        name for name in loaded if name in VERIFIER_NEVER or name.split(".")[0] in VERIFIER_NEVER
    } == set()


def test_no_module_is_named_after_nothing() -> None:
    for path in sources("ledger", "node", "cli", "tests"):
        words = set(path.relative_to(ROOT).with_suffix("").as_posix().replace("_", "/").split("/"))
        assert not words & HOMELESS, name_of(path)


def test_every_module_says_what_it_is() -> None:
    for path in sources("ledger", "node", "cli", "tests"):
        assert ast.get_docstring(tree_of(path)), name_of(path)


def test_packages_hold_no_logic() -> None:
    for path in sources("ledger", "node", "cli"):
        if path.name == "__init__.py":
            kinds = {type(node) for node in parsed(path.read_text()).body}
            assert kinds <= {ast.Expr, ast.Import, ast.ImportFrom, ast.Assign}, name_of(path)


def find_renames_and_syncs(source: str) -> list[str]:
    """Return the calls that rename a file or sync one. Path.replace takes one argument, str.replace two."""
    found = []
    for call in (each for each in nodes_of(parsed(source)) if isinstance(each, ast.Call)):
        match call:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="os"), attr="replace" | "rename" | "renames")):
                found.append(ast.unparse(call.func))
            case ast.Call(func=ast.Attribute(attr="fsync" | "fdatasync")):
                found.append(ast.unparse(call.func))
            case ast.Call(func=ast.Attribute(attr="replace" | "rename"), args=[_], keywords=[]):
                found.append(ast.unparse(call.func))
            case _:
                pass
    return found


def test_one_module_gives_files_their_names_and_syncs_them() -> None:
    found = {
        name_of(path): find_renames_and_syncs(path.read_text()) for path in sources("ledger", "node", "cli")
    }
    # It replaces the values of an overlay.
    assert found.pop("node/storage/store.py") == ["self._values.replace"]
    assert found.pop(DURABLE) == ["source.replace"]
    assert set(found.pop("node/files/system.py")) == {"os.fdatasync", "os.fsync"}
    assert {name: calls for name, calls in found.items() if calls} == {}


@pytest.mark.parametrize(
    "source",
    ["os.replace(a, b)", "os.rename(a, b)", "os.fsync(1)", "fresh.replace(path)", "fresh.rename(path)"],
)
def test_the_search_for_renames_would_notice(source: str) -> None:
    assert find_renames_and_syncs(source)
    assert find_renames_and_syncs("text.replace(a, b); files.rename(a, b); replace(record, a=1)") == []


def find_definitions(tree: ast.Module) -> set[str]:
    """Return what a module names at its top level. A decorator may have taken a function or class elsewhere."""
    found = set()
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
            case (
                ast.FunctionDef(name=name, decorator_list=[])
                | ast.AsyncFunctionDef(name=name, decorator_list=[])
                | ast.ClassDef(name=name)
            ):
                found.add(name)
            case _:
                pass
    return {name for name in found if not name.startswith("__")}


def find_unused(module: str, source: str, used_elsewhere: set[str]) -> set[str]:
    tree = parsed(source)
    loaded = {
        node.id for node in nodes_of(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    return {name for name in find_definitions(tree) - loaded if f"{module}.{name}" not in used_elsewhere}


def test_nothing_is_named_that_nobody_uses() -> None:
    files = sources("ledger", "node", "cli", "tests", "bench", "examples")
    used = {name for path in files for name in imported(tree_of(path))}
    for path in sources("ledger", "node", "cli"):
        module = name_of(path.with_suffix("")).replace("/", ".")
        assert find_unused(module, path.read_text(), used) == set(), name_of(path)


def test_the_search_for_what_nobody_uses_would_notice() -> None:
    source = "A = 1\nB: int = A\ndef f(): return C\nC = 2\nclass D: pass\n@f\ndef g(): pass\n"
    source += "async def h(): pass\n__all__ = []\n"
    assert find_unused("m", source, {"m", "m.f"}) == {"B", "D", "h"}


def find_broad_handlers(source: str) -> list[int]:
    return [
        node.lineno
        for node in nodes_of(parsed(source))
        if isinstance(node, ast.ExceptHandler)
        and (
            node.type is None
            or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException"))
        )
    ]


def test_the_rules_catch_nothing_that_they_do_not_name() -> None:
    for path in sources(*PURE):
        assert find_broad_handlers(path.read_text()) == [], name_of(path)


def test_one_module_names_a_signature_algorithm_and_one_a_hash() -> None:
    for path in sources("ledger", "node/consensus"):
        roots = {name.split(".")[0] for name in imported(parsed(path.read_text()))}
        assert path.name == "keys.py" or not roots & {"nacl", "cryptography"}, name_of(path)
        assert path.name == "digests.py" or not roots & {"hashlib", "hmac"}, name_of(path)


@pytest.mark.parametrize(
    "source",
    ["import time", "from os import path", "import os.path", "def f():\n    import socket", "open('x')"],
)
def test_the_search_for_impurity_would_notice(source: str) -> None:
    assert find_impurities(source)


@pytest.mark.parametrize(
    "source", ["import node.replica.driver", "from cli import main", "from . import keys", "import tests"]
)
def test_the_search_for_wrong_ways_would_notice(source: str) -> None:
    assert find_wrong_ways(source, "ledger")
    assert find_broad_handlers("try:\n    pass\nexcept Exception:\n    pass\n") == [3]
