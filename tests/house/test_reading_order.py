"""The reading order for a bank names every module that the verifier loads, each once, and is right about their size."""

import re

import pytest

from tests.support.sources import ROOT, files_loaded_by, imported, parsed

SECTION = (
    (ROOT / "docs" / "verifying.md")
    .read_text("utf-8")
    .partition("\n## Reading it\n")[2]
    .partition("\n## ")[0]
)
PARTS = re.split(r"^\*\*\d\. ", SECTION, flags=re.MULTILINE)[1:]
# How far a rounded count may be from what stands there.
SHARE = 0.15


def modules_in(text: str) -> list[str]:
    return re.findall(r"`(ledger/[\w/]+\.py)`", text)


def loaded() -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in files_loaded_by("ledger.verifier")]


def test_it_names_what_the_verifier_loads_each_once() -> None:
    named = modules_in(SECTION)
    assert len(loaded()) > 20
    assert sorted(named) == loaded(), set(named) ^ set(loaded())


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.split("**")[0])
def test_the_rounded_counts_are_about_right(part: str) -> None:
    said = int(re.findall(r"about ([\d,]+) lines", part)[0].replace(",", ""))
    lines = sum(len((ROOT / module).read_text("utf-8").splitlines()) for module in modules_in(part))
    assert abs(lines - said) < SHARE * lines, f"{lines} lines"


def test_what_decides_comes_first_and_block_0_last() -> None:
    assert [modules_in(part)[0] for part in PARTS] == [
        "ledger/verifier.py",
        "ledger/encoding/codec.py",
        "ledger/genesis.py",
    ]


def test_it_imports_the_packages_that_the_page_names() -> None:
    roots = {
        name.split(".")[0]
        for path in files_loaded_by("ledger.verifier")
        for name in imported(parsed(path.read_text()))
    }
    foreign = roots & {"nacl", "msgpack", "cryptography", "aiohttp", "click", "plyvel"}
    assert foreign == {"nacl", "msgpack"}
    assert "two packages: PyNaCl (libsodium) and msgpack" in SECTION
