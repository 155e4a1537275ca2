"""Processes are started by few modules, each of which sees to it that they end with the one that they work for.

Rule 1: outside of the modules that are listed here nothing starts a process. Each says by what its processes end.
"""

import ast
from typing import Final

import pytest

from tests.support.sources import ROOT, imported, tree_of

PACKAGES: Final = ("ledger", "node", "cli")
STARTERS: Final = frozenset(
    ("subprocess", "multiprocessing", "concurrent.futures.process", "pty", "_posixsubprocess")
)
NAMES: Final = frozenset(
    (
        *("ProcessPoolExecutor", "create_subprocess_exec", "create_subprocess_shell", "subprocess_exec"),
        "subprocess_shell",
    )
)
OF_OS: Final = frozenset(
    ("popen", "system", "fork", "forkpty", "posix_spawn", "posix_spawnp", "startfile", "spawnl", "spawnv")
)

STARTING: Final = {
    "node/workers.py": "each waits for its parent's end in a thread of its own",
    "node/sync/checkers.py": "each ends when its standard input does, a pipe of the node's",
    "node/files/folders.py": "a lifeline: it removes a folder when that ends",
    "cli/processes.py": "a lifeline, until the node is let go; `ps` is waited for",
    "cli/demo.py": "a lifeline; each command is waited for",
}
# They catch what a pool of workers raises, or read what the system says no.
STARTING_NONE: Final = {
    "cli/audit.py": "concurrent.futures.process.BrokenProcessPool",
    "cli/bulk.py": "concurrent.futures.process.BrokenProcessPool",
}


def find_starters(tree: ast.Module) -> set[str]:
    """Return what a module imports or names that can start a process."""
    found = {name for name in imported(tree) if name in STARTERS or name.rpartition(".")[0] in STARTERS}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) | ast.Name(id=name) | ast.alias(name=name) if name in NAMES:
                found.add(name)
            case ast.Attribute(value=ast.Name(id="os"), attr=name) if name in OF_OS:
                found.add(name)
            case _:
                pass
    return found


def test_processes_are_started_where_it_is_said_by_what_they_end() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): starters
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if (starters := find_starters(tree_of(path)))
    }
    for name, only in STARTING_NONE.items():
        assert found.pop(name) == {only.rpartition(".")[0], only}
    assert found.keys() == STARTING.keys() and all(STARTING.values())


@pytest.mark.parametrize(
    "source",
    [
        "import subprocess",
        "from subprocess import run",
        "def f():\n    import multiprocessing",
        "from multiprocessing import get_context",
        "from concurrent.futures import ProcessPoolExecutor",
        "import concurrent.futures\nconcurrent.futures.ProcessPoolExecutor(2)",
        "asyncio.create_subprocess_exec('a')",
        "loop.subprocess_exec(make, 'a')",
        "os.fork()",
        "os.posix_spawn('a', [], {})",
        "os.system('a')",
    ],
)
def test_the_search_would_notice(source: str) -> None:
    assert find_starters(ast.parse(source))


def test_the_search_lets_pass_what_starts_nothing() -> None:
    source = "from concurrent.futures import Future, ThreadPoolExecutor\nimport os\nos.getpid(); entry.system"
    assert find_starters(ast.parse(source)) == set()
