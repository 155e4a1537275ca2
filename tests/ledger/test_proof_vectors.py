"""The pinned proofs: the library answers each as it was written down, from the bytes alone."""

from dataclasses import replace
from typing import Any

import pytest

from ledger.requests import Request
from ledger.trust import parse_trusted_root
from ledger.verdicts import REFUSALS, VerificationError
from ledger.verifier import SuspendedIssuer, Verifier
from tests.attacks.present import PRESENT, Asked
from tests.vectors import make_present, make_proofs
from tests.vectors.pinned import (
    PRESENT_VECTORS,
    VECTORS,
    Vectors,
    document_of,
    proofs,
    request_of,
    trust_of,
)


def inputs(case: dict[str, Any], vectors: Vectors = VECTORS) -> tuple[Verifier, bytes, Request]:
    trust = parse_trusted_root(trust_of(case, vectors))
    verifier = Verifier(trust, suspended_issuer=SuspendedIssuer(case["suspended_issuer"]))
    return verifier, document_of(case, vectors), Request.decode(request_of(case, vectors))


@pytest.mark.parametrize(
    ("case", "proof"), list(proofs()), ids=lambda value: value["name"] if isinstance(value, dict) else ""
)
def test_the_library_answers_each_vector_as_pinned(case: dict[str, Any], proof: bytes) -> None:
    verifier, document, request = inputs(case)
    times = {"at_ms": case["at_ms"], "max_age_ms": case["max_age_ms"]}
    if "anchor_verdict" in case:
        alone = verifier.verify_anchor_as_of(document, proof, **times)
        assert make_proofs.facts_of(alone) == case["anchor_verdict"]
    elif "verdict" in case:
        verdict = verifier.verify_as_of(document, proof, request=request, **times)
        assert make_proofs.facts_of(verdict) == case["verdict"]
    else:
        with pytest.raises(VerificationError) as refused:
            verifier.verify_as_of(document, proof, request=request, **times)
        assert {"step": refused.value.step, "code": refused.value.code} == case["refused"]


@pytest.mark.parametrize(
    ("case", "proof"),
    list(proofs(PRESENT_VECTORS)),
    ids=lambda value: value["name"] if isinstance(value, dict) else "",
)
def test_the_library_answers_each_question_about_the_present_as_pinned(
    case: dict[str, Any], proof: bytes
) -> None:
    verifier, document, request = inputs(case, PRESENT_VECTORS)
    times = {"now_ms": case["now_ms"], "max_age_ms": case["max_age_ms"]}
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


@pytest.mark.parametrize("asked", PRESENT, ids=lambda asked: asked.name)
def test_the_same_proof_asked_about_as_of_that_time_never_blames_the_clock(asked: Asked) -> None:
    shown = replace(asked.make(), is_present=False)
    try:
        shown.verify()
    except VerificationError as refused:
        assert refused.code != "clock-behind"


def test_the_vectors_about_the_present_are_what_their_script_makes() -> None:
    pinned = make_present.PATH.read_text(encoding="utf-8")
    assert make_present.make() == pinned, "the format changed? python -m tests.vectors.make_present"


def test_the_vectors_are_what_their_script_makes() -> None:
    pinned = make_proofs.PATH.read_text(encoding="utf-8")
    assert make_proofs.make() == pinned, "the format changed? python -m tests.vectors.make_proofs"


def test_the_vectors_show_every_code_that_a_verifier_can_refuse_with() -> None:
    cases = (*VECTORS["cases"], *PRESENT_VECTORS["cases"])
    assert {case["refused"]["code"] for case in cases if "refused" in case} == set(REFUSALS)
