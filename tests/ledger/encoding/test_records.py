"""Records: shapes are checked in both directions, and the JSON form is as strict as the bytes."""

import dataclasses
from typing import Annotated, ClassVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding.codec import encode
from ledger.encoding.records import (
    Code,
    Hash,
    Identifier,
    Items,
    Json,
    Octets,
    Text,
    Uint,
    from_json,
    from_value,
    pack,
    parse_json,
    to_json,
    to_value,
    unpack,
)
from ledger.encoding.shapes import hints_of
from ledger.errors import EncodingError


@dataclasses.dataclass(frozen=True, slots=True)
class Pear:
    TAG: ClassVar[str] = "pear"

    weight: Annotated[int, Uint(9, minimum=3)]


@dataclasses.dataclass(frozen=True, slots=True)
class Plum:
    TAG: ClassVar[str] = "plum"

    hash: Hash
    colour: Annotated[str, Code(("blue", "red"))]


@dataclasses.dataclass(frozen=True, slots=True)
class Basket:
    owner: Annotated[str, Identifier("owner", 8)]
    label: Annotated[str, Text(6)]
    seal: Annotated[bytes, Octets(1, 3)] | None
    fruit: Annotated[tuple[Pear | Plum, ...], Items(3, minimum=1)]
    numbers: Annotated[tuple[Annotated[int, Uint(100)], ...], Items(3, increasing=True)]
    best: Pear | Plum | None


HASH = bytes(range(32))
BASKET = Basket("a.b-c", "罗湖", b"\x01", (Pear(3), Plum(HASH, "red")), (1, 5), None)
VALUE = ("a.b-c", "罗湖", b"\x01", (("pear", 3), ("plum", HASH, "red")), (1, 5), None)
JSON: dict[str, Json] = {
    "owner": "a.b-c",
    "label": "罗湖",
    "seal": "01",
    "fruit": [{"type": "pear", "weight": 3}, {"type": "plum", "hash": HASH.hex(), "colour": "red"}],
    "numbers": [1, 5],
    "best": None,
}
MISFITS: list[tuple[str, object]] = [
    ("owner", ""),
    ("owner", "123456789"),
    ("owner", "A"),
    ("owner", "a b"),
    ("owner", "a."),
    ("owner", "a\n"),
    ("owner", "é"),
    ("owner", b"a"),
    ("owner", 1),
    ("owner", None),
    ("label", ""),
    ("label", "罗湖a"),
    ("label", 1),
    ("seal", b""),
    ("seal", b"1234"),
    ("seal", "1"),
    ("fruit", ()),
    ("fruit", (Pear(3),) * 4),
    ("fruit", (Pear(2),)),
    ("fruit", (Pear(10),)),
    ("fruit", (Pear(cast(int, True)),)),
    ("fruit", (Plum(HASH + b"\x00", "red"),)),
    ("fruit", (Plum(HASH[1:], "red"),)),
    ("fruit", (Plum(HASH, "green"),)),
    ("fruit", (None,)),
    ("fruit", [Pear(3)]),
    ("numbers", (5, 1)),
    ("numbers", (1, 1)),
    ("numbers", (1, 2, 3, 4)),
    ("numbers", (101,)),
    ("numbers", 1),
    ("best", "pear"),
    ("best", BASKET),
]


def test_a_record_is_the_array_of_its_fields_and_a_tag_stands_first() -> None:
    assert to_value(BASKET) == VALUE
    assert from_value(Basket, VALUE) == BASKET
    assert pack(BASKET) == encode(VALUE)
    assert unpack(Basket, encode(VALUE)) == BASKET


@pytest.mark.parametrize(("field", "value"), MISFITS)
def test_an_object_that_does_not_fit_has_neither_encoding_nor_json(field: str, value: object) -> None:
    misfit = dataclasses.replace(BASKET, **{field: value})  # type: ignore[arg-type]
    with pytest.raises(EncodingError, match=field):
        pack(misfit)


@pytest.mark.parametrize(
    "value",
    [
        VALUE[:-1],
        (*VALUE, None),
        ("basket", *VALUE),
        None,
        1,
        (*VALUE[:3], (("fig", 3),), *VALUE[4:]),
        (*VALUE[:3], (("pear",),), *VALUE[4:]),
        (*VALUE[:3], (("pear", 3, 3),), *VALUE[4:]),
        (*VALUE[:3], ((3,),), *VALUE[4:]),
        (*VALUE[:3], ((),), *VALUE[4:]),
        (*VALUE[:3], (((), 3),), *VALUE[4:]),
        (*VALUE[:3], ("pear",), *VALUE[4:]),
        (*VALUE[:5], ("plum", HASH)),
        (*VALUE[:4], (5, 1), None),
        (*VALUE[:4], b"", None),
    ],
)
def test_an_array_of_another_shape_is_refused(value: object) -> None:
    with pytest.raises(EncodingError):
        from_value(Basket, value)  # type: ignore[arg-type]


def test_limits_hold_at_the_maximum_and_not_one_past_it() -> None:
    fits = dataclasses.replace(
        BASKET, owner="12345678", label="123456", seal=b"123", fruit=(Pear(9),) * 3, numbers=(1, 2, 100)
    )
    assert unpack(Basket, pack(fits)) == fits
    assert from_json(Basket, to_json(fits)) == fits
    assert unpack(Basket, pack(BASKET), size_max=len(pack(BASKET))) == BASKET
    with pytest.raises(EncodingError):
        unpack(Basket, pack(BASKET), size_max=len(pack(BASKET)) - 1)


def test_the_json_form_says_the_same() -> None:
    assert to_json(BASKET) == JSON
    assert from_json(Basket, JSON) == BASKET


@pytest.mark.parametrize(
    "changes",
    [
        {"extra": 1},
        {"owner": None},
        {"seal": "1"},
        {"seal": "AB"},
        {"seal": "0x01"},
        {"seal": "01 "},
        {"seal": 1},
        {"label": ""},
        {"fruit": {}},
        {"fruit": "pear"},
        {"fruit": [{"weight": 3}]},
        {"fruit": [{"type": "fig", "weight": 3}]},
        {"fruit": [{"type": ["pear"], "weight": 3}]},
        {"fruit": [{"type": "pear", "weight": 3, "hash": HASH.hex()}]},
        {"fruit": [{"type": "pear", "weight": True}]},
        {"fruit": [{"type": "pear", "weight": 3.0}]},
        {"fruit": [{"type": "pear", "weight": "3"}]},
        {"fruit": [["pear", 3]]},
        {"numbers": [5, 1]},
        {"numbers": [1, 1]},
        {"best": {}},
    ],
)
def test_json_of_another_shape_is_refused(changes: dict[str, Json]) -> None:
    with pytest.raises(EncodingError):
        from_json(Basket, {**JSON, **changes})


@pytest.mark.parametrize("key", list(JSON))
def test_json_with_a_missing_key_is_refused(key: str) -> None:
    with pytest.raises(EncodingError, match=f"missing.*{key}"):
        from_json(Basket, {name: value for name, value in JSON.items() if name != key})


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 1}',
        '[{"b": {"a": 1, "a": 2}}]',
        "NaN",
        "[Infinity]",
        "[-Infinity]",
        "",
        "{",
        "1 2",
        "{'a': 1}",
        "[1,]",
        "[" * 100_000,
        "9" * 5_000,
        b"\xff",
        '"é"'.encode("utf-16"),
        '"é"'.encode("utf-32"),
        b"\xef\xbb\xbf1",
    ],
)
def test_loose_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(EncodingError):
        parse_json(text)


@pytest.mark.parametrize("content", [b"\xef\xbb\xbf{}", "{}".encode("utf-16"), b"\xfe\xff\0{\0}"])
def test_a_byte_order_mark_is_refused_with_what_to_do(content: bytes) -> None:
    with pytest.raises(EncodingError, match="save the file as UTF-8 without a byte-order mark"):
        parse_json(content)


def test_json_is_as_large_as_its_limit_and_no_larger() -> None:
    assert parse_json("[1]", size_max=3) == [1]
    with pytest.raises(EncodingError, match="at most 2 bytes"):
        parse_json("[1]", size_max=2)


@pytest.mark.slow
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_any_json_value_is_refused_cleanly(value: Json) -> None:
    with pytest.raises(EncodingError):
        from_json(Basket, value)


@given(st.binary(max_size=120))
def test_any_bytes_are_refused_or_are_the_record_they_encode(data: bytes) -> None:
    try:
        record = unpack(Pear, data)
    except EncodingError:
        return
    assert pack(record) == data


def test_an_error_names_the_place_of_the_misfit() -> None:
    value = (*VALUE[:3], (("pear", 3), ("plum", HASH, "green")), *VALUE[4:])
    with pytest.raises(EncodingError) as caught:
        from_value(Basket, value)
    assert caught.value.where == "fruit[1].colour"
    assert caught.value.expected == "one of blue, red"
    assert caught.value.found == "'green'"


def test_a_field_without_a_rule_is_our_own_mistake() -> None:
    @dataclasses.dataclass(frozen=True)
    class Loose:
        anything: str

    with pytest.raises(TypeError, match="needs a rule"):
        pack(Loose("x"))
    assert hints_of(Loose) == {"anything": str}
