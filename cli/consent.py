"""`luohu consent`: the bank's request, the holder's grant and withdrawal, and what the ledger holds of them.

Rule 1: a request is complete before it is signed: its direction follows from the registry (cli/registry.py), its
notice and categories from texts (cli/textsource.py), so that the holder is asked for nothing that no text describes.
Rule 2: a consent file is never overwritten: it holds the withdrawal.
Rule 3: what a command says of the ledger is proven under the holder's trusted root, or said to be a node's word
(cli/roots.py).
Rule 4: genesis is only the start of what is registered: what it lacks is asked of the ledger, or refused.
"""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.agreement import require_yes
from cli.exits import NO, CommandError, wrong_usage
from cli.files import FILE, read_consent, read_request, read_trusted_root, refuse_existing, write_file
from cli.output import fields, json_option, print_answer, tell, warn
from cli.passphrases import passphrase_for, passphrase_option, protection_for
from cli.receipt import receipt, receipt_path_of, write_receipt
from cli.roots import (
    ROOT_OF_WALLET,
    TRUST,
    URLS,
    headline,
    keep_root,
    kept_root,
    named_root,
    shown_json,
    shown_rows,
)
from cli.textsource import TEXTS, TEXTS_HASH, SourcedTexts, texts_of_home, texts_of_request
from cli.times import now_ms, show_duration, show_time, to_moment
from cli.whoasks import who_rows
from ledger.consents import ConsentFile
from ledger.encoding.keys import PrivateKey, PublicKey
from ledger.encoding.records import Json, pack, to_json
from ledger.errors import LedgerError
from ledger.receipts import LANGUAGES, ConsentReceipt
from ledger.requests import (
    ANSWER_WITHIN_MS,
    HOLDER_CARRIED,
    SELF,
    Asked,
    Basis,
    Item,
    Request,
    RequestBody,
)
from ledger.rules.state import ISSUER, RECIPIENT, Consent
from ledger.trust import TRUST_VERSION, TrustedRoot
from node.consent.receipts import require_notice_for
from node.consent.receipttext import told_rows
from node.consent.textbundle import Notice, PackedTexts
from node.consent.textfolder import HeldTexts
from node.home.home import Home

if TYPE_CHECKING:
    from node.client.answers import Answer, Recorded
    from node.client.holder import WhoAsks

NONCE_SIZE = 16
USES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a recipient asks for."""

    issuers: tuple[str, ...]
    schemas: tuple[str, ...]
    purpose: str
    until_ms: int
    uses: int


@dataclass(frozen=True, slots=True)
class _Registered:
    """What is registered of it. `own_key` is the recipient's key, where the ledger was asked."""

    sources: tuple[str, ...]
    destination: str
    duration_max_ms: int
    own_key: PublicKey | None


@click.group("consent")
def consent() -> None:
    """Request, grant, withdraw and show consents."""


consent.add_command(receipt)


@consent.command("request")
@click.option(
    "--issuer",
    "issuers",
    required=True,
    multiple=True,
    metavar="ID",
    help="The member whose documents you ask for; may be repeated.",
)
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
@click.option(
    "--url",
    "urls",
    multiple=True,
    help="A node's API, to ask what is registered now, and how long a consent may be; may be repeated.  "
    "[default: what genesis says]",
)
@TEXTS
@click.option("--out", type=FILE, required=True, help="Where to write the request.")
@passphrase_option
@json_option
def request(
    issuers: tuple[str, ...],
    schemas: tuple[str, ...],
    purpose: str,
    until: int,
    uses: int,
    trust_path: Path | None,
    home_path: Path,
    urls: tuple[str, ...],
    texts_path: Path | None,
    out: Path,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Recipient: ask a holder for consent. Hand the file, or a QR code of it, to the holder, and keep it.

    What governors registered since genesis is asked of the nodes that --url names, and proven under your root.

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
    asked = _Asked(tuple(sorted(set(issuers))), tuple(sorted(set(schemas))), purpose, until, uses)
    found = (
        asyncio.run(_look_up(asked, home.member, urls, trust)) if urls else _of_genesis(asked, home, trust)
    )
    _check_until(until, found.duration_max_ms)
    texts, notice = _notice_for(texts_of_home(home, texts_path), asked, found)
    body = _request_body(asked, texts, notice, recipient=home.member, trust=trust)
    protection = protection_for(
        f"the member key of {home.member}", passphrase_file, is_development=home.is_development
    )
    key = home.load_member_key(protection)
    _check_own_key(key, found)
    signed = Request.sign(body, key)
    write_file(out, signed.encode())
    _warn_of_missing_parties(texts, (*asked.issuers, home.member))
    _print_request(
        f"wrote {out}: hand it to the holder and keep it for `luohu verify`", signed, texts, as_json=as_json
    )


@consent.command("grant")
@click.option("--request", "request_path", type=FILE, required=True, help="The bank's request.")
@click.option("--wallet", "wallet_path", type=FILE, required=True, help="Your wallet; it gets a fresh key.")
@TRUST
@URLS
@TEXTS
@TEXTS_HASH
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
    trust_path: Path | None,
    urls: tuple[str, ...],
    texts_path: Path | None,
    texts_hash: str | None,
    out: Path,
    language: str,
    yes: bool,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Resident: consent to a bank's request. The file written also holds your withdrawal, ready to be used.

    You are shown who asks and the terms first, and asked; without a terminal to ask at, say --yes. OUT.receipt.json
    beside it says what you agreed to; `luohu consent receipt show` makes it readable. Give the bank a copy of that one,
    and keep a copy of OUT apart from your phone. If the command was cut short, call it again with the same --out.

    The wallet keeps the trusted root that you name first. Without one, what a node says of the bank is believed.
    The texts come from --texts, or by their hash, or else from the nodes, which are asked for the request's notice.

    \b
    Example:
      luohu consent grant --request request.luohu --wallet mine.wallet --trust trust.json \\
        --url http://127.0.0.1:7201 --out consent.luohu
    """
    from cli.nodes import connect_ledger
    from node.client import holder
    from node.client.wallet import Wallet
    from node.errors import ClientError

    asked = read_request(request_path)
    begun = _begun(out, asked)

    def ask(told: ConsentReceipt, who: "WhoAsks", texts: SourcedTexts) -> None:
        question = {"en": "Do you agree?"}.get(language, "您同意吗？ / 您同意嗎？")
        shown = fields([*who_rows(who, language), texts.row(language), *told_rows(told, language)])
        require_yes(question, yes=yes, command="luohu consent grant", shown=shown)

    async def submit() -> tuple[ConsentFile, "Recorded[Consent]", SourcedTexts | None]:
        passphrase = passphrase_for(f"the wallet {wallet_path}", passphrase_file)
        with Wallet.load(wallet_path, passphrase) as wallet:
            root = named_root(trust_path, wallet.root)
            async with connect_ledger(urls, root) as ledger:
                made, texts = begun, None
                if made is None:
                    # Whose request it is comes first: a forged one is refused as such, whatever it names.
                    who = await holder.who_asks(ledger, asked, now_ms=now_ms())
                    texts = await texts_of_request(ledger, asked, texts_path, texts_hash)
                    made, given = await holder.make_consent_with_receipt(
                        ledger,
                        asked,
                        wallet,
                        texts.packed.bundle,
                        language=language,
                        now_ms=now_ms(),
                        ask=lambda told, who: ask(told, who, texts),
                        who=who,
                    )
                    write_receipt(receipt_path_of(out), given)
                    # On the disk before it is sent: the withdrawal must never be lost.
                    write_file(out, made.encode(), mode=0o600)
                elif (await holder.find_consent(ledger, made)).value is None:
                    # An earlier call was cut short before it was sent; it may have had no trusted root.
                    await holder.who_asks(ledger, asked, now_ms=now_ms())
                keep_root(wallet, root)
                try:
                    return made, await holder.grant(ledger, made), texts
                except (ClientError, LedgerError):
                    _say_what_is_open(out, made)
                    raise

    made, recorded, texts = asyncio.run(submit())
    granted = recorded.shown.value.granted
    assert granted is not None, "what stands was granted"
    said = f"consent given, recorded in block {granted.height}; wrote {out}"
    _print_consent(
        headline(recorded.shown, said), made, granted.height, recorded.shown, texts=texts, as_json=as_json
    )


@consent.command("withdraw")
@click.option("--consent", "consent_path", type=FILE, required=True, help="The consent file.")
@TRUST
@ROOT_OF_WALLET
@URLS
@passphrase_option
@json_option
def withdraw(
    consent_path: Path,
    trust_path: Path | None,
    wallet_path: Path | None,
    urls: tuple[str, ...],
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Resident: withdraw a consent, with the withdrawal prepared in its file. Needs no wallet.

    With a trusted root the command ends when the ledger is shown to hold the withdrawal. Several URLs, of both sides,
    help where one node does not do what it says.

    \b
    Example:
      luohu consent withdraw --consent consent.luohu --trust trust.json --url http://127.0.0.1:7201 \\
        --url http://127.0.0.1:7204
    """
    from cli.nodes import connect_ledger
    from node.client import holder

    given = read_consent(consent_path)

    async def submit(root: TrustedRoot | None) -> "Recorded[Consent]":
        async with connect_ledger(urls, root) as ledger:
            return await holder.withdraw(ledger, given)

    with kept_root(trust_path, wallet_path, passphrase_file) as root:
        recorded = asyncio.run(submit(root))
    ended = recorded.shown.value.ended
    assert ended is not None, "what is shown has ended"
    height = ended.height if recorded.is_new(ended.height) else None
    said = (
        f"consent was withdrawn or closed before, by the {ended.by} in block {ended.height}"
        if height is None
        else f"consent withdrawn in block {height}"
    )
    _print_consent(headline(recorded.shown, said), given, height, recorded.shown, as_json=as_json)


@consent.command("show")
@click.argument("consent_path", metavar="CONSENT", type=FILE)
@TRUST
@ROOT_OF_WALLET
@URLS
@passphrase_option
@json_option
def show(
    consent_path: Path,
    trust_path: Path | None,
    wallet_path: Path | None,
    urls: tuple[str, ...],
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Show what the ledger holds of a consent: whether it is active, and how often it was used.

    \b
    Example:
      luohu consent show consent.luohu --trust trust.json --url http://127.0.0.1:7201
    """
    from cli.nodes import connect_ledger
    from node.client import holder

    given = read_consent(consent_path)

    async def ask(root: TrustedRoot | None) -> "Answer[Consent | None]":
        async with connect_ledger(urls, root) as ledger:
            return await holder.find_consent(ledger, given)

    with kept_root(trust_path, wallet_path, passphrase_file) as root:
        answer = asyncio.run(ask(root))
    found = answer.value
    if found is None:
        raise CommandError(
            exit_code=NO,
            where=headline(answer, f"consent {given.consent_id.hex()}"),
            expected="a record on the ledger",
            found="none",
            cure="Check the identifiers, and that this is the right network; or grant it: `luohu consent grant`.",
            code="unknown",
        )
    terms = given.grant.decoded().terms
    state = _state_of(found, terms.until_ms)
    print_answer(
        as_json=as_json,
        value={"state": state, "record": to_json(found), **shown_json(answer)},
        lines=[
            headline(answer, f"consent is {state}"),
            *fields([*_terms_rows(given), ("used", f"{found.used} of {terms.uses}"), *shown_rows(answer)]),
        ],
    )


def _state_of(found: Consent, until_ms: int) -> str:
    if found.ended is not None:
        return f"ended by the {found.ended.by} in block {found.ended.height}"
    return "past its end" if now_ms() > until_ms else "active"


def _say_what_is_open(out: Path, made: ConsentFile) -> None:
    """Say what a grant that was not shown may come to: whoever has it may still have it recorded."""
    deadline = show_time(made.grant.decoded().submit_by_ms)
    said = f"luohu: {out} holds the consent and its withdrawal. It may still be recorded until {deadline}:"
    tell([f"{said} give the same call again, or withdraw it."])


def _begun(out: Path, asked: Request) -> ConsentFile | None:
    """Return the consent that an earlier call wrote for this request; refuse any other existing file."""
    if not out.exists():
        refuse_existing(out)
        return None
    found = read_consent(out)
    if found.request != asked:
        refuse_existing(out)
    return found


def _terms_rows(given: ConsentFile) -> list[tuple[str, str]]:
    terms = given.grant.decoded().terms
    return [
        ("consent id", given.consent_id.hex()),
        ("recipient", terms.recipient),
        ("issuer", ", ".join(given.asked.issuers)),
        ("documents", ", ".join(given.asked.schemas)),
        ("purpose", terms.purpose),
        ("until", show_time(terms.until_ms)),
        ("uses", f"{terms.uses}"),
    ]


def _print_consent(
    said: str,
    given: ConsentFile,
    height: int | None,
    shown: "Answer[Consent]",
    *,
    texts: SourcedTexts | None = None,
    as_json: bool,
) -> None:
    value: dict[str, Json] = {
        "consent_id": given.consent_id.hex(),
        "consent_key": str(given.consent_key),
        "height": height,
        **shown_json(shown),
    }
    rows = [*_terms_rows(given), *shown_rows(shown)]
    if texts is not None:
        value |= texts.json
        rows.append(texts.row("en"))
    print_answer(as_json=as_json, value=value, lines=[said, *fields(rows)])


def _request_body(
    asked: _Asked, texts: PackedTexts, notice: Notice, *, recipient: str, trust: TrustedRoot
) -> RequestBody:
    whole = Asked(
        recipient=recipient,
        items=(Item(asked.issuers, asked.schemas, count=1, needed=1, bound=0, covers=None),),
        sources=notice.sources,
        purpose=asked.purpose,
        category_mask=notice.category_mask,
        basis=Basis(HOLDER_CARRIED, None, None, SELF, notice.kept),
        flags=notice.flags,
        notice_version=notice.version,
        until_ms=asked.until_ms,
        uses=asked.uses,
    )
    return RequestBody(
        asked=pack(whole),
        chain_id=trust.chain_id,
        nonce=secrets.token_bytes(NONCE_SIZE),
        answer_by_ms=min(asked.until_ms, now_ms() + ANSWER_WITHIN_MS),
        pin=trust.newest_pin(now_ms()),
        texts=texts.hash,
    )


async def _look_up(asked: _Asked, recipient: str, urls: tuple[str, ...], trust: TrustedRoot) -> _Registered:
    """Return what the ledger has of a request now. Raises CommandError, or ClientError where no node shows it."""
    from cli.nodes import connect_ledger
    from cli.registry import require_member, require_purpose, require_schema

    async with connect_ledger(urls, trust) as ledger:
        issuers = [await require_member(ledger, issuer, ISSUER, where="--issuer") for issuer in asked.issuers]
        own = await require_member(ledger, recipient, RECIPIENT, where="--home")
        for schema in asked.schemas:
            await require_schema(ledger, schema, where="--schema")
        await require_purpose(ledger, asked.purpose, where="--purpose")
        limits = (await ledger.parameters()).value
    sources = tuple(sorted({issuer.jurisdiction for issuer in issuers}))
    return _Registered(sources, own.jurisdiction, limits.consent_duration_max_ms, own.key)


def _of_genesis(asked: _Asked, home: Home, trust: TrustedRoot) -> _Registered:
    """Return what the chain began with of a request. Raises CommandError where it lacks something (rule 4)."""
    from cli.registry import purposes_of_genesis, schemas_of_genesis

    content = trust.genesis.content
    sides = []
    needed = (*((issuer, ISSUER, "--issuer") for issuer in asked.issuers), (home.member, RECIPIENT, "--home"))
    for member, role, where in needed:
        found = next((each for each in content.members if each.id == member), None)
        if found is None or role not in found.roles:
            known = [each.id for each in content.members if role in each.roles]
            raise _not_of_genesis(where, f"a member with the role {role}", member, known)
        sides.append(found.jurisdiction)
    for schema in asked.schemas:
        if schema not in schemas_of_genesis(trust):
            raise _not_of_genesis(
                "--schema", "a registered kind of document", schema, schemas_of_genesis(trust)
            )
    if asked.purpose not in purposes_of_genesis(trust):
        raise _not_of_genesis("--purpose", "a registered purpose", asked.purpose, purposes_of_genesis(trust))
    *sources, destination = sides
    duration_max_ms = content.parameters.consent_duration_max_ms
    return _Registered(tuple(sorted(set(sources))), destination, duration_max_ms, None)


def _not_of_genesis(where: str, expected: str, given: str, known: Sequence[str]) -> CommandError:
    return wrong_usage(
        where,
        expected=expected,
        found=f"{ascii(given)[:80]}, which genesis lacks; it has {', '.join(known)}",
        cure="If governors registered it since, give --url to ask the ledger.",
        code="not-in-genesis",
    )


def _notice_for(texts: HeldTexts, asked: _Asked, found: _Registered) -> tuple[PackedTexts, Notice]:
    """Return the notice that describes what is asked for, and the texts that have it. Raises CommandError."""
    for packed in texts.bundles:
        notice = packed.bundle.find_notice(
            schemas=asked.schemas,
            purpose=asked.purpose,
            sources=found.sources,
            destination=found.destination,
        )
        if notice is not None:
            return packed, notice
    # Said of the first one, which has none either.
    notice = require_notice_for(
        texts.bundles[0].bundle,
        schemas=asked.schemas,
        purpose=asked.purpose,
        sources=found.sources,
        destination=found.destination,
    )
    return texts.bundles[0], notice


def _check_own_key(key: PrivateKey, found: _Registered) -> None:
    """Check that the ledger knows the key that is to sign. Raises CommandError."""
    if found.own_key is not None and found.own_key != key.public:
        raise wrong_usage(
            "--home",
            expected=f"the member key that the ledger has, {found.own_key}",
            found=f"{key.public}",
            cure="Use the home in which the key was rotated; no holder could tell this request from a forged one.",
            code="signature",
        )


def _warn_of_missing_parties(texts: PackedTexts, members: Sequence[str]) -> None:
    for member in members:
        if texts.bundle.find_party(member) is None:
            warn(
                f"the texts have no address and contact of {member}: nobody can agree to this request until texts "
                f"that do are packed and served"
            )


def _check_until(until_ms: int, duration_max_ms: int) -> None:
    present_ms = now_ms()
    if until_ms <= present_ms:
        raise wrong_usage(
            "--until", expected="a time to come", found=show_time(until_ms), cure="Name a later date."
        )
    latest_ms = present_ms + duration_max_ms
    if until_ms > latest_ms:
        raise wrong_usage(
            "--until",
            expected=f"at the latest {show_time(latest_ms)}: this network allows consents of "
            f"{show_duration(duration_max_ms)}",
            found=show_time(until_ms),
            cure="Name an earlier date. If governors changed this limit since genesis, give --url to ask for it.",
        )


def _print_request(headline: str, signed: Request, texts: PackedTexts, *, as_json: bool) -> None:
    body = signed.decoded()
    asked = body.decoded_asked()
    value: dict[str, Json] = {
        "request_id": signed.id.hex(),
        "request": to_json(body),
        "asked": to_json(asked),
        "texts_hash": texts.hash.hex(),
    }
    rows = [
        ("request id", signed.id.hex()),
        ("recipient", asked.recipient),
        ("issuer", ", ".join(asked.issuers)),
        ("documents", ", ".join(asked.schemas)),
        ("purpose", asked.purpose),
        ("sources", ", ".join(asked.sources)),
        ("answer by", show_time(body.answer_by_ms)),
        ("until", show_time(asked.until_ms)),
        ("uses", f"{asked.uses}"),
        ("texts", texts.hash.hex()),
    ]
    print_answer(as_json=as_json, value=value, lines=[headline, *fields(rows)])
