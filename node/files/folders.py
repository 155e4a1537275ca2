"""Folders that are made for a purpose and removed whole, and copies of files.

Rule 1: a folder is removed only by whoever made it: under a name that was free, which nobody else could know or take.
Rule 2: a copy is made of a regular file into a file that does not exist yet; neither is reached through a link.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from node.files.durablefile import POSIX_FILES

_PIECE_SIZE: Final = 1024 * 1024


def make_folder(parent: Path, *, prefix: str, suffix: str = "") -> Path:
    """Make a folder of a fresh name that only we may use, and return its path. Raises OSError."""
    return Path(tempfile.mkdtemp(prefix=prefix, suffix=suffix, dir=parent))


def remove_folder(path: Path) -> None:
    """Remove a folder that we made, with all in it, as far as that can be. A link is not followed, and stays."""
    shutil.rmtree(path, ignore_errors=True)


@contextmanager
def passing_folder(parent: Path | None, *, prefix: str) -> Iterator[Path]:
    """Give a folder that only we may use, and that is gone afterwards. None: where the system keeps such folders."""
    with tempfile.TemporaryDirectory(dir=parent, prefix=prefix) as name:
        yield Path(name)


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
