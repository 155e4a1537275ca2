"""Write proofs.json: honest and forged proofs with what a verifier must answer (docs/formats.md, Verification).

All of its questions are about a past time; those about the present are in present.json (make_present).

    python -m tests.vectors.make_proofs

The same bytes come out of every run: keys are made of fixed seeds and there is no clock. A case differs from
the one that it is `based_on` by the bytes from `start` to `end`, replaced by `insert`, and then by `zeros`.
"""

import base64
import importlib
import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TypeAlias

import tests.attacks
from ledger.encoding.records import Json
from ledger.trust import TrustedRoot, trusted_root_to_json
from tests.attacks.edges import EDGES, HONEST, shown_by
from tests.attacks.forge import Forgery, Shown, honest

PATH = Path(__file__).with_name("proofs.json")
Case: TypeAlias = dict[str, Json]


class _Table:
    """Things that many cases share, by number."""

    def __init__(self) -> None:
        self.items: list[Json] = []

    def number(self, item: Json) -> int:
        """Return the number of an item, new or known."""
        if item not in self.items:
            self.items.append(item)
        return self.items.index(item)


class Writer:
    """Collects cases and what they share."""

    def __init__(self) -> None:
        self.genesis, self.trusts, self.documents, self.requests = _Table(), _Table(), _Table(), _Table()
        self.bases: dict[str, bytes] = {}
        self.cases: list[Json] = []

    def add(self, name: str, shown: Shown, answer: Case, *, is_base: bool = False) -> None:
        """Add a case."""
        case: Case = {
            "name": name,
            "trust": self.trusts.number(self._trust(shown.trust)),
            "document": self.documents.number(_repeated(shown.document)),
            "request": self.requests.number(_base64(shown.request.encode())),
            "now_ms" if shown.is_present else "at_ms": shown.at_ms,
            "max_age_ms": shown.max_age_ms,
            "suspended_issuer": shown.suspended_issuer.value,
            "proof": self._proof(shown.proof_bytes),
            **answer,
        }
        self.cases.append(case)
        if is_base:
            self.bases[name] = shown.proof_bytes

    def text(self) -> str:
        """Return the content of the file of vectors."""
        parts: dict[str, list[Json]] = {
            "genesis": self.genesis.items,
            "trusts": self.trusts.items,
            "documents": self.documents.items,
            "requests": self.requests.items,
            "cases": self.cases,
        }
        lines = [
            f"{json.dumps(name)}: [\n"
            + ",\n".join(json.dumps(item, ensure_ascii=False) for item in items)
            + "\n]"
            for name, items in parts.items()
        ]
        return "{\n" + ",\n".join(lines) + "\n}\n"

    def _trust(self, trust: TrustedRoot) -> Json:
        value = trusted_root_to_json(trust)
        return {**value, "genesis": self.genesis.number(value["genesis"])}

    def _proof(self, proof: bytes) -> Json:
        kept = proof.rstrip(b"\0") if len(proof) > 2**20 else proof
        zeros = len(proof) - len(kept)
        spliced = [(_splice(base, kept), name) for name, base in self.bases.items()]
        (start, end, insert), name = min(
            spliced, default=((0, 0, kept), ""), key=lambda item: len(item[0][2])
        )
        case: Case = {"based_on": name, "start": start, "end": end, "insert": _base64(insert)}
        return {**case, "zeros": zeros} if zeros else case


def _splice(base: bytes, other: bytes) -> tuple[int, int, bytes]:
    """Return where `other` differs from `base`, and what stands there instead."""
    start, shorter = 0, min(len(base), len(other))
    while start < shorter and base[start] == other[start]:
        start += 1
    tail = 0
    while tail < shorter - start and base[-1 - tail] == other[-1 - tail]:
        tail += 1
    return start, len(base) - tail, other[start : len(other) - tail]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _repeated(document: bytes) -> Json:
    """Return a document, with a run of zeros as their count."""
    kept = document.rstrip(b"\0")
    return {"start": _base64(kept), "zeros": len(document) - len(kept)}


def facts_of(value: object) -> Json:
    """Return a verdict as JSON: bytes in hexadecimal."""
    if is_dataclass(value):
        return {field.name: facts_of(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, bytes):
        return value.hex()
    assert value is None or isinstance(value, str | int)
    return value


def make() -> str:
    """Return the content of proofs.json."""
    writer = Writer()
    honest_cases: tuple[Callable[[], Shown], ...] = (*HONEST, *EDGES)
    for case in honest_cases:
        shown = shown_by(case)
        answer: Case = {"verdict": facts_of(shown.verify())}
        writer.add(case.__name__, shown, answer, is_base=case in HONEST)
    bare = honest().proof_with(presentation=None).evidence_with(consent=None)
    writer.add("anchor_alone", bare, {"anchor_verdict": facts_of(bare.verify_anchor())})
    for path in sorted(Path(tests.attacks.__file__).parent.glob("test_*.py")):
        forgery = importlib.import_module(f"tests.attacks.{path.stem}").FORGERY
        assert isinstance(forgery, Forgery)
        refused: Case = {"refused": {"step": forgery.step, "code": forgery.code}}
        writer.add(path.stem.removeprefix("test_"), forgery.forge(forgery.honest()), refused)
    return writer.text()


if __name__ == "__main__":
    PATH.write_text(make(), encoding="utf-8")
