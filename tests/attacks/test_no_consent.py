"""A proof without evidence of a consent."""

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return shown.evidence_with(consent=None)


FORGERY = Forgery(honest, forge, step="consent", code="consent-missing")


def test_no_consent_is_refused() -> None:
    FORGERY.check()
