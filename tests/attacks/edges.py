"""Proofs that verify by a hair: each is at the edge of what one of the forgeries oversteps."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

from ledger.proofs import BatchPath
from ledger.rules.state import Ended, Granted, Revocation, Suspension
from ledger.trees.merkle import CHUNK_SIZE, Tree
from ledger.trust import TrustPath
from ledger.verifier import SuspendedIssuer
from tests.attacks.forge import (
    BATCH,
    CONSENT_KEY,
    FIRST_SEAL,
    ISSUER,
    MIDDLE,
    NOW_MS,
    PINNED,
    PLAIN,
    RECORDED,
    SETS,
    TIP,
    Shown,
    certify,
    honest,
    honest_after_handovers,
    honest_bearer,
    honest_from_checkpoint,
    honest_of_suspended_issuer,
    honest_under_history,
    make_consent,
    make_opening,
    make_request,
    make_scene,
    show,
)
from tests.support.asking import ITEM
from tests.support.consortium import (
    DAY_MS,
    MAINLAND_REPORT,
    MINUTE_MS,
    NOTICE,
    REPORT,
    START_MS,
    hash_of,
    make_terms,
)


def expires_now() -> Shown:
    """A document that expires at the time asked about."""
    return show(make_scene(metadata={"expires_ms": NOW_MS}))


def expires_with_its_anchor() -> Shown:
    """A document of the latest expiry that its anchor allows, at that very time."""
    return show(make_scene(metadata={"expires_ms": START_MS + 30 * DAY_MS}))


def expires_under_an_anchor_without_expiry() -> Shown:
    """A document with an expiry in an anchor that states none."""
    return show(make_scene(anchor={"expires_ms": None}))


def never_expires() -> Shown:
    """Neither document nor anchor has an expiry."""
    return show(make_scene(anchor={"expires_ms": None}, metadata={"expires_ms": None}))


def issued_now() -> Shown:
    """A document issued at the time asked about."""
    return show(make_scene(metadata={"issued_ms": NOW_MS}))


def asked_at_the_anchor() -> Shown:
    """The time of the anchor and of the grant, before the header's."""
    return replace(honest(), at_ms=START_MS + MINUTE_MS)


def asked_at_the_header() -> Shown:
    """The time of the header itself: an age of nothing."""
    return replace(honest(), at_ms=START_MS + 2 * MINUTE_MS, max_age_ms=0)


def as_old_as_accepted() -> Shown:
    """A proof of exactly the age that the bank accepts."""
    return replace(honest(), max_age_ms=8 * MINUTE_MS)


def a_day_old() -> Shown:
    """A proof of exactly one day, at a bank that says nothing of age."""
    return replace(honest(), at_ms=START_MS + 2 * MINUTE_MS + DAY_MS)


def consent_begins_now() -> Shown:
    """A consent whose first moment is the time asked about."""
    return show(make_scene(consent=make_consent(from_ms=NOW_MS)))


def consent_ends_now() -> Shown:
    """A consent whose last moment is the time asked about."""
    return show(make_scene(consent=make_consent(until_ms=NOW_MS)))


def last_use_left() -> Shown:
    """A consent with one verification left."""
    return show(make_scene(consent=make_consent(used=1)))


def used_up_since() -> Shown:
    """A consent used up as of the header, at a time asked about before it."""
    return replace(show(make_scene(consent=make_consent(used=2))), at_ms=START_MS + 2 * MINUTE_MS - 1)


def withdrawn_since() -> Shown:
    """A consent withdrawn one millisecond after the time asked about, which lies before the header's."""
    ended = Ended("holder", PLAIN, START_MS + MINUTE_MS + 1)
    return replace(show(make_scene(consent=make_consent(ended=ended))), at_ms=START_MS + MINUTE_MS)


def granted_now() -> Shown:
    """A consent recorded in the header's block, at that time."""
    late = replace(make_consent(), granted=Granted(make_terms(), PLAIN, START_MS + 2 * MINUTE_MS))
    return replace(show(make_scene(consent=late)), at_ms=START_MS + 2 * MINUTE_MS)


def a_consent_for_three_kinds() -> Shown:
    """A consent and a request for three kinds of document."""
    return show(make_scene(), agreed={"schemas": tuple(sorted((MAINLAND_REPORT, REPORT, NOTICE)))})


def any_issuer_that_the_schema_lists() -> Shown:
    """A request that names no issuer, answered by one that the schema listed when it anchored."""
    return show(make_scene(anchor={"listed": 1}), agreed={"issuers": ()})


def a_later_request_for_the_same() -> Shown:
    """A later request of the bank that asks for the same, byte for byte, with a nonce and a time of its own."""
    shown = honest()
    changes = {"nonce": b"request nonce 02", "answer_by_ms": START_MS + 29 * DAY_MS}
    return replace(shown, request=make_request(shown.trust, **changes)).present()


def an_item_that_need_not_be_answered() -> Shown:
    """A request for two items, of which the document answers the second; the first need not be answered."""
    first, second = replace(ITEM, schemas=(NOTICE,), needed=0), ITEM
    return show(make_scene(), agreed={"items": (first, second)}).present(item=1)


def consent_for_fewer_uses() -> Shown:
    """A consent for one use and a short time, as the bank asked for."""
    return show(make_scene(consent=make_consent(uses=1, until_ms=NOW_MS + DAY_MS)))


def distrusted_from_the_next_block() -> Shown:
    """An issuer whose anchors are distrusted from the block after this one, and that is suspended."""
    shown = show(make_scene(suspensions=(Suspension(RECORDED + 1, RECORDED + 1, None),)))
    return replace(shown, suspended_issuer=SuspendedIssuer.ACCEPT_ANCHORS_BEFORE_DISTRUST)


def reinstated_with_this_block() -> Shown:
    """An issuer that was distrusted until before the anchor's block."""
    return show(make_scene(suspensions=(Suspension(0, 0, RECORDED),)))


def recipient_reinstated() -> Shown:
    """A recipient that was suspended and is no more."""
    return show(make_scene(recipient_suspensions=(Suspension(0, 0, RECORDED),)))


def every_validator_signed() -> Shown:
    """A certificate of all four validators, one more than a quorum."""
    encoded_header = honest().chain.tips[PLAIN].encoded_header
    return honest().evidence_with(certificate=certify(encoded_header, SETS[0], signers=(0, 1, 2, 3)))


def the_last_three_signed() -> Shown:
    """A certificate of the highest indices."""
    encoded_header = honest().chain.tips[PLAIN].encoded_header
    return honest().evidence_with(certificate=certify(encoded_header, SETS[0], signers=(1, 2, 3)))


def seal_finalized_in_a_later_view() -> Shown:
    """A path whose first seal was finalized three views after its own."""
    shown = honest_after_handovers()
    encoded_header = shown.chain.tips[FIRST_SEAL].encoded_header
    first, second = shown.proof.evidence.trust_path.handovers
    certificate = certify(encoded_header, SETS[0], view=encoded_header.header.view + 3)
    seal = replace(first.seal, certificate=certificate)
    return shown.path_with(handovers=(replace(first, seal=seal), second))


def as_of_a_seal() -> Shown:
    """Evidence under a seal, which is a block of the epoch that it ends."""
    return show(make_scene(), FIRST_SEAL)


def as_of_the_second_epoch() -> Shown:
    """Evidence of the middle epoch: one handover."""
    return show(make_scene(), MIDDLE)


def at_the_pinned_block() -> Shown:
    """Evidence under the pinned block itself."""
    return show(make_scene(), PINNED, from_epoch=2, pinned=True)


def on_the_last_day_of_the_pin() -> Shown:
    """A path from a checkpoint at the last moment of its window."""
    shown = honest_from_checkpoint()
    pins = tuple(replace(pin, valid_until_ms=NOW_MS) for pin in shown.trust.checkpoints)
    return replace(shown, trust=replace(shown.trust, checkpoints=pins))


def on_the_first_day_of_the_pin() -> Shown:
    """A path from a checkpoint at the first moment of its window."""
    shown = honest_from_checkpoint()
    pins = tuple(replace(pin, valid_from_ms=NOW_MS) for pin in shown.trust.checkpoints)
    return replace(shown, trust=replace(shown.trust, checkpoints=pins))


def past_the_pinned_epoch() -> Shown:
    """A path from genesis through the epoch of a checkpoint."""
    shown = honest_from_checkpoint()
    return shown.path_with(from_epoch=0, handovers=shown.chain.handovers(0, 2))


def history_through_handovers() -> Shown:
    """An old header in the history of one that the path reaches from genesis."""
    shown = honest()
    path = TrustPath(0, shown.chain.handovers(0, 2), shown.chain.history(PLAIN, TIP))
    return shown.evidence_with(certificate=None, trust_path=path)


def history_under_the_next_block() -> Shown:
    """An old header in the history of the very next one."""
    shown = honest()
    path = TrustPath(0, (), shown.chain.history(PLAIN, FIRST_SEAL))
    return shown.evidence_with(certificate=None, trust_path=path)


def no_revocation_near() -> Shown:
    """A state in which the place of the revocation holds other leaves, or none."""
    others = tuple(
        Revocation(ISSUER, hash_of(f"revoked {number}"), "error", RECORDED, START_MS + MINUTE_MS)
        for number in range(40)
    )
    return show(make_scene(others=others))


def last_of_the_batch() -> Shown:
    """The odd last document of the batch, whose node is carried up."""
    return _document_of_the_batch(6)


def middle_of_the_batch() -> Shown:
    """A document with siblings on both sides."""
    return _document_of_the_batch(5)


def batch_of_one() -> Shown:
    """A document alone in its batch: its leaf is the root."""
    return show(make_scene(batch=BATCH[:1]))


def empty_document() -> Shown:
    """A document of no bytes: one empty chunk."""
    return show(make_scene(batch=(b"", *BATCH[1:])))


def one_chunk() -> Shown:
    """A document of exactly one chunk."""
    return show(make_scene(batch=(bytes(CHUNK_SIZE), *BATCH[1:])))


def chunks_and_a_byte() -> Shown:
    """A document of two chunks and a byte."""
    return show(make_scene(batch=(bytes(2 * CHUNK_SIZE + 1), *BATCH[1:])))


def _document_of_the_batch(index: int) -> Shown:
    openings = [make_opening(document) for document in BATCH]
    tree = Tree([opening.commitment() for opening in openings])
    shown = honest()
    proof = replace(shown.proof, opening=openings[index], batch=BatchPath(tree.size, tree.path(index)))
    key = shown.chain.absence_of(PLAIN, ISSUER, openings[index].commitment())
    moved = replace(shown, proof=replace(proof, evidence=replace(proof.evidence, unrevoked=key)))
    presented = moved.present()
    assert presented.proof.presentation is not None
    assert presented.proof.presentation.consent_key == CONSENT_KEY.public
    return replace(presented, document=BATCH[index])


HONEST: tuple[Callable[[], Shown], ...] = (
    honest,
    honest_after_handovers,
    honest_from_checkpoint,
    honest_under_history,
    honest_bearer,
    honest_of_suspended_issuer,
)
EDGES: tuple[Callable[[], Shown], ...] = (
    expires_now,
    expires_with_its_anchor,
    expires_under_an_anchor_without_expiry,
    never_expires,
    issued_now,
    asked_at_the_anchor,
    asked_at_the_header,
    as_old_as_accepted,
    a_day_old,
    consent_begins_now,
    consent_ends_now,
    last_use_left,
    used_up_since,
    withdrawn_since,
    granted_now,
    a_consent_for_three_kinds,
    any_issuer_that_the_schema_lists,
    a_later_request_for_the_same,
    an_item_that_need_not_be_answered,
    consent_for_fewer_uses,
    distrusted_from_the_next_block,
    reinstated_with_this_block,
    recipient_reinstated,
    every_validator_signed,
    the_last_three_signed,
    seal_finalized_in_a_later_view,
    as_of_a_seal,
    as_of_the_second_epoch,
    at_the_pinned_block,
    on_the_last_day_of_the_pin,
    on_the_first_day_of_the_pin,
    past_the_pinned_epoch,
    history_through_handovers,
    history_under_the_next_block,
    no_revocation_near,
    last_of_the_batch,
    middle_of_the_batch,
    batch_of_one,
    empty_document,
    one_chunk,
    chunks_and_a_byte,
)


@cache
def shown_by(make: Callable[[], Shown]) -> Shown:
    """Return what one of these makes, made once."""
    return make()
