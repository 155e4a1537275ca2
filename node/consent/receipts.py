"""Composing consent receipts: the notice of a text bundle, and what the parties and the law add to it, as data.

Rule 1: texts come from one text bundle (node/consent/textbundle.py): the notice that the request names by its
version, what every receipt says, what each institution says of itself. Names come from the ledger.
Rule 2: where a text is missing nothing is composed: nobody consents to what no text describes.
"""

from dataclasses import dataclass

from ledger.encoding.keys import PublicKey
from ledger.receipts import (
    ISSUER,
    RECIPIENT,
    STANDARD,
    ConsentReceipt,
    ReceiptKind,
    ReceiptParty,
    ReceiptPurpose,
    Wording,
)
from ledger.requests import Request
from ledger.rules.state import CROSS_BORDER, Member
from node.consent.textbundle import Notice, TextBundle, method_of
from node.files.configfile import ConfigError


@dataclass(frozen=True, slots=True)
class Consenting:
    """What a holder is about to sign: by which key, under which nonce, read in which language, for when."""

    principal: PublicKey
    nonce: bytes
    language: str
    given_ms: int
    from_ms: int


def compose_receipt(
    request: Request,
    texts: TextBundle,
    *,
    issuers: tuple[Member, ...],
    recipient: Member,
    consenting: Consenting,
) -> ConsentReceipt:
    """Return the receipt of a consent to a request. Raises ConfigError where a text is missing."""
    body = request.decoded()
    asked = body.decoded_asked()
    notice = _require_notice(texts, asked.notice_version)
    titles = {each.code: each.title for each in texts.schemas}
    purposes = {each.code: each.title for each in texts.purposes}
    described = (
        notice.schemas,
        notice.purpose,
        notice.sources,
        notice.category_mask,
        notice.flags,
        notice.kept,
    )
    codes = (
        asked.schemas,
        asked.purpose,
        asked.sources,
        asked.category_mask,
        asked.flags,
        asked.basis.retention,
    )
    if codes != described:
        raise ConfigError(
            where="request",
            expected="what its notice describes",
            found="other codes",
            cure="ask the bank for another request",
        )
    return ConsentReceipt(
        version=2,
        standard=STANDARD,
        record_id=consenting.nonce,
        chain_id=body.chain_id,
        request_id=request.id,
        principal=consenting.principal,
        language=consenting.language,
        given_ms=consenting.given_ms,
        from_ms=consenting.from_ms,
        until_ms=asked.until_ms,
        uses=asked.uses,
        notice_version=asked.notice_version,
        title=notice.title,
        purpose=ReceiptPurpose(asked.purpose, purposes[asked.purpose]),
        items=asked.items,
        kinds=tuple(ReceiptKind(code, titles[code]) for code in asked.schemas),
        categories=notice.categories,
        is_sensitive=notice.is_sensitive,
        parties=(*(_party(ISSUER, each, texts) for each in issuers), _party(RECIPIENT, recipient, texts)),
        method=method_of(notice, texts.receipt),
        necessity=texts.receipt.necessity,
        retention=notice.retention,
        third_parties=texts.receipt.third_parties,
        sources=asked.sources,
        basis=asked.basis,
        crossing=texts.receipt.crossing if asked.flags & CROSS_BORDER else None,
        separate_consent=texts.receipt.separate_consent,
        refusal=texts.receipt.refusal,
        withdrawal=notice.withdrawal,
        rights=notice.rights,
    )


def require_notice_for(
    texts: TextBundle,
    *,
    schemas: tuple[str, ...],
    purpose: str,
    sources: tuple[str, ...],
    destination: str,
) -> Notice:
    """Return the notice for exactly these. Raises ConfigError."""
    notice = texts.find_notice(schemas=schemas, purpose=purpose, sources=sources, destination=destination)
    if notice is None:
        found = f"none for {', '.join(schemas)}, {purpose}, from {', '.join(sources)} to {destination}"
        cure = (
            "ask for what has a notice; or have one written, pack it, and name it: luohu texts pack, --texts"
        )
        raise ConfigError(where="notice", expected="a text to show the holder", found=found, cure=cure)
    return notice


def _require_notice(texts: TextBundle, version: bytes) -> Notice:
    notice = texts.find_notice_by_version(version)
    if notice is None:
        cure = "name the texts that the bank means, with --texts, or ask the bank which notice it means"
        raise ConfigError(
            where="request notice",
            expected="a notice of these texts",
            found=f"version {version.hex()}",
            cure=cure,
        )
    return notice


def _party(role: str, member: Member, texts: TextBundle) -> ReceiptParty:
    known = texts.find_party(member.id)
    if known is None:
        raise ConfigError(
            where="texts of parties",
            expected=f"address and contact of {member.id}",
            found="none",
            cure="name texts that have the institution, with --texts, or ask the bank for them",
        )
    name = Wording(member.name_zh_hans, member.name_zh_hant, member.name_en)
    return ReceiptParty(
        role, member.id, member.jurisdiction, name, known.address, known.contact, known.storage, known.rights
    )
