"""Make `ledger/encoding/signaturevectors.py`: signatures and keys on which libraries are known to differ.

Run `python -m tests.vectors.make_signatures` at the top of the repository. What is accepted is worked out in plain
integers (`tests/support/ed25519.py`), never asked of the library that the vectors are there to judge.
The kinds are those of "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko, 2020), section 5; the bytes are ours.
"""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support import ed25519
from tests.support.ed25519 import Point
from tests.support.sources import ROOT

PATH = ROOT / "ledger" / "encoding" / "signaturevectors.py"
TORSIONS = (2, 4, 8)
MESSAGE = b"luohu: which signatures are accepted"
HEAD = '''"""Signatures and keys on which libraries are known to differ.

Made by `python -m tests.vectors.make_signatures`.

Each signature with its key and message, and whether it is accepted; each key, and whether it is of prime order.
"""

from typing import Final

'''

Signature = tuple[str, bytes, bytes, bytes]


def scalar_of(name: str) -> int:
    """Return a number that is the same in every run."""
    return int.from_bytes(hashlib.sha512(name.encode()).digest(), "little") % ed25519.ORDER


def sign(secret: int, key: Point, name: str, *, extra: Point = ed25519.NEUTRAL) -> bytes:
    """Return what a holder of `secret` can sign under `key`, which may have a torsion beside it."""
    number = scalar_of(name)
    commitment = ed25519.encode(ed25519.add(ed25519.multiply(number, ed25519.BASE), extra))
    k = ed25519.challenge(commitment, ed25519.encode(key), MESSAGE)
    return commitment + ((number + k * secret) % ed25519.ORDER).to_bytes(32, "little")


def signatures() -> Iterator[Signature]:
    """Yield name, key, message and signature of each."""
    secret = scalar_of("secret")
    public = ed25519.multiply(secret, ed25519.BASE)
    key, honest = ed25519.encode(public), sign(secret, public, "honest")
    yield "honest", key, MESSAGE, honest
    yield "honest, of another message", key, MESSAGE + b".", honest
    beyond = int.from_bytes(honest[32:], "little") + ed25519.ORDER
    yield "S beyond the group's order", key, MESSAGE, honest[:32] + beyond.to_bytes(32, "little")
    yield from _of_small_order(secret, public)
    for order in TORSIONS:
        extra = ed25519.torsion(order)
        mixed = ed25519.add(public, extra)
        yield from _under_mixed_key(secret, mixed, order)
        under = sign(secret, public, f"R {order}", extra=extra)
        yield f"R with a torsion of {order}", key, MESSAGE, under


def _of_small_order(secret: int, public: Point) -> Iterator[Signature]:
    """Yield signatures whose equation holds, by a key or an R that lies in the small group, or is spelled otherwise."""
    torsion = ed25519.torsion(ed25519.COFACTOR)
    small = [ed25519.multiply(number, torsion) for number in range(ed25519.COFACTOR)]
    number = scalar_of("small")
    apart = ed25519.multiply(number, ed25519.BASE)
    for name, key, commitments, plain in (
        ("key and R of small order", torsion, small, 0),
        ("key of small order", torsion, [ed25519.add(apart, each) for each in small], number),
        ("R of small order", ed25519.add(public, torsion), small, 0),
    ):
        yield _first_that_holds(
            name, ed25519.encode(key), commitments, plain, 0 if key == torsion else secret
        )
    beyond = (ed25519.FIELD + 1).to_bytes(32, "little")
    k = ed25519.challenge(beyond, ed25519.encode(public), MESSAGE)
    scalar = (k * secret % ed25519.ORDER).to_bytes(32, "little")
    yield "R that is not canonical", ed25519.encode(public), MESSAGE, beyond + scalar
    yield "key that is not canonical", beyond, MESSAGE, ed25519.encode(apart) + number.to_bytes(32, "little")


def _first_that_holds(name: str, key: bytes, commitments: list[Point], plain: int, secret: int) -> Signature:
    point = ed25519.decode(key)
    assert point is not None, "a key on the curve"
    for attempt in range(1_000):
        message = MESSAGE + bytes([attempt % 256, attempt // 256])
        for committed in commitments:
            encoded = ed25519.encode(committed)
            k = ed25519.challenge(encoded, key, message)
            scalar = (plain + k * secret) % ed25519.ORDER
            if ed25519.multiply(scalar, ed25519.BASE) == ed25519.add(committed, ed25519.multiply(k, point)):
                return name, key, message, encoded + scalar.to_bytes(32, "little")
    raise AssertionError(f"no signature with a {name} was found")


def _under_mixed_key(secret: int, mixed: Point, order: int) -> Iterator[Signature]:
    """Yield one signature whose challenge cancels the key's torsion, and one whose challenge does not."""
    missing = {True, False}
    attempt = 0
    while missing:
        signature = sign(secret, mixed, f"key {order}, {attempt}")
        key = ed25519.encode(mixed)
        cancels = ed25519.challenge(signature[:32], key, MESSAGE) % order == 0
        attempt += 1
        if cancels in missing:
            missing.remove(cancels)
            name = "cancels" if cancels else "does not cancel"
            yield f"key with a torsion of {order} that the challenge {name}", key, MESSAGE, signature


def keys() -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of each key."""
    public = ed25519.multiply(scalar_of("secret"), ed25519.BASE)
    yield "honest", ed25519.encode(public)
    yield "the neutral element", ed25519.encode(ed25519.NEUTRAL)
    for order in TORSIONS:
        yield f"of order {order}", ed25519.encode(ed25519.torsion(order))
        mixed = ed25519.add(public, ed25519.torsion(order))
        yield f"with a torsion of {order}", ed25519.encode(mixed)
    yield "not canonical", (ed25519.FIELD + 1).to_bytes(32, "little")
    off_curve = next(y for y in range(2, 100) if ed25519.decode(y.to_bytes(32, "little")) is None)
    yield "not on the curve", off_curve.to_bytes(32, "little")


def _shown(data: bytes) -> str:
    return f'bytes.fromhex("{data.hex()}")'


def text() -> str:
    """Return the module's source, formatted."""
    lines = [HEAD, "SIGNATURES: Final = (\n"]
    for name, key, message, signature in signatures():
        accepted = ed25519.accepts(key, message, signature)
        lines.append(f'("{name}", {_shown(key)}, {_shown(message)}, {_shown(signature)}, {accepted}),\n')
    lines.append(')\n"""Name, 32-byte key, message, 64-byte signature, and whether it is accepted."""\n\n')
    lines.append("KEYS: Final = (\n")
    for name, key in keys():
        lines.append(f'("{name}", {_shown(key)}, {ed25519.is_of_prime_order(key)}),\n')
    lines.append(')\n"""Name, 32-byte key, and whether it is of prime order."""\n')
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(PATH), "-"]
    formatted = subprocess.run(command, input="".join(lines), capture_output=True, text=True, check=True)
    return formatted.stdout


def main(path: Path = PATH) -> None:
    """Write the module."""
    path.write_text(text())


if __name__ == "__main__":
    main()
