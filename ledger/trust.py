"""The trusted root: the small file that a bank installs, and how trust reaches a header from it.

Rule 1: the genesis content is trusted by its hash, the chain id; its validators are epoch 0's. Checkpoints
pin later blocks with the validator set of their epoch, each within a window of validity.
Rule 2: a handover to the next validator set is accepted only from a seal, signed by the set already trusted,
to exactly the next epoch. The set that a header names for itself proves nothing.
Rule 3: a header of the newest pin's epoch or later stands by its quorum certificate; an older one only by
inclusion under a newer trusted header's history root, since retired validators' keys leak.
Rule 4: a header at a pinned height must be the pinned block; a path that passes a pin's epoch must reach the
pin's validator set.
Rule 5: the window of a checkpoint says when paths may start at it. Outside it, rules 3 and 4 still hold of it:
what was pinned once stays true, and an expired pin must not bring back the keys that it retired.
Rule 6: a path ends at the epoch of the header that it carries trust to, and carries nothing else.
Rule 7: pins that cannot all be true, or never be used, make no trusted root: it is refused when it is read.
Rule 8: a trusted root takes the place of another only where it is of the same chain, agrees with it, and is not older:
its newest pin is not lower, and a pin is left out only where the newest one is higher than before. Windows may change.
"""

from copy import copy
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar, Final

from ledger.encoding.arguments import require_instance, require_json_text, require_time
from ledger.encoding.records import (
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
from ledger.errors import LedgerError
from ledger.genesis import Genesis, genesis_block
from ledger.requests import Pin
from ledger.rules.blocks import HEADER_SIZE_MAX, EncodedHeader
from ledger.rules.certificates import FINALIZE, QuorumCertificate, ValidatorSet
from ledger.trees.merkle import TreePath, verify_inclusion

TRUST_VERSION: Final = 1
TRUST_FILE_SIZE_MAX: Final = 2 * 1024 * 1024
HANDOVERS_MAX: Final = 1_024
ALWAYS: Final = (0, 2**53 - 1)
"""The window of a pin that never expires, in milliseconds."""

_FETCH: Final = "Fetch the trusted root from the operators again, and change nothing in it."
_KEEP: Final = "Keep the one in use, and ask the operators for their newest."


class TrustError(LedgerError):
    """A trusted root that is not one, or a path that does not lead from it."""

    code = "trust"


class OlderEpochError(TrustError):
    """A header of an epoch before the newest pin: a refreshed proof stands on a later one."""


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
        """Check genesis, its signatures, and that the checkpoints agree with it and each other. Raises LedgerError."""
        pack(self)
        self.genesis.verify()
        if self.checkpoints:
            _check_pins(_genesis_pin(self.genesis), self.checkpoints, since_ms=self.genesis.content.time_ms)

    @property
    def chain_id(self) -> bytes:
        """The 32-byte id of the chain."""
        return self.genesis.content.chain_id

    def newest_pin(self, at_ms: int) -> Pin:
        """Return the newest pin, which a consent request names."""
        newest = Pins(self).at(require_time("at_ms", at_ms))[-1]
        return Pin(newest.epoch, newest.height, newest.block_hash)


class Pins:
    """What a trusted root pins, with all that follows from genesis alone computed once."""

    __slots__ = ("chain_id", "every", "validators_hashes")

    def __init__(self, root: TrustedRoot) -> None:
        self.chain_id = root.chain_id
        genesis = _genesis_pin(root.genesis)
        self.every = (genesis, *root.checkpoints)
        """All pins, oldest first: genesis, then the checkpoints, whatever their windows."""
        self.validators_hashes = {pin.epoch: pin.validators.digest() for pin in self.every}
        """What headers name the pinned validator sets by: an epoch has one set."""

    def beyond(self, encoded_header: EncodedHeader, epoch: int, validators: ValidatorSet) -> "Pins":
        """Return pins that end in a block which the caller itself holds as final.

        `epoch` and `validators` are those that decide the blocks on it. Genesis itself adds nothing.
        """
        if encoded_header.header.height == 0:
            return self
        own = Checkpoint(encoded_header.header.height, encoded_header.hash, epoch, validators, *ALWAYS)
        pins = copy(self)
        pins.every = (*self.every, own)
        pins.validators_hashes = {**self.validators_hashes, epoch: validators.digest()}
        return pins

    def at(self, at_ms: int) -> tuple[Checkpoint, ...]:
        """Return the pins that a path may start at, oldest first: genesis, and the checkpoints in their windows."""
        genesis, *checkpoints = self.every
        current = (c for c in checkpoints if c.valid_from_ms <= at_ms <= c.valid_until_ms)
        return (genesis, *current)


@dataclass(frozen=True, slots=True)
class FinalizedHeader:
    """A header with the quorum certificate that finalizes it."""

    header: Annotated[bytes, Octets(1, HEADER_SIZE_MAX)]
    certificate: QuorumCertificate


@dataclass(frozen=True, slots=True)
class Handover:
    """An epoch's seal, finalized, and the validator set that it names."""

    seal: FinalizedHeader
    next_validators: ValidatorSet


@dataclass(frozen=True, slots=True)
class History:
    """Why an older header is part of the chain: its path under the history root of a newer, certified one."""

    newer: FinalizedHeader
    path: TreePath


@dataclass(frozen=True, slots=True)
class TrustPath:
    """How trust reaches a header: handovers from a pinned epoch, and, for an older header, its history."""

    from_epoch: Height
    handovers: Annotated[tuple[Handover, ...], Items(HANDOVERS_MAX)]
    history: History | None


@dataclass(frozen=True, slots=True)
class TrustedHeader:
    """A header that the trusted root reaches, and the pin that it was reached from.

    `newest_ms` is the time of the newest header on the way: its own, or that of the one whose history it stands in.
    """

    encoded_header: EncodedHeader
    pin: Checkpoint
    newest_ms: int


@dataclass(frozen=True, slots=True)
class _Epoch:
    """An epoch that a path reached: its validators, and what headers name them by."""

    number: int
    validators: ValidatorSet
    validators_hash: bytes


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
    start = _require_start(trusted.at(at_ms), path.from_epoch)
    encoded_header = EncodedHeader.decode(header)
    signed_by = _walk(trusted, start, path.handovers)
    _check_recent(trusted, signed_by.number)
    newest = encoded_header
    if path.history is None:
        if certificate is None:
            raise TrustError(where="trust path", expected="a certificate or a history", found="neither")
        _check_certified(trusted, encoded_header, certificate, signed_by)
    else:
        if certificate is not None:
            raise TrustError(where="trust path", expected="a certificate or a history", found="both")
        newest = EncodedHeader.decode(path.history.newer.header)
        _check_certified(trusted, newest, path.history.newer.certificate, signed_by)
        _check_history(encoded_header, newest, path.history.path)
        if encoded_header.header.chain_id != trusted.chain_id:
            raise TrustError(
                where="header",
                expected=f"chain {trusted.chain_id.hex()}",
                found=encoded_header.header.chain_id.hex(),
            )
        _check_pinned(trusted, encoded_header)
    return TrustedHeader(encoded_header, start, max(encoded_header.header.time_ms, newest.header.time_ms))


def _require_start(pins: tuple[Checkpoint, ...], from_epoch: int) -> Checkpoint:
    starts = [pin for pin in pins if pin.epoch == from_epoch]
    if not starts:
        epochs = sorted({pin.epoch for pin in pins})
        raise TrustError(
            where="trust path", expected=f"a start at a pinned epoch {epochs}", found=f"epoch {from_epoch}"
        )
    return starts[-1]


def _walk(trusted: Pins, start: Checkpoint, handovers: tuple[Handover, ...]) -> _Epoch:
    """Return the epoch that the path ends at."""
    hashes = trusted.validators_hashes
    current = _Epoch(start.epoch, start.validators, hashes[start.epoch])
    for handover in handovers:
        encoded_header = EncodedHeader.decode(handover.seal.header)
        _check_certified(trusted, encoded_header, handover.seal.certificate, current)
        number, next_hash = current.number + 1, handover.next_validators.digest()
        if encoded_header.header.next_validators_hash != next_hash:
            raise TrustError(
                where=f"handover from epoch {current.number}",
                expected="a seal that names the next set",
                found="another header",
            )
        if hashes.get(number, next_hash) != next_hash:
            raise TrustError(
                where=f"handover to epoch {number}", expected="the pinned validator set", found="another one"
            )
        current = _Epoch(number, handover.next_validators, next_hash)
    return current


def _check_recent(trusted: Pins, epoch: int) -> None:
    newest = trusted.every[-1]
    if epoch < newest.epoch:
        expected = f"a header of epoch {newest.epoch} or later, or a history under one"
        raise OlderEpochError(where="header epoch", expected=expected, found=f"epoch {epoch}")


def _check_certified(
    trusted: Pins,
    encoded_header: EncodedHeader,
    certificate: QuorumCertificate,
    signed_by: _Epoch,
) -> None:
    header, subject, epoch = encoded_header.header, certificate.subject, signed_by.number
    if header.chain_id != trusted.chain_id:
        raise TrustError(
            where="header", expected=f"chain {trusted.chain_id.hex()}", found=header.chain_id.hex()
        )
    if header.epoch != epoch or header.validators_hash != signed_by.validators_hash:
        raise TrustError(
            where="header",
            expected=f"epoch {epoch} and its trusted validators",
            found=f"epoch {header.epoch}, others",
        )
    if subject.kind != FINALIZE:
        raise TrustError(
            where="quorum certificate", expected="a finalization", found=f"a {subject.kind} certificate"
        )
    if subject.epoch != epoch or subject.block_hash != encoded_header.hash:
        raise TrustError(
            where="quorum certificate",
            expected=f"of block {encoded_header.hash.hex()}",
            found="of another block or epoch",
        )
    if not header.may_be_certified_in(subject.view):
        raise TrustError(
            where="quorum certificate", expected=f"view {header.view}", found=f"view {subject.view}"
        )
    certificate.verify(trusted.chain_id, signed_by.validators)
    _check_pinned(trusted, encoded_header)


def _check_history(encoded_header: EncodedHeader, newer: EncodedHeader, path: TreePath) -> None:
    """Check that a header stands at its own height below a newer one: the tree has the newer one's height."""
    height = encoded_header.header.height
    if path.index != height:
        raise TrustError(where="history path", expected=f"index {height}", found=f"index {path.index}")
    verify_inclusion(encoded_header.hash, path, size=newer.header.height, root=newer.header.history_root)


def _check_pinned(trusted: Pins, encoded_header: EncodedHeader) -> None:
    for pin in trusted.every:
        if pin.height == encoded_header.header.height and pin.block_hash != encoded_header.hash:
            raise TrustError(
                where="header",
                expected=f"the pinned block {pin.block_hash.hex()}",
                found=encoded_header.hash.hex(),
            )


def parse_trusted_root(text: str | bytes) -> TrustedRoot:
    """Return the checked trusted root of a trust.json, given by its content. Raises LedgerError."""
    cure = "Give the content of trust.json: Path(path).read_bytes()."
    content = require_json_text("trusted root", text, cure=cure)
    root = from_json(TrustedRoot, parse_json(content, size_max=TRUST_FILE_SIZE_MAX))
    root.check()
    return root


def trusted_root_to_json(root: TrustedRoot) -> dict[str, Json]:
    """Return the JSON form of a trusted root. Raises EncodingError where it holds what no trusted root does."""
    pack(require_instance("trusted root", root, TrustedRoot, cure="Give what parse_trusted_root returns."))
    return to_json(root)


def check_replaces(root: TrustedRoot, kept: TrustedRoot) -> None:
    """Check that a trusted root may take the place of the one in use (rule 8). Raises LedgerError."""
    for where, given in (("root", root), ("kept", kept)):
        pack(require_instance(where, given, TrustedRoot, cure="Give what parse_trusted_root returns."))
    if root.chain_id != kept.chain_id:
        expected = f"one of chain {kept.chain_id.hex()}"
        raise TrustError(where="trusted root", expected=expected, found=root.chain_id.hex(), cure=_KEEP)
    # What a pin says, whatever its window: two that differ in it stand beside each other here, and are found.
    together = {
        (pin.height, pin.block_hash, pin.epoch, pin.validators): pin
        for pin in (*kept.checkpoints, *root.checkpoints)
    }
    ordered = tuple(sorted(together.values(), key=lambda pin: pin.height))
    try:
        _check_pins(_genesis_pin(root.genesis), ordered, since_ms=root.genesis.content.time_ms)
    except TrustError as error:
        found = f"{error.found} ({error.where}, of both together)"
        raise TrustError(
            where="trusted root", expected="pins that agree with those in use", found=found, cure=_KEEP
        ) from error
    newest, held = (max((pin.height for pin in each.checkpoints), default=0) for each in (root, kept))
    if newest < held:
        expected = f"one whose newest pin is block {held} or higher"
        raise TrustError(where="trusted root", expected=expected, found=f"block {newest}", cure=_KEEP)
    missing = {pin.height for pin in kept.checkpoints} - {pin.height for pin in root.checkpoints}
    if newest == held and missing:
        expected = f"the pin of block {min(missing)}, or a newer one than block {held}"
        raise TrustError(where="trusted root", expected=expected, found="neither", cure=_KEEP)


def _genesis_pin(genesis: Genesis) -> Checkpoint:
    return Checkpoint(0, genesis_block(genesis.content).block.hash, 0, genesis.content.validators, *ALWAYS)


def _check_pins(genesis: Checkpoint, checkpoints: tuple[Checkpoint, ...], *, since_ms: int) -> None:
    """Check that pins can all be true, and each be used (rule 7). Raises TrustError."""
    sets, heights = {0: genesis.validators}, {genesis.block_hash: 0}
    for number, (before, pin) in enumerate(pairwise((genesis, *checkpoints)), 1):
        where = f"trusted root, checkpoint {number} at height {pin.height}"
        # Every epoch has a block of its own, so none is reached sooner.
        epoch_max = before.epoch + pin.height - before.height
        if before is not genesis and pin.height <= before.height:
            raise _contradiction(where, f"a height above {before.height}", "a checkpoint out of order")
        if not before.epoch <= pin.epoch <= epoch_max:
            raise _contradiction(where, f"an epoch from {before.epoch} to {epoch_max}", f"{pin.epoch}")
        if pin.height == 0 and pin.block_hash != genesis.block_hash:
            raise _contradiction(where, f"the genesis block {genesis.block_hash.hex()}", pin.block_hash.hex())
        other = heights.setdefault(pin.block_hash, pin.height)
        if other != pin.height:
            raise _contradiction(where, "each block at one height", f"the block of height {other}")
        if sets.setdefault(pin.epoch, pin.validators) != pin.validators:
            raise _contradiction(where, "one validator set for each epoch", f"two of {pin.epoch}")
        window = f"{pin.valid_from_ms} to {pin.valid_until_ms} ms"
        if pin.valid_from_ms >= pin.valid_until_ms:
            raise _contradiction(where, "a window that ends after it begins", window)
        if pin.valid_until_ms <= since_ms:
            raise _contradiction(where, f"a window that ends after genesis, {since_ms} ms", window)


def _contradiction(where: str, expected: str, found: str) -> TrustError:
    return TrustError(where=where, expected=expected, found=found, cure=_FETCH)
