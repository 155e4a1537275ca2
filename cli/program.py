"""The commands of `luohu` by name, loaded when they are called.

Rule 1: a command's module is imported when the command is used or its help is asked for, so that
`luohu --help` is quick and a bank that only verifies needs neither aiohttp nor plyvel.
Rule 2: every way out of a command is one of the exit codes; no error leaves as a traceback.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Final

import click

from cli.exits import ERROR_FAMILIES, FINE, INTERRUPTED, USAGE, CommandError, explain, wrong_usage
from cli.output import JSON_OPTION, print_error, print_lines, tell


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command is found, and its line in the list of commands."""

    module: str
    name: str
    summary: str


COMMANDS: Final[Mapping[str, Entry]] = {
    "demo": Entry("cli.demo", "demo", "Play the whole story on this machine, in about a minute."),
    "network": Entry("cli.network", "network", "Make a development network and run its nodes."),
    "node": Entry("cli.node", "node", "Run one node; ask a running one how it is; repair a stopped one."),
    "key": Entry("cli.key", "key", "Make, show and rotate keys."),
    "wallet": Entry("cli.wallet", "wallet", "A resident's wallet: holder keys and consent keys."),
    "anchor": Entry("cli.anchor", "anchor", "Issuer: anchor documents; proofs appear beside them."),
    "revoke": Entry("cli.anchor", "revoke", "Issuer: revoke a document or a whole anchor."),
    "issued": Entry("cli.issued", "issued", "Issuer: list, prove, correct, retry, drop what was issued."),
    "consent": Entry("cli.consent", "consent", "Request, grant, withdraw and show consents."),
    "texts": Entry("cli.texts", "texts", "Pack, show and check the texts that people are shown."),
    "proof": Entry("cli.proof", "proof", "Refresh, present and show proof files."),
    "verify": Entry("cli.verify", "verify", "Recipient: verify a document offline."),
    "disclose": Entry("cli.disclose", "disclose", "Show chosen fields of a report, and verify them."),
    "set": Entry("cli.sets", "sets", "Show chosen files of a set that has one anchor."),
    "record": Entry("cli.record", "record", "Recipient: record on the ledger that it verified."),
    "erase": Entry("cli.erase", "erase", "Destroy salt, receipt and keys of a document."),
    "trust": Entry("cli.trust", "trust", "Make and check the trusted root, trust.json."),
    "governance": Entry(
        "cli.governance", "governance", "Governors: propose changes, vote, see what came of it."
    ),
    "audit": Entry("cli.audit", "audit", "Replay the chain from genesis and report."),
}


class _Commands(click.Group):
    """The top group: names and summaries from the table, modules only on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command = getattr(import_module(entry.module), entry.name)
        assert isinstance(command, click.Command), "the table names commands"
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


def _show_version(context: click.Context, _option: click.Parameter, is_asked: bool) -> None:
    if not is_asked or context.resilient_parsing:
        return
    # Imported here: no other command pays for looking into the installation.
    from node.version import UNINSTALLED, release

    found = release()
    if found == UNINSTALLED:
        raise wrong_usage(
            "luohu --version",
            expected="an installation of luohu-ledger, which knows its version",
            found="sources that are not installed",
            cure="Run `python -m pip install --editable .` beside pyproject.toml, which names the version.",
        )
    print_lines([f"luohu {found}"])
    context.exit()


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 fine; 1 the answer is no; 2 wrong usage, path, trusted root or configuration; "
    "3 a node cannot be reached, is not ready or does not show what it says. Every command takes --json.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the installed version and exit.",
)
def program() -> None:
    """Verify documents across the border: people carry them, the ledger carries only proof.

    \b
    A first look:      luohu demo
    A bank verifies:   luohu verify report.pdf --trust trust.json --request request.luohu
    Help on each:      luohu verify --help
    """


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code; whatever went wrong has been printed."""
    as_json = JSON_OPTION in arguments
    try:
        outcome: object = program.main(list(arguments), prog_name="luohu", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        tell(error.format_message().split("\n"))
        return USAGE
    except click.ClickException as error:
        print_error(_of_usage(error), as_json=as_json)
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        tell(["luohu: interrupted"])
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has had enough. It may not have seen the answer, so this is not success.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return USAGE
    except ERROR_FAMILIES as error:
        explained = explain(error)
        print_error(explained, as_json=as_json)
        return explained.exit_code
    return outcome if isinstance(outcome, int) else FINE


def _of_usage(error: click.ClickException) -> CommandError:
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = "luohu" if context is None else context.command_path
    return wrong_usage(
        path,
        expected=f"arguments as `{path} --help` shows them",
        found=" ".join(error.format_message().split()),
        cure=f"See `{path} --help`.",
    )
