"""A folder that is to be anchored as one set, and the two files that stand beside it from then on.

Rule 1: what opens every file (DIR.set) is written first, private, and never over another; then the manifest
(DIR.set.manifest), which is the document. Nothing was anchored before both are there.
Rule 2: called again, the salts that stand there are used, where they are those of exactly these files. So what a crash
left is finished under one manifest.
"""

from pathlib import Path

from cli.exits import unreadable, wrong_usage
from cli.files import refuse_existing, write_file
from cli.manifest import ManifestRow
from cli.output import Progress
from ledger.errors import LedgerError
from ledger.sets import MANIFEST_SIZE_MAX, SHOWN_FILE_SIZE_MAX, ShownSet
from node.client.issuing.draft import Draft, draft_of_manifest
from node.client.issuing.setfolder import check_is_of, issue_folder, read_set_folder, set_path_of
from node.files.durablefile import PRIVATE_MODE
from node.files.reading import open_within


def draft_of_folder(folder: Path, row: ManifestRow, *, schema: str, media_type: str | None) -> Draft:
    """Return the draft of the manifest of a folder's files; `row` names where that stands. Raises CommandError."""
    set_path = set_path_of(folder)
    try:
        whole = _issue(folder, set_path, row.file, media_type)
    except OSError as error:
        raise unreadable(str(error.filename or folder), error) from error
    except LedgerError as error:
        where = error.where if str(set_path) in error.where else f"{folder}: {error.where}"
        cure = error.cure or f"Look at the folder and at {set_path}; nothing was anchored."
        raise wrong_usage(
            where, expected=error.expected, found=error.found, cure=cure, code=error.code
        ) from error
    return draft_of_manifest(
        row.file, whole.manifest, schema=schema, holder_key=row.holder_key, expires_ms=row.expires_ms
    )


def _issue(folder: Path, set_path: Path, manifest_path: Path, media_type: str | None) -> ShownSet:
    files = read_set_folder(folder, media_type=media_type, progress=_Reading())
    earlier = _read_beside(set_path, SHOWN_FILE_SIZE_MAX)
    if earlier is None:
        refuse_existing(manifest_path)
        whole = issue_folder(files)
        write_file(set_path, whole.encode(), mode=PRIVATE_MODE)
    else:
        whole = ShownSet.decode(earlier)
        check_is_of(whole, files, where=str(set_path))
    written = _read_beside(manifest_path, MANIFEST_SIZE_MAX)
    if written is None:
        write_file(manifest_path, whole.manifest)
    elif written != whole.manifest:
        raise wrong_usage(
            str(manifest_path),
            expected=f"nothing, or the manifest in {set_path}",
            found="another file",
            cure="Move it away, then give the command again.",
            code="path",
        )
    return whole


class _Reading:
    """A progress bar that begins with the first file: how many there are is known then."""

    def __init__(self) -> None:
        self._bar: Progress | None = None

    def __call__(self, done_count: int, total_count: int) -> None:
        self._bar = self._bar or Progress("reading", total_count)
        self._bar.update(done_count)
        if done_count == total_count:
            self._bar.finish()


def _read_beside(path: Path, size_max: int) -> bytes | None:
    """Return the content of a file that stands where we write one; None where there is none. Raises OSError."""
    try:
        with open_within(path.parent, path.name) as file:
            return file.read(size_max + 1)
    except FileNotFoundError:
        return None
