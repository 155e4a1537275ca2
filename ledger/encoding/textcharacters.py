"""The characters of text: a closed list, so that every interpreter agrees on what text is (docs/formats.md, Codec).

Rule 1: what is a letter, assigned or normalized differs between versions of Unicode, and Python carries its own. Two
nodes that disagreed on one text would be a fork. Text holds only characters from this list. All have been assigned
since Unicode 14 (Python 3.11), stand for themselves under NFC and combine with nothing before them; all three are
promised for ever by Unicode, so that every text of these characters is in NFC, and nothing is asked of an interpreter.
Rule 2: the list holds what legal names here are written with: Latin, Chinese characters, and their punctuation.
"""

import re
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

# Ranges of code points alone: no class, case or property, which the expression would ask the interpreter for.
_search_foreign: Final = re.compile(
    "[^" + "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in RANGES) + "]"
).search


def find_foreign(text: str) -> str | None:
    """Return the first character of a text that no text may hold; None where it may hold them all."""
    found = _search_foreign(text)
    return None if found is None else found.group()
