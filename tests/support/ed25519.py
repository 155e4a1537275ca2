"""Ed25519 in plain integers (RFC 8032, section 5.1), for vectors and as a second witness of what is accepted.

Points are affine pairs of integers below the field's prime. Slow and not constant in time: for tests only.
"""

import hashlib
from typing import Final

Point = tuple[int, int]

FIELD: Final = 2**255 - 19
ORDER: Final = 2**252 + 27742317777372353535851937790883648493
COFACTOR: Final = 8
_D: Final = -121665 * pow(121666, -1, FIELD) % FIELD
_ROOT_OF_MINUS_ONE: Final = pow(2, (FIELD - 1) // 4, FIELD)
NEUTRAL: Final[Point] = (0, 1)


def add(one: Point, other: Point) -> Point:
    """Return the sum of two points on the curve."""
    (x1, y1), (x2, y2) = one, other
    product = _D * x1 * x2 * y1 * y2 % FIELD
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, FIELD) % FIELD
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, FIELD) % FIELD
    return x, y


def multiply(scalar: int, point: Point) -> Point:
    """Return a point added to itself `scalar` times."""
    found = NEUTRAL
    while scalar:
        if scalar & 1:
            found = add(found, point)
        point, scalar = add(point, point), scalar >> 1
    return found


def encode(point: Point) -> bytes:
    """Return the 32 bytes of a point."""
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


def decode(data: bytes) -> Point | None:
    """Return the point of 32 bytes; None where they are not the one encoding of a point on the curve."""
    whole = int.from_bytes(data, "little")
    sign, y = whole >> 255, whole & (1 << 255) - 1
    if y >= FIELD:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, -1, FIELD) % FIELD
    x = pow(square, (FIELD + 3) // 8, FIELD)
    if x * x % FIELD != square:
        x = x * _ROOT_OF_MINUS_ONE % FIELD
    if x * x % FIELD != square or (x == 0 and sign):
        return None
    return (x if x & 1 == sign else FIELD - x), y


BASE: Final[Point] = decode((4 * pow(5, -1, FIELD) % FIELD).to_bytes(32, "little")) or NEUTRAL


def torsion(order: int) -> Point:
    """Return a point of order 2, 4 or 8: none of these is of the prime-order group."""
    candidate = 2
    while True:
        point = decode(candidate.to_bytes(32, "little"))
        candidate += 1
        if point is None:
            continue
        found = multiply(ORDER, point)
        while found != NEUTRAL and multiply(order, found) != NEUTRAL:
            found = add(found, found)
        if multiply(order, found) == NEUTRAL and multiply(order // 2, found) != NEUTRAL:
            return found


def challenge(commitment: bytes, key: bytes, message: bytes) -> int:
    """Return the scalar by which the key is multiplied."""
    return int.from_bytes(hashlib.sha512(commitment + key + message).digest(), "little") % ORDER


def is_of_prime_order(data: bytes) -> bool:
    """Say whether 32 bytes are the one encoding of a point of prime order."""
    point = decode(data)
    return point is not None and point != NEUTRAL and multiply(ORDER, point) == NEUTRAL


def accepts(key: bytes, message: bytes, signature: bytes) -> bool:
    """Say whether a signature is accepted: cofactorless, canonical S, key and R of more than small order."""
    commitment, scalar = signature[:32], int.from_bytes(signature[32:], "little")
    point, committed = decode(key), decode(commitment)
    if len(signature) != 64 or scalar >= ORDER or point is None or committed is None:
        return False
    if NEUTRAL in (multiply(COFACTOR, point), multiply(COFACTOR, committed)):
        return False
    expected = add(committed, multiply(challenge(commitment, key, message), point))
    return multiply(scalar, BASE) == expected
