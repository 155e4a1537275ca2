"""`luohu verify`: a document, its proof, the bank's own request and a trusted root, offline.

Rule 1: the first line says the verdict. With `--anchor-only` it says that neither consent nor presentation
was checked.
Rule 2: a refusal names code and step, expected and found, and what a clerk can say and do, in three languages.
"""

from pathlib import Path

import click

from cli.exits import NO, refused, unreadable, wrong_usage
from cli.files import FILE, default_proof_path, read_proof, read_request, read_trusted_root
from cli.output import fields, json_option, print_answer
from cli.times import now_ms, show_duration, show_time, to_duration, to_moment
from ledger.errors import LedgerError
from ledger.presentation import Request
from ledger.records import Json
from ledger.trust import TrustedRoot
from ledger.verdicts import AnchorVerdict, Sentence, Verdict, VerificationError
from ledger.verifier import MAX_AGE_MS, Verifier

UNCHECKED = "neither consent nor presentation was checked"


@click.command("verify")
@click.argument("document", metavar="FILE", type=FILE)
@click.option("--proof", "proof_path", type=FILE, help="The proof file.  [default: FILE.proof]")
@click.option("--trust", "trust_path", type=FILE, required=True, help="The trusted root, trust.json.")
@click.option("--request", "request_path", type=FILE, help="Your own consent request, as you made it.")
@click.option("--anchor-only", is_flag=True, help="Check neither consent nor presentation.")
@click.option(
    "--max-age",
    type=to_duration,
    default=MAX_AGE_MS,
    metavar="DURATION",
    help="How old the proof may be, like 24h, 30m or 7d.  [default: 24h]",
)
@click.option(
    "--at",
    type=to_moment,
    metavar="TIME",
    help="The time asked about; a date alone is its end in UTC+8.  [default: now]",
)
@json_option
def verify(
    document: Path,
    proof_path: Path | None,
    trust_path: Path,
    request_path: Path | None,
    anchor_only: bool,
    max_age: int,
    at: int | None,
    as_json: bool,
) -> int:
    """Verify a document offline: who issued it, when, whether it stands, and that you may use it.

    Needs no network: only FILE, its proof, the trusted root, and the request that you made yourself. Accept
    each request once: verification keeps no memory.

    \b
    Example:
      luohu verify report.pdf --trust trust.json --request request.luohu
      luohu verify report.pdf --trust trust.json --anchor-only
    """
    if (request_path is None) == (not anchor_only):
        raise wrong_usage(
            "luohu verify",
            expected="either --request REQUEST or --anchor-only",
            found="both" if anchor_only else "neither",
            cure="Give your own request with --request; without one, say --anchor-only to check less.",
        )
    trust = read_trusted_root(trust_path)
    request = None if request_path is None else read_request(request_path)
    proof = read_proof(default_proof_path(document) if proof_path is None else proof_path)
    at_ms = now_ms() if at is None else at
    try:
        verdict = _verify(document, proof, trust, request, at_ms=at_ms, max_age_ms=max_age)
    except VerificationError as error:
        _print_refusal(error, is_anchor_only=request is None, as_json=as_json)
        return NO
    except LedgerError as error:
        raise refused(error) from error
    _print_verdict(verdict, at_ms=at_ms, as_json=as_json)
    return 0


def _verify(
    document: Path,
    proof: bytes,
    trust: TrustedRoot,
    request: Request | None,
    *,
    at_ms: int,
    max_age_ms: int,
) -> AnchorVerdict | Verdict:
    verifier = Verifier(trust)
    try:
        with document.open("rb") as file:
            if request is None:
                return verifier.verify_anchor(file, proof, at_ms=at_ms, max_age_ms=max_age_ms)
            return verifier.verify(file, proof, request=request, at_ms=at_ms, max_age_ms=max_age_ms)
    except OSError as error:
        raise unreadable(str(document), error) from error


def _print_refusal(error: VerificationError, *, is_anchor_only: bool, as_json: bool) -> None:
    meaning, next_step = error.refusal.meaning, error.refusal.next_step
    value: dict[str, Json] = {
        "verdict": "refused",
        "checked": _checked(is_anchor_only),
        "code": error.code,
        "step": error.step,
        "where": error.where,
        "expected": error.expected,
        "found": error.found,
        "meaning": _sentence(meaning),
        "next_step": _sentence(next_step),
    }
    note = f" ({UNCHECKED})" if is_anchor_only else ""
    rows = [
        ("step", error.step),
        ("where", error.where),
        ("expected", error.expected),
        ("found", error.found),
        ("en", f"{meaning.en} {next_step.en}"),
        ("zh-Hans", meaning.zh_hans + next_step.zh_hans),
        ("zh-Hant", meaning.zh_hant + next_step.zh_hant),
    ]
    lines = [f"REFUSED: {error.code}{note}", *fields(rows)]
    print_answer(as_json=as_json, value=value, lines=lines)


def _print_verdict(verdict: AnchorVerdict | Verdict, *, at_ms: int, as_json: bool) -> None:
    is_anchor_only = isinstance(verdict, AnchorVerdict)
    first = f"ANCHOR VERIFIED ONLY: {UNCHECKED}" if is_anchor_only else "VERIFIED"
    value: dict[str, Json] = {
        "verdict": "anchor-verified" if is_anchor_only else "verified",
        "checked": _checked(is_anchor_only),
        "at_ms": at_ms,
        **_anchor_json(verdict),
    }
    rows = _anchor_rows(verdict)
    if isinstance(verdict, Verdict):
        value |= _consent_json(verdict)
        rows += _consent_rows(verdict)
    print_answer(as_json=as_json, value=value, lines=[first, *fields(rows)])


def _checked(is_anchor_only: bool) -> list[Json]:
    steps: list[Json] = ["trust", "document", "anchor", "issuer", "status", "age"]
    return steps if is_anchor_only else [*steps, "consent", "presentation"]


def _sentence(sentence: Sentence) -> dict[str, Json]:
    return {"en": sentence.en, "zh-Hans": sentence.zh_hans, "zh-Hant": sentence.zh_hant}


def _anchor_json(verdict: AnchorVerdict | Verdict) -> dict[str, Json]:
    integrity, issuer, anchored, status = (
        verdict.integrity,
        verdict.issuer,
        verdict.anchored,
        verdict.status,
    )
    return {
        "integrity": {
            "media_type": integrity.media_type,
            "size": integrity.size,
            "commitment": integrity.commitment.hex(),
        },
        "issuer": {
            "member": issuer.member,
            "name_en": issuer.name_en,
            "name_zh_hans": issuer.name_zh_hans,
            "name_zh_hant": issuer.name_zh_hant,
            "is_suspended": issuer.is_suspended,
        },
        "anchored": {
            "root": anchored.root.hex(),
            "schema": anchored.schema,
            "height": anchored.height,
            "time_ms": anchored.time_ms,
            "issued_ms": anchored.issued_ms,
            "expires_ms": anchored.expires_ms,
        },
        "status": {"height": status.height, "time_ms": status.time_ms, "age_ms": status.age_ms},
        "trust": {
            "chain_id": verdict.trust.chain_id.hex(),
            "epoch": verdict.trust.epoch,
            "height": verdict.trust.height,
        },
    }


def _anchor_rows(verdict: AnchorVerdict | Verdict) -> list[tuple[str, str]]:
    integrity, issuer, anchored, status = (
        verdict.integrity,
        verdict.issuer,
        verdict.anchored,
        verdict.status,
    )
    expiry = "no expiry" if anchored.expires_ms is None else f"valid until {show_time(anchored.expires_ms)}"
    standing = "suspended, anchored before that" if issuer.is_suspended else "in good standing"
    return [
        ("document", f"exactly as anchored: {integrity.size} bytes, {integrity.media_type}"),
        ("issuer", f"{issuer.name_en} / {issuer.name_zh_hans} / {issuer.name_zh_hant} ({issuer.member})"),
        ("standing", f"{standing} as of block {status.height}"),
        ("kind", anchored.schema),
        ("anchored", f"{show_time(anchored.time_ms)}, block {anchored.height}; {expiry}"),
        ("status", f"not revoked as of block {status.height}, {show_time(status.time_ms)}"),
        ("proof age", show_duration(status.age_ms)),
        (
            "trust",
            f"chain {verdict.trust.chain_id.hex()[:16]}, pinned block {verdict.trust.height} "
            f"of epoch {verdict.trust.epoch}",
        ),
    ]


def _consent_json(verdict: Verdict) -> dict[str, Json]:
    consent, presented = verdict.consent, verdict.presented
    return {
        "consent": {
            "consent_id": consent.consent_id.hex(),
            "recipient": consent.recipient,
            "purpose": consent.purpose,
            "until_ms": consent.until_ms,
            "used": consent.used,
            "uses": consent.uses,
        },
        "presented": {"nonce": presented.nonce.hex(), "holder_key": presented.holder_key},
    }


def _consent_rows(verdict: Verdict) -> list[tuple[str, str]]:
    consent, presented = verdict.consent, verdict.presented
    by = "the holder's key" if presented.holder_key is not None else "the consent key (bearer document)"
    return [
        (
            "consent",
            f"active: {consent.recipient} for {consent.purpose}, until {show_time(consent.until_ms)}",
        ),
        ("uses", f"{consent.used} of {consent.uses} recorded"),
        ("presented", f"for this request, signed by {by}"),
    ]
