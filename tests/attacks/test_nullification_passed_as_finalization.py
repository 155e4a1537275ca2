"""A genuine certificate that a view brought no block."""

from ledger.rules.certificates import NULLIFY, QuorumCertificate, Subject
from tests.attacks.forge import PLAIN, SETS, Forgery, Shown, honest, sign_subject


def forge(shown: Shown) -> Shown:
    subject = Subject(NULLIFY, 0, shown.chain.tips[PLAIN].header.view, None, None)
    signatures = sign_subject(subject, SETS[0], (0, 1, 2), shown.chain.chain_id)
    return shown.evidence_with(certificate=QuorumCertificate(subject, signatures))


FORGERY = Forgery(honest, forge, step="trust", code="untrusted-header")


def test_nullification_passed_as_finalization_is_refused() -> None:
    FORGERY.check()
