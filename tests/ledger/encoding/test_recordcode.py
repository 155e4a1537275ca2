"""The code generated for each shape is held to the walk over it, on every shape that the program has."""

import dataclasses
import re
import types
from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, ClassVar, Union, cast, get_args, get_origin

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.encoding.arrayform import walk_from_value, walk_to_value
from ledger.encoding.recordcode import Misfit, reader_of, writer_of
from ledger.encoding.records import from_value, to_value
from ledger.encoding.shapes import (
    NOTHING,
    Code,
    Identifier,
    Items,
    Octets,
    Record,
    Text,
    Uint,
    hints_of,
    tag_of,
)
from ledger.errors import EncodingError, LedgerError
from tests.support.recordgenerator import generate, record_classes, stale_files
from tests.support.sources import path_of

SHAPES = tuple(record_classes())

ODD = st.sampled_from(
    (None, True, -1, 0, 2**64, 1.0, "", "A", "a b", "\u0001", "x" * 70, b"", bytes(31), bytes(33), (), ((),))
)


def fitting(hint: Hashable) -> st.SearchStrategy[object]:
    """Array forms that fit a shape, at its bounds mostly."""
    if get_origin(hint) is Annotated:
        base, rule = get_args(hint)
        return plain(base, rule)
    if get_origin(hint) in (Union, types.UnionType):
        return st.sampled_from(get_args(hint)).flatmap(
            lambda each: st.none() if each is NOTHING else fitting(each)
        )
    return st.deferred(lambda: records_of(cast(type, hint)))


def plain(base: Hashable, rule: object) -> st.SearchStrategy[object]:
    match rule:
        case Uint():
            return st.sampled_from((rule.minimum, rule.maximum, min(rule.minimum + 1, rule.maximum)))
        case Octets():
            sizes = st.sampled_from((rule.minimum, min(rule.maximum, rule.minimum + 1)))
            return st.builds(lambda size, byte: bytes([byte]) * size, sizes, st.integers(0, 255))
        case Identifier():
            found = ("a", "hk-bureau", "application/json", "zh-Hant", "HK", "x" * rule.size_max)
            return st.sampled_from([text for text in found if re.fullmatch(rule.pattern, text)])
        case Code():
            return st.sampled_from(rule.allowed)
        case Text():
            return st.sampled_from(("罗湖"[: rule.size_max // 3], "a", "x" * rule.size_max))
        case Items():
            (item, *_) = get_args(base)
            most = min(rule.maximum, rule.minimum + 2)
            items = st.lists(fitting(item), min_size=rule.minimum, max_size=most)
            return items.map(sorted_once if rule.increasing else tuple)
        case _:
            raise AssertionError(f"a rule: {rule}")


def sorted_once(items: list[object]) -> tuple[object, ...]:
    try:
        return tuple(sorted(set(items)))  # type: ignore[type-var]
    except TypeError:
        return tuple(items[:1])


def records_of(shape: type) -> st.SearchStrategy[object]:
    parts = st.tuples(*map(fitting, hints_of(shape).values()))
    tag = tag_of(shape)
    return parts if tag is None else parts.map(lambda items: (tag, *items))


@st.composite
def changed(draw: st.DrawFn, shape: type) -> object:
    """An array form of which one part, anywhere in it, is another, is missing or is there twice."""
    return change(draw, draw(records_of(shape)))


def change(draw: st.DrawFn, value: object) -> object:
    if type(value) is not tuple or not value or draw(st.integers(0, 3)) == 0:
        return draw(ODD)
    place = draw(st.integers(0, len(value) - 1))
    way = draw(st.integers(0, 9))
    inner = () if way == 0 else (value[place],) * 2 if way == 1 else (change(draw, value[place]),)
    return (*value[:place], *inner, *value[place + 1 :])


def build(hint: Hashable, value: object) -> object:
    """Make of an array form what it stands for, whatever the class itself would refuse."""
    if get_origin(hint) is Annotated:
        base, rule = get_args(hint)
        items = cast("tuple[object, ...]", value)
        return tuple(build(get_args(base)[0], item) for item in items) if isinstance(rule, Items) else value
    if get_origin(hint) in (Union, types.UnionType):
        others = [option for option in get_args(hint) if option is not NOTHING]
        tag = value[0] if isinstance(value, tuple) and value else None
        chosen = others[0] if len(others) == 1 else next(each for each in others if tag_of(each) == tag)
        return None if value is None else build(chosen, value)
    assert isinstance(hint, type)
    assert isinstance(value, tuple)
    made: object = object.__new__(hint)
    parts = value if tag_of(hint) is None else value[1:]
    for (name, inner), part in zip(hints_of(hint).items(), parts, strict=True):
        object.__setattr__(made, name, build(inner, part))
    return made


def answer(function: object, *arguments: object) -> object:
    assert callable(function)
    try:
        return function(*arguments)
    except LedgerError as error:
        return type(error), str(error)


def test_the_program_has_these_shapes() -> None:
    names = {shape.__name__ for shape in SHAPES}
    assert len(SHAPES) == len(set(SHAPES)), "each has one place"
    assert {"TransactionBody", "Member", "Header", "Proof", "Grant", "FinalBlocks", "VoteCast"} <= names


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES, ids=lambda each: each.__qualname__)
def test_code_reads_and_writes_what_the_walk_reads_and_writes(shape: type[Record]) -> None:
    @settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(records_of(shape) | changed(shape))
    def check(value: object) -> None:
        read = answer(from_value, shape, value)
        assert read == answer(walk_from_value, shape, value)
        if isinstance(read, shape):
            assert reader_of(shape)(value) == read, "it was the code that read it"
            assert to_value(read) == walk_to_value(read) == writer_of(shape)(read) == value

    check()


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES, ids=lambda each: each.__qualname__)
def test_code_writes_no_field_that_does_not_fit(shape: type[Record]) -> None:
    @settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(records_of(shape), st.data())
    def check(value: object, data: st.DataObject) -> None:
        record = build(shape, value)
        assert answer(to_value, record) == answer(walk_to_value, record)
        object.__setattr__(record, data.draw(st.sampled_from(list(hints_of(shape)))), data.draw(ODD))
        assert answer(to_value, record) == answer(walk_to_value, record)

    check()


def test_what_does_not_fit_is_a_misfit_and_no_other_error() -> None:
    misfits: tuple[object, ...] = (None, 1, (), (None,) * 3, [1], {})
    for shape in SHAPES:
        for value in misfits:
            with pytest.raises(Misfit):
                reader_of(shape)(value)
            with pytest.raises(Misfit):
                writer_of(shape)(value)


def test_the_code_that_is_checked_in_is_what_the_shapes_give() -> None:
    texts = generate(SHAPES)
    assert stale_files(texts) == set()
    for name, text in texts.items():
        assert path_of(name).read_text(encoding="utf-8") == text, f"{name}: make records"


@dataclasses.dataclass(frozen=True, slots=True)
class Crate:
    """A record that no module of the program declares."""

    TAG: ClassVar[str] = "crate"

    weight: Annotated[int, Uint(9, minimum=3)]
    contents: Annotated[tuple[Annotated[bytes, Octets(1, 4)], ...], Items(3, increasing=True)]


def test_another_shape_is_other_code() -> None:
    wider = dataclasses.make_dataclass(
        "Crate",
        [("weight", Annotated[int, Uint(10, minimum=3)]), ("contents", hints_of(Crate)["contents"])],
        namespace={"TAG": "crate", "__module__": __name__},
        frozen=True,
        slots=True,
    )
    (text,), (other,) = generate([Crate]).values(), generate([wider]).values()
    assert "3 <= weight <= 9" in text and "3 <= weight <= 10" in other


def test_a_record_without_generated_code_is_walked_over() -> None:
    value = ("crate", 3, (b"a", b"b"))
    assert to_value(from_value(Crate, value)) == value == writer_of(Crate)(Crate(3, (b"a", b"b")))
    with pytest.raises(EncodingError, match=r"contents: expected items in strictly increasing order"):
        reader_of(Crate)(("crate", 3, (b"b", b"a")))


@pytest.mark.parametrize("missing", ["broken_on_purpose", "another"])
def test_code_that_cannot_be_loaded_is_a_fault(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / missing / "generated"
    folder.mkdir(parents=True)
    (folder / "boxes_records.py").write_text(f"import {missing}.generated.what_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    declared = dataclasses.make_dataclass(
        "Box", [("size", hints_of(Crate)["weight"])], namespace={"__module__": f"{missing}.boxes"}
    )
    with pytest.raises(ModuleNotFoundError, match="what_is_not_there"):
        reader_of(declared)


def test_a_field_that_would_hide_what_the_code_calls_is_refused() -> None:
    hiding = dataclasses.make_dataclass(
        "Hiding", [("len", hints_of(Crate)["weight"])], namespace={"__module__": __name__}
    )
    with pytest.raises(AssertionError, match="hide"):
        generate([hiding])
