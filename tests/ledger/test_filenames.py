"""Names that every system reads alike: a closed rule, and no two that a reader takes for one."""

import unicodedata

import pytest

from ledger.filenames import NAME_SIZE_MAX, find_fault, is_alike

FINE = (
    "report.pdf",
    "a",
    "报告.pdf",
    "信用報告（副本）2026：張三.pdf",
    "Müller & Söhne, 2026 (1).pdf",
    "《证明》.pdf",
    "CONTRACT.pdf",
    "COM10.pdf",
    "report.con",
    "[draft] it's 100% final!.pdf",
    "a" * NAME_SIZE_MAX,
    "文" * (NAME_SIZE_MAX // 3),
)
REFUSED = (
    "",
    "a" * (NAME_SIZE_MAX + 1),
    "文" * (NAME_SIZE_MAX // 3 + 1),
    # Paths, drives, streams.
    "a/b",
    "/a",
    "a\\b",
    "..",
    ".",
    "C:x",
    "C:",
    "a:b",
    "report.pdf:hidden",
    "a／b",
    "a＼b",
    "．．",
    "C：x",
    # What stands for other names, or is quoted away.
    "*.pdf",
    "a?.pdf",
    'a"b',
    "<a>",
    "a|b",
    # Options, formulas, homes, hidden and special files, in either width.
    "-rf",
    "=1+1.pdf",
    "+cmd.pdf",
    "@SUM(1).pdf",
    "~",
    ".bashrc",
    "._report.pdf",
    "$MFT",
    "－rf",
    "＝1",
    "＋1",
    "＠x",
    # What Windows drops.
    "report.pdf.",
    "report.pdf ",
    " report.pdf",
    "report。pdf．",
    # Devices.
    "CON",
    "con",
    "nul.pdf",
    "Aux .txt",
    "COM1",
    "lpt9.tar.gz",
    "COM0",
    "CONIN$",
    "ＣＯＮ.pdf",
    # What no reader sees, or sees turned round.
    "report\u202efdp.exe",
    "report\u2066.pdf",
    "re\u200bport.pdf",
    "re\u00adport.pdf",
    "report\u00a0.pdf",
    "report\u3000.pdf",
    "\ufeffreport.pdf",
    "re\x1b[31mport.pdf",
    "re\tport.pdf",
    "re\nport.pdf",
    "re\x00port.pdf",
    "re\x7fport.pdf",
    "re\x9bport.pdf",
    "re\u2028port.pdf",
    # Two spellings of one letter, letters of other scripts, halves of a character.
    "re\u0301port.pdf",
    "rероrt.pdf",
    "ＲΕΡΟＲΤ.pdf",
    "a\ud800.pdf",
    "a\U000e0041.pdf",
    "\U0001f600.pdf",
)


@pytest.mark.parametrize("name", FINE)
def test_a_plain_name_is_one(name: str) -> None:
    assert find_fault(name) is None
    assert unicodedata.is_normalized("NFC", name)


@pytest.mark.parametrize("name", REFUSED, ids=ascii)
def test_a_name_that_some_system_reads_otherwise_is_refused(name: str) -> None:
    assert find_fault(name)


def test_of_ascii_only_what_some_system_takes_for_something_is_refused() -> None:
    refused = {chr(code) for code in range(128) if find_fault(f"a{chr(code)}b") is not None}
    assert refused == {*map(chr, range(32)), "\x7f", *'\\/:*?"<>|'}


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("report.pdf", "REPORT.PDF"),
        ("report.pdf", "rep0rt.pdf"),
        ("report.pdf", "repοrt.pdf".replace("ο", "ö")),
        ("l.pdf", "1.pdf"),
        ("戶口.pdf", "戸口.pdf"),
        ("a b", "a-b"),
        ("ｒeport", "report"),
    ],
)
def test_two_names_that_a_reader_takes_for_one_are_one(name: str, other: str) -> None:
    assert is_alike(name, other) and is_alike(other, name)


def test_names_that_differ_to_a_reader_are_two() -> None:
    assert not is_alike("report.pdf", "report.pdf.proof")
    assert not is_alike("報告.pdf", "报告.pdf")
