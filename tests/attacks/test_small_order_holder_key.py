"""A holder key of small order, under which one signature suits every message."""

from ledger.encoding.keys import ED25519, PublicKey
from tests.attacks.forge import Forgery, Shown, honest, make_scene, show


def forge(shown: Shown) -> Shown:
    identity = b"\x01" + bytes(31)
    weak = show(make_scene(metadata={"holder_key": PublicKey(ED25519, identity)}))
    return weak.presentation_with(holder_signature=identity + bytes(32))


FORGERY = Forgery(honest, forge, step="presentation", code="holder-signature")


def test_small_order_holder_key_is_refused() -> None:
    FORGERY.check()
