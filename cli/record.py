"""`luohu record`: the recipient states on the ledger that it verified a document under a consent."""

import asyncio
from pathlib import Path
from typing import Final

import click

from cli.exits import NO, CommandError
from cli.files import FILE, read_proof, read_request
from cli.output import json_option, print_answer
from cli.passphrases import passphrase_option
from cli.times import now_ms
from ledger.presentation import RequestBody
from ledger.proofs import Proof

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
@click.option("--url", required=True, help="A node's API, like http://127.0.0.1:7201.")
@passphrase_option
@json_option
def record(
    proof_path: Path,
    request_path: Path,
    outcome: str,
    again: bool,
    home_path: Path,
    url: str,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Recipient: record that you verified a document, under which consent, without revealing the document.

    Verify first: recording does not. Only a tag goes to the ledger, which nobody can open without the proof.
    It uses one of the consent's verifications. Called again with the same outcome, it says that this is on record.
    Returns when the record is final.

    \b
    Example:
      luohu record report.pdf.proof --request request.luohu --outcome accepted \\
        --home network/mainland-bank --url http://127.0.0.1:7201
    """
    from cli.homes import open_member
    from cli.nodes import connect
    from node.client.client import Result
    from node.client.recipient import record_verification

    proof = Proof.decode(read_proof(proof_path))
    request = read_request(request_path).decoded()
    member = open_member(home_path, passphrase_file)
    _check_own(proof, request, member.id)

    async def submit() -> Result | None:
        async with connect(url) as client:
            return await record_verification(
                client,
                proof,
                member=member.id,
                key=member.key,
                outcome=outcome,
                now_ms=now_ms(),
                is_another=again,
            )

    result = asyncio.run(submit())
    presentation = proof.presentation
    assert presentation is not None, "checked against the request"
    height = None if result is None else result.height
    said = (
        "recorded before (with --again, it is recorded another time)"
        if result is None
        else f"recorded in block {height}"
    )
    print_answer(
        as_json=as_json,
        value={"outcome": outcome, "consent_id": presentation.consent_id.hex(), "height": height},
        lines=[f"{said}: {outcome}, under consent {presentation.consent_id.hex()[:16]}"],
    )


def _check_own(proof: Proof, request: RequestBody, member: str) -> None:
    presentation = proof.presentation
    nonce = "no presentation" if presentation is None else presentation.nonce.hex()
    for where, expected, found in (
        ("request recipient", member, request.recipient),
        ("request chain", proof.chain_id.hex(), request.chain_id.hex()),
        ("presentation nonce", request.nonce.hex(), nonce),
    ):
        if expected != found:
            cure = "Name the home, the request and the presented proof that belong together."
            raise CommandError(
                exit_code=NO, where=where, expected=expected, found=found, cure=cure, code="request-mismatch"
            )
