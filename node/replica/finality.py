"""From what others made final to what is final here (docs/architecture.md; docs/epochs.md).

Rule 1: the core tells of a finalization before its blocks are here. The newest such is remembered, and tried again
until the chain reached it; what is missing, sync fetches.
Rule 2: whoever learns of finality here learns of it when it is on disk, each in the same order: executor, intake,
signer, journal, then those outside.
"""

import logging
from collections.abc import Callable

from ledger.chain.overlays import Executed
from ledger.rules.certificates import QuorumCertificate
from node.chain.chain import Chain
from node.replica.blockexecutor import BlockExecutor
from node.replica.engine import Engine
from node.replica.intake import Intake

logger = logging.getLogger(__name__)


class Finality:
    """What is final, and what is known to be."""

    def __init__(
        self,
        *,
        engine: Engine,
        chain: Chain,
        executor: BlockExecutor,
        intake: Intake,
        on_final: Callable[[list[Executed]], None],
    ) -> None:
        self._chain = chain
        self._executor = executor
        self._intake = intake
        self._on_final = on_final
        self.begin(engine)

    def begin(self, engine: Engine) -> None:
        """Go on with this engine: its epoch has just begun, or a snapshot was installed."""
        self._engine = engine
        # The newest finalization whose block is not final here yet.
        self._finalization: QuorumCertificate | None = None
        self.is_epoch_over = False
        """Whether the seal of the engine's own epoch is final here."""

    @property
    def is_behind(self) -> bool:
        """Whether others made blocks final that are not here yet."""
        return self._finalization is not None

    def learn(self, certificate: QuorumCertificate) -> None:
        """Take note of a finalization, and go there as far as blocks are here."""
        block_hash = certificate.subject.block_hash
        assert block_hash is not None, "a finalization names a block"
        if self._chain.store.find_height(block_hash) is None:
            self._finalization = certificate
        self.catch_up()

    def catch_up(self) -> None:
        """Move the chain to the newest finalization, along blocks that are here."""
        if self._finalization is None:
            return
        path = self._chain.commit(self._finalization)
        if path is not None:
            self.note_final(path)

    def note_final(self, path: list[Executed]) -> None:
        """Take note of blocks that became final, oldest first; of none at all, that the chain is there already."""
        tip = self._chain.tip
        final = self._finalization
        if final is not None and final.subject.block_hash is not None:
            is_reached = self._chain.store.find_height(final.subject.block_hash) is not None
            self._finalization = None if is_reached else final
        if not path:
            return
        final_ids = [transaction.id for executed in path for transaction in executed.block.transactions]
        self._executor.note_final(tip, len(final_ids))
        self.is_epoch_over = self.is_epoch_over or self._executor.is_own_seal(tip.header)
        self._intake.became_final(final_ids, tip.header)
        self._engine.note_final(tip.header)
        self._engine.journal.finalized(self._engine.core)
        self._on_final(path)
        logger.info(
            "block.finalized height=%d view=%d txs=%d", tip.header.height, tip.header.view, len(final_ids)
        )
