"""The pinned proofs: the library answers each as it was written down, from the bytes alone."""

from typing import Any

import pytest

from ledger.presentation import Request
from ledger.trust import parse_trusted_root
from ledger.verdicts import REFUSALS, VerificationError
from ledger.verifier import SuspendedIssuer, Verifier
from tests.vectors import make_proofs
from tests.vectors.pinned import VECTORS, document_of, proofs, request_of, trust_of


def inputs(case: dict[str, Any]) -> tuple[Verifier, bytes, Request]:
    trust = parse_trusted_root(trust_of(case))
    verifier = Verifier(trust, suspended_issuer=SuspendedIssuer(case["suspended_issuer"]))
    return verifier, document_of(case), Request.decode(request_of(case))


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
