"""A consent for this bank, at another bank that asked for the same."""

from dataclasses import replace

from tests.attacks.forge import OTHER_BANK, Forgery, Shown, honest, make_request


def forge(shown: Shown) -> Shown:
    return replace(shown, request=make_request(shown.trust, recipient=OTHER_BANK))


FORGERY = Forgery(honest, forge, step="consent", code="wrong-recipient")


def test_request_of_another_bank_is_refused() -> None:
    FORGERY.check()
