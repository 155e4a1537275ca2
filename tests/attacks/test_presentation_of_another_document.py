"""A presentation of another document of the same holder."""

from tests.attacks.forge import BATCH, Forgery, Shown, honest, make_opening


def forge(shown: Shown) -> Shown:
    return shown.present(commitment=make_opening(BATCH[1]).commitment())


FORGERY = Forgery(honest, forge, step="presentation", code="consent-signature")


def test_presentation_of_another_document_is_refused() -> None:
    FORGERY.check()
