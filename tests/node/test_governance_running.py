"""Governance and rotations by their commands, over a running network of four validators."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cli.exits import FINE, NO, USAGE
from cli.program import run
from ledger.rules.certificates import FINALIZE, NULLIFY, VOTE_TAGS, Subject, Vote
from ledger.rules.state import (
    Member,
    Misbehaviour,
    Node,
    Schema,
    find,
    member_key,
    node_key,
    require_validators,
    schema_key,
)
from node.client.client import Client
from node.condition import RULES_UNKNOWN
from node.consensus.messages import VoteMessage, encode_message
from node.errors import ClientError, RulesUnknown
from node.home.development import development_key
from node.messages import Consensus, encode_peer_message
from tests.support.running_network import MAINLAND_REPORT, RunningNetwork, fresh_anchor, run_network, sign

GOVERNOR, OTHER, THIRD = "hk-operator", "mainland-bank", "sz-operator"
Answer = dict[str, Any]


class Commands:
    """Runs commands beside the network and returns what they print as JSON."""

    def __init__(self, running: RunningNetwork, capsys: pytest.CaptureFixture[str]) -> None:
        self._running = running
        self._capsys = capsys

    async def ask(self, *arguments: str, expected: int = FINE) -> Answer:
        """Run a command once every node knows what the one before it recorded, whichever node it asks."""
        nodes = [process.node for process in self._running.processes.values()]
        height = max(node.status().height for node in nodes)
        for node in nodes:
            await node.wait_for_height(height)
        binds = ("--yes",) if arguments[:2] in {("governance", "propose"), ("governance", "vote")} else ()
        code = await asyncio.to_thread(run, [*arguments, *binds, "--json"])
        printed = self._capsys.readouterr().out
        assert code == expected, printed
        answer: Answer = json.loads(printed)
        return answer

    def of(self, member: str) -> tuple[str, ...]:
        """Return the options that name a member's home and node."""
        return ("--home", str(self._running.network.homes[member].path), *self.at(member))

    def at(self, member: str) -> tuple[str, ...]:
        return ("--url", self._running.url(member))


def live(
    directory: Path,
    capsys: pytest.CaptureFixture[str],
    scenario: Callable[[RunningNetwork, Commands], Awaitable[None]],
) -> None:
    async def play() -> None:
        async with run_network(directory / "network") as running:
            await scenario(running, Commands(running, capsys))

    asyncio.run(asyncio.wait_for(play(), 60))


async def anchor_something(running: RunningNetwork) -> None:
    """Have an anchor recorded, and wait until every node has its block."""
    async with Client.connect(running.url(OTHER)) as client:
        (result,) = await client.submit(
            [sign(running.network, "mainland-bureau", fresh_anchor(MAINLAND_REPORT))]
        )
        height = result.require_final().height
    assert height is not None
    for process in running.processes.values():
        await process.node.wait_for_height(height)


def test_a_node_stops_below_the_height_of_rules_that_it_does_not_know_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(running: RunningNetwork, commands: Commands) -> None:
        await anchor_something(running)
        first = max(process.store.tip().header.height for process in running.processes.values()) + 12
        changed = ("protocol=2", f"protocol_height={first}")
        proposed = await commands.ask("governance", "propose", "parameters", *changed, *commands.of(GOVERNOR))
        for member in (OTHER, THIRD):
            await commands.ask("governance", "vote", proposed["proposal"], "yes", *commands.of(member))
        await anchor_something(running)
        condition = running.processes[OTHER].node.status().condition
        trouble = condition.find(RULES_UNKNOWN)
        assert trouble is not None and f"from block {first} on" in trouble.found
        assert condition.obstacle is None, "it serves until then"
        failures = [process.failed for process in running.processes.values()]
        with suppress(ClientError):
            for _ in range(20):
                await anchor_something(running)
        for failure in await asyncio.wait_for(asyncio.gather(*failures), 20):
            assert isinstance(failure, RulesUnknown) and failure.code == "unknown-protocol"
            assert failure.where == f"block {first}"
        heights = {member: process.store.tip().header.height for member, process in running.processes.items()}
        assert max(heights.values()) == first - 1, "nothing at the height was executed by anybody"
        for member in tuple(running.processes):
            await running.stop(member)
        stopped = max(heights, key=lambda member: heights[member])
        with pytest.raises(RulesUnknown, match="Install the release"):
            await running.start(stopped)
        assert "node.failed error=RulesUnknown" in caplog.text

    live(tmp_path, capsys, scenario)


def test_a_schema_goes_from_proposal_to_registry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario(running: RunningNetwork, commands: Commands) -> None:
        proposed = await commands.ask(
            "governance", "propose", "schema", "hk.land-record", *commands.of(GOVERNOR)
        )
        identity = proposed["proposal"]
        again = await commands.ask(
            "governance", "propose", "schema", "hk.land-record", *commands.of(GOVERNOR)
        )
        assert again["proposal"] == identity and again["height"] is None
        listed = (await commands.ask("governance", "list", *commands.at(OTHER)))["proposals"]
        assert [(each["proposal"]["id"], each["status"]) for each in listed] == [(identity, "open")]
        first = await commands.ask("governance", "vote", identity, "yes", *commands.of(OTHER))
        assert (first["status"], len(first["proposal"]["ballots"])) == ("open", 2)
        repeated = await commands.ask("governance", "vote", identity, "yes", *commands.of(OTHER))
        assert repeated["height"] is None
        other = await commands.ask("governance", "vote", identity, "no", *commands.of(OTHER), expected=NO)
        assert other["error"]["code"] == "vote-is-final"
        last = await commands.ask("governance", "vote", identity, "yes", *commands.of(THIRD))
        assert last["status"] == "passed"
        shown = await commands.ask("governance", "show", identity, *commands.at(GOVERNOR))
        assert shown["proposal"]["decision"]["status"] == "passed"
        listed = (await commands.ask("governance", "list", "--all", *commands.at(THIRD)))["proposals"]
        assert [each["status"] for each in listed] == ["passed"]
        state = running.processes[THIRD].store
        assert find(state, Schema, schema_key("hk.land-record")) == Schema("hk.land-record", 0, None, 0)
        assert await asyncio.to_thread(run, ["governance", "show", identity, *commands.at(OTHER)]) == FINE
        assert "add schema" in capsys.readouterr().out
        refused = await commands.ask(
            "governance", "propose", "schema", "hk.land-record", *commands.of(OTHER), expected=NO
        )
        assert refused["error"]["code"] == "already-registered"
        wrong = await commands.ask(
            "governance", "vote", identity[:16], "yes", *commands.of(OTHER), expected=USAGE
        )
        assert wrong["error"]["expected"].startswith("an id of 64")

    live(tmp_path, capsys, scenario)


def test_every_key_is_rotated_while_the_network_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario(running: RunningNetwork, commands: Commands) -> None:
        member = "hk-bureau"
        process = running.processes[member]
        before = find(process.store, Node, node_key(member))
        assert before is not None
        await anchor_something(running)
        for role in ("tls", "validator", "member"):
            rotated = await commands.ask("key", "rotate", "--role", role, *commands.of(member))
            assert rotated["sequence"] == 1 and rotated["height"] is not None
        after = find(process.store, Node, node_key(member))
        assert after is not None
        assert after.validator_key != before.validator_key
        assert after.tls_certificate != before.tls_certificate
        validators = require_validators(process.store)
        assert validators.epoch == 1 and validators.pending is None
        rotated = await commands.ask("key", "rotate", "--role", "member", *commands.of(member))
        assert rotated["sequence"] == 2
        # The node votes with its new key and is reached under its new certificate: all four go on.
        await anchor_something(running)
        identity = process.driver.engine.me
        assert identity is not None and identity == process.driver.engine.validators.index_of(member)

    live(tmp_path, capsys, scenario)


def test_equivocation_that_a_node_sees_is_put_on_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario(running: RunningNetwork, commands: Commands) -> None:
        await anchor_something(running)
        culprit, witness = "sz-operator", running.processes[GOVERNOR]
        core = witness.driver.core
        key = development_key(culprit, "validator")
        signer = witness.driver.engine.validators.index_of(culprit)
        assert signer is not None
        chain_id = running.genesis.content.chain_id
        for kind in (NULLIFY, FINALIZE):
            named = (None, None) if kind == NULLIFY else (core.current_view, bytes(32))
            subject = Subject(kind, 0, core.current_view + 1, *named)
            vote = Vote(subject, signer, key.sign(VOTE_TAGS[kind], subject.body(chain_id)))
            message = encode_peer_message(Consensus(encode_message(VoteMessage(vote))))
            witness._guarded(lambda message=message: witness.driver.receive(culprit, message))  # type: ignore[misc]
        records: list[Misbehaviour] = []
        while not records:
            # Its report is recorded in one of the next blocks.
            await anchor_something(running)
            async with Client.connect(running.url(OTHER)) as client:
                records = await client.misbehaviour()
        (record,) = records
        assert (record.member, record.epoch, record.key) == (culprit, 0, key.public)
        assert {record.first.subject.kind, record.second.subject.kind} == {NULLIFY, FINALIZE}

    live(tmp_path, capsys, scenario)


def test_a_node_relays_with_the_key_that_its_member_rotated_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario(running: RunningNetwork, commands: Commands) -> None:
        await anchor_something(running)
        process = running.processes[GOVERNOR]
        assert process._registered.member_key() == development_key(GOVERNOR, "member")
        await commands.ask("key", "rotate", "--role", "member", *commands.of(GOVERNOR))
        member = find(process.store, Member, member_key(GOVERNOR))
        assert member is not None and member.key_sequence == 1
        found = process._registered.member_key()
        assert found is not None and found.public == member.key

    live(tmp_path, capsys, scenario)
