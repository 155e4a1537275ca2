"""Erasing what opens a document: salt, receipt and keys (docs/consent.md, Erasure).

Rule 1: what is to be erased is found and checked first; where one thing is not as expected nothing is erased.
Rule 2: a file is overwritten, synced, emptied and removed, and its directory synced.
Rule 3: a holder's withdrawal is destroyed only once the consent is over: an erased consent could never be withdrawn.
Rule 4: an issuer's register is erased before its files: the proof names what is to be erased there.

Not promised: copies elsewhere. Backups, snapshots and the spare cells of flash memory may hold the old bytes.
"""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from ledger.encoding.keys import PublicKey
from ledger.errors import LedgerError
from ledger.presentation import ConsentFile
from ledger.proofs import Proof
from node.client.wallet import Wallet
from node.files.durablefile import POSIX_FILES, FileOperations

_PIECE_SIZE: Final = 1024 * 1024


class ErasureRefused(LedgerError):
    """Something stands against erasing: nothing was erased."""

    code = "erasure"


class Erasable(Protocol):
    """Where an issuer keeps what opens its documents; `node.client.issuing.register.Register` is one."""

    def erase(self, commitment: bytes) -> bool:
        """Erase what opens a document, durably; say whether it was held."""
        ...


@dataclass(frozen=True, slots=True)
class Erasure:
    """What is to be erased: files, keys of a wallet, and what a register holds of a commitment."""

    files: tuple[Path, ...]
    keys: tuple[PublicKey, ...] = ()
    commitment: bytes | None = None


def plan_issuer_erasure(proof: Proof, files: Sequence[Path]) -> Erasure:
    """Return what an issuer erases of a document. Raises ErasureRefused."""
    return Erasure(_existing(files), commitment=proof.opening.commitment())


def plan_holder_erasure(
    proof: Proof, consent: ConsentFile | None, files: Sequence[Path], wallet: Wallet, *, is_consent_over: bool
) -> Erasure:
    """Return what a holder erases of a document. Raises ErasureRefused."""
    presentation = proof.presentation
    if consent is None and presentation is not None and wallet.find_consent_key(presentation.consent_id):
        expected = "the consent under which the document was presented"
        raise ErasureRefused(
            where="consent", expected=expected, found="none; name it, or its withdrawal stays behind"
        )
    if consent is not None and not is_consent_over:
        expected = "a consent that is withdrawn, closed or past its end"
        raise ErasureRefused(
            where="consent", expected=expected, found="one that may be active; withdraw it first"
        )
    held = {key.public for key in wallet.keys}
    holder_key = proof.opening.decoded_metadata().holder_key
    named = (holder_key, None if consent is None else consent.consent_key)
    return Erasure(_existing(files), tuple(key for key in named if key is not None and key in held))


def erase(
    erasure: Erasure,
    wallet: Wallet | None = None,
    register: Erasable | None = None,
    *,
    files: FileOperations = POSIX_FILES,
) -> bool:
    """Erase, durably, check that it is gone, and say whether the register held it.

    Raises OSError, WalletError or RegisterError.
    """
    was_registered = False
    if register is not None and erasure.commitment is not None:
        was_registered = register.erase(erasure.commitment)
    for key in erasure.keys:
        assert wallet is not None, "keys are planned of a wallet"
        wallet.erase(key)
    for path in erasure.files:
        destroy_file(path, files=files)
    assert not any(files.exists(path) for path in erasure.files), "what was removed is gone"
    assert wallet is None or not {key.public for key in wallet.keys} & set(erasure.keys), "keys are gone"
    return was_registered


def destroy_file(path: Path, *, files: FileOperations = POSIX_FILES) -> None:
    """Overwrite, sync, empty and remove a file, durably. Raises OSError."""
    descriptor = files.open(path)
    try:
        size = files.size(descriptor)
        for offset in range(0, size, _PIECE_SIZE):
            files.write_at(descriptor, bytes(min(_PIECE_SIZE, size - offset)), offset)
        files.sync(descriptor)
        files.truncate(descriptor, 0)
        files.sync(descriptor)
    finally:
        files.close(descriptor)
    files.remove(path)
    files.sync_directory(path.parent)


def _existing(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Return the paths, all regular files with one name each. Raises ErasureRefused."""
    for path in paths:
        try:
            status = path.lstat()
        except OSError as error:
            raise ErasureRefused(
                where=f"{path}", expected="a file", found=error.strerror or "an error"
            ) from error
        if not stat.S_ISREG(status.st_mode):
            raise ErasureRefused(
                where=f"{path}", expected="a regular file", found=stat.filemode(status.st_mode)
            )
        if status.st_nlink > 1:
            found = f"{status.st_nlink} names; the bytes would stay under the others"
            raise ErasureRefused(where=f"{path}", expected="a file with one name", found=found)
        if not os.access(path, os.W_OK):
            raise ErasureRefused(
                where=f"{path}", expected="a file that may be overwritten", found="one that may not"
            )
    return tuple(dict.fromkeys(path.resolve() for path in paths))
