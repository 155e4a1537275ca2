"""Verifying a report of which only chosen fields are shown (docs/disclosure.md).

Rule 1: the document is the issuer-signed JWT, byte for byte: it verifies like every other document, with its proof,
its consent and its presentation, before anything of its fields is believed.
Rule 2: what the JWT says of issuer, kind, holder and time agrees with the metadata that was anchored. It is signed by
the issuer's registered key, or, where that was rotated since, by the key that the anchored bytes name.
Rule 3: the key binding is by that holder, to this recipient, for this request's nonce, not older than the
proof may be, and at most CLOCK_SKEW_MS later than the time asked about. Whose clock is wrong then, nobody can tell.
Rule 4: what is withheld is counted, and named where the kind of document names its fields. Of each array it is said
how many of how many elements are shown, by the issuer's word: a cut one never looks whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ledger.commitments import Metadata
from ledger.encoding.arguments import require_bytes, require_each, require_instance
from ledger.encoding.records import Json, unpack
from ledger.errors import LedgerError
from ledger.proofs import Proof
from ledger.requests import Request, RequestBody
from ledger.rules.state import LEAF_SIZE_MAX, Anchor, Member
from ledger.sdjwt import ArrayShown, Binding, SdJwt, Shown, decode, open_fields, verify_binding
from ledger.verdicts import Refusal, Sentence, Verdict, VerificationError
from ledger.verifier import CLOCK_SKEW_MS, MAX_AGE_MS, Verifier

STEP_DISCLOSURE: Final = "disclosure"

_AGAIN: Final = Sentence(
    "Ask the holder to choose the fields again, with the wallet that received the report, for this request.",
    "请持有人使用领取报告的钱包，针对本次请求重新选择要出示的字段。",
    "請持有人使用領取報告的錢包，針對本次請求重新選擇要出示的欄位。",
)
DISCLOSURE_REFUSALS: Final[dict[str, Refusal]] = {
    "disclosure-malformed": Refusal(
        STEP_DISCLOSURE,
        Sentence(
            "The file is not a report with chosen fields.",
            "该文件不是可选择字段的报告。",
            "該檔案不是可選擇欄位的報告。",
        ),
        _AGAIN,
    ),
    "disclosure-unfit": Refusal(
        STEP_DISCLOSURE,
        Sentence(
            "The fields that are shown do not belong to the report.",
            "所出示的字段与报告不符。",
            "所出示的欄位與報告不符。",
        ),
        _AGAIN,
    ),
    "disclosure-issuer": Refusal(
        STEP_DISCLOSURE,
        Sentence(
            "What the report says of itself differs from what was anchored.",
            "报告自身的记载与存证不符。",
            "報告自身的記載與存證不符。",
        ),
        Sentence(
            "Do not rely on the document; ask the issuer.",
            "请勿采信该文件，并向签发机构查询。",
            "請勿採信該文件，並向簽發機構查詢。",
        ),
    ),
    "disclosure-binding": Refusal(
        STEP_DISCLOSURE,
        Sentence(
            "The choice of fields was not made by the holder, for this bank and this request.",
            "字段的选择并非由持有人针对本行及本次请求作出。",
            "欄位的選擇並非由持有人針對本行及本次請求作出。",
        ),
        _AGAIN,
    ),
    "disclosure-clock": Refusal(
        STEP_DISCLOSURE,
        Sentence(
            "By the holder's clock, the fields were chosen later than the time asked about.",
            "按持有人的时钟，字段的选择晚于所询时间。",
            "按持有人的時鐘，欄位的選擇晚於所詢時間。",
        ),
        Sentence(
            "Check this computer's clock, then verify again; if it is right, ask the holder to set theirs and choose"
            " again.",
            "请先核对本机时钟并重新验证；如本机时钟无误，请持有人校准其时钟后重新选择字段。",
            "請先核對本機時鐘並重新驗證；如本機時鐘無誤，請持有人校準其時鐘後重新選擇欄位。",
        ),
    ),
}


class DisclosureError(VerificationError):
    """The fields that are shown, or their binding, were refused."""

    @staticmethod
    def _refusals() -> dict[str, Refusal]:
        return DISCLOSURE_REFUSALS


@dataclass(frozen=True, slots=True)
class DisclosureVerdict:
    """What holds of the report as a document, the fields that are shown, and what is withheld.

    `shown` has each value by its path in the report. `bound_ms` is when the holder says to have chosen.
    `withheld_count` counts closed digests, decoys among them: no fewer fields than none, no more than that.
    `withheld` are the named fields of this kind of document of which nothing is shown. `arrays` says of each array
    that is shown, by its path, how many of its elements are. `shown_hash` names this choice of fields.
    """

    document: Verdict
    fields: dict[str, Json]
    shown: dict[str, Json]
    withheld_count: int
    withheld: tuple[str, ...]
    bound_ms: int
    arrays: dict[str, ArrayShown]
    shown_hash: bytes


def verify_disclosure(
    verifier: Verifier,
    shown: bytes,
    proof: bytes,
    *,
    request: Request,
    now_ms: int,
    max_age_ms: int = MAX_AGE_MS,
    named_fields: Sequence[str] = (),
) -> DisclosureVerdict:
    """Return what holds now of a report of which the holder shows chosen fields.

    `shown` is the content of the file with the JWT, the chosen disclosures and the key binding. The document is
    verified first: its reasons are told before those of its fields. Raises what `Verifier.verify` raises.
    """
    handed = _take(verifier, shown, proof, named_fields)
    verdict = verifier.verify(handed.jwt, handed.proof, request=request, now_ms=now_ms, max_age_ms=max_age_ms)
    at_ms = max(now_ms, verdict.status.time_ms)
    return _verify_fields(handed, verdict, request.decoded(), at_ms, max_age_ms)


def verify_disclosure_as_of(
    verifier: Verifier,
    shown: bytes,
    proof: bytes,
    *,
    request: Request,
    at_ms: int,
    max_age_ms: int = MAX_AGE_MS,
    named_fields: Sequence[str] = (),
) -> DisclosureVerdict:
    """Return what held of it at a past time, as `Verifier.verify_as_of` does."""
    handed = _take(verifier, shown, proof, named_fields)
    verdict = verifier.verify_as_of(
        handed.jwt, handed.proof, request=request, at_ms=at_ms, max_age_ms=max_age_ms
    )
    return _verify_fields(handed, verdict, request.decoded(), at_ms, max_age_ms)


@dataclass(frozen=True, slots=True)
class _Handed:
    """What was handed over, of the right kinds."""

    shown: bytes
    proof: bytes
    named_fields: tuple[str, ...]

    @property
    def jwt(self) -> bytes:
        """The document: what stands before the first `~`."""
        return self.shown.partition(b"~")[0]


def _take(verifier: object, shown: object, proof: object, named_fields: object) -> _Handed:
    require_instance("verifier", verifier, Verifier, cure="Give Verifier(trust), made once.")
    cure = "Give the content of the file: Path(path).read_bytes()."
    names = require_each("named_fields", named_fields, str, cure="Give the names of fields in a list.")
    return _Handed(require_bytes("shown", shown, cure=cure), require_bytes("proof", proof, cure=cure), names)


def _verify_fields(
    handed: _Handed, verdict: Verdict, request: RequestBody, at_ms: int, max_age_ms: int
) -> DisclosureVerdict:
    try:
        sd_jwt = decode(handed.shown)
    except LedgerError as error:
        raise _refused("disclosure-malformed", error) from error
    _check_issuer(sd_jwt, Proof.decode(handed.proof))
    _check_binding(sd_jwt, request, at_ms, max_age_ms)
    try:
        opened = open_fields(sd_jwt)
    except LedgerError as error:
        raise _refused("disclosure-unfit", error) from error
    return DisclosureVerdict(
        document=verdict,
        fields=opened.fields,
        shown=opened.values,
        withheld_count=opened.closed_count,
        withheld=_withheld(opened, handed.named_fields),
        bound_ms=verify_binding(sd_jwt).issued_s * 1000,
        arrays=opened.arrays,
        shown_hash=sd_jwt.shown_hash,
    )


def _check_issuer(sd_jwt: SdJwt, proof: Proof) -> None:
    """Compare the JWT with what the verifier found proven: metadata, anchor, and the issuer's record."""
    metadata: Metadata = proof.opening.decoded_metadata()
    issuer = unpack(Member, proof.evidence.issuer.value, size_max=LEAF_SIZE_MAX)
    anchor = unpack(Anchor, proof.evidence.anchor.value, size_max=LEAF_SIZE_MAX)
    claims = sd_jwt.claims
    compared: list[tuple[str, object, object]] = [
        ("JWT iss", metadata.issuer, claims.issuer),
        ("JWT vct", metadata.schema, claims.schema),
        ("JWT cnf", metadata.holder_key, claims.holder_key),
    ]
    if issuer.key_sequence == anchor.key_sequence:
        compared.append(("JWT kid", issuer.key, sd_jwt.key))
    for where, expected, found in compared:
        if expected != found:
            raise DisclosureError(
                code="disclosure-issuer", where=where, expected=f"{expected}", found=f"{found}"[:120]
            )
    if claims.issued_s * 1000 > metadata.issued_ms:
        expected = f"not after {metadata.issued_ms} ms"
        raise DisclosureError(
            code="disclosure-issuer", where="JWT iat", expected=expected, found=f"{claims.issued_s} s"
        )


def _check_binding(sd_jwt: SdJwt, request: RequestBody, at_ms: int, max_age_ms: int) -> None:
    try:
        binding: Binding = verify_binding(sd_jwt)
    except LedgerError as error:
        raise _refused("disclosure-binding", error) from error
    for where, expected, found in (
        ("key binding aud", request.decoded_asked().recipient, binding.audience),
        ("key binding nonce", request.nonce.hex(), binding.nonce),
    ):
        if expected != found:
            raise DisclosureError(
                code="disclosure-binding", where=where, expected=expected, found=ascii(found)[:120]
            )
    age_ms = at_ms - binding.issued_s * 1000
    if age_ms < -CLOCK_SKEW_MS:
        raise DisclosureError(
            code="disclosure-clock",
            where="key binding iat",
            expected=f"made at most {CLOCK_SKEW_MS} ms after the time asked about",
            found=f"{-age_ms} ms after it",
        )
    if age_ms > max_age_ms:
        raise DisclosureError(
            code="disclosure-binding",
            where="key binding iat",
            expected=f"made at most {max_age_ms} ms before the time asked about",
            found=f"{age_ms} ms before it",
        )


def _withheld(opened: Shown, named_fields: Sequence[str]) -> tuple[str, ...]:
    def is_shown(name: str) -> bool:
        return any(path == name or path.startswith((f"{name}.", f"{name}[")) for path in opened.values)

    return tuple(name for name in named_fields if not is_shown(name))


def _refused(code: str, error: LedgerError) -> DisclosureError:
    return DisclosureError(code=code, where=error.where, expected=error.expected, found=error.found)
