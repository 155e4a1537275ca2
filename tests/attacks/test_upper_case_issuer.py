"""An issuer written in capitals."""

import msgpack

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    value = msgpack.unpackb(shown.proof.opening.metadata, raw=False)
    value[1] = "HK-bureau"
    return shown.opening_with(metadata=msgpack.packb(value, use_bin_type=True))


FORGERY = Forgery(honest, forge, step="files", code="proof-malformed")


def test_upper_case_issuer_is_refused() -> None:
    FORGERY.check()
