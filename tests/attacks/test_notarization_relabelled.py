"""The signatures of a notarization under the name of a finalization."""

from dataclasses import replace

from ledger.rules.certificates import FINALIZE, NOTARIZE
from tests.attacks.forge import PLAIN, SETS, Forgery, Shown, certify, honest


def forge(shown: Shown) -> Shown:
    certificate = certify(shown.chain.tips[PLAIN].encoded_header, SETS[0], kind=NOTARIZE)
    return shown.evidence_with(
        certificate=replace(certificate, subject=replace(certificate.subject, kind=FINALIZE))
    )


FORGERY = Forgery(honest, forge, step="trust", code="untrusted-header")


def test_notarization_relabelled_is_refused() -> None:
    FORGERY.check()
