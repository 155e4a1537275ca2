"""Files are opened, written, removed and processes signalled by few guarded modules, and by nobody else.

Rule 1: outside the guarded modules nothing calls what opens, writes, renames or removes a file by its name, or sends a
signal by an id. What is allowed all the same is listed here, each with its reason, and no longer than it is there.
Rule 2: what reads a file, and what cannot be undone, stands with its guard in the two tables of docs/threats.md. Each
call of a guard is in its table, each row is called somewhere, and each guard exists.
"""

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.support.sources import ROOT, files_loaded_by, nodes_of, parsed, tree_of

PACKAGES: Final = ("ledger", "node", "cli")
FILES: Final = frozenset(
    ("node/files/reading.py", "node/files/durablefile.py", "node/files/folders.py", "node/files/system.py")
)
SIGNALS: Final = frozenset(("cli/processes.py",))

# What the guarded modules offer under the names of the system: a disk, which tests swap.
DISKS: Final = frozenset(("POSIX_FILES", "files", "_files", "_disk"))

# Of `os`: what touches no file by its name, and no process. All else of it is looked at.
HARMLESS_OF_OS: Final = frozenset(
    (
        *("PRIO_PROCESS", "SEEK_SET", "W_OK", "access", "close", "cpu_count", "devnull", "environ"),
        *(
            "fsdecode",
            "fsencode",
            "fspath",
            "getpid",
            "path",
            "pathsep",
            "setpriority",
            "stat_result",
            "strerror",
        ),
    )
)
SIGNALS_OF_OS: Final = frozenset(("kill", "killpg", "pidfd_open"))
MODULES: Final = frozenset(
    (
        *(
            "bz2",
            "codecs",
            "ctypes",
            "dbm",
            "fcntl",
            "fileinput",
            "glob",
            "gzip",
            "linecache",
            "lzma",
            "mmap",
        ),
        *("msvcrt", "plyvel", "plyvel_next", "posix", "pty", "runpy", "shelve", "shutil", "sqlite3"),
        *("subprocess", "tarfile", "tempfile", "zipfile"),
    )
)
OF_PATHS: Final = frozenset(
    (
        *(
            "chmod",
            "hardlink_to",
            "lchmod",
            "link_to",
            "read_bytes",
            "read_text",
            "rename",
            "rmdir",
            "rmtree",
        ),
        *("symlink_to", "touch", "unlink", "write_bytes", "write_text"),
    )
)
# Elsewhere: what takes a path, or a file to be opened later.
OF_OTHERS: Final = frozenset(
    (
        *("FileHandler", "FileIO", "FileResponse", "LazyFile", "RotatingFileHandler", "WatchedFileHandler"),
        *("add_static", "load_cert_chain", "load_verify_locations", "open_code", "fdopen"),
    )
)
OF_CLICK: Final = frozenset(("File", "edit", "launch", "open_file"))
OF_PROCESSES: Final = frozenset(("kill", "pidfd_send_signal", "send_signal", "terminate"))
# Classes are opened by a method of this name; these are what opens a file.
OPENERS: Final = frozenset(("Path", "PosixPath", "PurePath", "WindowsPath"))

ALLOWED: Final[dict[tuple[str, str], str]] = {
    ("cli/journal.py", "os.fdopen"): "a descriptor of `open_own`",
    ("cli/demo.py", "import subprocess"): "runs commands of this program, and waits for them",
    ("cli/demo.py", "running.kill"): "a child that it has not waited for: its id is nobody else's",
    ("cli/demo.py", "running.send_signal"): "the same child",
    ("cli/processes.py", "import subprocess"): "starts nodes, and asks `ps`",
    ("cli/program.py", "os.O_WRONLY"): "/dev/null, in place of an output that nobody reads any more",
    ("cli/program.py", "os.dup2"): "the same",
    ("cli/program.py", "os.open"): "the same",
    ("node/client/issuing/register.py", "import sqlite3"): "the register, in the issuer's own home",
    ("node/lifeline.py", "os.pipe"): "a pipe, which has no name",
    ("node/lifeline.py", "os.dup"): "this process's own standard input",
    ("node/lifeline.py", "os.read"): "the same",
    ("node/lifeline.py", "os.write"): "the pipe",
    ("node/lifeline.py", "os._exit"): "ends this process, which nobody is left to work for",
    ("node/workers.py", "os._exit"): "the same",
    ("node/workers.py", "process.kill"): "a child that it has not waited for: its id is nobody else's",
    ("node/network/tls.py", "context.load_cert_chain"): "files in memory, or in a passing folder of our own",
    ("node/network/tls.py", "context.load_verify_locations"): "certificates that are given, not a path",
    ("node/network/tls.py", "ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations"): "the same",
    ("node/network/tls.py", "os.fdopen"): "a descriptor of a file in memory",
    ("node/network/tls.py", "os.memfd_create"): "a file in memory, which has no name",
    ("node/replica/corelog.py", "FileIO"): "a descriptor of `POSIX_FILES.create`",
    ("node/replica/corelog.py", "import FileIO"): "the same",
    ("node/replica/driver.py", "engines.open"): "the engine of an epoch, no path",
    (
        "node/storage/examining.py",
        "import fcntl",
    ): "locks through a descriptor for reading: a mount may be read-only",
    (
        "node/storage/examining.py",
        "os.open",
    ): "the same: of a home's two lock files, of which nothing is read",
    ("node/storage/examining.py", "os.O_RDONLY"): "the same",
    ("node/storage/examining.py", "os.O_NOFOLLOW"): "the same",
    ("node/storage/examining.py", "os.O_CLOEXEC"): "the same",
    ("node/storage/leveldb.py", "import plyvel"): "the database, in the node's own data",
    ("node/storage/leveldb.py", "import plyvel_next"): "the same",
    ("node/storage/store.py", "self._values.replace"): "the values of an overlay, no path",
    ("node/watch.py", "os.statvfs"): "how much is free where the node's data lies: it opens nothing",
    ("node/sync/checkers.py", "import fcntl"): "flags of pipes between processes of one node",
    ("node/sync/checkers.py", "process.kill"): "a child that it has not waited for: its id is nobody else's",
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def last_name(node: ast.expr) -> str:
    """Return the last word of an expression: `self._files` and `files` are told by theirs."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def is_path_like(receiver: ast.expr) -> bool:
    """Say whether `.open` of this is taken for that of a path: of all but a class, or what is a disk."""
    name = last_name(receiver)
    is_class = name == "cls" or (name[:1].isupper() and name not in OPENERS and not name.isupper())
    return not is_class and name not in DISKS


def find_imports(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            for alias in names:
                root = alias.name.partition(".")[0]
                if root in MODULES or (root == "os" and alias.asname is not None):
                    yield f"import {alias.name}"
        case ast.ImportFrom(module=module, names=names):
            root = (module or "").partition(".")[0]
            if root in MODULES or root == "os":
                yield f"import {module}"
            for alias in names:
                of_click = root == "click" and alias.name in OF_CLICK
                if alias.name in OF_OTHERS or of_click or (root == "io" and alias.name == "open"):
                    yield f"import {alias.name}"
        case _:
            return


def find_uses(node: ast.AST, called_with_one: frozenset[int]) -> Iterator[str]:
    match node:
        case ast.Name(id="open", ctx=ast.Load()):
            yield "open"
        case ast.Name(id=name, ctx=ast.Load()) if name in OF_OTHERS:
            yield name
        case ast.Attribute(value=ast.Name(id="os"), attr=attr):
            if attr not in HARMLESS_OF_OS:
                yield ast.unparse(node)
        case ast.Attribute(value=receiver, attr=attr):
            of_path = attr in OF_PATHS and last_name(receiver) not in DISKS
            of_open = attr == "open" and is_path_like(receiver)
            of_replace = attr == "replace" and id(node) in called_with_one
            of_click = attr in OF_CLICK and last_name(receiver) == "click"
            if of_path or of_open or of_replace or of_click or attr in OF_OTHERS or attr in OF_PROCESSES:
                yield ast.unparse(node)
        case _:
            return


def find_unguarded(source: str | ast.Module) -> list[str]:
    """Return whatever in a module opens, writes, renames or removes a file by its name, or sends a signal."""
    tree = parsed(source) if isinstance(source, str) else source
    nodes = nodes_of(tree)
    # Path.replace takes one argument; those of texts and times take two, or names.
    called_with_one = frozenset(
        id(node.func)
        for node in nodes
        if isinstance(node, ast.Call)
        and len(node.args) == 1
        and not node.keywords
        and not isinstance(node.args[0], ast.Starred)
    )
    return [found for node in nodes for found in (*find_imports(node), *find_uses(node, called_with_one))]


def is_of_a_signal(found: str) -> bool:
    return found.rpartition(".")[2] in OF_PROCESSES | SIGNALS_OF_OS


@cache
def unguarded() -> set[tuple[str, str]]:
    found = set()
    for path in sources():
        name = name_of(path)
        for each in find_unguarded(tree_of(path)):
            guards = SIGNALS if is_of_a_signal(each) else FILES
            if name not in guards:
                found.add((name, each))
    return found


def test_files_and_processes_are_reached_through_the_guarded_modules_alone() -> None:
    assert {each for each in unguarded() if each not in ALLOWED} == set()


def test_what_is_allowed_is_still_there_and_says_why() -> None:
    assert set(ALLOWED) - unguarded() == set()
    assert all(ALLOWED.values())


@pytest.mark.parametrize("module", sorted(FILES | SIGNALS))
def test_a_guarded_module_would_be_found_without_its_place_in_the_list(module: str) -> None:
    assert find_unguarded(tree_of(ROOT / module))


@pytest.mark.parametrize(
    "source",
    [
        "open('a')",
        "with open(path) as file: pass",
        "read = open",
        "path.open('rb')",
        "Path('a').open()",
        "Path.open(path)",
        "(folder / 'a').open('rb')",
        "self._path.open()",
        "map(Path.read_bytes, paths)",
        "path.read_text('utf-8')",
        "(folder / name).write_bytes(b'')",
        "path.unlink(missing_ok=True)",
        "fresh.replace(path)",
        "fresh.rename(path)",
        "path.rmdir(); path.chmod(0o600)",
        "path.touch()",
        "path.hardlink_to(other)",
        "path.symlink_to(other)",
        "os.open(path, os.O_RDONLY)",
        "os.replace(a, b)",
        "os.remove(a)",
        "os.truncate(a, 0)",
        "os.fdopen(3)",
        "os.kill(pid, 9)",
        "os.killpg(pid, 9)",
        "process.send_signal(9)",
        "process.terminate()",
        "signal.pidfd_send_signal(3, 9)",
        "import shutil",
        "import shutil as s",
        "from shutil import rmtree",
        "import os as o",
        "from os import open as opened",
        "import tempfile, zipfile",
        "from sqlite3 import connect",
        "def f():\n    import subprocess",
        "io.FileIO('a')",
        "from io import FileIO",
        "from io import open as opened",
        "click.File('rb')",
        "click.open_file('a')",
        "from click import open_file",
        "logging.FileHandler('a')",
        "logging.handlers.WatchedFileHandler('a')",
        "web.FileResponse(path)",
        "context.load_verify_locations(path)",
    ],
)
def test_the_search_would_notice(source: str) -> None:
    assert find_unguarded(source)


@pytest.mark.parametrize(
    "source",
    [
        "Home.open(path)",
        "cls.open(path)",
        "POSIX_FILES.open(path); files.rename(a, b); self._files.remove(a)",
        "text.replace('a', 'b')",
        "moment.replace(tzinfo=UTC)",
        "replace(record, a=1)",
        "name.replace(*pair)",
        "os.environ['HOME']; os.path.lexists(path); os.close(3)",
        "def open(path): pass",
        "path.exists(); path.stat(); path.mkdir()",
        "with open_named(path) as file: file.read()",
        "items.remove(1); engine.opened",
    ],
)
def test_the_search_lets_pass_what_is_guarded_or_no_file(source: str) -> None:
    assert find_unguarded(source) == []


# -- the tables -----------------------------------------------------------------------------------------

PAGE: Final = (ROOT / "docs" / "threats.md").read_text("utf-8")
READING: Final = "What reads a file"
UNDOING: Final = "What cannot be undone"

READERS: Final[dict[str, str]] = {
    **dict.fromkeys(("open_named", "open_piped", "open_within", "open_listed"), "node.files.reading"),
    **dict.fromkeys(("read_own", "read_private", "read_private_named"), "node.files.durablefile"),
}
ACTS: Final[dict[str, str]] = {
    **dict.fromkeys(
        (
            "write_file",
            "replace_file",
            "write_fresh",
            "open_private",
            "open_own",
            "open_appending",
        ),
        "node.files.durablefile",
    ),
    "remove_folder": "node.files.folders",
    "keep_aside": "node.storage.quarantine",
    "destroy_file": "node.client.erasure",
    **dict.fromkeys(("send_signal", "stop_process", "stop_node"), "cli.processes"),
    **dict.fromkeys(("plan_holder_erasure", "plan_issuer_erasure"), "node.client.erasure"),
    "repair": "node.home.repair",
    "require_yes": "cli.agreement",
}
DISK_ACTS: Final = frozenset(("remove", "rename", "truncate", "write_at", "open"))
# What keys and records of openings are destroyed by: a wallet's and a register's own.
ERASING: Final = "erase"
# Where the guards themselves are, and what they are made of.
WITHIN: Final = FILES

Calls = set[tuple[str, str]]


def rows_of(title: str, page: str = PAGE) -> Calls:
    """Return each module with each guard that a table names for it."""
    section = page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    found = set()
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 3 and cells[0].startswith("`"):
            found |= {
                (module, guard)
                for module in re.findall(r"`([\w/]+\.py)`", cells[0])
                for guard in re.findall(r"`([\w.]+)`", cells[2])
            }
    return found


def calls_of(guards: dict[str, str], tree: ast.Module) -> set[str]:
    """Return the guards that a module uses: those that it imports, under whatever name."""
    known: dict[str, str] = {}
    modules: dict[str, str] = {}
    for node in nodes_of(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if guards.get(alias.name) == node.module:
                    known[alias.asname or alias.name] = alias.name
                modules[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    used = {known[node.id] for node in nodes_of(tree) if isinstance(node, ast.Name) and node.id in known}
    used |= {
        node.attr
        for node in nodes_of(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.attr in guards
        and modules.get(node.value.id) == guards[node.attr]
    }
    return used


def disk_acts_of(tree: ast.Module) -> set[str]:
    """Return what a module does to a disk, a wallet or a register that cannot be undone, as `files.remove`."""
    found = set()
    for node in nodes_of(tree):
        match node:
            case ast.Attribute(value=receiver, attr=attr) if attr in DISK_ACTS:
                if last_name(receiver) in DISKS:
                    found.add(f"files.{attr}")
            case ast.Attribute(value=ast.Name(id=name), attr=attr) if attr == ERASING:
                found.add(f"{name}.{ERASING}")
            case _:
                pass
    return found


def called(guards: dict[str, str], *, with_disks: bool) -> Calls:
    found: Calls = set()
    for path in sources():
        name, tree = name_of(path), tree_of(path)
        if name in WITHIN:
            continue
        own = {guard for guard, module in guards.items() if module.replace(".", "/") + ".py" == name}
        used = calls_of(guards, tree) | (disk_acts_of(tree) if with_disks else set())
        used |= {
            node.id
            for node in nodes_of(tree)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in own
        }
        found |= {(name, guard) for guard in used}
    return found


TABLES: Final = [(READING, READERS, False), (UNDOING, ACTS, True)]


@pytest.mark.parametrize(("title", "guards", "with_disks"), TABLES, ids=[READING, UNDOING])
def test_each_call_of_a_guard_is_in_its_table_and_each_row_is_called(
    title: str, guards: dict[str, str], with_disks: bool
) -> None:
    rows, calls = rows_of(title), called(guards, with_disks=with_disks)
    assert len(calls) > 10
    assert calls - rows == set(), "these are not in the table"
    assert rows - calls == set(), "these are in the table, and nobody calls them"


@pytest.mark.parametrize("guards", [READERS, ACTS], ids=[READING, UNDOING])
def test_each_guard_exists(guards: dict[str, str]) -> None:
    for guard, module in guards.items():
        assert callable(getattr(importlib.import_module(module), guard)), f"{module}.{guard}"
    disk = importlib.import_module("node.files.durablefile").FileOperations
    assert all(callable(getattr(disk, act)) for act in DISK_ACTS)


def test_the_search_for_calls_would_notice() -> None:
    source = "from node.files.reading import open_named as opened\nopened(path)\n"
    source += "from node.files import durablefile\ndurablefile.read_private(path)\n"
    assert calls_of(READERS, ast.parse(source)) == {"open_named", "read_private"}
    assert disk_acts_of(ast.parse("self._files.remove(a); files.sync(1); wallet.erase(2)")) == {
        "files.remove",
        "wallet.erase",
    }
    page = "\n## T\n\n| `a/b.py`, `c.py` | what | `open_named`, `files.open` |\n| no | row | `x` |\n\n## U\n"
    assert rows_of("T", page) == {
        (module, guard) for module in ("a/b.py", "c.py") for guard in ("open_named", "files.open")
    }


# -- other systems --------------------------------------------------------------------------------------

# What a bank's counter and a resident run, which have Windows. A node runs on POSIX.
AT_COUNTERS: Final = (
    "cli.verify",
    "cli.proof",
    "cli.wallet",
    "cli.consent",
    "cli.disclose",
    "cli.sets",
    "cli.trust",
)
OF_POSIX: Final = frozenset(("fcntl", "grp", "posix", "pty", "pwd", "resource", "termios", "tty"))
OF_POSIX_IN_OS: Final = frozenset(
    (
        *("O_CLOEXEC", "O_DIRECTORY", "O_NOCTTY", "O_NOFOLLOW", "O_NONBLOCK", "O_PATH", "fchmod", "fchown"),
        *(
            "fdatasync",
            "fork",
            "getegid",
            "geteuid",
            "getgid",
            "getuid",
            "mkfifo",
            "pidfd_open",
            "pread",
            "pwrite",
        ),
    )
)


def find_posix(source: ast.Module) -> list[str]:
    """Return what a module needs of POSIX to be imported: not what its functions need when they are called."""
    found = []
    pending: list[ast.AST] = [*source.body]
    while pending:
        node = pending.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                continue
            case ast.Import(names=names):
                found += [alias.name for alias in names if alias.name in OF_POSIX]
            case ast.ImportFrom(module=module) if module in OF_POSIX:
                found.append(module)
            case ast.Attribute(value=ast.Name(id="os"), attr=attr) if attr in OF_POSIX_IN_OS:
                found.append(f"os.{attr}")
            case _:
                pass
        pending += ast.iter_child_nodes(node)
    return found


def test_what_runs_at_counters_needs_nothing_of_posix_to_be_imported() -> None:
    files = files_loaded_by(*AT_COUNTERS)
    assert {ROOT / module for module in ("cli/bulk.py", "node/client/wallet.py")} <= {*files}
    needs = {name_of(path): find_posix(tree_of(path)) for path in files}
    assert {name: found for name, found in needs.items() if found} == {}


def test_the_search_for_posix_would_notice() -> None:
    for source in (
        "import fcntl",
        "FLAGS = os.O_NOFOLLOW",
        "class A:\n    B = os.pread",
        "from pwd import x",
    ):
        assert find_posix(ast.parse(source)), source
    assert find_posix(ast.parse("def f():\n    import fcntl\n    return os.O_NOFOLLOW, os.O_RDONLY")) == []
