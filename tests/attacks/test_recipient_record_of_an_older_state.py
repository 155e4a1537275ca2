"""A recipient suspended by now, with its record of before."""

from dataclasses import replace

from ledger.rules.state import Suspension
from tests.attacks.forge import BANK, PLAIN, RECORDED, Forgery, Shown, honest, make_scene, moved, show


def forge(shown: Shown) -> Shown:
    suspended = replace(shown.chain.member(BANK), suspensions=(Suspension(PLAIN, PLAIN, None),))
    return moved(show(make_scene(later=(suspended,)), RECORDED), PLAIN, keep=("consent",))


FORGERY = Forgery(honest, forge, step="consent", code="consent-unproven")


def test_recipient_record_of_an_older_state_is_refused() -> None:
    FORGERY.check()
