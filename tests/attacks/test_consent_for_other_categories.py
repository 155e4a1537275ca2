"""A consent for fewer categories of data than the bank asked for."""

from dataclasses import replace

from tests.attacks.forge import Forgery, Shown, honest, make_request


def forge(shown: Shown) -> Shown:
    return replace(shown, request=make_request(shown.trust, category_mask=3))


FORGERY = Forgery(honest, forge, step="consent", code="wrong-terms")


def test_consent_for_other_categories_is_refused() -> None:
    FORGERY.check()
