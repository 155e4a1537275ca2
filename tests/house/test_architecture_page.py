"""The page on architecture fits two screens, names every room, and has a picture that needs nothing else."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from tests.support.sources import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
PICTURE = ROOT / "docs" / "pictures" / "architecture.svg"
LINES_MAX = 90
WIDTH_MAX = 100
SVG = "{http://www.w3.org/2000/svg}"


def rooms() -> set[str]:
    packages = {
        path.parent for name in ("ledger", "node", "cli") for path in (ROOT / name).rglob("__init__.py")
    }
    return {f"{path.relative_to(ROOT).as_posix()}/" for path in packages}


def find_faults(page: str, real: set[str]) -> set[str]:
    """Return the rooms that a page's table lacks, and those that it names and that are not there."""
    named = {
        room
        for row in re.findall(r"^\| (`.+?/`) \|", page, re.MULTILINE)
        for room in re.findall(r"`(.+?)`", row)
    }
    of_packages = {room for room in named if room.split("/")[0] in ("ledger", "node", "cli")}
    gone = {room for room in named if not (ROOT / room).is_dir()}
    return (real ^ of_packages) | gone


def test_every_room_is_in_the_table() -> None:
    assert len(rooms()) > 15
    assert find_faults(PAGE, rooms()) == set()


def test_a_room_that_is_missing_or_gone_is_noticed() -> None:
    assert find_faults(PAGE.replace("| `node/sync/` |", "| `node/gone/` |"), rooms()) == {
        "node/sync/",
        "node/gone/",
    }


def test_what_to_read_first_exists() -> None:
    rows = re.findall(r"^\| `((?:ledger|node|cli)/[\w/]*)` \| [^|]+ \| (.+) \|$", PAGE, re.MULTILINE)
    assert len(rows) == len(rooms())
    for room, modules in rows:
        for module in re.findall(r"`(\w+)`", modules):
            assert (ROOT / room / f"{module}.py").is_file(), f"{room}{module}"


def test_it_fits_two_screens() -> None:
    lines = PAGE.splitlines()
    assert len(lines) <= LINES_MAX
    assert [line for line in lines if len(line) > WIDTH_MAX] == []


def test_the_picture_is_whole_and_loads_nothing() -> None:
    assert f"]({PICTURE.relative_to(ROOT / 'docs').as_posix()})" in PAGE
    text = PICTURE.read_text("utf-8")
    tree = ElementTree.fromstring(text)
    assert tree.findtext(f"{SVG}title") and tree.findtext(f"{SVG}desc")
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"<script|<image|<foreignObject|@import|@font-face|href=|url\((?!#)", text)
    assert re.findall(r"https?://[^\"\s]+", text) == ["http://www.w3.org/2000/svg"]


def test_the_rooms_of_the_picture_are_there() -> None:
    names = [element.text or "" for element in ElementTree.parse(PICTURE).iter(f"{SVG}text")]
    shown = {room for name in names for room in re.findall(r"\b(\w+)/", name)} - {"issuing"}
    real = {Path(room).name for room in rooms()} | {"web"}
    assert len(shown) > 15
    assert shown <= real
