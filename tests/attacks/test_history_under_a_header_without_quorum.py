"""A history under a newer header that two validators signed."""

from dataclasses import replace

from tests.attacks.forge import SETS, TIP, Forgery, Shown, certify, honest_under_history


def forge(shown: Shown) -> Shown:
    history = shown.proof.evidence.trust_path.history
    assert history is not None
    certificate = certify(shown.chain.tips[TIP].encoded_header, SETS[2], signers=(1, 3))
    return shown.path_with(history=replace(history, newer=replace(history.newer, certificate=certificate)))


FORGERY = Forgery(honest_under_history, forge, step="trust", code="untrusted-header")


def test_history_under_a_header_without_quorum_is_refused() -> None:
    FORGERY.check()
