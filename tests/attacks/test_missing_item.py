"""An item less: the evidence ends before its consent."""

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return shown.value_with(lambda proof: proof[5].pop())


FORGERY = Forgery(honest, forge, step="files", code="proof-malformed")


def test_missing_item_is_refused() -> None:
    FORGERY.check()
