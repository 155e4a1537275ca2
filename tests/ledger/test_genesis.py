"""Genesis: what founds a chain, and every genesis that does not."""

import json
from collections.abc import Callable
from dataclasses import fields, replace

import pytest

from ledger.encoding.digests import digest
from ledger.encoding.keys import ED25519, PublicKey
from ledger.encoding.records import Json, pack, unpack
from ledger.errors import EncodingError, LedgerError, SignatureError
from ledger.genesis import (
    GENESIS_FILE_SIZE_MAX,
    Genesis,
    GenesisContent,
    GenesisError,
    GenesisMember,
    GenesisSchema,
    genesis_block,
    genesis_from_json,
    genesis_to_json,
    parse_genesis,
    sign_genesis,
)
from ledger.rules.certificates import VALIDATORS_MAX
from ledger.rules.state import (
    Member,
    Network,
    Node,
    Parameters,
    Purpose,
    Schema,
    find,
    member_key,
    node_key,
    purpose_key,
    require_network,
    require_parameters,
    require_validators,
    schema_key,
)
from ledger.trees.merkle import tree_root
from tests.support.consortium import (
    LOAN,
    NOTICE,
    PARAMETERS,
    REPORT,
    SIDES,
    START_MS,
    VALIDATORS,
    hash_of,
    key_of,
    make_content,
    make_genesis,
    member_key_of,
    named,
)

CONTENT = make_content()
GENESIS = make_genesis()
GOVERNORS = ("hk-bureau", "hk-operator", "mainland-bank", "sz-operator")


def text_of(genesis: Genesis) -> bytes:
    return json.dumps(genesis_to_json(genesis), ensure_ascii=False).encode()


def with_member(member: str, **changes: object) -> tuple[GenesisMember, ...]:
    return tuple(
        replace(other, **changes) if other.id == member else other  # type: ignore[arg-type]
        for other in CONTENT.members
    )


def member(name: str) -> GenesisMember:
    return next(other for other in CONTENT.members if other.id == name)


def node_with(name: str, **changes: object) -> tuple[GenesisMember, ...]:
    return with_member(name, node=replace(member(name).node, **changes))  # type: ignore[type-var]


def test_a_signed_genesis_reads_back_from_its_file() -> None:
    assert parse_genesis(text_of(GENESIS)) == GENESIS
    assert unpack(GenesisContent, pack(CONTENT)) == CONTENT


def test_the_chain_id_is_the_hash_of_the_content_without_its_signatures() -> None:
    assert CONTENT.chain_id == digest(pack(CONTENT))
    assert replace(GENESIS, signatures=()).content.chain_id == CONTENT.chain_id


def test_every_field_of_the_content_is_in_the_chain_id() -> None:
    others: dict[str, object] = {
        "network": "another",
        "use": "production",
        "jurisdictions": ("CN", "HK", "MO"),
        "time_ms": START_MS + 1,
        "parameters": replace(PARAMETERS, block_size_max=1024),
        "members": with_member("auditor", name_en="Another"),
        "schemas": CONTENT.schemas[:1],
        "purposes": CONTENT.purposes[:1],
    }
    assert {*others, "version", "suite"} == {field.name for field in fields(GenesisContent)}
    found = {replace(CONTENT, **{name: value}).chain_id for name, value in others.items()}  # type: ignore[arg-type]
    assert len(found | {CONTENT.chain_id}) == len(others) + 1


def test_block_0_holds_what_the_content_says() -> None:
    executed = genesis_block(CONTENT)
    header, state = executed.block.header, executed.overlay
    assert (header.height, header.view, header.epoch, header.proposer) == (0, 0, 0, None)
    assert header.time_ms == START_MS and header.parent_hash == bytes(32)
    assert header.transactions_root == header.history_root == tree_root(())
    assert header.validators_hash == CONTENT.validators.digest()
    assert executed.history.root() == tree_root([executed.block.hash])
    assert require_parameters(state) == PARAMETERS
    assert require_network(state) == Network("tests", "development", ("CN", "HK"))
    validators = require_validators(state)
    assert (validators.epoch, validators.pending) == (0, None)
    assert [validator.member for validator in validators.current.validators] == list(VALIDATORS)
    for name in SIDES:
        found = find(state, Member, member_key(name))
        assert found is not None
        assert (found.key, found.key_sequence, found.version) == (member_key_of(name).public, 0, 0)
        assert found.suspensions == ()
        assert (find(state, Node, node_key(name)) is not None) == (name in VALIDATORS)
    assert find(state, Schema, schema_key(REPORT)) == Schema(REPORT, 0, None, 0)
    assert find(state, Schema, schema_key(NOTICE)) == Schema(NOTICE, 1, None, 0)
    assert find(state, Purpose, purpose_key(LOAN)) == Purpose(LOAN, (hash_of("notice"),), 0)


def test_block_0_is_the_same_every_time() -> None:
    first, second = genesis_block(CONTENT), genesis_block(make_content())
    assert first.block == second.block and first.history == second.history
    assert first.overlay.values == second.overlay.values
    assert first.overlay.pages == second.overlay.pages


# Signatures


def test_every_member_signs_and_nobody_else() -> None:
    GENESIS.verify()
    signatures = GENESIS.signatures
    assert [signature.member for signature in signatures] == sorted(SIDES)
    stranger = replace(signatures[0], member="a-stranger")
    governors = tuple(each for each in signatures if each.member in GOVERNORS)
    for wrong in (
        (),
        governors,
        signatures[:-1],
        signatures[1:],
        (signatures[1], signatures[0], *signatures[2:]),
        (signatures[0], *signatures),
        (stranger, *signatures),
    ):
        with pytest.raises(GenesisError, match="signatures"):
            Genesis(CONTENT, wrong).verify()


@pytest.mark.parametrize("index", range(len(SIDES)))
def test_a_members_false_signature_is_refused(index: int) -> None:
    signatures = list(GENESIS.signatures)
    signatures[index] = replace(signatures[index], signature=signatures[index - 1].signature)
    with pytest.raises(SignatureError):
        Genesis(CONTENT, tuple(signatures)).verify()


def test_a_bank_that_governs_nothing_is_not_founded_under_the_keys_of_whoever_drafted() -> None:
    """The drafter puts keys of its own under the bank's id: the bank's own signature is not theirs."""
    forged = replace(CONTENT, members=with_member("hk-bank", key=key_of("the drafter's").public))
    with pytest.raises(SignatureError):
        sign_genesis(forged, {name: member_key_of(name) for name in SIDES}).verify()


def test_signatures_do_not_carry_over_to_another_content() -> None:
    with pytest.raises(SignatureError):
        Genesis(replace(CONTENT, time_ms=START_MS + 1), GENESIS.signatures).verify()


# Contents that found no chain


def rekeyed(key: PublicKey) -> Callable[[], GenesisContent]:
    return lambda: replace(CONTENT, members=with_member("auditor", key=key))


REFUSED: dict[str, tuple[str, Callable[[], GenesisContent]]] = {
    "members out of order": (
        "members",
        lambda: replace(CONTENT, members=(*CONTENT.members[1:], CONTENT.members[0])),
    ),
    "a member twice": ("members", lambda: replace(CONTENT, members=(*CONTENT.members, CONTENT.members[-1]))),
    "schemas out of order": ("schemas", lambda: replace(CONTENT, schemas=CONTENT.schemas[::-1])),
    "a schema twice": ("schemas", lambda: replace(CONTENT, schemas=(GenesisSchema(REPORT, 0, None),) * 2)),
    "two members with one key": ("keys", rekeyed(member_key_of("hk-bank").public)),
    "a member's key that also votes": ("keys", rekeyed(key_of("hk-bureau validator").public)),
    "one mainland governor": (
        "governors of CN",
        lambda: replace(CONTENT, members=with_member("mainland-bank", roles=("recipient",))),
    ),
    "one Hong Kong governor": (
        "governors of HK",
        lambda: replace(CONTENT, members=with_member("hk-operator", roles=("auditor",))),
    ),
    "a member of no side": (
        "jurisdiction of auditor",
        lambda: replace(CONTENT, members=with_member("auditor", jurisdiction="US")),
    ),
    "governors of one side": (
        "governors",
        lambda: replace(
            CONTENT,
            schemas=(),
            members=tuple(
                replace(other, roles=("auditor",)) if other.jurisdiction == "CN" else other
                for other in CONTENT.members
            ),
        ),
    ),
    "one governor of a third side": (
        "governors of MO",
        lambda: replace(
            CONTENT,
            jurisdictions=("CN", "HK", "MO"),
            members=with_member("auditor", jurisdiction="MO", roles=("governor",)),
        ),
    ),
    "rules that nobody knows": (
        "protocol",
        lambda: replace(CONTENT, parameters=replace(PARAMETERS, protocol=2)),
    ),
    "no validator": (
        "validators",
        lambda: replace(CONTENT, members=tuple(replace(other, node=None) for other in CONTENT.members)),
    ),
    "a validator without a key": (
        "node of hk-bureau",
        lambda: replace(CONTENT, members=node_with("hk-bureau", validator_key=None)),
    ),
    "a validator without a next key": (
        "node of hk-bureau",
        lambda: replace(CONTENT, members=node_with("hk-bureau", next_validator_key=None)),
    ),
    "an observer with a validator key": (
        "node of hk-bureau",
        lambda: replace(CONTENT, members=node_with("hk-bureau", kind="observer")),
    ),
    "a key of small order": ("public key", rekeyed(PublicKey(ED25519, bytes([1]) + bytes(31)))),
    "a validator key of small order": (
        "public key",
        lambda: replace(CONTENT, members=node_with("hk-bureau", validator_key=PublicKey(ED25519, bytes(32)))),
    ),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_a_content_that_founds_no_chain_is_refused(name: str) -> None:
    where, make = REFUSED[name]
    with pytest.raises(LedgerError) as caught:
        make()
    assert caught.value.where.endswith(where), caught.value.where


def crowd(count: int) -> GenesisContent:
    extra = []
    for index in range(count - len(VALIDATORS)):
        name = f"t{index:03}"
        node = replace(
            member("hk-bureau").node,  # type: ignore[type-var]
            validator_key=key_of(f"{name} validator").public,
        )
        extra.append(replace(named(member("sz-operator"), name), key=member_key_of(name).public, node=node))
    return replace(CONTENT, members=(*CONTENT.members, *extra))


def test_a_chain_starts_with_validators_to_the_limit_and_no_more() -> None:
    assert len(genesis_block(crowd(VALIDATORS_MAX)).overlay.values) > VALIDATORS_MAX
    with pytest.raises(GenesisError, match="1 to 64, found 65"):
        crowd(VALIDATORS_MAX + 1)


def test_an_observer_needs_no_validator_key() -> None:
    content = replace(
        CONTENT,
        members=node_with("hk-bureau", kind="observer", validator_key=None, next_validator_key=None),
    )
    assert len(content.validators) == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 1},
        {"version": 3},
        {"suite": 2},
        {"use": "testing"},
        {"network": "Tests"},
        {"jurisdictions": ("HK", "CN")},
        {"jurisdictions": ("CN", "HK", "hk")},
        {"jurisdictions": tuple(sorted(("CN", "HK", *(f"X{letter}" for letter in "ABCDEFG"))))},
        {"members": with_member("auditor", roles=())},
        {"members": with_member("hk-bureau", roles=("issuer", "governor"))},
        {"members": with_member("auditor", name_en="e\u0301")},
        {"members": with_member("auditor", name_en="n" * 201)},
        {"parameters": replace(PARAMETERS, block_size_max=1023)},
        {"parameters": replace(PARAMETERS, transaction_horizon_ms=0)},
    ],
)
def test_a_field_that_does_not_fit_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(EncodingError):
        pack(replace(CONTENT, **changes))  # type: ignore[arg-type]


def test_parameters_hold_at_their_bounds_and_not_one_past_them() -> None:
    largest = Parameters(
        4 * 1024 * 1024, 100_000, 100_000, 7 * 86_400_000, 10 * 366 * 86_400_000, 65_535, 2**53 - 1
    )
    smallest = Parameters(1024, 1, 1, 1_000, 1_000, 1, 0)
    for field in fields(Parameters):
        for parameters, step in ((largest, 1), (smallest, -1)):
            pack(parameters)
            with pytest.raises(EncodingError, match=field.name):
                pack(replace(parameters, **{field.name: getattr(parameters, field.name) + step}))


# The file


def altered(change: Callable[[dict[str, Json]], None]) -> dict[str, Json]:
    value = json.loads(text_of(GENESIS))
    change(value)
    return value  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.pop("signatures"),
        lambda value: value.update(extra=1),
        lambda value: value["content"].update(extra=1),
        lambda value: value["content"].pop("type"),
        lambda value: value["content"].update(type="luohu-trust"),
        lambda value: value["content"].update(version=1),
        lambda value: value["content"].update(time_ms=1.5),
        lambda value: value["content"].update(time_ms=str(START_MS)),
        lambda value: value["content"].update(time_ms=START_MS + 1),
        lambda value: value["content"]["members"].pop(),
        lambda value: value["content"]["members"][0].update(name_en="Another"),
        lambda value: value["content"]["members"][0].update(name_en="\ud800"),
        lambda value: value["content"]["members"][0]["key"].update(algorithm=2),
        lambda value: value["signatures"].pop(),
        lambda value: value["signatures"][0].update(signature="00" * 64),
    ],
)
def test_a_file_that_says_otherwise_is_refused(change: Callable[[dict[str, Json]], None]) -> None:
    with pytest.raises(LedgerError):
        genesis_from_json(altered(change))


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"null", b"\xff", text_of(GENESIS)[:-1]])
def test_a_file_that_is_no_genesis_is_refused(text: bytes) -> None:
    with pytest.raises(EncodingError):
        parse_genesis(text)


def test_a_file_is_as_large_as_the_limit_and_no_larger() -> None:
    text = text_of(GENESIS)
    largest = text + b" " * (GENESIS_FILE_SIZE_MAX - len(text))
    assert parse_genesis(largest) == GENESIS
    with pytest.raises(EncodingError, match="at most"):
        parse_genesis(largest + b" ")
