"""Changes of the validator set, as the governors of a simulated chain make them.

Rule 1: a change follows from the final state at the moment of the fault. Where it cannot be asked for then, it is
no fault.
Rule 2: a change never lowers how many validators may be faulty, so that those who are stay few enough.
"""

from ledger.certificates import ValidatorSet
from ledger.operations import (
    ROTATION_TAG,
    VALIDATOR_KEY,
    CastVote,
    Operation,
    Propose,
    RotateKey,
    next_key_commitment,
    rotation_body,
)
from ledger.proposals import YES, Change, ChangeValidators, NodeRegistration, SetNode
from ledger.state import Member, Node, StateView, find, member_key, node_key, require_validators
from ledger.tlscertificates import TlsCertificate
from ledger.transactions import Transaction, TransactionBody
from tests.simulation.whole.clients import VALID_MS
from tests.simulation.whole.consortium import SPARE, START_MS, Consortium, validator_key


def ask_for(consortium: Consortium, state: StateView, kind: str, member: str) -> list[Transaction]:
    """Return the transactions that bring about a change; none where it cannot be had now."""
    current = require_validators(state)
    if current.pending is not None:
        return []
    if kind == "register-spare":
        return _register_spare(consortium, state)
    if kind == "rotate":
        return _rotate(consortium, state, current.current, member)
    members = _changed_members(state, current.current, kind, member)
    if members is None:
        return []
    before = tuple(each.member for each in current.current.validators)
    return _propose(consortium, ChangeValidators(before, members), None)


def _changed_members(
    state: StateView, validators: ValidatorSet, kind: str, member: str
) -> tuple[str, ...] | None:
    before = [each.member for each in validators.validators]
    spare = find(state, Node, node_key(SPARE))
    is_spare_ready = spare is not None and spare.validator_key is not None
    after = set(before)
    if kind == "replace" and SPARE not in before and member in before and is_spare_ready:
        after = (after - {member}) | {SPARE}
    elif kind == "replace" and SPARE in before and member not in before:
        after = (after - {SPARE}) | {member}
    elif kind == "remove" and member in before:
        after -= {member}
    elif kind == "add" and member not in before:
        after |= {member}
    elif kind == "add" and SPARE not in before and is_spare_ready:
        after |= {SPARE}
    is_changed = after != set(before) and len(after) >= 4
    is_as_tolerant = (len(after) - 1) // 3 >= validators.faulty_max
    return tuple(sorted(after)) if is_changed and is_as_tolerant else None


def _register_spare(consortium: Consortium, state: StateView) -> list[Transaction]:
    node, member = find(state, Node, node_key(SPARE)), find(state, Member, member_key(SPARE))
    if member is None or node is None or node.validator_key is not None:
        return []
    registration = NodeRegistration(
        "validator",
        validator_key(SPARE, 0).public,
        next_key_commitment(validator_key(SPARE, 1).public),
        TlsCertificate(b"\x01" * 20, b"\x02" * 16, b"\x03" * 64, b"\x04" * 64),
    )
    return _propose(consortium, SetNode(SPARE, registration), member.version)


def _rotate(
    consortium: Consortium, state: StateView, validators: ValidatorSet, member: str
) -> list[Transaction]:
    node = find(state, Node, node_key(member))
    if node is None or node.validator_key is None or validators.index_of(member) is None:
        return []
    sequence = node.validator_key_sequence + 1
    key = validator_key(member, sequence)
    next_key = next_key_commitment(validator_key(member, sequence + 1).public)
    body = rotation_body(
        chain_id=consortium.chain_id,
        member=member,
        role=VALIDATOR_KEY,
        sequence=sequence,
        key=key.public,
        next_key=next_key,
    )
    signature = key.sign(ROTATION_TAG, body)
    return [_sign(consortium, member, RotateKey(VALIDATOR_KEY, sequence, key.public, next_key, signature))]


def _propose(consortium: Consortium, change: Change, version: int | None) -> list[Transaction]:
    proposer = consortium.members[0]
    proposed = Propose(change, version, START_MS + VALID_MS)
    identity = proposed.proposal_id(chain_id=consortium.chain_id, proposer=proposer)
    votes = [_sign(consortium, member, CastVote(identity, YES)) for member in consortium.members]
    return [_sign(consortium, proposer, proposed), *votes]


def _sign(consortium: Consortium, member: str, operation: Operation) -> Transaction:
    body = TransactionBody(consortium.chain_id, member, START_MS + VALID_MS, (operation,))
    return Transaction.sign(body, consortium.member_key(member))
