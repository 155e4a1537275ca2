"""Records are read and written without the codec's own walk: held here to the naive way, which walks as well."""

import dataclasses
from typing import Annotated

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.encoding.arrayform import walk_from_value, walk_to_value, walk_union_from_value
from ledger.encoding.codec import decode, encode
from ledger.encoding.records import Identifier, Text, Uint, pack, unpack, unpack_union
from ledger.encoding.shapes import R
from ledger.errors import EncodingError
from ledger.rules.operations import AnchorBatch, Grant
from ledger.rules.state import Anchor, Member, Schema, anchor_key, member_key, schema_key
from ledger.rules.transactions import TransactionBody
from ledger.trees.merkle import TreePath
from ledger.trees.statetree import state_key

BODY = TransactionBody(bytes(32), "hk-bureau", 7, (AnchorBatch(bytes(32), 1, "hk.credit-report", None),))
SHAPES = (TransactionBody, AnchorBatch, Grant, Member)


@dataclasses.dataclass(frozen=True, slots=True)
class Label:
    text: Annotated[str, Text(64)]
    code: Annotated[str, Identifier("code")]
    number: Annotated[int, Uint()]


def naive_unpack(shape: type[R], data: bytes) -> R:
    return walk_from_value(shape, decode(data))


def answer(read: object, *arguments: object) -> object:
    assert callable(read)
    try:
        return read(*arguments)
    except EncodingError:
        return "refused"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**64 - 1) | st.floats() | st.binary() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=12,
)


@pytest.mark.slow
@given(ANYTHING)
def test_no_value_gets_past_a_shape_that_the_codec_refuses(value: object) -> None:
    data = msgpack.packb(value, use_bin_type=True)
    for shape in (*SHAPES, Label):
        assert answer(unpack, shape, data) == answer(naive_unpack, shape, data)


@given(st.binary(max_size=200))
@example(b"\x93\xa1a\xa1b\xc4")
@example(b"\x91" * 3_000)
@example(b"\xdd\xff\xff\xff\xff")
def test_no_bytes_are_read_that_the_codec_refuses(data: bytes) -> None:
    for shape in (*SHAPES, Label):
        assert answer(unpack, shape, data) == answer(naive_unpack, shape, data)


@given(st.data())
def test_a_changed_record_is_read_or_refused_like_the_naive_way(data: st.DataObject) -> None:
    encoded = bytearray(pack(BODY))
    for _ in range(data.draw(st.integers(1, 3))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    assert answer(unpack, TransactionBody, bytes(encoded)) == answer(
        naive_unpack, TransactionBody, bytes(encoded)
    )


@pytest.mark.parametrize("text", ["e\u0301", "\u0001", "a\u200bb", "\ue000", "a\nb", "\u2028"])
def test_text_is_held_to_the_codec_in_both_directions(text: str) -> None:
    label = Label(text, "a", 1)
    with pytest.raises(EncodingError):
        pack(label)
    with pytest.raises(EncodingError):
        unpack(Label, msgpack.packb((text, "a", 1), use_bin_type=True))


@given(st.text(max_size=70), st.text(max_size=70), st.integers(-1, 2**64))
@example("罗湖", "a", 2**64 - 1)
def test_what_is_written_is_what_the_codec_writes(text: str, code: str, number: int) -> None:
    label = Label(text, code, number)

    def naive() -> bytes:
        return encode(walk_to_value(label))

    assert answer(pack, label) == answer(naive)


def test_remembered_keys_are_those_of_the_codec() -> None:
    for name in ("hk-bureau", "sz-operator", "hk-bureau"):
        assert member_key(name) == state_key(encode((Member.TAG, name)))
        assert schema_key(name) == state_key(encode((Schema.TAG, name)))


def test_a_longer_spelling_of_a_fitting_record_is_refused() -> None:
    with pytest.raises(EncodingError, match="shortest encoding"):
        unpack(Label, b"\x93\xa1a\xa1b\xcc\x01")


HASHES = st.lists(
    st.binary(min_size=32, max_size=32) | st.binary(max_size=33) | st.none() | st.integers(0, 3), max_size=5
)


@given(HASHES)
def test_many_hashes_at_once_are_read_and_written_as_one_by_one(items: list[object]) -> None:
    one_by_one = naive_hashes(items)
    data = msgpack.packb([0, items], use_bin_type=True)
    assert answer(lambda: unpack(TreePath, data).siblings) == one_by_one


def naive_hashes(items: list[object]) -> object:
    is_refused = len(items) > 64 or any(type(item) is not bytes or len(item) != 32 for item in items)
    return "refused" if is_refused else tuple(items)


def test_a_union_is_read_as_the_naive_way_reads_it() -> None:
    encoded = pack(Schema("hk.credit-report", 0, None, 1))
    longer = encoded.replace(b"\x01", b"\xcc\x01")

    def naive(shape: object, data: bytes) -> object:
        return walk_union_from_value(Schema | Member, decode(data))

    for data in (encoded, longer, encoded[:-1], encoded + b"\0", encoded[:-1] + b"\xc3", b"", b"\x90"):
        assert answer(unpack_union, Schema | Member, data) == answer(naive, Schema | Member, data)
    assert answer(unpack_union, Schema | Member, longer) == "refused"
    assert unpack_union(Schema | Member, encoded) == Schema("hk.credit-report", 0, None, 1)


def test_an_anchor_names_the_key_under_which_it_is_asked_for() -> None:
    anchor = Anchor("hk-bureau", bytes(range(32)), 1, "hk.credit-report", 0, 0, 0, None, 1, 2, 1, 0, None)
    assert anchor.state_key() == anchor_key("hk-bureau", bytes(range(32)))
