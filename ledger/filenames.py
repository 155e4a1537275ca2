"""Names of files that every system reads alike (docs/formats.md, Bundle).

Rule 1: a name holds characters of text alone (ledger/encoding/textcharacters.py, rule 1), so it has one spelling: no
controls, no marks that turn the direction, nothing invisible, nothing that combines.
Rule 2: none of them separates folders, names a drive or a stream, or stands for other names, on any system.
Rule 3: a name does not begin as an option, a formula, a home or a hidden file does, does not end in what Windows
drops, and is none that Windows keeps for a device.
Rule 4: rules 2 and 3 hold for the full-width form of a character too where a system may take it for the plain one.
Rule 5: two names that a reader takes for one are one: case, marks and look-alikes do not tell them apart.
"""

from typing import Final

from ledger.encoding.lookalikes import skeleton
from ledger.encoding.textcharacters import find_foreign

NAME_SIZE_MAX: Final = 255
"""Bytes in UTF-8."""

_RESERVED: Final = frozenset('\\/:*?"<>|')
# Full-width stops and slashes become plain ones in programs with an old code page. The full-width colon and question
# mark stand in many a Chinese title, and lead nowhere by themselves.
_SEPARATORS: Final = frozenset("\\/")
_FIRST: Final = frozenset("-=+@~.$ ")
_LAST: Final = frozenset(". ")
_DEVICES: Final = frozenset(
    {"CON", "PRN", "AUX", "NUL", "CLOCK$", "CONIN$", "CONOUT$"}
    | {f"{port}{number}" for port in ("COM", "LPT") for number in range(10)}
)
_FULL_WIDTH: Final = {0xFF01 + offset: 0x21 + offset for offset in range(0x5E)}


def find_fault(name: str) -> str | None:
    """Return what keeps a name from being read alike everywhere; None where nothing does."""
    if not name or len(name.encode("utf-8", "surrogatepass")) > NAME_SIZE_MAX:
        return f"{'no name' if not name else 'a longer one'}"
    foreign = find_foreign(name)
    if foreign is not None:
        return f"the character U+{ord(foreign):04X}"
    narrow = name.translate(_FULL_WIDTH)
    reserved = sorted((_RESERVED & {*name}) | (_SEPARATORS & {*narrow}))
    if reserved:
        return f"the character {reserved[0]}"
    if narrow[0] in _FIRST or narrow[-1] in _LAST:
        return f"{narrow[0]!r} at its beginning" if narrow[0] in _FIRST else f"{narrow[-1]!r} at its end"
    if narrow[1:2] == ":":
        return "a drive's letter"
    if narrow.partition(".")[0].rstrip(" ").upper() in _DEVICES:
        return "the name of a device"
    return None


def is_alike(name: str, other: str) -> bool:
    """Say whether a reader, or a system that does not tell case apart, takes two names for one."""
    return name.lower() == other.lower() or skeleton(name) == skeleton(other)
