"""Manifests: the list of documents that an issuer anchors in one go.

Rule 1: a manifest is CSV in UTF-8 without a header. A row is file, holder key, expiry; the last two may be
empty: no holder key (bearer documents only), and the expiry given for all.
Rule 2: a file is named relative to the manifest, and once.
Rule 3: every refusal names its row. Nothing is anchored unless every row is right.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cli.exits import CommandError, wrong_usage
from cli.files import read_file
from cli.times import parse_time
from ledger.errors import LedgerError
from ledger.keys import PublicKey

MANIFEST_SIZE_MAX: Final = 64 * 1024 * 1024
ROWS_MAX: Final = 100_000
COLUMNS: Final = 3


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One document: its file, its holder key and its expiry in milliseconds, where there are any."""

    file: Path
    holder_key: PublicKey | None
    expires_ms: int | None


def read_manifest(path: Path, *, expires_ms: int | None) -> tuple[ManifestRow, ...]:
    """Return the rows of a manifest; `expires_ms` holds where a row names no expiry. Raises CommandError."""
    content = read_file(path, size_max=MANIFEST_SIZE_MAX)
    if len(content) > MANIFEST_SIZE_MAX:
        raise _refusal(str(path), f"at most {MANIFEST_SIZE_MAX} bytes", "more")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refusal(str(path), "CSV in UTF-8", f"other bytes at {error.start}") from error
    rows: list[ManifestRow] = []
    seen: dict[Path, int] = {}
    for number, row in _rows(path, text):
        where = f"{path} row {number}"
        if len(rows) == ROWS_MAX:
            raise _refusal(str(path), f"at most {ROWS_MAX} rows", "more")
        parsed = _parse(path, where, row, expires_ms)
        if parsed.file in seen:
            raise _refusal(where, "each file once", f"{parsed.file} as in row {seen[parsed.file]}")
        seen[parsed.file] = number
        rows.append(parsed)
    if not rows:
        raise _refusal(str(path), "at least one row: file, holder key, expiry", "none")
    return tuple(rows)


def _rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, [cell.strip() for cell in row]
    except csv.Error as error:
        raise _refusal(f"{path} row {reader.line_num}", "a row of CSV", str(error)) from error


def _parse(path: Path, where: str, row: list[str], expires_ms: int | None) -> ManifestRow:
    if len(row) != COLUMNS:
        raise _refusal(where, f"{COLUMNS} columns: file, holder key, expiry", f"{len(row)}")
    name, holder, expiry = row
    if not name or "\0" in name:
        raise _refusal(where, "the name of a file", ascii(name)[:80])
    try:
        holder_key = PublicKey.from_text(holder) if holder else None
    except LedgerError as error:
        raise _refusal(where, error.expected, error.found) from error
    try:
        expires = parse_time(expiry) if expiry else expires_ms
    except ValueError as error:
        raise _refusal(where, "a date like 2026-12-31, or nothing", ascii(expiry)[:80]) from error
    return ManifestRow(path.parent / name, holder_key, expires)


def _refusal(where: str, expected: str, found: str) -> CommandError:
    return wrong_usage(
        where, expected=expected, found=found, cure="Correct the manifest and try again.", code="manifest"
    )
