"""A consent that the ledger does not hold, in the place of one that it holds."""

from dataclasses import replace

from ledger.encoding.records import pack
from tests.attacks.forge import Forgery, Shown, honest, make_consent


def forge(shown: Shown) -> Shown:
    forged = make_consent(uses=10_000)
    consent = shown.proof.evidence.consent
    assert consent is not None
    return shown.consent_with(consent=replace(consent.consent, value=pack(forged)))


FORGERY = Forgery(honest, forge, step="consent", code="consent-unproven")


def test_consent_never_granted_is_refused() -> None:
    FORGERY.check()
