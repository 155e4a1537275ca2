"""Erasing what opens a document: salt, receipt and keys (docs/consent.md, Erasure).

Rule 1: what is to be erased is found and checked first; where one thing is not as expected nothing is erased.
Rule 2: a file is overwritten, synced, emptied and removed, and its directory synced.
Rule 3: a withdrawal is destroyed only once it is proven that its consent is over for good, under whatever name its file
is given, and a wallet's file never: an erased consent could never be withdrawn.
Rule 4: an issuer's register is erased before its files: the proof names what is to be erased there.

Not promised: copies elsewhere. Backups, snapshots and the spare cells of flash memory may hold the old bytes.
"""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from ledger.consents import CONSENT_FILE_SIZE_MAX, CONSENT_MAGIC, ConsentFile
from ledger.encoding.keys import PublicKey
from ledger.errors import LedgerError
from ledger.proofs import Proof
from ledger.rules.operations import check_chain
from ledger.rules.state import Consent, consent_key
from node.client.answers import Answer, Proven
from node.client.holder import why_over
from node.client.ledgerclient import LedgerClient
from node.client.wallet import Wallet, is_wallet
from node.errors import ClientError
from node.files.durablefile import POSIX_FILES, FileOperations
from node.files.reading import open_within

_PIECE_SIZE: Final = 1024 * 1024
_OVER: Final = "a consent that is proven to be withdrawn, closed or past its end"


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
    existing = _existing(files)
    _check_withdrawals(existing, None)
    return Erasure(existing, commitment=proof.opening.commitment())


def plan_holder_erasure(
    proof: Proof,
    consent: ConsentFile | None,
    files: Sequence[Path],
    wallet: Wallet,
    *,
    over: Proven[Consent | None] | None,
) -> Erasure:
    """Return what a holder erases of a document. Raises ErasureRefused.

    `over` is what `require_over` returned of the consent. What a node tells is no proof of it.
    """
    presentation = proof.presentation
    if consent is None and presentation is not None and wallet.find_consent_key(presentation.consent_id):
        expected = "the consent under which the document was presented"
        raise ErasureRefused(
            where="consent", expected=expected, found="none; name it, or its withdrawal stays behind"
        )
    if consent is not None and (over is None or why_over(consent, over) is None):
        raise ErasureRefused(
            where="consent", expected=_OVER, found="one that may be active; withdraw it first"
        )
    existing = _existing(files)
    _check_withdrawals(existing, consent)
    held = {key.public for key in wallet.keys}
    holder_key = proof.opening.decoded_metadata().holder_key
    named = (holder_key, None if consent is None else consent.consent_key)
    return Erasure(existing, tuple(key for key in named if key is not None and key in held))


async def require_over(ledger: LedgerClient, consent: ConsentFile) -> Proven[Consent | None]:
    """Return the proof that a consent is over for good.

    Raises ErasureRefused where it is proven to stand now, or no root could prove anything; ClientError where no node
    shows either.
    """
    if ledger.root is None:
        expected = "evidence under a trusted root that it is over"
        raise ErasureRefused(where="consent", expected=expected, found="no trusted root")
    what = f"consent {consent.consent_id.hex()[:16]}"
    check_chain(ledger.root.chain_id, consent.grant.decoded().chain_id, what)
    standing: list[Proven[Consent | None]] = []

    def lacks(answer: Answer[Consent | None]) -> str | None:
        assert isinstance(answer, Proven), "under a root nothing is told"
        if why_over(consent, answer) is not None:
            return None
        if (lacking := ledger.staleness(answer)) is not None:
            return lacking
        standing.append(answer)
        return f"that it is not over as of block {answer.height}"

    key = consent_key(consent.consent_key, consent.consent_id)
    try:
        answer = await ledger.find(Consent, key, lacks, what=f"the end of {what}")
    except ClientError as error:
        if not standing:
            raise
        found = f"one that may be active, as of block {standing[-1].height}; withdraw it first"
        raise ErasureRefused(where=what, expected=_OVER, found=found) from error
    assert isinstance(answer, Proven), "under a root nothing is told"
    return answer


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


def _check_withdrawals(files: Sequence[Path], over: ConsentFile | None) -> None:
    """Check that no file holds another withdrawal than that of the consent which is over (rule 3)."""
    for path in files:
        with open_within(path.parent, path.name) as file:
            content = file.read(len(CONSENT_MAGIC) + CONSENT_FILE_SIZE_MAX + 1)
        if is_wallet(content):
            expected = "no wallet: `luohu erase` destroys single keys of it"
            raise ErasureRefused(where=f"{path}", expected=expected, found="a wallet")
        # Another version of the format has the same beginning.
        if not content.startswith(CONSENT_MAGIC[:-1]):
            continue
        expected = "no withdrawal but that of the consent that is named and over"
        try:
            found = ConsentFile.decode(content)
        except LedgerError as error:
            told = f"a consent file that cannot be read: {error.found}"
            raise ErasureRefused(where=f"{path}", expected=expected, found=told) from error
        if over is None or found.consent_id != over.consent_id:
            raise ErasureRefused(
                where=f"{path}", expected=expected, found=f"that of consent {found.consent_id.hex()[:16]}"
            )


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
