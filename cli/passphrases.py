"""Passphrases for commands: a file that is named, LUOHU_PASSPHRASE, or a prompt, in this order.

Rule 1: a passphrase never comes from an argument, which every process on the machine can read.
Rule 2: a new passphrase that is typed is typed twice.
Rule 3: a development home's keys lie in the clear, so no passphrase is asked for there unless a file is named.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import click

from cli.files import FILE
from cli.output import ask_hidden
from node.files.keyfiles import (
    PASSPHRASE_VARIABLE,
    DevelopmentKey,
    Passphrase,
    Protection,
    resolve_passphrase,
)

F = TypeVar("F", bound=Callable[..., object])

PASSPHRASE_HELP: Final = (
    f"A file (mode 0600) that holds the passphrase. [else {PASSPHRASE_VARIABLE}, else a prompt]"
)


def passphrase_option(command: F) -> F:
    """Add `--passphrase-file` to a command, as the argument `passphrase_file`."""
    return click.option("--passphrase-file", type=FILE, help=PASSPHRASE_HELP)(command)


def passphrase_for(purpose: str, passphrase_file: Path | None, *, is_new: bool = False) -> Passphrase:
    """Return the passphrase for `purpose`. Raises KeyFileError where none can be had."""

    def prompt(text: str) -> str:
        return ask_hidden(text, is_new=is_new)

    return resolve_passphrase(
        purpose=purpose,
        passphrase_file=passphrase_file,
        environment=os.environ,
        prompt=prompt if sys.stdin.isatty() else None,
    )


def protection_for(purpose: str, passphrase_file: Path | None, *, is_development: bool) -> Protection:
    """Return how a home's keys are protected: a development home's are not, unless a file is named."""
    if is_development and passphrase_file is None:
        return DevelopmentKey()
    return passphrase_for(purpose, passphrase_file)
