"""`luohu disclose`: a JSON report of which the resident shows chosen fields (docs/disclosure.md).

Rule 1: what is anchored is the JWT file; which fields are shown changes nothing of it.
Rule 2: the holder's file opens every field and is never overwritten.
"""

import json
from pathlib import Path

import click

from cli.exits import NO, wrong_usage
from cli.files import (
    FILE,
    read_file,
    read_proof,
    read_request,
    read_trusted_root,
    refuse_existing,
    write_file,
)
from cli.output import fields, json_option, print_answer
from cli.passphrases import passphrase_for, passphrase_option
from cli.textsource import TEXTS, fields_in, texts_of_reports
from cli.times import now_ms, show_time, to_duration, to_moment
from cli.verify import past_rows, print_refusal, time_asked
from ledger.disclosure import DisclosureVerdict
from ledger.encoding.keys import PublicKey
from ledger.encoding.records import Json, parse_json
from ledger.errors import LedgerError
from ledger.sdjwt import JWT_SIZE_MAX, SDJWT_SIZE_MAX, ArrayShown, decode, open_fields
from ledger.verdictjson import arrays_to_json, disclosure_to_json
from ledger.verdicts import VerificationError
from ledger.verifier import MAX_AGE_MS, Verifier
from node.recipient.question import TimeAsked, ask_disclosure

JWT_SUFFIX = ".jwt"


@click.group("disclose")
def disclose() -> None:
    """A report of which only chosen fields are shown: issue it, choose, look, verify."""


@disclose.command("issue")
@click.argument("report_path", metavar="REPORT.json", type=FILE)
@click.option(
    "--holder", metavar="KEY", required=True, help="The holder key, as `luohu wallet derive` shows it."
)
@click.option("--schema", required=True, metavar="S", help="The kind of document, like cn.credit-report.")
@click.option("--home", "home_path", type=FILE, required=True, help="The home of the issuer, who signs.")
@click.option(
    "--out", type=FILE, required=True, help="Where the holder's file goes; OUT.jwt is to be anchored."
)
@passphrase_option
@json_option
def issue(
    report_path: Path,
    holder: str,
    schema: str,
    home_path: Path,
    out: Path,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Issuer: make a JSON report whose fields can be shown one by one.

    Anchor OUT.jwt like every document, with the same holder key, and hand the resident OUT, OUT.jwt and its
    proof. For a second bank issue a second copy with another holder key: one copy can be joined by both.

    \b
    Example:
      luohu disclose issue report.json --holder ed25519:... --schema cn.credit-report \\
        --home network/mainland-bureau --out report.sdjwt
      luohu anchor report.sdjwt.jwt --holder ed25519:... --schema cn.credit-report --home ... --url ...
    """
    from cli.homes import open_member
    from node.client.disclosing import issue_report

    report = parse_json(read_file(report_path, size_max=JWT_SIZE_MAX), size_max=JWT_SIZE_MAX)
    if not isinstance(report, dict):
        raise wrong_usage(
            str(report_path), expected="a JSON object", found="another value", cure="Name a report of fields."
        )
    try:
        key = PublicKey.from_text(holder)
    except LedgerError as error:
        cure = "Use the key that `luohu wallet derive` shows."
        raise wrong_usage("--holder", expected=error.expected, found=error.found, cure=cure) from error
    member = open_member(home_path, passphrase_file)
    jwt_path = out.with_name(out.name + JWT_SUFFIX)
    for path in (out, jwt_path):
        refuse_existing(path)
    text = issue_report(report, issuer=member.id, schema=schema, holder=key, key=member.key, now_ms=now_ms())
    write_file(out, text.encode("ascii"), mode=0o600)
    write_file(jwt_path, text.partition("~")[0].encode("ascii"))
    count = text.count("~") - 1
    print_answer(
        as_json=as_json,
        value={"fields_count": count, "holder_file": str(out), "document": str(jwt_path)},
        lines=[f"wrote {out} with {count} fields that can be shown; anchor {jwt_path}"],
    )


@disclose.command("select")
@click.argument("holder_path", metavar="REPORT.sdjwt", type=FILE)
@click.option(
    "--field",
    "paths",
    multiple=True,
    metavar="PATH",
    help="A field to show, like subject.name or accounts[0]; may be repeated.",
)
@click.option("--request", "request_path", type=FILE, required=True, help="The bank's request.")
@click.option("--wallet", "wallet_path", type=FILE, required=True, help="The wallet with the holder key.")
@click.option("--out", type=FILE, required=True, help="Where to write what is shown.")
@passphrase_option
@json_option
def select(
    holder_path: Path,
    paths: tuple[str, ...],
    request_path: Path,
    wallet_path: Path,
    out: Path,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Resident: choose the fields that a bank may see, and sign that they are for its request.

    A field is shown with all below it. Present the proof as for every document: `luohu proof present`.

    \b
    Example:
      luohu disclose select report.sdjwt --field subject.name --field accounts --request request.luohu \\
        --wallet mine.wallet --out report.shown
    """
    from node.client.disclosing import show_fields
    from node.client.wallet import Wallet

    whole = decode(read_file(holder_path, size_max=SDJWT_SIZE_MAX))
    request = read_request(request_path).decoded()
    recipient = request.decoded_asked().recipient
    with Wallet.load(wallet_path, passphrase_for(f"the wallet {wallet_path}", passphrase_file)) as wallet:
        text = show_fields(whole, list(paths), request, wallet, now_ms=now_ms())
    write_file(out, text.encode("ascii"), mode=0o600)
    shown = open_fields(decode(text.encode("ascii")))
    print_answer(
        as_json=as_json,
        value={"shown": [*shown.values], "recipient": recipient},
        lines=[
            f"wrote {out}: {recipient} will see",
            *fields([(path, "shown") for path in shown.values] or [("nothing", "no field is shown")]),
        ],
    )


@disclose.command("show")
@click.argument("file", metavar="FILE", type=FILE)
@json_option
def show(file: Path, as_json: bool) -> None:
    """Show the fields in a report or in what was chosen of it. Nothing is verified but that it is whole.

    \b
    Example:
      luohu disclose show report.sdjwt
    """
    decoded = decode(read_file(file, size_max=SDJWT_SIZE_MAX))
    shown = open_fields(decoded)
    bound = "yes" if decoded.binding else "no: this file opens all that stands in it to whoever has it"
    rows = [
        ("issuer", decoded.claims.issuer),
        ("kind", decoded.claims.schema),
        ("holder key", str(decoded.claims.holder_key)),
        ("bound to a bank", bound),
        ("closed", f"{shown.closed_count} digests, decoys among them"),
        *((path, _shown(value)) for path, value in shown.values.items()),
        *((f"array {path}", _elements(array)) for path, array in shown.arrays.items()),
    ]
    answer: dict[str, Json] = {
        "issuer": decoded.claims.issuer,
        "schema": decoded.claims.schema,
        "holder_key": str(decoded.claims.holder_key),
        "is_bound": bool(decoded.binding),
        "fields": shown.fields,
        "closed_count": shown.closed_count,
        "arrays": arrays_to_json(shown.arrays),
    }
    print_answer(as_json=as_json, value=answer, lines=[f"{file}", *fields(rows)])


@disclose.command("verify")
@click.argument("shown_path", metavar="SHOWN", type=FILE)
@click.option("--proof", "proof_path", type=FILE, required=True, help="The proof of the report's JWT.")
@click.option("--trust", "trust_path", type=FILE, required=True, help="The trusted root, trust.json.")
@click.option("--request", "request_path", type=FILE, required=True, help="Your own consent request.")
@click.option(
    "--max-age",
    type=to_duration,
    default=MAX_AGE_MS,
    metavar="DURATION",
    help="How old proof and choice may be.  [default: 24h]",
)
@click.option("--at", type=to_moment, metavar="TIME", help="A past time asked about.  [default: the present]")
@TEXTS
@json_option
def verify(
    shown_path: Path,
    proof_path: Path,
    trust_path: Path,
    request_path: Path,
    max_age: int,
    at: int | None,
    texts_path: Path | None,
    as_json: bool,
) -> int:
    """Recipient: verify a report and the fields that the resident shows; list what is withheld. Offline.

    \b
    Example:
      luohu disclose verify report.shown --proof report.sdjwt.jwt.proof --trust trust.json --request request.luohu
    """
    time = time_asked(at, max_age)
    trust, request = read_trusted_root(trust_path), read_request(request_path)
    texts = texts_of_reports(texts_path)
    named = [
        field for schema in request.decoded().decoded_asked().schemas for field in fields_in(texts, schema)
    ]
    try:
        verdict = ask_disclosure(
            Verifier(trust),
            read_file(shown_path, size_max=SDJWT_SIZE_MAX),
            read_proof(proof_path),
            request,
            time,
            named_fields=named,
        )
    except VerificationError as error:
        print_refusal(error, is_anchor_only=False, as_json=as_json)
        return NO
    _print_verdict(verdict, time, as_json=as_json)
    return 0


def _print_verdict(verdict: DisclosureVerdict, time: TimeAsked, *, as_json: bool) -> None:
    document = verdict.document
    rows = [
        *past_rows(time),
        ("issuer", f"{document.issuer.name_en} / {document.issuer.name_zh_hans} ({document.issuer.member})"),
        ("kind", document.anchored.schema),
        ("status", f"not revoked as of block {document.status.height}, {show_time(document.status.time_ms)}"),
        ("consent", f"{document.consent.recipient} for {document.consent.purpose}"),
        ("chosen", f"by the holder, {show_time(verdict.bound_ms)}"),
        *((f"shows {path}", _shown(value)) for path, value in verdict.shown.items()),
        *((f"array {path}", _elements(array)) for path, array in verdict.arrays.items()),
        *((f"withholds {each}", "") for each in verdict.withheld),
        ("withheld", f"{verdict.withheld_count} digests stay closed, decoys among them"),
    ]
    value = disclosure_to_json(verdict, at_ms=time.at_ms)
    print_answer(as_json=as_json, value=value, lines=["VERIFIED, with chosen fields", *fields(rows)])


def _elements(array: ArrayShown) -> str:
    """Say whether an array is whole: what is withheld of one leaves no gap in what is shown."""
    of = f"{array.shown_count} of {array.elements_count} elements shown"
    return f"whole: {of}" if array.is_whole else f"NOT WHOLE: {of}"


def _shown(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)
