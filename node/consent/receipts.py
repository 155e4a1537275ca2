"""Composing consent receipts: the notice of a scenario, and what the parties and the law add to it, as data.

Rule 1: texts come from `scenarios/`: the notice that the request names by its version, `receipt.toml` for what every
receipt says, `parties.toml` for each institution. Names come from the registry.
Rule 2: where a text is missing nothing is composed: nobody consents to what no text describes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.encoding.keys import PublicKey
from ledger.encoding.records import pack
from ledger.errors import LedgerError
from ledger.presentation import Request, request_id
from ledger.receipts import (
    ISSUER,
    RECIPIENT,
    STANDARD,
    ConsentReceipt,
    ReceiptCategory,
    ReceiptKind,
    ReceiptParty,
    ReceiptPurpose,
    Wording,
)
from ledger.rules.state import CROSS_BORDER, Member
from node.consent.scenarios import Notice, Scenario, Scenarios, Texts, load_scenarios
from node.files.configfile import ConfigError, Table, load_table

RECEIPT_TEXTS_FILE: Final = "receipt.toml"
PARTIES_FILE: Final = "parties.toml"


@dataclass(frozen=True, slots=True)
class PartyTexts:
    """What a receipt says of one institution, beside its names."""

    contact: str
    address: Wording
    storage: Wording
    rights: Wording


@dataclass(frozen=True, slots=True)
class CommonTexts:
    """What every receipt says."""

    method: Wording
    necessity: Wording
    third_parties: Wording
    crossing: Wording
    separate_consent: Wording
    refusal: Wording


@dataclass(frozen=True, slots=True)
class ReceiptTexts:
    """All texts that receipts are composed of."""

    scenarios: Scenarios
    common: CommonTexts
    parties: dict[str, PartyTexts]


@dataclass(frozen=True, slots=True)
class Consenting:
    """What a holder is about to sign: by which key, under which nonce, read in which language, for when."""

    principal: PublicKey
    nonce: bytes
    language: str
    given_ms: int
    from_ms: int


def load_receipt_texts(directory: Path) -> ReceiptTexts:
    """Return the texts of a folder of scenarios. Raises ConfigError with file and key."""
    common = load_table(directory / RECEIPT_TEXTS_FILE)
    texts = CommonTexts(
        method=_wording(common.table("method")),
        necessity=_wording(common.table("necessity")),
        third_parties=_wording(common.table("third_parties")),
        crossing=_wording(common.table("crossing")),
        separate_consent=_wording(common.table("separate_consent")),
        refusal=_wording(common.table("refusal")),
    )
    common.finish()
    return ReceiptTexts(load_scenarios(directory), texts, _load_parties(directory / PARTIES_FILE))


def compose_receipt(
    request: Request, texts: ReceiptTexts, *, issuer: Member, recipient: Member, consenting: Consenting
) -> ConsentReceipt:
    """Return the receipt of a consent to a request. Raises ConfigError where a text is missing."""
    body = request.decoded()
    scenario, notice = _require_notice(texts.scenarios, body.notice_version)
    titles = {schema.code: schema.title for schema in scenario.schemas}
    purposes = {purpose.code: purpose.title for purpose in scenario.purposes}
    asked = (notice.schemas, notice.purpose, notice.direction, notice.category_mask, notice.flags)
    found = (body.schemas, body.purpose, body.direction, body.category_mask, body.flags)
    if asked != found:
        raise ConfigError(
            where="request",
            expected="what its notice describes",
            found="other codes",
            cure="ask the bank for another request",
        )
    return ConsentReceipt(
        version=1,
        standard=STANDARD,
        record_id=consenting.nonce,
        chain_id=body.chain_id,
        request_id=request_id(request),
        principal=consenting.principal,
        language=consenting.language,
        given_ms=consenting.given_ms,
        from_ms=consenting.from_ms,
        until_ms=body.until_ms,
        uses=body.uses,
        notice_version=body.notice_version,
        title=_as_wording(notice.title),
        purpose=ReceiptPurpose(body.purpose, _as_wording(purposes[body.purpose])),
        kinds=tuple(ReceiptKind(code, _as_wording(titles[code])) for code in body.schemas),
        categories=tuple(ReceiptCategory(each.bit, _as_wording(each.text)) for each in notice.categories),
        is_sensitive=int(notice.is_sensitive),
        parties=(_party(ISSUER, issuer, texts), _party(RECIPIENT, recipient, texts)),
        method=_join(_as_wording(notice.use), texts.common.method),
        necessity=texts.common.necessity,
        retention=_as_wording(notice.retention),
        third_parties=texts.common.third_parties,
        direction=body.direction,
        transfer_basis=body.transfer_basis,
        crossing=texts.common.crossing if body.flags & CROSS_BORDER else None,
        separate_consent=texts.common.separate_consent,
        refusal=texts.common.refusal,
        withdrawal=_as_wording(notice.withdrawal),
        rights=_as_wording(notice.rights),
    )


def _require_notice(scenarios: Scenarios, version: bytes) -> tuple[Scenario, Notice]:
    for scenario in scenarios.scenarios:
        for notice in scenario.notices:
            if notice.version == version:
                return scenario, notice
    cure = "update the scenarios, or ask the bank which notice it means"
    raise ConfigError(
        where="request notice", expected="a notice of scenarios/", found=f"version {version.hex()}", cure=cure
    )


def _party(role: str, member: Member, texts: ReceiptTexts) -> ReceiptParty:
    known = texts.parties.get(member.id)
    if known is None:
        raise ConfigError(
            where=PARTIES_FILE,
            expected=f"address and contact of {member.id}",
            found="none",
            cure="add the institution",
        )
    name = Wording(member.name_zh_hans, member.name_zh_hant, member.name_en)
    return ReceiptParty(
        role, member.id, member.jurisdiction, name, known.address, known.contact, known.storage, known.rights
    )


def _load_parties(path: Path) -> dict[str, PartyTexts]:
    table = load_table(path)
    parties: dict[str, PartyTexts] = {}
    for each in table.tables("party"):
        member = each.text("member")
        if member in parties:
            raise each.refusal("member", "each institution once", f"{ascii(member)[:80]} twice", "remove one")
        parties[member] = PartyTexts(
            each.text("contact"),
            _wording(each.table("address")),
            _wording(each.table("storage")),
            _wording(each.table("rights")),
        )
        each.finish()
    table.finish()
    return parties


def _wording(table: Table) -> Wording:
    wording = Wording(table.text("zh-Hans"), table.text("zh-Hant"), table.text("en"))
    table.finish()
    try:
        pack(wording)
    except LedgerError as error:
        raise ConfigError(
            where=table.where, expected=error.expected, found=error.found, cure="shorten or correct the text"
        ) from error
    return wording


def _as_wording(texts: Texts) -> Wording:
    return Wording(texts.zh_hans, texts.zh_hant, texts.en)


def _join(first: Wording, second: Wording) -> Wording:
    return Wording(first.zh_hans + second.zh_hans, first.zh_hant + second.zh_hant, f"{first.en} {second.en}")
