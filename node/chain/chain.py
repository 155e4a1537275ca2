"""The chain as this node holds it: what is final, in the store, and what is not, in the block tree.

Rule 1: transactions of a candidate are collected from wherever they come and kept with it, so that nothing
that the mempool drops can be missed later.
Rule 2: a block counts as executed here only when its bytes are durable here.
Rule 3: a certificate moves the chain only along blocks that were executed here.
"""

from collections.abc import Callable, Sequence

from ledger.chain.execution import build_block, check_fits
from ledger.chain.overlays import Executed, Tip
from ledger.encoding.records import pack, unpack
from ledger.errors import LedgerError
from ledger.rules.blocks import Block, BlockError, EncodedHeader, transactions_root
from ledger.rules.certificates import QuorumCertificate, ValidatorSet
from ledger.rules.state import require_parameters, require_validators
from ledger.rules.transactions import Transaction, VerifiedTransactions
from ledger.rules.transition import BlockContext, apply_transaction, verify_transaction
from node.chain.blocktree import UNFINALIZED_MAX, BlockTree, Candidate
from node.chain.bodies import Bodies
from node.messages import MESSAGE_SIZE_MAX, StoredBlock
from node.storage.store import Store


class Chain:
    """Store, block tree and the memory of verified transactions."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.before_commit: Callable[[Sequence[Executed]], None] = lambda _path: None
        self.verified = VerifiedTransactions()
        self.tree = BlockTree(store.tip())
        self._bodies = Bodies()
        for encoded in store.pending():
            self.take_block(unpack(StoredBlock, encoded, size_max=MESSAGE_SIZE_MAX), is_durable=True)

    @property
    def tip(self) -> Tip:
        """The finalized tip."""
        return self.tree.tip

    @property
    def validators(self) -> ValidatorSet:
        """The set that decides the blocks on the finalized tip."""
        return require_validators(self.tip.state).current

    @property
    def chain_id(self) -> bytes:
        """The 32-byte chain id."""
        return self.tip.header.chain_id

    # -- candidates -------------------------------------------------------------------------------------

    def propose(
        self, encoded_header: EncodedHeader, transaction_ids: tuple[bytes, ...], *, is_wanted: bool = False
    ) -> Candidate | None:
        """Take a proposed header and its transactions' ids. Raises BlockError where they do not match.

        A block that is wanted by its hash has room whatever else was proposed in its view.
        """
        if encoded_header.header.chain_id != self.chain_id:
            raise BlockError(
                where="proposal",
                expected=f"chain {self.chain_id.hex()}",
                found=encoded_header.header.chain_id.hex(),
            )
        if len(set(transaction_ids)) != len(transaction_ids):
            raise BlockError(where="proposal", expected="each transaction once", found="one named twice")
        if transactions_root(transaction_ids) != encoded_header.header.transactions_root:
            raise BlockError(
                where="proposal", expected="transactions under the header's root", found="others"
            )
        if encoded_header.header.height <= self.tip.header.height:
            return None
        candidate = self.tree.add(encoded_header, transaction_ids, is_wanted=is_wanted)
        if candidate is not None:
            self._bodies.name(encoded_header.hash, transaction_ids)
        return candidate

    def take_block(
        self, stored: StoredBlock, *, is_durable: bool = False, is_wanted: bool = False
    ) -> Candidate | None:
        """Take a whole block that is not final. Raises LedgerError where it is none."""
        encoded_header = EncodedHeader.decode(stored.header)
        transactions = tuple(Transaction.decode(encoded) for encoded in stored.transactions)
        ids = tuple(transaction.id for transaction in transactions)
        candidate = self.propose(encoded_header, ids, is_wanted=is_wanted or is_durable)
        if candidate is not None:
            candidate.is_durable = candidate.is_durable or is_durable
            for transaction in transactions:
                self._bodies.take(transaction)
        return candidate

    def take_transaction(self, transaction: Transaction) -> bool:
        """Keep a transaction for the candidates that name it; say whether any does."""
        return self._bodies.take(transaction)

    def is_wanted(self, transaction_id: bytes) -> bool:
        """Say whether a candidate names this transaction and lacks it."""
        return self._bodies.is_wanted(transaction_id)

    def missing(self, candidate: Candidate) -> list[bytes]:
        """Return the ids of the transactions of a candidate that are not here."""
        return self._bodies.missing(candidate.encoded_header.hash)

    def execute(self, candidate: Candidate) -> Executed:
        """Execute a candidate whose parent and transactions are here, and make it durable.

        Raises BlockError where it breaks a rule.
        """
        if candidate.executed is None:
            bodies = self._bodies.of_block(candidate.encoded_header.hash)
            transactions = tuple(bodies[identity] for identity in candidate.transaction_ids)
            self.tree.execute(candidate, Block(candidate.encoded_header, transactions), self.verified)
        assert candidate.executed is not None, "an executed candidate"
        self._make_durable(candidate)
        return candidate.executed

    def build(
        self, parent_hash: bytes, candidates: Sequence[Transaction], *, view: int, proposer: str, now_ms: int
    ) -> tuple[Executed, list[tuple[Transaction, LedgerError]]] | None:
        """Build a durable block on a parent; None where the parent is not executed here."""
        parent = self.tree.find_tip(parent_hash)
        if parent is None:
            return None
        if self.tree.depth_above_tip(parent_hash) >= UNFINALIZED_MAX:
            candidates = ()
        executed, refused = build_block(
            parent, candidates, view=view, proposer=proposer, now_ms=now_ms, verified=self.verified
        )
        candidate = self.tree.add_built(executed)
        self._bodies.name(executed.block.hash, candidate.transaction_ids)
        for transaction in executed.block.transactions:
            self._bodies.take(transaction)
        self._make_durable(candidate)
        return executed, refused

    def stored_block(self, block_hash: bytes) -> StoredBlock | None:
        """Return a whole block, final or not, as it is sent; None where it is not here."""
        candidate = self.tree.find(block_hash)
        if candidate is not None:
            if self.missing(candidate):
                return None
            bodies = self._bodies.of_block(block_hash)
            return StoredBlock(
                candidate.encoded_header.encoded,
                tuple(bodies[identity].encoded for identity in candidate.transaction_ids),
            )
        height = self.store.find_height(block_hash)
        block = None if height is None else self.store.load_block(height)
        return None if block is None else stored(block)

    def find_time_ms(self, block_hash: bytes) -> int | None:
        """Return the time of the tip or of a block above it; None where it is neither."""
        if block_hash == self.tip.encoded_header.hash:
            return self.tip.header.time_ms
        candidate = self.tree.find(block_hash)
        return None if candidate is None else candidate.encoded_header.header.time_ms

    def holds(self, block_hash: bytes) -> bool:
        """Say whether a block is durable here, final or not."""
        candidate = self.tree.find(block_hash)
        is_kept = candidate is not None and candidate.is_durable
        return is_kept or self.store.find_height(block_hash) is not None

    def find_body(self, transaction_id: bytes) -> Transaction | None:
        """Return a transaction of any candidate."""
        return self._bodies.find(transaction_id)

    def ids_above_tip(self, block_hash: bytes) -> set[bytes]:
        """Return the ids of all transactions from above the tip up to a block."""
        ids: set[bytes] = set()
        while (candidate := self.tree.find(block_hash)) is not None:
            ids.update(candidate.transaction_ids)
            block_hash = candidate.encoded_header.header.parent_hash
        return ids

    # -- finality ---------------------------------------------------------------------------------------

    def commit(self, certificate: QuorumCertificate) -> list[Executed] | None:
        """Make a block and its ancestors final; None where one of them was not executed here."""
        block_hash = certificate.subject.block_hash
        assert block_hash is not None, "a finalization names a block"
        path = self.tree.path_to(block_hash)
        if path is None:
            return None
        if path:
            self._commit(path, certificate)
        return path

    def commit_final(self, path: list[Executed], certificate: QuorumCertificate | None) -> None:
        """Make executed blocks on the tip final. That they are was verified before they were executed."""
        self._commit(path, certificate)

    def restart(self) -> None:
        """Go on from the store's tip, which a snapshot replaced. Nothing above it is known."""
        self.tree = BlockTree(self.store.tip())
        self._bodies = Bodies()

    def _commit(self, path: list[Executed], certificate: QuorumCertificate | None) -> None:
        self.before_commit(path)
        self.store.commit(path, certificate)
        self.tree.finalize(self.store.tip())
        self._bodies.keep(self.tree.hashes())

    def _make_durable(self, candidate: Candidate) -> None:
        if not candidate.is_durable:
            whole = self.stored_block(candidate.encoded_header.hash)
            assert whole is not None, "an executed block is whole"
            header = candidate.encoded_header.header
            self.store.put_pending(header.height, candidate.encoded_header.hash, pack(whole))
            candidate.is_durable = True

    # -- admission --------------------------------------------------------------------------------------

    def check_transaction(self, transaction: Transaction, now_ms: int) -> None:
        """Check that a transaction would apply to the final state now. Raises LedgerError."""
        tip = self.tip
        parameters = require_parameters(tip.state)
        check_fits(transaction, parameters)
        verify_transaction(transaction, tip.state, self.chain_id, self.verified)
        time_ms = max(now_ms, tip.header.time_ms + 1)
        context = BlockContext(self.chain_id, tip.header.height + 1, time_ms, parameters)
        apply_transaction(transaction, tip.state, context)


def stored(block: Block) -> StoredBlock:
    """Return a block as it is sent and stored."""
    return StoredBlock(
        block.encoded_header.encoded, tuple(transaction.encoded for transaction in block.transactions)
    )
