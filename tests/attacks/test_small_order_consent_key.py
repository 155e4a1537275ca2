"""A consent key of small order, under which one signature suits every message."""

from dataclasses import replace

from ledger.encoding.keys import ED25519, PublicKey
from tests.attacks.forge import Forgery, Shown, honest, make_consent, make_scene, show


def forge(shown: Shown) -> Shown:
    identity = b"\x01" + bytes(31)
    consent = replace(make_consent(), consent_key=PublicKey(ED25519, identity))
    weak = show(make_scene(consent=consent))
    return weak.presentation_with(consent_key=consent.consent_key, consent_signature=identity + bytes(32))


FORGERY = Forgery(honest, forge, step="presentation", code="consent-signature")


def test_small_order_consent_key_is_refused() -> None:
    FORGERY.check()
