"""The code made for each shape is held to the walk over it, on every shape that the program has."""

import dataclasses
import importlib
import os
import pkgutil
import re
import subprocess
import sys
import types
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Annotated, Union, cast, get_args, get_origin

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ledger
import node
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
from ledger.errors import LedgerError


def record_classes() -> Iterator[type]:
    """Every class of the program whose annotations are a shape."""
    for package in (ledger, node):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(found.name)
            for value in vars(module).values():
                if isinstance(value, type) and value.__module__ == found.name and is_record(value):
                    yield value


def is_record(value: type) -> bool:
    if not dataclasses.is_dataclass(value) or not hints_of_safely(value):
        return False
    return all(has_rule(hint) for hint in hints_of_safely(value).values())


def hints_of_safely(value: type) -> dict[str, Hashable]:
    try:
        return hints_of(value)
    except NameError:
        # An annotation that only the type checker imports: no shape.
        return {}


def has_rule(hint: Hashable) -> bool:
    if get_origin(hint) is Annotated:
        return True
    if get_origin(hint) in (Union, types.UnionType):
        return all(option is NOTHING or has_rule(option) for option in get_args(hint))
    return isinstance(hint, type) and is_record(hint)


SHAPES = sorted(set(record_classes()), key=lambda each: (each.__module__, each.__name__))

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
            found = ("a", "hk-bureau", "application/json", "zh-Hant", "x" * rule.size_max)
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
    assert {"TransactionBody", "Member", "Header", "Proof", "Grant", "FinalBlocks", "VoteCast"} <= names


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


INTERRUPTED_WHILE_MADE = """
import sys
from ledger.encoding.recordcode import _Function

function = _Function(is_reading=True)
function.add("return x")
function._lines.append("raise KeyboardInterrupt")
try:
    function.compile("# what comes last")
except KeyboardInterrupt:
    sys.exit(7)
"""


def test_an_interruption_while_code_is_made_is_one_that_can_be_caught(tmp_path: Path) -> None:
    (tmp_path / "interrupted.py").write_text(INTERRUPTED_WHILE_MADE)
    command, paths = [sys.executable, "-m", "interrupted"], os.pathsep.join((str(tmp_path), *sys.path))
    ended = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, check=False, timeout=60)
    assert ended.returncode == 7
