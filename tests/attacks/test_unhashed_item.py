"""An item more in the evidence, where nothing would hash it."""

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return shown.value_with(lambda proof: proof[5].append(b"unhashed"))


FORGERY = Forgery(honest, forge, step="files", code="proof-malformed")


def test_unhashed_item_is_refused() -> None:
    FORGERY.check()
