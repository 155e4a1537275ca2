"""Files that commands read and write.

Rule 1: a file is read up to one byte past its limit, so that its decoder refuses a longer one by its own rule.
Rule 2: a written file appears whole or not at all. One that is replaced keeps its mode and owner.
Rule 3: a file whose loss would hurt (a consent holds its withdrawal) is never overwritten.
"""

import os
from pathlib import Path
from typing import Final

import click

from cli.exits import own_configuration, unreadable, wrong_usage
from ledger.consents import CONSENT_FILE_SIZE_MAX, CONSENT_MAGIC, ConsentFile
from ledger.genesis import GENESIS_FILE_SIZE_MAX, Genesis, parse_genesis
from ledger.proofs import PROOF_FILE_SIZE_MAX
from ledger.requests import REQUEST_FILE_SIZE_MAX, Request
from ledger.trust import TRUST_FILE_SIZE_MAX, TrustedRoot, parse_trusted_root
from node.files import durablefile
from node.files.durablefile import POSIX_FILES, SHARED_MODE
from node.files.reading import open_piped

FILE: Final = click.Path(path_type=Path)

_TRUST_CURE: Final = "Fetch trust.json from the network operator, or make it with `luohu trust export`."
_GENESIS_CURE: Final = "Fetch genesis.json from the network operator, as it was signed."


def read_file(path: Path, *, size_max: int) -> bytes:
    """Return a file's content, cut one byte past `size_max`. Raises CommandError where it is unreadable."""
    try:
        with open_piped(path) as file:
            return file.read(size_max + 1)
    except OSError as error:
        raise unreadable(str(path), error) from error


def read_trusted_root(path: Path) -> TrustedRoot:
    """Return the checked trusted root in a file. Raises CommandError with exit code 2."""
    text = read_file(path, size_max=TRUST_FILE_SIZE_MAX)
    with own_configuration(_TRUST_CURE):
        return parse_trusted_root(text)


def read_genesis(path: Path) -> Genesis:
    """Return the verified genesis in a file. Raises CommandError with exit code 2."""
    text = read_file(path, size_max=GENESIS_FILE_SIZE_MAX)
    with own_configuration(_GENESIS_CURE):
        return parse_genesis(text)


def read_proof(path: Path) -> bytes:
    """Return the content of a proof file, undecoded."""
    return read_file(path, size_max=PROOF_FILE_SIZE_MAX)


def read_request(path: Path) -> Request:
    """Return the consent request in a file. Raises LedgerError where it is none."""
    return Request.decode(read_file(path, size_max=REQUEST_FILE_SIZE_MAX))


def read_consent(path: Path) -> ConsentFile:
    """Return the checked consent in a file. Raises LedgerError where it is none."""
    return ConsentFile.decode(read_file(path, size_max=len(CONSENT_MAGIC) + CONSENT_FILE_SIZE_MAX))


def refuse_existing(path: Path) -> None:
    """Check that nothing would be overwritten. Raises CommandError with exit code 2."""
    if os.path.lexists(path):
        raise wrong_usage(
            str(path),
            expected="a path where nothing is yet",
            found="an existing file",
            cure="Name another path, or move the existing file away.",
            code="path",
        )


def write_file(path: Path, content: bytes, *, mode: int = SHARED_MODE) -> None:
    """Write a file whole, in place of any earlier one, and sync it. A new one has `mode`. Raises CommandError."""
    try:
        durablefile.write_file(POSIX_FILES, path, content, mode=mode)
    except OSError as error:
        raise unreadable(str(path), error) from error
