"""`luohu consent`: the bank's request, the holder's grant and withdrawal, and what the ledger holds of them.

Rule 1: a request is complete before it is signed: its direction follows from the registry, its notice and
categories from the scenarios, so that the holder is asked for nothing that no text describes.
Rule 2: a consent file is never overwritten: it holds the withdrawal.
"""

import secrets
from pathlib import Path

import click

from cli.exits import wrong_usage
from cli.files import FILE, read_trusted_root, write_file
from cli.output import fields, json_option, print_answer
from cli.passphrases import passphrase_option, protection_for
from cli.times import now_ms, show_time, to_moment
from ledger.genesis import Genesis
from ledger.presentation import Request, RequestBody, request_id
from ledger.records import Json, to_json
from ledger.trust import TRUST_VERSION, TrustedRoot
from node.home import Home
from node.scenarios import Scenarios, load_scenarios, scenarios_directory

NONCE_SIZE = 16
USES_MAX = 10_000


@click.group("consent")
def consent() -> None:
    """Request, grant, withdraw and show consents."""


@consent.command("request")
@click.option("--issuer", required=True, metavar="ID", help="The member whose documents you ask for.")
@click.option(
    "--schema",
    "schemas",
    required=True,
    multiple=True,
    metavar="S",
    help="The kind of document; may be repeated.",
)
@click.option("--purpose", required=True, metavar="P", help="What you will use it for: a purpose code.")
@click.option(
    "--until", required=True, type=to_moment, metavar="DATE", help="Until when the consent should hold."
)
@click.option(
    "--uses",
    type=click.IntRange(1, USES_MAX),
    default=1,
    show_default=True,
    metavar="N",
    help="How many verifications to ask for.",
)
@click.option(
    "--trust",
    "trust_path",
    type=FILE,
    help="Your trusted root: proofs start at its newest pin.  [default: genesis]",
)
@click.option("--home", "home_path", type=FILE, required=True, help="The home of the recipient, who signs.")
@click.option("--out", type=FILE, required=True, help="Where to write the request.")
@passphrase_option
@json_option
def request(
    issuer: str,
    schemas: tuple[str, ...],
    purpose: str,
    until: int,
    uses: int,
    trust_path: Path | None,
    home_path: Path,
    out: Path,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Recipient: ask a holder for consent. Hand the file, or a QR code of it, to the holder, and keep it.

    \b
    Example:
      luohu consent request --issuer hk-bureau --schema hk.credit-report --purpose consumer-credit.loan \\
        --until 2026-12-31 --home network/mainland-bank --out request.luohu
    """
    home = Home.open(home_path)
    trust = (
        TrustedRoot(TRUST_VERSION, home.genesis, ()) if trust_path is None else read_trusted_root(trust_path)
    )
    if trust.chain_id != home.genesis.content.chain_id:
        raise wrong_usage(
            str(trust_path),
            expected=f"a trusted root of chain {home.genesis.content.chain_id.hex()}",
            found=f"one of chain {trust.chain_id.hex()}",
            cure="Use trust.json and home of one network.",
            code="wrong-chain",
        )
    if until <= now_ms():
        raise wrong_usage(
            "--until", expected="a time to come", found=show_time(until), cure="Name a later date."
        )
    body = _request_body(
        trust,
        load_scenarios(scenarios_directory()),
        recipient=home.member,
        issuer=issuer,
        schemas=tuple(sorted(set(schemas))),
        purpose=purpose,
        until_ms=until,
        uses=uses,
    )
    protection = protection_for(
        f"the member key of {home.member}", passphrase_file, is_development=home.is_development
    )
    signed = Request.sign(body, home.load_member_key(protection))
    write_file(out, signed.encode())
    _print_request(
        f"wrote {out}: hand it to the holder and keep it for `luohu verify`", signed, as_json=as_json
    )


def _request_body(
    trust: TrustedRoot,
    scenarios: Scenarios,
    *,
    recipient: str,
    issuer: str,
    schemas: tuple[str, ...],
    purpose: str,
    until_ms: int,
    uses: int,
) -> RequestBody:
    genesis = trust.genesis
    direction = f"{_side(genesis, issuer, '--issuer')}-{_side(genesis, recipient, '--home')}"
    notice = scenarios.require_notice(schemas=schemas, purpose=purpose, direction=direction)
    return RequestBody(
        chain_id=trust.chain_id,
        nonce=secrets.token_bytes(NONCE_SIZE),
        recipient=recipient,
        issuer=issuer,
        schemas=schemas,
        purpose=purpose,
        category_mask=notice.category_mask,
        direction=direction,
        transfer_basis="holder-carried",
        flags=notice.flags,
        notice_version=notice.version,
        until_ms=until_ms,
        uses=uses,
        pin=trust.newest_pin(now_ms()),
    )


def _side(genesis: Genesis, member: str, where: str) -> str:
    for each in genesis.content.members:
        if each.id == member:
            return each.jurisdiction
    known = ", ".join(each.id for each in genesis.content.members)
    raise wrong_usage(
        where, expected=f"one of {known}", found=ascii(member)[:80], cure="Name a registered member."
    )


def _print_request(headline: str, signed: Request, *, as_json: bool) -> None:
    body = signed.decoded()
    value: dict[str, Json] = {"request_id": request_id(signed).hex(), "request": to_json(body)}
    rows = [
        ("request id", request_id(signed).hex()),
        ("recipient", body.recipient),
        ("issuer", body.issuer),
        ("documents", ", ".join(body.schemas)),
        ("purpose", body.purpose),
        ("direction", body.direction),
        ("until", show_time(body.until_ms)),
        ("uses", f"{body.uses}"),
    ]
    print_answer(as_json=as_json, value=value, lines=[headline, *fields(rows)])
