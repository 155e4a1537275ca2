"""What one of our modules loads, as far as our own sources say, and the digest of it."""

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from ledger.encoding.recordcode import generated_name

ROOT = Path(__file__).resolve().parents[2]
DIGEST_SIZE = 16


@cache
def parsed(source: str) -> ast.Module:
    """Return the syntax tree of a source. All who ask share it, and nobody changes it."""
    return ast.parse(source)


@cache
def tree_of(path: Path) -> ast.Module:
    """Return the syntax tree of a file, which nobody changes."""
    return parsed(path.read_text())


@cache
def nodes_of(tree: ast.AST) -> tuple[ast.AST, ...]:
    """Return all nodes of a tree, found once: a dozen tests go through all sources."""
    return tuple(ast.walk(tree))


@cache
def imported(tree: ast.AST) -> tuple[str, ...]:
    """Return the dotted name of each module, and of each name taken from one."""
    names: list[str] = []
    for node in nodes_of(tree):
        if isinstance(node, ast.Import):
            names += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.append("." * node.level + (node.module or ""))
            names += (f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(names)


def closure(*modules: str, root: Path = ROOT) -> set[str]:
    """Return every name that importing these modules imports, and what that imports."""
    found: set[str] = set()
    pending = list(modules)
    while pending:
        name = pending.pop()
        if name in found:
            continue
        found.add(name)
        path = path_of(name, root)
        if path.is_file():
            pending += imported(parsed(path.read_text()))
            # The code of a module's records is loaded by its name (ledger.encoding.recordcode).
            pending.append(generated_name(name))
    return found


def files_loaded_by(*modules: str, root: Path = ROOT) -> list[Path]:
    """Return the files of all that these modules load."""
    paths = {path_of(name, root) for name in closure(*modules, root=root)}
    return sorted(path for path in paths if path.is_file())


def path_of(module: str, root: Path = ROOT) -> Path:
    """Return where a module of ours stands, if it is one."""
    return root / (module.replace(".", "/") + ".py")


def module_of(path: Path, root: Path = ROOT) -> str:
    """Return the dotted name of the module that a file of ours holds."""
    return path.relative_to(root).with_suffix("").as_posix().replace("/", ".")


def digest_of(paths: Iterable[Path], root: Path = ROOT) -> str:
    """Return the digest of files: names and bytes, in order of name."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:DIGEST_SIZE]
