"""What to say again, since messages get lost (docs/consensus.md, C14, C16 and C17).

Rule 1: votes are re-sent by their signer only, certificates by anybody; all byte for byte as before.
Rule 2: one round of re-sending covers at most RESEND_VIEWS_MAX views, lowest first; the next goes on from
there.
"""

from typing import Final

from ledger.rules.certificates import NOTARIZE, NULLIFY, Vote
from node.consensus.messages import (
    ANSWER_CERTIFICATES_MAX,
    ANSWER_VOTES_MAX,
    BlockProposalMessage,
    CertificateMessage,
    LatestVoteAnswer,
    Message,
    VoteMessage,
)
from node.consensus.rounds import Round, Rounds
from node.consensus.votebook import KINDS

RESEND_VIEWS_MAX: Final = 64


def own_message(rounds: Rounds, vote: Vote) -> Message:
    """Return the message that carries an own vote: a leader's notarize is its proposal."""
    if vote.subject.kind == NOTARIZE and vote.signer == rounds.leader_of(vote.subject.view):
        return BlockProposalMessage(vote)
    return VoteMessage(vote)


def stuck_messages(rounds: Rounds) -> list[Message]:
    """Return what helps peers to leave the current view with us: the way in, and our votes (C14)."""
    opening = rounds.opening_certificate()
    certificates: list[Message] = [] if opening is None else [CertificateMessage(opening)]
    return certificates + _own_votes(rounds, rounds.current)


def standstill_messages(rounds: Rounds, *, from_view: int) -> tuple[list[Message], int]:
    """Return a slice of all that stands above finality, and the view to go on from (C16)."""
    above = rounds.above_finalized()
    part = [found for found in above if found.view >= from_view][:RESEND_VIEWS_MAX]
    messages: list[Message] = []
    for found in part:
        messages.extend(_certificates(found))
        messages.extend(_own_votes(rounds, found))
    if messages and rounds.finalized.certificate is not None:
        messages.insert(0, CertificateMessage(rounds.finalized.certificate))
    is_last = not part or part[-1] is above[-1]
    return messages, 0 if is_last else part[-1].view + 1


def catch_up_messages(rounds: Rounds, *, finalized_view: int, current_view: int) -> list[Message]:
    """Return what a peer that reports these views lacks (C17)."""
    messages: list[Message] = []
    if finalized_view < rounds.finalized.view and rounds.finalized.certificate is not None:
        messages.append(CertificateMessage(rounds.finalized.certificate))
    if current_view < rounds.current_view:
        behind = [found for found in rounds.above_finalized() if found.view >= current_view]
        for found in behind[:RESEND_VIEWS_MAX]:
            messages.extend(_certificates(found))
    return messages


def own_votes_above_finality(rounds: Rounds) -> list[Message]:
    """Return own votes for a peer that just connected, the newest views if there are many."""
    messages: list[Message] = []
    for found in rounds.above_finalized()[-RESEND_VIEWS_MAX:]:
        messages.extend(_own_votes(rounds, found))
    return messages


def answer_latest_vote(rounds: Rounds, asker: int) -> LatestVoteAnswer:
    """Return the asker's latest votes held here, with what proves our own position (C18)."""
    votes: list[Vote] = []
    for found in rounds.newest_first():
        votes.extend(found.votes.votes_of(asker))
        if len(votes) >= ANSWER_VOTES_MAX:
            break
    certificates = [
        certificate
        for certificate in (rounds.finalized.certificate, rounds.highest_certificate())
        if certificate is not None
    ]
    distinct = tuple(dict.fromkeys(certificates))
    assert len(distinct) <= ANSWER_CERTIFICATES_MAX, "finality and the highest view"
    return LatestVoteAnswer(rounds.epoch, tuple(votes[:ANSWER_VOTES_MAX]), distinct)


def _certificates(found: Round) -> list[Message]:
    kinds = (NOTARIZE, NULLIFY)
    return [CertificateMessage(found.certificates[kind]) for kind in kinds if kind in found.certificates]


def _own_votes(rounds: Rounds, found: Round) -> list[Message]:
    return [own_message(rounds, found.own[kind]) for kind in KINDS if kind in found.own]
