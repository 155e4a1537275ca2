"""Another seal at a pinned height, signed with that epoch's leaked keys."""

from dataclasses import replace

from ledger.rules.state import anchor_key
from ledger.trust import FinalizedHeader, Handover
from tests.attacks.forge import (
    FIRST_SEAL,
    ISSUER,
    MIDDLE,
    SETS,
    STRANGERS,
    Forgery,
    Shown,
    certify,
    header_with,
    honest_after_handovers,
)


def forge(shown: Shown) -> Shown:
    pin = shown.chain.checkpoint(FIRST_SEAL)
    seal = header_with(shown.chain.tips[FIRST_SEAL].encoded_header, next_validators_hash=STRANGERS.digest())
    handover = Handover(FinalizedHeader(seal.encoded, certify(seal, SETS[0])), STRANGERS)
    encoded_header = header_with(shown.chain.tips[MIDDLE].encoded_header, validators_hash=STRANGERS.digest())
    forged = replace(shown, trust=replace(shown.trust, checkpoints=(pin,)))
    return forged.path_with(handovers=(handover,)).evidence_with(
        header=encoded_header.encoded,
        certificate=certify(encoded_header, STRANGERS),
        anchor=shown.chain.prove(MIDDLE, anchor_key(ISSUER, shown.proof.anchor_root)),
    )


FORGERY = Forgery(honest_after_handovers, forge, step="trust", code="untrusted-header")


def test_seal_forked_at_the_pinned_height_is_refused() -> None:
    FORGERY.check()
