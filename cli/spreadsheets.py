"""Tables as spreadsheets write them: the bytes of a CSV file in, its rows out. What is not certain is refused.

Rule 1: the encoding is certain or the file is refused: UTF-8, with or without a byte-order mark, and UTF-16 with one.
Bytes of GBK and of Big5 are alike; so both are refused, with the line, both readings, and what to press.
Rule 2: the separator is one for the whole file: what a first line `sep=;` names; otherwise `,` where the first row has
one, else `;`, else a tab. A first row that names columns decides by itself. With `;` and tabs all rows have as many
cells, as spreadsheets write them.
Rule 3: a first row is a header where it names the first column, and another or nothing else. It says in which order
the columns stand. One that names a column twice, or an unknown one beside known ones, is refused.
Rule 4: a row without any text is none. Empty cells behind the last column are none.
Rule 5: a refusal names the line, as an editor counts them, on which the row ends: a cell in quotes may have several.
"""

import csv
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cli.exits import CommandError, wrong_usage

SEPARATORS: Final = (",", ";", "\t")
SAVE_AS: Final = "In Excel press File > Save As > CSV UTF-8 (comma delimited), and name that file."
SHOWN_SIZE_MAX: Final = 60

BYTE_ORDER_MARK: Final = "\ufeff"
_MARKS: Final = (
    # UTF-32 first: its mark begins as that of UTF-16.
    (b"\xff\xfe\x00\x00", None),
    (b"\x00\x00\xfe\xff", None),
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
# The names under which Windows knows them; GB18030 takes in GBK.
_CODE_PAGES: Final = (("GBK", "gb18030"), ("Big5", "cp950"))


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a manifest, and the names by which a header knows it."""

    name: str
    others: tuple[str, ...]

    def is_named(self, cell: str) -> bool:
        """Say whether a cell of a header means this column."""
        return _plain(cell) in {_plain(each) for each in (self.name, *self.others)}


def _plain(name: str) -> str:
    return "".join(each for each in name.casefold() if each not in " _-\u3000")


FILE_COLUMN: Final = Column(
    "file", ("document", "filename", "path", "文件", "文件名", "檔案", "檔案名稱", "档案")
)


def read_table(path: Path, content: bytes, columns: Sequence[Column]) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a table as (line, cells), in the order of `columns`. Raises CommandError."""
    text = _decode(path, content)
    first, text = _declared_separator(text)
    # What `sep=` took is one line: lines are counted as an editor counts them.
    skipped = 0 if first is None else 1
    rows = _rows(path, text, first or _find_separator(text, columns), skipped)
    header: list[int] | None = None
    is_first = True
    for line, cells in rows:
        if is_first:
            is_first = False
            header = _header(path, line, cells, columns)
            if header is not None:
                continue
        yield line, _in_order(path, line, cells, columns, header)


def table_refused(where: str, expected: str, found: str, *, cure: str | None = None) -> CommandError:
    """Return the error of a table, or of a line in it, that is not right."""
    cure = cure or "Correct the manifest and try again."
    return wrong_usage(where, expected=expected, found=found, cure=cure, code="manifest")


def _decode(path: Path, content: bytes) -> str:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            if encoding is None:
                raise table_refused(f"{path} line 1", "CSV in UTF-8", "UTF-32", cure=SAVE_AS)
            return _checked(path, content[len(mark) :], encoding)
    return _checked(path, content, "utf-8")


def _checked(path: Path, content: bytes, encoding: str) -> str:
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        before = content[: error.start].decode(encoding, "replace")
        where = f"{path} line {before.count(chr(10)) + 1}"
        found = _readings(content, error.start) if encoding == "utf-8" else f"broken {encoding.upper()}"
        raise table_refused(where, "CSV in UTF-8", found, cure=SAVE_AS) from error
    place = text.find("\0")
    if place >= 0:
        where = f"{path} line {text.count(chr(10), 0, place) + 1}"
        # Latin letters in UTF-16 are letters with zeros between them.
        found = "zeros between the letters, as in UTF-16 without a byte-order mark"
        raise table_refused(where, "CSV in UTF-8, the name of a file without zeros", found, cure=SAVE_AS)
    return text.removeprefix(BYTE_ORDER_MARK)


def _readings(content: bytes, place: int) -> str:
    """Say how the line with the byte at `place` reads in what Excel writes where nobody asks for UTF-8."""
    begin = content.rfind(b"\n", 0, place) + 1
    end = content.find(b"\n", place)
    line = content[begin : end if end >= 0 else len(content)].rstrip(b"\r")
    read: list[str] = []
    for name, codec in _CODE_PAGES:
        try:
            read.append(f"as {name} the line is {line.decode(codec)[:SHOWN_SIZE_MAX]}")
        except UnicodeDecodeError:
            continue
    byte = f"byte {content[place]:#04x}, which is no UTF-8"
    return "; ".join([byte, *read]) + (": which of them is not certain" if len(read) > 1 else "")


def _declared_separator(text: str) -> tuple[str | None, str]:
    """Return the separator that a first line `sep=;` names, and the text behind that line."""
    line, _, rest = text.partition("\n")
    line = line.rstrip("\r").strip('"')
    if line[:4].lower() == "sep=" and line[4:] in SEPARATORS:
        return line[4:], rest
    return None, text


def _find_separator(text: str, columns: Sequence[Column]) -> str:
    possible: list[str] = []
    quoted: list[str] = []
    for separator in SEPARATORS:
        cells = _first_row(text, separator)
        if len(cells) > 1:
            if _is_header(cells, columns):
                return separator
            # No spreadsheet leaves a quotation mark inside a cell: it is a sign that cells begin elsewhere.
            (quoted if any('"' in cell for cell in cells) else possible).append(separator)
    return [*possible, *quoted, SEPARATORS[0]][0]


def _first_row(text: str, separator: str) -> list[str]:
    try:
        for cells in csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True):
            # Whichever the separator is, a row of nothing else says nothing about it.
            if any(cell.strip().strip(",;\t") for cell in cells):
                return [cell.strip() for cell in cells]
    except csv.Error:
        # Not by this separator. Whatever is wrong is told with its line, once a separator is taken.
        return []
    return []


def _rows(path: Path, text: str, separator: str, skipped: int) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    width = 0
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if not any(stripped):
                continue
            line = reader.line_num + skipped
            if separator != "," and width not in (0, len(stripped)):
                name = "tabs" if separator == "\t" else f"`{separator}`"
                raise table_refused(
                    f"{path} line {line}",
                    f"{width} cells between {name}, as in the first row",
                    f"{len(stripped)}",
                    cure=f"{SAVE_AS} A name that holds `;` or a tab stands in quotes.",
                )
            width = len(stripped)
            yield line, stripped
    except csv.Error as error:
        where = f"{path} line {reader.line_num + skipped}"
        raise table_refused(where, "a row of CSV", str(error)) from error


def _named(cell: str, columns: Sequence[Column]) -> int | None:
    return next((place for place, column in enumerate(columns) if column.is_named(cell)), None)


def _is_header(cells: Sequence[str], columns: Sequence[Column]) -> bool:
    named = [_named(cell, columns) for cell in cells if cell]
    known = {place for place in named if place is not None}
    # `bundle` is a cell too, and files are called `proof` and `request`: without the first column there is no header.
    return 0 in known and (len(known) > 1 or len(named) == 1)


def _header(path: Path, line: int, cells: list[str], columns: Sequence[Column]) -> list[int] | None:
    """Return for each cell which column it heads, -1 where none, or None where the row is no header."""
    if not _is_header(cells, columns):
        return None
    where = f"{path} line {line}"
    placed = [_named(cell, columns) if cell else -1 for cell in cells]
    names = ", ".join(column.name for column in columns)
    for place, cell in zip(placed, cells, strict=True):
        if place is None:
            raise table_refused(where, f"a header of these columns: {names}", cell[:SHOWN_SIZE_MAX])
        if place >= 0 and placed.count(place) > 1:
            raise table_refused(where, f"each column once: {names}", f"{columns[place].name} twice")
    # It must not pass over a document that is called as a column is.
    if sum(map(bool, cells)) == 1 and os.path.lexists(path.parent / max(cells)):
        expected = "a header, or the name of a file"
        cure = "Remove the header, or name the second column too; or rename the file."
        raise table_refused(where, expected, f"{max(cells)}, which may be both", cure=cure)
    return [-1 if place is None else place for place in placed]


def _in_order(
    path: Path, line: int, cells: list[str], columns: Sequence[Column], header: list[int] | None
) -> list[str]:
    if header is None:
        width = len(cells)
        while width > len(columns) and not cells[width - 1]:
            width -= 1
        return cells[:width]
    ordered = [""] * len(columns)
    for place, cell in enumerate(cells):
        column = header[place] if place < len(header) else -1
        if column >= 0:
            ordered[column] = cell
        elif cell:
            found = f"a cell under no name: {cell[:SHOWN_SIZE_MAX]}"
            raise table_refused(f"{path} line {line}", "cells under the names of the header", found)
    return ordered
