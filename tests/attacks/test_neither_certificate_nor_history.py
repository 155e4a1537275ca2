"""A header with nothing that carries trust to it."""

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return shown.evidence_with(certificate=None)


FORGERY = Forgery(honest, forge, step="trust", code="untrusted-header")


def test_neither_certificate_nor_history_is_refused() -> None:
    FORGERY.check()
