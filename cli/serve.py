"""`luohu verify serve`: the verifier on loopback, until it is interrupted."""

import asyncio
import signal
import sys
from pathlib import Path

import click

from cli.exits import wrong_usage
from cli.files import FILE, read_trusted_root
from cli.output import json_option, print_answer
from cli.textsource import TEXTS, fields_in, texts_of_reports
from ledger.trust import TRUST_FILE_SIZE_MAX, TrustedRoot, parse_trusted_root
from node.consent.textfolder import HeldTexts
from node.files.reading import open_named

PORT_MAX = 65_535


@click.command("serve")
@click.option("--trust", "trust_path", type=FILE, required=True, help="The trusted root, trust.json.")
@click.option("--host", default="127.0.0.1", show_default=True, help="A loopback address; no other is taken.")
@click.option(
    "--port",
    type=click.IntRange(0, PORT_MAX),
    default=7300,
    show_default=True,
    help="The port; 0 takes a free one.",
)
@click.option(
    "--requests", type=FILE, metavar="DIR", help="The folder of your own requests, named by callers."
)
@TEXTS
@json_option
def serve(
    trust_path: Path,
    host: str,
    port: int,
    requests: Path | None,
    texts_path: Path | None,
    as_json: bool,
) -> None:
    """Recipient: offer the verifier on loopback to systems in other languages, until interrupted.

    POST /v1/verify takes a form of document, proof and request, and answers the verdict; 200 means verified.
    GET /v1/openapi.json describes it. The trusted root is read again on SIGHUP (not on
    Windows). Nothing is remembered: your
    system accepts each nonce once.

    \b
    Example:
      luohu verify serve --trust trust.json --requests requests/
      curl -F document=@report.pdf -F proof=@report.pdf.proof -F request_name=loan-4711 \\
        http://127.0.0.1:7300/v1/verify
    """
    from cli.nodes import configure_log

    trust = read_trusted_root(trust_path)
    if requests is not None and not requests.is_dir():
        raise wrong_usage(
            str(requests),
            expected="the folder of your own requests",
            found="something else" if requests.exists() else "nothing",
            cure="Name a folder, or leave --requests out.",
            code="path",
        )
    texts = texts_of_reports(texts_path)
    configure_log()
    asyncio.run(_serve(trust, trust_path, host, port, requests, texts, as_json=as_json))


async def _serve(
    trust: TrustedRoot,
    trust_path: Path,
    host: str,
    port: int,
    requests: Path | None,
    texts: HeldTexts,
    *,
    as_json: bool,
) -> None:
    from node.api.loopback import check_loopback
    from node.recipient.service import RecipientService

    check_loopback(host)
    service = RecipientService(trust, requests=requests, fields_of=lambda schema: fields_in(texts, schema))
    bound = await service.start(host, port)
    stop = asyncio.Event()
    if hasattr(signal, "SIGHUP"):
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: service.reload(lambda: _load(trust_path)))
    # Windows has no SIGHUP, and its loops no handlers: there Ctrl-C interrupts what waits below.
    url = f"http://[{host}]:{bound}" if ":" in host else f"http://{host}:{bound}"
    print_answer(
        as_json=as_json,
        value={"url": url, "chain_id": trust.chain_id.hex()},
        lines=[f"verifying at {url}/v1/verify (Ctrl-C stops it)"],
    )
    sys.stdout.flush()
    waiting = asyncio.create_task(stop.wait())
    try:
        # What accepts connections ends by itself only where it failed, which `close` raises.
        await asyncio.wait({waiting, service.accepting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        await service.close()


def _load(path: Path) -> TrustedRoot:
    with open_named(path) as file:
        return parse_trusted_root(file.read(TRUST_FILE_SIZE_MAX + 1))
