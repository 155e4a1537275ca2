"""Write sets.json: sets of which files are shown, with what a verifier must answer (docs/formats.md, Set).

    python -m tests.vectors.make_sets

The same bytes come out of every run. What cases share stands in `trust`, `request` and `proofs`.
"""

import base64
import json
from pathlib import Path
from typing import Any, Final

from ledger.encoding.records import Json
from ledger.presentedsets import SetVerdict, verify_set_anchor_as_of, verify_set_as_of
from ledger.trust import trusted_root_to_json
from ledger.verdictjson import set_to_json
from tests.attacks.shownsets import AskedSet, asked_sets, more_digests

PATH: Final = Path(__file__).with_name("sets.json")
_MANY: Final = 1_000


def make() -> str:
    """Return the content of sets.json."""
    first = asked_sets()[0].anchored
    proofs: list[bytes] = []
    cases: list[dict[str, Json]] = []
    for asked in asked_sets():
        anchored = asked.anchored
        assert (anchored.trust, anchored.request, anchored.at_ms) == (first.trust, first.request, first.at_ms)
        if anchored.proof_bytes not in proofs:
            proofs.append(anchored.proof_bytes)
        cases.append(
            {
                "name": asked.name,
                "proof": proofs.index(anchored.proof_bytes),
                "shown": _parts(asked.shown),
                "files": [{"name": name, "content": _base64(content)} for name, content in asked.files],
                "is_anchor_only": int(asked.is_anchor_only),
                **answer_to(asked),
            }
        )
    value: dict[str, Json] = {
        "trust": trusted_root_to_json(first.trust),
        "request": _base64(first.request.encode()),
        "at_ms": first.at_ms,
        "max_age_ms": first.max_age_ms,
        "proofs": [_base64(proof) for proof in proofs],
    }
    head = ",\n".join(
        f"{json.dumps(key)}: {json.dumps(item, ensure_ascii=False)}" for key, item in value.items()
    )
    rows = ",\n".join(json.dumps(case) for case in cases)
    return f'{{\n{head},\n"cases": [\n{rows}\n]\n}}\n'


def ask(asked: AskedSet) -> SetVerdict:
    """Ask the library about a set. Raises VerificationError."""
    anchored = asked.anchored
    arguments: tuple[Any, ...] = (anchored.verifier, asked.shown, anchored.proof_bytes, asked.files)
    times: dict[str, Any] = {"at_ms": anchored.at_ms, "max_age_ms": anchored.max_age_ms}
    if asked.is_anchor_only:
        return verify_set_anchor_as_of(*arguments, **times)
    return verify_set_as_of(*arguments, request=anchored.request, **times)


def answer_to(asked: AskedSet) -> dict[str, Json]:
    """Return what must be answered, as the case says it; what verifies is told by the library."""
    if asked.refused is not None:
        return {"refused": {"step": asked.refused[0], "code": asked.refused[1]}}
    return {"set": set_to_json(ask(asked), at_ms=asked.anchored.at_ms)["set"]}


def _parts(shown: bytes) -> dict[str, Json]:
    """Return a shown set, with the digests that nobody shows as their count."""
    last = shown.rfind(b"\xff" * 32)
    count = 0 if last < 0 else int.from_bytes(b"\1" + bytes(32), "big") - _first(shown, last)
    if count < _MANY:
        return {"start": _base64(shown), "more": 0, "end": ""}
    start = last + 32 - 32 * count
    assert shown[start : last + 32] == more_digests(count)
    return {"start": _base64(shown[:start]), "more": count, "end": _base64(shown[last + 32 :])}


def _first(shown: bytes, last: int) -> int:
    """Return the number that the first of the digests is which nobody shows."""
    number, at = 2**256 - 1, last
    while at >= 32 and int.from_bytes(shown[at - 32 : at], "big") == number - 1:
        number, at = number - 1, at - 32
    return number


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


if __name__ == "__main__":
    PATH.write_text(make(), encoding="utf-8")
