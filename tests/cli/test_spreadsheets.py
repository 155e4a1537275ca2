"""Manifests as Excel, WPS and Numbers write them: what is certain is read, all else is refused with its line."""

from pathlib import Path

import pytest

from cli.bulk import MANIFEST_COLUMNS
from cli.exits import CommandError
from cli.manifest import COLUMNS, read_manifest
from cli.spreadsheets import Column, read_table
from node.localtime import parse_time

TABLE = "file,holder key,expiry\r\n报告.pdf,,2027-12-31\r\n帳單.pdf,,\r\n"
ROWS = [(2, ["报告.pdf", "", "2027-12-31"]), (3, ["帳單.pdf", "", ""])]


def rows_of(content: bytes | str, columns: tuple[Column, ...] = COLUMNS) -> list[tuple[int, list[str]]]:
    encoded = content if isinstance(content, bytes) else content.encode()
    return list(read_table(Path("in.csv"), encoded, columns))


def refusal_of(content: bytes | str, columns: tuple[Column, ...] = COLUMNS) -> CommandError:
    with pytest.raises(CommandError) as caught:
        rows_of(content, columns)
    return caught.value


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (b"\xef\xbb\xbf", "utf-8"),
        (b"\xff\xfe", "utf-16-le"),
        (b"\xfe\xff", "utf-16-be"),
    ],
)
def test_what_excel_writes_is_read_in_each_encoding_and_with_each_separator(
    mark: bytes, encoding: str, separator: str
) -> None:
    assert rows_of(mark + TABLE.replace(",", separator).encode(encoding)) == ROWS


@pytest.mark.parametrize(("codec", "shown"), [("gbk", "as GBK the line is 报告.pdf"), ("big5", "as Big5")])
def test_a_code_page_is_refused_with_line_readings_and_what_to_press(codec: str, shown: str) -> None:
    name = "报告.pdf" if codec == "gbk" else "報告.pdf"
    error = refusal_of(b"a.pdf,,\n" + f"{name},,\n".encode(codec))
    assert error.where == "in.csv line 2" and shown in error.found
    assert "Save As > CSV UTF-8 (comma delimited)" in error.cure


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("a.pdf,,\nb.pdf,,\n".encode("utf-16-le"), 1),
        ("a.pdf,,\n".encode("utf-32"), 1),
        (b"\xff\xfe" + "a,,\nb".encode("utf-16-le") + b"\x00", 2),
        (b"a.pdf,,\r\nb.pdf,,\r\n\xe9.pdf,,\r\n", 3),
    ],
)
def test_another_encoding_is_refused_with_its_line(content: bytes, line: int) -> None:
    error = refusal_of(content)
    assert error.where == f"in.csv line {line}" and "CSV UTF-8" in error.cure


@pytest.mark.parametrize(
    "content",
    [
        '"a;b.pdf"\n',
        "a;b.pdf,,request\n",
        "a;b.pdf;,,request\n",
    ],
)
def test_a_comma_or_quotes_keep_a_semicolon_in_a_name(content: str) -> None:
    ((_, cells),) = rows_of(content, MANIFEST_COLUMNS)
    assert cells[0].startswith("a;b.pdf")


def test_a_comma_in_a_name_is_kept_where_the_header_or_a_first_line_shows_the_separator() -> None:
    for first in ("file;proof;request\n", "sep=;\n", "文件;证明;请求\r\n"):
        ((line, cells),) = rows_of(f"{first}a, b.pdf;;request\n", MANIFEST_COLUMNS)
        assert (line, cells[:3]) == (2, ["a, b.pdf", "", "request"])


def test_rows_of_another_width_are_refused_between_semicolons() -> None:
    error = refusal_of("a.pdf;;x\nb;c.pdf;;x\n", MANIFEST_COLUMNS)
    assert (error.where, error.found) == ("in.csv line 2", "4")


@pytest.mark.parametrize(
    "header",
    [
        "File,Proof,Request",
        "文件,证明,请求",
        "檔案,證明,請求",
        "FILE, proof ,REQUEST,Max Age,Bundle",
        "document,proof,request,,,",
    ],
)
def test_a_header_is_known_in_english_and_chinese(header: str) -> None:
    read = rows_of(f"{header}\nreport.pdf,,request\n", MANIFEST_COLUMNS)
    assert read == [(2, ["report.pdf", "", "request", "", ""])]


def test_a_header_says_in_which_order_the_columns_stand() -> None:
    read = rows_of("request,file\nr.luohu,report.pdf\n", MANIFEST_COLUMNS)
    assert read == [(2, ["report.pdf", "", "r.luohu", "", ""])]


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("file,proof,customer", "customer"),
        ("file,proof,文件", "file twice"),
    ],
)
def test_a_header_that_is_not_certain_is_refused(header: str, found: str) -> None:
    error = refusal_of(f"\n{header}\na.pdf,b,c\n", MANIFEST_COLUMNS)
    assert (error.where, error.found) == ("in.csv line 2", found)


@pytest.mark.parametrize("row", ["both.pdf,,request,,bundle", "a.pdf,proof,request", "proof,request,request"])
def test_a_row_that_names_files_as_columns_are_called_is_no_header(row: str) -> None:
    assert rows_of(f"{row}\n", MANIFEST_COLUMNS) == [(1, row.split(","))]


def test_a_quoted_cell_shows_where_cells_begin() -> None:
    assert rows_of('a.pdf;;"r, x"\n', MANIFEST_COLUMNS) == [(1, ["a.pdf", "", "r, x"])]
    assert rows_of('a.pdf,,"r; x"\n', MANIFEST_COLUMNS) == [(1, ["a.pdf", "", "r; x"])]


def test_a_cell_without_a_name_is_refused() -> None:
    assert refusal_of("file,proof\na.pdf,,r\n", MANIFEST_COLUMNS).where == "in.csv line 2"


def test_a_document_that_is_called_as_a_column_is_never_passed_over(tmp_path: Path) -> None:
    manifest, content = tmp_path / "in.csv", b"file\na.pdf\n"
    assert [line for line, _ in read_table(manifest, content, MANIFEST_COLUMNS)] == [2]
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match="may be both"):
        list(read_table(manifest, content, MANIFEST_COLUMNS))


def test_rows_of_nothing_are_none_and_lines_are_those_of_an_editor() -> None:
    content = ',,,\r\n"a\r\nb.pdf",,,,,\r\n , \u3000,,\r\n;;;\r\nc.pdf,,\r\n,,,\r\n'
    read = rows_of(content.replace(";;;\r\n", ""))
    assert read == [(3, ["a\r\nb.pdf", "", ""]), (5, ["c.pdf", "", ""])]


@pytest.mark.parametrize(
    "text",
    [
        "2027/12/31",
        "2027.12.31",
        "2027年12月31日",
        "2027 年 12 月 31 日",
        "31/12/2027",
        "12/31/2027",
        "31.12.2027",
        "31-12-2027",
    ],
)
def test_a_date_of_one_reading_is_taken(text: str) -> None:
    assert parse_time(text) == parse_time("2027-12-31")


def test_days_and_months_of_one_digit_and_times_are_taken() -> None:
    assert parse_time("2027/1/2") == parse_time("2027年1月2日") == parse_time("2027-01-02")
    assert parse_time("3/3/2027") == parse_time("2027-03-03")
    assert parse_time("2027/1/2 8:05") == parse_time("2027-01-02T08:05")
    assert parse_time("31/12/2027 18:00:30") == parse_time("2027-12-31T18:00:30")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1/2/2027", "day 1 of month 2, or day 2 of month 1"),
        ("12-11-2027", "day 12 of month 11, or day 11 of month 12"),
        ("31/12/27", "two digits"),
        ("46752", "a number"),
        ("46752.0", "a number"),
        ("31/13/2027", "no month"),
        ("31/6/2027", "day"),
        ("2027/2/30", "day"),
        ("2027/12/31 0:00", "write the date alone"),
        ("2027/12-31", "expected"),
        ("2027年12月31", "expected"),
    ],
)
def test_a_date_that_is_not_certain_is_refused_with_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match="expected a date like 2026-12-31") as caught:
        parse_time(text)
    assert why in f"{caught.value}"


def test_an_uncertain_date_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").touch()
    manifest = tmp_path / "in.csv"
    manifest.write_text("file,expiry\na.pdf,1/2/2027\n")
    with pytest.raises(CommandError, match="day 1 of month 2") as caught:
        read_manifest(manifest, expires_ms=None)
    assert caught.value.where == f"{manifest} line 2"
