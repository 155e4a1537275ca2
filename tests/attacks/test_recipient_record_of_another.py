"""Another member's record in the place of the recipient's."""

from ledger.rules.state import member_key
from tests.attacks.forge import OTHER_BANK, PLAIN, Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return shown.consent_with(recipient=shown.chain.prove(PLAIN, member_key(OTHER_BANK)))


FORGERY = Forgery(honest, forge, step="consent", code="consent-unproven")


def test_recipient_record_of_another_is_refused() -> None:
    FORGERY.check()
