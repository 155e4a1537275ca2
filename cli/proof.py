"""`luohu proof`: bring a proof up to date, present it, and look into it.

Rule 1: refreshing sends neither document, commitment opening nor content hash.
Rule 2: what `show` prints is what the file claims; only `luohu verify` says whether it holds.
"""

from pathlib import Path
from typing import TypeVar

import click

from cli.files import FILE, read_proof
from cli.output import fields, json_option, print_answer
from cli.times import show_time
from ledger.blocks import SealedHeader
from ledger.proofs import Proof, ProvenLeaf
from ledger.records import Json, to_json, unpack
from ledger.state import LEAF_SIZE_MAX, Anchor, Consent, Member

L = TypeVar("L", Anchor, Member, Consent)

CLAIMED = "claims of this file; only `luohu verify` says whether they hold"


@click.group("proof")
def proof() -> None:
    """Bring a proof up to date, present it to a bank, or look into it."""


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
    header = SealedHeader.decode(decoded.evidence.header)
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
