"""Keeping what is damaged: a database or file is renamed aside, never deleted.

Rule 1: the new name is durable when `keep_aside` returns, so that what takes the old name cannot be lost with it.
"""

import os
from pathlib import Path
from typing import Final

from node.files.durablefile import POSIX_FILES, FileOperations

KEPT_MAX: Final = 64


def keep_aside(path: Path, files: FileOperations = POSIX_FILES) -> Path:
    """Rename a file or directory to the first free PATH.damaged-N, and return that. Raises OSError."""
    for number in range(1, KEPT_MAX + 1):
        kept = path.with_name(f"{path.name}.damaged-{number}")
        if not os.path.lexists(kept):
            files.rename(path, kept)
            files.sync_directory(path.parent)
            return kept
    raise OSError(f"{path}: expected room for evidence, found {KEPT_MAX} damaged ones; move them elsewhere")
