"""Manifests: the list of documents that an issuer anchors in one go.

Rule 1: a manifest is CSV (`cli.csvfile`). A row is file, holder key, expiry; the last two may be
empty: no holder key (bearer documents only), and the expiry given for all.
Rule 2: a file is named relative to the manifest, and once. It is no link: others may have put one there.
Rule 3: every refusal names its line. Nothing is anchored unless every row is right.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cli.csvfile import manifest_refused, read_cells
from cli.files import read_file
from cli.times import parse_time
from ledger.encoding.keys import PublicKey
from ledger.errors import LedgerError

MANIFEST_SIZE_MAX: Final = 64 * 1024 * 1024
ROWS_MAX: Final = 100_000
COLUMNS: Final = "file, holder key, expiry"


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One document: its file, its holder key and its expiry in milliseconds, where there are any.

    `folder` is that of the manifest; None where the user named the file.
    """

    file: Path
    holder_key: PublicKey | None
    expires_ms: int | None
    folder: Path | None = None


def read_manifest(path: Path, *, expires_ms: int | None) -> tuple[ManifestRow, ...]:
    """Return the rows of a manifest; `expires_ms` holds where a row names no expiry. Raises CommandError."""
    content = read_file(path, size_max=MANIFEST_SIZE_MAX)
    rows: list[ManifestRow] = []
    seen: dict[Path, int] = {}
    for line, cells in read_cells(
        path, content, size_max=MANIFEST_SIZE_MAX, rows_max=ROWS_MAX, columns=COLUMNS
    ):
        where = f"{path} line {line}"
        parsed = _parse(path, where, cells, expires_ms)
        if parsed.file in seen:
            raise manifest_refused(where, "each file once", f"{parsed.file} as in line {seen[parsed.file]}")
        seen[parsed.file] = line
        rows.append(parsed)
    return tuple(rows)


def _parse(path: Path, where: str, cells: list[str], expires_ms: int | None) -> ManifestRow:
    if len(cells) != 3:
        raise manifest_refused(where, f"3 columns: {COLUMNS}", f"{len(cells)}")
    name, holder, expiry = cells
    if not name or "\0" in name:
        raise manifest_refused(where, "the name of a file", ascii(name)[:80])
    try:
        holder_key = PublicKey.from_text(holder) if holder else None
    except LedgerError as error:
        raise manifest_refused(where, error.expected, error.found) from error
    try:
        expires = parse_time(expiry) if expiry else expires_ms
    except ValueError as error:
        raise manifest_refused(where, "a date like 2026-12-31, or nothing", ascii(expiry)[:80]) from error
    return ManifestRow(path.parent / name, holder_key, expires, path.parent)
