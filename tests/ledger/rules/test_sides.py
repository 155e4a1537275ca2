"""Sides: jurisdictions come from genesis, and each one that has governors is asked before anything passes."""

import pytest

from ledger.encoding.records import pack
from ledger.errors import EncodingError
from ledger.genesis import genesis_block
from ledger.rules.operations import SuspendSelf, next_key_commitment
from ledger.rules.proposals import (
    AddMember,
    AddPurpose,
    ChangeRoles,
    ReinstateMember,
    SetIssuers,
    SuspendMember,
)
from ledger.rules.state import NETWORK_KEY, Network, find, require_network
from tests.support.consortium import MAINLAND_REPORT, Ledger, make_content, member_key_of
from tests.support.governors import (
    GOVERNORS,
    UNSHOWN,
    make_governors,
    member_of,
    propose,
    put,
    refusal,
    soon,
    status_of,
    vote,
    vote_refusal,
)

BUREAU, OPERATOR, BANK, RELAY = GOVERNORS
MACAO = ("mo-first", "mo-second")
NINE = tuple(f"A{letter}" for letter in "ABCDEFGHI")
PURPOSE = AddPurpose("medical.referral", ())


def three_sides() -> Ledger:
    """Return a chain with two governors of Macao beside the consortium, and room for Singapore."""
    ledger = Ledger.start()
    put(ledger, Network("tests", "development", ("CN", "HK", "MO", "SG")))
    make_governors(ledger, *MACAO, side="MO")
    return ledger


@pytest.fixture
def ledger() -> Ledger:
    return three_sides()


def joining(side: str, roles: tuple[str, ...] = ("issuer",)) -> AddMember:
    keys = member_key_of("newcomer").public, next_key_commitment(member_key_of("newcomer", 1).public)
    return AddMember("newcomer", "新", "新", "Newcomer", side, roles, *keys, None, UNSHOWN)


def test_the_state_holds_what_the_network_is() -> None:
    state = genesis_block(make_content()).overlay
    assert find(state, Network, NETWORK_KEY) == Network("tests", "development", ("CN", "HK"))


@pytest.mark.parametrize(
    "jurisdictions", [("CN",), ("HK", "CN"), ("CN", "CN"), ("CN", "hk"), ("CN", "HKG"), NINE]
)
def test_a_network_has_two_to_eight_codes_in_order(jurisdictions: tuple[str, ...]) -> None:
    pack(Network("tests", "development", NINE[:8]))
    with pytest.raises(EncodingError, match="jurisdictions"):
        pack(Network("tests", "development", jurisdictions))


def test_each_of_three_sides_is_asked(ledger: Ledger) -> None:
    identity = propose(ledger, PURPOSE)
    vote(ledger, identity, BUREAU, OPERATOR, BANK, RELAY)
    assert status_of(ledger, identity) == "open", "four of six, nobody of Macao"
    vote(ledger, identity, MACAO[0])
    assert status_of(ledger, identity) == "passed"


def test_two_thirds_are_needed_beside_one_of_each_side(ledger: Ledger) -> None:
    identity = propose(ledger, PURPOSE)
    vote(ledger, identity, BUREAU, BANK, MACAO[0], MACAO[1])
    assert status_of(ledger, identity) == "open", "four of six are two thirds, not more"
    vote(ledger, identity, RELAY)
    assert status_of(ledger, identity) == "passed"


def test_the_noes_of_one_whole_side_reject(ledger: Ledger) -> None:
    make_governors(ledger, "hk-third", "hk-fourth", "hk-fifth", side="HK")
    identity = propose(ledger, PURPOSE)
    vote(ledger, identity, MACAO[0], choice="no")
    assert status_of(ledger, identity) == "open", "the other one of Macao may say yes"
    vote(ledger, identity, MACAO[1], choice="no")
    assert status_of(ledger, identity) == "rejected", "seven of nine could have been had without Macao"


def test_a_side_without_governors_is_not_asked(ledger: Ledger) -> None:
    enact_all(ledger, joining("SG"))
    identity = propose(ledger, PURPOSE)
    vote(ledger, identity, BUREAU, OPERATOR, BANK, RELAY, MACAO[0])
    assert status_of(ledger, identity) == "passed"


def test_a_side_is_asked_from_its_first_governor_on(ledger: Ledger) -> None:
    enact_all(ledger, joining("SG", ("governor",)))
    identity = propose(ledger, PURPOSE)
    vote(ledger, identity, BUREAU, OPERATOR, BANK, RELAY, MACAO[0])
    assert status_of(ledger, identity) == "open", "five of seven, nobody of Singapore"
    vote(ledger, identity, "newcomer")
    assert status_of(ledger, identity) == "passed"


def test_a_member_is_of_a_side_that_genesis_names(ledger: Ledger) -> None:
    assert refusal(ledger, joining("TW")) == "unknown-jurisdiction"
    assert require_network(ledger.tip.state).jurisdictions == ("CN", "HK", "MO", "SG")
    propose(ledger, joining("SG"))
    assert refusal(Ledger.start(), joining("SG")) == "unknown-jurisdiction"


def test_a_side_keeps_a_governor_whichever_way_one_goes(ledger: Ledger) -> None:
    enact_all(ledger, SuspendMember(MACAO[0], 0), 0)
    last = MACAO[1]
    assert refusal(ledger, SuspendMember(last, 0), 0) == "side-without-governor"
    assert refusal(ledger, ChangeRoles(last, ("issuer",)), 0) == "side-without-governor"
    assert ledger.refusal(soon(ledger, last, SuspendSelf(0, 0))).code == "side-without-governor"
    enact_all(ledger, ReinstateMember(MACAO[0]), 1)
    ledger.record(soon(ledger, last, SuspendSelf(0, 0)))


def test_a_side_whose_governors_are_all_named_is_not_passed_over(ledger: Ledger) -> None:
    for member in MACAO:
        enact_all(ledger, ChangeRoles(member, ("governor", "issuer")), 0)
    identity = propose(ledger, SetIssuers(MAINLAND_REPORT, MACAO, ()), 0)
    vote(ledger, identity, BUREAU, OPERATOR, BANK, RELAY)
    assert status_of(ledger, identity) == "open", "all who may vote said yes, and Macao was not heard"
    assert vote_refusal(ledger, identity, MACAO[0]).code == "named-member"
    one = propose(ledger, SetIssuers(MAINLAND_REPORT, MACAO[:1], ()), 0)
    vote(ledger, one, BUREAU, OPERATOR, BANK, MACAO[1])
    assert status_of(ledger, one) == "passed"


def enact_all(
    ledger: Ledger,
    change: AddMember | SuspendMember | ReinstateMember | ChangeRoles,
    version: int | None = None,
) -> None:
    """Have everybody vote yes who may, until a change passes."""
    identity = propose(ledger, change, version)
    named_one = getattr(change, "member", None)
    for governor in (*MACAO[::-1], *GOVERNORS):
        if status_of(ledger, identity) == "passed":
            return
        if governor != named_one and not member_of(ledger, governor).is_suspended:
            vote(ledger, identity, governor)
    assert status_of(ledger, identity) == "passed"
