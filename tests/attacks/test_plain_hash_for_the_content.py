"""The document's plain hash where the root over its chunks is meant."""

from ledger.encoding.digests import digest
from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return shown.opening_with(content_root=digest(shown.document))


FORGERY = Forgery(honest, forge, step="document", code="document-altered")


def test_plain_hash_for_the_content_is_refused() -> None:
    FORGERY.check()
