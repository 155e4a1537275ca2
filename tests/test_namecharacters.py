"""Members' names: the same on every interpreter, whatever version of Unicode it carries."""

import re
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.codec import decode, encode
from ledger.errors import EncodingError
from ledger.genesis import GenesisMember
from ledger.namecharacters import RANGES, find_foreign
from ledger.records import pack, unpack
from tests.consortium import genesis_member, make_content

FORMATS = Path(__file__).resolve().parents[1] / "docs" / "formats.md"
NEVER = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Mn", "Mc", "Me"}


def test_every_character_of_names_is_assigned_and_its_own_normal_form() -> None:
    for first, last in RANGES:
        for point in range(first, last + 1):
            character = chr(point)
            assert unicodedata.category(character) not in NEVER, f"U+{point:04X}"
            assert unicodedata.normalize("NFC", character) == character, f"U+{point:04X}"


def test_no_two_characters_of_names_compose() -> None:
    # Only marks and the parts of Hangul syllables compose with what stands before them: names hold neither.
    points = [point for first, last in RANGES for point in range(first, last + 1)]
    assert not any(unicodedata.combining(chr(point)) for point in points)
    assert find_foreign("\u0301") and find_foreign("\u1161")


def test_names_of_the_consortium_are_names() -> None:
    for member in make_content().members:
        assert [
            find_foreign(name) for name in (member.name_zh_hans, member.name_zh_hant, member.name_en)
        ] == [None] * 3


@pytest.mark.parametrize("name", ["香港信貸局（樣本）", "Crédit d’Asie · 亚洲", "𠮷野家", "A&B (H.K.) Ltd."])
def test_a_name_of_these_characters_is_taken(name: str) -> None:
    member = replace(genesis_member("hk-bureau"), name_zh_hant=name)
    assert unpack(GenesisMember, pack(member)) == member


@pytest.mark.parametrize("first, last", RANGES)
def test_the_ends_of_each_range_are_in_and_their_neighbours_out(first: int, last: int) -> None:
    assert find_foreign(chr(first) + chr(last)) is None
    inside = {point for low, high in RANGES for point in (low, high)}
    for point in (first - 1, last + 1):
        assert (find_foreign(chr(point)) is None) == (point in inside)


@pytest.mark.parametrize(
    "foreign", ["\U0001f600", "カ", "한", "\u00a0", "e\u0301", "\u200b", "\U0002a6e0", "\u2028", "Ω"]
)
def test_a_name_with_another_character_is_refused(foreign: str) -> None:
    with pytest.raises(EncodingError):
        pack(replace(genesis_member("hk-bureau"), name_en=f"Bank {foreign}"))
    good = pack(genesis_member("hk-bureau"))
    value = decode(good)
    assert isinstance(value, tuple)
    if foreign in ("\U0001f600", "カ", "한", "Ω", "\u00a0"):
        # What the codec takes as text, a name is not.
        with pytest.raises(EncodingError, match="U\\+"):
            unpack(GenesisMember, encode((*value[:3], f"Bank {foreign}", *value[4:])))


def test_the_page_lists_the_same_ranges() -> None:
    listed = re.search(
        r"A name holds only these code points.*?: (0020.*?)\.\n\n", FORMATS.read_text("utf-8"), re.DOTALL
    )
    assert listed is not None
    found = []
    for each in listed.group(1).replace("\n", " ").split(", "):
        first, _, last = each.strip().partition("–")
        found.append((int(first, 16), int(last or first, 16)))
    assert tuple(found) == RANGES
