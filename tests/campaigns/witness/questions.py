"""Random questions for the two witnesses, the library and the page in web/: both must give the same answer.

Each is drawn from one random.Random. On the same code and vectors the same one draws the same question.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from ledger.encoding.codec import INTEGER_MAX, Value, decode, encode
from ledger.encoding.records import Json
from ledger.errors import LedgerError
from ledger.proofs import PROOF_MAGIC
from ledger.requests import REQUEST_MAGIC
from ledger.trust import trusted_root_to_json
from tests.attacks.forge import Shown, honest
from tests.campaigns.fuzz.random_changes import changed
from tests.vectors.pinned import (
    PRESENT_VECTORS,
    VECTORS,
    document_of,
    proofs,
    request_of,
    trust_of,
)

SIZE_MAX: Final = 100_000
"""The largest document and proof that is changed, in bytes: pinned ones of many chunks are asked as they are."""

ODD_INTEGERS: Final = (0, 1, 63, 64, 127, 128, 255, 256, 2**16, 2**32, 2**53 - 1, 2**53, 2**63, INTEGER_MAX)
JUNK: Final = (
    " ", "\n", "\t", "\x0b", "\u00a0", "\u2028", "\ufeff", "\0", ",", '"', "0", "-", "null", "true",
    "{}", "[]", "9" * 30, "\\u0041", "\\ud800", '"__proto__":1,',
)  # fmt: skip
ODD_VALUES: Final[tuple[Json, ...]] = (
    0, 1, -1, 2**53 - 1, 2**53, INTEGER_MAX, INTEGER_MAX + 1, 1.5, True, None, [], {}, "", "x", "hk-bank",
    "00" * 32, "A0" * 32,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """What a bank asks: the contents of its files, and the time. Without a request, about the anchor alone.

    `time_ms` is the present by the bank's clock where the question `is_present`, a past time otherwise.
    """

    trust: bytes
    document: bytes
    proof: bytes
    request: bytes | None
    time_ms: int
    is_present: bool
    max_age_ms: int
    suspended_issuer: str


def question_of(shown: Shown) -> Question:
    """Return what a bank asks that was handed this."""
    return Question(
        trust=json.dumps(trusted_root_to_json(shown.trust)).encode(),
        document=shown.document,
        proof=shown.proof_bytes,
        request=shown.request.encode(),
        time_ms=shown.at_ms,
        is_present=shown.is_present,
        max_age_ms=shown.max_age_ms,
        suspended_issuer=shown.suspended_issuer.value,
    )


def pinned() -> dict[str, Question]:
    """Return the question of each pinned proof, by the name of its case."""
    return {
        case["name"]: Question(
            trust_of(case, vectors),
            document_of(case, vectors),
            proof,
            None if "anchor_verdict" in case else request_of(case, vectors),
            case["now_ms"] if "now_ms" in case else case["at_ms"],
            "now_ms" in case,
            case["max_age_ms"],
            case["suspended_issuer"],
        )
        for vectors in (VECTORS, PRESENT_VECTORS)
        for case, proof in proofs(vectors)
    }


def _parts(value: object) -> list[Any]:
    """Return a value with all that it holds, in encodings inside of it as well."""
    if isinstance(value, dict):
        return [value, *(part for item in value.values() for part in _parts(item))]
    if isinstance(value, list | tuple):
        return [value, *(part for item in value for part in _parts(item))]
    if isinstance(value, bytes):
        inner = _decoded(value)
        return [value] if inner is None else [value, *_parts(inner)]
    return [value]


def _decoded(data: bytes) -> tuple[Value, ...] | None:
    """Return the array that bytes are the encoding of, if they are one."""
    try:
        value = decode(data)
    except LedgerError:
        return None
    return value if isinstance(value, tuple) else None


PINNED: Final = [each for each in pinned().values() if len(each.proof) + len(each.document) < SIZE_MAX]
_PROOF_PARTS: Final = [part for question in PINNED for part in _parts(question.proof[len(PROOF_MAGIC) :])]
_REQUEST_PARTS: Final = [
    part for question in PINNED for part in _parts((question.request or b"")[len(REQUEST_MAGIC) :])
]
_ROOT_PARTS: Final = [part for question in PINNED for part in _parts(json.loads(question.trust))]
_FIRST_HASH: Final = honest().chain.tips[0].encoded_header.hash.hex()
_PINS: Final = [pin for question in PINNED for pin in json.loads(question.trust)["checkpoints"]]
_TIMES_MS: Final = sorted(
    {
        part
        for part in (*_PROOF_PARTS, *_REQUEST_PARTS, *_ROOT_PARTS)
        if isinstance(part, int) and 10**12 < part < 2**53
    }
)


def crossed(chance: random.Random) -> Question:
    """Return a pinned question with one to four of its parts from others, or a time at or beside a recorded one."""
    question = chance.choice(PINNED)
    for _ in range(chance.randint(1, 4)):
        other = chance.choice(PINNED)
        match chance.randrange(8):
            case 0:
                question = replace(question, trust=other.trust)
            case 1:
                question = replace(question, document=other.document)
            case 2:
                question = replace(question, request=other.request)
            case 3:
                time_ms = chance.choice(_TIMES_MS) + chance.choice((-60_001, -60_000, -1, 0, 1))
                question = replace(question, time_ms=min(time_ms, 2**53 - 1))
            case 4:
                question = replace(question, max_age_ms=other.max_age_ms)
            case 5:
                question = replace(question, suspended_issuer=other.suspended_issuer)
            case 6:
                question = replace(question, is_present=not question.is_present)
            case _:
                question = replace(question, request=None)
    return question


def altered_proof(chance: random.Random) -> Question:
    """Return a pinned question with a change of its proof."""
    question = chance.choice(PINNED)
    proof = _altered_file(chance, question.proof, len(PROOF_MAGIC), _PROOF_PARTS)
    return replace(question, proof=proof)


def altered_request(chance: random.Random) -> Question:
    """Return a pinned question with a change of its request."""
    question = chance.choice([question for question in PINNED if question.request is not None])
    assert question.request is not None
    request = _altered_file(chance, question.request, len(REQUEST_MAGIC), _REQUEST_PARTS)
    return replace(question, request=request)


def altered_root(chance: random.Random) -> Question:
    """Return a pinned question with a change of its trusted root, in the text or in what the text says."""
    question = chance.choice(PINNED)
    change = chance.choice((_altered_text, _altered_number, _altered_json))
    return replace(question, trust=change(chance, question.trust.decode()).encode("utf-8", "surrogatepass"))


def _altered_file(chance: random.Random, data: bytes, start: int, parts: list[Any]) -> bytes:
    """Change a value inside a file, or any of its bytes."""
    value = _decoded(data[start:])
    if value is None or chance.random() < 0.2:
        return changed(chance, [data])
    for _ in range(chance.choice((1, 1, 1, 2))):
        value = _altered(chance, value, parts)
    return data[:start] + encode(value)


def _altered(chance: random.Random, value: Any, parts: list[Any]) -> Any:  # noqa: ANN401
    """Return a value with one change somewhere inside."""
    match value:
        case tuple() if value and chance.random() < 0.93:
            place = chance.randrange(len(value))
            return (*value[:place], _altered(chance, value[place], parts), *value[place + 1 :])
        case tuple():
            return _altered_array(chance, value, parts)
        case bytes():
            inner = _decoded(value)
            if inner is not None and chance.random() < 0.8:
                return encode(_altered(chance, inner, parts))
            return _altered_bytes(chance, value, parts)
        case int():
            near = (max(0, value - 1), min(INTEGER_MAX, value + 1), chance.choice(ODD_INTEGERS))
            return chance.choice((*near, _alike(chance, value, parts)))
        case str():
            return chance.choice((value + "x", value[:-1], _alike(chance, value, parts)))
        case _:
            return chance.choice(parts)


def _altered_array(chance: random.Random, value: tuple[Any, ...], parts: list[Any]) -> Any:  # noqa: ANN401
    items = list(value)
    if not items:
        return chance.choice(parts)
    place, other = chance.randrange(len(items)), chance.randrange(len(items))
    match chance.randrange(4):
        case 0:
            del items[place]
        case 1:
            items.insert(place, items[place])
        case 2:
            items[place], items[other] = items[other], items[place]
        case _:
            return chance.choice(parts)
    return tuple(items)


def _altered_bytes(chance: random.Random, value: bytes, parts: list[Any]) -> bytes:
    match chance.randrange(4):
        case 0 if value:
            place = chance.randrange(len(value))
            return value[:place] + bytes([value[place] ^ 1 << chance.randrange(8)]) + value[place + 1 :]
        case 1:
            return value[:-1] if chance.random() < 0.5 else value + b"\0"
        case 2:
            return bytes(len(value))
        case _:
            alike = [part for part in parts if isinstance(part, bytes) and len(part) == len(value)]
            return chance.choice(alike or [value[::-1]])


def _alike(chance: random.Random, value: object, parts: list[Any]) -> Any:  # noqa: ANN401
    """Return another part of the same type."""
    return chance.choice([part for part in parts if type(part) is type(value)])


def _altered_text(chance: random.Random, text: str) -> str:
    place, junk = chance.randrange(len(text) + 1), chance.choice(JUNK)
    match chance.randrange(4):
        case 0:
            return text + junk
        case 1:
            return junk + text
        case 2:
            return text[:place] + junk + text[place + chance.randrange(3) :]
        case _:
            return changed(chance, [text.encode()]).decode("utf-8", "replace")


def _altered_number(chance: random.Random, text: str) -> str:
    """Spell one of the numbers of a text in another way."""
    starts = [at + 2 for at in range(len(text) - 2) if text[at : at + 2] == ": " and text[at + 2].isdigit()]
    start = chance.choice(starts)
    end = next(at for at in range(start, len(text)) if not text[at].isdigit())
    number = text[start:end]
    spelled = (
        f"-{number}", f"+{number}", f"0{number}", f"{number}.0", f"{number}e0", f"{number}{'0' * 20}", "-0",
        f'"{number}"', f" \r\n\t{number}\n", f"\x0c{number}", f"{number}\u2003",
    )  # fmt: skip
    return text[:start] + chance.choice(spelled) + text[end:]


def _altered_json(chance: random.Random, text: str) -> str:
    whole = json.loads(text)
    parent, key = whole, chance.choice(list(whole))
    while isinstance(parent[key], dict | list) and parent[key] and chance.random() < 0.9:
        parent = parent[key]
        key = chance.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
    item = parent[key]
    match chance.randrange(5):
        case 0:
            del parent[key]
        case 1 if type(item) is int:
            parent[key] = item + chance.choice((-1, 1))
        case 2 if isinstance(item, str) and item:
            place = chance.randrange(len(item))
            parent[key] = item[:place] + chance.choice("09afxzA 中\u0301") + item[place + 1 :]
        case 3 if isinstance(parent, list):
            parent.insert(chance.randrange(len(parent) + 1), item)
        case _:
            parent[key] = chance.choice((*ODD_VALUES, chance.choice(_ROOT_PARTS)))
    return json.dumps(whole, ensure_ascii=chance.random() < 0.5)


def altered_pins(chance: random.Random) -> Question:
    """Return a pinned question with a change of the checkpoints of its trusted root, some of them true."""
    question = chance.choice([question for question in PINNED if b'"checkpoints": [{' in question.trust])
    whole = json.loads(question.trust)
    pins = whole["checkpoints"]
    others = [pin for pin in _PINS if pin not in pins]
    for _ in range(chance.randint(1, 3)):
        pin = dict(chance.choice(pins))
        match chance.randrange(8):
            case 0:
                pin["height"] = chance.choice((0, 1, 2, pin["height"] - 1, pin["height"] + 1))
            case 1:
                pin["epoch"] = max(0, pin["epoch"] + chance.choice((-2, -1, 1, 5)))
            case 2:
                pin["block_hash"] = chance.choice(_PINS)["block_hash"]
            case 3:
                edges = (0, question.time_ms - 1, question.time_ms, question.time_ms + 1, 2**53 - 1)
                pin[chance.choice(("valid_from_ms", "valid_until_ms"))] = max(0, chance.choice(edges))
            case 4:
                pin["valid_from_ms"], pin["valid_until_ms"] = pin["valid_until_ms"], pin["valid_from_ms"]
            case 5:
                pin["validators"] = chance.choice(_PINS)["validators"]
            case 6:
                first = chance.choice([each for each in _PINS if each["epoch"] == 0])
                pin = {**first, "height": 0, "block_hash": chance.choice((_FIRST_HASH, pin["block_hash"]))}
            case _:
                pin = chance.choice(others) if others else pin
        pins.insert(chance.randrange(len(pins) + 1), pin)
        if chance.random() < 0.6:
            pins.pop(chance.randrange(len(pins)))
        if chance.random() < 0.7:
            pins.sort(key=lambda each: each["height"])
    return replace(question, trust=json.dumps(whole).encode())


CHANGES: Final[tuple[Callable[[random.Random], Question], ...]] = (
    crossed,
    altered_proof,
    altered_request,
    altered_root,
    altered_pins,
)
