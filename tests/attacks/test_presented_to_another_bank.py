"""A presentation that the holder made for another bank."""

from tests.attacks.forge import OTHER_BANK, Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return shown.present(recipient=OTHER_BANK)


FORGERY = Forgery(honest, forge, step="presentation", code="consent-signature")


def test_presented_to_another_bank_is_refused() -> None:
    FORGERY.check()
