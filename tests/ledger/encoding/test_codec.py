"""The codec: one value has one encoding, and every other spelling is refused."""

import tracemalloc
from typing import cast

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.encoding.codec import (
    ARRAY_ITEMS_MAX,
    DEPTH_MAX,
    ENCODED_SIZE_MAX,
    INTEGER_MAX,
    Value,
    decode,
    encode,
)
from ledger.errors import EncodingError

TEXTS = st.text(st.characters(codec="ascii", min_codepoint=0x20, max_codepoint=0x7E), max_size=40)
VALUES = st.recursive(
    st.none() | st.integers(0, INTEGER_MAX) | st.binary(max_size=300) | TEXTS,
    lambda inner: st.lists(inner, max_size=6).map(tuple),
    max_leaves=30,
)


def nested(levels: int) -> Value:
    value: Value = ()
    for _ in range(levels - 1):
        value = (value,)
    return value


@given(VALUES)
def test_what_was_encoded_decodes_to_itself(value: Value) -> None:
    assert decode(encode(value)) == value


@given(st.binary(max_size=80))
@example(b"")
@example(b"\xc1")
@example(b"\xcc\x01")
@example(b"\x93\x01\x02")
def test_any_bytes_are_refused_or_are_the_one_encoding_of_their_value(data: bytes) -> None:
    try:
        value = decode(data)
    except EncodingError:
        return
    assert encode(value) == data


@given(VALUES, st.data())
def test_a_changed_byte_is_refused_or_is_another_value(value: Value, data: st.DataObject) -> None:
    encoded = encode(value)
    index = data.draw(st.integers(0, len(encoded) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != encoded[index]))
    try:
        found = decode(encoded[:index] + bytes([other]) + encoded[index + 1 :])
    except EncodingError:
        return
    assert encode(found) != encoded


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (None, "c0"),
        (0, "00"),
        (127, "7f"),
        (128, "cc80"),
        (256, "cd0100"),
        (65_536, "ce00010000"),
        (2**32, "cf0000000100000000"),
        (INTEGER_MAX, "cfffffffffffffffff"),
        (b"", "c400"),
        (bytes(256), "c50100" + "00" * 256),
        ("", "a0"),
        ("a" * 32, "d920" + "61" * 32),
        ((), "90"),
        ((1, (b"\x02", "x"), None), "930192c40102a178c0"),
    ],
)
def test_known_values_have_these_bytes(value: Value, encoded: str) -> None:
    assert encode(value).hex() == encoded
    assert decode(bytes.fromhex(encoded)) == value


@pytest.mark.parametrize(
    ("spelling", "what"),
    [
        ("cc01", "1 in two bytes"),
        ("cd0001", "1 in three bytes"),
        ("cf0000000000000001", "1 in nine bytes"),
        ("d001", "1 as a signed integer"),
        ("d9016e", "text with a longer length"),
        ("da00016e", "text with a still longer length"),
        ("c5000100", "bytes with a longer length"),
        ("dc000101", "an array with a longer length"),
        ("dd0000000101", "an array with a still longer length"),
    ],
)
def test_a_longer_spelling_is_refused(spelling: str, what: str) -> None:
    with pytest.raises(EncodingError, match="longer spelling"):
        decode(bytes.fromhex(spelling))


@pytest.mark.parametrize(
    ("value", "name"),
    [(True, "bool"), (False, "bool"), (0.0, "float"), (1.5, "float"), ({}, "map"), ({1: 2}, "map")],
)
def test_a_value_of_a_foreign_type_is_refused_wherever_it_stands(value: object, name: str) -> None:
    for place in (value, (value,), (1, ((value,),))):
        with pytest.raises(EncodingError):
            encode(cast(Value, place))
        with pytest.raises(EncodingError):
            decode(msgpack.packb(place))


@pytest.mark.parametrize(
    "value", [-1, -(2**63), INTEGER_MAX + 1, [1], bytearray(b"x"), memoryview(b"x"), {1}, object()]
)
def test_a_value_outside_the_model_has_no_encoding(value: object) -> None:
    with pytest.raises(EncodingError):
        encode(cast(Value, value))


@pytest.mark.parametrize(
    "encoded",
    [
        "ff",
        "d0ff",
        "d3ffffffffffffffff",
        "d40100",
        "c70001",
        "d6ff00000000",
        "81a16101",
        "80",
        "ca00000000",
        "cb0000000000000000",
        "c2",
        "c3",
        "a1ff",
        "a3eda080",
        "c0c0",
        "91",
        "dfffffffff",
        "ddffffffff",
        "c6ffffffff",
        "",
    ],
)
def test_bytes_outside_the_model_are_refused(encoded: str) -> None:
    with pytest.raises(EncodingError):
        decode(bytes.fromhex(encoded))


def test_arrays_nest_to_the_limit_and_no_further() -> None:
    deepest = nested(DEPTH_MAX)
    assert decode(encode(deepest)) == deepest
    too_deep = nested(DEPTH_MAX + 1)
    with pytest.raises(EncodingError, match="levels"):
        encode(too_deep)
    with pytest.raises(EncodingError, match="levels"):
        decode(b"\x91" * DEPTH_MAX + b"\x90")
    for depth in (600, 5_000, 100_000):
        with pytest.raises(EncodingError):
            decode(b"\x91" * depth + b"\x90")


def test_an_array_holds_items_to_the_limit_and_no_more() -> None:
    longest = (0,) * ARRAY_ITEMS_MAX
    assert decode(encode(longest)) == longest
    with pytest.raises(EncodingError, match="items"):
        encode((0,) * (ARRAY_ITEMS_MAX + 1))
    with pytest.raises(EncodingError):
        decode(msgpack.packb([0] * (ARRAY_ITEMS_MAX + 1)))


def test_an_encoding_is_as_large_as_the_limit_and_no_larger() -> None:
    header_size = 5
    largest = bytes(ENCODED_SIZE_MAX - header_size)
    assert decode(encode(largest)) == largest
    with pytest.raises(EncodingError, match="at most"):
        encode(largest + b"\x00")
    with pytest.raises(EncodingError, match="at most"):
        decode(msgpack.packb(largest + b"\x00"))
    assert decode(b"\x92\x01\x02", size_max=3) == (1, 2)
    with pytest.raises(EncodingError, match="at most 2 bytes, found 3"):
        decode(b"\x92\x01\x02", size_max=2)


@pytest.mark.parametrize("text", ["罗湖", "羅湖", "é", "𠮷", "Zürich 银行"])
def test_text_of_the_listed_characters_passes(text: str) -> None:
    assert decode(encode(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "e\u0301",
        "\u212b",
        "\u1112\u1161\u11ab",
        "a\x00",
        "a\n",
        "\x7f",
        "\u0085",
        "\u200d",
        "\u202e",
        "\u2028",
        "\u2029",
        "\ue000",
        "\ufeff",
        "\ufdd0",
        "한",
        "カ",
        "\U0001f600",
        "\u00a0",
    ],
)
def test_text_with_any_other_character_is_refused(text: str) -> None:
    with pytest.raises(EncodingError):
        encode(text)
    with pytest.raises(EncodingError):
        decode(msgpack.packb(text))


def test_a_lone_surrogate_has_no_encoding() -> None:
    with pytest.raises(EncodingError):
        encode("\ud800")


def test_what_nested_arrays_only_claim_to_hold_is_not_allocated() -> None:
    bomb = b"\xdc\x40\x00" * 1_000
    tracemalloc.start()
    with pytest.raises(EncodingError):
        decode(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1024 * 1024
