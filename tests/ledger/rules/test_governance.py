"""Governance: proposals and votes, each rule obeyed and broken. A refusal is checked to change nothing."""

from dataclasses import replace

import pytest

from ledger.audit import ROTATIONS, Audit, ProposalCourse
from ledger.encoding.records import from_json, from_value, to_json, to_value
from ledger.genesis import GenesisError
from ledger.rules.enactment import SUSPENSIONS_MAX
from ledger.rules.governance import PROPOSAL_DURATION_MAX_MS
from ledger.rules.operations import CastVote, Propose, next_key_commitment
from ledger.rules.proposals import (
    BALLOTS_MAX,
    GOVERNORS_MAX,
    NO,
    AddPurpose,
    AddSchema,
    Ballot,
    Change,
    ChangeNames,
    ChangeRoles,
    Decision,
    Proposal,
    ReinstateMember,
    SetIssuers,
    SetMemberKeys,
    SetNotices,
    SetParameters,
    SuspendMember,
    require_governance,
)
from ledger.rules.state import (
    Member,
    Purpose,
    Schema,
    Suspension,
    find,
    purpose_key,
    require_parameters,
    schema_key,
)
from tests.support.consortium import (
    DAY_MS,
    PARAMETERS,
    START_MS,
    Ledger,
    certify,
    genesis_member,
    hash_of,
    key_of,
    make_anchor,
    make_content,
    make_genesis,
    make_rotation,
    make_transaction,
    member_key_of,
    named,
)
from tests.support.governors import (
    EXPIRES_MS,
    GOVERNORS,
    UNSHOWN,
    changing,
    enact,
    make_governors,
    member_of,
    proposal_of,
    propose,
    proposing,
    put,
    refusal,
    soon,
    status_of,
    suspend,
    vote,
    vote_refusal,
)

SCHEMA = AddSchema("hk.medical-record", 0, None)
PURPOSE = AddPurpose("medical.referral", ())
BUREAU, OPERATOR, BANK, RELAY = GOVERNORS


@pytest.fixture
def ledger() -> Ledger:
    return Ledger.start()


def names_of(member: str) -> ChangeNames:
    return ChangeNames(member, "新名", "新名", "New name")


def keys_of(member: str) -> SetMemberKeys:
    return SetMemberKeys(
        member,
        key_of(f"{member} replaced").public,
        next_key_commitment(key_of(f"{member} replaced next").public),
        UNSHOWN,
    )


# Proposing


def test_a_proposal_holds_what_is_proposed_and_when(ledger: Ledger) -> None:
    first = propose(ledger, SCHEMA)
    second = propose(ledger, PURPOSE, by=BANK)
    assert proposal_of(ledger, second) == Proposal(
        id=second,
        number=1,
        previous=first,
        proposer=BANK,
        change=PURPOSE,
        expected_version=None,
        expires_ms=EXPIRES_MS,
        height=2,
        time_ms=START_MS + 2_000,
        ballots=(),
        decision=None,
    )
    governance = require_governance(ledger.tip.state)
    assert (governance.proposals_count, governance.latest_proposal) == (2, second)
    assert governance.governors == GOVERNORS
    assert proposal_of(ledger, first).previous is None
    assert find(ledger.tip.state, Schema, schema_key(SCHEMA.code)) is None


@pytest.mark.parametrize("sender", ["hk-bank", "mainland-bureau", "auditor"])
def test_only_governors_propose_and_vote(ledger: Ledger, sender: str) -> None:
    assert refusal(ledger, SCHEMA, by=sender) == "forbidden-role"
    assert vote_refusal(ledger, propose(ledger, SCHEMA), sender).code == "forbidden-role"


def test_a_suspended_governor_neither_proposes_nor_votes(ledger: Ledger) -> None:
    identity = propose(ledger, SCHEMA)
    suspend(ledger, BANK)
    assert refusal(ledger, SCHEMA, by=BANK) == "suspended"
    assert vote_refusal(ledger, identity, BANK).code == "suspended"


def test_a_proposal_sent_again_is_already_recorded(ledger: Ledger) -> None:
    propose(ledger, SCHEMA)
    assert refusal(ledger, SCHEMA) == "already-recorded"
    # Another governor's, or one with another expiry, is another proposal.
    propose(ledger, SCHEMA, by=BANK)
    propose(ledger, SCHEMA, expires_ms=EXPIRES_MS + 1)
    assert require_governance(ledger.tip.state).proposals_count == 3


def test_a_proposal_sent_again_is_recorded_even_after_it_took_effect(ledger: Ledger) -> None:
    enact(ledger, SCHEMA)
    assert refusal(ledger, SCHEMA) == "already-recorded"
    assert refusal(ledger, SCHEMA, by=BANK) == "already-registered"


@pytest.mark.parametrize("expires_ms", [START_MS + 1_000, START_MS + 1_001 + PROPOSAL_DURATION_MAX_MS])
def test_a_proposal_expires_within_its_bounds(ledger: Ledger, expires_ms: int) -> None:
    operation, _ = proposing(SCHEMA, expires_ms=expires_ms)
    assert ledger.refusal(soon(ledger, OPERATOR, operation)).code == "proposal-period"


def test_a_proposal_may_last_to_either_bound(ledger: Ledger) -> None:
    propose(ledger, SCHEMA, expires_ms=START_MS + 1_001)
    propose(ledger, SCHEMA, expires_ms=START_MS + 2_000 + PROPOSAL_DURATION_MAX_MS)


# Voting


def test_three_of_four_governors_pass_a_proposal_and_two_do_not(ledger: Ledger) -> None:
    identity = propose(ledger, SCHEMA)
    vote(ledger, identity, OPERATOR, BANK)
    assert status_of(ledger, identity) == "open"
    assert find(ledger.tip.state, Schema, schema_key(SCHEMA.code)) is None
    vote(ledger, identity, RELAY)
    assert status_of(ledger, identity) == "passed"
    assert find(ledger.tip.state, Schema, schema_key(SCHEMA.code)) == Schema(SCHEMA.code, 0, None, 0)
    proposal = proposal_of(ledger, identity)
    assert proposal.decision == Decision("passed", 4, START_MS + 4_000)
    assert proposal.ballots == (Ballot(OPERATOR, "yes", 2), Ballot(BANK, "yes", 3), Ballot(RELAY, "yes", 4))


def test_one_side_alone_never_passes_a_proposal(ledger: Ledger) -> None:
    more = ("auditor", "hk-bank", "hk-third")
    make_governors(ledger, *more, side="HK")
    identity = propose(ledger, SCHEMA)
    vote(ledger, identity, *more, BUREAU, OPERATOR)
    assert status_of(ledger, identity) == "open", "five of seven, all of one side"
    vote(ledger, identity, BANK)
    assert status_of(ledger, identity) == "passed"


@pytest.mark.parametrize(("governors_count", "yes_count"), [(4, 3), (5, 4), (6, 5), (7, 5), (8, 6), (9, 7)])
def test_more_than_two_thirds_are_needed(ledger: Ledger, governors_count: int, yes_count: int) -> None:
    more = tuple(f"hk-more-{number}" for number in range(governors_count - 4))
    make_governors(ledger, *more, side="HK")
    identity = propose(ledger, SCHEMA)
    order = [BANK, *more, BUREAU, OPERATOR, RELAY]
    vote(ledger, identity, *order[: yes_count - 1])
    assert status_of(ledger, identity) == "open"
    vote(ledger, identity, order[yes_count - 1])
    assert status_of(ledger, identity) == "passed"


def test_votes_are_counted_among_the_governors_active_at_the_last_one(ledger: Ledger) -> None:
    identity = propose(ledger, SCHEMA)
    vote(ledger, identity, OPERATOR, BANK)
    suspend(ledger, BUREAU)
    # Two of the three that are active: not more than two thirds.
    assert status_of(ledger, identity) == "open"
    vote(ledger, identity, RELAY)
    assert status_of(ledger, identity) == "passed"


def test_the_yes_of_a_governor_suspended_since_is_not_counted(ledger: Ledger) -> None:
    identity = propose(ledger, SCHEMA)
    vote(ledger, identity, OPERATOR, BANK)
    suspend(ledger, BANK)
    vote(ledger, identity, RELAY)
    assert status_of(ledger, identity) == "open", "two of the three that are active"
    vote(ledger, identity, BUREAU)
    assert status_of(ledger, identity) == "passed"


def test_a_vote_is_final_and_counts_once(ledger: Ledger) -> None:
    identity = propose(ledger, SCHEMA)
    vote(ledger, identity, OPERATOR)
    assert vote_refusal(ledger, identity, OPERATOR).code == "already-recorded"
    assert vote_refusal(ledger, identity, OPERATOR, NO).code == "vote-is-final"
    twice = soon(ledger, BANK, CastVote(identity, "yes"), CastVote(identity, "yes"))
    assert ledger.refusal(twice).code == "already-recorded"


def test_a_vote_sent_again_is_already_recorded_after_the_decision(ledger: Ledger) -> None:
    identity = enact(ledger, SCHEMA)
    assert vote_refusal(ledger, identity, BUREAU).code == "already-recorded"
    assert vote_refusal(ledger, identity, RELAY).code == "proposal-decided"


def test_proposing_and_voting_fit_one_transaction(ledger: Ledger) -> None:
    operation, identity = proposing(SCHEMA)
    ledger.record(soon(ledger, OPERATOR, operation, CastVote(identity, "yes")))
    assert [ballot.governor for ballot in proposal_of(ledger, identity).ballots] == [OPERATOR]


def test_a_proposal_is_rejected_once_it_cannot_pass(ledger: Ledger) -> None:
    identity = propose(ledger, SCHEMA)
    vote(ledger, identity, OPERATOR, choice=NO)
    assert status_of(ledger, identity) == "open", "three others can still pass it"
    vote(ledger, identity, BANK, choice=NO)
    assert status_of(ledger, identity) == "rejected"
    assert vote_refusal(ledger, identity, RELAY).code == "proposal-decided"


def test_a_whole_side_that_says_no_rejects(ledger: Ledger) -> None:
    make_governors(ledger, "auditor", "hk-bank", "hk-third", "hk-fourth", side="HK")
    identity = propose(ledger, SCHEMA)
    vote(ledger, identity, BANK, choice=NO)
    assert status_of(ledger, identity) == "open"
    vote(ledger, identity, RELAY, choice=NO)
    assert status_of(ledger, identity) == "rejected", "six of eight could still say yes, all of one side"


def test_an_expired_proposal_takes_no_votes(ledger: Ledger) -> None:
    expires_ms = START_MS + DAY_MS
    identity = propose(ledger, SCHEMA, expires_ms=expires_ms)
    late = make_transaction(OPERATOR, CastVote(identity, "yes"), valid_until_ms=expires_ms + 10_000)
    assert ledger.refusal(late, now_ms=expires_ms + 1).code == "expired"
    ledger.record(late, now_ms=expires_ms)
    assert status_of(ledger, identity) == "open"
    assert proposal_of(ledger, identity).status_at(expires_ms + 1) == "expired"


def test_a_vote_on_nothing_is_refused(ledger: Ledger) -> None:
    assert vote_refusal(ledger, hash_of("nothing"), BANK).code == "unknown-proposal"


def test_a_proposal_takes_no_more_votes_than_its_bound(ledger: Ledger) -> None:
    identity = propose(ledger, SCHEMA)
    ballots = tuple(Ballot(f"former-{number}", "no", 1) for number in range(BALLOTS_MAX - 1))
    put(ledger, replace(proposal_of(ledger, identity), ballots=ballots))
    vote(ledger, identity, OPERATOR)
    assert vote_refusal(ledger, identity, BANK).code == "too-many-votes"


def test_governors_are_bounded_at_genesis() -> None:
    content = make_content()
    first = genesis_member("sz-operator")
    more = [
        replace(named(first, f"x{number:03}"), key=key_of(f"x{number}").public, node=None)
        for number in range(GOVERNORS_MAX)
    ]
    members = sorted((*content.members, *more[: GOVERNORS_MAX - 4]), key=lambda member: member.id)
    replace(content, members=tuple(members))
    with pytest.raises(GenesisError, match=f"at most {GOVERNORS_MAX}"):
        replace(content, members=tuple(sorted((*members, more[-1]), key=lambda member: member.id)))


# A proposal about a member


def test_a_named_member_is_counted_in_neither(ledger: Ledger) -> None:
    identity = propose(ledger, names_of(BANK), 0)
    assert vote_refusal(ledger, identity, BANK).code == "named-member"
    # Three governors are left: all of them must say yes, the other one of the bank's side among them.
    vote(ledger, identity, OPERATOR, BUREAU)
    assert status_of(ledger, identity) == "open"
    vote(ledger, identity, RELAY)
    assert status_of(ledger, identity) == "passed"
    member = member_of(ledger, BANK)
    assert (member.name_en, member.version) == ("New name", 1)


def test_the_no_of_a_third_of_the_others_rejects(ledger: Ledger) -> None:
    identity = propose(ledger, names_of(BANK), 0)
    vote(ledger, identity, OPERATOR, choice=NO)
    assert status_of(ledger, identity) == "rejected", "two of three are not more than two thirds"


def test_a_member_cannot_spoil_a_proposal_about_itself_by_rotating(ledger: Ledger) -> None:
    identity = propose(ledger, SuspendMember(BANK, 1), 0)
    ledger.record(make_transaction(BANK, make_rotation(BANK)))
    vote(ledger, identity, OPERATOR, BUREAU, RELAY)
    assert member_of(ledger, BANK).is_suspended


@pytest.mark.parametrize(
    "change",
    [
        SuspendMember("nobody", 0),
        ReinstateMember("nobody"),
        ChangeRoles("nobody", ("issuer",)),
        names_of("nobody"),
        keys_of("nobody"),
    ],
)
def test_a_change_of_nobody_is_refused(ledger: Ledger, change: Change) -> None:
    assert refusal(ledger, change, 0) == "unregistered"


@pytest.mark.parametrize("version", [None, 1])
def test_a_change_of_another_version_is_refused(ledger: Ledger, version: int | None) -> None:
    assert refusal(ledger, names_of("hk-bank"), version) == "stale-version"


def test_of_two_proposals_on_one_version_only_one_takes_effect(ledger: Ledger) -> None:
    first = propose(ledger, names_of("hk-bank"), 0)
    second = propose(ledger, ChangeRoles("hk-bank", ("auditor",)), 0)
    vote(ledger, first, OPERATOR, BANK, RELAY)
    vote(ledger, second, OPERATOR, BANK)
    assert vote_refusal(ledger, second, RELAY).code == "stale-version"
    assert status_of(ledger, second) == "open"
    assert member_of(ledger, "hk-bank").roles == ("recipient",)


# Members


def test_a_suspension_begins_at_once_and_distrusts_from_its_height(ledger: Ledger) -> None:
    enact(ledger, SuspendMember("mainland-bureau", 1), 0)
    member = member_of(ledger, "mainland-bureau")
    assert member.suspensions == (Suspension(1, ledger.tip.header.height, None),)
    assert not member.distrusts(0) and member.distrusts(1) and member.distrusts(10_000)
    assert ledger.refusal(soon(ledger, "mainland-bureau", make_anchor())).code == "suspended"


def test_distrust_reaches_to_the_current_height_and_no_further(ledger: Ledger) -> None:
    assert refusal(ledger, SuspendMember("hk-bank", 2), 0) == "distrust-ahead"
    propose(ledger, SuspendMember("hk-bank", 1), 0)


def test_a_suspension_can_only_be_widened(ledger: Ledger) -> None:
    for number in range(3):
        ledger.record(make_transaction(BUREAU, make_anchor(number)))
    enact(ledger, SuspendMember("hk-bank", 3), 0)
    since = member_of(ledger, "hk-bank").suspensions[0].suspended_at
    for height in (3, 4):
        assert refusal(ledger, SuspendMember("hk-bank", height), 1) == "not-wider"
    enact(ledger, SuspendMember("hk-bank", 2), 1)
    assert member_of(ledger, "hk-bank").suspensions == (Suspension(2, since, None),)


def test_a_reinstated_member_goes_on_and_what_was_distrusted_stays_so(ledger: Ledger) -> None:
    enact(ledger, SuspendMember("mainland-bureau", 1), 0)
    enact(ledger, ReinstateMember("mainland-bureau"), 1)
    member = member_of(ledger, "mainland-bureau")
    back = ledger.tip.header.height
    assert not member.is_suspended
    assert member.distrusts(back - 1) and not member.distrusts(back)
    ledger.record(soon(ledger, "mainland-bureau", make_anchor(schema="cn.credit-report")))
    enact(ledger, SuspendMember("mainland-bureau", back + 1), 2)
    assert member_of(ledger, "mainland-bureau").distrusts(back - 1), "the first interval stays"


def test_only_a_suspended_member_is_reinstated(ledger: Ledger) -> None:
    assert refusal(ledger, ReinstateMember("hk-bank"), 0) == "not-suspended"


def test_a_member_that_could_not_be_suspended_again_stays_suspended(ledger: Ledger) -> None:
    bank = member_of(ledger, "hk-bank")
    for count, code in ((SUSPENSIONS_MAX - 1, None), (SUSPENSIONS_MAX, "too-many-suspensions")):
        ended = tuple(Suspension(height, height, height + 1) for height in range(count - 1))
        put(ledger, replace(bank, suspensions=(*ended, Suspension(count, count, None))))
        if code is None:
            propose(ledger, ReinstateMember("hk-bank"), 0)
        else:
            assert refusal(ledger, ReinstateMember("hk-bank"), 0, by=BANK) == code


def test_a_side_keeps_an_active_governor(ledger: Ledger) -> None:
    enact(ledger, SuspendMember(BANK, 1), 0)
    assert refusal(ledger, SuspendMember(RELAY, 1), 0) == "side-without-governor"
    assert refusal(ledger, ChangeRoles(RELAY, ("issuer",)), 0) == "side-without-governor"
    propose(ledger, ChangeRoles(RELAY, ("governor", "issuer")), 0)


def test_a_sides_last_governor_stays_though_proposals_about_both_were_open(ledger: Ledger) -> None:
    first = propose(ledger, SuspendMember(BANK, 1), 0)
    second = propose(ledger, ChangeRoles(RELAY, ("auditor",)), 0)
    vote(ledger, second, OPERATOR, BUREAU)
    vote(ledger, first, OPERATOR, BUREAU, RELAY)
    assert member_of(ledger, BANK).is_suspended
    # Nobody is left who could give the mainland's yes to it.
    assert vote_refusal(ledger, second, BANK).code == "suspended"
    assert vote_refusal(ledger, second, RELAY).code == "named-member"
    assert status_of(ledger, second) == "open"


def test_roles_make_and_unmake_governors(ledger: Ledger) -> None:
    enact(ledger, ChangeRoles("auditor", ("auditor", "governor")), 0)
    assert require_governance(ledger.tip.state).governors == ("auditor", *GOVERNORS)
    identity = propose(ledger, PURPOSE, by="auditor")
    vote(ledger, identity, "auditor", OPERATOR, BANK)
    assert status_of(ledger, identity) == "open", "three of five"
    enact(ledger, ChangeRoles("auditor", ("auditor",)), 1)
    assert require_governance(ledger.tip.state).governors == GOVERNORS
    assert vote_refusal(ledger, identity, "auditor", NO).code == "forbidden-role"


def test_there_are_no_more_governors_than_the_limit(ledger: Ledger) -> None:
    more = tuple(f"hk-more-{number:02}" for number in range(GOVERNORS_MAX - 4))
    make_governors(ledger, *more, side="HK")
    assert refusal(ledger, ChangeRoles("auditor", ("governor",)), 0) == "too-many-governors"


@pytest.mark.parametrize(
    "change",
    [
        ChangeRoles("hk-bank", ("recipient",)),
        ChangeNames("hk-bank", "测试成员 hk-bank", "測試成員 hk-bank", "Test member hk-bank"),
        SetParameters(PARAMETERS, PARAMETERS),
    ],
)
def test_a_change_to_what_stands_already_is_refused(ledger: Ledger, change: Change) -> None:
    version = None if isinstance(change, SetParameters) else 0
    assert refusal(ledger, change, version) == "unchanged"


def test_lost_keys_are_replaced_by_governance(ledger: Ledger) -> None:
    enact(ledger, keys_of("mainland-bureau"), 0)
    member = member_of(ledger, "mainland-bureau")
    assert (member.key_sequence, member.version) == (1, 1)
    anchor = make_anchor(schema="cn.credit-report")
    lost = make_transaction("mainland-bureau", anchor)
    assert ledger.refusal(lost).code == "signature"
    ledger.record(make_transaction("mainland-bureau", anchor, key=key_of("mainland-bureau replaced")))
    # The commitment made before is void: the thief of the old next key rotates nothing.
    stolen = make_rotation("mainland-bureau", 2, key=member_key_of("mainland-bureau", 1))
    theft = make_transaction("mainland-bureau", stolen, key=key_of("mainland-bureau replaced"))
    assert ledger.refusal(theft).code == "unexpected-key"


def test_a_key_of_small_order_is_never_registered(ledger: Ledger) -> None:
    shown = replace(UNSHOWN, key_signature=bytes(64))
    small = replace(keys_of("hk-bank"), key=replace(key_of("x").public, data=bytes(32)), possession=shown)
    assert refusal(ledger, small, 0) == "signature"


# Codes and parameters


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (AddSchema("hk.credit-report", 0, None), "already-registered"),
        (AddPurpose("consumer-credit.loan", ()), "already-registered"),
    ],
)
def test_a_registered_code_is_not_registered_again(ledger: Ledger, change: Change, code: str) -> None:
    assert refusal(ledger, change) == code


@pytest.mark.parametrize(
    "change", [SCHEMA, PURPOSE, SetParameters(PARAMETERS, replace(PARAMETERS, block_size_max=4096))]
)
def test_what_has_no_version_expects_none(ledger: Ledger, change: Change) -> None:
    assert refusal(ledger, change, 0) == "stale-version"


def test_codes_and_parameters_take_effect(ledger: Ledger) -> None:
    enact(ledger, PURPOSE)
    assert find(ledger.tip.state, Purpose, purpose_key(PURPOSE.code)) == Purpose(PURPOSE.code, (), 0)
    fewer = replace(PARAMETERS, block_operations_max=2)
    enact(ledger, SetParameters(PARAMETERS, fewer))
    assert require_parameters(ledger.tip.state) == fewer
    three = soon(ledger, BUREAU, *(make_anchor(number) for number in range(3)))
    executed, refused = ledger.build(three)
    assert executed.block.transactions == () and refused == [], "past the new limit"


def test_parameters_that_have_changed_since_are_stale(ledger: Ledger) -> None:
    first = SetParameters(PARAMETERS, replace(PARAMETERS, block_size_max=4096))
    second = SetParameters(PARAMETERS, replace(PARAMETERS, block_size_max=8192))
    stale = propose(ledger, second)
    enact(ledger, first)
    vote(ledger, stale, OPERATOR, BANK)
    assert vote_refusal(ledger, stale, RELAY).code == "stale-version"
    assert refusal(ledger, second, by=BANK) == "stale-version"


# Records


EVERY_CHANGE: tuple[Change, ...] = (
    SuspendMember("hk-bank", 3),
    ReinstateMember("hk-bank"),
    ChangeRoles("hk-bank", ("issuer", "recipient")),
    names_of("hk-bank"),
    keys_of("hk-bank"),
    SCHEMA,
    replace(SCHEMA, issuers=(BUREAU,)),
    SetIssuers("hk.credit-report", (BUREAU,), ()),
    PURPOSE,
    replace(PURPOSE, notices=(hash_of("notice"),)),
    SetNotices("consumer-credit.loan", (hash_of("another notice"),), ()),
    SetParameters(PARAMETERS, PARAMETERS),
    changing(GOVERNORS),
)


@pytest.mark.parametrize("change", EVERY_CHANGE, ids=lambda change: change.TAG)
def test_every_change_is_one_record_in_bytes_and_in_json(change: Change) -> None:
    operation = Propose(change, None, EXPIRES_MS)
    assert from_value(Propose, to_value(operation)) == operation
    assert from_json(Propose, to_json(operation)) == operation


def test_a_change_counts_as_governance_and_a_rotation_does_not(ledger: Ledger) -> None:
    ledger.record(make_transaction(BUREAU, make_rotation(BUREAU)))
    member: Member = member_of(ledger, BUREAU)
    assert (member.key_sequence, member.version) == (1, 0)


# Audit


def test_the_audit_tells_the_course_of_every_proposal() -> None:
    ledger = Ledger.start()
    passed = enact(ledger, SCHEMA)
    rejected = propose(ledger, PURPOSE)
    vote(ledger, rejected, OPERATOR, BANK, choice=NO)
    waiting = propose(ledger, names_of("hk-bank"), 0)
    ledger.record(make_transaction(BUREAU, make_rotation(BUREAU)))
    audit = Audit(make_genesis())
    for executed in ledger.blocks:
        assert audit.replay(executed.block, certify(executed))
    report = audit.finish()
    assert report.is_clean
    assert report.proposals == {
        passed: ProposalCourse("add_schema", OPERATOR, 1, 3, "passed", 4),
        rejected: ProposalCourse("add_purpose", OPERATOR, 5, 2, "rejected", 7),
        waiting: ProposalCourse("change_names", OPERATOR, 8),
    }
    assert report.deeds[ROTATIONS] == {BUREAU: 1}
