"""A node whose pins are stale fetches from whoever answers, and does nothing else with it."""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.trust import TrustedRoot
from node.client.client import Client
from node.client.ledgerclient import LedgerClient
from node.client.nodes import Nodes
from node.client.rotation import Rotation
from node.files.keyfiles import DevelopmentKey
from node.network.peers import PeerNetwork
from node.network.registry import Peer, PeerKind, check_node_id
from node.network.tls import TlsIdentity, make_identity
from node.peernames import is_unpinned, unpinned
from tests.support.network_world import CHAIN, IDENTITIES, OTHER_CHAIN, QUICK, Node, running, unlisted, until
from tests.support.running_network import VALIDATORS, RunningNetwork, now_ms, run_network


@asynccontextmanager
async def fetcher(
    peers: dict[str, Peer], *, chain_id: bytes = CHAIN, others: tuple[TlsIdentity, ...] = ()
) -> AsyncIterator[Node]:
    """Run the bank's node, which fetches from peers that it cannot pin."""
    events: list[str] = []
    network = PeerNetwork(
        node_id="bank",
        identity=IDENTITIES["bank"],
        chain_id=chain_id,
        peers=peers,
        random_source=random.Random(7),
        on_peer_up=lambda peer: events.append(f"up {peer}"),
        on_peer_down=lambda peer: events.append(f"down {peer}"),
        on_unpinned_up=lambda peer: events.append(f"up {peer}"),
        on_unpinned_down=lambda peer: events.append(f"down {peer}"),
        timing=QUICK,
        other_identities=lambda: others,
    )
    try:
        yield Node(network, await network.start(host="127.0.0.1", port=0), events)
    finally:
        async with asyncio.timeout(10):
            await network.close()


def stale(node: Node) -> dict[str, Peer]:
    """What the bank pins: a certificate that the bureau has replaced since."""
    old = make_identity("bureau").certificate
    return {"bureau": Peer(old, f"127.0.0.1:{node.port}", PeerKind.VALIDATOR)}


def pinned(node: Node) -> dict[str, Peer]:
    return {"bureau": replace(stale(node)["bureau"], certificate=IDENTITIES["bureau"].certificate)}


def test_a_stale_pin_lets_a_node_fetch_by_a_name_that_no_node_has() -> None:
    async def scenario() -> None:
        async with running("bureau", unlisted("bank")) as bureau, fetcher(stale(bureau)) as bank:
            await until(lambda: "up bureau?" in bank.events)
            assert bank.network.broadcast(b"a vote") == 0
            assert not bank.network.send("bureau", b"a vote")
            assert not bank.network.is_connected("bureau")
            assert bank.network.send("bureau?", b"a question")
            assert await bureau.receive(1) == [("bank", b"a question")]
            assert bureau.network.send("bank", b"an answer")
            assert await bank.receive(1) == [("bureau?", b"an answer")]

    asyncio.run(scenario())


def test_the_new_pin_replaces_the_fetching_connection() -> None:
    async def scenario() -> None:
        async with running("bureau", unlisted("bank")) as bureau, fetcher(stale(bureau)) as bank:
            await until(lambda: "up bureau?" in bank.events)
            bank.network.update_peers(pinned(bureau))
            await until(lambda: bank.network.is_connected("bureau"))
            await until(lambda: "down bureau?" in bank.events)
            assert not bank.network.send("bureau?", b"a question")
            assert bank.network.send("bureau", b"a vote")
            assert (await bureau.receive(1))[0] == ("bank", b"a vote")

    asyncio.run(scenario())


def test_who_lies_there_is_dialled_no_more_for_a_time() -> None:
    async def scenario() -> None:
        async with running("bureau", unlisted("bank")) as bureau, fetcher(stale(bureau)) as bank:
            await until(lambda: "up bureau?" in bank.events)
            bank.network.disconnect("bureau?", "it lied", 60.0)
            await until(lambda: "down bureau?" in bank.events)
            await asyncio.sleep(0.3)
            assert bank.events.count("up bureau?") == 1

    asyncio.run(scenario())


def test_a_node_of_another_chain_or_one_that_is_not_known_there_does_not_fetch() -> None:
    async def scenario() -> None:
        other = running("bureau", unlisted("bank"), chain_id=OTHER_CHAIN)
        unknown = running("bureau", unlisted("hk-operator"))
        for place in (other, unknown):
            async with place as bureau, fetcher(stale(bureau)) as bank:
                await asyncio.sleep(0.3)
                assert bank.events == []

    asyncio.run(scenario())


def test_a_node_that_is_not_told_to_fetch_refuses_every_other_certificate() -> None:
    async def scenario() -> None:
        async with running("bureau", unlisted("bank")) as bureau, running("bank", stale(bureau)) as bank:
            await asyncio.sleep(0.3)
            assert bank.events == []
            assert not bank.network.send("bureau?", b"a question")

    asyncio.run(scenario())


def test_no_node_can_register_the_name_of_one_that_is_not_pinned() -> None:
    assert is_unpinned(unpinned("bureau"))
    assert not is_unpinned("bureau")
    with pytest.raises(ValueError, match="node id"):
        check_node_id(unpinned("bureau"))


def registered(certificate: bytes) -> dict[str, Peer]:
    """What the bureau pins of the bank."""
    return {"bank": Peer(certificate, None, PeerKind.VALIDATOR)}


@pytest.mark.parametrize("is_pin_stale", [False, True], ids=["pinned", "both stale"])
def test_a_node_whose_own_certificate_was_replaced_unseen_shows_its_others_in_turn(
    is_pin_stale: bool,
) -> None:
    others = (make_identity("bank"), make_identity("bank"))

    async def scenario() -> None:
        async with running("bureau", registered(others[1].certificate)) as bureau:
            peers = stale(bureau) if is_pin_stale else pinned(bureau)
            async with fetcher(peers, others=others) as bank:
                name = "bureau?" if is_pin_stale else "bureau"
                await until(lambda: f"up {name}" in bank.events)
                assert bank.network.send(name, b"a question")
                assert await bureau.receive(1) == [("bank", b"a question")]
                # Who only fetches is not one of those that a vote would reach.
                assert bureau.network.is_connected("bank") != is_pin_stale
                assert bureau.events == ([] if is_pin_stale else ["up bank"])
                assert bureau.network.broadcast(b"a vote") == (0 if is_pin_stale else 1)

    asyncio.run(scenario())


def test_a_node_without_the_registered_certificate_stays_outside() -> None:
    async def scenario() -> None:
        others = (make_identity("bank"),)
        place = running("bureau", registered(make_identity("bank").certificate))
        async with place as bureau, fetcher(pinned(bureau), others=others) as bank:
            await asyncio.sleep(0.5)
            assert bank.events == bureau.events == []

    asyncio.run(scenario())


def test_a_pair_is_whole_at_once_whoever_learns_of_a_replaced_certificate_first() -> None:
    new = make_identity("bureau")

    async def scenario(bank_first: bool) -> None:
        async with running("bureau", unlisted("bank")) as bureau, fetcher(pinned(bureau)) as bank:
            await until(lambda: bank.network.is_connected("bureau"))
            peers = {"bureau": replace(pinned(bureau)["bureau"], certificate=new.certificate)}
            if bank_first:
                bank.network.update_peers(peers)
                # It takes the bureau, which still shows its old one, for somebody to fetch from.
                await until(lambda: "up bureau?" in bank.events)
                bureau.network.update_peers(unlisted("bank"), new)
            else:
                bureau.network.update_peers(unlisted("bank"), new)
                await until(lambda: "up bureau?" in bank.events)
                bank.network.update_peers(peers)
            await until(lambda: bank.events[-1] == "up bureau")
            assert bank.network.is_connected("bureau")
            await until(lambda: bureau.network.send("bank", b"a vote"))
            assert ("bureau", b"a vote") in await bank.receive(1)

    asyncio.run(scenario(bank_first=True))
    asyncio.run(scenario(bank_first=False))


@pytest.mark.slow
@pytest.mark.parametrize("is_emptied", [False, True], ids=["down meanwhile", "chain lost"])
def test_a_node_whose_certificate_was_replaced_unseen_comes_back(tmp_path: Path, is_emptied: bool) -> None:
    """Real nodes: one is down while its own certificate is replaced, or loses its chain afterwards."""

    async def live() -> None:
        async with run_network(tmp_path / "network") as running:
            for process in running.processes.values():
                await process.node.wait_for_height(1)
            home = running.network.homes["sz-operator"]
            await running.stop("sz-operator")
            async with Client.connect(running.url("hk-bureau")) as client:
                await Rotation(
                    under_genesis(client, running), home, DevelopmentKey(), now_ms
                ).rotate_tls_certificate()
            if is_emptied:
                shutil.rmtree(home.data)
            height = running.processes["hk-bureau"].store.tip().header.height
            returned = await running.start("sz-operator")
            async with asyncio.timeout(60):
                await returned.node.wait_for_height(height)
                while set(returned.node.status().peers_connected) != set(VALIDATORS) - {"sz-operator"}:
                    await asyncio.sleep(0.05)

    asyncio.run(live())


def under_genesis(client: Client, running: RunningNetwork) -> LedgerClient:
    return LedgerClient(Nodes([client]), TrustedRoot(1, running.genesis, ()), now_ms)


@pytest.mark.slow
@pytest.mark.parametrize("is_own_replaced", [False, True], ids=["others", "all"])
def test_a_node_that_slept_through_every_rotation_learns_the_new_pins_by_itself(
    tmp_path: Path, is_own_replaced: bool
) -> None:
    """Real nodes: while one is down, all others replace their TLS certificates, and its own is replaced too.

    Then neither side of any pair can pin what the other shows first, and each fetches from the other.
    """

    async def live() -> None:
        async with run_network(tmp_path / "network") as running:
            for process in running.processes.values():
                await process.node.wait_for_height(1)
            await running.stop("sz-operator")
            others = tuple(member for member in VALIDATORS if member != "sz-operator")
            for member in VALIDATORS if is_own_replaced else others:
                url = running.url("hk-bureau" if member == "sz-operator" else member)
                async with Client.connect(url) as client:
                    ledger, home = under_genesis(client, running), running.network.homes[member]
                    rotation = Rotation(ledger, home, DevelopmentKey(), now_ms)
                    await rotation.rotate_tls_certificate()
            height = running.processes["hk-bureau"].store.tip().header.height
            sleeper = await running.start("sz-operator")
            async with asyncio.timeout(60):
                await sleeper.node.wait_for_height(height)
                while set(sleeper.node.status().peers_connected) != set(others):
                    await asyncio.sleep(0.05)
                while not sleeper.node.status().is_voting:
                    await asyncio.sleep(0.05)

    asyncio.run(live())
