"""A genuine seal, handing over to strangers, who sign what follows."""

from dataclasses import replace

from tests.attacks.forge import STRANGERS, TIP, Forgery, Shown, certify, header_with, honest_after_handovers


def forge(shown: Shown) -> Shown:
    first = replace(shown.proof.evidence.trust_path.handovers[0], next_validators=STRANGERS)
    encoded_header = header_with(
        shown.chain.tips[TIP].encoded_header, epoch=1, validators_hash=STRANGERS.digest()
    )
    forged = shown.path_with(handovers=(first,))
    return forged.evidence_with(header=encoded_header.encoded, certificate=certify(encoded_header, STRANGERS))


FORGERY = Forgery(honest_after_handovers, forge, step="trust", code="untrusted-header")


def test_next_set_swapped_is_refused() -> None:
    FORGERY.check()
