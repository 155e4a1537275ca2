"""A certificate that names another parent view than the one that was signed."""

from dataclasses import replace

from tests.attacks.forge import PLAIN, SETS, Forgery, Shown, certify, honest


def forge(shown: Shown) -> Shown:
    certificate = certify(shown.chain.tips[PLAIN].encoded_header, SETS[0])
    subject = replace(certificate.subject, parent_view=0)
    assert subject != certificate.subject
    return shown.evidence_with(certificate=replace(certificate, subject=subject))


FORGERY = Forgery(honest, forge, step="trust", code="untrusted-header")


def test_parent_view_altered_is_refused() -> None:
    FORGERY.check()
