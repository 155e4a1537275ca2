"""A holder key whose coordinate is spelled above the field's prime."""

from ledger.encoding.keys import ED25519, PublicKey
from tests.attacks.forge import Forgery, Shown, honest, make_scene, show


def forge(shown: Shown) -> Shown:
    spelled = (2**255 - 19 + 1).to_bytes(32, "little")
    weak = show(make_scene(metadata={"holder_key": PublicKey(ED25519, spelled)}))
    return weak.presentation_with(holder_signature=b"\x01" + bytes(63))


FORGERY = Forgery(honest, forge, step="presentation", code="holder-signature")


def test_non_canonical_holder_key_is_refused() -> None:
    FORGERY.check()
