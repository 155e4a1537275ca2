"""A document revoked by now, with the absence that an older state showed."""

from ledger.rules.state import Revocation
from tests.attacks.forge import ISSUER, PLAIN, RECORDED, Forgery, Shown, honest, make_scene, moved, show
from tests.support.consortium import MINUTE_MS, START_MS


def forge(shown: Shown) -> Shown:
    revocation = Revocation(
        ISSUER, shown.proof.opening.commitment(), "fraud", PLAIN, START_MS + 2 * MINUTE_MS
    )
    return moved(show(make_scene(later=(revocation,)), RECORDED), PLAIN, keep=("unrevoked",))


FORGERY = Forgery(honest, forge, step="status", code="revocation-unproven")


def test_absence_against_an_old_root_is_refused() -> None:
    FORGERY.check()
