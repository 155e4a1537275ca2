"""Leaked keys of the first epoch, at a bank whose checkpoint has expired: an old pin still bounds what is old."""

from dataclasses import replace

from ledger.trust import TrustPath
from tests.attacks.forge import (
    NOW_MS,
    PLAIN,
    SETS,
    Forgery,
    Shown,
    certify,
    header_with,
    honest_from_checkpoint,
)
from tests.support.consortium import (
    hash_of,
)


def forge(shown: Shown) -> Shown:
    encoded_header = header_with(
        shown.chain.tips[PLAIN].encoded_header,
        height=1_000,
        view=1_000,
        time_ms=NOW_MS,
        state_root=hash_of("mine"),
    )
    expired = tuple(replace(pin, valid_until_ms=NOW_MS - 1) for pin in shown.trust.checkpoints)
    forged = replace(shown, trust=replace(shown.trust, checkpoints=expired))
    path = TrustPath(0, (), None)
    return forged.evidence_with(
        header=encoded_header.encoded, certificate=certify(encoded_header, SETS[0]), trust_path=path
    )


FORGERY = Forgery(honest_from_checkpoint, forge, step="trust", code="untrusted-header")


def test_leaked_keys_after_the_pin_expired_is_refused() -> None:
    FORGERY.check()
