"""`luohu consent`: the bank's request, the holder's grant and withdrawal, and what the ledger holds of them.

Rule 1: a request is complete before it is signed: its direction follows from the registry, its notice and
categories from the scenarios, so that the holder is asked for nothing that no text describes.
Rule 2: a consent file is never overwritten: it holds the withdrawal.
"""

import asyncio
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.agreement import require_yes
from cli.exits import wrong_usage
from cli.files import FILE, read_consent, read_request, read_trusted_root, refuse_existing, write_file
from cli.output import fields, json_option, print_answer
from cli.passphrases import passphrase_for, passphrase_option, protection_for
from cli.receipt import receipt, receipt_path_of, write_receipt
from cli.times import now_ms, show_time, to_moment
from ledger.encoding.records import Json, to_json
from ledger.genesis import Genesis
from ledger.presentation import ConsentFile, Request, RequestBody, request_id
from ledger.receipts import LANGUAGES, ConsentReceipt
from ledger.rules.state import Consent, Granted
from ledger.trust import TRUST_VERSION, TrustedRoot
from node.consent.receipts import load_receipt_texts
from node.consent.receipttext import told_rows
from node.consent.scenarios import Scenarios, load_scenarios, scenarios_directory
from node.home.home import Home

if TYPE_CHECKING:
    from node.client.client import Client

NONCE_SIZE = 16
USES_MAX = 10_000


@click.group("consent")
def consent() -> None:
    """Request, grant, withdraw and show consents."""


consent.add_command(receipt)


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


@consent.command("grant")
@click.option("--request", "request_path", type=FILE, required=True, help="The bank's request.")
@click.option("--wallet", "wallet_path", type=FILE, required=True, help="Your wallet; it gets a fresh key.")
@click.option("--url", required=True, help="A node's API, like http://127.0.0.1:7201.")
@click.option("--out", type=FILE, required=True, help="Where to write the consent; never overwritten.")
@click.option(
    "--language",
    type=click.Choice(LANGUAGES),
    default="zh-Hans",
    show_default=True,
    metavar="LANGUAGE",
    help="In which language you read what you agree to: zh-Hans, zh-Hant or en.",
)
@click.option("--yes", is_flag=True, help="You were shown the terms and agreed: do not ask again.")
@passphrase_option
@json_option
def grant(
    request_path: Path,
    wallet_path: Path,
    url: str,
    out: Path,
    language: str,
    yes: bool,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Resident: consent to a bank's request. The file written also holds your withdrawal, ready to be used.

    You are shown the terms first and asked; without a terminal to ask at, say --yes. OUT.receipt.json beside it
    says what you agreed to; `luohu consent receipt show` makes it readable. Give the bank a copy of that one, and
    keep a copy of OUT apart from your phone. If the command was cut short, call it again with the same --out.

    \b
    Example:
      luohu consent grant --request request.luohu --wallet mine.wallet --url http://127.0.0.1:7201 \\
        --out consent.luohu
    """
    from cli.nodes import connect
    from node.client import holder
    from node.client.wallet import Wallet
    from node.errors import RefusedByNode

    asked = read_request(request_path)
    begun = _begun(out, asked)
    texts = load_receipt_texts(scenarios_directory())

    def ask(told: ConsentReceipt) -> None:
        question = {"en": "Do you agree?"}.get(language, "您同意吗？ / 您同意嗎？")
        shown = fields(told_rows(told, language))
        require_yes(question, yes=yes, command="luohu consent grant", shown=shown)

    async def submit() -> tuple[ConsentFile, int | None]:
        async with connect(url) as client:
            made = begun
            if made is None:
                passphrase = passphrase_for(f"the wallet {wallet_path}", passphrase_file)
                with Wallet.load(wallet_path, passphrase) as wallet:
                    made, given = await holder.make_consent_with_receipt(
                        client, asked, wallet, texts, language=language, now_ms=now_ms(), ask=ask
                    )
                write_receipt(receipt_path_of(out), given)
                # On the disk before it is sent: the withdrawal must never be lost.
                write_file(out, made.encode(), mode=0o600)
            try:
                return made, (await holder.grant(client, made)).height
            except RefusedByNode:
                # A grant that an earlier call had recorded changes nothing now. It is there, as was asked for.
                granted = await _find_granted(client, made)
                if granted is None:
                    raise
                return made, granted.height

    made, height = asyncio.run(submit())
    _print_consent(f"consent given, recorded in block {height}; wrote {out}", made, height, as_json=as_json)


@consent.command("withdraw")
@click.option("--consent", "consent_path", type=FILE, required=True, help="The consent file.")
@click.option("--url", required=True, help="A node's API, like http://127.0.0.1:7201.")
@json_option
def withdraw(consent_path: Path, url: str, as_json: bool) -> None:
    """Resident: withdraw a consent, with the withdrawal prepared in its file. Needs no wallet.

    \b
    Example:
      luohu consent withdraw --consent consent.luohu --url http://127.0.0.1:7201
    """
    from cli.nodes import connect
    from node.client import holder
    from node.errors import RefusedByNode

    given = read_consent(consent_path)

    async def submit() -> int | None:
        async with connect(url) as client:
            try:
                return (await holder.withdraw(client, given)).height
            except RefusedByNode:
                # Withdrawing what is withdrawn changes nothing: it is withdrawn, which is what was asked for.
                ended = (await client.consent(given.consent_key, given.consent_id)).ended
                if ended is None:
                    raise
                return None

    height = asyncio.run(submit())
    headline = "was withdrawn or closed before" if height is None else f"withdrawn in block {height}"
    _print_consent(f"consent {headline}", given, height, as_json=as_json)


@consent.command("show")
@click.argument("consent_path", metavar="CONSENT", type=FILE)
@click.option("--url", required=True, help="A node's API, like http://127.0.0.1:7201.")
@json_option
def show(consent_path: Path, url: str, as_json: bool) -> None:
    """Show what a node says of a consent: whether it is active, and how often it was used.

    \b
    Example:
      luohu consent show consent.luohu --url http://127.0.0.1:7201
    """
    from cli.nodes import connect

    given = read_consent(consent_path)

    async def ask() -> Consent:
        async with connect(url) as client:
            return await client.consent(given.consent_key, given.consent_id)

    found = asyncio.run(ask())
    ended = found.ended
    terms = given.grant.decoded().terms
    if ended is not None:
        state = f"ended by the {ended.by} in block {ended.height}"
    elif now_ms() > terms.until_ms:
        state = "past its end"
    else:
        state = "active"
    print_answer(
        as_json=as_json,
        value={"state": state, "record": to_json(found)},
        lines=[
            f"{state}, as this node says",
            *fields([*_terms_rows(given), ("used", f"{found.used} of {terms.uses}")]),
        ],
    )


def _begun(out: Path, asked: Request) -> ConsentFile | None:
    """Return the consent that an earlier call wrote for this request; refuse any other existing file."""
    if not out.exists():
        refuse_existing(out)
        return None
    found = read_consent(out)
    if found.request != asked:
        refuse_existing(out)
    return found


async def _find_granted(client: "Client", given: ConsentFile) -> Granted | None:
    """Return the record of a consent that was granted and not ended; None where there is none such."""
    from node.errors import RefusedByNode

    try:
        record = await client.consent(given.consent_key, given.consent_id)
    except RefusedByNode:
        return None
    return record.granted if record.ended is None else None


def _terms_rows(given: ConsentFile) -> list[tuple[str, str]]:
    terms = given.grant.decoded().terms
    return [
        ("consent id", given.consent_id.hex()),
        ("recipient", terms.recipient),
        ("issuer", terms.issuer),
        ("documents", ", ".join(terms.schemas)),
        ("purpose", terms.purpose),
        ("until", show_time(terms.until_ms)),
        ("uses", f"{terms.uses}"),
    ]


def _print_consent(headline: str, given: ConsentFile, height: int | None, *, as_json: bool) -> None:
    value: dict[str, Json] = {
        "consent_id": given.consent_id.hex(),
        "consent_key": str(given.consent_key),
        "height": height,
    }
    print_answer(as_json=as_json, value=value, lines=[headline, *fields(_terms_rows(given))])


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
