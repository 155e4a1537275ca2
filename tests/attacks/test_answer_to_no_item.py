"""A document presented for an item that the request does not have."""

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return shown.present(item=1)


FORGERY = Forgery(honest, forge, step="consent", code="request-mismatch")


def test_answer_to_no_item_is_refused() -> None:
    FORGERY.check()
