"""`luohu proof`: bring a proof up to date, present it, and look into it.

Rule 1: refreshing sends neither document, commitment opening nor content hash.
Rule 2: what `show` prints is what the file claims; only `luohu verify` says whether it holds.
"""

import asyncio
from pathlib import Path
from typing import TypeVar

import click

from cli.files import FILE, read_consent, read_file, read_proof, read_request, write_file
from cli.output import fields, json_option, print_answer
from cli.passphrases import passphrase_for, passphrase_option
from cli.roots import ROOT_OF_WALLET, TRUST, URLS, headline, kept_root, shown_json, shown_rows
from cli.times import show_time
from ledger.encoding.records import Json, to_json, unpack
from ledger.proofs import Proof, ProvenLeaf
from ledger.requests import ITEMS_MAX
from ledger.rules.blocks import EncodedHeader
from ledger.rules.state import LEAF_SIZE_MAX, Anchor, Consent, Member
from ledger.sets import SHOWN_FILE_SIZE_MAX, ShownSet
from ledger.trust import TrustedRoot
from node.client.answers import Answer

L = TypeVar("L", Anchor, Member, Consent)

CLAIMED = "claims of this file; only `luohu verify` says whether they hold"


@click.group("proof")
def proof() -> None:
    """Bring a proof up to date, present it to a bank, or look into it."""


@proof.command("refresh")
@click.argument("proof_path", metavar="FILE.proof", type=FILE)
@click.option("--consent", "consent_path", type=FILE, metavar="CONSENT", help="Include this consent.")
@TRUST
@ROOT_OF_WALLET
@URLS
@passphrase_option
@json_option
def refresh(
    proof_path: Path,
    consent_path: Path | None,
    trust_path: Path | None,
    wallet_path: Path | None,
    urls: tuple[str, ...],
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Bring a proof up to date: what the ledger says now of the document, its issuer and the consent.

    The node learns neither the document nor what it holds. FILE.proof is replaced, with a trusted root only by evidence
    of now that is proven under it.

    \b
    Example:
      luohu proof refresh report.pdf.proof --consent consent.luohu --trust trust.json --url http://127.0.0.1:7201
    """
    from cli.nodes import connect_ledger
    from node.client import holder

    old = Proof.decode(read_proof(proof_path))
    consent = None if consent_path is None else read_consent(consent_path)

    async def ask(root: TrustedRoot | None) -> Answer[Proof]:
        async with connect_ledger(urls, root) as ledger:
            return await holder.refresh(ledger, old, consent)

    with kept_root(trust_path, wallet_path, passphrase_file) as root:
        answer = asyncio.run(ask(root))
    new = answer.value
    header = EncodedHeader.decode(new.evidence.header).header
    write_file(proof_path, new.encode())
    has_consent = new.evidence.consent is not None
    lines = [
        headline(answer, f"{proof_path} is as of block {header.height}, {show_time(header.time_ms)}"),
        *fields(
            [
                ("consent", "included" if has_consent else "none: this proof shows the anchor alone"),
                ("presented", "yes" if new.presentation is not None else "not yet: `luohu proof present`"),
                *shown_rows(answer),
            ]
        ),
    ]
    value: dict[str, Json] = {
        "height": header.height,
        "time_ms": header.time_ms,
        "has_consent": has_consent,
        "is_presented": new.presentation is not None,
        **shown_json(answer),
    }
    print_answer(as_json=as_json, value=value, lines=lines)


@proof.command("present")
@click.argument("proof_path", metavar="FILE.proof", type=FILE)
@click.option("--request", "request_path", type=FILE, required=True, help="The bank's request.")
@click.option("--consent", "consent_path", type=FILE, required=True, help="Your consent to it.")
@click.option("--wallet", "wallet_path", type=FILE, required=True, help="The wallet with both keys.")
@click.option(
    "--item",
    type=click.IntRange(0, ITEMS_MAX - 1),
    help="Which item of the request it answers, counted from 0; found where one item fits.",
)
@click.option(
    "--shown",
    "shown_path",
    type=FILE,
    help="What you show of it: the file that `luohu set select` wrote. Sign with it, or nobody believes the choice.",
)
@passphrase_option
@json_option
def present(
    proof_path: Path,
    request_path: Path,
    consent_path: Path,
    wallet_path: Path,
    item: int | None,
    shown_path: Path | None,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Resident: sign that you show this document to this bank, under this consent, for this request.

    Needs no network. Refresh the proof with the consent first. FILE.proof is replaced.

    \b
    Example:
      luohu proof present report.pdf.proof --request request.luohu --consent consent.luohu --wallet mine.wallet
    """
    from node.client import holder
    from node.client.wallet import Wallet

    decoded = Proof.decode(read_proof(proof_path))
    request, consent = read_request(request_path), read_consent(consent_path)
    shown = (
        None
        if shown_path is None
        else ShownSet.decode(read_file(shown_path, size_max=SHOWN_FILE_SIZE_MAX)).shown_hash
    )
    with Wallet.load(wallet_path, passphrase_for(f"the wallet {wallet_path}", passphrase_file)) as wallet:
        presented = holder.present(decoded, request, consent, wallet, item=item, shown=shown)
    write_file(proof_path, presented.encode())
    recipient = request.decoded().decoded_asked().recipient
    print_answer(
        as_json=as_json,
        value={"recipient": recipient, "consent_id": consent.consent_id.hex()},
        lines=[f"{proof_path} is presented to {recipient}: take the document and this file there"],
    )


@proof.command("show")
@click.argument("proof_path", metavar="FILE.proof", type=FILE)
@json_option
def show(proof_path: Path, as_json: bool) -> None:
    """Show what a proof file says, in words or as JSON. Nothing is verified.

    \b
    Example:
      luohu proof show report.pdf.proof
      luohu proof show report.pdf.proof --json
    """
    decoded = Proof.decode(read_proof(proof_path))
    header = EncodedHeader.decode(decoded.evidence.header)
    metadata = decoded.opening.decoded_metadata()
    anchor = _leaf(Anchor, decoded.evidence.anchor)
    issuer = _leaf(Member, decoded.evidence.issuer)
    consent = None if decoded.evidence.consent is None else _leaf(Consent, decoded.evidence.consent.consent)
    value: dict[str, Json] = {
        "note": CLAIMED,
        "metadata": to_json(metadata),
        "commitment": decoded.opening.commitment().hex(),
        "header": {**to_json(header.header), "hash": header.hash.hex()},
        "anchor": to_json(anchor),
        "issuer": to_json(issuer),
        "consent": None if consent is None else to_json(consent),
        "proof": to_json(decoded),
    }
    opening = decoded.opening
    holder = "none (bearer document)" if metadata.holder_key is None else str(metadata.holder_key)
    expires = "never" if metadata.expires_ms is None else show_time(metadata.expires_ms)
    rows = [
        ("document", f"{opening.size} bytes, {opening.media_type}, kind {metadata.schema}"),
        ("issuer", f"{issuer.name_en} ({metadata.issuer})"),
        ("holder key", holder),
        ("issued", f"{show_time(metadata.issued_ms)}, expires: {expires}"),
        (
            "anchored",
            f"block {anchor.height}, {show_time(anchor.time_ms)}, "
            f"leaf {decoded.batch.path.index} of {decoded.batch.leaf_count}",
        ),
        ("as of", f"block {header.header.height}, {show_time(header.header.time_ms)}"),
        ("consent", _consent_words(consent)),
        ("presented", "no" if decoded.presentation is None else "yes, with a presentation"),
        ("chain", decoded.chain_id.hex()),
    ]
    print_answer(as_json=as_json, value=value, lines=[f"{proof_path}: {CLAIMED}", *fields(rows)])


def _leaf(shape: type[L], proven: ProvenLeaf) -> L:
    return unpack(shape, proven.value, size_max=LEAF_SIZE_MAX)


def _consent_words(consent: Consent | None) -> str:
    if consent is None:
        return "none: this proof shows the anchor alone"
    if consent.granted is None:
        return f"{consent.consent_id.hex()}, withdrawn before it was granted"
    terms = consent.granted.terms
    state = "active" if consent.ended is None else f"ended by the {consent.ended.by}"
    return (
        f"{terms.recipient} for {terms.purpose}, until {show_time(terms.until_ms)}, "
        f"{consent.used} of {terms.uses} used, {state}"
    )
