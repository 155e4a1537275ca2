"""What callers may pass to the functions that others import, checked before anything is done with it.

Rule 1: what no input could make right is refused as WrongCall, with the words to write instead.
Rule 2: bytes are what offers them as one buffer, side by side, in any format: bytes, bytearray, memoryview, mmap, an
array. A view with gaps is refused: which bytes it stands for, in which order, its owner says with `tobytes()`.
Rule 3: a number is a whole one, an int or what says of itself that it is one (`__index__`). A float has lost digits
before it comes here, and a bool is a slip: both are refused, whatever their value.
Rule 4: what an error says of an argument is its type and size, and of a number its value: never what a text or bytes
hold, which may be a secret in the wrong place.
"""

from operator import index
from typing import Final, TypeVar

from ledger.errors import WrongCall

MILLISECONDS_MAX: Final = 2**53 - 1
"""The last time that a record can hold, in milliseconds of the Unix epoch."""

_BITS_SHOWN_MAX: Final = 128

T = TypeVar("T")


def describe(value: object) -> str:
    """Say what an argument is (rule 4)."""
    kind = type(value).__name__
    if value is None:
        return "None"
    if isinstance(value, int) and value.bit_length() > _BITS_SHOWN_MAX:
        return f"{kind} of {value.bit_length()} bits"
    if isinstance(value, int | float):
        return f"{kind} {value!r}"
    if isinstance(value, str):
        return f"{kind} of {len(value)} characters"
    return kind


def require_instance(where: str, value: object, kind: type[T], *, cure: str) -> T:
    """Return an argument that is of its class. Raises WrongCall."""
    if not isinstance(value, kind):
        raise WrongCall(where=where, expected=kind.__name__, found=describe(value), cure=cure)
    return value


def require_each(where: str, values: object, kind: type[T], *, cure: str) -> tuple[T, ...]:
    """Return the items of a list or tuple, each of a class. A text is no list of its letters. Raises WrongCall."""
    expected = f"a list or tuple of {kind.__name__}"
    if not isinstance(values, list | tuple):
        raise WrongCall(where=where, expected=expected, found=describe(values), cure=cure)
    for item in values:
        if not isinstance(item, kind):
            raise WrongCall(where=where, expected=expected, found=f"one with {describe(item)}", cure=cure)
    return tuple(values)


def require_whole(where: str, value: object, *, maximum: int, unit: str, cure: str) -> int:
    """Return a whole number from 0 to `maximum` (rule 3). Raises WrongCall."""
    expected = f"a whole number of {unit}, from 0 to {maximum}"
    if isinstance(value, bool):
        raise WrongCall(where=where, expected=expected, found=describe(value), cure=cure)
    try:
        number = index(value)  # type: ignore[arg-type]
    except TypeError as error:
        raise WrongCall(where=where, expected=expected, found=describe(value), cure=cure) from error
    if not 0 <= number <= maximum:
        raise WrongCall(where=where, expected=expected, found=describe(number), cure=cure)
    return number


def require_time(where: str, value: object) -> int:
    """Return a time in milliseconds of the Unix epoch. Raises WrongCall."""
    cure = "The present is time.time_ns() // 1_000_000."
    return require_whole(
        where, value, maximum=MILLISECONDS_MAX, unit="milliseconds of the Unix epoch, UTC", cure=cure
    )


def require_duration(where: str, value: object) -> int:
    """Return a duration in milliseconds. Raises WrongCall."""
    cure = "A day is 24 * 3_600_000; without a limit, 2**53 - 1."
    return require_whole(where, value, maximum=MILLISECONDS_MAX, unit="milliseconds", cure=cure)


def find_view(where: str, value: object) -> memoryview | None:
    """Return the bytes that an argument offers as a buffer (rule 2), or None where it offers none. Raises WrongCall."""
    try:
        view = memoryview(value)  # type: ignore[arg-type]
    except TypeError:
        return None
    except (ValueError, BufferError) as error:
        raise WrongCall(
            where=where,
            expected="bytes",
            found=f"{describe(value)}: {error}",
            cure="Give it while it is open.",
        ) from error
    if not view.c_contiguous:
        cure = "Give view.tobytes()."
        raise WrongCall(where=where, expected="bytes side by side", found="a view with gaps", cure=cure)
    return view if view.format == "B" and view.ndim == 1 else memoryview(view.tobytes())


def require_bytes(where: str, value: object, *, cure: str, size: int | None = None) -> bytes:
    """Return an argument as bytes, of a size where one is given. Raises WrongCall."""
    view = value if type(value) is bytes else find_view(where, value)
    if view is None:
        raise WrongCall(where=where, expected="bytes", found=describe(value), cure=cure)
    if size is not None and len(view) != size:
        raise WrongCall(where=where, expected=f"{size} bytes", found=f"{len(view)}", cure=cure)
    return bytes(view)


def require_json_text(where: str, value: object, *, cure: str) -> str | bytes:
    """Return the content of a JSON file, as bytes or as text. Raises WrongCall, also for a path."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        return value
    return require_bytes(where, value, cure=cure)
