"""Make `ledger/encoding/lookalikes.py`: which characters of text a reader takes for which.

Run `python -m tests.vectors.make_lookalikes` at the top of the repository, with `confusable-homoglyphs` 3.3.1 from the
package index beside the project's own dependencies. It carries the data of Unicode's UTS #39 (Unicode Security
Mechanisms, section 4). What the table says is a rule of the ledger: it changes only where that rule does.

Rule 1: what UTS #39 calls confusable, a letter and its capital, and a letter with and without marks are alike; so is
whatever is alike to the same.
Rule 2: spaces and punctuation say nothing, unless they look like a letter or a Chinese character.
"""

import json
import subprocess
import sys
import unicodedata
from importlib.resources import files

from ledger.encoding.textcharacters import RANGES
from tests.support.sources import ROOT

PATH = ROOT / "ledger" / "encoding" / "lookalikes.py"
LINE_MAX = 40
HEAD = '''"""Which characters of text a reader takes for which: what of two names looks the same.

Made by `python -m tests.vectors.make_lookalikes`, which says how. The table is closed, as that of characters is
(`ledger.encoding.textcharacters`), so that every interpreter agrees.
"""

from typing import Final

'''
FOOT = '''

_TABLE: Final = {ord(character): shown for shown, alike in ALIKE for character in alike}


def skeleton(text: str) -> str:
    """Return what a reader sees of a text of listed characters: two texts that look the same have the same."""
    return text.translate(_TABLE)
'''


class Classes:
    """Which texts are alike, as sets that grow together."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}

    def find(self, text: str) -> str:
        """Return the one that stands for all that are alike."""
        while (parent := self._parents.setdefault(text, text)) != text:
            self._parents[text] = text = self._parents.setdefault(parent, parent)
        return text

    def join(self, one: str, other: str) -> None:
        """Take note that two are alike."""
        self._parents[self.find(one)] = self.find(other)

    def all(self) -> dict[str, set[str]]:
        """Return every set, by the one that stands for it."""
        found: dict[str, set[str]] = {}
        for text in list(self._parents):
            found.setdefault(self.find(text), set()).add(text)
        return found


def listed() -> list[str]:
    """Return every character that text may hold."""
    return [chr(code) for first, last in RANGES for code in range(first, last + 1)]


def plain(text: str) -> str:
    """Return a text without marks, in small letters, and not in full width."""
    is_wide = all(unicodedata.east_asian_width(each) == "F" for each in text)
    apart = unicodedata.normalize("NFKD" if is_wide else "NFD", text)
    return "".join(each for each in apart if not unicodedata.combining(each)).lower()


def says_something(character: str) -> bool:
    """Say whether a character is a letter, a number or a Chinese character."""
    return unicodedata.category(character)[0] in "LN"


def classes() -> Classes:
    """Return what is alike."""
    found, characters = Classes(), set(listed())
    confusables = json.loads(files("confusable_homoglyphs").joinpath("confusables.json").read_text("utf-8"))
    for character, others in confusables.items():
        for other in others:
            if len(character) == 1 or len(other["c"]) == 1:
                found.join(character, other["c"])
    for character in characters:
        if says_something(character) and plain(character):
            found.join(character, plain(character))
    return found


def table() -> dict[str, str]:
    """Return what each listed character is shown as, where that is another text."""
    characters, found = set(listed()), classes()
    shown: dict[str, str] = {}
    for alike in found.all().values():
        inside = sorted(
            (each for each in alike if set(each) <= characters), key=lambda each: (len(each), each)
        )
        longer = [each for each in inside if len(each) > 1 and all(map(says_something, each))]
        single = [each for each in inside if len(each) == 1 and says_something(each)]
        for each in inside:
            if len(each) == 1:
                shown[each] = longer[0] if longer else single[0] if single else ""
    for character in characters:
        if character not in shown:
            shown[character] = character if says_something(character) else ""
    while True:
        further = {each: "".join(shown[part] for part in text) for each, text in shown.items()}
        if further == shown:
            return {each: text for each, text in shown.items() if each != text}
        shown = further


def text() -> str:
    """Return the module's source, formatted."""
    groups: dict[str, list[str]] = {}
    for character, shown in table().items():
        groups.setdefault(shown, []).append(character)
    lines = [HEAD, "ALIKE: Final = (\n"]
    for shown, alike in sorted(groups.items()):
        lines.append(f"    ({json.dumps(shown, ensure_ascii=False)}, ")
        every = "".join(sorted(alike))
        pieces = [every[at : at + LINE_MAX] for at in range(0, len(every), LINE_MAX)]
        lines.append(" ".join(json.dumps(piece, ensure_ascii=False) for piece in pieces) + "),\n")
    lines += [')\n"""What is shown, and the characters that are taken for it."""\n', FOOT]
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(PATH), "-"]
    done = subprocess.run(command, input="".join(lines), capture_output=True, text=True, check=True)
    return done.stdout


if __name__ == "__main__":
    PATH.write_text(text(), "utf-8")
