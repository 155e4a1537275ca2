"""Documents that were presented together are one list, all of it, and answer the request's items."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from ledger.errors import WrongCall
from ledger.lists import ListRefused
from ledger.presentation import Place
from ledger.proofs import BatchPath, Proof
from ledger.trees.merkle import Tree
from ledger.verdicts import VerificationError
from tests.attacks.forge import (
    BATCH,
    CONSENT_KEY,
    HOLDER,
    ISSUER,
    PLAIN,
    TERMS_SALT,
    Shown,
    make_scene,
    show,
)
from tests.support.asking import ITEM, present_list, request_with
from tests.support.consortium import NOTICE, hash_of

Pairs = list[tuple[bytes, bytes]]


def bare_proofs(shown: Shown, count: int) -> list[Proof]:
    openings = make_scene().openings
    tree = Tree([opening.commitment() for opening in openings])
    return [
        replace(
            shown.proof,
            opening=openings[index],
            batch=BatchPath(tree.size, tree.path(index)),
            evidence=replace(
                shown.proof.evidence,
                unrevoked=shown.chain.absence_of(PLAIN, ISSUER, openings[index].commitment()),
            ),
            presentation=None,
        )
        for index in range(count)
    ]


def presented(shown: Shown, count: int = 3, *, listed: Sequence[int] | None = None) -> Pairs:
    """Return documents of the batch with proofs, presented as one list, in the order of `listed`."""
    proofs = bare_proofs(shown, count)
    order = list(range(count)) if listed is None else list(listed)
    places = tuple(Place(0, proofs[index].opening.commitment(), None) for index in order)
    pairs: Pairs = []
    for at, index in enumerate(order):
        presentation = present_list(
            places,
            at,
            shown.request,
            consent_key=CONSENT_KEY,
            consent_id=hash_of("consent id"),
            terms_salt=TERMS_SALT,
            holder=HOLDER,
        )
        pairs.append((BATCH[index], replace(proofs[index], presentation=presentation).encode()))
    return pairs


def asked(**agreed: Any) -> Shown:  # noqa: ANN401
    return show(make_scene(), agreed={"count": 3, **agreed})


def refusal(shown: Shown, pairs: Pairs) -> ListRefused:
    with pytest.raises(ListRefused) as refused:
        shown.verifier.verify_list_as_of(pairs, request=shown.request, at_ms=shown.at_ms)
    return refused.value


def test_a_whole_list_answers_its_item_in_whatever_order_it_is_given() -> None:
    shown = asked()
    for pairs in (presented(shown), presented(shown)[::-1], presented(shown, listed=(2, 0, 1))):
        verdict = shown.verifier.verify_list_as_of(pairs, request=shown.request, at_ms=shown.at_ms)
        assert [(each.count, each.is_answered) for each in verdict.items] == [(3, True)]
        assert [each.presented.list_size for each in verdict.documents] == [3, 3, 3]
        assert len({each.integrity.commitment for each in verdict.documents}) == 3


def test_a_document_of_a_list_is_no_list_of_one() -> None:
    shown = asked(count=1)
    document, proof = presented(shown)[0]
    with pytest.raises(VerificationError) as refused:
        shown.verifier.verify_as_of(document, proof, request=shown.request, at_ms=shown.at_ms)
    assert refused.value.code == "one-of-many"
    assert refusal(shown, [(document, proof)]).code == "list-incomplete"


def test_what_is_missing_doubled_or_mixed_is_refused() -> None:
    shown = asked(count=2)
    whole = presented(shown)
    missing = refusal(shown, whole[:2])
    assert (missing.code, missing.found, missing.number) == ("list-incomplete", "2 of 3", None)
    assert refusal(shown, [*whole[:2], whole[0]]).code == "document-twice"
    assert refusal(shown, [*whole, whole[0]]).code == "document-twice"
    others = presented(shown, 2)
    assert refusal(shown, [whole[2], *others]).code == "list-mixed"
    assert [type(each).__name__ for each in missing.outcomes] == ["Verdict", "Verdict"]


def test_one_that_fails_makes_the_whole_not_verified_and_the_gravest_is_told() -> None:
    shown = asked(count=1)
    whole = presented(shown)
    altered = [(whole[0][0] + b"!", whole[0][1]), *whole[1:]]
    error = refusal(shown, altered)
    assert (error.code, error.number) == ("document-altered", 0)
    assert [type(each).__name__ for each in error.outcomes] == ["VerificationError", "Verdict", "Verdict"]
    both = [(whole[0][0] + b"!", whole[0][1]), whole[1], (whole[2][0], whole[2][1][:-1])]
    assert (refusal(shown, both).code, refusal(shown, both).number) == ("proof-malformed", 2)
    assert refusal(shown, both[::-1]).number == 0


def test_an_item_is_answered_as_often_as_it_asks() -> None:
    shown = asked(count=4)
    error = refusal(shown, presented(shown))
    assert (error.code, error.where, error.found) == ("item-missing", "item 0", "3")
    optional = asked(count=4, needed=0)
    verdict = optional.verifier.verify_list_as_of(
        presented(optional), request=optional.request, at_ms=optional.at_ms
    )
    assert [(each.count, each.is_answered) for each in verdict.items] == [(3, False)]
    two = asked(items=(replace(ITEM, count=2), replace(ITEM, schemas=(NOTICE,))))
    assert refusal(two, presented(two)).where == "item 1"


def test_a_second_list_for_another_request_does_not_answer_this_one() -> None:
    shown = asked(count=2)
    other = request_with(body=shown.request.decoded(), nonce=b"request nonce 02")
    with pytest.raises(ListRefused) as refused:
        shown.verifier.verify_list_as_of(presented(shown), request=other, at_ms=shown.at_ms)
    assert refused.value.code == "wrong-nonce"


@pytest.mark.parametrize("documents", [[], "pairs", {}, [b"x"], [(b"x",)], 3, None])
def test_what_is_no_list_is_a_wrong_call(documents: Any) -> None:  # noqa: ANN401
    shown = asked()
    with pytest.raises(WrongCall):
        shown.verifier.verify_list(documents, request=shown.request, now_ms=shown.at_ms)
