"""Seeded random changes of the corpus: the fuzzer for machines without atheris, and for every test run."""

import random

from tests.campaigns.fuzz.corpus import FOLDER
from tests.campaigns.fuzz.targets import Target

SIZE_MAX = 20_000


def find_failure(target: Target, name: str, *, seed: int, tries: int) -> str | None:
    """Return how a target failed, with the input in hexadecimal, or None."""
    chance = random.Random(f"{seed} {name}")
    corpus = [path.read_bytes() for path in sorted((FOLDER / name).iterdir())]
    for number in range(-len(corpus), tries):
        data = corpus[number] if number < 0 else changed(chance, corpus)
        try:
            target(data)
        except Exception as error:  # noqa: BLE001 - anything that escapes a target is what is looked for
            return f"{type(error).__name__}: {error}; input {data.hex()}"
    return None


def changed(chance: random.Random, corpus: list[bytes]) -> bytes:
    """Return an entry with one to four changes."""
    data = bytearray(chance.choice(corpus))
    for _ in range(chance.randint(1, 4)):
        _change(chance, data, corpus)
    return bytes(data[:SIZE_MAX])


def _change(chance: random.Random, data: bytearray, corpus: list[bytes]) -> None:
    place = chance.randrange(len(data) + 1)
    match chance.randrange(7):
        case 0 if data:
            data[place % len(data)] ^= 1 << chance.randrange(8)
        case 1 if data:
            data[place % len(data)] = chance.choice(
                b"\x00\x7f\x80\x90\x9f\xa0\xc0\xc2\xc4\xcc\xcf\xd9\xdc\xdd\xff"
            )
        case 2:
            del data[place : place + chance.randint(1, 8)]
        case 3:
            data[place:place] = chance.randbytes(chance.randint(1, 8))
        case 4:
            data[place : place + 4] = chance.randbytes(4)
        case 5:
            end = place + chance.randint(1, 64)
            data[place:place] = data[place:end]
        case _:
            other = chance.choice(corpus)
            start = chance.randrange(len(other) + 1)
            data[place : place + 32] = other[start : start + 32]
