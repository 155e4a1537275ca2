"""No operation has a field in which personal data could land: every field of every one is walked here."""

import dataclasses
import types
from collections.abc import Hashable, Iterator
from typing import Annotated, ClassVar, Union, get_args, get_origin

import pytest

from ledger.encoding.keys import ED25519, PublicKey
from ledger.encoding.records import Code, Hash, Identifier, Items, Octets, Text, Uint, pack
from ledger.encoding.shapes import hints_of
from ledger.errors import EncodingError, SignatureError
from ledger.rules import proposals
from ledger.rules.operations import (
    GRANT_BODY_SIZE_MAX,
    OPERATION_CLASSES,
    WITHDRAWAL_BODY_SIZE_MAX,
    Grant,
    GrantBody,
    Operation,
    Propose,
    Withdraw,
    WithdrawalBody,
)
from ledger.rules.state import ROLES, Name
from ledger.rules.transactions import TransactionBody
from tests.support.consortium import CHAIN_ID, make_grant, make_terms, make_withdrawal

# Identifiers of things that the registry holds: who sends one that is not registered is refused.
REGISTERED = {"member", "schema", "purpose", "jurisdiction", "direction", "network"}
# The only bytes of variable size are bodies that holders sign, which are records themselves and walked too, and what
# has one size by its key's algorithm: keys, and the signatures of holders, which are verified before they are recorded.
BODIES: dict[tuple[type, str], type] = {(Grant, "body"): GrantBody, (Withdraw, "body"): WithdrawalBody}
SIZED_BY_ALGORITHM: set[tuple[type, str]] = {
    (PublicKey, "data"),
    (Grant, "signature"),
    (Withdraw, "signature"),
}


def find_free_text(record_class: type, path: str = "") -> Iterator[str]:
    """Yield the path of each field that is not fixed-size bytes, an integer, a registered name or a code."""
    for name, hint in hints_of(record_class).items():
        place = f"{path}{record_class.__name__}.{name}"
        body = BODIES.get((record_class, name))
        if body is not None:
            yield from find_free_text(body, f"{place}: ")
        elif (record_class, name) not in SIZED_BY_ALGORITHM:
            yield from _walk(hint, place)


def _walk(hint: Hashable, place: str) -> Iterator[str]:
    if get_origin(hint) is Annotated:
        base, rule = get_args(hint)
        if isinstance(rule, Items):
            yield from _walk(get_args(base)[0], f"{place}[]")
        elif not _is_harmless(rule):
            yield place
    elif get_origin(hint) in (Union, types.UnionType):
        for option in get_args(hint):
            if option is not type(None):
                yield from _walk(option, place)
    elif isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield from find_free_text(hint, f"{place}: ")
    else:
        yield place


def _is_harmless(rule: object) -> bool:
    match rule:
        case Uint():
            return True
        case Octets():
            return rule.minimum == rule.maximum
        case Identifier():
            return rule.names in REGISTERED
        case Code():
            return all(len(code) <= 32 and code.isascii() for code in rule.allowed)
        case _:
            return False


# Members' names, which governors decide on: the only text that there is.
NAMES = [
    f"Propose.change: {change}.{name}"
    for change in ("AddMember", "ChangeNames")
    for name in ("name_zh_hans", "name_zh_hant", "name_en")
]


@pytest.mark.parametrize("operation_class", OPERATION_CLASSES)
def test_no_field_of_an_operation_holds_free_text_but_members_names(
    operation_class: type[Operation],
) -> None:
    assert list(find_free_text(operation_class)) == (NAMES if operation_class is Propose else [])


def test_nothing_else_in_a_transaction_does_either() -> None:
    found = [
        place.removeprefix("TransactionBody.operations[]: ") for place in find_free_text(TransactionBody)
    ]
    assert found == NAMES


def test_the_names_are_names_and_nothing_longer() -> None:
    for place in NAMES:
        shape, _, field = place.partition(": ")[2].partition(".")
        assert hints_of(vars(proposals)[shape])[field] == Name


def test_the_list_of_operations_is_the_union_that_a_transaction_holds() -> None:
    union = get_args(get_args(hints_of(TransactionBody)["operations"])[0])[0]
    assert set(get_args(union)) == set(OPERATION_CLASSES)
    assert len({operation_class.TAG for operation_class in OPERATION_CLASSES}) == len(OPERATION_CLASSES)


def test_the_signed_bodies_are_the_only_bytes_of_variable_size() -> None:
    classes: tuple[type, ...] = OPERATION_CLASSES
    variable = {
        (operation_class, name)
        for operation_class in classes
        for name, hint in hints_of(operation_class).items()
        for rule in get_args(hint)[1:]
        if isinstance(rule, Octets) and rule.minimum != rule.maximum
    }
    assert variable == {*BODIES, *SIZED_BY_ALGORITHM} - {(PublicKey, "data")}


def test_what_is_sized_by_an_algorithm_has_one_size_by_the_algorithm_that_there_is() -> None:
    for size in (33, 64):
        with pytest.raises(EncodingError):
            PublicKey(ED25519, bytes(size))
    for operation in (make_grant(), make_withdrawal(make_grant())):
        longer = dataclasses.replace(operation, signature=operation.signature + b"name")
        for message in longer.signed_messages(chain_id=CHAIN_ID, sender="hk-bureau"):
            with pytest.raises(SignatureError, match="64 bytes"):
                message.verify()


def test_a_signed_body_has_no_room_beside_its_record() -> None:
    grant = make_grant()
    withdrawal = make_withdrawal(grant)
    assert pack(grant.decoded()) == grant.body
    assert pack(withdrawal.decoded()) == withdrawal.body


def test_the_largest_bodies_fit() -> None:
    terms = make_terms(
        recipient="r" * 32,
        purpose="p" * 48,
        sources=("CN", "HK"),
        until_ms=2**53 - 1,
        uses=10_000,
    )
    grant = make_grant(terms=terms, submit_by_ms=2**53 - 1)
    assert len(grant.body) <= GRANT_BODY_SIZE_MAX
    assert len(make_withdrawal(grant).body) <= WITHDRAWAL_BODY_SIZE_MAX


@dataclasses.dataclass(frozen=True, slots=True)
class Remark:
    TAG: ClassVar[str] = "remark"

    hash: Hash
    name: Name


@dataclasses.dataclass(frozen=True, slots=True)
class Nested:
    remarks: Annotated[tuple[Remark | GrantBody, ...], Items(3)]
    last: Remark | None


LEAKS = {
    "text": Annotated[str, Text(10)],
    "bytes": Annotated[bytes, Octets(1, 10)],
    "an identifier of nothing registered": Annotated[str, Identifier("nickname", 10)],
    "texts": Annotated[tuple[Annotated[str, Text(10)], ...], Items(3)],
    "text or nothing": Annotated[str, Text(10)] | None,
    "a plain string": str,
    "a dictionary": dict[str, str],
}


@pytest.mark.parametrize("name", list(LEAKS))
def test_the_walk_notices_a_field_that_could_leak(name: str) -> None:
    leaky = dataclasses.make_dataclass("Leaky", [("hash", Hash), ("field", LEAKS[name])], frozen=True)
    assert [place.rstrip("[]") for place in find_free_text(leaky)] == ["Leaky.field"]


def test_the_walk_notices_a_leak_in_a_nested_record() -> None:
    assert list(find_free_text(Nested)) == [
        "Nested.remarks[]: Remark.name",
        "Nested.last: Remark.name",
    ]


def test_roles_are_codes() -> None:
    assert _is_harmless(Code(ROLES))
    assert not _is_harmless(Code(("a sentence of free text that somebody put in a code",)))
