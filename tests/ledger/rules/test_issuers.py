"""Who may issue what: a schema lists its issuers or says any, and the listed do not vote on their own listing."""

from dataclasses import replace

import pytest

from ledger.encoding.records import pack
from ledger.errors import EncodingError
from ledger.genesis import GenesisError, GenesisSchema, genesis_block
from ledger.rules.proposals import (
    BALLOTS_MAX,
    ISSUERS_NAMED_MAX,
    YES,
    AddSchema,
    Ballot,
    ChangeRoles,
    Decision,
    SetIssuers,
    SuspendMember,
)
from ledger.rules.state import (
    ISSUERS_MAX,
    LEAF_SIZE_MAX,
    Anchor,
    Schema,
    anchor_key,
    find,
    schema_key,
)
from tests.support.consortium import (
    MAINLAND_REPORT,
    REPORT,
    Ledger,
    make_anchor,
    make_content,
)
from tests.support.governors import (
    GOVERNORS,
    enact,
    proposal_of,
    propose,
    put,
    refusal,
    soon,
    status_of,
    vote,
    vote_refusal,
)

BUREAU, OPERATOR, BANK, RELAY = GOVERNORS
OTHER_BUREAU = "mainland-bureau"
CODE = "hk.medical-record"


@pytest.fixture
def ledger() -> Ledger:
    return Ledger.start()


def schema_of(ledger: Ledger, code: str) -> Schema:
    found = find(ledger.tip.state, Schema, schema_key(code))
    assert found is not None
    return found


def anchor_refusal(ledger: Ledger, issuer: str, schema: str) -> str:
    return ledger.refusal(soon(ledger, issuer, make_anchor(schema=schema))).code


def recorded(ledger: Ledger, issuer: str, schema: str, number: int = 0) -> Anchor:
    ledger.record(soon(ledger, issuer, make_anchor(number, schema=schema)))
    found = find(ledger.tip.state, Anchor, anchor_key(issuer, make_anchor(number).root))
    assert found is not None
    return found


# Anchoring


def test_a_listed_issuer_anchors_and_the_anchor_says_what_the_schema_said(ledger: Ledger) -> None:
    anchor = recorded(ledger, OTHER_BUREAU, MAINLAND_REPORT)
    assert (anchor.schema_version, anchor.listed) == (0, 1)


def test_an_issuer_that_is_not_listed_anchors_nothing_of_that_kind(ledger: Ledger) -> None:
    assert anchor_refusal(ledger, BUREAU, MAINLAND_REPORT) == "issuer-not-listed"
    anchor = recorded(ledger, BUREAU, REPORT)
    assert (anchor.schema_version, anchor.listed) == (0, 0), "any issuer may, and nobody is listed"


def test_an_anchor_keeps_the_version_that_let_it_in(ledger: Ledger) -> None:
    enact(ledger, SetIssuers(MAINLAND_REPORT, (BUREAU,), ()), 0)
    assert recorded(ledger, BUREAU, MAINLAND_REPORT).schema_version == 1
    enact(ledger, SetIssuers(MAINLAND_REPORT, (), (BUREAU,)), 1)
    later = find(ledger.tip.state, Anchor, anchor_key(BUREAU, make_anchor().root))
    assert later is not None and (later.schema_version, later.listed) == (1, 1)
    assert anchor_refusal(ledger, BUREAU, MAINLAND_REPORT) == "already-recorded", "what is recorded stays so"
    other = soon(ledger, BUREAU, make_anchor(7, schema=MAINLAND_REPORT))
    assert ledger.refusal(other).code == "issuer-not-listed"


def test_a_retired_schema_lets_nobody_in(ledger: Ledger) -> None:
    enact(ledger, SetIssuers(MAINLAND_REPORT, (), (OTHER_BUREAU,)), 0)
    assert schema_of(ledger, MAINLAND_REPORT).issuers == ()
    assert anchor_refusal(ledger, OTHER_BUREAU, MAINLAND_REPORT) == "issuer-not-listed"


def test_a_listed_member_without_the_role_anchors_nothing(ledger: Ledger) -> None:
    enact(ledger, ChangeRoles(OTHER_BUREAU, ("recipient",)), 0)
    assert anchor_refusal(ledger, OTHER_BUREAU, MAINLAND_REPORT) == "forbidden-role"


# Listing


def test_a_schema_for_any_issuer_gets_a_list_by_its_first_change(ledger: Ledger) -> None:
    enact(ledger, SetIssuers(REPORT, (OTHER_BUREAU,), ()), 0)
    assert schema_of(ledger, REPORT) == Schema(REPORT, 0, (OTHER_BUREAU,), 1)
    assert anchor_refusal(ledger, BUREAU, REPORT) == "issuer-not-listed"


def test_issuers_are_added_and_taken_off_by_one_change(ledger: Ledger) -> None:
    enact(ledger, SetIssuers(MAINLAND_REPORT, (BUREAU,), (OTHER_BUREAU,)), 0)
    assert schema_of(ledger, MAINLAND_REPORT) == Schema(MAINLAND_REPORT, 0, (BUREAU,), 1)


def test_a_new_schema_is_for_the_issuers_that_it_names(ledger: Ledger) -> None:
    enact(ledger, AddSchema(CODE, 0, (OTHER_BUREAU,)))
    assert schema_of(ledger, CODE) == Schema(CODE, 0, (OTHER_BUREAU,), 0)
    assert recorded(ledger, OTHER_BUREAU, CODE).listed == 1
    assert anchor_refusal(ledger, BUREAU, CODE) == "issuer-not-listed"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (SetIssuers("no.such-schema", (BUREAU,), ()), "unknown-schema"),
        (SetIssuers(MAINLAND_REPORT, (), ()), "unchanged"),
        (SetIssuers(MAINLAND_REPORT, (OTHER_BUREAU,), ()), "unchanged"),
        (SetIssuers(MAINLAND_REPORT, (), (BUREAU,)), "unchanged"),
        (SetIssuers(MAINLAND_REPORT, (BUREAU,), (BUREAU,)), "unchanged"),
        (SetIssuers(REPORT, (), (BUREAU,)), "unchanged"),
        (SetIssuers(MAINLAND_REPORT, ("nobody",), ()), "unregistered"),
        (SetIssuers(MAINLAND_REPORT, ("hk-bank",), ()), "forbidden-role"),
    ],
)
def test_a_change_of_a_list_that_cannot_be_is_refused(ledger: Ledger, change: SetIssuers, code: str) -> None:
    assert refusal(ledger, change, 0) == code


@pytest.mark.parametrize(
    ("issuers", "code"), [(("nobody",), "unregistered"), (("hk-bank",), "forbidden-role")]
)
def test_a_new_schema_names_issuers_alone(ledger: Ledger, issuers: tuple[str, ...], code: str) -> None:
    assert refusal(ledger, AddSchema(CODE, 0, issuers)) == code


@pytest.mark.parametrize("version", [None, 1])
def test_a_list_that_changed_since_is_stale(ledger: Ledger, version: int | None) -> None:
    assert refusal(ledger, SetIssuers(MAINLAND_REPORT, (BUREAU,), ()), version) == "stale-version"


def test_a_suspended_issuer_may_be_listed_and_taken_off(ledger: Ledger) -> None:
    enact(ledger, SuspendMember(OTHER_BUREAU, 0), 0)
    enact(ledger, SetIssuers(MAINLAND_REPORT, (), (OTHER_BUREAU,)), 0)
    enact(ledger, SetIssuers(MAINLAND_REPORT, (OTHER_BUREAU,), ()), 1)
    assert anchor_refusal(ledger, OTHER_BUREAU, MAINLAND_REPORT) == "suspended"


def test_a_list_is_as_long_as_all_members_and_no_longer(ledger: Ledger) -> None:
    full = tuple(f"issuer-{number:03}" for number in range(ISSUERS_MAX))
    put(ledger, Schema(CODE, 0, full[:-1], 0))
    propose(ledger, SetIssuers(CODE, (OTHER_BUREAU,), ()), 0)
    put(ledger, Schema(CODE, 0, full, 0))
    assert refusal(ledger, SetIssuers(CODE, (BUREAU,), ()), 0) == "too-many-issuers"


# Voting


def test_a_member_does_not_vote_itself_onto_a_list(ledger: Ledger) -> None:
    identity = propose(ledger, SetIssuers(MAINLAND_REPORT, (BUREAU,), ()), 0, by=BUREAU)
    assert vote_refusal(ledger, identity, BUREAU).code == "named-member"
    vote(ledger, identity, OPERATOR, BANK)
    assert status_of(ledger, identity) == "open", "two of the three that are asked"
    vote(ledger, identity, RELAY)
    assert status_of(ledger, identity) == "passed"


@pytest.mark.parametrize(
    "change",
    [
        SetIssuers(MAINLAND_REPORT, (), (BUREAU,)),
        SetIssuers(MAINLAND_REPORT, (OTHER_BUREAU,), (BUREAU,)),
        AddSchema(CODE, 0, (BUREAU, OTHER_BUREAU)),
    ],
)
def test_a_member_votes_on_no_list_that_names_it(ledger: Ledger, change: SetIssuers | AddSchema) -> None:
    put(ledger, Schema(MAINLAND_REPORT, 0, (BUREAU,), 0))
    version = 0 if isinstance(change, SetIssuers) else None
    identity = propose(ledger, change, version)
    for choice in ("yes", "no"):
        assert vote_refusal(ledger, identity, BUREAU, choice).code == "named-member"


def test_one_side_does_not_decide_alone_where_a_change_names_all_of_the_other(ledger: Ledger) -> None:
    for member in (BANK, RELAY):
        enact(ledger, ChangeRoles(member, ("governor", "issuer")), 0)
    identity = propose(ledger, SetIssuers(MAINLAND_REPORT, (BANK, RELAY), ()), 0)
    vote(ledger, identity, BUREAU, OPERATOR)
    assert status_of(ledger, identity) == "open", "nobody of the mainland was asked"


# Sizes


def test_a_proposal_of_the_most_issuers_fits_a_leaf_with_all_its_ballots(ledger: Ledger) -> None:
    most = [f"{'x' * 28}-{number:03}" for number in range(2 * ISSUERS_NAMED_MAX)]
    added, removed = tuple(most[:ISSUERS_NAMED_MAX]), tuple(most[ISSUERS_NAMED_MAX:])
    identity = propose(ledger, AddSchema(CODE, 0, None))
    longest = 2**53 - 1
    full = replace(
        proposal_of(ledger, identity),
        change=SetIssuers("c" * 48, added, removed),
        expected_version=longest,
        ballots=tuple(Ballot("g" * 32, YES, longest) for _ in range(BALLOTS_MAX)),
        decision=Decision("rejected", longest, longest),
    )
    assert len(pack(full)) <= LEAF_SIZE_MAX
    with pytest.raises(EncodingError, match="added"):
        pack(SetIssuers(CODE, (*added, "y"), ()))
    with pytest.raises(EncodingError, match="issuers"):
        pack(AddSchema(CODE, 0, (*added, "y")))


def test_the_longest_list_fits_a_leaf() -> None:
    longest = tuple(f"{'x' * 28}-{number:03}" for number in range(ISSUERS_MAX))
    assert len(pack(Schema("c" * 48, 1, longest, 2**64 - 1))) <= LEAF_SIZE_MAX
    with pytest.raises(EncodingError, match="issuers"):
        pack(Schema(CODE, 1, (*longest, "y"), 0))


# Genesis


def test_a_genesis_lists_its_own_issuers_alone() -> None:
    content = make_content()
    listed = replace(content, schemas=(GenesisSchema(CODE, 0, (BUREAU,)),))
    assert find(genesis_block(listed).overlay, Schema, schema_key(CODE)) == Schema(CODE, 0, (BUREAU,), 0)
    for strangers in (("nobody",), ("hk-bank",), (BUREAU, "hk-operator")):
        with pytest.raises(GenesisError, match="issuers"):
            replace(content, schemas=(GenesisSchema(CODE, 0, strangers),))
