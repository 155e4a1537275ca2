"""The rules of docs/consensus.md, one by one, on a single core: each obeyed, and each broken."""

from collections.abc import Sequence

import pytest

from ledger.rules.certificates import FINALIZE, NOTARIZE, NULLIFY
from node.consensus.admission import ConflictingCertificates
from node.consensus.effects import (
    Broadcast,
    Build,
    CancelCertify,
    Certify,
    Effect,
    Finalized,
    Misbehaviour,
    Persist,
    Punish,
    RequestBlock,
    Verify,
)
from node.consensus.events import (
    BlockAvailable,
    Built,
    Certified,
    PeerDown,
    PeerUp,
    TimerFired,
    Verified,
    WorkChanged,
)
from node.consensus.journal import CertificateHeld, VoteCast
from node.consensus.messages import (
    WAITING,
    WORK,
    BlockProposalMessage,
    CertificateMessage,
    CertificateRequest,
    StatusMessage,
    VoteMessage,
)
from node.consensus.rounds import FinalizedTip
from tests.campaigns.simulation.core.single import (
    EPOCH,
    GENESIS,
    Single,
    block_of,
    certificate_of,
    of_kind,
    sent_to,
    subject_of,
    vote_of,
    votes_sent,
)


def statuses(effects: Sequence[Effect]) -> list[StatusMessage]:
    return [
        effect.message
        for effect in effects
        if isinstance(effect, Broadcast) and isinstance(effect.message, StatusMessage)
    ]


# Persisting.


def test_a_vote_reaches_disk_before_the_network() -> None:
    single = Single()
    single.propose(1)
    effects = single.verified(1)
    (vote,) = votes_sent(effects, NOTARIZE)
    assert isinstance(effects[0], Persist)
    assert VoteCast(vote) in effects[0].records


def test_an_event_gives_at_most_one_persist_and_it_stands_first() -> None:
    single = Single()
    single.certify(subject_of(NOTARIZE, 1))
    effects = single.do(Certified(1, block_of(1), True))
    assert votes_sent(effects, FINALIZE)
    assert [index for index, effect in enumerate(effects) if isinstance(effect, Persist)] == [0]


# C3: proposing.


def test_a_leader_with_work_builds_on_the_tip_and_proposes_what_was_built() -> None:
    single = Single(me=1)
    assert not of_kind(single.wait(500), Build)
    assert of_kind(single.do(WorkChanged(True)), Build) == [Build(1, 0, GENESIS)]
    effects = single.built(1)
    assert effects[-1] == Broadcast(BlockProposalMessage(vote_of(1, subject_of(NOTARIZE, 1))))


def test_a_leader_builds_once_in_a_view() -> None:
    single = Single(me=1)
    single.wait(500)
    single.do(WorkChanged(True))
    assert not of_kind(single.do(WorkChanged(True)), Build)
    single.built(1)
    assert not votes_sent(single.do(Built(1, block_of(77))))


def test_blocks_keep_their_distance_under_load() -> None:
    single = Single(me=2)
    single.do(WorkChanged(True))
    assert not of_kind(single.pass_view(1), Build)
    assert not of_kind(single.wait(single.config.block_interval_min_ms - 1), Build)
    assert of_kind(single.wait(1), Build)


def test_a_leader_that_cannot_build_nullifies_at_once() -> None:
    single = Single(me=1)
    single.wait(500)
    single.do(WorkChanged(True))
    assert votes_sent(single.do(Built(1, None)), NULLIFY)


def test_a_leader_skips_only_views_that_are_proven_to_be_skipped() -> None:
    single = Single(me=3)
    single.wait(500)
    single.do(WorkChanged(True))
    assert not of_kind(single.certify(subject_of(NULLIFY, 2)), Build), "view 1 is a gap"
    assert of_kind(single.certify(subject_of(NULLIFY, 1)), Build) == [Build(3, 0, GENESIS)]


def test_a_block_built_too_late_is_not_proposed() -> None:
    single = Single(me=1)
    single.wait(500)
    single.do(WorkChanged(True))
    single.certify(subject_of(NULLIFY, 1))
    assert not votes_sent(single.built(1))


# C4, C5: proposals.


def test_a_proposal_is_verified_once_and_then_notarized_once() -> None:
    single = Single()
    assert of_kind(single.propose(1), Verify) == [Verify(1, block_of(1), GENESIS, 1)]
    assert not of_kind(single.propose(1), Verify)
    assert len(votes_sent(single.verified(1), NOTARIZE)) == 1
    assert not votes_sent(single.verified(1))


def test_an_invalid_proposal_is_nullified() -> None:
    single = Single()
    single.propose(1)
    effects = single.verified(1, is_valid=False)
    assert votes_sent(effects, NULLIFY)
    assert not votes_sent(effects, NOTARIZE)


def test_nothing_is_notarized_after_nullify() -> None:
    single = Single()
    single.propose(1)
    single.verified(1, is_valid=False)
    assert not votes_sent(single.verified(1))


def test_an_answer_about_another_block_is_ignored() -> None:
    single = Single()
    single.propose(1)
    before = single.state()
    assert not votes_sent(single.do(Verified(1, block_of(9), True)))
    assert single.state() == before


def test_missing_ancestry_is_fetched_from_the_leader_and_is_no_reason_to_refuse() -> None:
    single = Single(me=2)
    single.certify(subject_of(NULLIFY, 2))
    effects = single.propose(3, parent=1)
    assert CertificateRequest(EPOCH, 1, NOTARIZE) in sent_to(effects, 3, CertificateRequest)
    assert not of_kind(effects, Verify)
    assert not votes_sent(effects)
    effects = single.pass_view(1)
    assert of_kind(effects, Verify) == [Verify(3, block_of(3), block_of(1), 3)]


def test_a_parent_below_finality_is_invalid_for_good() -> None:
    single = Single(me=2)
    single.pass_view(1)
    single.certify(subject_of(FINALIZE, 2))
    effects = single.propose(3, parent=1)
    assert not of_kind(effects, Verify)
    assert votes_sent(effects, NULLIFY)


def test_a_second_proposal_is_evidence_and_bars_the_notarize_vote() -> None:
    single = Single()
    single.propose(1)
    effects = single.propose(1, block=block_of(99))
    (evidence,) = of_kind(effects, Misbehaviour)
    assert evidence.first.signer == evidence.second.signer == 1
    assert of_kind(effects, Punish)
    assert not votes_sent(single.verified(1), NOTARIZE)


def test_a_proposal_comes_from_its_leader_only() -> None:
    single = Single()
    before = single.state()
    effects = single.receive(2, BlockProposalMessage(vote_of(2, subject_of(NOTARIZE, 1))))
    assert of_kind(effects, Punish)
    assert not of_kind(effects, Verify)
    assert single.state() == before


# C6, C7: votes and certificates.


def test_a_quorum_of_votes_makes_a_certificate_that_is_persisted_and_relayed_once() -> None:
    single = Single()
    single.receive_vote(0, subject_of(NULLIFY, 1))
    single.receive_vote(2, subject_of(NULLIFY, 1))
    effects = single.receive_vote(1, subject_of(NULLIFY, 1))
    certificate = next(record.certificate for record in single.journal if isinstance(record, CertificateHeld))
    assert certificate.subject == subject_of(NULLIFY, 1)
    assert effects.count(Broadcast(CertificateMessage(certificate))) == 1
    assert not of_kind(single.certify(subject_of(NULLIFY, 1)), Broadcast)


def test_votes_for_different_blocks_make_no_certificate() -> None:
    single = Single(me=0)
    for signer, block in ((1, 1), (2, 1), (3, 7)):
        single.receive_vote(signer, subject_of(NOTARIZE, 1, block=block_of(block)))
    assert not any(isinstance(record, CertificateHeld) for record in single.journal)


@pytest.mark.parametrize(
    ("view", "is_admitted"), [(0, False), (9, False), (10, True), (21, True), (22, False)]
)
def test_votes_are_admitted_near_the_current_view_only(view: int, is_admitted: bool) -> None:
    single = (
        Single(finalized=FinalizedTip(19, block_of(19), None))
        if view > 20
        else Single(finalized=FinalizedTip(20, block_of(20), None))
    )
    rounds_count = single.core.rounds_count
    single.receive_vote(1, subject_of(NULLIFY, view))
    assert (single.core.rounds_count > rounds_count) is is_admitted


def test_a_certificate_of_a_far_view_is_followed_at_once() -> None:
    single = Single()
    effects = single.certify(subject_of(FINALIZE, 5_000))
    assert of_kind(effects, Finalized)
    assert single.core.current_view == 5_001
    assert single.core.rounds_count <= 12


def test_two_certificates_that_exclude_each_other_stop_the_node() -> None:
    single = Single()
    single.certify(subject_of(NULLIFY, 1))
    with pytest.raises(ConflictingCertificates):
        single.certify(subject_of(FINALIZE, 1))


# C8, C9: certify and finalize.


def test_a_notarized_block_is_certified_before_the_finalize_vote() -> None:
    single = Single()
    effects = single.certify(subject_of(NOTARIZE, 1))
    assert of_kind(effects, Certify) == [Certify(1, block_of(1))]
    assert not votes_sent(effects)
    assert single.core.current_view == 1
    assert votes_sent(single.do(Certified(1, block_of(1), True)), FINALIZE)
    assert single.core.current_view == 2


def test_certifying_goes_on_after_a_nullification() -> None:
    single = Single()
    single.certify(subject_of(NOTARIZE, 1))
    assert not of_kind(single.certify(subject_of(NULLIFY, 1)), CancelCertify)
    effects = single.do(Certified(1, block_of(1), True))
    assert votes_sent(effects, FINALIZE), "nobody here nullified, so finalize is lawful"
    assert of_kind(single.propose(2), Verify), "the block can be built on"


def test_finality_cancels_certifying() -> None:
    single = Single()
    single.certify(subject_of(NOTARIZE, 1))
    assert of_kind(single.certify(subject_of(FINALIZE, 1)), CancelCertify) == [CancelCertify(1)]
    assert not votes_sent(single.do(Certified(1, block_of(1), True)))


def test_nothing_is_finalized_after_nullify() -> None:
    single = Single()
    single.propose(1)
    single.verified(1, is_valid=False)
    single.certify(subject_of(NOTARIZE, 1))
    assert not votes_sent(single.do(Certified(1, block_of(1), True)), FINALIZE)
    assert single.core.current_view == 2


def test_nothing_is_nullified_after_finalize() -> None:
    single = Single()
    single.pass_view(1)
    effects = single.wait(30_000)
    assert all(vote.subject.view > 1 for vote in votes_sent(effects, NULLIFY))


def test_a_block_that_does_not_certify_is_nullified_and_never_built_on() -> None:
    single = Single(me=2)
    single.wait(500)
    single.do(WorkChanged(True))
    single.certify(subject_of(NOTARIZE, 1))
    assert votes_sent(single.do(Certified(1, block_of(1), False)), NULLIFY)
    single.certify(subject_of(NULLIFY, 1))
    assert of_kind(single.wait(25), Build) == [Build(2, 0, GENESIS)]


def test_a_notarization_replaces_the_first_seen_proposal_which_is_then_not_finalized() -> None:
    single = Single()
    single.propose(1, block=block_of(99))
    single.certify(subject_of(NOTARIZE, 1))
    assert not votes_sent(single.do(Verified(1, block_of(99), True)))
    effects = single.do(Certified(1, block_of(1), True))
    assert single.core.current_view == 2
    assert not votes_sent(effects, FINALIZE)


def test_an_unknown_notarized_block_is_requested_from_its_signers_until_it_is_here() -> None:
    single = Single()
    effects = single.certify(subject_of(NOTARIZE, 1))
    assert of_kind(effects, RequestBlock) == [RequestBlock(block_of(1), (0, 1, 2))]
    assert of_kind(single.wait(single.config.fetch_timeout_ms), RequestBlock)
    single.do(BlockAvailable(block_of(1)))
    assert not of_kind(single.wait(5_000), RequestBlock)


# C10, C11.


def test_nullifications_above_finality_are_kept_however_many() -> None:
    single = Single()
    for view in range(1, 101):
        single.certify(subject_of(NULLIFY, view))
    assert single.core.current_view == 101
    answer = single.receive(0, CertificateRequest(EPOCH, 1, NULLIFY))
    assert sent_to(answer, 0, CertificateMessage)


def test_finality_reports_once_and_forgets_old_rounds() -> None:
    single = Single()
    for view in range(1, 41):
        single.pass_view(view)
    effects = single.certify(subject_of(FINALIZE, 40))
    assert len(of_kind(effects, Finalized)) == 1
    assert single.core.rounds_count <= 12
    assert not of_kind(single.certify(subject_of(FINALIZE, 40)), Finalized)
    assert not of_kind(single.certify(subject_of(FINALIZE, 39)), Finalized)


# C12 to C14: clocks.


def test_no_clock_runs_without_a_reason() -> None:
    assert not votes_sent(Single().wait(9_900))


def test_own_work_starts_the_clock_and_the_leader_timeout_ends_the_view() -> None:
    single = Single()
    single.do(WorkChanged(True))
    assert not votes_sent(single.wait(single.config.leader_timeout_ms - 1))
    assert votes_sent(single.wait(1), NULLIFY)


def test_the_clock_stops_when_work_vanishes_before_a_proposal() -> None:
    single = Single()
    single.do(WorkChanged(True))
    single.wait(900)
    single.do(WorkChanged(False))
    assert not votes_sent(single.wait(5_000))


def test_a_proposal_stops_the_leader_timer_and_the_advance_timer_goes_on() -> None:
    single = Single()
    single.do(WorkChanged(True))
    single.wait(500)
    single.propose(1)
    single.verified(1)
    assert not votes_sent(single.wait(1_499))
    assert votes_sent(single.wait(1), NULLIFY)


def test_an_unfinalized_tip_becomes_work_only_after_a_while() -> None:
    single = Single(me=2)
    single.pass_view(1)
    assert not of_kind(single.wait(single.config.finality_wait_ms - 1), Build)
    assert of_kind(single.wait(1), Build)


def test_a_leaders_nullify_ends_its_view_at_once() -> None:
    single = Single()
    assert votes_sent(single.receive_vote(1, subject_of(NULLIFY, 1)), NULLIFY)
    assert not votes_sent(single.receive_vote(0, subject_of(NULLIFY, 2)), NULLIFY)


def test_a_silent_leader_is_skipped_at_once_while_a_quorum_is_heard() -> None:
    single = Single()
    for _ in range(6):
        single.wait(1_000)
        for peer in (0, 2):
            single.receive(peer, StatusMessage(EPOCH, 0, 1, "idle"))
    assert votes_sent(single.do(WorkChanged(True)), NULLIFY)


def test_nobody_is_called_silent_by_a_node_that_hears_less_than_a_quorum() -> None:
    single = Single()
    for _ in range(6):
        single.wait(1_000)
        single.receive(0, StatusMessage(EPOCH, 0, 1, "idle"))
    assert not votes_sent(single.do(WorkChanged(True)))


def test_waiting_is_signalled_and_obliges_the_leader() -> None:
    follower, leader = Single(me=3), Single(me=1)
    follower.do(WorkChanged(True))
    signals = statuses(follower.wait(follower.config.signal_delay_ms))
    assert [signal.pace for signal in signals] == [WORK]
    leader.wait(500)
    assert of_kind(leader.receive(3, signals[0]), Build)


def test_waiting_in_this_view_obliges_the_leader_but_starts_no_followers_clock() -> None:
    leader, follower = Single(me=1), Single(me=3)
    leader.wait(500)
    assert of_kind(leader.receive(2, StatusMessage(EPOCH, 0, 1, WAITING)), Build)
    follower.receive(2, StatusMessage(EPOCH, 0, 1, WAITING))
    assert not votes_sent(follower.wait(5_000))


def test_a_peers_work_starts_clocks_until_it_is_taken_back_or_stale() -> None:
    single = Single()
    single.receive(2, StatusMessage(EPOCH, 0, 1, WORK))
    single.receive(2, StatusMessage(EPOCH, 0, 1, "idle"))
    assert not votes_sent(single.wait(1_500))
    single.receive(2, StatusMessage(EPOCH, 0, 1, WORK))
    single.do(PeerDown(2))
    assert not votes_sent(single.wait(1_500))
    single.receive(2, StatusMessage(EPOCH, 0, 1, WORK))
    assert votes_sent(single.wait(1_500), NULLIFY)


def test_a_lying_peer_causes_an_empty_block_only_at_the_obliged_interval() -> None:
    single = Single(me=2)
    single.receive(0, StatusMessage(EPOCH, 0, 2**50, WORK))
    assert not of_kind(single.pass_view(1), Build)
    assert not of_kind(single.wait(single.config.obliged_interval_ms - 1), Build)
    assert of_kind(single.wait(1), Build)


def test_a_node_stuck_in_a_view_repeats_its_votes_and_the_way_in() -> None:
    single = Single()
    single.certify(subject_of(NULLIFY, 1))
    single.receive_vote(2, subject_of(NULLIFY, 2))
    repeated = single.wait(single.config.retry_interval_ms)
    assert votes_sent(repeated, NULLIFY)
    assert Broadcast(CertificateMessage(certificate_of(subject_of(NULLIFY, 1)))) in repeated


def test_the_heartbeat_counts_from_the_last_block() -> None:
    single = Single(me=2)
    single.wait(8_000)
    single.pass_view(1)
    single.certify(subject_of(FINALIZE, 1))
    assert not of_kind(single.wait(9_999), Build)
    assert of_kind(single.wait(1), Build)


# C15 to C17: fetching, standing still, catching up.


def test_a_certificate_is_served_and_a_notarization_only_once_certified() -> None:
    single = Single()
    single.certify(subject_of(NOTARIZE, 1))
    request = CertificateRequest(EPOCH, 1, NOTARIZE)
    assert not sent_to(single.receive(0, request), 0, CertificateMessage)
    single.do(Certified(1, block_of(1), True))
    assert sent_to(single.receive(0, request), 0, CertificateMessage)


def test_finality_settles_every_request_below_it() -> None:
    single = Single()
    single.certify(subject_of(FINALIZE, 9))
    (answer,) = sent_to(single.receive(0, CertificateRequest(EPOCH, 4, NULLIFY)), 0, CertificateMessage)
    assert answer.certificate.subject == subject_of(FINALIZE, 9)


def test_standstill_repeats_everything_above_finality() -> None:
    single = Single()
    single.pass_view(1)
    repeated = single.wait(single.config.standstill_interval_ms)
    assert votes_sent(repeated, FINALIZE)
    assert Broadcast(CertificateMessage(certificate_of(subject_of(NOTARIZE, 1)))) in repeated


def test_nothing_is_repeated_when_everything_is_final() -> None:
    single = Single()
    single.pass_view(1)
    single.certify(subject_of(FINALIZE, 1))
    sent = [effect.message for effect in of_kind(single.wait(9_000), Broadcast)]
    assert all(isinstance(message, StatusMessage) for message in sent)


def test_a_peer_that_is_behind_gets_what_it_lacks_but_not_every_time() -> None:
    single = Single()
    single.certify(subject_of(FINALIZE, 9))
    status = StatusMessage(EPOCH, 0, 1, "idle")
    assert sent_to(single.receive(0, status), 0, CertificateMessage)
    assert not sent_to(single.receive(0, status), 0, CertificateMessage)


def test_a_peer_that_is_ahead_is_told_where_we_are() -> None:
    single = Single()
    assert sent_to(single.receive(0, StatusMessage(EPOCH, 7, 9, "idle")), 0, StatusMessage)


def test_a_peer_that_connects_gets_our_votes_above_finality() -> None:
    single = Single()
    single.propose(1)
    single.verified(1)
    assert sent_to(single.do(PeerUp(2)), 2, VoteMessage)


# C19, C20.


def test_nullify_with_finalize_is_evidence_once() -> None:
    single = Single()
    single.receive_vote(2, subject_of(FINALIZE, 1))
    assert len(of_kind(single.receive_vote(2, subject_of(NULLIFY, 1)), Misbehaviour)) == 1
    assert not of_kind(single.receive_vote(2, subject_of(FINALIZE, 1, block=block_of(5))), Misbehaviour)


def test_notarize_with_nullify_is_legal() -> None:
    single = Single()
    single.receive_vote(2, subject_of(NOTARIZE, 1))
    effects = single.receive_vote(2, subject_of(NULLIFY, 1))
    assert not of_kind(effects, Misbehaviour)
    assert not of_kind(effects, Punish)


def test_votes_inside_certificates_serve_as_evidence() -> None:
    single = Single()
    single.receive_vote(2, subject_of(NOTARIZE, 1, block=block_of(5)))
    assert of_kind(single.certify(subject_of(NOTARIZE, 1)), Misbehaviour)


def test_observers_follow_finalizations_and_nothing_else() -> None:
    observer = Single(me=None, is_answered=False)
    assert observer.receive(0, CertificateMessage(certificate_of(subject_of(NULLIFY, 1)))) == []
    assert observer.receive(1, BlockProposalMessage(vote_of(1, subject_of(NOTARIZE, 1)))) == []
    effects = observer.receive(0, CertificateMessage(certificate_of(subject_of(FINALIZE, 4))))
    assert [effect for effect in effects if isinstance(effect, Finalized | Persist | Broadcast)] == [
        Finalized(certificate_of(subject_of(FINALIZE, 4)))
    ]
    assert observer.core.finalized.view == 4
    assert observer.do(TimerFired()) == []
    assert observer.core.next_deadline_ms() is None


def test_an_observer_may_tell_a_validator_of_a_finalization_only() -> None:
    single = Single()
    single.receive(None, VoteMessage(vote_of(1, subject_of(NULLIFY, 1))))
    single.receive(None, CertificateMessage(certificate_of(subject_of(NULLIFY, 1))))
    assert single.core.current_view == 1
    single.receive(None, CertificateMessage(certificate_of(subject_of(FINALIZE, 1))))
    assert single.core.current_view == 2


def test_the_end_of_work_is_told_to_all_where_one_peer_was_told_of_the_work() -> None:
    single = Single()
    assert statuses(single.do(WorkChanged(True))) == []
    single.do(PeerDown(2))
    shown = sent_to(single.do(PeerUp(2)), 2, StatusMessage)
    assert [status.pace for status in shown] == ["work"]
    ended = statuses(single.do(WorkChanged(False)))
    assert [status.pace for status in ended] == ["idle"]
    assert statuses(single.do(WorkChanged(False))) == []
