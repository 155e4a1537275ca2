"""`luohu node`: run one node in the foreground; ask a running one how it is; repair a stopped one; explain it."""

import asyncio
import logging
import sys
from pathlib import Path

import click

from cli.exits import ERROR_FAMILIES, FINE, NO, UNREACHABLE, require_posix, unreachable, wrong_usage
from cli.explain import explain
from cli.files import FILE
from cli.output import fields, json_option, print_answer
from cli.passphrases import passphrase_option, protection_for
from cli.times import show_time
from ledger.encoding.records import Json
from node.files.keyfiles import Protection


@click.group("node")
def node() -> None:
    """Run one node, ask a running one how it is, repair a stopped one, or explain what one did."""


@node.command("start")
@click.option("--home", "path", type=FILE, required=True, help="The member's home directory.")
@passphrase_option
@json_option
def start(path: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Run a member's node in the foreground until it is interrupted. Its log goes to standard error.

    \b
    Example:
      luohu node start --home network/hk-bureau
    """
    require_posix("luohu node start")
    from cli.nodes import configure_log, spare_collections
    from node.api.server import Api
    from node.errors import SetupError, StoreError
    from node.home.home import Home
    from node.run import load_parts, run_node

    home = Home.open(path)
    home.require_node()
    protection: Protection = protection_for(
        f"the keys of {home.member}", passphrase_file, is_development=home.is_development
    )
    parts = load_parts(home, protection)
    configure_log()

    def say_ready() -> None:
        spare_collections()
        url = f"http://{parts.settings.api}"
        value = {"member": parts.member, "url": url, "listen": str(parts.settings.listen)}
        lines = [f"{parts.member} is running; its API is at {url} (Ctrl-C stops it)"]
        print_answer(as_json=as_json, value={**value}, lines=lines)
        sys.stdout.flush()

    try:
        asyncio.run(run_node(parts, Api, on_ready=say_ready))
    except SetupError as error:
        # What the store cannot know is where it lies.
        cure = error.cure.replace("HOME", str(path))
        code = "store" if isinstance(error, StoreError) else error.code
        raise wrong_usage(
            error.where, expected=error.expected, found=error.found, cure=cure, code=code
        ) from error
    except ERROR_FAMILIES:
        raise
    except Exception as error:
        logging.getLogger(__name__).critical("node.stopped", exc_info=error)
        raise unreachable(
            f"node {parts.member}",
            expected="a node that runs",
            found=f"one that stopped itself: {type(error).__name__}: {error}",
            cure="Keep the home as evidence and report the log; it stops rather than be wrong.",
            code="node-stopped",
        ) from error


@node.command("repair")
@click.option("--home", "path", type=FILE, required=True, help="The member's home directory.")
@click.option(
    "--give-up",
    metavar="HEIGHT|all",
    help="Move the chain aside though no peer holds it: the blocks up to HEIGHT are given up.",
)
@passphrase_option
@json_option
def repair(path: Path, give_up: str | None, passphrase_file: Path | None, as_json: bool) -> int:
    """Examine the home of a stopped node, put aside what is damaged, and leave one that starts.

    Nothing is deleted. A chain is moved aside only where peers hold it, and they are asked; the next start fetches it
    from them. Exit code 1 where something is left to do.

    \b
    Example:
      luohu node repair --home network/hk-bureau
    """
    require_posix("luohu node repair")
    from node.home.holdings import Holdings, Question, ask_peers
    from node.home.home import Home
    from node.home.repair import repair as repair_home

    home = Home.open(path)

    def ask(question: Question) -> Holdings:
        protection = protection_for(
            f"the keys of {home.member}", passphrase_file, is_development=home.is_development
        )
        identity = home.load_tls_identity(protection)
        chain_id, settings = home.genesis.content.chain_id, home.require_node()
        return asyncio.run(
            ask_peers(question, member=home.member, chain_id=chain_id, settings=settings, identity=identity)
        )

    found = repair_home(home, ask, give_up=give_up)
    lines = ["nothing is damaged"] if not found else []
    for each in found:
        kept = "" if each.kept_at is None else f"; kept at {each.kept_at}"
        lines.append(f"{each.where}: expected {each.expected}, found {each.found}{kept}. Now: {each.cure}")
    value: dict[str, Json] = {
        "home": str(path),
        "findings": [
            {
                "part": each.part,
                "where": each.where,
                "expected": each.expected,
                "found": each.found,
                "kept_at": None if each.kept_at is None else str(each.kept_at),
                "cure": each.cure,
                "is_repaired": each.is_repaired,
            }
            for each in found
        ],
    }
    print_answer(as_json=as_json, value=value, lines=lines)
    return FINE if all(each.is_repaired for each in found) else NO


@node.command("status")
@click.option("--url", required=True, help="The node's API, like http://127.0.0.1:7201.")
@json_option
def status(url: str, as_json: bool) -> int:
    """Ask a running node how it is, and what to do where it is not well. Exit code 3 where it does not answer or is
    not ready.

    \b
    Example:
      luohu node status --url http://127.0.0.1:7201
    """
    from cli.nodes import NodeReport, ask_status, condition_rows, report_json

    report: NodeReport = asyncio.run(ask_status(url))
    found = report.status
    rows = [
        ("member", f"{found.member} ({found.kind})"),
        ("version", found.version),
        ("block", f"{found.height} {found.block_hash}"),
        ("epoch", f"{found.epoch}"),
        ("time", show_time(found.time_ms)),
        ("voting", "yes" if found.is_voting else "no" if found.lack is None else f"no: {found.lack}"),
        ("peers", ", ".join(found.peers_connected) or "none"),
        ("chain id", found.chain_id),
    ]
    if found.condition is not None:
        rows += condition_rows(found.condition)
    headline = f"{url} is ready" if report.waits_for is None else f"{url} is not ready: {report.waits_for}"
    print_answer(as_json=as_json, value=report_json(url, report), lines=[headline, *fields(rows)])
    return FINE if report.waits_for is None else UNREACHABLE


node.add_command(explain)
