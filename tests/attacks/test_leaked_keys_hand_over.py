"""A chain of seals forged with the leaked keys of the first validators, past a pinned epoch."""

from ledger.trust import FinalizedHeader, Handover, TrustPath
from tests.attacks.forge import (
    FIRST_SEAL,
    SECOND_SEAL,
    SETS,
    STRANGERS,
    TIP,
    Forgery,
    Shown,
    certify,
    header_with,
    honest_from_checkpoint,
)


def forge(shown: Shown) -> Shown:
    first = header_with(shown.chain.tips[FIRST_SEAL].encoded_header, next_validators_hash=STRANGERS.digest())
    second = header_with(
        shown.chain.tips[SECOND_SEAL].encoded_header,
        validators_hash=STRANGERS.digest(),
        next_validators_hash=STRANGERS.digest(),
    )
    tip = header_with(shown.chain.tips[TIP].encoded_header, validators_hash=STRANGERS.digest())
    handovers = (
        Handover(FinalizedHeader(first.encoded, certify(first, SETS[0])), STRANGERS),
        Handover(FinalizedHeader(second.encoded, certify(second, STRANGERS)), STRANGERS),
    )
    path = TrustPath(0, handovers, None)
    return shown.evidence_with(header=tip.encoded, certificate=certify(tip, STRANGERS), trust_path=path)


FORGERY = Forgery(honest_from_checkpoint, forge, step="trust", code="untrusted-header")


def test_leaked_keys_hand_over_is_refused() -> None:
    FORGERY.check()
