"""Another member's record, proven, in the place of the issuer's."""

from ledger.rules.state import member_key
from tests.attacks.forge import PLAIN, Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return shown.evidence_with(issuer=shown.chain.prove(PLAIN, member_key("mainland-bureau")))


FORGERY = Forgery(honest, forge, step="issuer", code="issuer-unproven")


def test_record_of_another_member_is_refused() -> None:
    FORGERY.check()
