"""The signer guard: the second line of defence against equivocation (docs/consensus.md, C19).

It owns the validator's private key, knows what that key has signed, and does not trust the consensus core.

Rule 1: one subject of a kind in a view. The same subject again gives the same signature (Ed25519 is
deterministic); a second different one is refused.
Rule 2: nullify and finalize exclude each other in a view, and no notarize follows a nullify. A nullify after
a notarize is lawful.
Rule 3: nothing new or old is signed at or below the durable floor. The floor only rises, and what lies at or
below it is forgotten.
Rule 4: the guard forms the signed bytes itself from the subject, so a subject cannot pass as another's.
Rule 5: after one refusal it signs nothing more: the core is broken, and the node must stop.
Rule 6: it starts from the votes of the vote log, in their order; a log that breaks these rules is refused.
"""

from collections.abc import Iterable
from typing import Final, Protocol

from ledger.errors import LuohuError
from ledger.rules.certificates import FINALIZE, NOTARIZE, NULLIFY, VOTE_TAGS, Subject

SUBJECTS_MAX: Final = 3 * 2**17

_EXCLUDED_BY: Final = {NOTARIZE: (NULLIFY,), NULLIFY: (FINALIZE,), FINALIZE: (NULLIFY,)}


class SigningKey(Protocol):
    """What the guard needs of a private key; `ledger.encoding.keys.PrivateKey` is one."""

    def sign(self, tag: str, body: bytes) -> bytes:
        """Return the deterministic signature over `body` under `tag`."""
        ...


class SigningRefused(LuohuError):
    """The core asked for a signature that could contradict an earlier one. The node must stop."""

    def __init__(self, *, subject: Subject, expected: str, found: str) -> None:
        where = f"epoch {subject.epoch} view {subject.view}: refused to sign {subject.kind}"
        super().__init__(where=where, expected=expected, found=found)
        self.subject = subject


class SignerGuard:
    """Signs this validator's votes, and never two that exclude each other."""

    __slots__ = ("_chain_id", "_floor", "_key", "_refusal", "_signed", "_subjects_count")

    def __init__(
        self,
        key: SigningKey,
        *,
        chain_id: bytes,
        signed: Iterable[Subject],
        floor_epoch: int,
        floor_view: int,
    ) -> None:
        """Start from the subjects of the vote log, in order. Raises SigningRefused if they conflict.

        The floor must be durable: the last finalization that the chain store holds.
        """
        self._key = key
        self._chain_id = chain_id
        self._floor = (floor_epoch, floor_view)
        self._signed: dict[tuple[int, int], dict[str, Subject]] = {}
        self._subjects_count = 0
        self._refusal: SigningRefused | None = None
        for subject in signed:
            if (subject.epoch, subject.view) > self._floor:
                self._remember(subject)

    @property
    def subjects_count(self) -> int:
        """How many subjects are remembered, at most SUBJECTS_MAX."""
        return self._subjects_count

    def sign(self, subject: Subject) -> bytes:
        """Return the signature of a vote. Raises SigningRefused, and from then on always.

        The vote is remembered here in memory only: the caller makes it durable before it leaves the node.
        """
        if self._refusal is not None:
            raise SigningRefused(
                subject=subject, expected="a core that keeps its promises", found=f"earlier: {self._refusal}"
            )
        try:
            self._remember(subject)
        except SigningRefused as refusal:
            self._refusal = refusal
            raise
        return self._key.sign(VOTE_TAGS[subject.kind], subject.body(self._chain_id))

    def raise_floor(self, *, epoch: int, view: int) -> None:
        """Take note of durable finality and forget all at or below it. A lower floor changes nothing."""
        floor = (epoch, view)
        if floor <= self._floor:
            return
        self._floor = floor
        for place in [place for place in self._signed if place <= floor]:
            self._subjects_count -= len(self._signed.pop(place))

    def _remember(self, subject: Subject) -> None:
        place = (subject.epoch, subject.view)
        if place <= self._floor:
            expected = f"a view above the durable floor, epoch {self._floor[0]} view {self._floor[1]}"
            raise SigningRefused(subject=subject, expected=expected, found="a view that is final")
        signed = self._signed.get(place, {})
        earlier = signed.get(subject.kind)
        if earlier == subject:
            return
        if earlier is not None:
            raise SigningRefused(
                subject=subject,
                expected=f"block {_block(earlier)}, signed before",
                found=f"block {_block(subject)}",
            )
        for kind in _EXCLUDED_BY[subject.kind]:
            if kind in signed:
                raise SigningRefused(
                    subject=subject,
                    expected=f"no {kind} signed in this view",
                    found=f"a {kind} signed before",
                )
        if self._subjects_count == SUBJECTS_MAX:
            raise SigningRefused(
                subject=subject, expected=f"at most {SUBJECTS_MAX} votes without finality", found="one more"
            )
        self._signed.setdefault(place, {})[subject.kind] = subject
        self._subjects_count += 1


def _block(subject: Subject) -> str:
    if subject.block_hash is None:
        return "none"
    return f"{subject.block_hash.hex()} on view {subject.parent_view}"
