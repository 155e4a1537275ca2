"""A folder whose files are one set: read, made into a set, and found again after a crash (docs/sets.md).

Rule 1: all that lies in the folder is in the set. What is no regular file, or has a name that systems read
differently, is refused before anything is read: nothing is passed over in silence.
Rule 2: the set stands beside its folder: DIR.set is the holder's, which opens every file; DIR.set.manifest is the
document. The first is written before the second, and never over another: it holds the only salts.
"""

import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from ledger.sets import FILES_MAX, SetFile, ShownSet, UnfitSet, check_listing, issue_set
from node.client.issuing.draft import read_content, refuse_reserved
from node.files.reading import DOCUMENT_SIZE_MAX, list_files, open_within

SET_SUFFIX: Final = ".set"
MANIFEST_SUFFIX: Final = ".manifest"


def set_path_of(folder: Path) -> Path:
    """Return where the holder's file of a folder's set goes: beside the folder, by the name that it was given."""
    named = folder if folder.name not in ("", "..") else folder.resolve()
    return named.parent.resolve() / f"{named.name}{SET_SUFFIX}"


def manifest_path_of(set_path: Path) -> Path:
    """Return where the manifest of a set goes, which is the document."""
    return set_path.with_name(f"{set_path.name}{MANIFEST_SUFFIX}")


def read_set_folder(
    folder: Path, *, media_type: str | None = None, progress: Callable[[int, int], None] = lambda *_: None
) -> tuple[SetFile, ...]:
    """Return what the files of a folder come to, in order of their names. Reads all of each, in pieces.

    `media_type` is that of every file; None: by name and content. `progress` is told how many of how many were read.
    Raises UnfitSet before anything is read, and OSError.
    """
    if media_type is not None:
        refuse_reserved(media_type)
    names = list_files(folder, count_max=FILES_MAX)
    check_listing(names)
    files: list[SetFile] = []
    for name in names:
        with open_within(folder, name, size_max=DOCUMENT_SIZE_MAX) as file:
            files.append(read_content(file, name, media_type=media_type))
        progress(len(files), len(names))
    return tuple(files)


def issue_folder(files: Sequence[SetFile]) -> ShownSet:
    """Return a set of files under fresh salts, every file opened. Raises UnfitSet."""
    return issue_set(files, secrets.token_bytes)


def check_is_of(whole: ShownSet, files: Sequence[SetFile], *, where: str) -> None:
    """Check that an earlier set is of exactly these files, and whole. Raises UnfitSet."""
    count = whole.check()
    earlier = {(each.name, each.media_type, each.size, each.content_root) for each in whole.entries}
    now = {(each.name.encode(), each.media_type, each.content.size, each.content.root) for each in files}
    if earlier != now or count != len(now):
        raise UnfitSet(
            code="set-of-other-files",
            where=where,
            expected="nothing, or the set of exactly the files that lie in the folder",
            found=f"a set of {count} files, of which {len(earlier & now)} are these",
            cure="Move it away to issue the set anew: it holds the only salts of the earlier one.",
        )
