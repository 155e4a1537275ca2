"""`luohu consent receipt`: read what was agreed to, and check that it is what the ledger holds."""

import asyncio
import json
from pathlib import Path

import click

from cli.exits import wrong_usage
from cli.files import FILE, read_consent, read_file, read_request, write_file
from cli.output import fields, json_option, print_answer
from cli.roots import TRUST, headline, named_root, shown_json, shown_rows
from ledger.encoding.records import to_json
from ledger.receipts import (
    LANGUAGES,
    RECEIPT_FILE_SIZE_MAX,
    ReceiptError,
    ReceiptFile,
    check_receipt,
    check_receipt_of,
    parse_receipt,
)
from ledger.rules.state import Consent, consent_key
from ledger.trust import TrustedRoot
from node.client.answers import Answer, Proven

RECEIPT_SUFFIX = ".receipt.json"


def receipt_path_of(consent: Path) -> Path:
    """Return where a consent's receipt goes: beside it."""
    return consent.with_name(consent.name + RECEIPT_SUFFIX)


def write_receipt(path: Path, receipt: ReceiptFile) -> None:
    """Write a receipt in its JSON form."""
    text = json.dumps(to_json(receipt), ensure_ascii=False, indent=2)
    write_file(path, text.encode() + b"\n", mode=0o600)


def read_receipt(path: Path) -> ReceiptFile:
    """Return the receipt in a file. Raises LedgerError where it is none."""
    return parse_receipt(read_file(path, size_max=RECEIPT_FILE_SIZE_MAX))


@click.group("receipt")
def receipt() -> None:
    """Read consent receipts, and check them against the ledger."""


@receipt.command("show")
@click.argument("receipt_path", metavar="RECEIPT", type=FILE)
@click.option(
    "--language",
    type=click.Choice(LANGUAGES),
    metavar="LANGUAGE",
    help="zh-Hans, zh-Hant or en.  [default: as shown]",
)
@click.option("--html", "html_path", type=FILE, metavar="PAGE", help="Write a page in all three languages.")
@json_option
def show(receipt_path: Path, language: str | None, html_path: Path | None, as_json: bool) -> None:
    """Show what a receipt says. Whether it is true: `luohu consent receipt check`.

    \b
    Example:
      luohu consent receipt show consent.luohu.receipt.json --language en
      luohu consent receipt show consent.luohu.receipt.json --html consent.html
    """
    from node.consent.receipttext import receipt_rows, render_html

    file = read_receipt(receipt_path)
    if html_path is not None:
        write_file(html_path, render_html(file).encode())
    rows = receipt_rows(file, language or file.receipt.language)
    print_answer(as_json=as_json, value=to_json(file), lines=[f"{receipt_path}", *fields(rows)])


@receipt.command("check")
@click.argument("receipt_path", metavar="RECEIPT", type=FILE)
@click.option("--consent", "consent_path", type=FILE, help="Holder: the consent that it belongs to.")
@click.option("--request", "request_path", type=FILE, help="Bank: your own request; needs --url.")
@TRUST
@click.option(
    "--url",
    "urls",
    multiple=True,
    help="A node's API: compare with what the ledger holds; may be repeated.",
)
@json_option
def check(
    receipt_path: Path,
    consent_path: Path | None,
    request_path: Path | None,
    trust_path: Path | None,
    urls: tuple[str, ...],
    as_json: bool,
) -> None:
    """Check that a receipt is, to the last character, what the consent commits to.

    \b
    Example:
      luohu consent receipt check consent.luohu.receipt.json --consent consent.luohu
      luohu consent receipt check theirs.receipt.json --request request.luohu --trust trust.json \\
        --url http://127.0.0.1:7201
    """
    if (consent_path is None) == (request_path is None) or (request_path is not None and not urls):
        raise wrong_usage(
            "luohu consent receipt check",
            expected="either --consent CONSENT, or --request REQUEST with --url URL",
            found="something else",
            cure="The holder has the consent; the bank has its request and asks a node.",
        )
    file = read_receipt(receipt_path)
    compared = []
    if consent_path is not None:
        consent = read_consent(consent_path)
        request = consent.request
        check_receipt_of(file, consent)
        compared.append("the consent file")
    else:
        assert request_path is not None, "the call was checked"
        request = read_request(request_path)
    answer = None
    if urls:
        answer = asyncio.run(_ask(urls, named_root(trust_path, None), file))
        granted = answer.value.granted
        assert granted is not None, "what is shown was granted"
        check_receipt(file, request, granted.terms, consent_id=answer.value.consent_id)
        is_proven = isinstance(answer, Proven)
        compared.append("what the ledger holds" if is_proven else "what this node says the ledger holds")
    said = f"the receipt agrees with {' and '.join(compared)}"
    print_answer(
        as_json=as_json,
        value={
            "consent_id": file.consent_id.hex(),
            "compared": [*compared],
            "agrees": True,
            **({} if answer is None else shown_json(answer)),
        },
        lines=[
            said if answer is None else headline(answer, said),
            *fields([("consent id", file.consent_id.hex()), *([] if answer is None else shown_rows(answer))]),
        ],
    )


async def _ask(urls: tuple[str, ...], root: TrustedRoot | None, file: ReceiptFile) -> Answer[Consent]:
    """Return the consent as it was granted, which lasts. Raises ReceiptError where it never was."""
    from cli.nodes import connect_ledger
    from node.client.ledgerclient import has_leaf

    key = consent_key(file.receipt.principal, file.consent_id)
    what = f"consent {file.consent_id.hex()[:16]}"
    async with connect_ledger(urls, root) as ledger:

        def lacks(answer: Answer[Consent | None]) -> str | None:
            return None if answer.value is not None else ledger.staleness(answer)

        found = await ledger.find(Consent, key, lacks, what=what)
    if not has_leaf(found):
        raise ReceiptError(where="receipt consent", expected="a consent on the ledger", found="none such")
    if found.value.granted is None:
        raise ReceiptError(
            where="receipt consent",
            expected="a consent that was granted",
            found="one withdrawn before that",
        )
    return found
