"""Random histories of governance: whatever governors propose and vote, the network stays governed and decided.

The oracle counts votes itself, from the operations that blocks recorded, not by the rules' own tally.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.encoding.records import pack
from ledger.errors import EncodingError
from ledger.rules.operations import CastVote, Operation, Propose, RotateKey, SuspendSelf
from ledger.rules.proposals import (
    Change,
    ChangeRoles,
    ChangeValidators,
    NodeRegistration,
    Proposal,
    ReinstateMember,
    SetIssuers,
    SetNode,
    SetNotices,
    SuspendMember,
    require_governance,
)
from ledger.rules.state import (
    Member,
    Purpose,
    Schema,
    StateView,
    find,
    member_key,
    purpose_key,
    require_members,
    require_validators,
    schema_key,
)
from tests.ledger.rules.test_registration import CERTIFICATE, adding, registration
from tests.ledger.rules.test_rotations import rotating
from tests.support.consortium import (
    CHAIN_ID,
    LOAN,
    MAINLAND_REPORT,
    Ledger,
    hash_of,
    make_transaction,
    member_key_of,
)
from tests.support.governors import EXPIRES_MS, UNSHOWN, proposal_of, register_validator, shown

SENDS: frozenset[type[Operation]] = frozenset((Propose, CastVote, RotateKey, SuspendSelf))
PEOPLE = ("auditor", "hk-bank", "hk-bureau", "hk-operator", "mainland-bank", "mainland-bureau", "sz-operator")


def suspending(state: StateView, member: str) -> Change:
    return SuspendMember(member, 0)


def reinstating(state: StateView, member: str) -> Change:
    return ReinstateMember(member)


def promoting(state: StateView, member: str) -> Change:
    return ChangeRoles(member, ("governor", "issuer"))


def demoting(state: StateView, member: str) -> Change:
    return ChangeRoles(member, ("auditor",))


def seating(state: StateView, member: str) -> Change:
    current = members_validating(state)
    return ChangeValidators(current, tuple(sorted({*current, member})))


def unseating(state: StateView, member: str) -> Change:
    current = members_validating(state)
    return ChangeValidators(current, tuple(each for each in current if each != member))


def swapping(state: StateView, member: str) -> Change:
    current = members_validating(state)
    return ChangeValidators(current, tuple(sorted({*current[1:], member})))


def rekeying(state: StateView, member: str) -> Change:
    return SetNode(member, registration(member, "replaced"), UNSHOWN)


def joining(state: StateView, member: str) -> Change:
    return adding(NodeRegistration("observer", None, None, CERTIFICATE), id=f"new-{member}"[:32])


def listing(state: StateView, member: str) -> Change:
    """List an issuer, or take it off the list where it stands there."""
    issuers = require_schema(state, MAINLAND_REPORT).issuers or ()
    return SetIssuers(MAINLAND_REPORT, *(((), (member,)) if member in issuers else ((member,), ())))


def telling(state: StateView, member: str) -> Change:
    """List a notice, or take it off the list where it stands there."""
    notice = hash_of(member)
    notices = require_purpose(state, LOAN).notices
    return SetNotices(LOAN, *(((), (notice,)) if notice in notices else ((notice,), ())))


CHANGES: tuple[Callable[[StateView, str], Change], ...] = (
    suspending,
    reinstating,
    promoting,
    demoting,
    seating,
    unseating,
    swapping,
    rekeying,
    joining,
    listing,
    telling,
)


def require_schema(state: StateView, code: str) -> Schema:
    found = find(state, Schema, schema_key(code))
    assert found is not None
    return found


def require_purpose(state: StateView, code: str) -> Purpose:
    found = find(state, Purpose, purpose_key(code))
    assert found is not None
    return found


def members_validating(state: StateView) -> tuple[str, ...]:
    return tuple(validator.member for validator in require_validators(state).current.validators)


def record_of(state: StateView, member: str) -> Member:
    found = find(state, Member, member_key(member))
    assert found is not None
    return found


def active_governors(state: StateView) -> dict[str, str]:
    """Return every active governor with its side, from the records of all members, not from the list."""
    members = [record_of(state, member) for member in require_members(state).ids]
    return {m.id: m.jurisdiction for m in members if "governor" in m.roles and not m.is_suspended}


@dataclass(slots=True)
class History:
    """A chain, and what the oracle knows of it."""

    ledger: Ledger
    open: list[bytes] = field(default_factory=list)
    named: dict[bytes, frozenset[str]] = field(default_factory=dict)
    votes: dict[bytes, dict[str, str]] = field(default_factory=dict)
    decided: dict[bytes, Proposal] = field(default_factory=dict)
    recorded: Counter[type[Operation]] = field(default_factory=Counter)

    def send(self, sender: str, operation: Operation, key_sequence: int = 0) -> bool:
        """Send one operation in a block of its own; say whether it was recorded."""
        ledger = self.ledger
        until = ledger.tip.header.time_ms + 60_000
        key = member_key_of(sender, key_sequence)
        before = ledger.tip.state
        executed, refused = ledger.build(make_transaction(sender, operation, valid_until_ms=until, key=key))
        ledger.tip = executed.tip()
        self.check(before)
        is_recorded = not refused and not executed.block.header.is_seal
        self.recorded[type(operation)] += is_recorded
        return is_recorded

    def propose(self, sender: str, change: Change) -> None:
        state = self.ledger.tip.state
        member = getattr(change, "member", None)
        version = None if member is None else record_of(state, member).version
        named = frozenset(() if member is None else (member,))
        if isinstance(change, SetIssuers):
            version, named = (
                require_schema(state, change.code).version,
                frozenset(change.added + change.removed),
            )
        if isinstance(change, SetNotices):
            version = require_purpose(state, change.code).version
        operation = Propose(shown(change), version, EXPIRES_MS)
        try:
            pack(operation)
        except EncodingError:
            return  # Fewer than four validators cannot even be written.
        identity = operation.proposal_id(chain_id=CHAIN_ID, proposer=sender)
        if self.send(sender, operation):
            self.open.append(identity)
            self.named[identity] = named
            self.votes[identity] = {}

    def vote(self, sender: str, identity: bytes, choice: str) -> None:
        before = active_governors(self.ledger.tip.state)
        if not self.send(sender, CastVote(identity, choice)):
            return
        assert sender in before and sender not in self.votes[identity], "one vote of each active governor"
        assert sender not in self.named[identity] and identity not in self.decided
        self.votes[identity][sender] = choice
        proposal = proposal_of(self.ledger, identity)
        assert {b.governor: b.choice for b in proposal.ballots} == self.votes[identity]
        self.judge(identity, proposal, before, choice)

    def judge(self, identity: bytes, proposal: Proposal, active: dict[str, str], choice: str) -> None:
        """Compare a decision with the oracle's own count."""
        counted = {member: side for member, side in active.items() if member not in self.named[identity]}
        yes = {m for m in counted if self.votes[identity].get(m) == "yes"}
        others = {m for m in counted if self.votes[identity].get(m) != "no"}

        def suffices(supporters: set[str]) -> bool:
            return 3 * len(supporters) > 2 * len(counted) and {counted[m] for m in supporters} == {"CN", "HK"}

        status = None if proposal.decision is None else proposal.decision.status
        if choice == "yes":
            assert status == ("passed" if suffices(yes) else None)
        else:
            assert status == (None if suffices(others) else "rejected")
        if status is not None:
            self.decided[identity] = proposal

    def check(self, before: StateView) -> None:
        """Check what must hold after every block."""
        state = self.ledger.tip.state
        governors = active_governors(state)
        assert set(governors.values()) == {"CN", "HK"}, "a side without an active governor"
        listed = require_governance(state).governors
        assert set(governors) <= set(listed)
        assert all("governor" in record_of(state, member).roles for member in listed)
        was, now = require_validators(before), require_validators(state)
        for chosen in (now.current, now.pending):
            assert chosen is None or len(chosen) >= 4
        if was.pending is not None:
            assert now.current == was.pending and now.pending is None and now.epoch == was.epoch + 1
        else:
            assert (now.current, now.epoch) == (was.current, was.epoch)
        if now.pending is not None:
            kept = set(now.pending.validators) & set(now.current.validators)
            members = [{v.member for v in each.validators} for each in (now.current, now.pending)]
            rekeyed = len(members[0] & members[1]) - len(kept)
            moved = max(len(members[0] - members[1]), len(members[1] - members[0]))
            assert 1 <= moved + rekeyed <= now.current.faulty_max
            assert len(kept) >= now.pending.quorum
        for identity, proposal in self.decided.items():
            assert proposal_of(self.ledger, identity) == proposal, "a decision was changed"


def play(steps: list[tuple[int, int, int, bool]]) -> History:
    """Play a history: each step is a proposal, a vote, a rotation, or a member's own suspension."""
    ledger = Ledger.start()
    for member in ("auditor", "hk-bank", "mainland-bureau"):
        register_validator(ledger, member)
    history = History(ledger)
    rotations: dict[str, int] = {}
    for kind, person, target, flag in steps:
        sender = PEOPLE[person % len(PEOPLE)]
        if kind < len(CHANGES):
            change = CHANGES[kind](ledger.tip.state, PEOPLE[target % len(PEOPLE)])
            history.propose(sender, change)
            if flag and history.open:
                # Most proposals are put to the vote at once, or nothing would ever pass.
                for governor in require_governance(ledger.tip.state).governors:
                    history.vote(governor, history.open[-1], "yes")
        elif kind == len(CHANGES):
            sequence = rotations.get(sender, 0) + 1
            operation: RotateKey = rotating(sender, sequence)
            if history.send(sender, operation):
                rotations[sender] = sequence
        elif kind == len(CHANGES) + 1:
            number = len(record_of(ledger.tip.state, sender).suspensions)
            history.send(sender, SuspendSelf(number, 0))
        elif history.open:
            history.vote(sender, history.open[target % len(history.open)], "yes" if flag else "no")
    return history


STEP = st.tuples(st.integers(0, len(CHANGES) + 5), st.integers(0, 6), st.integers(0, 20), st.booleans())


@settings(max_examples=100, deadline=None)
@given(st.lists(STEP, max_size=24))
def test_whatever_governors_do_the_network_stays_governed_and_decided(
    steps: list[tuple[int, int, int, bool]],
) -> None:
    play(steps)


def test_the_histories_reach_what_they_are_about() -> None:
    """One history in which each kind of change passes, or the property would hold of nothing."""
    put_to_vote = [(kind, 3, target, True) for kind, target in ((0, 1), (1, 1), (2, 0), (3, 0), (4, 0))]
    history = play(
        [
            *put_to_vote,
            (len(CHANGES) + 1, 5, 0, True),
            (len(CHANGES), 2, 0, True),
            *((kind, 3, to, True) for kind, to in ((5, 0), (6, 1), (8, 1), (9, 2), (10, 2))),
        ]
    )
    statuses = [proposal.decision.status for proposal in history.decided.values() if proposal.decision]
    assert statuses.count("passed") >= 8
    assert {each for each, count in history.recorded.items() if count} == SENDS
    assert require_validators(history.ledger.tip.state).epoch >= 3
