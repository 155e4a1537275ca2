"""A header of another chain, in the history of this one."""

from dataclasses import replace

from ledger.trees.merkle import (
    inclusion_path,
    tree_root,
)
from ledger.trust import FinalizedHeader, History
from tests.attacks.forge import PLAIN, SETS, TIP, Forgery, Shown, certify, header_with, honest_under_history
from tests.support.consortium import (
    hash_of,
)


def forge(shown: Shown) -> Shown:
    foreign = header_with(shown.chain.tips[PLAIN].encoded_header, chain_id=hash_of("another chain"))
    hashes = [tip.encoded_header.hash for tip in shown.chain.tips[:TIP]]
    hashes[PLAIN] = foreign.hash
    newer = header_with(shown.chain.tips[TIP].encoded_header, history_root=tree_root(hashes))
    history = History(FinalizedHeader(newer.encoded, certify(newer, SETS[2])), inclusion_path(hashes, PLAIN))
    return replace(shown.path_with(history=history)).evidence_with(header=foreign.encoded)


FORGERY = Forgery(honest_under_history, forge, step="trust", code="untrusted-header")


def test_history_of_another_chain_is_refused() -> None:
    FORGERY.check()
