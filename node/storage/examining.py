"""Looking at a stored database without touching it: on a read-only mount, of another user, as evidence.

Rule 1: no file of it is written, renamed, removed or linked to, and no name is added beside it. LevelDB writes where it
opens, so what it opens is a folder of its own, elsewhere: links by name to the tables, which never change once they
are written, and copies of the rest.
Rule 2: that folder holds at most what the log takes, twice, and what LevelDB merges before it is stopped: some hundred
MB, whatever the size of the chain.
Rule 3: what a node runs on is refused: its files change while they are read.
"""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node.diskfaults import CURES
from node.errors import StoreError, StoreRefused
from node.files.folders import copy_file, link_by_name, passing_folder, passing_parent
from node.files.reading import open_within

_UNCHANGING: Final = frozenset((".ldb", ".sst"))
_UNUSED: Final = frozenset(("LOCK", "LOG", "LOG.old"))
_NAMES_TAKEN: Final = 64
_HELD: Final = (errno.EAGAIN, errno.EACCES)


@dataclass(frozen=True, slots=True)
class Examined:
    """A folder to open in place of a database. `original` is where the database lies."""

    path: Path
    original: Path

    def stop_merging(self) -> None:
        """Keep LevelDB from writing tables anew in this folder, once it has opened it: it would write them all.

        The names that it would give its next tables are taken. It finds that it cannot write, and reads on.
        """
        names = (path.name.partition(".")[0].removeprefix("MANIFEST-") for path in self.path.iterdir())
        newest = max((int(name) for name in names if name.isdigit()), default=0)
        for number in range(newest + 1, newest + 1 + _NAMES_TAKEN):
            with suppress(FileExistsError):
                (self.path / f"{number:06d}.ldb").mkdir()

    def in_original(self, text: str) -> str:
        """Return a text of LevelDB's about this folder, with the names of the original."""
        return text.replace(str(self.path), str(self.original))


@contextmanager
def examined(original: Path, *, within: Path | None = None) -> Iterator[Examined]:
    """Give a folder to open in place of a database. Raises StoreRefused where files cannot be read or copied.

    It lies in `within`, or where temporary files lie, and goes with this process, however that ends.
    """
    with ExitStack() as stack:
        try:
            directory = stack.enter_context(passing_folder(within, prefix=".examined-"))
            copy = directory / original.name
            copy.mkdir()
            _fill(copy, original)
        except OSError as error:
            raise _refused(original, error, within) from error
        yield Examined(copy, original)


def _fill(copy: Path, original: Path) -> None:
    for each in sorted(original.iterdir()):
        if not each.is_file() or each.name in _UNUSED:
            continue
        if each.suffix in _UNCHANGING:
            # By name: a second link would change what the original's file system tells of it.
            link_by_name(each, copy / each.name)
            with open_within(original, each.name):
                continue
        with open_within(original, each.name) as file:
            copy_file(file, copy / each.name)


def _refused(original: Path, error: OSError, within: Path | None = None) -> StoreRefused:
    cure = CURES.get(error.errno or 0, "Check the path and who owns it.")
    if within is None and error.errno in (errno.ENOSPC, errno.EDQUOT):
        cure = f"Make room in {passing_parent()}, or name a larger folder by TMPDIR. Nothing is damaged."
    return StoreRefused(expected=f"{original} to be readable", found=f"{error}", cure=cure)


@contextmanager
def kept_still(lock: Path, database: Path) -> Iterator[None]:
    """Keep a node from starting on a home while it is looked at. Raises StoreError where one runs."""
    with ExitStack() as stack:
        try:
            # Locks are taken through a descriptor for reading: that writes nothing and works on a read-only mount.
            descriptor = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            descriptor = None
        except OSError as error:
            raise _refused(lock, error) from error
        if descriptor is not None:
            stack.callback(os.close, descriptor)
            _take(lambda: fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB), database)
        _check_unlocked(database)
        yield


def _check_unlocked(database: Path) -> None:
    """Check that no process has the database open: LevelDB's own lock tells, whoever opened it."""
    try:
        descriptor = os.open(database / "LOCK", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        # Nobody had it open here, or not for us: what cannot be read is told when it is read.
        return
    try:
        _take(lambda: fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB), database)
    finally:
        os.close(descriptor)


def _take(lock: Callable[[], None], database: Path) -> None:
    try:
        lock()
    except OSError as error:
        if error.errno in _HELD:
            raise StoreError(
                expected=f"{database} to be free",
                found="another process that holds it",
                cure="Stop the node that runs on this home, or ask it through --url.",
            ) from error
        # A mount without locks: then no node runs on it either, for it would not get its own.
