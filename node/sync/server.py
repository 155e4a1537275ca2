"""Serving those who catch up: final blocks, snapshots and their chunks, to any peer that asks.

Rule 1: every question gets an answer, if need be that the node does not hold it.
Rule 2: blocks are sent as they are stored. Reading them is for the asker, who verifies every byte.
Rule 3: what a peer is given is bounded by a budget of bytes that refills with time. Past it nothing is read for
that peer: it is told to come again.
"""

from typing import Final

from ledger.encoding.records import pack
from ledger.rules.certificates import QuorumCertificate
from ledger.trees.merkle import inclusion_path_from_nodes
from ledger.trust import HANDOVERS_MAX, FinalizedHeader, Handover, History, TrustPath
from node.chain.chain import Chain
from node.messages import (
    BLOCKS,
    BUSY,
    CATCH_UP_SIZE_MAX,
    CHUNK,
    SNAPSHOT,
    FinalBlocks,
    NotHeld,
    SnapshotChunk,
    SnapshotOffer,
    StoredBlock,
    SyncAnswer,
    SyncRequest,
    WantChunk,
    WantFinal,
    WantSnapshot,
)
from node.storage.snapshotstore import SnapshotStore

BUDGET_MAX: Final = 32 * 1024 * 1024
BUDGET_PER_MS: Final = 8 * 1024
QUESTION_COST: Final = 16 * 1024
OFFER_SIZE_MAX: Final = 4 * 1024 * 1024
PEERS_MAX: Final = 512


class SyncServer:
    """Answers what others ask of this node's chain and snapshot_store."""

    def __init__(self, chain: Chain, snapshot_store: SnapshotStore) -> None:
        self._chain = chain
        self._snapshot_store = snapshot_store
        self._budgets: dict[str, tuple[int, int]] = {}

    def forget(self, peer: str) -> None:
        """Take note that a peer is gone. Its budget stays spent: coming back does not refill it."""
        if len(self._budgets) > PEERS_MAX:
            self._budgets.pop(peer, None)

    def answer(self, peer: str, message: SyncRequest, now_ms: int) -> SyncAnswer:
        """Return the answer to a question; past the peer's budget, that it shall come again."""
        left = self._budget(peer, now_ms)
        if left <= 0:
            height = message.above if isinstance(message, WantSnapshot) else message.height
            return self._not_held(BUSY, height, message.index if isinstance(message, WantChunk) else 0)
        answer, size = self._answer(message)
        self._budgets[peer] = (left - size - QUESTION_COST, now_ms)
        return answer

    def _budget(self, peer: str, now_ms: int) -> int:
        left, at_ms = self._budgets.get(peer, (BUDGET_MAX, now_ms))
        return min(BUDGET_MAX, left + BUDGET_PER_MS * max(0, now_ms - at_ms))

    def _answer(self, message: SyncRequest) -> tuple[SyncAnswer, int]:
        match message:
            case WantFinal():
                return self._blocks(message)
            case WantSnapshot():
                return self._offer(message)
            case WantChunk():
                return self._chunk(message)

    # -- blocks -----------------------------------------------------------------------------------------

    def _blocks(self, message: WantFinal) -> tuple[SyncAnswer, int]:
        blocks, size = self._blocks_from(message.height, message.count)
        if not blocks:
            return self._not_held(BLOCKS, message.height), 0
        certificate, history = self._proof(message.height + len(blocks) - 1)
        if certificate is None and history is None:
            return self._not_held(BLOCKS, message.height), 0
        tip_height = self._chain.tip.header.height
        return FinalBlocks(message.height, tuple(blocks), certificate, history, tip_height), size

    def _blocks_from(self, height: int, count: int) -> tuple[list[StoredBlock], int]:
        """Return consecutive blocks up to a seal, within count and bytes, but one at least if any; and their size."""
        blocks: list[StoredBlock] = []
        size = 0
        while len(blocks) < count:
            found = self._chain.store.raw_block(height + len(blocks))
            if found is None:
                break
            encoded_header, transactions = found
            grown = size + len(encoded_header.encoded) + sum(map(len, transactions))
            if blocks and grown > CATCH_UP_SIZE_MAX:
                break
            blocks.append(StoredBlock(encoded_header.encoded, transactions))
            size = grown
            if encoded_header.header.is_seal:
                break
        return blocks, size

    def _proof(self, height: int) -> tuple[QuorumCertificate | None, History | None]:
        """Why the block at a height is final: its certificate, or its place below a certified block."""
        store = self._chain.store
        found = store.next_certificate(height)
        if found is None:
            return None, None
        certified_height, certificate = found
        if certified_height == height:
            return certificate, None
        newer = store.find_header(certified_height)
        if newer is None:
            return None, None
        path = inclusion_path_from_nodes(height, certified_height, store.load_history_node)
        return None, History(FinalizedHeader(newer.encoded, certificate), path)

    # -- snapshots --------------------------------------------------------------------------------------

    def _offer(self, message: WantSnapshot) -> tuple[SyncAnswer, int]:
        entry = self._snapshot_store.newest()
        if entry is None:
            return self._not_held(SNAPSHOT, message.above), 0
        header = entry.description.encoded_header().header
        handovers = self._handovers(message.from_epoch, header.epoch)
        certificate, history = self._proof(header.height)
        is_held = header.height > message.above and (certificate is not None or history is not None)
        if not is_held or handovers is None:
            return self._not_held(SNAPSHOT, message.above), 0
        offer = SnapshotOffer(
            entry.description, certificate, TrustPath(message.from_epoch, handovers, history)
        )
        size = len(pack(offer))
        return (offer, size) if size <= OFFER_SIZE_MAX else (self._not_held(SNAPSHOT, message.above), 0)

    def _handovers(self, from_epoch: int, to_epoch: int) -> tuple[Handover, ...] | None:
        if not 0 <= to_epoch - from_epoch <= HANDOVERS_MAX:
            return None
        found = [self._chain.store.find_handover(epoch) for epoch in range(from_epoch, to_epoch)]
        handovers = tuple(each for each in found if each is not None)
        return handovers if len(handovers) == len(found) else None

    def _chunk(self, message: WantChunk) -> tuple[SyncAnswer, int]:
        entry = self._snapshot_store.find(message.height)
        if entry is None or entry.description.chunks_root != message.chunks_root:
            return self._not_held(CHUNK, message.height, message.index), 0
        found = self._snapshot_store.load_chunk(entry, message.index)
        if found is None:
            return self._not_held(CHUNK, message.height, message.index), 0
        chunk, siblings = found
        answer = SnapshotChunk(message.height, message.chunks_root, message.index, chunk, siblings)
        return answer, len(chunk)

    def _not_held(self, what: str, height: int, index: int = 0) -> NotHeld:
        first, end = self._chain.store.gap()
        from_height = end if first < end else 0
        return NotHeld(what, height, index, from_height, self._chain.tip.header.height)
