"""CSV that commands read and write: UTF-8, empty lines and blanks around a cell passed over.

Rule 1: a refusal names the line, as an editor counts them, on which the row ends: a cell in quotes may have several.
Rule 2: a cell that is written is visible text (`node.visibletext`): no control and no line break stands in it. Blanks
at its ends are escaped, since they are passed over.
Rule 3: no spreadsheet takes a written cell for a formula. One that begins with `=`, `+`, `-` or `@`, or what some
program takes for one of them, after blanks and quotation marks if any, gets an apostrophe in front. Where such a
character follows a `;`, `,` or `|` inside a cell, that separator is escaped: a program that separates cells by it would
begin one there. Whole numbers stay as they are.
Rule 4: a cell that is read is taken back through rules 3 and 2, so what was written is read as it was.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from cli.exits import CommandError, wrong_usage
from node.visibletext import escape_where, from_visible, visible

PIECE_SIZE: Final = 256 * 1024

# What programs take for `=`, `+`, `-` and `@`: the wide, small, raised and lowered forms, and the minus sign.
_SIGN: Final = (
    "[-=+@\u2212\u207a-\u207c\u208a-\u208c\u2a74-\u2a76\ufe62\ufe63\ufe66\ufe6b\uff0b\uff0d\uff1d\uff20]"
)
_SKIPPED: Final = (
    "[ \u3000\"'`\u00b4\u00ab\u00bb\u2018-\u201f\u2039\u203a\u300c-\u300f\u301d-\u301f\uff02\uff07\uff40]*"
)
_begins_formula: Final = re.compile(_SKIPPED + _SIGN).match
_is_number: Final = re.compile(r"-?[0-9]+", re.ASCII).fullmatch
_SEPARATOR: Final = re.compile(f"[;,|](?={_SKIPPED}{_SIGN})")
_MARK: Final = "'"


def to_cell(text: str) -> str:
    """Return a text as it stands in a cell that is written (rules 2 and 3)."""
    shown = visible(text)
    escaped = {found.start() for found in _SEPARATOR.finditer(shown)}
    escaped |= {*range(len(shown) - len(shown.lstrip())), *range(len(shown.rstrip()), len(shown))}
    if escaped:
        shown = escape_where(shown, escaped.__contains__)
    return _MARK + shown if _is_formula(shown) else shown


def from_cell(cell: str) -> str:
    """Return the text that stands in a cell (rule 4)."""
    is_marked = cell.startswith(_MARK) and _is_formula(cell)
    return from_visible(cell[len(_MARK) :] if is_marked else cell)


def _is_formula(shown: str) -> bool:
    return _begins_formula(shown) is not None and _is_number(shown) is None


def csv_pieces(rows: Iterable[Sequence[str]]) -> Iterator[bytes]:
    """Yield rows as CSV in pieces of some PIECE_SIZE bytes, each cell by rules 2 and 3."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    for cells in rows:
        writer.writerow([to_cell(cell) for cell in cells])
        if buffer.tell() >= PIECE_SIZE:
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode()


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
                yield reader.line_num, [from_cell(cell.strip()) for cell in cells]
    except csv.Error as error:
        raise manifest_refused(f"{path} line {reader.line_num}", "a row of CSV", str(error)) from error


def manifest_refused(where: str, expected: str, found: str) -> CommandError:
    """Return the error of a manifest, or of a line in it, that is not right."""
    return wrong_usage(
        where, expected=expected, found=found, cure="Correct the manifest and try again.", code="manifest"
    )
