"""Keeping what is damaged, or of another version: a database or file is renamed aside, never deleted.

Rule 1: the new name is durable when `keep_aside` returns, so that what takes the old name cannot be lost with it.
"""

import os
from pathlib import Path
from typing import Final

from node.files.durablefile import POSIX_FILES, FileOperations

KEPT_MAX: Final = 64
DAMAGED: Final = "damaged"
OTHER_VERSION: Final = "other-version"


def keep_aside(path: Path, files: FileOperations = POSIX_FILES, *, reason: str = DAMAGED) -> Path:
    """Rename a file or directory to the first free PATH.REASON-N, and return that. Raises OSError."""
    for number in range(1, KEPT_MAX + 1):
        kept = path.with_name(f"{path.name}.{reason}-{number}")
        if not os.path.lexists(kept):
            files.rename(path, kept)
            files.sync_directory(path.parent)
            return kept
    raise OSError(f"{path}: expected room for evidence, found {KEPT_MAX} of them; move them elsewhere")
