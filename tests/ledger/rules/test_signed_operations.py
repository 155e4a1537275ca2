"""Every signature that an operation carries is verified and counted: each field of each class is walked here.

A signature that no class answers for would be decoration: whoever reads the ledger would believe it.
"""

import dataclasses
import types
from collections.abc import Hashable, Iterator
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Union, cast, get_args, get_origin

import pytest

from ledger.encoding.keys import PublicKey
from ledger.encoding.records import Hash, Items, Octets, SignatureBytes
from ledger.encoding.shapes import hints_of
from ledger.errors import SignatureError
from ledger.rules.certificates import Vote
from ledger.rules.operations import OPERATION_CLASSES, Operation, Propose, SignedMessage
from ledger.rules.tlscertificates import TlsCertificate
from tests.ledger.rules.test_no_free_text import BODIES
from tests.ledger.rules.test_registration import adding, registration
from tests.support.consortium import CHAIN_ID, key_of, make_transaction, member_key_of
from tests.support.governors import proposing
from tests.vectors.make_records import make_report, operations

SAMPLES: dict[type[Operation], tuple[str, Operation]] = {
    type(operation): (sender, operation) for sender, operation in operations()
}
# Of all changes, one that registers a member with a validator holds the most signatures.
SAMPLES[Propose] = ("hk-operator", proposing(adding(registration("hk-registry")))[0])
# A certificate is a pin (docs/formats.md, TLS certificates): no rule verifies what stands in it.
PINNED = {(TlsCertificate, "point"), (TlsCertificate, "signature")}

Place = tuple[str | int, ...]


def find_signatures(record_class: type) -> Iterator[tuple[type, str]]:
    """Yield each field that holds a signature, by record and name, in a class and in all that it may hold."""
    for name, hint in hints_of(record_class).items():
        body = BODIES.get((record_class, name))
        if body is not None:
            yield from find_signatures(body)
        else:
            yield from _walk(record_class, name, hint)


def _walk(record_class: type, name: str, hint: Hashable) -> Iterator[tuple[type, str]]:
    if get_origin(hint) is Annotated:
        base, rule = get_args(hint)
        if isinstance(rule, Items):
            yield from _walk(record_class, name, get_args(base)[0])
        elif isinstance(rule, Octets) and (rule == Octets(64, 64) or "signature" in name):
            yield record_class, name
    elif get_origin(hint) in (Union, types.UnionType):
        for option in get_args(hint):
            yield from _walk(record_class, name, option)
    elif isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield from find_signatures(hint)


def find_places(value: object, at: Place = ()) -> Iterator[tuple[Place, type, str]]:
    """Yield the place of each signature in a record, with the record and field that hold it."""
    if isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from find_places(item, (*at, index))
    elif dataclasses.is_dataclass(value):
        held = set(find_signatures(type(value)))
        for field in dataclasses.fields(value):
            if (type(value), field.name) in held - PINNED:
                yield (*at, field.name), type(value), field.name
            yield from find_places(getattr(value, field.name), (*at, field.name))


def altered(value: Any, place: Place) -> Any:  # noqa: ANN401 - a record, a tuple of records, or a signature
    """Return a record with one bit of one signature flipped."""
    if not place:
        return bytes([value[0] ^ 1]) + value[1:]
    first, *rest = place
    if isinstance(first, int):
        return (*value[:first], altered(value[first], tuple(rest)), *value[first + 1 :])
    return replace(value, **{first: altered(getattr(value, first), tuple(rest))})


def verifies(sender: str, operation: Operation) -> bool:
    """Say whether all holds that an operation answers for."""
    try:
        for message in operation.signed_messages(chain_id=CHAIN_ID, sender=sender):
            message.verify()
    except SignatureError:
        return False
    return True


def find_unverified(sender: str, operation: Operation) -> list[Place]:
    """Return the places of signatures that may be anything."""
    return [place for place, _, _ in find_places(operation) if verifies(sender, altered(operation, place))]


@pytest.mark.parametrize("operation_class", OPERATION_CLASSES)
def test_every_signature_field_of_an_operation_is_one_that_it_answers_for(
    operation_class: type[Operation],
) -> None:
    sender, sample = SAMPLES[operation_class]
    held = {(owner, name) for _, owner, name in find_places(sample)}
    assert held == set(find_signatures(operation_class)) - PINNED, "the sample holds every signature"
    assert verifies(sender, sample)
    assert find_unverified(sender, sample) == []


@pytest.mark.parametrize("operation_class", OPERATION_CLASSES)
def test_a_transaction_verifies_and_counts_every_signature_that_it_carries(
    operation_class: type[Operation],
) -> None:
    sender, sample = SAMPLES[operation_class]
    key = member_key_of(sender).public
    places = [place for place, _, _ in find_places(sample)]
    transaction = make_transaction(sender, sample)
    assert transaction.signature_count == 1 + len(places)
    transaction.verify(key)
    for place in places:
        with pytest.raises(SignatureError):
            make_transaction(sender, altered(sample, place)).verify(key)


@dataclasses.dataclass(frozen=True, slots=True)
class Decorated:
    """An operation with a signature that it does not answer for."""

    TAG: ClassVar[str] = "decorated"

    root: Hash
    signature: SignatureBytes

    def signed_messages(self, *, chain_id: bytes, sender: str) -> tuple[SignedMessage, ...]:
        return ()


@dataclasses.dataclass(frozen=True, slots=True)
class HalfAnswered:
    """An operation that answers for the first of its votes and forgets the others."""

    TAG: ClassVar[str] = "half_answered"

    key: PublicKey
    votes: Annotated[tuple[Vote, ...], Items(2)]
    last: Vote | None

    def signed_messages(self, *, chain_id: bytes, sender: str) -> tuple[SignedMessage, ...]:
        return make_report().signed_messages(chain_id=chain_id, sender=sender)[:1]


def test_the_walk_notices_a_signature_that_nobody_verifies() -> None:
    signature = key_of("anybody").sign("luohu/grant/1", b"anything")
    decorated = cast(Operation, Decorated(bytes(32), signature))
    assert list(find_signatures(Decorated)) == [(Decorated, "signature")]
    assert find_unverified("hk-bureau", decorated) == [("signature",)]


def test_the_walk_notices_one_in_a_nested_record() -> None:
    report = make_report()
    half = cast(Operation, HalfAnswered(report.key, (report.first, report.second), report.second))
    assert set(find_signatures(HalfAnswered)) == {(Vote, "signature")}
    assert {("votes", 1, "signature"), ("last", "signature")} <= set(find_unverified("sz-operator", half))


def test_what_is_pinned_is_a_certificate_and_nothing_else() -> None:
    found = {found for operation_class in OPERATION_CLASSES for found in find_signatures(operation_class)}
    assert {owner for owner, _ in found & PINNED} == {TlsCertificate}
    assert found >= PINNED
