"""Texts that a stranger would choose, and what of them must never be in an output that somebody else interprets."""

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

ESC: Final = "\x1b"
TITLE: Final = f"{ESC}]0;owned\x07"
COLOUR: Final = f"{ESC}[2J{ESC}[31m"
EIGHT_BIT: Final = "\x9b2J\x9d0;owned\x9c"
BACKWARDS: Final = "\u202egpj.exe\u202c\u2066\u2069\u200f\u061c"
UNSEEN: Final = "a\u200b\ufeff\u00ad\u2060\ufe0f\U000e0101\u3164\u115f\u034fb"
FORGED_LINE: Final = (
    "x\n  VERIFIED\r\n2026-01-01 00:00:00,000 INFO node.run node.ended member=hk-bureau"
    "\x0b\x0c\x85\u2028\u2029"
)
FORMULA: Final = '=HYPERLINK("http:x","ok")'
MARKUP: Final = '"><script>alert(1)</script><!--'
QUOTES: Final = "\" x=1 'y' \\\" \\"
LONG: Final = "x" * 1_000 + ESC + "y" * 1_000
ESCAPED: Final = r"\u{1b}\u{5c}u{1b}\x1b"
CHINESE: Final = "王小明　报告（副本）"

TEXTS: Final = {
    "title": TITLE,
    "colour": COLOUR,
    "eight bit": EIGHT_BIT,
    "backwards": BACKWARDS,
    "unseen": UNSEEN,
    "line": FORGED_LINE,
    "formula": FORMULA,
    "markup": MARKUP,
    "quotes": QUOTES,
    "long": LONG,
    "escaped": ESCAPED,
    "Chinese": CHINESE,
}
"""By what each tries."""

_UNSEEN: Final = re.compile("[\u034f\u115f\u1160\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
_FORBIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def raw_in(text: str, *, allowed: str = "") -> list[str]:
    """Return the characters of an output that steer, hide or break: by Unicode's own tables, not by ours."""
    return [
        f"U+{ord(character):04X}"
        for character in text
        if character not in allowed
        and (unicodedata.category(character) in _FORBIDDEN or _UNSEEN.match(character))
    ]


def raw_in_output(text: str) -> list[str]:
    """Return the same of what a command printed, whose own lines may end."""
    return raw_in(text, allowed="\n")


def forged_in(lines: Iterable[str]) -> list[str]:
    """Return the lines that FORGED_LINE would have made."""
    return [line for line in lines if line.strip() == "VERIFIED" or line.startswith("2026-01-01 00:00:00")]
