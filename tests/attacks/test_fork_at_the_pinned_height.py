"""Another block at the pinned height, signed by a quorum of that epoch."""

from tests.attacks.forge import (
    PINNED,
    SETS,
    TIP,
    Forgery,
    Shown,
    certify,
    header_with,
    honest_from_checkpoint,
)


def forge(shown: Shown) -> Shown:
    encoded_header = header_with(shown.chain.tips[TIP].encoded_header, height=PINNED)
    return shown.evidence_with(header=encoded_header.encoded, certificate=certify(encoded_header, SETS[2]))


FORGERY = Forgery(honest_from_checkpoint, forge, step="trust", code="untrusted-header")


def test_fork_at_the_pinned_height_is_refused() -> None:
    FORGERY.check()
