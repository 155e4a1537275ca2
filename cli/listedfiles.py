"""Files that a manifest names, found in its folder as people wrote them down.

Rule 1: a file of exactly the name is that file. Only where there is none, another spelling is looked for.
Rule 2: a name in another normal form is the same name (NFC, as Windows and people write; NFD, as macOS may). Where two
files have it, none is taken.
Rule 3: `a\\b.pdf` is `a/b.pdf` where that exists. A path with a drive or a server names no file here, and is refused
with words that help: on Windows it is a path as every other.
Rule 4: what is missing, or is no regular file, is collected, so that all of it is told at once.
Rule 5: nothing here opens a file or follows a link: whoever opens decides again (node/files/reading.py, rule 2).
"""

import os
import re
import stat
from pathlib import Path, PurePath
from typing import Final
from unicodedata import normalize

from cli.spreadsheets import table_refused

MISSING_SHOWN_MAX: Final = 1_000
FOLDERS_KEPT_MAX: Final = 10_000

_is_windows_path: Final = re.compile(r"[A-Za-z]:[\\/]|\\\\").match


class ListedFiles:
    """The files that one manifest names, and which of them are missing."""

    def __init__(self, manifest: Path) -> None:
        self._manifest = manifest
        self._folder = manifest.parent
        self._names: dict[Path, dict[str, list[str]]] = {}
        self._missing: list[str] = []

    def find(self, line: int, name: str) -> Path:
        """Return the path of a file that a line names, and note it where it is missing. Raises CommandError."""
        path = self._folder / name
        kind = _kind(path)
        if kind is None and os.path.sep != "\\" and "\\" in name:
            self._check_windows(line, name)
            path = self._folder / name.replace("\\", "/")
            kind = _kind(path)
        if kind is None:
            path = self._in_other_form(line, path)
            kind = _kind(path)
        if kind is None:
            self._missing.append(f"line {line}: {name}")
        elif not stat.S_ISREG(kind):
            self._missing.append(
                f"line {line}: {name} ({'a link' if stat.S_ISLNK(kind) else 'no regular file'})"
            )
        return path

    def find_beside(self, line: int, path: Path, suffix: str) -> Path:
        """Return the path of what stands beside a file under its name and a suffix, in whichever normal form."""
        beside = path.with_name(path.name + suffix)
        return beside if os.path.lexists(beside) else self._in_other_form(line, beside)

    def note_missing(self, line: int, path: Path) -> None:
        """Note that a file which no cell names is missing."""
        self._missing.append(f"line {line}: {path.name}")

    def missing(self) -> str | None:
        """Return all that is missing, with the lines, as one text of MISSING_SHOWN_MAX files at most; None: nothing."""
        if not self._missing:
            return None
        shown = self._missing[:MISSING_SHOWN_MAX]
        rest = len(self._missing) - len(shown)
        return "; ".join([*shown, *([f"and {rest} more"] if rest else [])])

    def _check_windows(self, line: int, name: str) -> None:
        if _is_windows_path(name) is None:
            return
        last = name.replace("\\", "/").rsplit("/", 1)[-1]
        raise table_refused(
            f"{self._manifest} line {line}",
            "the name of a file beside the manifest, or a path of this machine",
            f"{name}, a path of a machine with Windows",
            cure=f"Copy the file into the manifest's folder and write {last}, or verify and anchor on that machine.",
        )

    def _in_other_form(self, line: int, path: Path) -> Path:
        """Return the path of which each step is there, in whichever normal form; `path` itself where one is not."""
        if not path.is_relative_to(self._folder) or path == self._folder:
            return path
        found = self._folder
        for step in PurePath(path).relative_to(self._folder).parts:
            if step == ".." or os.path.lexists(found / step):
                found /= step
                continue
            same = self._listing(found).get(normalize("NFC", step), [])
            if len(same) > 1:
                raise table_refused(
                    f"{self._manifest} line {line}",
                    "the name of one file",
                    f"{len(same)} files whose names look like {step}: they differ in their Unicode form alone",
                    cure="Rename one of them.",
                )
            if not same:
                return path
            found /= same[0]
        return found

    def _listing(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self._names:
            if len(self._names) >= FOLDERS_KEPT_MAX:
                self._names.clear()
            names: dict[str, list[str]] = {}
            kind = _kind(folder)
            # The manifest's own folder is the user's, by a link too. Below it no link is followed.
            if folder == self._folder or (kind is not None and stat.S_ISDIR(kind)):
                try:
                    for each in folder.iterdir():
                        names.setdefault(normalize("NFC", each.name), []).append(each.name)
                except OSError:
                    # A folder that one may go through and not list: whatever is in it has one spelling.
                    names = {}
            self._names[folder] = names
        return self._names[folder]


def _kind(path: Path) -> int | None:
    """Return the mode of what has a name, or None where nothing has it."""
    try:
        return path.lstat().st_mode
    except (OSError, ValueError):
        # Too long, through a file, or in no encoding of file names: nothing has such a name.
        return None
