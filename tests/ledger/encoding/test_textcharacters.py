"""Text, members' names above all: the same on every interpreter, whatever version of Unicode it carries."""

import re
import sys
import unicodedata
from dataclasses import replace

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding.codec import decode
from ledger.encoding.records import pack, to_value, unpack
from ledger.encoding.textcharacters import RANGES, find_foreign
from ledger.errors import EncodingError
from ledger.genesis import GenesisMember
from tests.support.consortium import genesis_member, make_content
from tests.support.sources import ROOT

FORMATS = ROOT / "docs" / "formats.md"
LEDGER = FORMATS.parents[1] / "ledger"
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
    with pytest.raises(EncodingError, match="U\\+"):
        pack(replace(genesis_member("hk-bureau"), name_en=f"Bank {foreign}"))
    value = to_value(genesis_member("hk-bureau"))
    assert isinstance(value, tuple)
    spelled = msgpack.packb((*value[:3], f"Bank {foreign}", *value[4:]), use_bin_type=True)
    with pytest.raises(EncodingError, match="U\\+"):
        unpack(GenesisMember, spelled)
    with pytest.raises(EncodingError, match="U\\+"):
        decode(spelled)


def find_foreign_one_by_one(text: str) -> str | None:
    for character in text:
        if not any(first <= ord(character) <= last for first, last in RANGES):
            return character
    return None


@pytest.mark.slow
def test_the_expression_finds_what_the_list_says_of_every_code_point() -> None:
    for point in range(sys.maxunicode + 1):
        assert find_foreign(chr(point)) == find_foreign_one_by_one(chr(point)), f"U+{point:04X}"


@given(st.text())
def test_the_expression_finds_the_first_foreign_character(text: str) -> None:
    assert find_foreign(text) == find_foreign_one_by_one(text)


@given(st.text(st.sampled_from([chr(point) for first, last in RANGES for point in (first, last)])))
def test_all_text_of_these_characters_is_normal(text: str) -> None:
    assert unicodedata.is_normalized("NFC", text)


def test_the_rules_ask_no_interpreter_what_a_character_is() -> None:
    rules = [*LEDGER.rglob("*.py"), *(LEDGER.parent / "node" / "consensus").glob("*.py")]
    # It asks which of two reasons to tell of a name that is refused in any case, and no other.
    rules.remove(LEDGER / "sets.py")
    asking = re.compile(
        r"unicodedata|\.(isalpha|isalnum|isdigit|isdecimal|isnumeric|isprintable|casefold|isidentifier)\("
    )
    assert rules and not [path.name for path in rules if asking.search(path.read_text("utf-8"))]


def test_the_page_lists_the_same_ranges() -> None:
    listed = re.search(
        r"Text holds only these code points.*?: (0020.*?)\.\n\n", FORMATS.read_text("utf-8"), re.DOTALL
    )
    assert listed is not None
    found = []
    for each in listed.group(1).replace("\n", " ").split(", "):
        first, _, last = each.strip().partition("–")
        found.append((int(first, 16), int(last or first, 16)))
    assert tuple(found) == RANGES


def test_the_browser_page_holds_text_to_the_same_ranges() -> None:
    def point(number: int) -> str:
        return f"\\\\u{{{number:x}}}" if number > 0xFFFF else f"\\\\u{number:04x}"

    ranges = "".join(
        point(first) if first == last else f"{point(first)}-{point(last)}" for first, last in RANGES
    )
    page = (LEDGER.parent / "web" / "verify.html").read_text("utf-8")
    assert f"^[{ranges}]*$" in re.sub(r'"\s*\+\s*"', "", page)
