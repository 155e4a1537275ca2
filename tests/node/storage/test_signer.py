"""The signer guard: whatever the core asks, no two signatures ever contradict each other."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.encoding.keys import PrivateKey
from ledger.rules.certificates import FINALIZE, NOTARIZE, NULLIFY, VOTE_TAGS, Subject
from node.storage import signer
from node.storage.signer import SignerGuard, SigningRefused

CHAIN_ID = b"c" * 32
KEY = PrivateKey.from_seed(bytes(range(32)))
KINDS = (NOTARIZE, NULLIFY, FINALIZE)


def subject(kind: str, view: int = 5, *, epoch: int = 0, block: bytes = b"a", parent: int = 4) -> Subject:
    if kind == NULLIFY:
        return Subject(kind, epoch, view, None, None)
    return Subject(kind, epoch, view, parent, block * 32)


def make_guard(*signed: Subject, epoch: int = 0, view: int = 0) -> SignerGuard:
    return SignerGuard(KEY, chain_id=CHAIN_ID, signed=signed, floor_epoch=epoch, floor_view=view)


@pytest.mark.parametrize("kind", KINDS)
def test_a_signature_verifies_as_a_vote_of_its_kind_and_no_other(kind: str) -> None:
    vote = subject(kind)
    signature = make_guard().sign(vote)
    KEY.public.verify(VOTE_TAGS[kind], vote.body(CHAIN_ID), signature)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_subject_again_gives_the_same_signature_across_restarts(kind: str) -> None:
    guard = make_guard()
    first = guard.sign(subject(kind))
    assert guard.sign(subject(kind)) == first
    assert make_guard(subject(kind)).sign(subject(kind)) == first
    assert guard.subjects_count == 1


@pytest.mark.parametrize("is_restored", [False, True])
@pytest.mark.parametrize("kind", [NOTARIZE, FINALIZE])
@pytest.mark.parametrize("second", [{"block": b"b"}, {"parent": 3}])
def test_a_second_different_subject_of_a_kind_in_a_view_is_refused(
    kind: str, second: dict[str, object], is_restored: bool
) -> None:
    guard = make_guard(subject(kind)) if is_restored else make_guard()
    guard.sign(subject(kind))
    with pytest.raises(
        SigningRefused, match=r"view 5: refused to sign .* expected block 6161.*signed before"
    ):
        guard.sign(subject(kind, **second))  # type: ignore[arg-type]


@pytest.mark.parametrize(("first", "second"), [(NULLIFY, NOTARIZE), (NULLIFY, FINALIZE), (FINALIZE, NULLIFY)])
@pytest.mark.parametrize("is_restored", [False, True])
def test_votes_that_exclude_each_other_are_refused(first: str, second: str, is_restored: bool) -> None:
    guard = make_guard(subject(first)) if is_restored else make_guard()
    guard.sign(subject(first))
    with pytest.raises(SigningRefused, match=f"refused to sign {second}: expected no {first}"):
        guard.sign(subject(second))


@pytest.mark.parametrize("votes", [(NOTARIZE, NULLIFY), (NOTARIZE, FINALIZE), (FINALIZE, NOTARIZE)])
def test_votes_that_agree_are_signed(votes: tuple[str, str]) -> None:
    guard = make_guard()
    for kind in votes:
        guard.sign(subject(kind))
    assert guard.subjects_count == 2


def test_a_notarize_signed_before_a_nullify_can_be_sent_again_after_it() -> None:
    guard = make_guard()
    first = guard.sign(subject(NOTARIZE))
    guard.sign(subject(NULLIFY))
    assert guard.sign(subject(NOTARIZE)) == first


def test_other_views_and_epochs_are_independent() -> None:
    guard = make_guard()
    guard.sign(subject(NULLIFY, 5))
    guard.sign(subject(FINALIZE, 6))
    guard.sign(subject(FINALIZE, 5, epoch=1))
    guard.sign(subject(NOTARIZE, 4))


@pytest.mark.parametrize("place", [(0, 5), (0, 4), (0, 0)])
def test_nothing_is_signed_at_or_below_the_floor(place: tuple[int, int]) -> None:
    guard = make_guard(view=5)
    with pytest.raises(SigningRefused, match="above the durable floor, epoch 0 view 5"):
        guard.sign(subject(NOTARIZE, place[1], epoch=place[0]))


def test_an_earlier_epoch_is_below_the_floor_whatever_its_view() -> None:
    guard = make_guard(epoch=1, view=0)
    guard.sign(subject(NOTARIZE, 1, epoch=1))
    with pytest.raises(SigningRefused):
        guard.sign(subject(NOTARIZE, 1_000, epoch=0))


def test_what_was_signed_is_refused_again_once_the_floor_has_passed_it() -> None:
    guard = make_guard()
    guard.sign(subject(NOTARIZE, 5))
    guard.sign(subject(NOTARIZE, 6))
    guard.raise_floor(epoch=0, view=5)
    assert guard.subjects_count == 1
    guard.sign(subject(NOTARIZE, 6))
    with pytest.raises(SigningRefused):
        guard.sign(subject(NOTARIZE, 5))


def test_the_floor_never_falls() -> None:
    guard = make_guard(view=5)
    guard.raise_floor(epoch=0, view=3)
    with pytest.raises(SigningRefused):
        guard.sign(subject(NOTARIZE, 4))


def test_after_one_refusal_nothing_is_signed_any_more() -> None:
    guard = make_guard(subject(NULLIFY))
    with pytest.raises(SigningRefused):
        guard.sign(subject(FINALIZE))
    for harmless in (subject(NULLIFY), subject(NOTARIZE, 9)):
        with pytest.raises(SigningRefused, match="a core that keeps its promises"):
            guard.sign(harmless)


def test_a_log_with_votes_that_exclude_each_other_is_refused() -> None:
    with pytest.raises(SigningRefused):
        make_guard(subject(NULLIFY), subject(FINALIZE))
    with pytest.raises(SigningRefused):
        make_guard(subject(NOTARIZE), subject(NOTARIZE, block=b"b"))


def test_votes_of_the_log_below_the_floor_are_forgotten() -> None:
    guard = make_guard(subject(NOTARIZE, 4), subject(NOTARIZE, 5), subject(NOTARIZE, 6), view=5)
    assert guard.subjects_count == 1


def test_the_subjects_remembered_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signer, "SUBJECTS_MAX", 3)
    guard = make_guard()
    for view in (1, 2, 3):
        guard.sign(subject(NULLIFY, view))
    guard.sign(subject(NULLIFY, 3))
    with pytest.raises(SigningRefused, match="at most 3 votes without finality"):
        guard.sign(subject(NULLIFY, 4))


def test_the_limit_is_freed_by_finality(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signer, "SUBJECTS_MAX", 1)
    guard = make_guard()
    guard.sign(subject(NULLIFY, 1))
    guard.raise_floor(epoch=0, view=1)
    guard.sign(subject(NULLIFY, 2))


requests = st.lists(
    st.builds(subject, st.sampled_from(KINDS), st.integers(1, 2), block=st.sampled_from([b"a", b"b"])),
    max_size=12,
)


@given(requests, st.sets(st.integers(0, 11)))
@settings(max_examples=300, deadline=None)
def test_whatever_is_asked_and_whenever_it_restarts_no_signed_votes_exclude_each_other(
    asked: list[Subject], restarts: set[int]
) -> None:
    signed: list[Subject] = []
    guard = make_guard()
    for number, vote in enumerate(asked):
        if number in restarts:
            guard = make_guard(*signed)
        try:
            guard.sign(vote)
        except SigningRefused:
            guard = make_guard(*signed)
            continue
        signed.append(vote)
    for view in (1, 2):
        votes = {vote for vote in signed if vote.view == view}
        by_kind = {kind: {vote for vote in votes if vote.kind == kind} for kind in KINDS}
        assert all(len(same) <= 1 for same in by_kind.values())
        assert not (by_kind[NULLIFY] and by_kind[FINALIZE])


def test_the_guard_signs_for_its_own_chain_only() -> None:
    other = SignerGuard(KEY, chain_id=b"d" * 32, signed=(), floor_epoch=0, floor_view=0)
    vote = subject(NOTARIZE)
    assert other.sign(vote) != make_guard().sign(vote)
    assert make_guard().sign(replace(vote, view=6)) != make_guard().sign(vote)
