"""Restarts, the question at the start, and amnesia (docs/consensus.md, C1 and C18)."""

from ledger.rules.certificates import FINALIZE, NOTARIZE, NULLIFY, Vote
from node.consensus.effects import AmnesiaEnded, Build, Certify, Finalized, Misbehaviour, Punish
from node.consensus.events import Certified, PeerUp, WorkChanged
from node.consensus.journal import Amnesia, CertificateHeld, JournalRecord, VoteCast
from node.consensus.messages import (
    ANSWER_VOTES_MAX,
    BlockProposalMessage,
    LatestVoteAnswer,
    LatestVoteRequest,
    VoteMessage,
)
from node.consensus.rounds import FinalizedTip
from node.consensus.startup import Participation
from tests.campaigns.simulation.core.single import (
    EPOCH,
    GENESIS,
    Single,
    asks,
    block_of,
    certificate_of,
    of_kind,
    sent_to,
    subject_of,
    vote_of,
    votes_sent,
)


def answer(single: Single, *, votes: tuple[Vote, ...] = (), peers: tuple[int, ...] = (0, 1, 2)) -> None:
    for peer in peers:
        single.receive(peer, LatestVoteAnswer(EPOCH, votes, ()))


def standing(single: Single) -> Participation:
    return single.core.standing


# Restarts with a whole log.


def test_a_restarted_validator_does_not_contradict_its_votes() -> None:
    single = Single()
    single.propose(1)
    single.verified(1)
    again = single.restart()
    assert not votes_sent(again.propose(1, block=block_of(99)), NOTARIZE)
    assert not votes_sent(again.verified(1), NOTARIZE)


def test_finalize_is_not_followed_by_nullify_after_a_restart() -> None:
    single = Single()
    single.pass_view(1)
    again = single.restart()
    assert again.core.current_view == 2
    again.do(WorkChanged(True))
    assert all(vote.subject.view == 2 for vote in votes_sent(again.wait(10_000), NULLIFY))


def test_nullify_is_not_followed_by_finalize_after_a_restart() -> None:
    single = Single()
    single.do(WorkChanged(True))
    assert votes_sent(single.wait(1_000), NULLIFY)
    again = single.restart()
    again.certify(subject_of(NOTARIZE, 1))
    assert not votes_sent(again.do(Certified(1, block_of(1), True)))
    assert again.core.current_view == 2


def test_a_proposal_that_was_persisted_and_not_sent_is_sent_after_the_restart() -> None:
    single = Single(me=1)
    single.wait(500)
    single.do(WorkChanged(True))
    single.built(1)
    again = single.restart(is_answered=False)
    (proposal,) = sent_to(again.do(PeerUp(0)), 0, BlockProposalMessage)
    assert proposal.vote == vote_of(1, subject_of(NOTARIZE, 1))
    answer(again, peers=(0, 2, 3))
    again.do(WorkChanged(True))
    assert not of_kind(again.wait(900), Build), "its one block of this view is built"


def test_certifying_resumes_after_a_restart() -> None:
    single = Single()
    single.certify(subject_of(NOTARIZE, 1))
    again = single.restart()
    assert Certify(1, block_of(1)) in again.started
    assert votes_sent(again.do(Certified(1, block_of(1), True)), FINALIZE)


def test_a_verdict_survives_the_restart() -> None:
    single = Single()
    single.pass_view(1)
    again = single.restart()
    assert not of_kind(again.started, Certify)
    assert again.propose(2)[-1].__class__.__name__ == "Verify"


def test_a_finalization_that_the_store_lacks_is_reported_again() -> None:
    single = Single()
    single.certify(subject_of(FINALIZE, 4))
    assert of_kind(single.restart().started, Finalized)
    tip = FinalizedTip(4, block_of(4), certificate_of(subject_of(FINALIZE, 4)))
    assert not of_kind(single.restart(finalized=tip).started, Finalized)


def test_nothing_is_signed_at_or_below_the_stores_floor() -> None:
    single = Single(finalized=FinalizedTip(5, block_of(5), None))
    single.propose(5)
    single.certify(subject_of(NOTARIZE, 5))
    assert not votes_sent(single.wait(30_000)) or single.core.current_view == 6
    assert all(record.vote.subject.view > 5 for record in single.journal if isinstance(record, VoteCast))


def test_a_snapshot_restores_what_the_whole_log_restores() -> None:
    single = Single()
    single.pass_view(1)
    single.certify(subject_of(FINALIZE, 1))
    single.certify(subject_of(NOTARIZE, 2))
    single.certify(subject_of(NULLIFY, 2))
    single.propose(3)
    snapshot = single.core.journal_snapshot()
    assert Single(journal=snapshot).state() == single.restart().state()
    assert len(snapshot) < len(single.journal)


def test_records_of_another_epoch_bind_nobody() -> None:
    single = Single()
    single.pass_view(1)
    foreign: list[JournalRecord] = []
    for record in single.journal:
        if isinstance(record, CertificateHeld):
            subject = record.certificate.subject
            other = type(subject)(subject.kind, 7, subject.view, subject.parent_view, subject.block_hash)
            foreign.append(CertificateHeld(certificate_of(other)))
    assert Single(journal=foreign).core.current_view == 1


# The question.


def test_nothing_is_signed_before_enough_validators_answered() -> None:
    single = Single(is_answered=False)
    assert asks([*single.do(PeerUp(0)), *single.do(PeerUp(1))]) == [0, 1]
    single.propose(1)
    assert not votes_sent(single.verified(1))
    single.receive(0, LatestVoteAnswer(EPOCH, (), ()))
    assert standing(single) is Participation.ASKING
    effects = single.receive(1, LatestVoteAnswer(EPOCH, (), ()))
    assert standing(single) is Participation.VOTING
    assert votes_sent(effects, NOTARIZE), "what was verified meanwhile is notarized now"


def test_one_peer_answering_twice_is_one_answer() -> None:
    single = Single(is_answered=False)
    answer(single, peers=(0, 0, 0))
    assert standing(single) is Participation.ASKING


def test_the_question_is_repeated_to_those_who_did_not_answer() -> None:
    single = Single(is_answered=False)
    single.do(PeerUp(0))
    single.do(PeerUp(1))
    single.receive(0, LatestVoteAnswer(EPOCH, (), ()))
    assert set(asks(single.wait(2_500))) == {1}


def test_a_waiting_node_answers_others() -> None:
    single = Single(is_answered=False)
    assert sent_to(single.receive(0, LatestVoteRequest(EPOCH)), 0, LatestVoteAnswer) == [
        LatestVoteAnswer(EPOCH, (), ())
    ]


def test_the_answer_holds_the_latest_votes_and_proves_where_the_answerer_is() -> None:
    single = Single()
    for view in range(1, 9):
        single.pass_view(view)
        single.receive_vote(0, subject_of(FINALIZE, view))
        single.receive_vote(0, subject_of(NOTARIZE, view))
    (found,) = sent_to(single.receive(0, LatestVoteRequest(EPOCH)), 0, LatestVoteAnswer)
    assert len(found.votes) == ANSWER_VOTES_MAX
    assert found.votes[0].subject.view == 8
    assert all(vote.signer == 0 for vote in found.votes)
    assert [certificate.subject for certificate in found.certificates] == [subject_of(NOTARIZE, 8)]


def test_votes_that_the_log_holds_are_no_amnesia() -> None:
    single = Single()
    single.propose(1)
    (vote,) = votes_sent(single.verified(1))
    again = single.restart(is_answered=False)
    answer(again, votes=(vote,))
    assert standing(again) is Participation.VOTING


def test_a_forgotten_vote_makes_an_observer_until_finality_passes_it() -> None:
    single = Single(is_answered=False)
    answer(single, votes=(vote_of(3, subject_of(NOTARIZE, 1)),), peers=(0,))
    answer(single, peers=(1,))
    assert standing(single) is Participation.OBSERVING
    (until_view,) = [record.until_view for record in single.journal if isinstance(record, Amnesia)][-1:]
    assert until_view is not None
    single.propose(1)
    assert not votes_sent(single.verified(1))
    single.certify(subject_of(FINALIZE, until_view))
    assert standing(single) is Participation.OBSERVING
    assert of_kind(single.certify(subject_of(FINALIZE, until_view + 1)), AmnesiaEnded)
    assert standing(single) is Participation.VOTING


def test_amnesia_survives_restarts_and_its_end_does_too() -> None:
    single = Single(is_answered=False)
    answer(single, votes=(vote_of(3, subject_of(NOTARIZE, 1)),))
    again = single.restart()
    assert standing(again) is Participation.OBSERVING
    again.certify(subject_of(FINALIZE, 50))
    assert standing(again.restart()) is Participation.VOTING


def test_a_damaged_log_is_amnesia_although_nobody_saw_a_vote() -> None:
    single = Single(journal=[Amnesia(EPOCH, None)])
    assert standing(single) is Participation.OBSERVING


def test_amnesia_of_an_earlier_epoch_is_asked_about_anew() -> None:
    single = Single(journal=[Amnesia(EPOCH + 1, 40)])
    assert standing(single) is Participation.OBSERVING
    assert Single(journal=[Amnesia(EPOCH + 1, 0)]).core.standing is Participation.VOTING


def test_the_wait_ends_above_the_highest_certificate_of_the_answers() -> None:
    single = Single(is_answered=False)
    proof = (certificate_of(subject_of(NULLIFY, 30)),)
    single.receive(0, LatestVoteAnswer(EPOCH, (vote_of(3, subject_of(NOTARIZE, 9)),), proof))
    single.receive(1, LatestVoteAnswer(EPOCH, (), ()))
    amnesia = [record for record in single.journal if isinstance(record, Amnesia)][-1]
    assert amnesia.until_view is not None
    assert amnesia.until_view >= 32


def test_a_liar_cannot_mute_a_validator() -> None:
    single = Single(is_answered=False)
    forged = Vote(subject_of(NOTARIZE, 1), 3, b"\0" * 64)
    assert of_kind(single.receive(0, LatestVoteAnswer(EPOCH, (forged,), ())), Punish)
    foreign = vote_of(1, subject_of(NOTARIZE, 1))
    assert of_kind(single.receive(1, LatestVoteAnswer(EPOCH, (foreign,), ())), Punish)
    assert standing(single) is Participation.ASKING
    answer(single, peers=(1, 2))
    assert standing(single) is Participation.VOTING


def test_a_certificate_with_a_forgotten_vote_shows_amnesia_while_running() -> None:
    single = Single()
    single.certify(subject_of(NOTARIZE, 1), by=(0, 1, 3))
    assert standing(single) is Participation.ASKING
    assert not votes_sent(single.do(Certified(1, block_of(1), True)))


def test_forgotten_votes_below_finality_do_not_matter() -> None:
    single = Single(is_answered=False)
    proof = (certificate_of(subject_of(FINALIZE, 30)),)
    single.receive(0, LatestVoteAnswer(EPOCH, (vote_of(3, subject_of(NOTARIZE, 9)),), proof))
    single.receive(1, LatestVoteAnswer(EPOCH, (), ()))
    assert standing(single) is Participation.VOTING


def test_an_own_vote_echoed_by_a_peer_is_refused() -> None:
    single = Single()
    before = single.state()
    effects = single.receive(0, VoteMessage(vote_of(3, subject_of(NOTARIZE, 1))))
    assert of_kind(effects, Punish)
    assert not of_kind(effects, Misbehaviour)
    assert single.state() == before


def test_the_epochs_opening_block_is_the_parent_of_the_first() -> None:
    assert Single().core.finalized == FinalizedTip(0, GENESIS, None)
