"""`luohu record`: the recipient states on the ledger that it verified a document under a consent."""

import asyncio
from pathlib import Path
from typing import Final

import click

from cli.exits import NO, CommandError
from cli.files import FILE, read_proof, read_request
from cli.output import fields, json_option, print_answer
from cli.passphrases import passphrase_option
from cli.roots import TRUST, URLS, headline, root_of_home, shown_json, shown_rows
from cli.times import now_ms
from ledger.proofs import Proof
from ledger.requests import RequestBody
from ledger.rules.state import Verification
from node.client.answers import Recorded

OUTCOMES: Final = ("verified", "accepted", "declined", "refused")


@click.command("record")
@click.argument("proof_path", metavar="FILE.proof", type=FILE)
@click.option("--request", "request_path", type=FILE, required=True, help="Your own consent request.")
@click.option(
    "--outcome",
    metavar="CODE",
    type=click.Choice(OUTCOMES),
    required=True,
    help=f"What came of it: {', '.join(OUTCOMES)}.",
)
@click.option("--again", is_flag=True, help="It was verified another time: record it though it is on record.")
@click.option("--home", "home_path", type=FILE, required=True, help="The home of the recipient, who signs.")
@TRUST
@URLS
@passphrase_option
@json_option
def record(
    proof_path: Path,
    request_path: Path,
    outcome: str,
    again: bool,
    home_path: Path,
    trust_path: Path | None,
    urls: tuple[str, ...],
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Recipient: record that you verified a document, under which consent, without revealing the document.

    Verify first: recording does not. Only a tag goes to the ledger, which nobody can open without the proof.
    It uses one of the consent's verifications. Called again with the same outcome, it says that this is on record.
    Returns when the record is shown under the genesis of your home, or under the root that --trust names.

    \b
    Example:
      luohu record report.pdf.proof --request request.luohu --outcome accepted \\
        --home network/mainland-bank --url http://127.0.0.1:7201
    """
    from cli.homes import open_member
    from cli.nodes import connect_ledger
    from node.client.recipient import record_verification

    proof = Proof.decode(read_proof(proof_path))
    request = read_request(request_path).decoded()
    member = open_member(home_path, passphrase_file)
    root = root_of_home(trust_path, member.home.genesis)
    _check_own(proof, request, member.id)

    async def submit() -> Recorded[Verification]:
        async with connect_ledger(urls, root) as ledger:
            return await record_verification(
                ledger,
                proof,
                member=member.id,
                key=member.key,
                outcome=outcome,
                now_ms=now_ms(),
                is_another=again,
            )

    recorded = asyncio.run(submit())
    record = recorded.shown.value
    height = record.height if recorded.is_new(record.height) else None
    said = (
        f"recorded before, in block {record.height} (with --again, it is recorded another time)"
        if height is None
        else f"recorded in block {height}"
    )
    consent_id = record.consent_id.hex()
    print_answer(
        as_json=as_json,
        value={
            "outcome": outcome,
            "consent_id": consent_id,
            "height": height,
            **shown_json(recorded.shown),
        },
        lines=[
            headline(recorded.shown, f"{said}: {outcome}, under consent {consent_id[:16]}"),
            *fields(shown_rows(recorded.shown)),
        ],
    )


def _check_own(proof: Proof, request: RequestBody, member: str) -> None:
    presentation = proof.presentation
    nonce = "no presentation" if presentation is None else presentation.nonce.hex()
    for where, expected, found in (
        ("request recipient", member, request.decoded_asked().recipient),
        ("request chain", proof.chain_id.hex(), request.chain_id.hex()),
        ("presentation nonce", request.nonce.hex(), nonce),
    ):
        if expected != found:
            cure = "Name the home, the request and the presented proof that belong together."
            raise CommandError(
                exit_code=NO, where=where, expected=expected, found=found, cure=cure, code="request-mismatch"
            )
