"""A header whose time is moved, so that an old proof looks fresh."""

from tests.attacks.forge import NOW_MS, PLAIN, Forgery, Shown, header_with, honest


def forge(shown: Shown) -> Shown:
    encoded_header = header_with(shown.chain.tips[PLAIN].encoded_header, time_ms=NOW_MS)
    return shown.evidence_with(header=encoded_header.encoded)


FORGERY = Forgery(honest, forge, step="trust", code="untrusted-header")


def test_header_time_moved_is_refused() -> None:
    FORGERY.check()
