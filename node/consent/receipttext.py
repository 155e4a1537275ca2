"""Consent receipts for people: rows of label and text in one language, and a page of HTML made of them.

Rule 1: the page is made of the receipt alone, and says all of it.
Rule 2: it holds no script and loads nothing; every text is visible text without markup.
"""

import html
from typing import Final

from ledger.receipts import LANGUAGES, RECIPIENT, ConsentReceipt, ReceiptFile, ReceiptParty
from ledger.requests import Retention
from node.localtime import show_time
from node.visibletext import visible

# Labels in the order of LANGUAGES.
_LABELS: Final[dict[str, tuple[str, str, str]]] = {
    "heading": ("同意记录", "同意記錄", "Consent record"),
    "issuer": ("出具机构", "發出機構", "Issuer"),
    "recipient": ("接收方", "接收方", "Recipient"),
    "address": ("地址", "地址", "Address"),
    "contact": ("联系方式", "聯絡方式", "Contact"),
    "storage": ("保存地点", "保存地點", "Where it is kept"),
    "party-rights": ("行使权利的方式", "行使權利的方式", "How to exercise your rights there"),
    "purpose": ("处理目的", "處理目的", "Purpose"),
    "method": ("处理方式", "處理方式", "How it is handled"),
    "kinds": ("文件种类", "文件種類", "Documents"),
    "categories": ("资料种类", "資料種類", "Kinds of data"),
    "sensitive": ("敏感个人信息", "敏感個人資料", "Sensitive personal data"),
    "yes": ("是", "是", "yes"),
    "no": ("否", "否", "no"),
    "necessity": ("必要性及对您的影响", "必要性及對您的影響", "Why it is needed, and what it means for you"),
    "retention": ("保存期限", "保存期限", "How long it is kept"),
    "third-parties": ("向第三方提供", "向第三方提供", "Passing on"),
    "crossing": ("跨境提供", "跨境提供", "Across the border"),
    "basis": ("跨境方向与依据", "跨境方向與依據", "Direction and basis"),
    "capacity": ("同意人身份", "同意人身份", "Who consents"),
    "kept": ("最长保存时间", "最長保存時間", "Kept at most"),
    "separate": ("单独同意", "單獨同意", "Separate consent"),
    "refusal": ("不同意的后果", "不同意的後果", "If you refuse"),
    "withdrawal": ("撤回方式", "撤回方式", "How to withdraw"),
    "rights": ("您的权利", "您的權利", "Your rights"),
    "validity": ("有效期", "有效期", "Valid"),
    "uses": ("可核验次数", "可核驗次數", "Verifications"),
    "given": ("同意时间", "同意時間", "Given"),
    "principal": (
        "您的假名（本次同意的密钥）",
        "您的假名（本次同意的密鑰）",
        "Your pseudonym (this consent's key)",
    ),
    "record": ("记录编号", "記錄編號", "Record id"),
    "consent": ("账本上的同意编号", "帳本上的同意編號", "Consent id on the ledger"),
    "standard": ("记录标准", "記錄標準", "Standard"),
}
_CAPACITIES: Final[dict[str, tuple[str, str, str]]] = {
    "self": ("本人", "本人", "the person whom the data is about"),
    "guardian": ("监护人", "監護人", "a guardian"),
    "company": ("公司", "公司", "a company"),
}
_KEPT: Final[dict[str, tuple[str, str, str]]] = {
    "end": (
        "自同意结束起 {days} 天",
        "自同意結束起 {days} 天",
        "{days} days from the end of the consent",
    ),
    "record": ("自核验起 {days} 天", "自核驗起 {days} 天", "{days} days from the verification"),
    "close": (
        "自业务关系结束起 {days} 天",
        "自業務關係結束起 {days} 天",
        "{days} days from the close of the business",
    ),
}
_STYLE: Final = (
    "body{font-family:sans-serif;max-width:46rem;margin:2rem auto;line-height:1.5}"
    "th{text-align:left;vertical-align:top;width:12rem;padding-right:1rem;font-weight:600}"
    "td{overflow-wrap:anywhere;padding-bottom:.4rem}section{margin-bottom:3rem}"
)


def receipt_rows(file: ReceiptFile, language: str) -> list[tuple[str, str]]:
    """Return everything that a receipt says in one of LANGUAGES, as labels and texts."""
    receipt = file.receipt
    return [
        *told_rows(receipt, language),
        (_label("given", language), show_time(receipt.given_ms)),
        (_label("principal", language), str(receipt.principal)),
        (_label("record", language), receipt.record_id.hex()),
        (_label("consent", language), file.consent_id.hex()),
        (_label("standard", language), receipt.standard),
    ]


def told_rows(receipt: ConsentReceipt, language: str) -> list[tuple[str, str]]:
    """Return what the holder is told before consenting, in one of LANGUAGES."""

    def label(key: str) -> str:
        return _label(key, language)

    rows = [(label("heading"), receipt.title.in_language(language))]
    for party in receipt.parties:
        rows += _party_rows(party, language)
    rows += [
        (label("purpose"), f"{receipt.purpose.title.in_language(language)} ({receipt.purpose.code})"),
        (label("method"), receipt.method.in_language(language)),
        (
            label("kinds"),
            _listed([f"{each.title.in_language(language)} ({each.schema})" for each in receipt.kinds]),
        ),
        (label("categories"), _listed([each.text.in_language(language) for each in receipt.categories])),
        (label("sensitive"), label("yes" if receipt.is_sensitive else "no")),
        (label("necessity"), receipt.necessity.in_language(language)),
        (label("retention"), receipt.retention.in_language(language)),
        (label("third-parties"), receipt.third_parties.in_language(language)),
        (label("basis"), _basis_of(receipt)),
        (label("capacity"), _CAPACITIES[receipt.basis.capacity][LANGUAGES.index(language)]),
        (label("kept"), _kept_of(receipt.basis.retention, language)),
    ]
    if receipt.crossing is not None:
        rows.append((label("crossing"), receipt.crossing.in_language(language)))
    rows += [
        (label("separate"), receipt.separate_consent.in_language(language)),
        (label("refusal"), receipt.refusal.in_language(language)),
        (label("withdrawal"), receipt.withdrawal.in_language(language)),
        (label("rights"), receipt.rights.in_language(language)),
        (label("validity"), f"{show_time(receipt.from_ms)} - {show_time(receipt.until_ms)}"),
        (label("uses"), f"{receipt.uses}"),
    ]
    return rows


def render_html(file: ReceiptFile) -> str:
    """Return a page with the receipt in three languages, the one first in which it was shown."""
    first = file.receipt.language
    languages = (first, *(language for language in LANGUAGES if language != first))
    sections = "".join(_section(file, language) for language in languages)
    title = _markup(file.receipt.title.in_language(first))
    return (
        f'<!DOCTYPE html>\n<html lang="{first}"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{title}</title><style>{_STYLE}</style></head><body>{sections}</body></html>\n"
    )


def _section(file: ReceiptFile, language: str) -> str:
    (_, title), *rows = receipt_rows(file, language)
    heading = _LABELS["heading"][LANGUAGES.index(language)]
    body = "".join(f"<tr><th>{_markup(name)}</th><td>{_markup(text)}</td></tr>" for name, text in rows)
    return (
        f'<section lang="{language}"><p>{_markup(heading)}</p><h1>{_markup(title)}</h1>'
        f"<table>{body}</table></section>\n"
    )


def _party_rows(party: ReceiptParty, language: str) -> list[tuple[str, str]]:
    place = LANGUAGES.index(language)
    return [
        (
            _LABELS[party.role][place],
            f"{party.name.in_language(language)} ({party.member}, {party.jurisdiction})",
        ),
        (_LABELS["address"][place], party.address.in_language(language)),
        (_LABELS["contact"][place], party.contact),
        (_LABELS["storage"][place], party.storage.in_language(language)),
        (_LABELS["party-rights"][place], party.rights.in_language(language)),
    ]


def _basis_of(receipt: ConsentReceipt) -> str:
    destination = next(party.jurisdiction for party in receipt.parties if party.role == RECIPIENT)
    basis = receipt.basis
    numbers = [number for number in (basis.reference, basis.assessment) if number is not None]
    return ", ".join([f"{'+'.join(receipt.sources)}-{destination}", basis.code, *numbers])


def _kept_of(retention: Retention, language: str) -> str:
    return _KEPT[retention.starts][LANGUAGES.index(language)].format(days=retention.days)


def _label(key: str, language: str) -> str:
    return _LABELS[key][LANGUAGES.index(language)]


def _listed(texts: list[str]) -> str:
    return "; ".join(texts)


def _markup(text: str) -> str:
    """Return a text as it stands in a page: no markup, nothing unseen."""
    return html.escape(visible(text))
