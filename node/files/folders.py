"""Folders that are made for a purpose and removed whole, and copies of files.

Rule 1: a folder is removed only by whoever made it, under a name that was free, which nobody else could know or take;
or as what that one left: by a name of the same purpose, this user's own, and with nobody who holds it.
Rule 2: a copy is made of a regular file into a file that does not exist yet; neither is reached through a link.
Rule 3: whoever works in such a folder holds a lock on it. The next one of the same purpose and place removes those that
nobody holds, as a power cut leaves them.
Rule 4: a passing folder goes when the process that made it ends, however that ends: a process of its own, in a session
of its own, waits for that on a lifeline (node/lifeline.py), and removes the folder then.
"""

import errno
import os
import re
import secrets
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from node.files.durablefile import POSIX_FILES
from node.files.reading import NOFOLLOW
from node.files.system import is_ours, take_lock
from node.lifeline import Lifeline, bare_environment

_PIECE_SIZE: Final = 1024 * 1024
_TOKEN_SIZE: Final = 8
_TRIES_MAX: Final = 16
_AGAIN_S: Final = 0.02
# Not every system can open a folder to lock it; there nothing is taken for a leftover.
_FOLDER: Final[int] = os.O_RDONLY | NOFOLLOW | getattr(os, "O_DIRECTORY", 0)
_LOCKS_FOLDERS: Final = hasattr(os, "O_DIRECTORY")


@contextmanager
def passing_folder(parent: Path | None, *, prefix: str) -> Iterator[Path]:
    """Give a folder that only we may use, and that is gone afterwards. None: where the system keeps such folders.

    Raises OSError where it, or the process that sees to its end, cannot be made.
    """
    place = passing_parent() if parent is None else parent
    _remove_leftovers(place, prefix, suffix="")
    path = _fresh_name(place, prefix, suffix="")
    # Before there is a folder: what happens in between leaves nothing.
    with _remover_of(path), _made(path):
        yield path


@contextmanager
def fresh_folder(parent: Path, *, prefix: str, suffix: str) -> Iterator[Path]:
    """Give a folder of a fresh name that only we may use, to fill and give another name. It is removed at an error.

    What stays where the process is killed meanwhile, the next one of the same prefix and suffix removes. Raises
    OSError.
    """
    _remove_leftovers(parent, prefix, suffix)
    path = _fresh_name(parent, prefix, suffix)
    with _made(path):
        yield path


def remove_folder(path: Path) -> None:
    """Remove a folder that we made, with all in it, as far as that can be. A link is not followed, and stays."""
    shutil.rmtree(path, ignore_errors=True)


def passing_parent() -> Path:
    """Return where the system keeps folders that pass."""
    return Path(tempfile.gettempdir())


def link_by_name(source: Path, target: Path) -> None:
    """Give a file a link in a folder that we made: what is linked to stays as it is, to its count of names."""
    target.symlink_to(source.resolve())


def copy_file(source: BinaryIO, target: Path) -> None:
    """Copy what an open file gives into a new private file. Raises OSError, where the name is taken too."""
    descriptor = POSIX_FILES.create(target)
    try:
        place = 0
        while piece := source.read(_PIECE_SIZE):
            POSIX_FILES.write_at(descriptor, piece, place)
            place += len(piece)
    finally:
        POSIX_FILES.close(descriptor)


def _fresh_name(parent: Path, prefix: str, suffix: str) -> Path:
    return parent / f"{prefix}{secrets.token_hex(_TOKEN_SIZE)}{suffix}"


@contextmanager
def _remover_of(path: Path) -> Iterator[None]:
    """Have a process that removes a folder when this one ends, or at the end of this block."""
    with Lifeline() as lifeline:
        remover = subprocess.Popen(
            [sys.executable, "-m", "node.files.remover", str(path.absolute())],
            stdin=lifeline.descriptor,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=bare_environment(),
            start_new_session=True,
        )
        is_taken = False
        try:
            yield
        except FolderTaken:
            is_taken = True
            lifeline.let_go(1)
            raise
        finally:
            lifeline.close()
            remover.wait()
            if not is_taken:
                # Where whoever ended this process ended that one first.
                remove_folder(path)


class FolderTaken(FileExistsError):
    """A folder has the name that was drawn: another's."""


@contextmanager
def _made(path: Path) -> Iterator[None]:
    """Make a folder and hold it, so that nobody takes it for a leftover; remove it at an error. Raises OSError."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError as error:
        raise FolderTaken(error.errno, error.strerror, error.filename) from error
    descriptor = None
    try:
        descriptor = _hold_made(path) if _LOCKS_FOLDERS else None
        yield
    except BaseException:
        remove_folder(path)
        raise
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _hold_made(path: Path) -> int:
    """Lock a folder that was made just now. Until then it was a leftover to whoever looked, and may be gone."""
    for _ in range(_TRIES_MAX):
        with suppress(FileNotFoundError, BlockingIOError):
            descriptor = _hold(path)
            if descriptor is not None:
                return descriptor
        time.sleep(_AGAIN_S)
        path.mkdir(mode=0o700, exist_ok=True)
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), f"{path}")


def _hold(path: Path) -> int | None:
    """Lock a folder, and return its descriptor; None where the name has gone meanwhile.

    Raises FileNotFoundError, or BlockingIOError where another holds it.
    """
    descriptor = os.open(path, _FOLDER)
    try:
        take_lock(descriptor)
        if os.path.samestat(os.fstat(descriptor), path.lstat()):
            return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _remove_leftovers(parent: Path, prefix: str, suffix: str) -> None:
    """Remove the folders of this purpose whose makers have ended without removing them."""
    if not _LOCKS_FOLDERS:
        return
    form = re.compile(rf"{re.escape(prefix)}[0-9a-f]{{{2 * _TOKEN_SIZE}}}{re.escape(suffix)}", re.ASCII)
    try:
        found = [path for path in parent.iterdir() if form.fullmatch(path.name)]
    except OSError:
        # It cannot be listed, or is not there: whoever makes a folder in it learns that.
        return
    for path in found:
        # Gone, another's, no folder, or in use.
        with suppress(OSError):
            status = path.lstat()
            if not stat.S_ISDIR(status.st_mode) or not is_ours(status):
                continue
            descriptor = _hold(path)
            if descriptor is not None:
                remove_folder(path)
                os.close(descriptor)
