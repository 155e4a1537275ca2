"""A header with another state root under the certificate of the true one."""

from tests.attacks.forge import PLAIN, Forgery, Shown, header_with, honest
from tests.support.consortium import hash_of


def forge(shown: Shown) -> Shown:
    encoded_header = header_with(
        shown.chain.tips[PLAIN].encoded_header, state_root=hash_of("a state of my own")
    )
    return shown.evidence_with(header=encoded_header.encoded)


FORGERY = Forgery(honest, forge, step="trust", code="untrusted-header")


def test_state_root_swapped_is_refused() -> None:
    FORGERY.check()
