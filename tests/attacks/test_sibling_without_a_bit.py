"""A sibling more than the bitmap has bits."""

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return shown.value_with(lambda proof: proof[5][4][1][3].append(bytes(32)))


FORGERY = Forgery(honest, forge, step="files", code="proof-malformed")


def test_sibling_without_a_bit_is_refused() -> None:
    FORGERY.check()
