"""A forged header at the height of a true one, with the true one's path."""

from tests.attacks.forge import PLAIN, Forgery, Shown, header_with, honest_under_history
from tests.support.consortium import hash_of


def forge(shown: Shown) -> Shown:
    encoded_header = header_with(shown.chain.tips[PLAIN].encoded_header, state_root=hash_of("mine"))
    return shown.evidence_with(header=encoded_header.encoded)


FORGERY = Forgery(honest_under_history, forge, step="trust", code="untrusted-header")


def test_header_outside_the_history_is_refused() -> None:
    FORGERY.check()
