"""Verdicts and refusals of the verifier: facts on separate axes, or one error with a stable code.

Rule 1: verification raises; there is no flag that a caller could forget to read.
Rule 2: a code is stable and belongs to one step. Each has a sentence for a clerk in three languages.
Rule 3: where more is known than the code says, the sentences are about that cause. Code and step stay the same.
"""

from dataclasses import dataclass
from typing import Final

from ledger.errors import LedgerError

STEP_FILES: Final = "files"
STEP_TRUST: Final = "trust"
STEP_DOCUMENT: Final = "document"
STEP_ANCHOR: Final = "anchor"
STEP_ISSUER: Final = "issuer"
STEP_STATUS: Final = "status"
STEP_CONSENT: Final = "consent"
STEP_PRESENTATION: Final = "presentation"
STEP_AGE: Final = "age"

LONGER: Final = "document-longer"
LINE_ENDS: Final = "document-line-ends"
OLDER_EPOCH: Final = "older-epoch"
"""Causes: why a document is altered, or why a header is not trusted."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence in English, Simplified and Traditional Chinese."""

    en: str
    zh_hans: str
    zh_hant: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a code means, and what to do about it."""

    step: str
    meaning: Sentence
    next_step: Sentence


class VerificationError(LedgerError):
    """The document, its proof or its use was refused. `code` is stable, `step` says where.

    `cause` is empty, or one of CAUSES, where more is known than the code says.
    """

    def __init__(self, *, code: str, where: str, expected: str, found: str, cause: str = "") -> None:
        super().__init__(code=code, where=where, expected=expected, found=found)
        self.cause = cause
        self.refusal = CAUSES[cause] if cause else self._refusals()[code]

    @staticmethod
    def _refusals() -> "dict[str, Refusal]":
        return REFUSALS

    @property
    def step(self) -> str:
        """The step of the verification that refused."""
        return self.refusal.step


_REFRESH: Final = Sentence(
    "Ask the holder to refresh the proof and present it again.",
    "请持有人更新证明后重新出示。",
    "請持有人更新證明後重新出示。",
)
_REISSUE: Final = Sentence(
    "Ask the holder for the original file, as the issuer handed it over.",
    "请持有人提供签发机构交付的原始文件。",
    "請持有人提供簽發機構交付的原始檔案。",
)
_ISSUER: Final = Sentence(
    "Do not rely on the document; ask the issuer.",
    "请勿采信该文件，并向签发机构查询。",
    "請勿採信該文件，並向簽發機構查詢。",
)
_CONSENT: Final = Sentence(
    "Send the holder a new consent request.",
    "请向持有人发出新的授权请求。",
    "請向持有人發出新的授權請求。",
)
_PRESENT: Final = Sentence(
    "Ask the holder to present the document with the wallet that received it, for this request.",
    "请持有人使用领取文件的钱包，针对本次请求重新出示。",
    "請持有人使用領取文件的錢包，針對本次請求重新出示。",
)
TOGETHER: Final = Sentence(
    "Verify all documents that were presented for this request together.",
    "请将针对本次请求出示的全部文件一并验证。",
    "請將針對本次請求出示的全部文件一併驗證。",
)
_COMPLETE: Final = Sentence(
    "Ask the holder to present everything that the request asks for, at once.",
    "请持有人一次出示本次请求所要求的全部文件。",
    "請持有人一次出示本次請求所要求的全部文件。",
)
_CLOCK: Final = Sentence(
    "Set this computer's clock, then verify again; the document itself may be in order.",
    "请校准本机时钟后重新验证；文件本身可能并无问题。",
    "請校準本機時鐘後重新驗證；文件本身可能並無問題。",
)
_OPERATOR: Final = Sentence(
    "Check the trusted root with the network operator.",
    "请与网络运营方核对信任根文件。",
    "請與網絡營運方核對信任根檔案。",
)

_VALID: Final = Sentence(
    "Check this computer's date; if it is right, ask the holder for a document that is still valid.",
    "请先核对本机日期；如日期无误，请持有人提供仍在有效期内的文件。",
    "請先核對本機日期；如日期無誤，請持有人提供仍在有效期內的文件。",
)
_PERIOD: Final = Sentence(
    "Check this computer's date; if it is right, send the holder a new consent request.",
    "请先核对本机日期；如日期无误，请向持有人发出新的授权请求。",
    "請先核對本機日期；如日期無誤，請向持有人發出新的授權請求。",
)
_LATER: Final = Sentence(
    "Ask about a later time; where you asked about the present, check this computer's clock.",
    "请询问较晚的时间；如询问的是现在，请核对本机时钟。",
    "請詢問較晚的時間；如詢問的是現在，請核對本機時鐘。",
)
_FRESH: Final = Sentence(
    "Ask the holder to refresh the proof and present it again; if a fresh one is too old as well, check this"
    " computer's clock.",
    "请持有人更新证明后重新出示；如新证明仍显示过时，请核对本机时钟。",
    "請持有人更新證明後重新出示；如新證明仍顯示過時，請核對本機時鐘。",
)

REFUSALS: Final[dict[str, Refusal]] = {
    "proof-malformed": Refusal(
        STEP_FILES,
        Sentence(
            "The proof file is damaged or not a proof.",
            "证明文件已损坏或不是证明。",
            "證明檔案已損壞或不是證明。",
        ),
        _REFRESH,
    ),
    "untrusted-header": Refusal(
        STEP_TRUST,
        Sentence(
            "The proof does not stand on this bank's trusted root.",
            "该证明不能由本行的信任根验证。",
            "該證明不能由本行的信任根驗證。",
        ),
        _OPERATOR,
    ),
    "document-altered": Refusal(
        STEP_DOCUMENT,
        Sentence(
            "The document is not, byte for byte, the one that was anchored.",
            "该文件与存证时的文件不一致。",
            "該文件與存證時的文件不一致。",
        ),
        _REISSUE,
    ),
    "not-in-anchor": Refusal(
        STEP_ANCHOR,
        Sentence(
            "The document is not part of the anchored batch.",
            "该文件不在已存证的批次中。",
            "該文件不在已存證的批次中。",
        ),
        _REISSUE,
    ),
    "anchor-unproven": Refusal(
        STEP_ANCHOR,
        Sentence("The ledger holds no such anchor.", "账本中没有相应的存证。", "帳本中沒有相應的存證。"),
        _REFRESH,
    ),
    "metadata-mismatch": Refusal(
        STEP_ANCHOR,
        Sentence(
            "What the proof says of the document differs from the ledger.",
            "证明所述信息与账本不符。",
            "證明所述資料與帳本不符。",
        ),
        _ISSUER,
    ),
    "no-holder": Refusal(
        STEP_ANCHOR,
        Sentence(
            "The document names no holder, and its kind requires one.",
            "该文件未载明持有人，而此类文件必须载明。",
            "該文件未載明持有人，而此類文件必須載明。",
        ),
        _ISSUER,
    ),
    "issuer-unproven": Refusal(
        STEP_ISSUER,
        Sentence("The ledger does not show this issuer.", "账本未显示该签发机构。", "帳本未顯示該簽發機構。"),
        _REFRESH,
    ),
    "issuer-suspended": Refusal(
        STEP_ISSUER,
        Sentence("The issuer is suspended.", "签发机构已被暂停资格。", "簽發機構已被暫停資格。"),
        _ISSUER,
    ),
    "anchor-distrusted": Refusal(
        STEP_ISSUER,
        Sentence(
            "The anchor was made while the issuer was not to be trusted.",
            "该存证形成于签发机构不受信任的期间。",
            "該存證形成於簽發機構不受信任的期間。",
        ),
        _ISSUER,
    ),
    "revoked": Refusal(
        STEP_STATUS,
        Sentence("The issuer has revoked the document.", "签发机构已撤销该文件。", "簽發機構已撤銷該文件。"),
        _ISSUER,
    ),
    "revocation-unproven": Refusal(
        STEP_STATUS,
        Sentence(
            "The proof does not show that the document is unrevoked.",
            "证明未能显示该文件未被撤销。",
            "證明未能顯示該文件未被撤銷。",
        ),
        _REFRESH,
    ),
    "clock-behind": Refusal(
        STEP_STATUS,
        Sentence(
            "This computer's clock is slow: the proof is of a later time than the clock shows.",
            "本机时钟过慢：证明的时间晚于本机显示的时间。",
            "本機時鐘過慢：證明的時間晚於本機顯示的時間。",
        ),
        _CLOCK,
    ),
    "not-yet-anchored": Refusal(
        STEP_STATUS,
        Sentence(
            "At the time asked about, the document was not yet anchored or issued.",
            "在所询时间，该文件尚未签发或存证。",
            "在所詢時間，該文件尚未簽發或存證。",
        ),
        _LATER,
    ),
    "document-expired": Refusal(
        STEP_STATUS,
        Sentence("The document has expired.", "该文件已过有效期。", "該文件已過有效期。"),
        _VALID,
    ),
    "request-mismatch": Refusal(
        STEP_CONSENT,
        Sentence(
            "The request does not ask for this document.",
            "本次请求并未要求该文件。",
            "本次請求並未要求該文件。",
        ),
        _CONSENT,
    ),
    "answer-late": Refusal(
        STEP_CONSENT,
        Sentence(
            "The time in which the request was to be answered is over.",
            "答复本次请求的期限已过。",
            "答覆本次請求的期限已過。",
        ),
        _PERIOD,
    ),
    "consent-missing": Refusal(
        STEP_CONSENT,
        Sentence("The proof carries no consent.", "证明中没有授权记录。", "證明中沒有授權記錄。"),
        _PRESENT,
    ),
    "consent-unproven": Refusal(
        STEP_CONSENT,
        Sentence("The ledger does not show this consent.", "账本未显示该项授权。", "帳本未顯示該項授權。"),
        _REFRESH,
    ),
    "wrong-recipient": Refusal(
        STEP_CONSENT,
        Sentence(
            "The holder's consent is for another institution.",
            "持有人授权的是另一家机构。",
            "持有人授權的是另一家機構。",
        ),
        _CONSENT,
    ),
    "wrong-purpose": Refusal(
        STEP_CONSENT,
        Sentence(
            "The holder's consent is for another purpose.",
            "持有人授权的是另一用途。",
            "持有人授權的是另一用途。",
        ),
        _CONSENT,
    ),
    "wrong-terms": Refusal(
        STEP_CONSENT,
        Sentence(
            "The holder's consent does not cover what this bank asks for.",
            "持有人的授权与本行的请求不符。",
            "持有人的授權與本行的請求不符。",
        ),
        _CONSENT,
    ),
    "consent-ended": Refusal(
        STEP_CONSENT,
        Sentence("The consent was withdrawn or closed.", "授权已被撤回或终止。", "授權已被撤回或終止。"),
        _CONSENT,
    ),
    "consent-period": Refusal(
        STEP_CONSENT,
        Sentence(
            "The consent is not valid at this time.",
            "授权在此时间无效。",
            "授權在此時間無效。",
        ),
        _PERIOD,
    ),
    "consent-used-up": Refusal(
        STEP_CONSENT,
        Sentence("The consent has been used up.", "授权次数已用完。", "授權次數已用完。"),
        _CONSENT,
    ),
    "not-a-recipient": Refusal(
        STEP_CONSENT,
        Sentence(
            "This institution is not registered to receive documents.",
            "本机构未登记为文件接收机构。",
            "本機構未登記為文件接收機構。",
        ),
        _OPERATOR,
    ),
    "recipient-suspended": Refusal(
        STEP_CONSENT,
        Sentence("This institution is suspended.", "本机构已被暂停资格。", "本機構已被暫停資格。"),
        _OPERATOR,
    ),
    "not-presented": Refusal(
        STEP_PRESENTATION,
        Sentence(
            "The holder has not presented the document.", "持有人尚未出示该文件。", "持有人尚未出示該文件。"
        ),
        _PRESENT,
    ),
    "wrong-nonce": Refusal(
        STEP_PRESENTATION,
        Sentence(
            "The presentation answers another request.",
            "该出示对应的是另一请求。",
            "該出示對應的是另一請求。",
        ),
        _PRESENT,
    ),
    "holder-signature": Refusal(
        STEP_PRESENTATION,
        Sentence(
            "Whoever presented the document does not hold the holder's key.",
            "出示者并不持有持有人的密钥。",
            "出示者並不持有持有人的密鑰。",
        ),
        _PRESENT,
    ),
    "consent-signature": Refusal(
        STEP_PRESENTATION,
        Sentence(
            "The presentation is not signed with the key of the consent.",
            "该出示并非以授权所用的密钥签署。",
            "該出示並非以授權所用的密鑰簽署。",
        ),
        _PRESENT,
    ),
    "one-of-many": Refusal(
        STEP_PRESENTATION,
        Sentence(
            "The document was presented together with others, which are missing here.",
            "该文件是与其他文件一并出示的，而其他文件未在此提供。",
            "該文件是與其他文件一併出示的，而其他文件未在此提供。",
        ),
        TOGETHER,
    ),
    "item-missing": Refusal(
        STEP_PRESENTATION,
        Sentence(
            "Something that the request asks for was not presented.",
            "本次请求所要求的某项文件未出示。",
            "本次請求所要求的某項文件未出示。",
        ),
        _COMPLETE,
    ),
    "stale-proof": Refusal(
        STEP_AGE,
        Sentence("The proof is too old.", "证明已过时。", "證明已過時。"),
        _FRESH,
    ),
}


CAUSES: Final[dict[str, Refusal]] = {
    LONGER: Refusal(
        STEP_DOCUMENT,
        Sentence(
            "The file begins with the document of this proof, and something was added behind it.",
            "该文件的开头部分是本证明所对应的文件，其后被添加了内容。",
            "該檔案的開頭部分是本證明所對應的文件，其後被添加了內容。",
        ),
        Sentence(
            "Do not rely on what was added; ask the holder for the file as the issuer handed it over.",
            "请勿采信所添加的内容；请持有人提供签发机构交付的原始文件。",
            "請勿採信所添加的內容；請持有人提供簽發機構交付的原始檔案。",
        ),
    ),
    LINE_ENDS: Refusal(
        STEP_DOCUMENT,
        Sentence(
            "The text is that of the document, but its line ends were changed, as editors and mail programs do.",
            "文字内容与原文件一致，但换行符已被更改，常由编辑器或邮件程序造成。",
            "文字內容與原文件一致，但換行符已被更改，常由編輯器或郵件程式造成。",
        ),
        Sentence(
            "Ask the holder for the file as the issuer handed it over, sent in a ZIP file or by another way that"
            " changes no text.",
            "请持有人提供签发机构交付的原始文件，并以 ZIP 压缩文件或其他不会改动文字的方式发送。",
            "請持有人提供簽發機構交付的原始檔案，並以 ZIP 壓縮檔或其他不會改動文字的方式傳送。",
        ),
    ),
    OLDER_EPOCH: Refusal(
        STEP_TRUST,
        Sentence(
            "The proof rests on an earlier set of validators than this bank's trusted root, which may be in order.",
            "该证明所依据的验证节点集合早于本行信任根中的集合；信任根本身可能并无问题。",
            "該證明所依據的驗證節點集合早於本行信任根中的集合；信任根本身可能並無問題。",
        ),
        _REFRESH,
    ),
}
"""What a cause means. A document with a cause is refused as every other."""


@dataclass(frozen=True, slots=True)
class Integrity:
    """These exact bytes: size in bytes, media type and the 32-byte commitment that was anchored."""

    media_type: str
    size: int
    commitment: bytes


@dataclass(frozen=True, slots=True)
class IssuerStanding:
    """The issuer: id, legal names, and whether it was suspended at the header's height."""

    member: str
    name_zh_hans: str
    name_zh_hant: str
    name_en: str
    is_suspended: bool


@dataclass(frozen=True, slots=True)
class Anchored:
    """When the document was anchored, in which batch, as what. Times in milliseconds."""

    root: bytes
    schema: str
    height: int
    time_ms: int
    issued_ms: int
    expires_ms: int | None


@dataclass(frozen=True, slots=True)
class Status:
    """Not revoked as of this header. Its age in milliseconds, 0 where the time asked about is before it."""

    height: int
    time_ms: int
    age_ms: int


@dataclass(frozen=True, slots=True)
class ConsentStanding:
    """Active as of the header: for whom, for what, until when, how often used of how many times."""

    consent_id: bytes
    recipient: str
    purpose: str
    until_ms: int
    used: int
    uses: int


@dataclass(frozen=True, slots=True)
class Presented:
    """Presented by the holder for this request: which item it answers, as one of how many documents.

    `list_root` is the 32-byte root of the list that was signed; `shown` the hash of what is shown of the document, as
    the holder signed it, or None where it is shown whole. A bearer document has no holder key.
    """

    nonce: bytes
    holder_key: str | None
    item: int
    shown: bytes | None
    list_size: int
    list_root: bytes


@dataclass(frozen=True, slots=True)
class TrustAnchor:
    """The pin that the proof stands on."""

    chain_id: bytes
    epoch: int
    height: int


@dataclass(frozen=True, slots=True)
class AnchorVerdict:
    """What holds of document and anchor. Says nothing of consent or of who presents it."""

    integrity: Integrity
    issuer: IssuerStanding
    anchored: Anchored
    status: Status
    trust: TrustAnchor


@dataclass(frozen=True, slots=True)
class Verdict:
    """What holds of document, anchor, consent and presentation."""

    integrity: Integrity
    issuer: IssuerStanding
    anchored: Anchored
    status: Status
    consent: ConsentStanding
    presented: Presented
    trust: TrustAnchor
