"""The votes of one view: who said what first, what makes a quorum, what makes evidence.

Rule 1: one vote of each kind by each signer counts, the first; so a view holds at most 3n (C6 of
docs/consensus.md).
Rule 2: two notarizes, two finalizes, or nullify with finalize, by one signer exclude each other (C19).
Rule 3: a signer is accused once in a view; its further conflicting votes are not even checked.
"""

from ledger.rules.certificates import FINALIZE, NOTARIZE, NULLIFY, QuorumCertificate, SignedBy, Subject, Vote

KINDS = (NOTARIZE, NULLIFY, FINALIZE)


class VoteBook:
    """First votes of one view."""

    __slots__ = ("_accused", "_votes")

    def __init__(self) -> None:
        self._votes: dict[str, dict[int, Vote]] = {kind: {} for kind in KINDS}
        self._accused: set[int] = set()

    def find(self, kind: str, signer: int) -> Vote | None:
        """Return a signer's first vote of a kind."""
        return self._votes[kind].get(signer)

    def votes_of(self, signer: int) -> list[Vote]:
        """Return a signer's votes in this view, at most one of each kind."""
        return [self._votes[kind][signer] for kind in KINDS if signer in self._votes[kind]]

    def signers(self, kind: str) -> list[int]:
        """Return who cast a vote of this kind, in order."""
        return sorted(self._votes[kind])

    def find_conflict(self, vote: Vote) -> Vote | None:
        """Return a vote held that excludes this one."""
        same_kind = self.find(vote.subject.kind, vote.signer)
        if same_kind is not None and same_kind.subject != vote.subject:
            return same_kind
        if vote.subject.kind == NULLIFY:
            return self.find(FINALIZE, vote.signer)
        if vote.subject.kind == FINALIZE:
            return self.find(NULLIFY, vote.signer)
        return None

    def is_redundant(self, vote: Vote) -> bool:
        """Tell whether nothing can be learned from this vote, so that its signature need not be checked."""
        held = self.find(vote.subject.kind, vote.signer)
        return held is not None and (held.subject == vote.subject or vote.signer in self._accused)

    def accuse(self, signer: int) -> bool:
        """Note that a signer misbehaved; tell whether that is new."""
        is_new = signer not in self._accused
        self._accused.add(signer)
        return is_new

    def add(self, vote: Vote) -> bool:
        """Keep a vote that is the signer's first of its kind; tell whether it was."""
        return self._votes[vote.subject.kind].setdefault(vote.signer, vote) is vote

    def find_quorum(self, kind: str, quorum: int) -> QuorumCertificate | None:
        """Return a certificate if `quorum` signers agree on one subject."""
        votes = self._votes[kind]
        if len(votes) < quorum:
            return None
        by_subject: dict[Subject, list[SignedBy]] = {}
        for signer in sorted(votes):
            vote = votes[signer]
            by_subject.setdefault(vote.subject, []).append(SignedBy(signer, vote.signature))
        for subject, signatures in by_subject.items():
            if len(signatures) >= quorum:
                return QuorumCertificate(subject, tuple(signatures))
        return None

    def __len__(self) -> int:
        return sum(len(votes) for votes in self._votes.values())
