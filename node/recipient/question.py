"""What a recipient asks of one document, whichever way it came: now, or as of a past time.

Rule 1: the present is by this machine's clock. Only a time that was given is a past one, and a time to come is none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.disclosure import DisclosureVerdict, verify_disclosure, verify_disclosure_as_of
from ledger.presentedsets import (
    Files,
    SetVerdict,
    verify_set,
    verify_set_anchor,
    verify_set_anchor_as_of,
    verify_set_as_of,
)
from ledger.requests import Request
from ledger.verdicts import AnchorVerdict, Verdict
from ledger.verifier import Document, Verifier


@dataclass(frozen=True, slots=True)
class TimeAsked:
    """The present by this machine's clock, and the past time that was given instead, or None."""

    now_ms: int
    past_ms: int | None
    max_age_ms: int

    @property
    def is_to_come(self) -> bool:
        """Say whether what was given is no past time: whoever took it refuses it."""
        return self.past_ms is not None and self.past_ms > self.now_ms

    @property
    def at_ms(self) -> int:
        """The time asked about, as an answer states it."""
        return self.now_ms if self.past_ms is None else self.past_ms


def ask(
    verifier: Verifier, document: Document, proof: bytes, request: Request | None, time: TimeAsked
) -> AnchorVerdict | Verdict:
    """Return the verdict on a document; without a request, on its anchor alone. Raises VerificationError."""
    now_ms, past_ms, max_age_ms = time.now_ms, time.past_ms, time.max_age_ms
    if request is None and past_ms is None:
        return verifier.verify_anchor(document, proof, now_ms=now_ms, max_age_ms=max_age_ms)
    if request is None:
        return verifier.verify_anchor_as_of(document, proof, at_ms=time.at_ms, max_age_ms=max_age_ms)
    if past_ms is None:
        return verifier.verify(document, proof, request=request, now_ms=now_ms, max_age_ms=max_age_ms)
    return verifier.verify_as_of(document, proof, request=request, at_ms=past_ms, max_age_ms=max_age_ms)


def ask_disclosure(
    verifier: Verifier,
    shown: bytes,
    proof: bytes,
    request: Request,
    time: TimeAsked,
    *,
    named_fields: Sequence[str],
) -> DisclosureVerdict:
    """Return the verdict on a report of which chosen fields are shown. Raises VerificationError."""
    if time.past_ms is None:
        return verify_disclosure(
            verifier,
            shown,
            proof,
            request=request,
            now_ms=time.now_ms,
            max_age_ms=time.max_age_ms,
            named_fields=named_fields,
        )
    return verify_disclosure_as_of(
        verifier,
        shown,
        proof,
        request=request,
        at_ms=time.past_ms,
        max_age_ms=time.max_age_ms,
        named_fields=named_fields,
    )


def ask_set(
    verifier: Verifier, shown: bytes, proof: bytes, files: Files, request: Request | None, time: TimeAsked
) -> SetVerdict:
    """Return the verdict on a set of which files are shown; without a request, on its anchor alone.

    Raises VerificationError, and what reading the files raises.
    """
    now_ms, past_ms, max_age_ms = time.now_ms, time.past_ms, time.max_age_ms
    if request is None and past_ms is None:
        return verify_set_anchor(verifier, shown, proof, files, now_ms=now_ms, max_age_ms=max_age_ms)
    if request is None:
        return verify_set_anchor_as_of(verifier, shown, proof, files, at_ms=time.at_ms, max_age_ms=max_age_ms)
    if past_ms is None:
        return verify_set(
            verifier, shown, proof, files, request=request, now_ms=now_ms, max_age_ms=max_age_ms
        )
    return verify_set_as_of(
        verifier, shown, proof, files, request=request, at_ms=past_ms, max_age_ms=max_age_ms
    )
