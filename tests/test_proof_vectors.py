"""The pinned proofs: the library answers each as it was written down, from the bytes alone."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from ledger.presentation import Request
from ledger.trust import parse_trusted_root
from ledger.verdicts import REFUSALS, VerificationError
from ledger.verifier import SuspendedIssuer, Verifier
from tests.vectors import make_proofs

VECTORS: dict[str, Any] = json.loads(make_proofs.PATH.read_bytes())


def proofs() -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield each case with its proof file."""
    known = {"": b""}
    for case in VECTORS["cases"]:
        splice = case["proof"]
        base = known[splice["based_on"]]
        insert = base64.b64decode(splice["insert"])
        proof = base[: splice["start"]] + insert + base[splice["end"] :] + bytes(splice.get("zeros", 0))
        known[case["name"]] = proof
        yield case, proof


def inputs(case: dict[str, Any]) -> tuple[Verifier, bytes, Request]:
    trust = VECTORS["trusts"][case["trust"]]
    text = json.dumps({**trust, "genesis": VECTORS["genesis"][trust["genesis"]]}).encode()
    verifier = Verifier(parse_trusted_root(text), suspended_issuer=SuspendedIssuer(case["suspended_issuer"]))
    document = VECTORS["documents"][case["document"]]
    content = base64.b64decode(document["start"]) + bytes(document["zeros"])
    return verifier, content, Request.decode(base64.b64decode(VECTORS["requests"][case["request"]]))


@pytest.mark.parametrize(
    ("case", "proof"), list(proofs()), ids=lambda value: value["name"] if isinstance(value, dict) else ""
)
def test_the_library_answers_each_vector_as_pinned(case: dict[str, Any], proof: bytes) -> None:
    verifier, document, request = inputs(case)
    times = {"at_ms": case["at_ms"], "max_age_ms": case["max_age_ms"]}
    if "anchor_verdict" in case:
        alone = verifier.verify_anchor(document, proof, **times)
        assert make_proofs.facts_of(alone) == case["anchor_verdict"]
    elif "verdict" in case:
        verdict = verifier.verify(document, proof, request=request, **times)
        assert make_proofs.facts_of(verdict) == case["verdict"]
    else:
        with pytest.raises(VerificationError) as refused:
            verifier.verify(document, proof, request=request, **times)
        assert {"step": refused.value.step, "code": refused.value.code} == case["refused"]


def test_the_vectors_are_what_their_script_makes() -> None:
    pinned = make_proofs.PATH.read_text(encoding="utf-8")
    assert make_proofs.make() == pinned, "the format changed? python -m tests.vectors.make_proofs"


def test_the_vectors_show_every_code_that_a_verifier_can_refuse_with() -> None:
    shown = {case["refused"]["code"] for case in VECTORS["cases"] if "refused" in case}
    assert shown == set(REFUSALS)
