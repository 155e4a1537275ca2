"""Manifests: the list of documents that an issuer anchors in one go.

Rule 1: a manifest is a table (`cli.spreadsheets`). A row is file, holder key, expiry; the last two may be
empty: no holder key (bearer documents only), and the expiry given for all.
Rule 2: a file is named relative to the manifest (`cli.listedfiles`), and once. It is no link: others may have put one
there.
Rule 3: every refusal names its line, and all missing files are told at once. Nothing is anchored unless every row is
right.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cli.csvfile import read_cells
from cli.files import read_file
from cli.listedfiles import ListedFiles
from cli.spreadsheets import FILE_COLUMN, Column, table_refused
from cli.times import parse_time
from ledger.encoding.keys import PublicKey
from ledger.errors import LedgerError

MANIFEST_SIZE_MAX: Final = 64 * 1024 * 1024
ROWS_MAX: Final = 100_000
COLUMNS: Final = (
    FILE_COLUMN,
    Column("holder key", ("holder", "key", "持有人公钥", "持有人密钥", "持有人公鑰", "持有人密鑰")),
    Column("expiry", ("expires", "expiry date", "valid until", "有效期", "有效期至", "到期日", "有效期限")),
)


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
    listed = ListedFiles(path)
    for line, cells in read_cells(
        path, content, size_max=MANIFEST_SIZE_MAX, rows_max=ROWS_MAX, columns=COLUMNS
    ):
        where = f"{path} line {line}"
        parsed = _parse(path, line, cells, expires_ms, listed)
        if parsed.file in seen:
            raise table_refused(where, "each file once", f"{parsed.file} as in line {seen[parsed.file]}")
        seen[parsed.file] = line
        rows.append(parsed)
    missing = listed.missing()
    if missing is not None:
        raise table_refused(
            str(path),
            "the documents that it names, as files in its folder",
            f"missing: {missing}",
            cure="Put them there or correct the names, then try again; nothing was anchored.",
        )
    return tuple(rows)


def _parse(
    path: Path, line: int, cells: list[str], expires_ms: int | None, listed: ListedFiles
) -> ManifestRow:
    where = f"{path} line {line}"
    if len(cells) != len(COLUMNS):
        names = ", ".join(column.name for column in COLUMNS)
        raise table_refused(where, f"{len(COLUMNS)} columns: {names}", f"{len(cells)}")
    name, holder, expiry = cells
    if not name or "\0" in name:
        raise table_refused(where, "the name of a file", ascii(name)[:80])
    try:
        holder_key = PublicKey.from_text(holder) if holder else None
    except LedgerError as error:
        raise table_refused(where, error.expected, error.found) from error
    try:
        expires = parse_time(expiry) if expiry else expires_ms
    except ValueError as error:
        raise table_refused(where, "a date like 2026-12-31, or nothing", f"{error}") from error
    return ManifestRow(listed.find(line, name), holder_key, expires, path.parent)
