"""Files that manifests name: found in each spelling of people, or told all at once with their lines."""

from pathlib import Path
from unicodedata import normalize

import pytest

from cli.exits import CommandError
from cli.listedfiles import MISSING_SHOWN_MAX, ListedFiles
from cli.manifest import read_manifest

NAME = "Café 報告.pdf"
NFC, NFD = normalize("NFC", NAME), normalize("NFD", NAME)


def listed(folder: Path) -> ListedFiles:
    return ListedFiles(folder / "in.csv")


@pytest.mark.parametrize(("written", "there"), [(NFC, NFD), (NFD, NFC), (NFC, NFC), (NFD, NFD)])
def test_a_name_is_found_in_either_normal_form(tmp_path: Path, written: str, there: str) -> None:
    (tmp_path / there).touch()
    files = listed(tmp_path)
    assert files.find(1, written) == tmp_path / there
    assert files.missing() is None


def test_folders_are_found_in_either_normal_form_too(tmp_path: Path) -> None:
    folder = tmp_path / normalize("NFD", "é")
    folder.mkdir()
    (folder / "a.pdf").touch()
    assert listed(tmp_path).find(1, normalize("NFC", "é") + "/a.pdf") == folder / "a.pdf"


def test_of_two_files_the_one_of_exactly_the_name_is_taken_and_no_other(tmp_path: Path) -> None:
    # Three forms of one name: composed, apart, and the sign of Angstrom.
    forms = ["\u00c5.pdf", "A\u030a.pdf"]
    for form in forms:
        (tmp_path / form).touch()
    assert [listed(tmp_path).find(1, form).name for form in forms] == forms
    with pytest.raises(CommandError, match="Unicode form") as caught:
        listed(tmp_path).find(7, "\u212b.pdf")
    assert caught.value.where == f"{tmp_path / 'in.csv'} line 7"


@pytest.mark.parametrize("written", ["sub\\报告.pdf", ".\\sub\\报告.pdf", "sub\\..\\sub\\报告.pdf"])
def test_a_path_with_backslashes_is_found_where_it_exists(tmp_path: Path, written: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "报告.pdf").touch()
    files = listed(tmp_path)
    assert files.find(1, written).samefile(tmp_path / "sub" / "报告.pdf")
    assert files.missing() is None


def test_a_file_of_exactly_the_name_is_taken_before_another_reading(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.pdf").touch()
    (tmp_path / "sub\\a.pdf").touch()
    assert listed(tmp_path).find(1, "sub\\a.pdf") == tmp_path / "sub\\a.pdf"


@pytest.mark.parametrize(
    "written",
    ["C:\\Users\\王小明\\报告.pdf", "d:\\报告.pdf", "C:/Users/x\\报告.pdf", "\\\\server\\share\\报告.pdf"],
)
def test_a_path_of_windows_is_refused_with_words_that_help(tmp_path: Path, written: str) -> None:
    with pytest.raises(CommandError, match="a machine with Windows") as caught:
        listed(tmp_path).find(3, written)
    assert "line 3" in caught.value.where and "write 报告.pdf" in caught.value.cure


def test_no_link_is_followed_to_look_for_a_spelling(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / NFD).touch()
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "sub").symlink_to(outside)
    files = listed(folder)
    assert files.find(1, f"sub/{NFC}") == folder / "sub" / NFC
    assert files.missing() == f"line 1: sub/{NFC}"


def test_all_missing_files_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    (tmp_path / "b.pdf").touch()
    (tmp_path / "link.pdf").symlink_to("b.pdf")
    manifest = tmp_path / "in.csv"
    manifest.write_text("file,holder key\na.pdf,\nb.pdf,\n\nc.pdf,\nlink.pdf,\n")
    with pytest.raises(CommandError) as caught:
        read_manifest(manifest, expires_ms=None)
    assert caught.value.found == "missing: line 2: a.pdf; line 5: c.pdf; line 6: link.pdf (a link)"
    assert "nothing was anchored" in caught.value.cure


@pytest.mark.parametrize("extra", [0, 1])
def test_what_is_told_as_missing_has_a_limit(tmp_path: Path, extra: int) -> None:
    files = listed(tmp_path)
    for line in range(MISSING_SHOWN_MAX + extra):
        files.find(line + 1, "a.pdf")
    told = files.missing()
    assert told is not None and told.count("a.pdf") == MISSING_SHOWN_MAX
    assert told.endswith("and 1 more") == bool(extra)


def test_one_file_under_two_spellings_is_named_twice(tmp_path: Path) -> None:
    (tmp_path / NFD).touch()
    manifest = tmp_path / "in.csv"
    manifest.write_text(f"{NFC},,\n{NFD},,\n", encoding="utf-8")
    with pytest.raises(CommandError, match="each file once"):
        read_manifest(manifest, expires_ms=None)
