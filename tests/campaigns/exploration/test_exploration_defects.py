"""Deliberate defects of the core, each of which the exploration must find, with steps that repeat it."""

from dataclasses import replace

import pytest

from ledger.rules.certificates import FINALIZE, NOTARIZE, NULLIFY, QuorumCertificate, Vote
from node.consensus import restore, voter
from node.consensus.effects import Effect, Persist
from node.consensus.emission import Emission
from node.consensus.journal import Floor
from node.consensus.rounds import Round, Rounds
from node.consensus.viewstates import Certification
from node.consensus.votebook import VoteBook
from tests.campaigns.exploration.explorer import Explorer
from tests.campaigns.exploration.process import CoreStopped
from tests.campaigns.exploration.properties import Violation
from tests.campaigns.exploration.replay import parse_trace, replay, write_trace
from tests.campaigns.exploration.scope import Scope

pytestmark = pytest.mark.slow

ONE_VIEW = Scope(1, 1)
ONE_VIEW_WITH_CRASH = Scope(1, 1, crashes=1)
TWO_VIEWS = Scope(2, 2, answers_at_once=True, glued=True, states_max=20_000)


def hunt(scope: Scope) -> str:
    """Explore until a claim fails, repeat the steps on fresh cores, and return the claim."""
    # The key is made for a sound core; a defect may well show in what it leaves out. That a view is in no listed
    # state is no harm yet, and would be found before the harm.
    report = Explorer(replace(scope, congruence_every=1 << 30, judges_views=False)).search()
    assert report.failure is not None, f"the defect was not found in {report.states} states"
    if report.failure.startswith("Violation: L"):
        return report.failure
    steps = parse_trace(write_trace(report.trace))
    with pytest.raises((Violation, CoreStopped)) as caught:
        replay(steps, scope.byzantine, answers_at_once=scope.answers_at_once, judges_views=False)
    assert str(caught.value) in report.failure
    return report.failure


def test_a_quorum_that_is_one_too_small_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    find_quorum = VoteBook.find_quorum

    def too_small(self: VoteBook, kind: str, quorum: int) -> QuorumCertificate | None:
        return find_quorum(self, kind, quorum - 1)

    monkeypatch.setattr(VoteBook, "find_quorum", too_small)
    assert "E5" in hunt(ONE_VIEW)


def test_a_certificate_whose_signers_are_not_counted_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QuorumCertificate, "check_signers", lambda self, validators: None)
    assert "E5" in hunt(ONE_VIEW)


def test_notarizing_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    notarize = voter.Voter._notarize

    def latest(self: Round, subject: object) -> None:
        self.proposal = subject  # type: ignore[assignment]
        self.is_verified = self.is_verify_requested = False

    def again(self: voter.Voter, current: Round) -> bool:
        vote = current.own.get(NOTARIZE)
        if vote is not None and vote.subject != current.proposal:
            del current.own[NOTARIZE]
        return notarize(self, current)

    monkeypatch.setattr(Round, "propose", latest)
    monkeypatch.setattr(voter.Voter, "_notarize", again)
    assert "E4: two notarizes" in hunt(ONE_VIEW)


def test_finalizing_what_was_nullified_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    settle = voter.Voter._settle

    def careless(self: voter.Voter, view: int, now_ms: int) -> None:
        found = self._rounds.at(view)
        is_certified = found.certification is Certification.VALID
        hidden = found.own.pop(NULLIFY, None) if is_certified else None
        settle(self, view, now_ms)
        if hidden is not None:
            found.own[NULLIFY] = hidden

    monkeypatch.setattr(voter.Voter, "_settle", careless)
    assert "E4: nullify and finalize" in hunt(ONE_VIEW)


def test_finalizing_before_the_block_is_certified_and_nullifying_then_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settle, give_up = voter.Voter._settle, voter.Voter._give_up

    def early(self: voter.Voter, view: int, now_ms: int) -> None:
        settle(self, view, now_ms)
        found = self._rounds.find(view)
        if found is None or found.certification is not Certification.PENDING or FINALIZE in found.own:
            return
        if NULLIFY not in found.own and view > self._rounds.finalized.view:
            self._vote(replace(found.certificates[NOTARIZE].subject, kind=FINALIZE))

    def careless(self: voter.Voter, current: Round, now_ms: int) -> bool:
        hidden = current.own.pop(FINALIZE, None)
        try:
            return give_up(self, current, now_ms)
        finally:
            if hidden is not None:
                current.own[FINALIZE] = hidden

    monkeypatch.setattr(voter.Voter, "_settle", early)
    monkeypatch.setattr(voter.Voter, "_give_up", careless)
    assert "E4: nullify and finalize" in hunt(ONE_VIEW)


def test_voting_over_views_that_nobody_skipped_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rounds, "find_first_gap", lambda self, after, before: None)
    assert "E6" in hunt(TWO_VIEWS)


def test_votes_forgotten_in_a_restart_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore, "_restore_vote", lambda rounds, vote: None)
    assert "E4" in hunt(ONE_VIEW_WITH_CRASH)


def test_only_nullifies_forgotten_in_a_restart_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    restore_vote = restore._restore_vote

    def careless(rounds: Rounds, vote: Vote) -> None:
        if vote.subject.kind != NULLIFY:
            restore_vote(rounds, vote)

    monkeypatch.setattr(restore, "_restore_vote", careless)
    assert "E4: nullify and finalize" in hunt(ONE_VIEW_WITH_CRASH)


def test_a_vote_that_is_not_persisted_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voter, "VoteCast", lambda vote: Floor(0, 0))
    assert "E4" in hunt(ONE_VIEW_WITH_CRASH)


def test_sending_before_persisting_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    drain = Emission.drain

    def persist_last(self: Emission) -> list[Effect]:
        return sorted(drain(self), key=lambda effect: isinstance(effect, Persist))

    monkeypatch.setattr(Emission, "drain", persist_last)
    assert "E4" in hunt(ONE_VIEW_WITH_CRASH)
    assert Explorer(ONE_VIEW).search().failure is None, "without a crash it does no harm"


def test_never_giving_up_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voter.Voter, "_give_up", lambda self, current, now_ms: False)
    assert "L1" in hunt(ONE_VIEW)


def test_never_saying_a_nullify_in_the_second_view_is_found_in_glued_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    give_up = voter.Voter._give_up

    def only_once(self: voter.Voter, current: Round, now_ms: int) -> bool:
        return current.view == 1 and give_up(self, current, now_ms)

    monkeypatch.setattr(voter.Voter, "_give_up", only_once)
    assert "L1" in hunt(TWO_VIEWS)
