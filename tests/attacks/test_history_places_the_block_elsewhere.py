"""A history that a quorum signed in which the header stands at another block's index."""

from ledger.trees.merkle import inclusion_path, tree_root
from ledger.trust import FinalizedHeader, History
from tests.attacks.forge import (
    MIDDLE,
    PLAIN,
    SETS,
    TIP,
    Forgery,
    Shown,
    certify,
    header_with,
    honest_under_history,
)


def forge(shown: Shown) -> Shown:
    hashes = [tip.encoded_header.hash for tip in shown.chain.tips[:TIP]]
    hashes[MIDDLE] = hashes[PLAIN]
    newer = header_with(shown.chain.tips[TIP].encoded_header, history_root=tree_root(hashes))
    history = History(FinalizedHeader(newer.encoded, certify(newer, SETS[2])), inclusion_path(hashes, MIDDLE))
    return shown.path_with(history=history)


FORGERY = Forgery(honest_under_history, forge, step="trust", code="untrusted-header")


def test_history_places_the_block_elsewhere_is_refused() -> None:
    FORGERY.check()
