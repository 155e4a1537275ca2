"""What a peer cannot make grow, and what refusals leave unchanged (docs/consensus.md, Bounds)."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import EncodingError, LedgerError
from ledger.rules.certificates import (
    FINALIZE,
    NOTARIZE,
    NULLIFY,
    VALIDATORS_MAX,
    QuorumCertificate,
    SignedBy,
    Subject,
    Vote,
)
from node.consensus.config import BACKOFF_FACTOR_MAX, Config, TimingError
from node.consensus.effects import Broadcast, Effect, Punish, RequestBlock, Send
from node.consensus.events import PeerDown, PeerUp
from node.consensus.journal import (
    JOURNAL_RECORD_SIZE_MAX,
    Amnesia,
    CertificateHeld,
    CertifyVerdict,
    Floor,
    VoteCast,
    decode_record,
    encode_record,
)
from node.consensus.messages import (
    ANSWER_CERTIFICATES_MAX,
    ANSWER_VOTES_MAX,
    MESSAGE_SIZE_MAX,
    BlockProposalMessage,
    CertificateMessage,
    CertificateRequest,
    LatestVoteAnswer,
    LatestVoteRequest,
    Message,
    StatusMessage,
    VoteMessage,
    decode_message,
    encode_message,
)
from node.consensus.pacemaker import backoff_permille
from node.consensus.resend import RESEND_VIEWS_MAX
from node.consensus.resolver import SERVED_PER_SECOND_MAX, WANTED_BLOCKS_MAX, WANTED_MAX
from tests.campaigns.simulation.core.single import (
    EPOCH,
    Single,
    certificate_of,
    of_kind,
    sent_to,
    subject_of,
    vote_of,
)

BLOCK = b"\x07" * 32
ONE_SIGNATURE = (SignedBy(0, b"\1" * 64),)

MESSAGES: list[Message] = [
    BlockProposalMessage(vote_of(1, subject_of(NOTARIZE, 1))),
    VoteMessage(vote_of(1, subject_of(NULLIFY, 1))),
    CertificateMessage(certificate_of(subject_of(FINALIZE, 2**53 - 1, parent=0))),
    CertificateRequest(0, 5, NULLIFY),
    StatusMessage(1, 2, 3, "work"),
    LatestVoteRequest(4),
    LatestVoteAnswer(0, (vote_of(1, subject_of(NULLIFY, 1)),), (certificate_of(subject_of(NULLIFY, 9)),)),
]
RECORDS = [
    VoteCast(vote_of(1, subject_of(NOTARIZE, 1))),
    CertificateHeld(certificate_of(subject_of(NULLIFY, 1))),
    CertifyVerdict(0, 3, BLOCK, "valid"),
    Floor(0, 9),
    Amnesia(0, None),
    Amnesia(0, 8),
]


def largest_certificate(view: int) -> QuorumCertificate:
    subject = Subject(FINALIZE, 2**53 - 1, view, view - 1, BLOCK)
    return QuorumCertificate(
        subject, tuple(SignedBy(signer, b"\xff" * 64) for signer in range(VALIDATORS_MAX))
    )


# Bytes.


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: str(message.TAG))
def test_a_message_decodes_to_itself(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: str(record.TAG))
def test_a_journal_record_decodes_to_itself(record: VoteCast) -> None:
    assert decode_record(encode_record(record)) == record


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_but_ledger_errors(data: bytes) -> None:
    for decode in (decode_message, decode_record):
        try:
            decode(data)
        except LedgerError:
            continue


@given(st.sampled_from(MESSAGES), st.integers(0, 10_000), st.integers(1, 255))
def test_a_flipped_message_is_refused_or_another_message(message: Message, at: int, flip: int) -> None:
    data = bytearray(encode_message(message))
    data[at % len(data)] ^= flip
    with suppress(LedgerError):
        assert decode_message(bytes(data)) != message


def test_the_largest_message_fits_and_one_item_more_does_not_exist() -> None:
    vote = Vote(Subject(NOTARIZE, 2**53 - 1, 2**53 - 1, 2**53 - 2, BLOCK), VALIDATORS_MAX - 1, b"\xff" * 64)
    votes = (vote,) * ANSWER_VOTES_MAX
    certificates = tuple(largest_certificate(2**53 - 1 - index) for index in range(ANSWER_CERTIFICATES_MAX))
    data = encode_message(LatestVoteAnswer(2**53 - 1, votes, certificates))
    assert len(data) <= MESSAGE_SIZE_MAX
    for too_many in (
        LatestVoteAnswer(0, (*votes, vote), certificates),
        LatestVoteAnswer(0, votes, (*certificates, certificates[0])),
    ):
        with pytest.raises(EncodingError):
            encode_message(too_many)


def test_a_message_past_the_size_limit_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(EncodingError, match=f"at most {MESSAGE_SIZE_MAX} bytes"):
        decode_message(b"\0" * (MESSAGE_SIZE_MAX + 1))


def test_the_largest_journal_record_fits() -> None:
    data = encode_record(CertificateHeld(largest_certificate(2**53 - 1)))
    assert len(data) <= JOURNAL_RECORD_SIZE_MAX
    with pytest.raises(EncodingError, match=f"at most {JOURNAL_RECORD_SIZE_MAX} bytes"):
        decode_record(b"\0" * (JOURNAL_RECORD_SIZE_MAX + 1))


# Refusals.


def _repeating(subject: Subject) -> QuorumCertificate:
    return QuorumCertificate(subject, (certificate_of(subject).signatures[0],) * 3)


def _foreign_signer(subject: Subject) -> QuorumCertificate:
    return certificate_of(subject, (0, 1, 4))


@pytest.mark.parametrize(
    "message",
    [
        VoteMessage(Vote(subject_of(NOTARIZE, 1), 0, b"\0" * 64)),
        VoteMessage(vote_of(1, subject_of(NOTARIZE, 1))),
        VoteMessage(Vote(subject_of(NULLIFY, 1), 60, b"\0" * 64)),
        BlockProposalMessage(vote_of(0, subject_of(NOTARIZE, 1))),
        BlockProposalMessage(vote_of(0, subject_of(NULLIFY, 4))),
        CertificateMessage(QuorumCertificate(subject_of(FINALIZE, 9), ONE_SIGNATURE)),
        CertificateMessage(QuorumCertificate(subject_of(FINALIZE, 9), ONE_SIGNATURE * 3)),
        CertificateMessage(_repeating(subject_of(NULLIFY, 1))),
        CertificateMessage(_foreign_signer(subject_of(NULLIFY, 1))),
        CertificateMessage(certificate_of(subject_of(NULLIFY, 1), (2, 1, 0))),
        CertificateMessage(certificate_of(subject_of(NULLIFY, 1), (0, 1))),
        LatestVoteAnswer(EPOCH, (vote_of(0, subject_of(NULLIFY, 1)),), ()),
    ],
)
def test_what_is_wrong_is_punished_once_and_changes_nothing(message: Message) -> None:
    single = Single()
    before = single.state()
    assert len(of_kind(single.receive(0, message), Punish)) == 1
    assert single.receive(0, message) == []
    assert single.state() == before
    single.do(PeerDown(0))
    single.do(PeerUp(0))
    assert len(of_kind(single.receive(0, message), Punish)) == 1, "a new connection, a new offence"


def test_other_epochs_are_dropped_without_punishment() -> None:
    single = Single()
    before = single.state()
    for epoch in (1, 2**53 - 1):
        vote = vote_of(1, Subject(NULLIFY, epoch, 1, None, None))
        for message in (VoteMessage(vote), StatusMessage(epoch, 5, 6, "work"), LatestVoteRequest(epoch)):
            effects = single.receive(1, message)
            assert not [effect for effect in effects if isinstance(effect, Punish | Send | Broadcast)]
    assert single.state() == before


def test_known_votes_are_dropped_unchecked() -> None:
    single = Single()
    single.receive_vote(0, subject_of(NULLIFY, 1))
    forged_twin = Vote(subject_of(NULLIFY, 1), 0, b"\0" * 64)
    assert single.receive(0, VoteMessage(forged_twin)) == []


# Memory.


def test_one_peers_votes_make_at_most_a_window_of_rounds() -> None:
    single = Single()
    for view in [*range(1, 300), 2**40, 2**53 - 1]:
        for kind in (NOTARIZE, NULLIFY):
            single.receive_vote(0, subject_of(kind, view))
    assert single.core.rounds_count <= 2


def test_requests_in_flight_are_bounded() -> None:
    single = Single()
    effects = [*single.certify(subject_of(NULLIFY, WANTED_MAX + 100)), *single.wait(60)]
    assert len(requests(effects)) == WANTED_MAX
    assert min(view for view, _ in requests(effects)) == 1


def test_exactly_the_maximum_of_gaps_is_requested_at_once() -> None:
    single = Single()
    effects = [*single.certify(subject_of(NULLIFY, WANTED_MAX + 1)), *single.wait(60)]
    assert len(requests(effects)) == WANTED_MAX


def requests(effects: list[Effect]) -> list[tuple[int, str]]:
    return [
        (effect.message.view, effect.message.kind)
        for effect in effects
        if isinstance(effect, Send) and isinstance(effect.message, CertificateRequest)
    ]


def test_block_requests_in_flight_are_bounded() -> None:
    single = Single()
    for view in range(1, WANTED_BLOCKS_MAX + 3):
        single.certify(subject_of(NOTARIZE, view))
    effects = of_kind(single.wait(single.config.fetch_timeout_ms), RequestBlock)
    assert len({effect.block_hash for effect in effects}) == WANTED_BLOCKS_MAX


def test_a_peer_is_served_up_to_its_budget_and_no_further() -> None:
    single = Single()
    single.certify(subject_of(FINALIZE, 9))
    single.now_ms = 20_000
    request = CertificateRequest(EPOCH, 1, NULLIFY)
    served = [
        len(sent_to(single.receive(0, request), 0, CertificateMessage))
        for _ in range(SERVED_PER_SECOND_MAX + 1)
    ]
    assert served == [1] * SERVED_PER_SECOND_MAX + [0]
    assert sent_to(single.receive(1, request), 1, CertificateMessage), "others keep theirs"
    single.now_ms += 1_000
    assert sent_to(single.receive(0, request), 0, CertificateMessage)


@pytest.mark.parametrize("views", [RESEND_VIEWS_MAX, RESEND_VIEWS_MAX + 1])
def test_standing_still_repeats_slices_and_reaches_everything(views: int) -> None:
    single = Single()
    for view in range(1, views + 1):
        single.certify(subject_of(NULLIFY, view))
    rounds = [certified_views(single.wait(single.config.standstill_interval_ms)) for _ in range(2)]
    assert len(rounds[0]) <= RESEND_VIEWS_MAX
    assert rounds[0] | rounds[1] == set(range(1, views + 1))


def certified_views(effects: list[Effect]) -> set[int]:
    return {
        effect.message.certificate.subject.view
        for effect in effects
        if isinstance(effect, Broadcast) and isinstance(effect.message, CertificateMessage)
    }


# Timing.


def test_backoff_grows_by_three_tenths_and_is_capped() -> None:
    assert [backoff_permille(views) for views in (0, 1, 2)] == [1_000, 1_300, 1_690]
    assert backoff_permille(7) < BACKOFF_FACTOR_MAX * 1_000
    assert backoff_permille(8) == backoff_permille(10_000) == BACKOFF_FACTOR_MAX * 1_000


@pytest.mark.parametrize(
    "wrong",
    [
        {"leader_timeout_ms": 2_000},
        {"advance_timeout_ms": 5_000},
        {"leader_timeout_ms": 350},
        {"status_interval_ms": 2_500},
        {"retry_interval_ms": 0},
        {"finality_wait_ms": 10_000},
    ],
)
def test_timing_that_would_stall_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(TimingError):
        Config(**wrong)


def test_the_default_timing_and_its_tightest_neighbours_are_accepted() -> None:
    Config(leader_timeout_ms=1_999)
    Config(advance_timeout_ms=4_999)
    Config(leader_timeout_ms=351)


def test_two_quorums_share_an_honest_validator_in_every_size() -> None:
    for count in range(1, 201):
        faulty = (count - 1) // 3
        quorum = count - faulty
        assert 2 * quorum - count >= faulty + 1
        assert 2 * (quorum - 1) - (count - 1) >= faulty, "C18: signers and answerers meet"
