"""Verdicts and refusals as JSON: one shape for the command, bulk verification and the service.

Rule 1: `verdict` says first what was decided: `verified`, `anchor-verified`, or `refused`.
Rule 2: `checked` names the steps that were checked, so that whoever asked for less sees it in the answer. Of a refusal
they end with the one that refused.
"""

from collections.abc import Mapping

from ledger.disclosure import STEP_DISCLOSURE, DisclosureVerdict
from ledger.encoding.records import Json
from ledger.presentedsets import STEP_SET, SetVerdict
from ledger.sdjwt import ArrayShown
from ledger.verdicts import (
    STEP_AGE,
    STEP_ANCHOR,
    STEP_CONSENT,
    STEP_DOCUMENT,
    STEP_ISSUER,
    STEP_PRESENTATION,
    STEP_STATUS,
    STEP_TRUST,
    AnchorVerdict,
    Sentence,
    Verdict,
    VerificationError,
)

VERIFIED = "verified"
ANCHOR_VERIFIED = "anchor-verified"
REFUSED = "refused"

_ANCHOR_STEPS = (STEP_TRUST, STEP_DOCUMENT, STEP_ANCHOR, STEP_ISSUER, STEP_STATUS, STEP_AGE)
# In the order in which they are taken: the age is the last.
_STEPS_TAKEN = (*_ANCHOR_STEPS[:-1], STEP_CONSENT, STEP_PRESENTATION, STEP_AGE)


def verdict_to_json(verdict: AnchorVerdict | Verdict, *, at_ms: int) -> dict[str, Json]:
    """Return the JSON form of what holds, at the time asked about."""
    is_anchor_only = isinstance(verdict, AnchorVerdict)
    value: dict[str, Json] = {
        "verdict": ANCHOR_VERIFIED if is_anchor_only else VERIFIED,
        "checked": checked_steps(is_anchor_only=is_anchor_only),
        "at_ms": at_ms,
        **_anchor_to_json(verdict),
    }
    return value | _consent_to_json(verdict) if isinstance(verdict, Verdict) else value


def disclosure_to_json(verdict: DisclosureVerdict, *, at_ms: int) -> dict[str, Json]:
    """Return the JSON form of what holds of a report of which chosen fields are shown."""
    return {
        **verdict_to_json(verdict.document, at_ms=at_ms),
        "disclosed": {
            "fields": verdict.fields,
            "shown": dict(verdict.shown),
            "withheld": [*verdict.withheld],
            "withheld_count": verdict.withheld_count,
            "bound_ms": verdict.bound_ms,
            "arrays": arrays_to_json(verdict.arrays),
            "shown_hash": verdict.shown_hash.hex(),
        },
    }


def arrays_to_json(arrays: Mapping[str, ArrayShown]) -> Json:
    """Return the JSON form of how much is shown of each array, by its path."""
    return {
        path: {
            "shown_count": array.shown_count,
            "elements_count": array.elements_count,
            "is_whole": array.is_whole,
        }
        for path, array in arrays.items()
    }


def set_to_json(verdict: SetVerdict, *, at_ms: int) -> dict[str, Json]:
    """Return the JSON form of what holds of a set of which all or some files are shown."""
    return {
        **verdict_to_json(verdict.document, at_ms=at_ms),
        "set": {
            "files": [
                {
                    "name": file.name,
                    "media_type": file.media_type,
                    "size": file.size,
                    "found_as": [*file.found_as],
                }
                for file in verdict.files
            ],
            "shown_count": len(verdict.files),
            "files_count": verdict.files_count,
            "is_whole": verdict.is_whole,
            "shown_hash": verdict.shown_hash.hex(),
        },
    }


def refusal_to_json(error: VerificationError, *, is_anchor_only: bool) -> dict[str, Json]:
    """Return the JSON form of why a document was refused."""
    return {
        "verdict": REFUSED,
        "checked": checked_until(error.step, is_anchor_only=is_anchor_only),
        "code": error.code,
        "step": error.step,
        "where": error.where,
        "expected": error.expected,
        "found": error.found,
        "meaning": _sentence_to_json(error.refusal.meaning),
        "next_step": _sentence_to_json(error.refusal.next_step),
    }


def checked_steps(*, is_anchor_only: bool) -> list[Json]:
    """Return the names of the steps that are checked."""
    steps: list[Json] = [*_ANCHOR_STEPS]
    return steps if is_anchor_only else [*steps, STEP_CONSENT, STEP_PRESENTATION]


def checked_until(step: str, *, is_anchor_only: bool) -> list[Json]:
    """Return the names of the steps that were taken up to the one that refused; none where it was before them."""
    taken = [each for each in _STEPS_TAKEN if each in checked_steps(is_anchor_only=is_anchor_only)]
    if step in taken:
        return [*taken[: taken.index(step) + 1]]
    # Chosen fields and files of a set are looked at once the document was verified; files before anything is.
    return [*taken] if step in (STEP_DISCLOSURE, STEP_SET) else []


def _sentence_to_json(sentence: Sentence) -> dict[str, Json]:
    return {"en": sentence.en, "zh-Hans": sentence.zh_hans, "zh-Hant": sentence.zh_hant}


def _anchor_to_json(verdict: AnchorVerdict | Verdict) -> dict[str, Json]:
    integrity, issuer, anchored, status, trust = (
        verdict.integrity,
        verdict.issuer,
        verdict.anchored,
        verdict.status,
        verdict.trust,
    )
    return {
        "integrity": {
            "media_type": integrity.media_type,
            "size": integrity.size,
            "commitment": integrity.commitment.hex(),
        },
        "issuer": {
            "member": issuer.member,
            "name_en": issuer.name_en,
            "name_zh_hans": issuer.name_zh_hans,
            "name_zh_hant": issuer.name_zh_hant,
            "is_suspended": issuer.is_suspended,
        },
        "anchored": {
            "root": anchored.root.hex(),
            "schema": anchored.schema,
            "height": anchored.height,
            "time_ms": anchored.time_ms,
            "issued_ms": anchored.issued_ms,
            "expires_ms": anchored.expires_ms,
        },
        "status": {"height": status.height, "time_ms": status.time_ms, "age_ms": status.age_ms},
        "trust": {"chain_id": trust.chain_id.hex(), "epoch": trust.epoch, "height": trust.height},
    }


def _consent_to_json(verdict: Verdict) -> dict[str, Json]:
    consent, presented = verdict.consent, verdict.presented
    return {
        "consent": {
            "consent_id": consent.consent_id.hex(),
            "recipient": consent.recipient,
            "purpose": consent.purpose,
            "until_ms": consent.until_ms,
            "used": consent.used,
            "uses": consent.uses,
        },
        "presented": {
            "nonce": presented.nonce.hex(),
            "holder_key": presented.holder_key,
            "item": presented.item,
            "shown": None if presented.shown is None else presented.shown.hex(),
            "list_size": presented.list_size,
            "list_root": presented.list_root.hex(),
        },
    }
