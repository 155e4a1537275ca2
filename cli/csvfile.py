"""Manifests as CSV, which commands read: UTF-8 without a header, empty lines and blanks around a cell passed over.

Rule 1: a refusal names the line, as an editor counts them, on which the row ends: a cell in quotes may go over several.
"""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from cli.exits import CommandError, wrong_usage


def read_cells(
    path: Path, content: bytes, *, size_max: int, rows_max: int, columns: str
) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a manifest, as (line, cells). `columns` says what a row holds. Raises CommandError."""
    if len(content) > size_max:
        raise manifest_refused(str(path), f"at most {size_max} bytes", "more")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise manifest_refused(str(path), "CSV in UTF-8", f"other bytes at {error.start}") from error
    count = 0
    for line, cells in _lines(path, text):
        if count == rows_max:
            raise manifest_refused(str(path), f"at most {rows_max} rows", "more")
        count += 1
        yield line, cells
    if not count:
        raise manifest_refused(str(path), f"at least one row: {columns}", "none")


def _lines(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise manifest_refused(f"{path} line {reader.line_num}", "a row of CSV", str(error)) from error


def manifest_refused(where: str, expected: str, found: str) -> CommandError:
    """Return the error of a manifest, or of a line in it, that is not right."""
    return wrong_usage(
        where, expected=expected, found=found, cure="Correct the manifest and try again.", code="manifest"
    )
