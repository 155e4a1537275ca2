"""The blocks above the finalized tip: candidates, their bodies, and what executing them gave (docs/decisions/0007).

Rule 1: a block is executed only on an executed parent or the finalized tip.
Rule 2: at most CANDIDATES_MAX blocks are held; a proposer past its share in a view is refused, unless the block
is wanted by its hash: else two junk proposals would keep out a third that a quorum notarized.
Rule 3: when blocks become final, every branch that does not descend from them is dropped, and what remains
stands on the store again, so that chains of overlays never grow longer than what is not final.
"""

from collections.abc import KeysView
from dataclasses import dataclass, replace
from typing import Final

from ledger.chain.execution import execute_block
from ledger.chain.overlays import Executed, Tip
from ledger.rules.blocks import Block, EncodedHeader
from ledger.rules.transactions import VerifiedTransactions

CANDIDATES_MAX: Final = 512
CANDIDATES_PER_VIEW_MAX: Final = 2
UNFINALIZED_MAX: Final = 64


@dataclass(slots=True)
class Candidate:
    """A block that is not final: its header, the ids of its transactions, and the block once it is whole."""

    encoded_header: EncodedHeader
    transaction_ids: tuple[bytes, ...]
    block: Block | None = None
    executed: Executed | None = None
    is_durable: bool = False


class BlockTree:
    """The candidates above the finalized tip."""

    def __init__(self, tip: Tip) -> None:
        self.tip = tip
        self._candidates: dict[bytes, Candidate] = {}

    def find(self, block_hash: bytes) -> Candidate | None:
        """Return a candidate by its hash."""
        return self._candidates.get(block_hash)

    def hashes(self) -> KeysView[bytes]:
        """Return the hashes of all candidates."""
        return self._candidates.keys()

    def add(
        self, encoded_header: EncodedHeader, transaction_ids: tuple[bytes, ...], *, is_wanted: bool = False
    ) -> Candidate | None:
        """Return the candidate for a header, new or known; None where a limit leaves no room for it.

        What is wanted by its hash, since a quorum or a leader stands for it, is not limited by its view.
        """
        known = self._candidates.get(encoded_header.hash)
        if known is not None:
            return known
        place = (encoded_header.header.epoch, encoded_header.header.view)
        in_view = sum(
            (each.encoded_header.header.epoch, each.encoded_header.header.view) == place
            for each in self._candidates.values()
        )
        if in_view >= CANDIDATES_PER_VIEW_MAX and not is_wanted:
            return None
        if len(self._candidates) >= CANDIDATES_MAX:
            return None
        candidate = Candidate(encoded_header, transaction_ids)
        self._candidates[encoded_header.hash] = candidate
        return candidate

    def find_tip(self, block_hash: bytes) -> Tip | None:
        """Return an executed block, or the finalized one, as something to build on."""
        if block_hash == self.tip.encoded_header.hash:
            return self.tip
        candidate = self._candidates.get(block_hash)
        return candidate.executed.tip() if candidate is not None and candidate.executed is not None else None

    def execute(self, candidate: Candidate, block: Block, verified: VerifiedTransactions) -> Executed:
        """Execute a whole candidate on its parent. Raises BlockError; the parent must be executed."""
        parent = self.find_tip(candidate.encoded_header.header.parent_hash)
        assert parent is not None, "a block is executed only on an executed parent"
        candidate.block = block
        candidate.executed = execute_block(parent, block, verified=verified)
        return candidate.executed

    def add_built(self, executed: Executed) -> Candidate:
        """Take a block that this node built."""
        ids = tuple(transaction.id for transaction in executed.block.transactions)
        candidate = Candidate(executed.block.encoded_header, ids, executed.block, executed)
        self._candidates[executed.block.hash] = candidate
        return candidate

    def depth_above_tip(self, block_hash: bytes) -> int:
        """Return how many unfinalized blocks end in this one."""
        depth = 0
        while (candidate := self._candidates.get(block_hash)) is not None:
            depth += 1
            block_hash = candidate.encoded_header.header.parent_hash
        return depth

    def path_to(self, block_hash: bytes) -> list[Executed] | None:
        """Return the executed blocks from above the tip up to this one; None where one is missing."""
        path: list[Executed] = []
        while block_hash != self.tip.encoded_header.hash:
            candidate = self._candidates.get(block_hash)
            if candidate is None or candidate.executed is None:
                return None
            path.append(candidate.executed)
            block_hash = candidate.encoded_header.header.parent_hash
        return path[::-1]

    def finalize(self, tip: Tip) -> list[Candidate]:
        """Move the tip to a block that the store now holds; return the candidates that were abandoned."""
        self.tip = tip
        kept: dict[bytes, Candidate] = {}
        dropped: list[Candidate] = []
        roots = {tip.encoded_header.hash}
        for candidate in sorted(
            self._candidates.values(), key=lambda each: each.encoded_header.header.height
        ):
            header = candidate.encoded_header.header
            if header.height <= tip.header.height:
                if candidate.encoded_header.hash != tip.encoded_header.hash:
                    dropped.append(candidate)
                continue
            if header.parent_hash in roots or header.parent_hash not in self._candidates:
                kept[candidate.encoded_header.hash] = candidate
                roots.add(candidate.encoded_header.hash)
                self._rebase(candidate, kept)
            else:
                dropped.append(candidate)
        self._candidates = kept
        return dropped

    def _rebase(self, candidate: Candidate, kept: dict[bytes, Candidate]) -> None:
        if candidate.executed is None:
            return
        parent_hash = candidate.encoded_header.header.parent_hash
        parent = kept.get(parent_hash)
        if parent_hash == self.tip.encoded_header.hash:
            below = self.tip.state
        else:
            assert parent is not None and parent.executed is not None, (
                "an executed block has an executed parent"
            )
            below = parent.executed.overlay
        candidate.executed = replace(
            candidate.executed, overlay=replace(candidate.executed.overlay, below=below)
        )
