"""The folder that a recipient has the shown files of a set in: opened one after the other, whatever their names.

Rule 1: others fill it. All that lies in it is a regular file, no link is followed, and each is read in pieces.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ledger.sets import FILES_MAX
from node.files.reading import DOCUMENT_SIZE_MAX, UnfitFile, list_files, open_within


def files_in(folder: Path) -> Iterator[tuple[str, BinaryIO]]:
    """Return the files in a folder with their names, each opened when it is asked for, and closed with the next.

    Raises OSError, UnfitFile among them: also where there is none, or more than a set can have.
    """
    names = list_files(folder, count_max=FILES_MAX)
    if not 1 <= len(names) <= FILES_MAX:
        raise UnfitFile(
            where=folder,
            expected=f"1 to {FILES_MAX} files, those that are shown of the set",
            found="more" if names else "an empty folder",
            cure="name the folder with the files that are shown, and nothing else",
        )
    return _opened(folder, names)


def _opened(folder: Path, names: list[str]) -> Iterator[tuple[str, BinaryIO]]:
    for name in names:
        with open_within(folder, name, size_max=DOCUMENT_SIZE_MAX) as file:
            yield name, file
