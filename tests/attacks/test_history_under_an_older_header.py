"""A history of a header under one that is no higher."""

from tests.attacks.forge import PLAIN, TIP, Forgery, Shown, header_with, honest_under_history


def forge(shown: Shown) -> Shown:
    encoded_header = header_with(shown.chain.tips[PLAIN].encoded_header, height=TIP)
    return shown.evidence_with(header=encoded_header.encoded)


FORGERY = Forgery(honest_under_history, forge, step="trust", code="untrusted-header")


def test_history_under_an_older_header_is_refused() -> None:
    FORGERY.check()
