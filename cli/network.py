"""`luohu network`: a network of one's own on this machine, to develop and to try things.

Rule 1: `up` returns when every node is ready; the nodes go on without it. Where one does not get ready, those
that were started are stopped again; where `up` is killed before that, they end by themselves (cli/processes.py,
rule 5).
Rule 2: `down` stops the processes of this network and no others (cli/processes.py, rules 2 and 3): also where the
folder was moved, or `up` was ended before it had listed them.
"""

import asyncio
import json
import secrets
from collections.abc import Callable, Set
from pathlib import Path

import click

from cli.exits import FINE, UNREACHABLE, require_posix, unreachable
from cli.files import FILE, write_file
from cli.output import fields, json_option, print_answer
from cli.passphrases import passphrase_for, passphrase_option
from cli.processes import (
    LOG_FILE,
    NETWORK_FILE,
    PROCESS_FILE,
    ListedNode,
    NetworkFile,
    Process,
    find_listed,
    find_node,
    read_network_file,
    start_node,
    stop_node,
    stop_process,
    wait_for_unrecorded,
)
from cli.times import now_ms
from ledger.encoding.records import Json, to_json
from ledger.genesis import Genesis
from ledger.rules.state import VALIDATOR
from ledger.trust import TRUST_VERSION, TrustedRoot, trusted_root_to_json
from node.lifeline import Lifeline

READY_SECONDS_MAX = 60.0


@click.group("network")
def network() -> None:
    """Make a network on this machine and run its validators as processes."""
    require_posix("luohu network")


@network.command("new")
@click.argument("directory", metavar="DIR", type=FILE)
@click.option(
    "--fresh-keys", is_flag=True, help="Make secret keys under a passphrase, not the published ones."
)
@click.option("--base-port", type=click.IntRange(1_024, 65_535), help="The first port.  [default: free ones]")
@passphrase_option
@json_option
def new(
    directory: Path, fresh_keys: bool, base_port: int | None, passphrase_file: Path | None, as_json: bool
) -> None:
    """Write DIR with genesis.json, trust.json and a home for each member, DIR/<member id>/.

    The keys are the published development keys, which protect nothing: such a network runs on loopback only.

    \b
    Example:
      luohu network new mynet
      luohu network up mynet
    """
    from node.consent.scenarios import load_scenarios, scenarios_directory
    from node.consent.textfolder import sample_texts
    from node.home.consortium import new_network

    passphrase = passphrase_for("the new keys", passphrase_file, is_new=True) if fresh_keys else None
    made = new_network(
        directory,
        development=not fresh_keys,
        passphrase=passphrase,
        base_port=base_port,
        random=secrets.token_bytes,
        now_ms=now_ms(),
        scenarios=load_scenarios(scenarios_directory()),
        texts=sample_texts(),
    )
    root = TrustedRoot(TRUST_VERSION, made.genesis, ())
    text = json.dumps(trusted_root_to_json(root), ensure_ascii=False, indent=2) + "\n"
    write_file(directory / "trust.json", text.encode())
    nodes = {member: home.settings.node for member, home in made.homes.items()}
    homes: list[Json] = [
        {
            "member": member,
            "home": str(home.path),
            "url": None if node is None else f"http://{node.api}",
        }
        for (member, home), node in zip(made.homes.items(), nodes.values(), strict=True)
    ]
    keys = "published development keys" if made.keys_are_in_the_clear else "fresh keys under your passphrase"
    print_answer(
        as_json=as_json,
        value={"directory": str(directory), "chain_id": root.chain_id.hex(), "homes": homes},
        lines=[
            f"wrote {directory} with {keys}; next: luohu network up {directory}",
            *fields(
                (member, "no node" if node is None else f"http://{node.api}")
                for member, node in nodes.items()
            ),
        ],
    )


@network.command("up")
@click.argument("directory", metavar="DIR", type=FILE)
@passphrase_option
@json_option
def up(directory: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Start the validators of DIR as processes and wait until all are ready; they go on afterwards.

    A home in DIR with a node and a validator key is one of them, also where governors added its member since genesis.

    Writes DIR/network.json with each node's URL and process id. Each node's log is node.log in its home.
    `luohu network down DIR` stops them.

    \b
    Example:
      luohu network up mynet
    """
    from node.home.home import GENESIS_FILE, Home, load_genesis

    if passphrase_file is not None:
        # Read here first: the nodes could only say in their logs that they cannot.
        passphrase_for("the nodes", passphrase_file)
    genesis = load_genesis(directory / GENESIS_FILE)
    members = [*_validators(genesis), *_validators_since(directory, genesis)]
    homes = {member: Home.open(directory / member) for member in members}
    running: dict[str, ListedNode] = {}
    started: dict[str, ListedNode] = {}

    def listed() -> list[ListedNode]:
        return [started.get(member) or running[member] for member in homes]

    with Lifeline.inherited() as lifeline:

        def start(member: str) -> ListedNode:
            home = homes[member]
            pid = start_node(home.path, passphrase_file=passphrase_file, lifeline=lifeline).pid
            started[member] = ListedNode(member, f"http://{home.require_node().api}", pid)
            return started[member]

        try:
            # Another `up` may have been killed a moment ago.
            wait_for_unrecorded(directory)
            for member, home in homes.items():
                process = _process_of(directory, member)
                if process is None:
                    start(member)
                else:
                    url = f"http://{home.require_node().api}"
                    running[member] = ListedNode(member, url, process.pid)
            _write_network_file(directory, listed())
            asyncio.run(_wait_until_ready(directory, listed(), start, may_start={*running}))
            _write_network_file(directory, listed())
            lifeline.let_go(len(started))
        except BaseException:
            for member in started:
                stop_node(homes[member].path)
            _write_network_file(directory, [node for each, node in running.items() if each not in started])
            raise
    nodes = listed()
    print_answer(
        as_json=as_json,
        value=to_json(NetworkFile(tuple(nodes))),
        lines=[
            f"{len(nodes)} nodes are ready; `luohu network down {directory}` stops them",
            *fields((node.member, f"{node.url} (process {node.pid})") for node in nodes),
        ],
    )


@network.command("status")
@click.argument("directory", metavar="DIR", type=FILE)
@json_option
def status(directory: Path, as_json: bool) -> int:
    """Show each node of DIR: whether it runs and is ready, and how far it is.

    \b
    Example:
      luohu network status mynet
    """
    from cli.nodes import ask_status
    from node.errors import ClientError

    nodes: list[Json] = []
    rows: list[tuple[str, str]] = []
    are_all_ready = True
    nodes_listed = read_network_file(directory).nodes
    if not nodes_listed:
        raise unreachable(
            str(directory),
            expected="running nodes",
            found="none",
            cure=f"Start them: luohu network up {directory}",
            code="not-running",
        )
    for listed in nodes_listed:
        value = to_json(listed)
        value["is_running"] = _is_running(directory, listed)
        try:
            report = asyncio.run(ask_status(listed.url))
        except ClientError as error:
            are_all_ready = False
            words = f"does not answer: {error.found}"
            value |= {"is_ready": False, "waits_for": error.found, "height": None}
        else:
            are_all_ready = are_all_ready and report.waits_for is None
            state = "ready" if report.waits_for is None else f"not ready: {report.waits_for}"
            words = f"{state}, block {report.status.height}, {len(report.status.peers_connected)} peers"
            value |= {
                "is_ready": report.waits_for is None,
                "waits_for": report.waits_for,
                "height": report.status.height,
            }
        nodes.append(value)
        rows.append((listed.member, f"{listed.url} (process {listed.pid}): {words}"))
    headline = f"{directory}: all nodes are ready" if are_all_ready else f"{directory}: not all are ready"
    print_answer(as_json=as_json, value={"nodes": nodes}, lines=[headline, *fields(rows)])
    return FINE if are_all_ready else UNREACHABLE


@network.command("down")
@click.argument("directory", metavar="DIR", type=FILE)
@json_option
def down(directory: Path, as_json: bool) -> None:
    """Stop the nodes that `luohu network up` started. Their data stays.

    \b
    Example:
      luohu network down mynet
    """
    stopped: list[str] = []
    for member in _started(directory):
        process = _process_of(directory, member)
        if process is not None:
            stop_process(process)
            stopped.append(member)
    _write_network_file(directory, [])
    value: dict[str, Json] = {"stopped": [*stopped]}
    print_answer(as_json=as_json, value=value, lines=[f"stopped: {', '.join(stopped) or 'none was running'}"])


def _validators(genesis: Genesis) -> list[str]:
    members = genesis.content.members
    return [member.id for member in members if member.node is not None and member.node.kind == VALIDATOR]


def _validators_since(directory: Path, genesis: Genesis) -> list[str]:
    """Return the members whose homes lie in DIR with a node and a validator key, and that validate since genesis."""
    from node.home.home import KEYS, VALIDATOR_KEYS, Home
    from node.home.settings import NODE_FILE

    found = []
    for path in sorted(directory.iterdir()):
        has_key = (path / NODE_FILE).is_file() and any((path / KEYS).glob(VALIDATOR_KEYS))
        if not has_key or path.name in _validators(genesis):
            continue
        home = Home.open(path)
        is_here = home.genesis.content.chain_id == genesis.content.chain_id and home.member == path.name
        if is_here and home.settings.node is not None:
            found.append(path.name)
    return found


def _started(directory: Path) -> list[str]:
    """Return the members whose nodes `up` started, listed or not. Raises CommandError where it never ran here."""
    known = sorted(path.parent.name for path in directory.glob(f"*/{PROCESS_FILE}"))
    if known and not (directory / NETWORK_FILE).exists():
        return known
    listed = [node.member for node in read_network_file(directory).nodes]
    return [*dict.fromkeys([*listed, *known])]


def _process_of(directory: Path, member: str) -> Process | None:
    """Return the process of a member's node, if it runs: as its home says, or by an id of an earlier release's list."""
    process = find_node(directory / member)
    if process is not None or not (directory / NETWORK_FILE).exists():
        return process
    listed = next((node for node in read_network_file(directory).nodes if node.member == member), None)
    return None if listed is None else find_listed(directory / member, listed.pid)


def _is_running(directory: Path, node: ListedNode) -> bool:
    process = _process_of(directory, node.member)
    return process is not None and process.pid == node.pid


def _write_network_file(directory: Path, nodes: list[ListedNode]) -> None:
    text = json.dumps(to_json(NetworkFile(tuple(nodes))), indent=2) + "\n"
    write_file(directory / NETWORK_FILE, text.encode())


async def _wait_until_ready(
    directory: Path, nodes: list[ListedNode], start: Callable[[str], ListedNode], *, may_start: Set[str]
) -> None:
    """Wait until each is ready. One of those that may be started ran before, and may have been about to end."""
    from cli.nodes import ask_status
    from node.errors import ClientError

    deadline = asyncio.get_running_loop().time() + READY_SECONDS_MAX
    for each in nodes:
        node, waits_for = each, "an answer of its API"
        is_started = node.member not in may_start
        while True:
            if not _is_running(directory, node):
                if not is_started:
                    node, is_started = start(node.member), True
                    continue
                waits_for = "its process, which has ended"
                break
            try:
                report = await ask_status(node.url)
            except ClientError as error:
                waits_for = error.found
            else:
                if report.waits_for is None:
                    waits_for = ""
                    break
                waits_for = report.waits_for
            if asyncio.get_running_loop().time() > deadline:
                break
            await asyncio.sleep(0.1)
        if waits_for:
            raise unreachable(
                f"node {node.member}",
                expected=f"ready within {READY_SECONDS_MAX:.0f} s",
                found=f"not ready: waits for {waits_for}",
                cure=f"See its log, {directory / node.member / LOG_FILE}.",
                code="not-ready",
            )
