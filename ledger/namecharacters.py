"""The characters of members' names: a closed list, so that every interpreter agrees on what a name is.

Rule 1: what is a letter, assigned or normalized differs between versions of Unicode, and Python carries its own. Two
nodes that disagreed on one name would be a fork. A name holds only characters from this list, which all have been
assigned since Unicode 14 (Python 3.11) and stand for themselves under NFC; both are promised for ever by Unicode.
Rule 2: the list holds what legal names here are written with: Latin, Chinese characters, and their punctuation.
"""

from typing import Final

RANGES: Final = (
    (0x0020, 0x007E),  # ASCII
    (0x00B7, 0x00B7),  # the middle dot of transcribed names
    (0x00C0, 0x024F),  # Latin letters with marks
    (0x1E00, 0x1EFF),
    (0x2010, 0x2015),  # dashes
    (0x2018, 0x201F),  # quotation marks
    (0x2026, 0x2026),
    (0x3001, 0x3003),  # Chinese punctuation
    (0x3005, 0x3011),
    (0x3014, 0x301B),
    (0x3400, 0x4DBF),  # Chinese characters, extension A
    (0x4E00, 0x9FFF),  # Chinese characters
    (0xFF01, 0xFF5E),  # full-width forms
    (0x20000, 0x2A6DF),  # Chinese characters, extension B
)


def find_foreign(text: str) -> str | None:
    """Return the first character of a text that no name may hold; None where it may hold them all."""
    for character in text:
        point = ord(character)
        if not any(first <= point <= last for first, last in RANGES):
            return character
    return None
