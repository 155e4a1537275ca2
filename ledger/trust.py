"""The trusted root: the small file that a bank installs, and how trust reaches a header from it.

Rule 1: the genesis content is trusted by its hash, the chain id; its validators are epoch 0's. Checkpoints
pin later blocks with the validator set of their epoch, each within a window of validity.
Rule 2: a handover to the next validator set is accepted only from a seal, signed by the set already trusted,
to exactly the next epoch. The set that a header names for itself proves nothing.
Rule 3: a header of the newest pin's epoch or later stands by its quorum certificate; an older one only by
inclusion under a newer trusted header's history root, since retired validators' keys leak.
Rule 4: a header at a pinned height must be the pinned block; a path that passes a pin's epoch must reach the
pin's validator set.
"""

from copy import copy
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from ledger.blocks import HEADER_SIZE_MAX, SealedHeader
from ledger.certificates import FINALIZE, QuorumCertificate, ValidatorSet
from ledger.errors import LedgerError
from ledger.genesis import Genesis, genesis_block
from ledger.merkle import TreePath, verify_inclusion
from ledger.presentation import Pin
from ledger.records import (
    Hash,
    Height,
    Items,
    Json,
    Milliseconds,
    Octets,
    Uint,
    from_json,
    pack,
    parse_json,
    to_json,
)

TRUST_VERSION: Final = 1
TRUST_FILE_SIZE_MAX: Final = 2 * 1024 * 1024
HANDOVERS_MAX: Final = 1_024


class TrustError(LedgerError):
    """A trusted root that is not one, or a path that does not lead from it."""

    code = "trust"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A block that the bank pins, with the validators of its epoch, trusted within a window of time."""

    height: Height
    block_hash: Hash
    epoch: Height
    validators: ValidatorSet
    valid_from_ms: Milliseconds
    valid_until_ms: Milliseconds


@dataclass(frozen=True, slots=True)
class TrustedRoot:
    """What a bank installs: genesis and pinned checkpoints, in order of height."""

    TAG: ClassVar[str] = "luohu-trust"

    version: Annotated[int, Uint(TRUST_VERSION, minimum=TRUST_VERSION)]
    genesis: Genesis
    checkpoints: Annotated[tuple[Checkpoint, ...], Items(64)]

    def check(self) -> None:
        """Check genesis, its signatures and the order of the checkpoints. Raises LedgerError."""
        self.genesis.verify()
        heights = [checkpoint.height for checkpoint in self.checkpoints]
        if heights != sorted(set(heights)):
            raise TrustError("trusted root", "checkpoints in order of height", f"{heights}")
        epochs = [checkpoint.epoch for checkpoint in self.checkpoints]
        if epochs != sorted(epochs):
            raise TrustError("trusted root", "checkpoints whose epochs never fall", f"{epochs}")

    @property
    def chain_id(self) -> bytes:
        """The 32-byte id of the chain."""
        return self.genesis.content.chain_id

    def newest_pin(self, at_ms: int) -> Pin:
        """Return the newest pin, which a consent request names."""
        newest = Pins(self).at(at_ms)[-1]
        return Pin(newest.epoch, newest.height, newest.block_hash)


class Pins:
    """What a trusted root pins, with all that follows from genesis alone computed once."""

    __slots__ = ("_checkpoints", "_genesis", "chain_id")

    def __init__(self, root: TrustedRoot) -> None:
        content = root.genesis.content
        block = genesis_block(content).block
        self.chain_id = block.header.chain_id
        self._genesis = Checkpoint(0, block.hash, 0, content.validators, 0, 2**53 - 1)
        self._checkpoints = root.checkpoints

    def beyond(self, sealed: SealedHeader, epoch: int, validators: ValidatorSet) -> "Pins":
        """Return pins that end in a block which the caller itself holds as final.

        `epoch` and `validators` are those that decide the blocks on it. Genesis itself adds nothing.
        """
        if sealed.header.height == 0:
            return self
        own = Checkpoint(sealed.header.height, sealed.hash, epoch, validators, 0, 2**53 - 1)
        pins = copy(self)
        pins._checkpoints = (*self._checkpoints, own)
        return pins

    def at(self, at_ms: int) -> tuple[Checkpoint, ...]:
        """Return what is pinned at a time, oldest first: genesis, then the checkpoints in their windows."""
        current = (c for c in self._checkpoints if c.valid_from_ms <= at_ms <= c.valid_until_ms)
        return (self._genesis, *current)


@dataclass(frozen=True, slots=True)
class Certified:
    """A header with the quorum certificate that finalizes it."""

    header: Annotated[bytes, Octets(1, HEADER_SIZE_MAX)]
    certificate: QuorumCertificate


@dataclass(frozen=True, slots=True)
class Handover:
    """An epoch's seal, finalized, and the validator set that it names."""

    seal: Certified
    next_validators: ValidatorSet


@dataclass(frozen=True, slots=True)
class History:
    """Why an older header is part of the chain: its path under the history root of a newer, certified one."""

    newer: Certified
    path: TreePath


@dataclass(frozen=True, slots=True)
class TrustPath:
    """How trust reaches a header: handovers from a pinned epoch, and, for an older header, its history."""

    from_epoch: Height
    handovers: Annotated[tuple[Handover, ...], Items(HANDOVERS_MAX)]
    history: History | None


@dataclass(frozen=True, slots=True)
class TrustedHeader:
    """A header that the trusted root reaches, and the pin that it was reached from."""

    sealed: SealedHeader
    pin: Checkpoint


def verify_header(
    trusted: Pins,
    header: bytes,
    certificate: QuorumCertificate | None,
    path: TrustPath,
    *,
    at_ms: int,
) -> TrustedHeader:
    """Return the header as trusted, or raise LedgerError.

    `certificate` finalizes the header itself; it is None exactly where `path.history` carries the trust.
    """
    pins = trusted.at(at_ms)
    newest = pins[-1]
    sealed = SealedHeader.decode(header)
    sets = _walk(trusted.chain_id, pins, path)
    if path.history is None:
        if certificate is None:
            raise TrustError("trust path", "a certificate or a history", "neither")
        _check_certified(trusted.chain_id, sealed, certificate, sets, newest)
    else:
        if certificate is not None:
            raise TrustError("trust path", "a certificate or a history", "both")
        newer = SealedHeader.decode(path.history.newer.header)
        _check_certified(trusted.chain_id, newer, path.history.newer.certificate, sets, newest)
        _check_history(sealed, newer, path.history.path)
        _check_pinned(newer, pins)
    if sealed.header.chain_id != trusted.chain_id:
        raise TrustError("header", f"chain {trusted.chain_id.hex()}", sealed.header.chain_id.hex())
    _check_pinned(sealed, pins)
    return TrustedHeader(sealed, newest)


def _walk(chain_id: bytes, pins: tuple[Checkpoint, ...], path: TrustPath) -> dict[int, ValidatorSet]:
    pinned = {pin.epoch: pin.validators for pin in pins}
    current = pinned.get(path.from_epoch)
    if current is None:
        raise TrustError(
            "trust path", f"a start at a pinned epoch {sorted(pinned)}", f"epoch {path.from_epoch}"
        )
    epoch, sets = path.from_epoch, {path.from_epoch: current}
    for handover in path.handovers:
        sealed = SealedHeader.decode(handover.seal.header)
        _check_certificate(chain_id, sealed, handover.seal.certificate, epoch, current)
        named = handover.next_validators.digest()
        if sealed.header.next_validators_hash != named:
            raise TrustError(
                f"handover from epoch {epoch}", "a seal that names the next set", "another header"
            )
        epoch, current = epoch + 1, handover.next_validators
        if epoch in pinned and pinned[epoch] != current:
            raise TrustError(f"handover to epoch {epoch}", "the pinned validator set", "another one")
        sets[epoch] = current
    return sets


def _check_certified(
    chain_id: bytes,
    sealed: SealedHeader,
    certificate: QuorumCertificate,
    sets: dict[int, ValidatorSet],
    newest: Checkpoint,
) -> None:
    epoch = sealed.header.epoch
    if epoch < newest.epoch:
        expected = f"a header of epoch {newest.epoch} or later, or a history under one"
        raise TrustError("header epoch", expected, f"epoch {epoch}")
    if epoch not in sets:
        raise TrustError("trust path", f"handovers up to epoch {epoch}", f"up to epoch {max(sets)}")
    _check_certificate(chain_id, sealed, certificate, epoch, sets[epoch])


def _check_certificate(
    chain_id: bytes,
    sealed: SealedHeader,
    certificate: QuorumCertificate,
    epoch: int,
    validators: ValidatorSet,
) -> None:
    header, subject = sealed.header, certificate.subject
    if header.chain_id != chain_id:
        raise TrustError("header", f"chain {chain_id.hex()}", header.chain_id.hex())
    if header.epoch != epoch or header.validators_hash != validators.digest():
        raise TrustError(
            "header", f"epoch {epoch} and its trusted validators", f"epoch {header.epoch}, others"
        )
    if subject.kind != FINALIZE:
        raise TrustError("quorum certificate", "a finalization", f"a {subject.kind} certificate")
    if subject.epoch != epoch or subject.block_hash != sealed.hash:
        raise TrustError("quorum certificate", f"of block {sealed.hash.hex()}", "of another block or epoch")
    if not header.may_be_certified_in(subject.view):
        raise TrustError("quorum certificate", f"view {header.view}", f"view {subject.view}")
    certificate.verify(chain_id, validators)


def _check_history(sealed: SealedHeader, newer: SealedHeader, path: TreePath) -> None:
    height = sealed.header.height
    if path.index != height or newer.header.height <= height:
        raise TrustError("history path", f"index {height} under a newer header", f"index {path.index}")
    verify_inclusion(sealed.hash, path, size=newer.header.height, root=newer.header.history_root)


def _check_pinned(sealed: SealedHeader, pins: tuple[Checkpoint, ...]) -> None:
    for pin in pins:
        if pin.height == sealed.header.height and pin.block_hash != sealed.hash:
            raise TrustError("header", f"the pinned block {pin.block_hash.hex()}", sealed.hash.hex())


def parse_trusted_root(text: bytes) -> TrustedRoot:
    """Return the checked trusted root of a trust.json. Raises LedgerError."""
    root = from_json(TrustedRoot, parse_json(text, size_max=TRUST_FILE_SIZE_MAX))
    pack(root)
    root.check()
    return root


def trusted_root_to_json(root: TrustedRoot) -> dict[str, Json]:
    """Return the JSON form of a trusted root."""
    return to_json(root)
