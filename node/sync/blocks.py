"""Catching up by blocks (docs/sync.md, Blocks).

Rule 1: spans above the tip are asked for from several peers at once. An answer waits, unread but for its headers, until
the tip reaches it.
Rule 2: then its last header is verified (certificate, or history of a certified block) by the validators of the tip's
state, and the others by their links to it; transactions by their root. Only then is anything executed.
Rule 3: one step executes one block, on its parents' changes, whose signatures were checked ahead where somebody does
that (`node.sync.prevalidation`). Blocks under a quorum's certificate that execute otherwise stop the node.
"""

from dataclasses import dataclass, field, replace
from itertools import pairwise

from ledger.chain.execution import execute_block
from ledger.chain.overlays import Executed, Overlay, Tip
from ledger.errors import LedgerError
from ledger.rules.blocks import Block, BlockError, EncodedHeader, transactions_root
from ledger.rules.state import require_validators
from ledger.rules.transactions import Transaction
from ledger.trees.statepages import StatePageError
from ledger.trust import Pins, TrustPath, verify_header
from node.chain.chain import Chain
from node.measurements import NOT_MEASURED, Measurements
from node.messages import BUSY, FinalBlocks, NotHeld, StoredBlock, WantFinal
from node.sync.host import SyncHost, SyncTuning
from node.sync.prevalidation import (
    ANSWER_MS,
    TRANSACTIONS_MIN,
    Checker,
    Checks,
    Keys,
    note_checked,
    senders_keys,
)
from node.sync.sources import Sources


@dataclass(frozen=True, slots=True)
class _Asked:
    peer: str
    count: int
    due_ms: int


@dataclass(frozen=True, slots=True)
class _Piece:
    peer: str
    headers: tuple[EncodedHeader, ...]
    message: FinalBlocks
    keys: Keys
    checks: tuple[Checks | None, ...]
    """Of each block's transactions; None where they are checked in turn."""


@dataclass(slots=True)
class _Applying:
    """A piece whose blocks are executed one by one, with all that they changed so far above the tip's state.

    `values` and `pages` grow with each block. What is executed on them is kept above its own parent instead, whose
    state stays what it was.
    """

    piece: _Piece
    tip: Tip
    began_ms: int
    path: list[Executed] = field(default_factory=list)
    values: dict[bytes, bytes] = field(default_factory=dict)
    pages: dict[bytes, bytes | None] = field(default_factory=dict)
    waits_since_ms: int | None = None

    def parent(self) -> Tip:
        """Return the block to execute the next one on. What all before it changed is found in one look."""
        if not self.path:
            return self.tip
        state = Overlay(self.values, self.pages, self.tip.state)
        return Tip(self.path[-1].block.encoded_header, state, self.path[-1].history)

    def take(self, executed: Executed) -> None:
        """Go on from an executed block."""
        below = self.path[-1].overlay if self.path else self.tip.state
        self.path.append(replace(executed, overlay=replace(executed.overlay, below=below)))
        self.values.update(executed.overlay.values)
        self.pages.update(executed.overlay.pages)
        self.waits_since_ms = None

    @property
    def is_complete(self) -> bool:
        return len(self.path) == len(self.piece.headers)

    @property
    def checks(self) -> Checks | None:
        """Those of the next block."""
        return None if self.is_complete else self.piece.checks[len(self.path)]

    @property
    def is_waiting(self) -> bool:
        """Whether the next block's signatures are being checked."""
        return self.checks is not None and not self.checks.is_settled


class BlockFetch:
    """The blocks above the tip, on their way."""

    def __init__(
        self,
        chain: Chain,
        pins: Pins,
        sources: Sources,
        host: SyncHost,
        tuning: SyncTuning,
        checker: Checker | None = None,
        measurements: Measurements = NOT_MEASURED,
    ) -> None:
        self._chain = chain
        self._pins = pins
        self._sources = sources
        self._host = host
        self._tuning = tuning
        self._checker = checker
        self._measurements = measurements
        self._asked: dict[int, _Asked] = {}
        # Whom which spans were asked of in vain. What comes all the same is taken.
        self._late: dict[int, dict[str, _Asked]] = {}
        self._pieces: dict[int, _Piece] = {}
        self._applying: _Applying | None = None

    @property
    def is_ready(self) -> bool:
        """Whether `step` has something to do."""
        applying = self._applying
        if applying is not None and applying.tip.encoded_header.hash == self._chain.tip.encoded_header.hash:
            return not applying.is_waiting
        return applying is not None or self._chain.tip.header.height + 1 in self._pieces

    @property
    def waits_for(self) -> list[str]:
        """Who is asked for blocks now."""
        return sorted({asked.peer for asked in self._asked.values()})

    def clear(self) -> None:
        """Forget everything that was asked for or came."""
        for height in list(self._asked):
            self._settle(height)
        self._late.clear()
        self._pieces.clear()
        self._applying = None

    def ask(self, now_ms: int, target_height: int) -> None:
        """Ask for what is missing up to a height, as far as peers are free."""
        height = self._chain.tip.header.height + 1
        if (
            self._applying is not None
            and self._applying.tip.encoded_header.hash == self._chain.tip.encoded_header.hash
        ):
            # An answer is being executed: it is here, though nothing of it is final yet.
            height += len(self._applying.piece.headers)
        self._pieces = {start: piece for start, piece in self._pieces.items() if start >= height}
        self._late = {start: late for start, late in self._late.items() if start >= height}
        for _ in range(self._tuning.spans_max):
            if height > target_height:
                return
            piece, asked = self._pieces.get(height), self._asked.get(height)
            if piece is not None:
                height += len(piece.headers)
            elif asked is not None:
                height += asked.count
            else:
                is_next = height == self._chain.tip.header.height + 1
                count = self._tuning.span if is_next else min(self._tuning.span, target_height - height + 1)
                if not self._ask_one(now_ms, height, count):
                    return
                height += count

    def expire(self, now_ms: int) -> None:
        """Give up questions that nobody answered, peers or the checker."""
        self._expire_checks(now_ms)
        for height, asked in list(self._asked.items()):
            if now_ms >= asked.due_ms:
                self._settle(height)
                self._late.setdefault(height, {})[asked.peer] = asked
                self._sources.stalled(asked.peer, now_ms, f"final blocks from height {height}")

    def _expire_checks(self, now_ms: int) -> None:
        applying = self._applying
        if applying is None or not applying.is_waiting:
            return
        if applying.waits_since_ms is None:
            applying.waits_since_ms = now_ms
        elif now_ms - applying.waits_since_ms >= ANSWER_MS:
            assert self._checker is not None, "who was asked"
            self._checker.give_up()
            checks = (None,) * len(applying.piece.headers)
            self._applying = replace(applying, piece=replace(applying.piece, checks=checks))

    def forget(self, peer: str) -> None:
        """Take note that a peer is gone, with what it was asked for."""
        for height, asked in list(self._asked.items()):
            if asked.peer == peer:
                self._settle(height)
        for late in self._late.values():
            late.pop(peer, None)

    def receive(self, peer: str, message: FinalBlocks) -> bool:
        """Keep an answer; say whether it was asked for. Raises LedgerError where it is malformed."""
        asked = self._asked.get(message.height)
        if asked is not None and asked.peer == peer:
            self._settle(message.height)
        else:
            asked = self._late.get(message.height, {}).pop(peer, None)
            if asked is None:
                return False
        headers = tuple(EncodedHeader.decode(each.header) for each in message.blocks)
        first = headers[0].header.height
        if first != message.height or len(headers) > asked.count:
            raise BlockError(
                where="final blocks", expected=f"{asked.count} from height {message.height}", found=f"{first}"
            )
        if (message.certificate is None) == (message.history is None):
            raise BlockError(
                where="final blocks", expected="a certificate or a history", found="both or neither"
            )
        if message.height > self._chain.tip.header.height and message.height not in self._pieces:
            self._pieces[message.height] = self._piece(peer, headers, message)
        return True

    def _piece(self, peer: str, headers: tuple[EncodedHeader, ...], message: FinalBlocks) -> _Piece:
        """Return an answer as it waits, its signatures being checked. Whose blocks these are is another question."""
        if self._checker is None:
            return _Piece(peer, headers, message, {}, (None,) * len(headers))
        keys = senders_keys(self._chain.tip.state)
        checks = tuple(
            None
            if len(block.transactions) < TRANSACTIONS_MIN
            else self._checker.submit(block.transactions, keys)
            for block in message.blocks
        )
        return _Piece(peer, headers, message, keys, checks)

    def not_held(self, peer: str, message: NotHeld, now_ms: int) -> None:
        """Take note that a peer cannot answer."""
        asked = self._asked.get(message.height)
        if asked is None or asked.peer != peer:
            return
        self._settle(message.height)
        if message.what == BUSY:
            return
        if message.from_height <= message.height <= message.tip_height:
            self._sources.stalled(peer, now_ms, f"the block at height {message.height}, which it claims")
            return
        self._sources.note_claim(peer, tip_height=message.tip_height, from_height=message.from_height)

    def step(self, now_ms: int) -> bool:
        """Verify an answer or execute one block; say whether anything became final."""
        tip = self._chain.tip
        applying = self._applying
        if applying is not None and applying.tip.encoded_header.hash != tip.encoded_header.hash:
            # Consensus was faster.
            self._applying = applying = None
        if applying is None:
            return self._begin(now_ms, tip)
        if applying.is_waiting:
            return False
        if not applying.is_complete:
            self._step_block(applying, now_ms)
            return False
        self._applying = None
        message = applying.piece.message
        proof = message.certificate
        if proof is None:
            assert message.history is not None, "an answer has one of the two"
            proof = message.history.newer.certificate
        self._host.commit_final(applying.path, message.certificate, proof)
        self._measurements.sync_span((now_ms - applying.began_ms) / 1000)
        return True

    def _begin(self, now_ms: int, tip: Tip) -> bool:
        piece = self._pieces.pop(tip.header.height + 1, None)
        if piece is None:
            return False
        try:
            self._verify(piece, tip)
        except LedgerError as error:
            self._refuse(piece, now_ms, error)
            return False
        self._applying = _Applying(piece, tip, now_ms)
        return False

    def _verify(self, piece: _Piece, tip: Tip) -> None:
        headers = piece.headers
        if headers[0].header.parent_hash != tip.encoded_header.hash:
            raise BlockError(
                where="final blocks",
                expected="a first block on our tip",
                found=f"height {headers[0].header.height}",
            )
        for before, after in pairwise(headers):
            if after.header.parent_hash != before.hash:
                raise BlockError(
                    where="final blocks",
                    expected="blocks that follow each other",
                    found=f"{after.header.height}",
                )
            if before.header.is_seal:
                raise BlockError(
                    where="final blocks", expected="a seal only as the last block", found="blocks beyond one"
                )
        if headers[-1].header.is_seal and piece.message.certificate is None:
            raise BlockError(where="final blocks", expected="a seal's own certificate", found="a history")
        current = require_validators(tip.state)
        pins = self._pins.beyond(tip.encoded_header, current.epoch, current.current)
        path = TrustPath(current.epoch, (), piece.message.history)
        verify_header(pins, headers[-1].encoded, piece.message.certificate, path, at_ms=0)

    def _step_block(self, applying: _Applying, now_ms: int) -> None:
        index, piece = len(applying.path), applying.piece
        try:
            block = _decode(piece.headers[index], piece.message.blocks[index])
        except LedgerError as error:
            self._refuse(piece, now_ms, error)
            return
        if applying.checks is not None:
            note_checked(block, applying.checks, piece.keys, self._chain.verified)
        self._execute(applying, block)

    def _execute(self, applying: _Applying, block: Block) -> None:
        try:
            executed = execute_block(applying.parent(), block, verified=self._chain.verified)
        except StatePageError:
            raise
        except LedgerError as error:
            raise self._host.stop_error(f"a final block executes to another result here: {error}") from error
        applying.take(executed)

    def _refuse(self, piece: _Piece, now_ms: int, error: LedgerError) -> None:
        self._applying = None
        self._sources.lied(piece.peer, now_ms, error)

    def _ask_one(self, now_ms: int, height: int, count: int) -> bool:
        is_next = height == self._chain.tip.header.height + 1
        peer = self._sources.pick_for(now_ms, height, is_next=is_next)
        if peer is None or not self._host.send(peer, WantFinal(height, count)):
            return False
        due_ms = self._sources.note_asked(peer, now_ms, self._tuning.reply_ms)
        self._asked[height] = _Asked(peer, count, due_ms)
        return True

    def _settle(self, height: int) -> None:
        self._sources.note_answered(self._asked.pop(height).peer)


def _decode(encoded_header: EncodedHeader, stored: StoredBlock) -> Block:
    """Return the block whose header is trusted. Raises LedgerError where these are not its transactions."""
    transactions = tuple(Transaction.decode(encoded) for encoded in stored.transactions)
    if transactions_root(tuple(each.id for each in transactions)) != encoded_header.header.transactions_root:
        raise BlockError(
            where=f"final block {encoded_header.header.height}",
            expected="the header's transactions",
            found="others",
        )
    return Block(encoded_header, transactions)
