"""Canonical bytes (docs/formats.md, Codec).

Rule 1: one value has one encoding; decode refuses every other spelling.
Rule 2: values are integers from 0 to 2**64-1, byte strings, text, arrays and None. Booleans, floats,
negative numbers, maps and extensions are refused wherever they stand.
Rule 3: text is UTF-8 of the characters that `ledger.encoding.textcharacters` lists, whatever Unicode the
interpreter carries. Records narrow it further, to ASCII identifiers.
Rule 4: size, nesting and array length are limited before memory is spent.

Whoever checks every part of a value against a shape of its own (`ledger.encoding.records`) needs no second walk over
it, and takes `encode_checked`, `decode_unchecked` and `check_spelling`. Tests hold them to `encode` and `decode`.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

import msgpack

from ledger.encoding.textcharacters import find_foreign
from ledger.errors import EncodingError

Value: TypeAlias = int | bytes | str | tuple["Value", ...] | None

CODEC_LIBRARY: Final = f"msgpack {'.'.join(map(str, msgpack.version))}"
INTEGER_MAX: Final = 2**64 - 1
ENCODED_SIZE_MAX: Final = 8 * 1024 * 1024
ARRAY_ITEMS_MAX: Final = 16_384
DEPTH_MAX: Final = 16


def _pack(value: Value) -> bytes:
    # A packer of its own for each call: one that failed halfway would keep what it had written.
    packed: bytes = msgpack.Packer(use_bin_type=True).pack(value)
    return packed


def encode(value: Value) -> bytes:
    """Return the canonical encoding of `value`. Raises EncodingError where it has none."""
    _check_value(value, DEPTH_MAX)
    return encode_checked(value)


def encode_checked(value: Value) -> bytes:
    """Return the encoding of a value whose every part its caller has checked. Raises EncodingError by its size."""
    encoded: bytes = _pack(value)
    if len(encoded) > ENCODED_SIZE_MAX:
        raise EncodingError(
            where="encoded value", expected=f"at most {ENCODED_SIZE_MAX} bytes", found=f"{len(encoded)} bytes"
        )
    return encoded


def decode(data: bytes, *, size_max: int = ENCODED_SIZE_MAX) -> Value:
    """Return the value that `data` is the canonical encoding of. Raises EncodingError for all else."""
    value = decode_unchecked(data, size_max=size_max)
    _check_value(value, DEPTH_MAX)
    check_spelling(value, data)
    return value


def decode_unchecked(data: bytes, *, size_max: int) -> Value:
    """Return what `data` spells, whatever it is: its caller checks every part, then the spelling.

    Raises EncodingError where it spells nothing.
    """
    if len(data) > size_max:
        raise EncodingError(
            where="encoded value", expected=f"at most {size_max} bytes", found=f"{len(data)} bytes"
        )
    try:
        value: Value = msgpack.unpackb(
            data,
            use_list=False,
            raw=False,
            # An item takes a byte at least; what an array only claims to hold must not be allocated.
            max_array_len=min(ARRAY_ITEMS_MAX, len(data)),
            max_map_len=0,
            max_ext_len=0,
        )
    except (ValueError, msgpack.exceptions.UnpackException, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise EncodingError(
            where="encoded value", expected="one canonical MessagePack value", found=reason
        ) from error
    return value


def check_spelling(value: Value, data: bytes) -> None:
    """Check that a checked value's one encoding is `data`. Raises EncodingError."""
    if _pack(value) != data:
        raise EncodingError(
            where="encoded value", expected="the shortest encoding of each item", found="a longer spelling"
        )


def _check_value(value: object, depth_left: int) -> None:
    kind = type(value)
    if kind is tuple:
        if depth_left == 0:
            raise EncodingError(
                where="encoded value", expected=f"at most {DEPTH_MAX} levels of arrays", found="more"
            )
        items: Sequence[object] = value  # type: ignore[assignment]
        if len(items) > ARRAY_ITEMS_MAX:
            raise EncodingError(
                where="array", expected=f"at most {ARRAY_ITEMS_MAX} items", found=f"{len(items)}"
            )
        for item in items:
            _check_value(item, depth_left - 1)
    elif kind is bytes or value is None:
        return
    elif kind is int:
        if not 0 <= value <= INTEGER_MAX:  # type: ignore[operator]
            raise EncodingError(where="integer", expected=f"0 to {INTEGER_MAX}", found=f"{value}")
    elif kind is str:
        check_text(value)  # type: ignore[arg-type]
    else:
        raise EncodingError(
            where="encoded value", expected="an integer, bytes, text, array or None", found=kind.__name__
        )


def check_text(text: str) -> None:
    """Check rule 3. Raises EncodingError."""
    foreign = find_foreign(text)
    if foreign is not None:
        raise EncodingError(
            where="text", expected="the characters that text may hold", found=f"U+{ord(foreign):04X}"
        )
