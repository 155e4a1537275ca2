"""How far this home's chain had come: what a start still knows of a chain that is gone (docs/starting.md).

Rule 1: it says "at least": written with the first final block, every REACHED_EVERY blocks, and at an orderly end.
Rule 2: it lies beside `data/`, for `data/` is what gets lost, and says nothing that is secret.
Rule 3: where it is lost, damaged or of another chain, nothing is known. It is never a reason not to start.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.encoding.records import Hash, Height, Json, from_json, parse_json, to_json
from ledger.errors import LedgerError
from node.files.durablefile import POSIX_FILES, FileOperations, replace_file
from node.files.reading import open_within

logger = logging.getLogger(__name__)

REACHED_FILE: Final = "reached.json"
REACHED_EVERY: Final = 256
REACHED_FILE_SIZE_MAX: Final = 1_024


@dataclass(frozen=True, slots=True)
class ReachedFile:
    """The content of reached.json: the chain, and a height that this home had."""

    chain_id: Hash
    height: Height


class Reached:
    """One home's own mark. Whoever uses it holds the home's lock."""

    def __init__(self, path: Path, chain_id: bytes, files: FileOperations = POSIX_FILES) -> None:
        self._path = path
        self._chain_id = chain_id
        self._files = files
        self.height = self._read()
        """The height that this home had at least; 0 where nothing is known."""

    def note(self, height: int, *, is_last: bool = False) -> None:
        """Take note of a final block; write it where that is due, or where it is the last one that is told."""
        is_due = (self.height == 0 and height > 0) or height >= self.height + REACHED_EVERY
        if not is_due and not (is_last and height > self.height):
            return
        value: dict[str, Json] = to_json(ReachedFile(self._chain_id, height))
        try:
            replace_file(self._files, self._path, (json.dumps(value) + "\n").encode())
        except OSError as error:
            # Rule 3: a start that knows less, not a node that ends.
            logger.warning("node.reached_unwritten path=%s error=%s", self._path, error)
        self.height = height

    def _read(self) -> int:
        try:
            with open_within(self._path.parent, self._path.name) as file:
                content = file.read(REACHED_FILE_SIZE_MAX + 1)
            found = from_json(ReachedFile, parse_json(content, size_max=REACHED_FILE_SIZE_MAX))
        except FileNotFoundError:
            return 0
        except (OSError, LedgerError) as error:
            logger.warning("node.reached_unreadable path=%s error=%s", self._path, error)
            return 0
        return found.height if found.chain_id == self._chain_id else 0
