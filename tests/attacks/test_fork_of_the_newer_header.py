"""A history under another block at the pinned height, signed by a quorum of that epoch."""

from ledger.trees.merkle import inclusion_path
from ledger.trust import FinalizedHeader, History
from tests.attacks.forge import (
    PINNED,
    PLAIN,
    SETS,
    Forgery,
    Shown,
    certify,
    header_with,
    honest_under_history,
)
from tests.support.consortium import hash_of


def forge(shown: Shown) -> Shown:
    hashes = [tip.encoded_header.hash for tip in shown.chain.tips[:PINNED]]
    newer = header_with(shown.chain.tips[PINNED].encoded_header, state_root=hash_of("a fork"))
    history = History(FinalizedHeader(newer.encoded, certify(newer, SETS[2])), inclusion_path(hashes, PLAIN))
    return shown.path_with(history=history)


FORGERY = Forgery(honest_under_history, forge, step="trust", code="untrusted-header")


def test_fork_of_the_newer_header_is_refused() -> None:
    FORGERY.check()
