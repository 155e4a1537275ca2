"""The consortium's governors at work: proposals, votes, and what tests put into the state beforehand."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from ledger.chain.overlays import Overlay
from ledger.encoding.keys import PublicKey
from ledger.encoding.records import pack
from ledger.errors import LedgerError
from ledger.rules.operations import CastVote, Operation, Propose, next_key_commitment
from ledger.rules.proposals import (
    POSSESSION_TAG,
    YES,
    Change,
    ChangeValidators,
    Possession,
    Proposal,
    Registering,
    named_members,
    possession_body,
    proposal_key,
    require_governance,
    shown_keys,
)
from ledger.rules.state import Leaf, Member, Node, Suspension, find, member_key, require_validators
from ledger.rules.transactions import Transaction
from ledger.trees.statepages import update
from ledger.trees.statetree import value_hash
from tests.support.consortium import (
    CHAIN_ID,
    DAY_MS,
    KEYS_MADE,
    START_MS,
    VALIDATORS,
    Ledger,
    key_of,
    make_transaction,
    member_key_of,
)

GOVERNORS = ("hk-bureau", "hk-operator", "mainland-bank", "sz-operator")
EXPIRES_MS = START_MS + 30 * DAY_MS


def put(ledger: Ledger, *leaves: Leaf) -> None:
    """Put leaves into the tip's state, as operations that are not under test would."""
    values = {leaf.state_key(): pack(leaf) for leaf in leaves}
    tip = ledger.tip
    tree = update(
        tip.state, tip.header.state_root, [(key, value_hash(value)) for key, value in sorted(values.items())]
    )
    encoded_header = replace(tip.encoded_header, header=replace(tip.header, state_root=tree.root))
    ledger.tip = replace(tip, encoded_header=encoded_header, state=Overlay(values, tree.pages, tip.state))


def register_validator(ledger: Ledger, member: str) -> None:
    """Register a validator's node for a member that has none."""
    next_key = next_key_commitment(key_of(f"{member} next validator").public)
    certificate = b"TLS certificate of " + member.encode()
    key = key_of(f"{member} validator").public
    put(ledger, Node(member, "validator", key, 0, next_key, certificate, 0))


def suspend(ledger: Ledger, member: str) -> None:
    put(ledger, replace(member_of(ledger, member), suspensions=(Suspension(1, 2, None),)))


def make_governors(ledger: Ledger, *members: str, side: str) -> None:
    """Make these members governors of a side; who is not registered is registered for it."""
    state = ledger.tip.state
    for member in members:
        found = find(state, Member, member_key(member)) or replace(
            member_of(ledger, GOVERNORS[0]), id=member, key=member_key_of(member).public
        )
        put(ledger, replace(found, roles=("governor",), jurisdiction=side))
    governance = require_governance(ledger.tip.state)
    put(ledger, replace(governance, governors=tuple(sorted({*governance.governors, *members}))))


def member_of(ledger: Ledger, member: str) -> Member:
    found = find(ledger.tip.state, Member, member_key(member))
    assert found is not None
    return found


def changing(members: Sequence[str], current: Sequence[str] = VALIDATORS) -> ChangeValidators:
    """Return the change to a set of validators, by default from that of the genesis."""
    return ChangeValidators(tuple(current), tuple(members))


UNSHOWN = Possession("tests", "development", None, None)
"""What a test leaves to `possessing`, which signs by the keys that tests have."""

R = TypeVar("R", bound=Registering)


def possessing(change: R) -> R:
    """Return a change with a signature by each key that it registers, where tests have it."""
    (key, _), (validator_key, _) = shown_keys(change)
    body = possession_body(change)
    shown = replace(
        change.possession,
        key_signature=_signed_by(key, body),
        validator_key_signature=_signed_by(validator_key, body),
    )
    return replace(change, possession=shown)


def _signed_by(key: PublicKey | None, body: bytes) -> bytes | None:
    private = None if key is None else KEYS_MADE.get(key.data)
    return None if private is None else private.sign(POSSESSION_TAG, body)


def shown(change: Change) -> Change:
    """Return a change as it is proposed: where a test left its possession open, with what shows it."""
    if isinstance(change, Registering) and change.possession == UNSHOWN:
        return possessing(change)
    return change


def proposing(
    change: Change, version: int | None = None, *, expires_ms: int = EXPIRES_MS, by: str = "hk-operator"
) -> tuple[Propose, bytes]:
    """Return the operation that proposes a change, and the proposal's id."""
    operation = Propose(shown(change), version, expires_ms)
    return operation, operation.proposal_id(chain_id=CHAIN_ID, proposer=by)


def propose(
    ledger: Ledger,
    change: Change,
    version: int | None = None,
    *,
    by: str = "hk-operator",
    expires_ms: int = EXPIRES_MS,
) -> bytes:
    """Record a proposal and return its id."""
    operation, identity = proposing(change, version, expires_ms=expires_ms, by=by)
    ledger.record(soon(ledger, by, operation))
    return identity


def soon(ledger: Ledger, sender: str, *operations: Operation) -> Transaction:
    """Return a transaction that the next block may record, whatever the time of the tip."""
    return make_transaction(
        sender, *operations, valid_until_ms=max(START_MS, ledger.tip.header.time_ms) + 60_000
    )


def vote(ledger: Ledger, proposal: bytes, *governors: str, choice: str = YES) -> None:
    """Record the votes of governors, one block for each."""
    for governor in governors:
        ledger.record(soon(ledger, governor, CastVote(proposal, choice)))


def vote_refusal(ledger: Ledger, proposal: bytes, governor: str, choice: str = YES) -> LedgerError:
    """Return why a vote is refused, having checked that refusing it changed nothing."""
    return ledger.refusal(soon(ledger, governor, CastVote(proposal, choice)))


def refusal(ledger: Ledger, change: Change, version: int | None = None, *, by: str = "hk-operator") -> str:
    """Return the code with which proposing a change is refused."""
    operation, _ = proposing(change, version, by=by)
    return ledger.refusal(soon(ledger, by, operation)).code


def proposal_of(ledger: Ledger, identity: bytes) -> Proposal:
    found = find(ledger.tip.state, Proposal, proposal_key(identity))
    assert found is not None
    return found


def status_of(ledger: Ledger, identity: bytes) -> str:
    return proposal_of(ledger, identity).status_at(ledger.tip.header.time_ms)


def enact(ledger: Ledger, change: Change, version: int | None = None) -> bytes:
    """Propose a change and vote until it passes; return the proposal's id."""
    identity = propose(ledger, change, version)
    for governor in GOVERNORS:
        if status_of(ledger, identity) == "passed":
            break
        if governor not in named_members(change) and not member_of(ledger, governor).is_suspended:
            vote(ledger, identity, governor)
    assert status_of(ledger, identity) == "passed", "the change did not pass"
    return identity


def epoch_of(ledger: Ledger) -> int:
    return require_validators(ledger.tip.state).epoch
