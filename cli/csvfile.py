"""Cells of CSV that commands read and write. How a table is read from bytes is in `cli.spreadsheets`.

Rule 1: what is written is UTF-8. With a byte-order mark where it is asked for: a spreadsheet takes it for UTF-8 then.
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

from cli.spreadsheets import BYTE_ORDER_MARK, Column, read_table, table_refused
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


def csv_pieces(rows: Iterable[Sequence[str]], *, has_mark: bool = False) -> Iterator[bytes]:
    """Yield rows as CSV in pieces of some PIECE_SIZE bytes, each cell by rules 2 and 3; a byte-order mark by rule 1."""
    if has_mark:
        yield BYTE_ORDER_MARK.encode()
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
    path: Path, content: bytes, *, size_max: int, rows_max: int, columns: Sequence[Column]
) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a manifest, as (line, cells) in the order of `columns`. Raises CommandError."""
    if len(content) > size_max:
        raise table_refused(str(path), f"at most {size_max} bytes", "more")
    count = 0
    for line, cells in read_table(path, content, columns):
        if count == rows_max:
            raise table_refused(str(path), f"at most {rows_max} rows", "more")
        count += 1
        yield line, [from_cell(cell) for cell in cells]
    if not count:
        names = ", ".join(column.name for column in columns)
        raise table_refused(str(path), f"at least one row: {names}", "none")
