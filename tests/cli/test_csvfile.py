"""Cells: no spreadsheet takes one for a formula, and what was written is read as it was."""

import csv
import io
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cli.csvfile import csv_pieces, from_cell, read_cells, to_cell
from cli.manifest import COLUMNS
from tests.support.strangers import TEXTS, raw_in

ANYTHING = st.text(st.characters(exclude_categories=()))
NEAR = st.text("=+-@＝＋－＠−⁺⁻⁼₊'\"\u201c ;,|\t\r\n\\u{}35bc1x\u3000", max_size=10)
STARTERS = "=+-@\t\r"


def begins_formula(cell: str) -> bool:
    """Say whether a program may take a cell for a formula: by what is asked, not by how it is done."""
    rest = cell.lstrip(' \u3000"\u201c\u201d\u2018\u2019`\u00b4\u00ab')
    is_number = rest.removeprefix("-").isdecimal() and rest.isascii()
    first = unicodedata.normalize("NFKC", rest[:1])[:1]
    return not (is_number and rest == cell) and (first in tuple("=+-@\t\r\u2212") if first else False)


@given(st.one_of(ANYTHING, NEAR))
@example("'=1")
@example("'-5")
@example("''")
@example("\\u{3b}=")
def test_a_cell_is_harmless_and_leads_back(text: str) -> None:
    cell = to_cell(text)
    assert raw_in(cell) == [] and not begins_formula(cell)
    for separator in ";,|\t":
        # The first part is this cell, or begins it; the others a program would see that separates by this character.
        assert not any(begins_formula(part) for part in cell.split(separator)[1:])
    assert from_cell(cell) == from_cell(cell.strip()) == text


@given(st.lists(st.lists(st.one_of(ANYTHING, NEAR), min_size=1, max_size=4), max_size=4))
def test_rows_are_read_as_they_were_written(rows: list[list[str]]) -> None:
    content = b"".join(csv_pieces(rows)).decode()
    read = [
        [from_cell(cell) for cell in cells]
        for cells in csv.reader(io.StringIO(content, newline=""), strict=True)
    ]
    assert read == rows
    # No cell holds a line break, so each line is a row: for a program that knows no quotes, too.
    assert content.count("\n") == len(rows)


@pytest.mark.parametrize("name", TEXTS)
def test_what_strangers_choose_comes_back(name: str) -> None:
    assert from_cell(to_cell(TEXTS[name])) == TEXTS[name]


@pytest.mark.parametrize("sign", "=+-@＝＋－＠﹦﹢﹣﹫⁺⁻⁼₊₋₌−⩵")
@pytest.mark.parametrize("before", ["", "' ", "'", '"', "\u201c", "\u201c\u3000", "'\" "])
def test_signs_after_quotation_marks_and_blanks_get_an_apostrophe(sign: str, before: str) -> None:
    text = f"{before}{sign}1+1"
    assert to_cell(text) == f"'{text}"
    assert from_cell(f"'{text}") == text


@pytest.mark.parametrize(
    "text", ["5", "-5", "0", "2026-12-31", "report.pdf", "a=b", "王", "'x", "a;b", "a - b", ""]
)
def test_what_is_no_formula_stays_as_it_is(text: str) -> None:
    assert to_cell(text) == text == from_cell(text)


def test_blanks_at_the_ends_are_kept_through_a_reader_that_passes_over_them() -> None:
    assert to_cell(" =1 ") == "\\u{20}=1\\u{20}"
    assert to_cell("\u3000王 a\u3000") == "\\u{3000}王 a\\u{3000}"
    assert from_cell(to_cell(" ").strip()) == " "


def test_a_separator_before_a_sign_is_escaped() -> None:
    assert to_cell("a;=cmd()") == "a\\u{3b}=cmd()"
    assert to_cell("a, '@SUM(1)") == "a\\u{2c} '@SUM(1)"


@pytest.mark.parametrize(
    "text", ["=1.pdf", "+cmd", "@SUM(1)", "a;=1", "a\tb\n=c", "'=1", "\x1b]0;x\x07", "王.pdf"]
)
def test_a_manifest_that_was_written_is_read(text: str) -> None:
    content = b"".join(csv_pieces([[text, "", "1h"]]))
    read = list(read_cells(Path("x.csv"), content, size_max=1_000, rows_max=1, columns=COLUMNS))
    assert read == [(1, [text, "", "1h"])]


@pytest.mark.parametrize("text", ["=1.pdf", "-rf", "@x"])
def test_a_manifest_of_somebody_else_means_what_it_says(text: str) -> None:
    assert from_cell(text) == text
