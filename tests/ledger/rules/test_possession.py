"""Keys that governors register show that somebody has them: for this network, this member, these very keys."""

from dataclasses import replace

import pytest

from ledger.encoding.keys import PrivateKey
from ledger.errors import LedgerError
from ledger.rules.operations import CastVote, Propose, next_key_commitment
from ledger.rules.proposals import (
    POSSESSION_TAG,
    AddMember,
    NodeRegistration,
    Registering,
    SetMemberKeys,
    SetNode,
    possession_body,
)
from ledger.rules.state import NETWORK_KEY, Network, find
from tests.ledger.rules.test_registration import CERTIFICATE, adding, registration
from tests.support.consortium import Ledger, key_of, make_transaction, member_key_of
from tests.support.governors import EXPIRES_MS, UNSHOWN, enact, possessing, put, soon

BANK = "hk-bank"
NODE = registration(BANK)
CHANGES: tuple[tuple[Registering, int | None], ...] = (
    (adding(), None),
    (adding(registration("hk-registry")), None),
    (SetMemberKeys(BANK, key_of("replaced").public, bytes(32), UNSHOWN), 0),
    (SetNode(BANK, NODE, UNSHOWN), 0),
)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger.start()


def refused(ledger: Ledger, change: Registering, version: int | None) -> LedgerError:
    return ledger.refusal(soon(ledger, "hk-operator", Propose(change, version, EXPIRES_MS)))


@pytest.mark.parametrize(("change", "version"), CHANGES)
def test_keys_that_show_themselves_are_registered(
    ledger: Ledger, change: Registering, version: int | None
) -> None:
    enact(ledger, change, version)


@pytest.mark.parametrize(("change", "version"), CHANGES)
def test_keys_without_possession_are_refused(
    ledger: Ledger, change: Registering, version: int | None
) -> None:
    assert refused(ledger, change, version).code == "possession"
    for lacking in ("key_signature", "validator_key_signature"):
        whole = possessing(change)
        if getattr(whole.possession, lacking) is not None:
            some = replace(whole, possession=replace(whole.possession, **{lacking: None}))  # type: ignore[arg-type]
            assert refused(ledger, some, version).code == "possession"


def test_a_signature_without_a_key_is_refused_and_not_believed(ledger: Ledger) -> None:
    observer = SetNode(BANK, NodeRegistration("observer", None, None, CERTIFICATE), UNSHOWN)
    enact(ledger, observer, 0)
    for field in ("key_signature", "validator_key_signature"):
        more = replace(observer, possession=replace(UNSHOWN, **{field: bytes(64)}))  # type: ignore[arg-type]
        assert refused(ledger, more, 1).code == "possession"


@pytest.mark.parametrize(("network", "use"), [("another", "development"), ("tests", "production")])
@pytest.mark.parametrize(("change", "version"), CHANGES)
def test_possession_for_another_network_or_use_is_none_here(
    ledger: Ledger, change: Registering, version: int | None, network: str, use: str
) -> None:
    elsewhere = possessing(replace(change, possession=replace(UNSHOWN, network=network, use=use)))
    assert refused(ledger, elsewhere, version).code == "wrong-network"
    relabelled = replace(
        elsewhere, possession=replace(elsewhere.possession, network="tests", use="development")
    )
    assert refused(ledger, relabelled, version).code == "signature", "the body holds the network"


def test_the_state_says_which_network_it_is(ledger: Ledger) -> None:
    put(ledger, Network("another", "production", ("CN", "HK")))
    assert find(ledger.tip.state, Network, NETWORK_KEY) is not None
    assert refused(ledger, possessing(adding()), None).code == "wrong-network"


def moved(whole: Registering, other: Registering) -> Registering:
    """Return a change with the signatures that were made for another."""
    return replace(other, possession=whole.possession)


def test_possession_under_another_id_is_refused(ledger: Ledger) -> None:
    whole = possessing(SetMemberKeys(BANK, key_of("replaced").public, bytes(32), UNSHOWN))
    other = SetMemberKeys("auditor", key_of("replaced").public, bytes(32), UNSHOWN)
    assert refused(ledger, moved(whole, other), 0).code == "signature"
    joined = possessing(adding())
    assert refused(ledger, moved(joined, adding(id="hk-impostor")), None).code == "signature"


@pytest.mark.parametrize(
    "other",
    [
        adding(roles=("governor", "issuer")),
        adding(jurisdiction="CN"),
        adding(name_en="Another"),
        adding(next_key=next_key_commitment(key_of("a thief").public)),
        adding(registration("hk-registry")),
    ],
)
def test_possession_of_another_change_is_refused(ledger: Ledger, other: AddMember) -> None:
    """Roles, names, side, next key and node are in what was signed."""
    found = refused(ledger, moved(possessing(adding()), other), None)
    assert found.code in {"signature", "possession"}


def test_another_s_key_is_not_put_under_one_s_own_id(ledger: Ledger) -> None:
    """A governor that has no private half of a key registers it for nobody."""
    stolen = member_key_of("mainland-bank").public
    change = SetMemberKeys(BANK, stolen, bytes(32), UNSHOWN)
    signed = signed_by(change, key_of("a governor"))
    assert refused(ledger, signed, 0).code == "signature"


def signed_by(change: SetMemberKeys, key: PrivateKey) -> SetMemberKeys:
    signature = key.sign(POSSESSION_TAG, possession_body(change))
    return replace(change, possession=replace(change.possession, key_signature=signature))


def test_each_signature_counts_towards_the_limits_of_a_block() -> None:
    whole = possessing(adding(registration("hk-registry")))
    sent = make_transaction("hk-operator", Propose(whole, None, EXPIRES_MS), CastVote(bytes(32), "yes"))
    assert sent.signature_count == 3
