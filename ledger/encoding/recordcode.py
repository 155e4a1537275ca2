"""Readers and writers of records as straight-line code, made once for each shape.

Rule 1: what is made here decides nothing of its own. It passes what the walk of `ledger.encoding.records` passes, with
the same result, and raises Misfit for all else; then the walk is asked, which says where it is wrong and what was
expected.
Rule 2: code is made of shapes, which are part of the program, and never of data.
"""

import dataclasses
import re
import types
from collections.abc import Callable, Hashable
from functools import cache, lru_cache, partial
from itertools import pairwise
from typing import Annotated, Final, Union, cast, get_args, get_origin

from ledger.encoding.codec import Value
from ledger.encoding.shapes import NOTHING, Code, Identifier, Items, Octets, Text, Uint, hints_of, tag_of
from ledger.encoding.textcharacters import find_foreign
from ledger.errors import EncodingError

IDENTIFIERS_CACHED_MAX: Final = 4_096

Convert = Callable[[object], object]


class Misfit(EncodingError):
    """A value that does not fit its shape. The walk says more."""

    def __init__(self) -> None:
        super().__init__(where="", expected="a value that fits its shape", found="another")


@cache
def reader_of(hint: Hashable) -> Convert:
    """Return the function that takes an array form to what it stands for. It raises Misfit."""
    return _make(hint, is_reading=True)


@cache
def writer_of(hint: Hashable) -> Callable[[object], Value]:
    """Return the function that takes a record to its array form. It raises Misfit."""
    return cast(Callable[[object], Value], _make(hint, is_reading=False))


def _make(hint: Hashable, *, is_reading: bool) -> Convert:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return (_reader if is_reading else _writer)(hint)
    function = _Function(is_reading=is_reading)
    function.convert("x", hint)
    return function.compile("return x")


def _reader(record_class: type) -> Convert:
    function, tag = _Function(is_reading=True), tag_of(record_class)
    names = [f"x{place}" for place in range(len(hints_of(record_class)))]
    targets = names if tag is None else ["tag", *names]
    function.require(f"type(x) is tuple and len(x) == {len(targets)}")
    function.add(f"{', '.join(targets)}, = x")
    if tag is not None:
        function.require(f"tag == {tag!r}")
    for name, hint in zip(names, hints_of(record_class).values(), strict=True):
        function.convert(name, hint)
    return function.compile(function.construct(record_class, names))


def _writer(record_class: type) -> Convert:
    function, tag = _Function(is_reading=False), tag_of(record_class)
    function.require(f"type(x) is {function.bind(record_class)}")
    names = []
    for place, (field, hint) in enumerate(hints_of(record_class).items()):
        names.append(f"x{place}")
        function.add(f"x{place} = x.{field}")
        function.convert(f"x{place}", hint)
    return function.compile(
        f"return ({''.join(f'{item}, ' for item in ([] if tag is None else [repr(tag)]) + names)})"
    )


class _Function:
    """The source of a function of `x`, line by line, and the objects that it names."""

    def __init__(self, *, is_reading: bool) -> None:
        self._is_reading = is_reading
        self._lines: list[str] = []
        self._indent = 1
        self._names: dict[str, object] = {"Misfit": Misfit, "pairwise": pairwise}

    def compile(self, last: str) -> Convert:
        self.add(last)
        source = "\n".join(("def convert(x):", *self._lines))
        # Compiled first: exec of a text that an interruption falls into ends the process by that signal, caught or not.
        exec(compile(source, "<record>", "exec"), self._names)
        return cast(Convert, self._names["convert"])

    def add(self, line: str) -> None:
        self._lines.append("    " * self._indent + line)

    def require(self, condition: str) -> None:
        self.add(f"if not ({condition}): raise Misfit")

    def bind(self, value: object) -> str:
        """Return the name under which the code finds an object."""
        name = f"o{len(self._names)}"
        self._names[name] = value
        return name

    def construct(self, record_class: type, names: list[str]) -> str:
        """Return the line that makes a record of variables, in the order of its fields."""
        if hasattr(record_class, "__post_init__"):
            return f"return {self.bind(record_class)}({', '.join(names)})"
        # What the class's own __init__ does, but for looking each field up again: half its time.
        self.add(f"made = {self.bind(object.__new__)}({self.bind(record_class)})")
        for field, name in zip(hints_of(record_class), names, strict=True):
            slot = record_class.__dict__[field]
            assert isinstance(slot, types.MemberDescriptorType), (
                f"{record_class.__name__}: records have slots"
            )
            self.add(f"{self.bind(slot.__set__)}(made, {name})")
        return "return made"

    def convert(self, name: str, hint: Hashable) -> None:
        """Check the variable `name` against a shape, and make of it what the shape says."""
        if get_origin(hint) is Annotated:
            base, rule = get_args(hint)
            if isinstance(rule, Items):
                self._convert_items(name, get_args(base)[0], rule)
            else:
                self.require(self._plain(name, rule))
        elif get_origin(hint) in (Union, types.UnionType):
            self._convert_union(name, get_args(hint))
        elif dataclasses.is_dataclass(hint):
            self.add(f"{name} = {self._converter(hint)}({name})")
        else:
            raise TypeError(f"a record field needs a rule: {hint!r}")

    def _plain(self, name: str, rule: object) -> str:
        match rule:
            case Uint():
                return f"type({name}) is int and {rule.minimum} <= {name} <= {rule.maximum}"
            case Octets():
                return f"type({name}) is bytes and {_size_within(name, rule)}"
            case Identifier():
                fits = self.bind(_identifier_check(rule.pattern))
                return f"type({name}) is str and len({name}) <= {rule.size_max} and {fits}({name})"
            case Code():
                return f"type({name}) is str and {name} in {self.bind(frozenset(rule.allowed))}"
            case Text():
                return f"type({name}) is str and {self.bind(partial(_is_text, rule.size_max))}({name})"
            case _:
                raise TypeError(f"unknown field rule {rule!r}")

    def _convert_items(self, name: str, item: Hashable, rule: Items) -> None:
        self.require(f"type({name}) is tuple and {rule.minimum} <= len({name}) <= {rule.maximum}")
        before = name
        is_octets = get_origin(item) is Annotated and isinstance(get_args(item)[1], Octets)
        if is_octets and get_args(item)[1].minimum == get_args(item)[1].maximum:
            # Of one size, hashes mostly: looked at all at once.
            kinds, sizes = self.bind(frozenset({bytes})), self.bind(frozenset({get_args(item)[1].minimum}))
            self.require(f"set(map(type, {name})) <= {kinds} and set(map(len, {name})) <= {sizes}")
        else:
            before, made = f"{name}_before", self._converter(item)
            self.add(f"{before} = {name}")
            self.add(f"{name} = tuple([{made}(item) for item in {name}])")
        if rule.increasing:
            encoded = before if self._is_reading else name
            self.require(f"all([low < high for low, high in pairwise({encoded})])")

    def _convert_union(self, name: str, options: tuple[Hashable, ...]) -> None:
        others = tuple(option for option in options if option is not NOTHING)
        if len(others) < len(options):
            self.add(f"if {name} is not None:")
            self._indent += 1
            self.convert(name, others[0] if len(others) == 1 else Union[others])  # noqa: UP007 - made of data
            self._indent -= 1
            return
        classes = [cast(type, option) for option in others]
        if self._is_reading:
            by_tag = self.bind({tag_of(each): self._lazy(each) for each in classes})
            self.require(
                f"type({name}) is tuple and {name} and type({name}[0]) is str and {name}[0] in {by_tag}"
            )
            self.add(f"{name} = {by_tag}[{name}[0]]()({name})")
        else:
            by_class = self.bind({each: self._lazy(each) for each in classes})
            self.require(f"type({name}) in {by_class}")
            self.add(f"{name} = {by_class}[type({name})]()({name})")

    def _lazy(self, hint: Hashable) -> Callable[[], Convert]:
        return cast("Callable[[], Convert]", partial(reader_of if self._is_reading else writer_of, hint))

    def _converter(self, hint: Hashable) -> str:
        return self.bind(reader_of(hint) if self._is_reading else writer_of(hint))


def _size_within(name: str, rule: Octets) -> str:
    if rule.minimum == rule.maximum:
        return f"len({name}) == {rule.minimum}"
    return f"{rule.minimum} <= len({name}) <= {rule.maximum}"


@cache
def _identifier_check(pattern: str) -> Callable[[str], bool]:
    """Identifiers are few and come again and again. Whoever asks has bounded their size."""
    matches = re.compile(pattern, re.ASCII).fullmatch
    return lru_cache(IDENTIFIERS_CACHED_MAX)(lambda text: matches(text) is not None)


def _is_text(size_max: int, text: str) -> bool:
    return 1 <= len(text.encode("utf-8", "replace")) <= size_max and find_foreign(text) is None
