"""Requests for tests: everything that a bank may ask, flat, so that a test names what is other in its own."""

from dataclasses import fields, replace
from typing import Any, Final

from ledger.encoding.keys import PrivateKey, PublicKey
from ledger.encoding.records import pack
from ledger.presentation import ListToSign, Place, Presentation, list_tree
from ledger.requests import (
    HOLDER_CARRIED,
    SELF,
    Asked,
    Basis,
    Item,
    Pin,
    Request,
    RequestBody,
    Retention,
)
from ledger.rules.blocks import NO_HASH
from ledger.rules.state import CROSS_BORDER, SEPARATE_CONSENT
from tests.support.consortium import CHAIN_ID, DAY_MS, LOAN, REPORT, START_MS, hash_of, member_key_of

BASIS: Final = Basis(HOLDER_CARRIED, None, None, SELF, Retention("close", 1826))
ITEM: Final = Item(("hk-bureau",), (REPORT,), count=1, needed=1, bound=0, covers=None)
ASKED: Final = Asked(
    recipient="mainland-bank",
    items=(ITEM,),
    sources=("HK",),
    purpose=LOAN,
    category_mask=1,
    basis=BASIS,
    flags=SEPARATE_CONSENT | CROSS_BORDER,
    notice_version=hash_of("notice"),
    until_ms=START_MS + 30 * DAY_MS,
    uses=2,
)
BODY: Final = RequestBody(
    asked=pack(ASKED),
    chain_id=CHAIN_ID,
    nonce=b"request nonce 01",
    answer_by_ms=START_MS + 30 * DAY_MS,
    pin=Pin(0, 0, NO_HASH),
    texts=None,
)


def asked_with(asked: Asked = ASKED, **changes: Any) -> Asked:  # noqa: ANN401
    """Return what is asked with some of it changed; `issuer`, `issuers`, `schemas`, `bound` change its first item."""
    if "issuer" in changes:
        changes["issuers"] = (changes.pop("issuer"),)
    of_item = {field.name for field in fields(Item)} & changes.keys()
    first = replace(asked.items[0], **{name: changes.pop(name) for name in of_item})
    return replace(asked, **{"items": (first, *asked.items[1:]), **changes})


def body_with(body: RequestBody = BODY, **changes: Any) -> RequestBody:  # noqa: ANN401
    """Return a request's body with some of it, or of what it asks, changed."""
    own = {field.name for field in fields(RequestBody)} & changes.keys()
    beside = {name: changes.pop(name) for name in own}
    asked = pack(asked_with(body.decoded_asked(), **changes)) if changes else body.asked
    return replace(body, **{"asked": asked, **beside})


def request_with(key: PrivateKey | None = None, body: RequestBody = BODY, **changes: Any) -> Request:  # noqa: ANN401
    """Return a signed request, by its recipient's member key unless another is given."""
    made = body_with(body, **changes)
    return Request.sign(made, key or member_key_of(made.decoded_asked().recipient))


def present_list(
    places: tuple[Place, ...],
    at: int,
    request: Request,
    *,
    consent_key: PrivateKey,
    consent_id: bytes,
    terms_salt: bytes,
    receipt_hash: bytes | None = None,
    holder: PrivateKey | None,
    shown_key: PublicKey | None = None,
) -> Presentation:
    """Return the presentation of one place of a list; `shown_key` stands in it instead of the key that signed."""
    body, tree = request.decoded(), list_tree(places)
    signed = ListToSign(
        chain_id=body.chain_id,
        root=tree.root(),
        size=tree.size,
        recipient=body.decoded_asked().recipient,
        consent_key=shown_key or consent_key.public,
        consent_id=consent_id,
        request_id=request.id,
    )
    return Presentation(
        item=places[at].item,
        shown=places[at].shown,
        list_size=tree.size,
        path=tree.path(at),
        consent_key=shown_key or consent_key.public,
        consent_id=consent_id,
        nonce=body.nonce,
        terms_salt=terms_salt,
        receipt_hash=receipt_hash,
        holder_signature=None if holder is None else signed.sign(holder),
        consent_signature=signed.sign(consent_key),
    )
