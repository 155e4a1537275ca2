"""A fresh header of the first epoch, signed with its validators' leaked keys."""

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
from tests.support.consortium import hash_of


def forge(shown: Shown) -> Shown:
    encoded_header = header_with(
        shown.chain.tips[PLAIN].encoded_header,
        height=1_000,
        view=1_000,
        time_ms=NOW_MS,
        state_root=hash_of("mine"),
    )
    path = TrustPath(0, shown.chain.handovers(0, 2), None)
    return shown.evidence_with(
        header=encoded_header.encoded, certificate=certify(encoded_header, SETS[0]), trust_path=path
    )


FORGERY = Forgery(honest_from_checkpoint, forge, step="trust", code="untrusted-header")


def test_leaked_keys_of_retired_validators_is_refused() -> None:
    FORGERY.check()
