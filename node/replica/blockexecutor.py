"""What the core asked for and waits on: a block to build, proposals to verify, notarized blocks to certify.

Rule 1: before a block is reported built, verified or certified, it was executed and all its bytes are durable here.
Rule 2: what is missing is asked for and the answer comes late; only a block that breaks a rule is called invalid.
Rule 3: a notarized block that executes to another result here stops the node: a quorum differs from us.
"""

import logging
from collections.abc import Callable
from typing import Final

from ledger.chain.execution import is_sealing
from ledger.chain.overlays import Tip
from ledger.rules.blocks import BlockError, Header
from node.chain.blocktree import Candidate
from node.chain.chain import Chain
from node.clock import Clock
from node.consensus.effects import Build, Certify, Verify
from node.consensus.events import Built, Certified, Event, Verified
from node.errors import NodeStopped
from node.measurements import NOT_MEASURED, Measurements
from node.messages import WantBlock, WantTransactions
from node.replica.blockbudget import BlockBudget
from node.replica.blockrequests import BlockRequests
from node.replica.engine import Engine
from node.replica.intake import Intake

logger = logging.getLogger(__name__)

BLOCK_AGE_MAX_MS: Final = 60_000
WAITING_MAX: Final = 256


def stopped(reason: str) -> NodeStopped:
    """Return the exception that ends the node, after saying so."""
    logger.critical("node.stopped reason=%s", reason)
    return NodeStopped(reason)


class BlockExecutor:
    """One engine's jobs, until each is reported done."""

    def __init__(
        self,
        *,
        member: str,
        engine: Engine,
        chain: Chain,
        intake: Intake,
        block_requests: BlockRequests,
        clock: Clock,
        report: Callable[[Event], None],
        measurements: Measurements = NOT_MEASURED,
    ) -> None:
        self._member = member
        self._chain = chain
        self._intake = intake
        self._block_requests = block_requests
        self._clock = clock
        self._report = report
        self._measurements = measurements
        self._budget = BlockBudget()
        self.begin(engine)

    def begin(self, engine: Engine) -> None:
        """Work for this engine from now on: what the ended one waited for is of no use to it."""
        self._engine = engine
        self._building: Build | None = None
        self._verifying: dict[bytes, Verify] = {}
        self._certifying: dict[bytes, Certify] = {}
        tip = self._chain.tip
        self._certified = (0, tip.encoded_header.hash)
        self.is_sealing = is_sealing(tip.state)
        """Whether the block after the newest certified one is the epoch's seal."""

    @property
    def is_waiting(self) -> bool:
        """Whether a job waits for something that is not here."""
        return bool(self._verifying or self._certifying or self._building)

    @property
    def certified_hash(self) -> bytes:
        """The newest block that is certified or final here."""
        return self._certified[1]

    def is_own_seal(self, header: Header) -> bool:
        """Say whether a block is the seal of this engine's own epoch."""
        return header.is_seal and header.epoch == self._engine.epoch

    # -- what the core asks -----------------------------------------------------------------------------

    def build(self, job: Build) -> None:
        """Build a block, in place of one that was asked for before."""
        self._building = job
        self._try_build()

    def verify(self, job: Verify) -> None:
        """Verify a proposal."""
        assert len(self._verifying) < WAITING_MAX, "the core bounds what it waits for"
        self._verifying[job.block_hash] = job
        self._try(job.block_hash)

    def certify(self, job: Certify) -> None:
        """Make sure that a notarized block is executed and durable here."""
        assert len(self._certifying) < WAITING_MAX, "the core bounds what it waits for"
        self._certifying[job.block_hash] = job
        self._try(job.block_hash)

    def cancel_certify(self, view: int) -> None:
        """Forget what was to be certified in a view."""
        self._certifying = {key: job for key, job in self._certifying.items() if job.view != view}

    def progress(self) -> None:
        """Try everything that waits for missing data, time or an ancestor."""
        for block_hash in [*self._verifying, *self._certifying]:
            self._try(block_hash)
        self._try_build()

    def note_final(self, tip: Tip, count: int) -> None:
        """Take note of the finalized tip, which may be newer than what was certified here, and of its transactions."""
        self._budget.note_final(tip.header.view, count, self._clock.monotonic_ms())
        if tip.header.view >= self._certified[0] or self.is_own_seal(tip.header):
            self._certified = (tip.header.view, tip.encoded_header.hash)
            self.is_sealing = is_sealing(tip.state)

    # -- building ---------------------------------------------------------------------------------------

    def _try_build(self) -> None:
        job = self._building
        if job is None or not self._ensure_executed(job.parent_hash):
            return
        self._building = None
        parent = self._chain.tree.find_tip(job.parent_hash)
        if parent is None:
            # Finality passed this parent while the block waited for it: nobody wants the block any more.
            self._report(Built(job.view, None))
        elif self.is_own_seal(parent.header):
            # Nothing stands on a seal in its own epoch: it is proposed again until it is final.
            self._report(Built(job.view, job.parent_hash))
        else:
            self._report(Built(job.view, self._build_on(job)))

    def _build_on(self, job: Build) -> bytes:
        above = self._chain.ids_above_tip(job.parent_hash)
        candidates = self._intake.pick(self._budget.count_max, above)
        began_ms = self._clock.monotonic_ms()
        built = self._chain.build(
            job.parent_hash,
            candidates,
            view=job.view,
            proposer=self._member,
            now_ms=self._clock.wall_ms(),
        )
        assert built is not None, "the parent is executed"
        spent_ms = self._clock.monotonic_ms() - began_ms
        self._measurements.block_building(spent_ms / 1000)
        self._budget.note(len(candidates), spent_ms)
        executed, refused = built
        for transaction, _ in refused:
            self._intake.note_refused(transaction, executed.block.header.height - 1)
        return executed.block.hash

    # -- verifying and certifying -----------------------------------------------------------------------

    def _try(self, block_hash: bytes) -> None:
        verify = self._verifying.get(block_hash)
        if verify is not None:
            verdict = self._verdict(verify)
            if verdict is not None:
                del self._verifying[block_hash]
                self._report(Verified(verify.view, block_hash, verdict))
        certify = self._certifying.get(block_hash)
        if certify is not None and self._is_certified(certify):
            del self._certifying[block_hash]
            self._note_certified(certify)
            self._report(Certified(certify.view, block_hash, True))

    def _verdict(self, verify: Verify) -> bool | None:
        """Return whether a proposal is valid, or None where that cannot be said yet."""
        candidate = self._chain.tree.find(verify.block_hash)
        if candidate is None:
            return None if self._chain.store.find_height(verify.block_hash) is None else True
        header = candidate.encoded_header.header
        now_ms = self._clock.wall_ms()
        if verify.block_hash == verify.parent_hash:
            # Certified before, so the age rule, which is for fresh blocks, has passed. Where the core knows it by its
            # finalization only, it may not be here yet.
            if not self.is_own_seal(header):
                return False
            return True if self._ensure_executed(verify.block_hash) else None
        if header.epoch != self._engine.epoch:
            return False
        if header.parent_hash != verify.parent_hash or header.view != verify.view:
            return False
        if header.time_ms > now_ms:
            return None
        if header.time_ms < now_ms - BLOCK_AGE_MAX_MS:
            return False
        try:
            return True if self._ensure_executed(verify.block_hash) else None
        except BlockError as error:
            logger.warning("consensus.invalid_proposal view=%d error=%s", verify.view, error)
            return False

    def _is_certified(self, certify: Certify) -> bool:
        try:
            return self._ensure_executed(certify.block_hash)
        except BlockError as error:
            raise stopped(f"a notarized block does not execute here: {error}") from error

    def _note_certified(self, certify: Certify) -> None:
        if (certify.view, certify.block_hash) < self._certified:
            return
        self._certified = (certify.view, certify.block_hash)
        tip = self._chain.tree.find_tip(certify.block_hash)
        assert tip is not None, "what is certified is executed"
        self.is_sealing = self.is_own_seal(tip.header) or is_sealing(tip.state)

    # -- what they need ---------------------------------------------------------------------------------

    def collect(self, candidate: Candidate) -> list[bytes]:
        """Give a candidate the transactions that are here; return the ids of those that are not."""
        for identity in self._chain.missing(candidate):
            transaction = self._intake.find(identity)
            if transaction is not None:
                self._chain.take_transaction(transaction)
        return self._chain.missing(candidate)

    def _ensure_executed(self, block_hash: bytes) -> bool:
        """Execute a block and what it stands on, as far as everything is here; ask for what is not."""
        path: list[Candidate] = []
        while self._chain.tree.find_tip(block_hash) is None:
            candidate = self._chain.tree.find(block_hash)
            if candidate is None:
                if self._chain.store.find_height(block_hash) is None:
                    self._block_requests.ask(block_hash, WantBlock(block_hash), self._validators_but_me())
                    return False
                # Final itself; but what stands on it below the tip was never executed, and never will be.
                return not path
            path.append(candidate)
            block_hash = candidate.encoded_header.header.parent_hash
        return all(self._is_executed(candidate) for candidate in reversed(path))

    def _is_executed(self, candidate: Candidate) -> bool:
        missing = self.collect(candidate)
        if missing:
            self._block_requests.ask(
                candidate.encoded_header.hash,
                WantTransactions(tuple(missing)),
                self._validators_but_me(),
                first=candidate.encoded_header.header.proposer,
            )
            return False
        began_ms = self._clock.monotonic_ms()
        self._chain.execute(candidate)
        self._measurements.block_execution((self._clock.monotonic_ms() - began_ms) / 1000)
        return True

    def _validators_but_me(self) -> list[str]:
        return [each.member for each in self._engine.validators.validators if each.member != self._member]
