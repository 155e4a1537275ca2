"""What may be believed: checks before anything changes (docs/consensus.md, C6, C7 and C19).

Rule 1: cheap checks come before signatures, and signatures before any state.
Rule 2: what is already known is dropped unchecked; what is refused changes nothing but the peer's standing.
Rule 3: evidence consists of two checked votes, and is given once for each signer and view.
"""

import enum
from collections.abc import Callable, Iterator

from ledger.rules.certificates import FINALIZE, NOTARIZE, NULLIFY, CertificateError, QuorumCertificate, Vote
from node.consensus.effects import (
    BAD_CERTIFICATE,
    BAD_SIGNATURE,
    CONFLICTING_VOTES,
    FOREIGN_VOTE,
    NOT_THE_LEADER,
    Misbehaviour,
)
from node.consensus.emission import Emission
from node.consensus.rounds import Rounds
from node.consensus.votebook import VoteBook


class ConflictingCertificates(Exception):
    """Two certificates that cannot both exist while at most f validators are faulty. The node stops."""

    def __init__(self, held: QuorumCertificate, received: QuorumCertificate) -> None:
        super().__init__(
            f"view {held.subject.view}: expected certificates that agree, found {held.subject} "
            f"and {received.subject}: more than f validators are faulty"
        )
        self.held = held
        self.received = received


class Reception(enum.Enum):
    """What became of a certificate."""

    NEW = "new"
    KNOWN = "known"
    BAD = "bad"


class Admission:
    """Checks against the rounds of one epoch."""

    __slots__ = ("_emission", "_rounds", "_verify")

    def __init__(
        self, rounds: Rounds, verify: Callable[[Vote | QuorumCertificate], bool], emission: Emission
    ) -> None:
        self._rounds = rounds
        self._verify = verify
        self._emission = emission

    def is_proposal(self, peer: int, vote: Vote) -> bool:
        """Tell whether a vote can be a proposal from this peer."""
        is_leader = vote.signer == peer == self._rounds.leader_of(vote.subject.view)
        if vote.subject.kind != NOTARIZE or not is_leader:
            self._emission.punish(peer, NOT_THE_LEADER)
            return False
        return True

    def admit_vote(self, peer: int, vote: Vote) -> bool:
        """Keep a peer's vote if it is its own, wanted and signed; tell whether it is news."""
        if vote.signer != peer:
            self._emission.punish(peer, FOREIGN_VOTE)
            return False
        view = vote.subject.view
        if not self._rounds.admits_votes(view):
            return False
        found = self._rounds.find(view)
        if found is not None and found.votes.is_redundant(vote):
            return False
        if not self._verify(vote):
            self._emission.punish(peer, BAD_SIGNATURE)
            return False
        if self.add_vote(self._rounds.at(view).votes, vote):
            self._emission.punish(peer, CONFLICTING_VOTES)
        return True

    def add_vote(self, book: VoteBook, vote: Vote) -> bool:
        """Count a checked vote; tell whether it shows misbehaviour for the first time."""
        conflicting = book.find_conflict(vote)
        is_misbehaviour = conflicting is not None and book.accuse(vote.signer)
        if conflicting is not None and is_misbehaviour:
            self._emission.emit(Misbehaviour(conflicting, vote))
        book.add(vote)
        return is_misbehaviour

    def admit_certificate(self, peer: int | None, certificate: QuorumCertificate) -> Reception:
        """Check a certificate. Raises ConflictingCertificates if it contradicts one that is held."""
        subject = certificate.subject
        if subject.view <= self._rounds.finalized.view:
            return Reception.KNOWN
        found = self._rounds.find(subject.view)
        if found is not None and subject.kind in found.certificates:
            return Reception.KNOWN
        try:
            certificate.check_signers(self._rounds.validators)
        except CertificateError:
            self._emission.punish(peer, BAD_CERTIFICATE)
            return Reception.BAD
        if not self._verify(certificate):
            self._emission.punish(peer, BAD_SIGNATURE)
            return Reception.BAD
        self.check_agreement(certificate)
        return Reception.NEW

    def check_agreement(self, certificate: QuorumCertificate) -> None:
        """Raise ConflictingCertificates if a certificate contradicts one that is held."""
        found = self._rounds.find(certificate.subject.view)
        if found is None or certificate.subject.kind != FINALIZE:
            return
        nullification = found.certificates.get(NULLIFY)
        if nullification is not None:
            raise ConflictingCertificates(nullification, certificate)
        notarization = found.certificates.get(NOTARIZE)
        if notarization is not None and notarization.subject.block_hash != certificate.subject.block_hash:
            raise ConflictingCertificates(notarization, certificate)

    def is_genuine(self, peer: int, vote: Vote) -> bool:
        """Check the signature of a vote that a peer shows us."""
        if not self._verify(vote):
            self._emission.punish(peer, BAD_SIGNATURE)
            return False
        return True


def votes_in(certificate: QuorumCertificate) -> Iterator[Vote]:
    """Yield the votes that a certificate is made of."""
    for signed in certificate.signatures:
        yield Vote(certificate.subject, signed.signer, signed.signature)
