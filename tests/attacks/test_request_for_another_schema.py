"""A request for another kind of document."""

from dataclasses import replace

from tests.attacks.forge import Forgery, Shown, honest, make_request
from tests.support.consortium import (
    MAINLAND_REPORT,
    NOTICE,
)


def forge(shown: Shown) -> Shown:
    return replace(shown, request=make_request(shown.trust, schemas=(MAINLAND_REPORT, NOTICE)))


FORGERY = Forgery(honest, forge, step="consent", code="request-mismatch")


def test_request_for_another_schema_is_refused() -> None:
    FORGERY.check()
