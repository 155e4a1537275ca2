"""A header of a suite that this chain does not have."""

import msgpack

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    encoded = msgpack.unpackb(shown.proof.evidence.header, raw=False)
    encoded[1] = 2
    return shown.evidence_with(header=msgpack.packb(encoded, use_bin_type=True))


FORGERY = Forgery(honest, forge, step="trust", code="untrusted-header")


def test_header_of_another_suite_is_refused() -> None:
    FORGERY.check()
