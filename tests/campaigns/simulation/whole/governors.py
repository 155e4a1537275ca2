"""What governors and members of a simulated chain change: validators, members, codes, parameters, keys, certificates.

Rule 1: a change follows from the final state at the moment of the fault. Where it cannot be asked for then, it is
no fault.
Rule 2: a change never lowers how many validators may be faulty, so that those who are stay few enough.
Rule 3: what is done to a member is done to the spare, which submits no documents: what a member signed with a key
that was replaced since is refused, and clients of the others expect what they submit to become final.
"""

from dataclasses import replace
from functools import cache
from typing import TypeVar

from ledger.encoding.keys import PrivateKey, PublicKey
from ledger.rules.certificates import ValidatorSet
from ledger.rules.operations import (
    MEMBER_KEY,
    ROTATION_TAG,
    VALIDATOR_KEY,
    CastVote,
    Operation,
    Propose,
    RotateKey,
    RotateTls,
    next_key_commitment,
    rotation_body,
)
from ledger.rules.proposals import (
    NO,
    POSSESSION_TAG,
    YES,
    AddMember,
    AddPurpose,
    AddSchema,
    Change,
    ChangeNames,
    ChangeRoles,
    ChangeValidators,
    NodeRegistration,
    Possession,
    Registering,
    ReinstateMember,
    SetIssuers,
    SetMemberKeys,
    SetNode,
    SetNotices,
    SetParameters,
    SuspendMember,
    possession_body,
    require_governance,
    shown_keys,
)
from ledger.rules.standing import require_member
from ledger.rules.state import (
    AUDITOR,
    Member,
    Node,
    Purpose,
    Schema,
    StateView,
    find,
    member_key,
    node_key,
    purpose_key,
    require_parameters,
    require_validators,
    schema_key,
)
from ledger.rules.tlscertificates import TlsCertificate
from ledger.rules.transactions import Transaction, TransactionBody
from tests.campaigns.simulation.whole.certificates import make_certificate
from tests.campaigns.simulation.whole.clients import VALID_MS
from tests.campaigns.simulation.whole.consortium import (
    LISTED_SCHEMA,
    PURPOSE,
    SPARE,
    START_MS,
    Consortium,
    private_key,
    validator_key,
)

SPARE_KEYS_MAX = 32
SET_CHANGES = ("replace", "remove", "add")
GOVERNING = (
    "register-spare",
    "rotate",
    "rotate-tls",
    "replace",
    "remove",
    "add",
    "suspend",
    "member-key",
    "lost-key",
    "names",
    "roles",
    "new-member",
    "schema",
    "issuers",
    "purpose",
    "notices",
    "parameters",
    "outvoted",
)


def ask_for(consortium: Consortium, state: StateView, kind: str, member: str) -> list[Transaction]:
    """Return the transactions that bring about a change; none where it cannot be had now."""
    current = require_validators(state)
    if current.pending is not None:
        return []
    if kind == "register-spare":
        return _register_spare(consortium, state)
    if kind == "rotate":
        return _rotate(consortium, state, current.current, member)
    if kind == "rotate-tls":
        return _rotate_tls(consortium, state, member)
    if kind == "member-key":
        return _rotate_member_key(consortium, state)
    if kind in SET_CHANGES:
        return _change_validators(consortium, state, current.current, kind, member)
    change, version = _change(state, kind)
    return _propose(consortium, change, version, choice=NO if kind == "outvoted" else YES)


def _change_validators(
    consortium: Consortium, state: StateView, current: ValidatorSet, kind: str, member: str
) -> list[Transaction]:
    members = _changed_members(state, current, kind, member)
    if members is None:
        return []
    before = tuple(each.member for each in current.validators)
    return _propose(consortium, ChangeValidators(before, members), None)


def _change(state: StateView, kind: str) -> tuple[Change, int | None]:
    """Return a change that the state allows, and the version of the record that it expects."""
    spare = require_member(state, SPARE)
    number = require_governance(state).proposals_count
    match kind:
        case "suspend":
            if spare.is_suspended:
                return ReinstateMember(SPARE), spare.version
            return SuspendMember(SPARE, 0), spare.version
        case "lost-key":
            generation = spare.key_sequence + 2
            keys = spare_key(generation).public, next_key_commitment(spare_key(generation + 1).public)
            return _possessing(SetMemberKeys(SPARE, *keys, UNSHOWN), spare_key(generation)), spare.version
        case "names":
            return ChangeNames(SPARE, *(f"{SPARE} {number}",) * 3), spare.version
        case "roles":
            roles = ("recipient",) if AUDITOR in spare.roles else (AUDITOR, "recipient")
            return ChangeRoles(SPARE, roles), spare.version
        case "new-member":
            name = f"newcomer-{number}"
            key, next_key = private_key(f"{name} member").public, private_key(f"{name} next").public
            return (
                _possessing(
                    AddMember(
                        name,
                        *(name,) * 3,
                        "CN",
                        ("issuer",),
                        key,
                        next_key_commitment(next_key),
                        None,
                        UNSHOWN,
                    ),
                    private_key(f"{name} member"),
                ),
                None,
            )
        case "issuers":
            schema = find(state, Schema, schema_key(LISTED_SCHEMA))
            assert schema is not None, "the genesis has it"
            # A governor, so that every such change is decided by the others alone.
            member = require_governance(state).governors[0]
            is_listed = member in (schema.issuers or ())
            added, removed = ((), (member,)) if is_listed else ((member,), ())
            return SetIssuers(LISTED_SCHEMA, added, removed), schema.version
        case "purpose":
            return AddPurpose(f"purpose-{number}", ()), None
        case "notices":
            purpose = find(state, Purpose, purpose_key(PURPOSE))
            assert purpose is not None, "the genesis has it"
            if len(purpose.notices) > 1:
                return SetNotices(PURPOSE, (), purpose.notices[1:]), purpose.version
            return SetNotices(PURPOSE, (number.to_bytes(32, "big"),), ()), purpose.version
        case "parameters":
            current = require_parameters(state)
            # No fewer than carry what live clients offer, eight a second, where each late leader costs its timeout.
            operations_max = (10_000, 30, 10)[number % 3]
            size_max = (2**21, 4_096)[number % 2]
            changed = replace(current, block_operations_max=operations_max, block_size_max=size_max)
            return SetParameters(current, changed), None
        case _:
            return AddSchema(f"schema-{number}", number % 2, None), None


UNSHOWN = Possession("simulation", "development", None, None)
R = TypeVar("R", bound=Registering)


def _possessing(change: R, key: PrivateKey) -> R:
    """Return a change that registers one key, signed by it."""
    signature = key.sign(POSSESSION_TAG, possession_body(change))
    (shown, _), _ = shown_keys(change)
    own, validators = (None, signature) if shown is None else (signature, None)
    return replace(change, possession=replace(UNSHOWN, key_signature=own, validator_key_signature=validators))


def spare_key(generation: int) -> PrivateKey:
    """Return the key that the spare signs with after so many rotations."""
    return private_key(f"{SPARE} member {generation}" if generation else f"{SPARE} member")


def _rotate_member_key(consortium: Consortium, state: StateView) -> list[Transaction]:
    spare = require_member(state, SPARE)
    sequence = spare.key_sequence + 1
    key = next(key for key in _spare_keys() if next_key_commitment(key.public) == spare.next_key)
    signer = find_spare_key(spare.key)
    next_key = next_key_commitment(spare_key(sequence + 1).public)
    body = rotation_body(
        chain_id=consortium.chain_id,
        member=SPARE,
        role=MEMBER_KEY,
        sequence=sequence,
        key=key.public,
        next_key=next_key,
    )
    operation = RotateKey(MEMBER_KEY, sequence, key.public, next_key, key.sign(ROTATION_TAG, body))
    sent = TransactionBody(consortium.chain_id, SPARE, START_MS + VALID_MS, (operation,))
    return [Transaction.sign(sent, signer)]


def find_spare_key(public: PublicKey) -> PrivateKey:
    """Return one of the spare's keys, by its public half."""
    return next(key for key in _spare_keys() if key.public == public)


@cache
def _spare_keys() -> tuple[PrivateKey, ...]:
    known = [spare_key(generation) for generation in range(SPARE_KEYS_MAX)]
    return (*known, private_key(f"{SPARE} next"))


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
    change = _possessing(SetNode(SPARE, registration, UNSHOWN), validator_key(SPARE, 0))
    return _propose(consortium, change, member.version)


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


def _rotate_tls(consortium: Consortium, state: StateView, member: str) -> list[Transaction]:
    registered, node = require_member(state, member), find(state, Node, node_key(member))
    assert node is not None, "everybody here runs a node"
    sequence = node.tls_sequence + 1
    keys = (*_spare_keys(), private_key(f"{member} next"))
    key = next(key for key in keys if next_key_commitment(key.public) == registered.next_key)
    signer = find_spare_key(registered.key) if member == SPARE else consortium.member_key(member)
    unsigned = RotateTls(sequence, make_certificate(member, sequence), key.public, bytes(64))
    body = unsigned.signed_body(chain_id=consortium.chain_id, member=member)
    operation = replace(unsigned, signature=key.sign(ROTATION_TAG, body))
    sent = TransactionBody(consortium.chain_id, member, START_MS + VALID_MS, (operation,))
    return [Transaction.sign(sent, signer)]


def _propose(
    consortium: Consortium, change: Change, version: int | None, *, choice: str = YES
) -> list[Transaction]:
    proposer = consortium.members[0]
    proposed = Propose(change, version, START_MS + VALID_MS)
    identity = proposed.proposal_id(chain_id=consortium.chain_id, proposer=proposer)
    votes = [_sign(consortium, member, CastVote(identity, choice)) for member in consortium.members]
    return [_sign(consortium, proposer, proposed), *votes]


def _sign(consortium: Consortium, member: str, operation: Operation) -> Transaction:
    body = TransactionBody(consortium.chain_id, member, START_MS + VALID_MS, (operation,))
    return Transaction.sign(body, consortium.member_key(member))
