"""What people are shown: nothing steers, hides or ends a line, and two texts are never shown alike."""

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.visibletext import UNSEEN, ascii_json, from_visible, is_seen, visible
from tests.support.strangers import CHINESE, TEXTS, raw_in

ANYTHING = st.text(st.characters(exclude_categories=()))
NEAR = st.text("\\u{}015bcx\x1b\x9b\u202e\udc80\u3000 王\U0010ffff", max_size=12)
KEPT_SPACES = {" ", "\u3000"}


@pytest.mark.slow
def test_no_character_of_unicode_is_shown_that_steers_hides_or_ends_a_line() -> None:
    size = 512
    for first in range(0, sys.maxunicode + 1, size):
        text = "".join(map(chr, range(first, first + size)))
        shown = visible(text)
        assert shown == "".join(f"\\u{{{ord(each):x}}}" if is_bad(each) else each for each in text), (
            f"U+{first:04X}"
        )
        assert from_visible(shown) == text
        written = ascii_json(text)
        assert written.isascii() and written.isprintable() and json.loads(written) == text


def is_bad(character: str) -> bool:
    category = unicodedata.category(character)
    return (
        category in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
        or (category == "Zs" and character not in KEPT_SPACES)
        or any(first <= ord(character) <= last for first, last in UNSEEN)
    )


@given(st.one_of(ANYTHING, NEAR))
def test_visible_text_leads_back_to_the_text(text: str) -> None:
    shown = visible(text)
    assert raw_in(shown) == []
    # So no two texts are shown alike.
    assert from_visible(shown) == text
    assert all(is_seen(character) for character in shown)


@pytest.mark.parametrize("name", TEXTS)
def test_what_strangers_choose_is_seen(name: str) -> None:
    shown = visible(TEXTS[name])
    assert raw_in(shown) == []
    assert from_visible(shown) == TEXTS[name]


def test_what_can_be_read_stays_as_it_is() -> None:
    for text in (
        CHINESE,
        "",
        "C:\\users\\王小明",
        "\\x1b",
        "{}",
        "naïve Ελλάδα русский 日本語 한국어",
        "a  b",
    ):
        assert visible(text) == text
    assert visible("\\u{1b}") == "\\u{5c}u{1b}"
    assert visible("\x1b[31m\n") == "\\u{1b}[31m\\u{a}"


@pytest.mark.parametrize("spelt", ["\\u{1B}", "\\u{01b}", "\\u{}", "\\u{110000}", "\\u{1b", "\\u1b"])
def test_only_the_one_spelling_of_an_escape_is_one(spelt: str) -> None:
    assert from_visible(spelt) == spelt
