"""Execution: from a parent block and transactions to the next block and what it changes.

Rule 1: limits are checked before anything is executed.
Rule 2: a block holds only transactions that apply, in its order, on its parent's state.
Rule 3: building and checking run the same code; a header is right exactly when it equals the one built.
Rule 4: nothing is written here. The result is the block's overlay: changed leaves and changed tree pages.
Rule 5: the block on a state with a pending validator set is the epoch's seal: it holds no transactions, names
that set and makes it current. Its child opens the next epoch (docs/epochs.md).
Rule 6: a block whose rules this release does not know is neither built nor executed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import fields

from ledger.chain.overlays import Executed, Overlay, Tip
from ledger.encoding.keys import SUITE
from ledger.errors import LedgerError
from ledger.rules.blocks import (
    BLOCK_TRANSACTIONS_MAX,
    HEADER_VERSION,
    Block,
    BlockError,
    EncodedHeader,
    Header,
    transactions_root,
)
from ledger.rules.leaders import leader_index
from ledger.rules.state import (
    PROTOCOL,
    Changes,
    Parameters,
    StateView,
    require_parameters,
    require_validators,
)
from ledger.rules.transactions import Transaction, VerifiedTransactions
from ledger.rules.transition import BlockContext, apply_transaction, verify_transaction
from ledger.trees.statepages import update
from ledger.trees.statetree import value_hash


class UnknownProtocol(LedgerError):
    """Blocks from a height on follow rules that this release does not know. The block may be right."""

    code = "unknown-protocol"


class Divergence(BlockError):
    """A block whose header does not state what executing it gives. `field` names the first difference."""

    code = "divergence"

    def __init__(self, *, height: int, field: str, claimed: object, computed: object) -> None:
        where = f"block {height}, header {field}"
        super().__init__(where=where, expected=_show(computed), found=_show(claimed))
        self.field = field


def build_block(
    parent: Tip,
    candidates: Iterable[Transaction],
    *,
    view: int,
    proposer: str,
    now_ms: int,
    verified: VerifiedTransactions,
) -> tuple[Executed, list[tuple[Transaction, LedgerError]]]:
    """Return the block that `proposer` builds in `view`, and the candidates that do not apply, with reasons.

    Candidates that would exceed a limit are left out without a reason: they fit a later block. A seal takes none.
    """
    time_ms = max(now_ms, parent.header.time_ms + 1)
    context = _context(parent, time_ms)
    changes = Changes(parent.state)
    taken: list[Transaction] = []
    refused: list[tuple[Transaction, LedgerError]] = []
    room = _Room(context.parameters)
    for transaction in () if is_sealing(parent.state) else candidates:
        if not room.fits(transaction):
            continue
        try:
            verify_transaction(transaction, parent.state, context.chain_id, verified)
            changes.merge(apply_transaction(transaction, changes, context))
        except LedgerError as error:
            refused.append((transaction, error))
            continue
        room.take(transaction)
        taken.append(transaction)
    return _finish(parent, tuple(taken), changes, view=view, proposer=proposer, time_ms=time_ms), refused


def execute_block(parent: Tip, block: Block, *, verified: VerifiedTransactions) -> Executed:
    """Execute a block on its parent and check every field of its header.

    Raises BlockError where it breaks a rule, Divergence where its header states another result, UnknownProtocol where
    this release cannot say.
    """
    header = block.header
    check_lineage(parent.encoded_header, header)
    context = _context(parent, header.time_ms)
    _check_limits(block.transactions, context.parameters)
    if block.transactions and is_sealing(parent.state):
        raise BlockError(
            where=f"block {header.height}",
            expected="a seal without transactions",
            found=f"{len(block.transactions)}",
        )
    changes = Changes(parent.state)
    for index, transaction in enumerate(block.transactions):
        try:
            verify_transaction(transaction, parent.state, context.chain_id, verified)
            changes.merge(apply_transaction(transaction, changes, context))
        except LedgerError as error:
            where = f"block {header.height}, transaction {index}: {error.where}"
            raise BlockError(where=where, expected=error.expected, found=error.found) from error
    executed = _finish(
        parent,
        block.transactions,
        changes,
        view=header.view,
        proposer=_require_leader(parent.state, header),
        time_ms=header.time_ms,
    )
    _check_equal(claimed=header, computed=executed.block.header)
    return Executed(block, executed.overlay, executed.history)


def check_lineage(parent: EncodedHeader, header: Header) -> None:
    """Check what can be checked of a header without executing it. Raises BlockError."""
    where = f"block {header.height}"
    above = parent.header
    if header.chain_id != above.chain_id:
        raise BlockError(where=where, expected=f"chain {above.chain_id.hex()}", found=header.chain_id.hex())
    if header.height != above.height + 1:
        raise BlockError(where=where, expected=f"height {above.height + 1}", found=f"{header.height}")
    if header.parent_hash != parent.hash:
        raise BlockError(where=where, expected=f"parent {parent.hash.hex()}", found=header.parent_hash.hex())
    epoch, view = next_place(above)
    if header.epoch != epoch or header.view < view:
        expected = f"epoch {epoch} and a view of at least {view}"
        raise BlockError(where=where, expected=expected, found=f"epoch {header.epoch}, view {header.view}")
    if header.time_ms <= above.time_ms:
        raise BlockError(where=where, expected=f"a time after {above.time_ms}", found=f"{header.time_ms}")


def next_place(header: Header) -> tuple[int, int]:
    """Return epoch and lowest view of a block on this one: a seal's child opens the next epoch."""
    return (header.epoch + 1, 1) if header.is_seal else (header.epoch, header.view + 1)


def is_sealing(state: StateView) -> bool:
    """Say whether a block on this state is its epoch's seal."""
    return require_validators(state).pending is not None


def _require_leader(state: StateView, header: Header) -> str:
    validators = require_validators(state).current
    index = leader_index(epoch=header.epoch, view=header.view, validators_count=len(validators))
    return validators.validators[index].member


def check_protocol(parameters: Parameters, height: int) -> None:
    """Check that this release knows the rules of the block at a height. Raises UnknownProtocol."""
    if not parameters.knows(height):
        raise UnknownProtocol(
            where=f"block {height}",
            expected=f"rules {PROTOCOL}, which this release knows",
            found=f"rules {parameters.protocol} from block {parameters.protocol_height} on",
        )


def _context(parent: Tip, time_ms: int) -> BlockContext:
    parameters = require_parameters(parent.state)
    check_protocol(parameters, parent.header.height + 1)
    return BlockContext(parent.header.chain_id, parent.header.height + 1, time_ms, parameters)


class _Room:
    """What is left of a block's limits."""

    def __init__(self, parameters: Parameters) -> None:
        self._size = parameters.block_size_max
        self._operations = parameters.block_operations_max
        self._signatures = parameters.block_signatures_max
        self._transactions = BLOCK_TRANSACTIONS_MAX

    def fits(self, transaction: Transaction) -> bool:
        return (
            len(transaction.encoded) <= self._size
            and len(transaction.body.operations) <= self._operations
            and transaction.signature_count <= self._signatures
            and self._transactions > 0
        )

    def take(self, transaction: Transaction) -> None:
        self._size -= len(transaction.encoded)
        self._operations -= len(transaction.body.operations)
        self._signatures -= transaction.signature_count
        self._transactions -= 1


class BeyondLimits(LedgerError):
    """A transaction that no block of this chain can hold."""

    code = "beyond-limits"


def check_fits(transaction: Transaction, parameters: Parameters) -> None:
    """Check that a block could hold a transaction, were it alone in it. Raises BeyondLimits."""
    if not _Room(parameters).fits(transaction):
        raise BeyondLimits(
            where="transaction",
            expected=f"at most {parameters.block_size_max} bytes, {parameters.block_operations_max} operations and "
            f"{parameters.block_signatures_max} signatures",
            found=f"{len(transaction.encoded)}, {len(transaction.body.operations)} and {transaction.signature_count}",
        )


def _check_limits(transactions: Sequence[Transaction], parameters: Parameters) -> None:
    room = _Room(parameters)
    for index, transaction in enumerate(transactions):
        if not room.fits(transaction):
            raise BlockError(
                where=f"transaction {index}",
                expected="a block within the chain's limits",
                found="one past them",
            )
        room.take(transaction)


def _finish(
    parent: Tip,
    transactions: tuple[Transaction, ...],
    changes: Changes,
    *,
    view: int,
    proposer: str,
    time_ms: int,
) -> Executed:
    validators = require_validators(parent.state)
    if validators.pending is not None:
        changes.put(validators.succeed())
    tree = update(
        parent.state,
        parent.header.state_root,
        [(key, value_hash(value)) for key, value in sorted(changes.values.items())],
    )
    header = Header(
        version=HEADER_VERSION,
        suite=SUITE,
        chain_id=parent.header.chain_id,
        epoch=validators.epoch,
        view=view,
        height=parent.header.height + 1,
        time_ms=time_ms,
        parent_hash=parent.encoded_header.hash,
        transactions_root=transactions_root(tuple(transaction.id for transaction in transactions)),
        state_root=tree.root,
        history_root=parent.history.root(),
        validators_hash=validators.current.digest(),
        next_validators_hash=None if validators.pending is None else validators.pending.digest(),
        proposer=proposer,
    )
    encoded_header = EncodedHeader.encode(header)
    history, _ = parent.history.append(encoded_header.hash)
    return Executed(
        Block(encoded_header, transactions), Overlay(changes.values, tree.pages, parent.state), history
    )


def _check_equal(*, claimed: Header, computed: Header) -> None:
    for field in fields(Header):
        ours, theirs = getattr(computed, field.name), getattr(claimed, field.name)
        if ours != theirs:
            raise Divergence(height=claimed.height, field=field.name, claimed=theirs, computed=ours)


def _show(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else f"{value}"
