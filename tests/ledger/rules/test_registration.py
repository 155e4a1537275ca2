"""Registering members and their nodes by proposal: each rule obeyed and broken."""

from dataclasses import replace

import pytest

from ledger.encoding.records import from_json, from_value, pack, to_json, to_value, unpack
from ledger.rules.operations import CastVote, Propose, next_key_commitment
from ledger.rules.proposals import AddMember, ChangeNames, NodeRegistration, SetNode, require_governance
from ledger.rules.state import (
    MEMBERS_MAX,
    Member,
    Members,
    Node,
    find,
    member_key,
    node_key,
    require_members,
    require_validators,
)
from ledger.rules.tlscertificates import TlsCertificate
from node.network.tls import TlsIdentity, check_certificate, make_identity, registrable
from tests.support.consortium import (
    SIDES,
    VALIDATORS,
    Ledger,
    key_of,
    make_anchor,
    make_transaction,
    member_key_of,
    names_for,
)
from tests.support.governors import (
    EXPIRES_MS,
    GOVERNORS,
    UNSHOWN,
    enact,
    member_of,
    possessing,
    propose,
    proposing,
    put,
    refusal,
    register_validator,
    soon,
    suspend,
    vote,
)

NEW = "hk-registry"
CERTIFICATE = TlsCertificate(bytes([1]) * 20, bytes([4]) * 16, bytes([2]) * 64, bytes([3]) * 64)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger.start()


def registration(member: str, name: str = "validator") -> NodeRegistration:
    """Return a validator's registration under a key of its own, by default the first."""
    next_key = next_key_commitment(key_of(f"{member} {name} next").public)
    return NodeRegistration("validator", key_of(f"{member} {name}").public, next_key, CERTIFICATE)


OBSERVER = NodeRegistration("observer", None, None, CERTIFICATE)


def adding(node: NodeRegistration | None = None, **changes: object) -> AddMember:
    change = AddMember(
        id=NEW,
        name_zh_hans="测试登记处",
        name_zh_hant="測試登記處",
        name_en="Test registry",
        jurisdiction="HK",
        roles=("issuer",),
        key=member_key_of(NEW).public,
        next_key=next_key_commitment(member_key_of(NEW, 1).public),
        node=node,
        possession=UNSHOWN,
    )
    return replace(change, **changes)  # type: ignore[arg-type]


def with_validator_signature(change: AddMember) -> AddMember:
    """Return a change whose member key signed, with 64 bytes for a validator key that nobody can sign with."""
    whole = possessing(change)
    return replace(whole, possession=replace(whole.possession, validator_key_signature=bytes(64)))


def node_of(ledger: Ledger, member: str) -> Node:
    found = find(ledger.tip.state, Node, node_key(member))
    assert found is not None
    return found


# Members


def test_a_member_that_was_added_takes_part(ledger: Ledger) -> None:
    enact(ledger, adding())
    member = member_of(ledger, NEW)
    assert member == Member(
        id=NEW,
        name_zh_hans="测试登记处",
        name_zh_hant="測試登記處",
        name_en="Test registry",
        jurisdiction="HK",
        roles=("issuer",),
        key=member_key_of(NEW).public,
        key_sequence=0,
        next_key=next_key_commitment(member_key_of(NEW, 1).public),
        version=0,
        suspensions=(),
    )
    assert find(ledger.tip.state, Node, node_key(NEW)) is None
    assert require_members(ledger.tip.state).ids == tuple(sorted((*SIDES, NEW)))
    ledger.record(soon(ledger, NEW, make_anchor()))


def test_a_new_governor_counts_from_then_on(ledger: Ledger) -> None:
    enact(ledger, adding(roles=("governor",)))
    assert require_governance(ledger.tip.state).governors == tuple(sorted((*GOVERNORS, NEW)))
    assert find(ledger.tip.state, Member, member_key(NEW)) is not None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (adding(id="hk-bank"), "already-registered"),
        (
            adding(
                key=replace(key_of("x").public, data=bytes(32)),
                possession=replace(UNSHOWN, key_signature=bytes(64)),
            ),
            "signature",
        ),
        (adding(replace(OBSERVER, kind="validator")), "node-kind"),
        (adding(replace(registration(NEW), kind="observer")), "node-kind"),
        (adding(replace(registration(NEW), next_validator_key=None)), "node-kind"),
        (
            with_validator_signature(
                adding(replace(registration(NEW), validator_key=replace(key_of("x").public, data=bytes(32))))
            ),
            "signature",
        ),
    ],
)
def test_a_member_that_cannot_be_registered_is_refused(ledger: Ledger, change: AddMember, code: str) -> None:
    assert refusal(ledger, change) == code


def test_a_new_member_has_no_version(ledger: Ledger) -> None:
    assert refusal(ledger, adding(), 0) == "stale-version"


def test_a_member_comes_with_its_node(ledger: Ledger) -> None:
    enact(ledger, adding(registration(NEW)))
    assert node_of(ledger, NEW) == Node(
        member=NEW,
        kind="validator",
        validator_key=key_of(f"{NEW} validator").public,
        validator_key_sequence=0,
        next_validator_key=next_key_commitment(key_of(f"{NEW} validator next").public),
        tls_certificate=CERTIFICATE.der(NEW),
        tls_sequence=0,
    )
    assert require_validators(ledger.tip.state).current.index_of(NEW) is None


def test_there_are_no_more_members_than_the_limit(ledger: Ledger) -> None:
    ids = sorted((*SIDES, *(f"x{number:03}" for number in range(MEMBERS_MAX - len(SIDES) - 1))))
    some = member_of(ledger, "auditor")
    for other in set(ids) - set(SIDES):
        zh_hans, zh_hant, en = names_for(other)
        put(ledger, replace(some, id=other, name_zh_hans=zh_hans, name_zh_hant=zh_hant, name_en=en))
    put(ledger, Members(tuple(ids)))
    propose(ledger, adding())
    put(ledger, Members(tuple(sorted((*ids, "y")))))
    assert refusal(ledger, adding(), by="mainland-bank") == "too-many-members"


@pytest.mark.parametrize(
    "name",
    [
        "Test registry",
        "TEST REGISTRY",
        "Test-Registry",
        "Testregistry",
        "Tést regıstry",
        "Te5t reg1stry",
        "Ｔｅｓｔ ｒｅｇｉｓｔｒｙ",
    ],
)
def test_a_name_that_looks_like_another_members_is_refused(ledger: Ledger, name: str) -> None:
    enact(ledger, adding())
    for change in (
        ChangeNames("hk-bank", "测试银行", "測試銀行", name),
        # One name of three is enough, in whichever language it stands.
        ChangeNames("hk-bank", name, "測試銀行", "Test bank"),
    ):
        assert refusal(ledger, change, 0) == "name-taken"
    same = replace(adding(), id="hk-second", key=member_key_of("hk-second").public, name_en=name)
    assert refusal(ledger, same) == "name-taken"


def test_chinese_characters_that_look_alike_are_told(ledger: Ledger) -> None:
    enact(ledger, ChangeNames("hk-bank", "土地银行", "土地銀行", "Land Bank"), 0)
    assert refusal(ledger, ChangeNames("auditor", "士地银行", "審計", "Audit"), 0) == "name-taken"
    enact(ledger, ChangeNames("auditor", "水利银行", "水利銀行", "Water Bank"), 0)


@pytest.mark.parametrize("name", [" Bank", "Bank ", "Test  bank", "...", "·", " "])
def test_a_name_with_what_no_reader_sees_is_refused(ledger: Ledger, name: str) -> None:
    assert refusal(ledger, ChangeNames("hk-bank", "测试银行", "測試銀行", name), 0) == "name-unclear"
    assert refusal(ledger, replace(adding(), name_en=name)) == "name-unclear"


def test_a_member_keeps_what_looks_like_its_own_name(ledger: Ledger) -> None:
    before = member_of(ledger, "hk-bank")
    enact(ledger, ChangeNames("hk-bank", before.name_zh_hans, before.name_zh_hant, before.name_en.upper()), 0)
    assert member_of(ledger, "hk-bank").name_en == before.name_en.upper()


# Nodes


def test_a_node_is_registered_and_replaced(ledger: Ledger) -> None:
    enact(ledger, SetNode("hk-bank", OBSERVER, UNSHOWN), 0)
    assert node_of(ledger, "hk-bank").kind == "observer"
    enact(ledger, SetNode("hk-bank", registration("hk-bank"), UNSHOWN), 1)
    node = node_of(ledger, "hk-bank")
    assert (node.kind, node.validator_key_sequence, node.tls_sequence) == ("validator", 1, 0)
    assert member_of(ledger, "hk-bank").version == 2
    assert refusal(ledger, SetNode("hk-bank", registration("hk-bank"), UNSHOWN), 2) == "unchanged"
    enact(ledger, SetNode("hk-bank", OBSERVER, UNSHOWN), 2)
    assert node_of(ledger, "hk-bank").validator_key is None


def test_a_lost_validator_key_is_replaced_through_the_pending_set(ledger: Ledger) -> None:
    change = SetNode("sz-operator", registration("sz-operator", "found"), UNSHOWN)
    identity = propose(ledger, change, 0)
    # The member is not asked, and its side still has a governor.
    vote(ledger, identity, "hk-bureau", "hk-operator", "mainland-bank")
    pending = require_validators(ledger.tip.state).pending
    assert pending is not None
    keys = {validator.member: validator.key for validator in pending.validators}
    assert keys["sz-operator"] == key_of("sz-operator found").public
    assert list(keys) == list(VALIDATORS)
    assert node_of(ledger, "sz-operator").validator_key_sequence == 1


def test_two_lost_validator_keys_are_replaced_one_after_the_other(ledger: Ledger) -> None:
    changes = [
        SetNode(member, registration(member, "found"), UNSHOWN) for member in ("hk-bureau", "sz-operator")
    ]
    first, second = (propose(ledger, change, 0) for change in changes)
    vote(ledger, first, "hk-operator", "mainland-bank")
    vote(ledger, second, "hk-operator", "mainland-bank")
    votes = [
        soon(ledger, "sz-operator", CastVote(first, "yes")),
        soon(ledger, "hk-bureau", CastVote(second, "yes")),
    ]
    executed, refused = ledger.build(*votes)
    assert [error.code for _, error in refused] == ["pending-set"]
    ledger.tip = executed.tip()
    ledger.record()
    # The refused vote was not recorded: it may be sent again.
    vote(ledger, second, "hk-bureau")
    assert require_validators(ledger.tip.state).epoch == 1
    assert require_validators(ledger.tip.state).pending is not None


def test_a_node_that_validates_is_not_made_an_observer(ledger: Ledger) -> None:
    assert refusal(ledger, SetNode("sz-operator", OBSERVER, UNSHOWN), 0) == "validating"


def test_a_suspended_members_voting_key_is_not_replaced(ledger: Ledger) -> None:
    suspend(ledger, "sz-operator")
    assert (
        refusal(ledger, SetNode("sz-operator", registration("sz-operator", "found"), UNSHOWN), 0)
        == "suspended"
    )


def test_a_certificate_alone_changes_no_set(ledger: Ledger) -> None:
    node = node_of(ledger, "sz-operator")
    same_key = NodeRegistration("validator", node.validator_key, node.next_validator_key, CERTIFICATE)
    enact(ledger, SetNode("sz-operator", same_key, UNSHOWN), 0)
    assert require_validators(ledger.tip.state).pending is None
    assert (node_of(ledger, "sz-operator").tls_sequence, node.tls_sequence) == (1, 0)
    assert node_of(ledger, "sz-operator").validator_key_sequence == 0


def test_no_key_is_registered_under_a_pending_set(ledger: Ledger) -> None:
    register_validator(ledger, "hk-bank")
    identity = propose(ledger, SetNode("sz-operator", registration("sz-operator", "found"), UNSHOWN), 0)
    vote(ledger, identity, "hk-bureau", "hk-operator")
    last = soon(ledger, "mainland-bank", CastVote(identity, "yes"))
    for change in (
        SetNode("hk-bank", registration("hk-bank", "found"), UNSHOWN),
        SetNode("hk-bank", OBSERVER, UNSHOWN),
    ):
        operation, _ = proposing(change, 0)
        _, refused = ledger.build(last, soon(ledger, "hk-operator", operation))
        assert [error.code for _, error in refused] in (["pending-set"], ["validating"])


# TLS certificates


@pytest.mark.parametrize("member", ["a", "hk-bureau", "m" * 32])
def test_the_parts_of_a_certificate_make_the_certificate(member: str) -> None:
    for _ in range(30):
        certificate = make_identity(member).certificate
        parts = registrable(certificate, member)
        assert parts.der(member) == certificate
        assert unpack(TlsCertificate, pack(parts)) == parts
        check_certificate(certificate)


def test_small_numbers_in_a_certificate_keep_their_shortest_form() -> None:
    parts = TlsCertificate(bytes(19) + b"\x80", bytes(16), bytes([1]) * 64, bytes(31) + b"\x7f" + bytes(32))
    der = parts.der("a")
    assert b"\x02\x02\x00\x80" in der and b"\x02\x01\x7f\x02\x01\x00" in der


def test_a_certificate_of_another_member_or_another_form_is_not_registrable() -> None:
    identity: TlsIdentity = make_identity("hk-bank")
    with pytest.raises(ValueError, match="for hk-bureau, found another"):
        registrable(identity.certificate, "hk-bureau")
    with pytest.raises(ValueError, match="certificate"):
        registrable(identity.certificate[:-1], "hk-bank")


def test_a_certificate_has_room_for_nothing_else() -> None:
    certificate = make_identity("hk-bank").certificate
    for at in range(0, len(certificate), 7):
        changed = certificate[:at] + bytes([certificate[at] ^ 1]) + certificate[at + 1 :]
        try:
            parts = registrable(changed, "hk-bank")
        except ValueError:
            continue
        assert parts.der("hk-bank") == changed, "every byte that may differ is one of the parts"


@pytest.mark.parametrize("change", [adding(registration(NEW)), SetNode("hk-bank", OBSERVER, UNSHOWN)])
def test_a_registration_is_one_record_in_bytes_and_in_json(change: AddMember | SetNode) -> None:
    operation = Propose(change, None, EXPIRES_MS)
    assert from_value(Propose, to_value(operation)) == operation
    assert from_json(Propose, to_json(operation)) == operation
    assert make_transaction("hk-operator", operation).body.operations == (operation,)
