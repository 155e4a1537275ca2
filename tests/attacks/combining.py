"""Proofs that are wrong in several independent ways at once, and the reason that is told of them.

`DEFECTS` stand in the order of docs/formats.md, Verification: of several the first is told.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

from ledger.presentation import Place, Presentation, list_tree
from ledger.rules.state import Ended, Revoked, Suspension
from ledger.trees.statetree import AbsenceProof
from tests.attacks.forge import (
    HOLDER,
    NOW_MS,
    OTHER_BANK,
    PLAIN,
    RECORDED,
    Shown,
    flipped,
    make_consent,
    make_scene,
    show,
)
from tests.support.asking import request_with
from tests.support.consortium import MINUTE_MS, NOTICE, START_MS

HEADER_MS: Final = START_MS + PLAIN * MINUTE_MS
ENDED: Final = Ended("holder", PLAIN, HEADER_MS)

World = dict[str, Any]
"""What is other in the scene: its fields, or those of its consent under `consent`."""


def _nothing(_world: World) -> None:
    pass


def _same(shown: Shown) -> Shown:
    return shown


@dataclass(frozen=True, slots=True, eq=False)
class Defect:
    """One thing that is wrong: in the world that the proof is of, in what the bank asks, or in the proof's bytes."""

    name: str
    step: str
    code: str
    world: Callable[[World], None] = _nothing
    request: dict[str, object] = field(default_factory=dict)
    proof: Callable[[Shown], Shown] = _same


def _setting(place: str, **fields: object) -> Callable[[World], None]:
    def change(world: World) -> None:
        world.setdefault(place, {}).update(fields)

    return change


def _suspended(*suspensions: Suspension) -> Callable[[World], None]:
    def change(world: World) -> None:
        # An interval of distrust stands before the suspension that goes on.
        world["suspensions"] = tuple(sorted((*world.get("suspensions", ()), *suspensions), key=_began))

    return change


def _began(suspension: Suspension) -> int:
    return suspension.suspended_at


def _fixed(name: str, value: object) -> Callable[[World], None]:
    def change(world: World) -> None:
        world[name] = value

    return change


def _leaf_of_another(name: str) -> Callable[[Shown], Shown]:
    def change(shown: Shown) -> Shown:
        proven = getattr(shown.proof.evidence, name)
        return shown.evidence_with(**{name: replace(proven, value=flipped(proven.value, -1))})

    return change


def _consent_part(name: str) -> Callable[[Shown], Shown]:
    def change(shown: Shown) -> Shown:
        if shown.proof.evidence.consent is None:
            return shown
        proven = getattr(shown.proof.evidence.consent, name)
        return shown.consent_with(**{name: replace(proven, value=flipped(proven.value, -1))})

    return change


def _presentation(change: Callable[[Presentation], dict[str, object]]) -> Callable[[Shown], Shown]:
    def changed(shown: Shown) -> Shown:
        presentation = shown.proof.presentation
        return shown if presentation is None else shown.presentation_with(**change(presentation))

    return changed


def _absence_of_nothing(shown: Shown) -> Shown:
    return shown.evidence_with(unrevoked=AbsenceProof(0, b"", (), None))


def _batch_of_another(shown: Shown) -> Shown:
    path = shown.proof.batch.path
    siblings = (flipped(path.siblings[0]), *path.siblings[1:])
    return shown.proof_with(batch=replace(shown.proof.batch, path=replace(path, siblings=siblings)))


def _header_of_another(shown: Shown) -> Shown:
    certificate = shown.proof.evidence.certificate
    assert certificate is not None
    first, *others = certificate.signatures
    forged = replace(certificate, signatures=(replace(first, signature=bytes(64)), *others))
    return shown.evidence_with(certificate=forged)


def _one_of_two(shown: Shown) -> Shown:
    presentation = shown.proof.presentation
    assert presentation is not None, "what hides others comes later"
    places = [Place(0, commitment, None) for commitment in (shown.proof.opening.commitment(), bytes(32))]
    tree = list_tree(places)
    holder = HOLDER if presentation.holder_signature is not None else None
    signed = shown.present(holder=holder, consent_id=presentation.consent_id, root=tree.root(), size=2)
    return signed.presentation_with(list_size=2, path=tree.path(0))


def _slow(shown: Shown) -> Shown:
    return replace(shown, at_ms=HEADER_MS - 3 * MINUTE_MS)


DEFECTS: Final = (
    Defect("cut", "files", "proof-malformed", proof=lambda shown: replace(shown, raw=shown.proof_bytes[:-1])),
    Defect("untrusted", "trust", "untrusted-header", proof=_header_of_another),
    Defect(
        "altered",
        "document",
        "document-altered",
        proof=lambda shown: replace(shown, document=shown.document + b"!"),
    ),
    Defect("of another batch", "anchor", "not-in-anchor", proof=_batch_of_another),
    Defect("not anchored", "anchor", "anchor-unproven", proof=_leaf_of_another("anchor")),
    Defect("of another kind", "anchor", "metadata-mismatch", world=_setting("anchor", schema=NOTICE)),
    Defect("of nobody", "anchor", "no-holder", world=_setting("metadata", holder_key=None)),
    Defect("of no issuer", "issuer", "issuer-unproven", proof=_leaf_of_another("issuer")),
    Defect(
        "distrusted",
        "issuer",
        "anchor-distrusted",
        world=_suspended(Suspension(RECORDED, RECORDED, RECORDED + 1)),
    ),
    Defect("suspended", "issuer", "issuer-suspended", world=_suspended(Suspension(PLAIN, PLAIN, None))),
    Defect(
        "revoked",
        "status",
        "revoked",
        world=_setting("anchor", revoked=Revoked("fraud", PLAIN, HEADER_MS)),
    ),
    Defect("not shown unrevoked", "status", "revocation-unproven", proof=_absence_of_nothing),
    Defect("by a slow clock", "status", "clock-behind", proof=_slow),
    Defect("not yet issued", "status", "not-yet-anchored", world=_setting("metadata", issued_ms=NOW_MS + 1)),
    Defect("expired", "status", "document-expired", world=_setting("metadata", expires_ms=HEADER_MS - 1)),
    Defect("answered late", "consent", "answer-late", request={"answer_by_ms": HEADER_MS - 1}),
    Defect(
        "not presented",
        "presentation",
        "not-presented",
        proof=lambda shown: shown.proof_with(presentation=None),
    ),
    Defect("not asked for", "consent", "request-mismatch", request={"schemas": ("another.kind",)}),
    Defect(
        "without a consent",
        "consent",
        "consent-missing",
        proof=lambda shown: shown.evidence_with(consent=None),
    ),
    Defect("of no consent", "consent", "consent-unproven", proof=_consent_part("consent")),
    Defect(
        "never granted", "consent", "consent-ended", world=_setting("consent", granted=False, ended=ENDED)
    ),
    Defect("for another bank", "consent", "wrong-recipient", request={"recipient": OTHER_BANK}),
    Defect("for another purpose", "consent", "wrong-purpose", request={"purpose": "account-opening"}),
    Defect("for other categories", "consent", "wrong-terms", request={"category_mask": 2}),
    Defect("of no recipient", "consent", "consent-unproven", proof=_consent_part("recipient")),
    Defect("without the role", "consent", "not-a-recipient", world=_fixed("recipient_roles", ("issuer",))),
    Defect(
        "of a suspended bank",
        "consent",
        "recipient-suspended",
        world=_fixed("recipient_suspensions", (Suspension(PLAIN, PLAIN, None),)),
    ),
    Defect("withdrawn", "consent", "consent-ended", world=_setting("consent", ended=ENDED)),
    Defect("over", "consent", "consent-period", world=_setting("consent", until_ms=HEADER_MS - 1)),
    Defect("used up", "consent", "consent-used-up", world=_setting("consent", used=2)),
    Defect(
        "for another request",
        "presentation",
        "wrong-nonce",
        proof=_presentation(lambda each: {"nonce": flipped(each.nonce)}),
    ),
    Defect(
        "not by the consent key",
        "presentation",
        "consent-signature",
        proof=_presentation(lambda each: {"consent_signature": flipped(each.consent_signature)}),
    ),
    Defect(
        "by a thief",
        "presentation",
        "holder-signature",
        proof=_presentation(lambda each: {"holder_signature": flipped(each.holder_signature or bytes(64))}),
    ),
    Defect("one of two", "presentation", "one-of-many", proof=_one_of_two),
    Defect("one too few", "presentation", "item-missing", world=_setting("agreed", count=2)),
    Defect("stale", "age", "stale-proof", proof=lambda shown: replace(shown, max_age_ms=MINUTE_MS)),
)


def combined(defects: Collection[Defect]) -> Shown:
    """Return a proof with all of these defects, asked about now."""
    worlds = tuple(each for each in DEFECTS if each in defects and each.world is not _nothing)
    shown = _of_world(worlds)
    asked: dict[str, Any] = {}
    for each in defects:
        asked |= each.request
    if asked:
        shown = replace(shown, request=request_with(body=shown.request.decoded(), **asked))
    consent = shown.proof.presentation
    assert consent is not None
    holder = HOLDER if shown.proof.opening.decoded_metadata().holder_key is not None else None
    shown = replace(shown.present(holder=holder, consent_id=consent.consent_id), is_present=True)
    # What hides others comes last.
    for each in reversed(DEFECTS):
        if each in defects:
            shown = each.proof(shown)
    return shown


@lru_cache(maxsize=1_024)
def _of_world(defects: tuple[Defect, ...]) -> Shown:
    """Return the honest proof of a world in which these things are so."""
    world: World = {}
    for each in defects:
        each.world(world)
    consent, agreed = make_consent(**world.pop("consent", {})), world.pop("agreed", {})
    return show(make_scene(**world, consent=consent), agreed=agreed)
