"""An anchor since revoked, with its older leaf and proof under the newer header."""

from dataclasses import replace

from ledger.rules.state import Revoked
from tests.attacks.forge import (
    PLAIN,
    RECORDED,
    Forgery,
    Shown,
    decode_anchor,
    honest,
    make_scene,
    moved,
    show,
)
from tests.support.consortium import (
    MINUTE_MS,
    START_MS,
)


def forge(shown: Shown) -> Shown:
    revoked = replace(decode_anchor(shown), revoked=Revoked("fraud", PLAIN, START_MS + 2 * MINUTE_MS))
    return moved(show(make_scene(later=(revoked,)), RECORDED), PLAIN, keep=("anchor",))


FORGERY = Forgery(honest, forge, step="anchor", code="anchor-unproven")


def test_anchor_of_an_older_state_is_refused() -> None:
    FORGERY.check()
