"""An issuer's record that no state holds, in the place of the issuer's."""

from dataclasses import replace

from ledger.encoding.records import pack
from tests.attacks.forge import ISSUER, Forgery, Shown, honest
from tests.support.consortium import (
    key_of,
)


def forge(shown: Shown) -> Shown:
    forged = replace(shown.chain.member(ISSUER), key=key_of("thief").public)
    issuer = replace(shown.proof.evidence.issuer, value=pack(forged))
    return shown.evidence_with(issuer=issuer)


FORGERY = Forgery(honest, forge, step="issuer", code="issuer-unproven")


def test_issuer_never_registered_is_refused() -> None:
    FORGERY.check()
