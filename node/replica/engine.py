"""The engine of an epoch: its core, signer and journal, opened for a tip of the chain (docs/epochs.md).

Rule 1: validator set and epoch come from the state at the tip, never from a message.
Rule 2: a member that is not in the set, or whose key is not here, follows: its engine signs and remembers nothing.
Rule 3: one journal serves all epochs of a process; what it holds of other epochs restores nothing, and what it
holds of later ones is kept until the chain is there. It is opened for every member of the set, with a key or without.
Rule 4: where the journal holds later epochs, this member has lost its chain and comes this way again. Its votes of
the epoch may have been dropped since, as final: it follows, and votes again in the last epoch that it remembers.
Rule 5: where the home had reached a height that the chain has not, this member has lost its chain as well. It follows
until the chain is there, so that nobody founds a chain anew below what was final.
Rule 6: an engine after one that only followed begins with all that the journal holds of its epoch.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ledger.chain.overlays import Tip
from ledger.encoding.keys import PublicKey
from ledger.errors import LedgerError
from ledger.rules.blocks import Header
from ledger.rules.certificates import QuorumCertificate, ValidatorSet, Vote
from ledger.rules.state import require_validators
from node.consensus.config import Config
from node.consensus.core import Simplex
from node.consensus.journal import Amnesia, CertifyVerdict, JournalRecord, VoteCast
from node.consensus.rounds import FinalizedTip
from node.replica.journal import NO_JOURNAL, Journal
from node.storage.signer import SignerGuard, SigningKey

logger = logging.getLogger(__name__)

FindKey = Callable[[PublicKey], SigningKey | None]
"""Returns the private half of a validator key, or None where this node does not have it."""

OpenJournal = Callable[[int, bool], tuple[Journal, tuple[JournalRecord, ...]]]
"""Opens the journal for an epoch, told whether this validator may have voted; returns it with its records."""

HoldsBlock = Callable[[bytes], bool]
"""Says whether a block is durable here."""


@dataclass(frozen=True, slots=True)
class Lack:
    """Why a member of the set follows: what its home lacks, and what cures it.

    `until_height` is the height from which it votes, where catching up alone is the cure.
    """

    what: str
    cure: str
    until_height: int | None = None
    is_of_key: bool = False

    def __str__(self) -> str:
        return f"it lacks {self.what}. {self.cure}"


@dataclass(frozen=True, slots=True)
class Engine:
    """One epoch's part in consensus. `me` is None where this node only follows.

    `lack` says why a member of the set does (docs/starting.md).
    """

    epoch: int
    validators: ValidatorSet
    me: int | None
    core: Simplex
    journal: Journal
    guard: SignerGuard | None
    lack: Lack | None = None

    def may_resume(self, height: int) -> bool:
        """Say whether a chain of this height ends what this engine waited for."""
        return (
            self.lack is not None and self.lack.until_height is not None and height >= self.lack.until_height
        )

    def note_final(self, header: Header) -> None:
        """Take note of durable finality: nothing at or below it is signed any more."""
        if self.guard is not None and header.epoch == self.epoch:
            self.guard.raise_floor(epoch=header.epoch, view=header.view)


class EngineSource(Protocol):
    """What makes the engines, one for each epoch; `Engines` does."""

    def open(self, tip: Tip, certificate: QuorumCertificate | None, holds: HoldsBlock) -> Engine:
        """Return the engine that goes on from the stored tip."""
        ...

    def succeed(self, ended: Engine, seal: Tip, holds: HoldsBlock) -> Engine:
        """Return the engine of the epoch that a final seal opens."""
        ...

    def resume(
        self, ended: Engine, tip: Tip, certificate: QuorumCertificate | None, holds: HoldsBlock
    ) -> Engine:
        """Return the engine that goes on from the tip of a snapshot."""
        ...


class Engines:
    """Opens one engine after the other."""

    def __init__(
        self,
        *,
        member: str,
        chain_id: bytes,
        tuning: Config,
        find_key: FindKey,
        open_journal: OpenJournal,
        reached_height: int = 0,
    ) -> None:
        """`reached_height` is how far the chain of this home had come at least, in any earlier process."""
        self._member = member
        self._chain_id = chain_id
        self._tuning = tuning
        self._find_key = find_key
        self._open_journal = open_journal
        self._reached_height = reached_height
        self._journal: Journal | None = None

    def open(self, tip: Tip, certificate: QuorumCertificate | None, holds: HoldsBlock) -> Engine:
        """Return the engine that goes on from the stored tip."""
        me = self._place_in(tip)
        if me is None:
            return self._follow(tip, certificate)
        # A missing log of a chain that has blocks is damage, except where this process crossed into the epoch.
        records = self._begin_journal(tip, has_voted=tip.header.height > 0)
        return self._enter(tip, certificate, _held(records, holds), me)

    def succeed(self, ended: Engine, seal: Tip, holds: HoldsBlock) -> Engine:
        """Return the engine of the epoch that a final seal opens."""
        # An amnesia of the ended epoch is asked about anew in this one.
        return self.resume(ended, seal, None, holds)

    def resume(
        self, ended: Engine, tip: Tip, certificate: QuorumCertificate | None, holds: HoldsBlock
    ) -> Engine:
        """Return the engine that goes on from a tip where the ended one cannot, with what is remembered."""
        me = self._place_in(tip)
        if me is None:
            return self._follow(tip, certificate)
        records = (
            self._begin_journal(tip, has_voted=False)
            if self._journal is None
            else self._remembered(self._journal, ended, require_validators(tip.state).epoch)
        )
        return self._enter(tip, certificate, _held(records, holds), me)

    @staticmethod
    def _remembered(journal: Journal, ended: Engine, epoch: int) -> tuple[JournalRecord, ...]:
        if ended.me is None:
            return journal.held_from(epoch)
        # Who lost its chain and not its votes comes this way again, to an epoch in which it has voted.
        return (*ended.core.journal_snapshot(), *journal.ahead_of(ended.epoch))

    def close(self) -> None:
        """Release the journal."""
        if self._journal is not None:
            self._journal.close()

    def _place_in(self, tip: Tip) -> int | None:
        return require_validators(tip.state).current.index_of(self._member)

    def _begin_journal(self, tip: Tip, *, has_voted: bool) -> tuple[JournalRecord, ...]:
        assert self._journal is None, "a journal is opened once"
        self._journal, records = self._open_journal(require_validators(tip.state).epoch, has_voted)
        return records

    def _enter(
        self,
        tip: Tip,
        certificate: QuorumCertificate | None,
        records: tuple[JournalRecord, ...],
        me: int,
    ) -> Engine:
        assert self._journal is not None, "who has a part has a journal"
        epoch = require_validators(tip.state).epoch
        has_left = bool(self._journal.ahead_of(epoch))
        # Who forgot votes asks its peers, in whatever epoch: a follower would not.
        if has_left and not any(isinstance(record, Amnesia) for record in records):
            logger.warning("engine.follows_epoch_left epoch=%d", epoch)
            return self._follow(tip, certificate, _later_epoch(epoch))
        if tip.header.height < self._reached_height:
            logger.warning("engine.chain_lost height=%d reached=%d", tip.header.height, self._reached_height)
            return self._follow(tip, certificate, _lost_chain(self._reached_height))
        expected = require_validators(tip.state).current.validators[me].key
        key = self._find_key(expected)
        if key is None:
            logger.error("engine.key_missing member=%s expected=%s", self._member, expected)
            return self._follow(tip, certificate, _missing_key(self._member, epoch, expected))
        return self._vote(tip, certificate, records, me, key)

    def _follow(self, tip: Tip, certificate: QuorumCertificate | None, lack: Lack | None = None) -> Engine:
        current = require_validators(tip.state)
        core = Simplex(
            self._tuning,
            current.current,
            None,
            current.epoch,
            (),
            _finalized(tip, certificate),
            None,
            self._verifier(current.current),
        )
        return Engine(current.epoch, current.current, None, core, NO_JOURNAL, None, lack)

    def _vote(
        self,
        tip: Tip,
        certificate: QuorumCertificate | None,
        records: tuple[JournalRecord, ...],
        me: int,
        key: SigningKey,
    ) -> Engine:
        assert self._journal is not None, "who votes has a journal"
        current, finalized = require_validators(tip.state), _finalized(tip, certificate)
        guard = SignerGuard(
            key,
            chain_id=self._chain_id,
            signed=[record.vote.subject for record in records if isinstance(record, VoteCast)],
            floor_epoch=current.epoch,
            floor_view=finalized.view,
        )
        core = Simplex(
            self._tuning,
            current.current,
            me,
            current.epoch,
            records,
            finalized,
            guard.sign,
            self._verifier(current.current),
        )
        if core.finalized.view > finalized.view:
            # A crash leaves one block between the two; more is a store that lost what it had.
            logger.warning("store.behind stored_view=%d voted_view=%d", finalized.view, core.finalized.view)
        return Engine(current.epoch, current.current, me, core, self._journal, guard)

    def _verifier(self, validators: ValidatorSet) -> Callable[[Vote | QuorumCertificate], bool]:
        return lambda signed: is_genuine(signed, self._chain_id, validators)


def _later_epoch(epoch: int) -> Lack:
    return Lack(
        f"the blocks of epochs after {epoch}, in which this home has voted",
        "It fetches them from its peers, and votes in the last of these epochs.",
    )


def _lost_chain(reached_height: int) -> Lack:
    return Lack(
        f"the blocks up to {reached_height}, which this home had",
        "It fetches them from its peers, and votes then. If no peer has them, put a copy of the chain back into data/. "
        "To give them up for good, remove reached.json from the homes.",
        reached_height,
    )


def _missing_key(member: str, epoch: int, expected: PublicKey) -> Lack:
    return Lack(
        f"the validator key {expected}, which epoch {epoch} names for {member}",
        "Put its file back into keys/ and start the node again. If it is lost, replace it through any node, this one "
        "too: luohu key rotate --role validator; or have governors do so: luohu governance propose node. It votes from "
        "the epoch on that names a key of this home.",
        is_of_key=True,
    )


def is_genuine(signed: Vote | QuorumCertificate, chain_id: bytes, validators: ValidatorSet) -> bool:
    """Say whether a vote or a certificate is what its signers signed on this chain."""
    try:
        signed.verify(chain_id, validators)
    except LedgerError:
        return False
    return True


def _finalized(tip: Tip, certificate: QuorumCertificate | None) -> FinalizedTip:
    """Return the tip as its engine's core knows it: what opened the epoch is its view 0."""
    if tip.header.is_seal:
        return FinalizedTip(0, tip.encoded_header.hash, None)
    if certificate is None:
        # Genesis, or a block that is final by the history of a later one.
        return FinalizedTip(tip.header.view, tip.encoded_header.hash, None)
    return FinalizedTip(certificate.subject.view, tip.encoded_header.hash, certificate)


def _held(records: tuple[JournalRecord, ...], holds: HoldsBlock) -> tuple[JournalRecord, ...]:
    """Return the records without verdicts on blocks that are not here: they are certified anew.

    Who lost its chain and not its votes would finalize what it could not recover.
    """
    return tuple(
        record for record in records if not isinstance(record, CertifyVerdict) or holds(record.block_hash)
    )
