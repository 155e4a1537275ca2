"""Text as people are shown it: what a reader would not see is escaped (docs/threats.md, Texts of strangers).

A name, a path or an answer that somebody else chose may hold what steers a terminal, turns the direction of writing,
ends a line, or is drawn as nothing.

Rule 1: visible text holds no control (U+0000 to U+001F, U+007F to U+009F), no line or paragraph separator, no format
character (all that steer the direction of writing among them), no surrogate, nothing private or unassigned, and no
character that is drawn as nothing. Each stands there as `\\u{1b}`: its number in hexadecimal, without leading zeros.
Rule 2: two texts are never shown alike: a backslash before `u{` is escaped too, and `from_visible` leads back.
Rule 3: all else stays as it is, Chinese text and its wide space among it.
Rule 4: JSON that is printed or answered holds texts as they are, in the escapes that JSON has.
"""

import json
import re
from collections.abc import Callable
from typing import Final

UNSEEN: Final = (
    (0x034F, 0x034F),  # joins what is drawn anyway
    (0x115F, 0x1160),  # fillers of Hangul
    (0x17B4, 0x17B5),  # vowels of Khmer that are not drawn
    (0x180B, 0x180F),  # variants of Mongolian letters
    (0x2800, 0x2800),  # Braille without a dot
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),  # variants of the character before
    (0xFFA0, 0xFFA0),
    (0x16FE4, 0x16FE4),
    (0x1D159, 0x1D159),  # a note of music without a head
    (0xE0100, 0xE01EF),
)
"""What `str.isprintable` lets through, and fonts draw as nothing."""

_WIDE_SPACE: Final = "\u3000"
_ranges: Final = "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in UNSEEN)
_search_special: Final = re.compile(rf"[{_ranges}]|\\u\{{").search
_is_unseen: Final = re.compile(f"[{_ranges}]").match
_ESCAPE: Final = re.compile(r"\\u\{(0|[1-9a-f][0-9a-f]{0,4}|10[0-9a-f]{4})\}", re.ASCII)


def visible(text: str) -> str:
    """Return a text as people are shown it (rules 1 to 3)."""
    if text.isprintable() and _search_special(text) is None:
        return text
    return escape_where(text, lambda place: not is_seen(text[place]) or text.startswith("\\u{", place))


def from_visible(shown: str) -> str:
    """Return the text that is shown so."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), shown)


def ascii_json(value: object, *, indent: int | None = None) -> str:
    """Return a value as JSON of visible ASCII, on one line where it is not indented. It holds the texts themselves."""
    # JSON lets one control through, DEL. It can stand in strings alone.
    return json.dumps(value, indent=indent).replace("\x7f", "\\u007f")


def is_seen(character: str) -> bool:
    """Say whether a character is shown as it is."""
    return character == _WIDE_SPACE or (character.isprintable() and _is_unseen(character) is None)


def escape_where(text: str, is_escaped: Callable[[int], bool]) -> str:
    """Return a text with the characters escaped at the places that `is_escaped` names."""
    return "".join(
        f"\\u{{{ord(character):x}}}" if is_escaped(place) else character
        for place, character in enumerate(text)
    )
