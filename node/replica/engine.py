"""The engine of an epoch: its core, signer and journal, opened for a tip of the chain (docs/epochs.md).

Rule 1: validator set and epoch come from the state at the tip, never from a message.
Rule 2: a member that is not in the set, or whose key is not here, follows: its engine signs and remembers nothing.
Rule 3: one journal serves all epochs of a process; what it holds of other epochs restores nothing, and what it
holds of later ones is kept until the chain is there.
Rule 4: where the journal holds later epochs, this member has lost its chain and comes this way again. Its votes of
the epoch may have been dropped since, as final: it follows, and votes again in the last epoch that it remembers.
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
class Engine:
    """One epoch's part in consensus. `me` is None where this node only follows."""

    epoch: int
    validators: ValidatorSet
    me: int | None
    core: Simplex
    journal: Journal
    guard: SignerGuard | None

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
        self, *, member: str, chain_id: bytes, tuning: Config, find_key: FindKey, open_journal: OpenJournal
    ) -> None:
        self._member = member
        self._chain_id = chain_id
        self._tuning = tuning
        self._find_key = find_key
        self._open_journal = open_journal
        self._journal: Journal | None = None

    def open(self, tip: Tip, certificate: QuorumCertificate | None, holds: HoldsBlock) -> Engine:
        """Return the engine that goes on from the stored tip, with what the journal remembers."""
        me, key = self._part_in(tip)
        if me is None or key is None:
            return self._follow(tip, certificate)
        # A missing log of a chain that has blocks is damage, except where this process crossed into the epoch.
        records = self._begin_journal(tip, has_voted=tip.header.height > 0)
        return self._enter(tip, certificate, _held(records, holds), me, key)

    def succeed(self, ended: Engine, seal: Tip, holds: HoldsBlock) -> Engine:
        """Return the engine of the epoch that a final seal opens."""
        # An amnesia of the ended epoch is asked about anew in this one.
        return self.resume(ended, seal, None, holds)

    def resume(
        self, ended: Engine, tip: Tip, certificate: QuorumCertificate | None, holds: HoldsBlock
    ) -> Engine:
        """Return the engine that goes on from the tip of a snapshot, with what the ended one remembers."""
        me, key = self._part_in(tip)
        if me is None or key is None:
            return self._follow(tip, certificate)
        records = (
            self._begin_journal(tip, has_voted=False)
            if self._journal is None
            else self._remembered(self._journal, ended)
        )
        return self._enter(tip, certificate, _held(records, holds), me, key)

    @staticmethod
    def _remembered(journal: Journal, ended: Engine) -> tuple[JournalRecord, ...]:
        # Who lost its chain and not its votes comes this way again, to an epoch in which it has voted.
        return (*ended.core.journal_snapshot(), *journal.ahead_of(ended.epoch))

    def close(self) -> None:
        """Release the journal."""
        if self._journal is not None:
            self._journal.close()

    def _part_in(self, tip: Tip) -> tuple[int | None, SigningKey | None]:
        current = require_validators(tip.state).current
        me = current.index_of(self._member)
        if me is None:
            return None, None
        expected = current.validators[me].key
        key = self._find_key(expected)
        if key is None:
            logger.error("engine.key_missing member=%s expected=%s", self._member, expected)
        return me, key

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
        key: SigningKey,
    ) -> Engine:
        assert self._journal is not None, "who has a part has a journal"
        epoch = require_validators(tip.state).epoch
        has_left = bool(self._journal.ahead_of(epoch))
        # Who forgot votes asks its peers, in whatever epoch: a follower would not.
        if has_left and not any(isinstance(record, Amnesia) for record in records):
            logger.warning("engine.follows_epoch_left epoch=%d", epoch)
            return self._follow(tip, certificate)
        return self._vote(tip, certificate, records, me, key)

    def _follow(self, tip: Tip, certificate: QuorumCertificate | None) -> Engine:
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
        return Engine(current.epoch, current.current, None, core, NO_JOURNAL, None)

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
