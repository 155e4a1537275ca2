"""An issuer suspended by now, with its record and proof of before."""

from dataclasses import replace

from ledger.rules.state import Suspension
from tests.attacks.forge import ISSUER, PLAIN, RECORDED, Forgery, Shown, honest, make_scene, moved, show


def forge(shown: Shown) -> Shown:
    suspended = replace(shown.chain.member(ISSUER), suspensions=(Suspension(PLAIN, PLAIN, None),))
    return moved(show(make_scene(later=(suspended,)), RECORDED), PLAIN, keep=("issuer",))


FORGERY = Forgery(honest, forge, step="issuer", code="issuer-unproven")


def test_issuer_record_of_an_older_state_is_refused() -> None:
    FORGERY.check()
