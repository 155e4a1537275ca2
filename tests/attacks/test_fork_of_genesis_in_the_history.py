"""Another block of height 0 in a history that a quorum signed."""

from ledger.trees.merkle import inclusion_path, tree_root
from ledger.trust import FinalizedHeader, History
from tests.attacks.forge import PLAIN, SETS, TIP, Forgery, Shown, certify, header_with, honest_under_history


def forge(shown: Shown) -> Shown:
    encoded_header = header_with(
        shown.chain.tips[0].encoded_header, state_root=shown.chain.tips[PLAIN].header.state_root
    )
    hashes = [encoded_header.hash, *(tip.encoded_header.hash for tip in shown.chain.tips[1:TIP])]
    newer = header_with(shown.chain.tips[TIP].encoded_header, history_root=tree_root(hashes))
    history = History(FinalizedHeader(newer.encoded, certify(newer, SETS[2])), inclusion_path(hashes, 0))
    return shown.path_with(history=history).evidence_with(header=encoded_header.encoded)


FORGERY = Forgery(honest_under_history, forge, step="trust", code="untrusted-header")


def test_fork_of_genesis_in_the_history_is_refused() -> None:
    FORGERY.check()
