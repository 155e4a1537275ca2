"""A member that genesis does not know joins a running network, follows it, and validates in a later epoch."""

import asyncio
import secrets
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.encoding.keys import PrivateKey
from ledger.rules.operations import CastVote, Propose, next_key_commitment
from ledger.rules.proposals import (
    POSSESSION_TAG,
    AddMember,
    Change,
    ChangeValidators,
    NodeRegistration,
    Possession,
    possession_body,
)
from ledger.rules.state import require_validators
from node.api.server import Api
from node.client.client import Client
from node.consensus.startup import Participation
from node.files.keyfiles import DevelopmentKey
from node.home.home import Home, HomeKeys
from node.home.settings import Address, HomeSettings, NodeSettings
from node.network.tls import make_identity, registrable
from node.run import NodeProcess, load_parts
from tests.support.ports import take_ports
from tests.support.running_network import (
    MAINLAND_REPORT,
    VALIDATORS,
    RunningNetwork,
    fresh_anchor,
    now_ms,
    run_network,
    sign,
)

pytestmark = pytest.mark.slow

NEW = "hk-second-bank"


def fresh_key() -> PrivateKey:
    return PrivateKey.from_seed(secrets.token_bytes(32))


def make_home(running: RunningNetwork) -> tuple[Home, HomeKeys]:
    """Return the home of the newcomer, which knows where the founders listen."""
    keys = HomeKeys(fresh_key(), fresh_key(), fresh_key(), fresh_key(), make_identity(NEW))
    listen, api = take_ports(2)
    addresses = {member: Address(*running.listen(member)) for member in VALIDATORS}
    tuning = running.network.homes[VALIDATORS[0]].require_node().tuning
    settings = NodeSettings(Address("127.0.0.1", listen), Address("127.0.0.1", api), addresses, tuning)
    home = Home.create(
        running.network.directory / NEW,
        genesis=running.genesis,
        settings=HomeSettings(NEW, settings),
        keys=keys,
        protection=DevelopmentKey(),
    )
    return home, keys


def registration(keys: HomeKeys) -> AddMember:
    assert keys.validator is not None and keys.validator_next is not None and keys.tls is not None
    node = NodeRegistration(
        "validator",
        keys.validator.public,
        next_key_commitment(keys.validator_next.public),
        registrable(keys.tls.certificate, NEW),
    )
    change = AddMember(
        id=NEW,
        name_zh_hans="第二银行",
        name_zh_hant="第二銀行",
        name_en="Second Sample Bank (fictitious)",
        jurisdiction="HK",
        roles=("recipient",),
        key=keys.member.public,
        next_key=next_key_commitment(keys.member_next.public),
        node=node,
        possession=Possession("luohu-development", "development", None, None),
    )
    body = possession_body(change)
    signatures = (key.sign(POSSESSION_TAG, body) for key in (keys.member, keys.validator))
    return replace(change, possession=Possession("luohu-development", "development", *signatures))


async def decide(running: RunningNetwork, change: Change) -> None:
    """Propose a change and have governors of both sides vote for it."""
    operation = Propose(change, None, now_ms() + 3_600_000)
    identity = operation.proposal_id(chain_id=running.genesis.content.chain_id, proposer="hk-operator")
    async with Client.connect(running.url("hk-operator")) as client:
        (proposed,) = await client.submit([sign(running.network, "hk-operator", operation)])
        proposed.require_final()
        for governor in ("hk-operator", "hk-bureau", "mainland-bank"):
            (voted,) = await client.submit([sign(running.network, governor, CastVote(identity, "yes"))])
            voted.require_final()


async def height_after_anchor(running: RunningNetwork) -> int:
    async with Client.connect(running.url("hk-operator")) as client:
        (result,) = await client.submit([sign(running.network, "hk-bureau", fresh_anchor())])
        height = result.require_final().height
    assert height is not None
    return height


def test_a_newcomer_joins_follows_and_validates_in_place_of_a_founder(tmp_path: Path) -> None:
    async def live() -> None:
        async with run_network(tmp_path / "network") as running:
            home, keys = make_home(running)
            await decide(running, registration(keys))
            newcomer = NodeProcess(load_parts(home, DevelopmentKey()), Api)
            await newcomer.start()
            running.processes[NEW] = newcomer
            assert newcomer.store.tip().header.height == 0
            await newcomer.node.wait_for_height(await height_after_anchor(running))
            assert newcomer.node.status().kind == "observer"
            change = ChangeValidators(VALIDATORS, (*sorted((NEW, *VALIDATORS[:-1])),))
            await decide(running, change)
            await newcomer.node.wait_for_height(await height_after_anchor(running))
            assert require_validators(newcomer.store).epoch == 1
            assert newcomer.node.status().kind == "validator"
            await running.stop("hk-bureau")  # now nothing is final without the newcomer
            await newcomer.node.wait_for_height(await height_after_anchor_of_bank(running))
            assert newcomer.driver.core.standing is Participation.VOTING
            assert running.processes["sz-operator"].node.status().kind == "observer"

    asyncio.run(asyncio.wait_for(live(), 60))


async def height_after_anchor_of_bank(running: RunningNetwork) -> int:
    async with Client.connect(running.url("mainland-bank")) as client:
        (result,) = await client.submit(
            [sign(running.network, "mainland-bureau", fresh_anchor(MAINLAND_REPORT))], wait_ms=20_000
        )
        height = result.require_final().height
    assert height is not None
    return height


def test_a_node_that_nobody_registered_is_refused_by_its_peers_and_says_so(tmp_path: Path) -> None:
    async def live() -> None:
        async with run_network(tmp_path / "network") as running:
            home, _ = make_home(running)
            stranger = NodeProcess(load_parts(home, DevelopmentKey()), Api)
            await stranger.start()
            running.processes[NEW] = stranger
            await height_after_anchor(running)
            assert stranger.node.status().peers_connected == ()
            assert stranger.node.status().condition.waits_for is not None
            assert all(
                NEW not in process.node.status().peers_connected for process in running.processes.values()
            )

    asyncio.run(asyncio.wait_for(live(), 60))
