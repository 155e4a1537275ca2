"""An issuer whose name looks the same: its e is Cyrillic."""

import msgpack

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    value = msgpack.unpackb(shown.proof.opening.metadata, raw=False)
    value[1] = "hk-bur\u0435au"
    return shown.opening_with(metadata=msgpack.packb(value, use_bin_type=True))


FORGERY = Forgery(honest, forge, step="files", code="proof-malformed")


def test_look_alike_issuer_is_refused() -> None:
    FORGERY.check()
