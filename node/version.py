"""Which release of Luohu this is.

Rule 1: the version is written in `pyproject.toml` alone; a running program asks its installation for it.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import Final

UNINSTALLED: Final = "uninstalled"
"""What stands for the version where the sources run without an installation."""
_DISTRIBUTION: Final = "luohu-ledger"


def release() -> str:
    """Return the version that is installed, or `UNINSTALLED`.

    It reads the installation's record on the disk: ask once, and keep the answer.
    """
    try:
        return version(_DISTRIBUTION)
    except PackageNotFoundError:
        return UNINSTALLED
