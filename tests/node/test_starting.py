"""Every loss of a file of a home, on one node and on all at once: the node starts without it, or says what is true.

The issuer's register is such a file, too: the node goes on without it, and whoever issues is told.

The cures are those that the page for operators names (docs/operators.md).
"""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cli.exits import FINE, USAGE
from cli.program import run
from ledger.proofs import Proof
from ledger.rules.state import require_validators
from node.api.server import Api
from node.client.issuing.place import FOLDER
from node.client.issuing.register import REGISTER
from node.errors import SetupError
from node.files.keyfiles import DevelopmentKey
from node.home.consortium import Network
from node.home.home import Home
from node.home.reached import REACHED_EVERY, REACHED_FILE
from node.home.repair import CHAIN, CORE_LOG, NODE_LOCK, SNAPSHOTS, VOTES
from node.run import NodeProcess, load_parts
from node.storage.votelog import VoteLog
from tests.support.running_network import VALIDATORS, RunningNetwork, fresh_anchor, make_network, sign

pytestmark = pytest.mark.slow

LOSER = "sz-operator"
HOLDER = "ed25519:f32475177d14da9a38f84a3622eded9dc5a0bd7fb9e66285fa54e37625c6ddd7"
OTHERS = tuple(member for member in VALIDATORS if member != LOSER)
Lose = Callable[[Path], None]


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """A network of four that made some blocks and ended."""
    network = make_network(tmp_path_factory.mktemp("grown") / "network")

    async def live() -> None:
        running = RunningNetwork(network)
        for member in VALIDATORS:
            await running.start(member)
        await grow(running, 3)
        for member in VALIDATORS:
            await running.stop(member)

    asyncio.run(asyncio.wait_for(live(), 60))
    return network


@pytest.fixture
def network(grown: Network, tmp_path: Path) -> Network:
    """That network again, for a test to lose things of."""
    directory = tmp_path / "network"
    shutil.copytree(grown.directory, directory)
    return replace(
        grown, directory=directory, homes={name: Home.open(directory / name) for name in grown.homes}
    )


@asynccontextmanager
async def running_on(network: Network, *members: str) -> AsyncIterator[RunningNetwork]:
    running = RunningNetwork(network)
    try:
        for member in members:
            await running.start(member)
        yield running
        assert not any(process.failed.done() for process in running.processes.values())
    finally:
        for member in list(running.processes):
            await running.stop(member)


def play(scenario: Awaitable[None]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(90):
            await scenario

    asyncio.run(whole())


async def grow(running: RunningNetwork, count: int) -> int:
    """Have anchors recorded; return the height at which all nodes are then."""
    node = running.processes[OTHERS[0]].node
    for _ in range(count):
        transaction = sign(running.network, "hk-bureau", fresh_anchor())
        (answer,) = await node.submit([transaction.encoded], wait_ms=30_000)
        assert answer.state == "final"
    height = node.status().height
    for process in running.processes.values():
        await process.node.wait_for_height(height)
    return height


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.02)


async def votes(process: NodeProcess) -> None:
    """Wait until a node votes."""
    await until(lambda: process.node.status().is_voting)


async def command(*arguments: str, expected_code: int = FINE) -> None:
    """Run a command that ends with this code."""
    code = await asyncio.to_thread(run, [*arguments, "--json"])
    assert code == expected_code, arguments


def remove(name: str) -> Lose:
    def lose(home: Path) -> None:
        path = home / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    return lose


def garble(name: str) -> Lose:
    def lose(home: Path) -> None:
        (home / name).write_bytes(b"\x00" * 100)

    return lose


@dataclass(frozen=True)
class Loss:
    """What is lost, and by which words a start refuses it; None where it starts."""

    lose: Lose
    refusal: str | None = None


LOSSES = {
    "member key": Loss(remove("keys/member.pem")),
    "damaged member key": Loss(garble("keys/member.pem")),
    "next member key": Loss(remove("keys/member-next.pem")),
    "next validator key": Loss(remove("keys/validator-next.pem")),
    "damaged next validator key": Loss(garble("keys/validator-next.pem")),
    "TLS key": Loss(remove("keys/tls.pem"), "luohu key rotate --role tls"),
    "TLS certificate": Loss(remove("keys/tls.crt"), "luohu key rotate --role tls"),
    "damaged TLS key": Loss(garble("keys/tls.pem"), "restore both files from a backup"),
    "genesis": Loss(remove("genesis.json"), "copy genesis.json from any other member"),
    "settings": Loss(remove("node.toml"), r"\[listen\]"),
    "chain": Loss(remove(f"data/{CHAIN}")),
    "votes": Loss(remove(f"data/{VOTES}")),
    "snapshots": Loss(remove(f"data/{SNAPSHOTS}")),
    "core log": Loss(remove(f"data/{CORE_LOG}")),
    "lock": Loss(remove(f"data/{NODE_LOCK}")),
    "lock of the votes": Loss(remove(f"data/{VOTES}.lock")),
    "reached.json": Loss(remove(REACHED_FILE)),
    "damaged reached.json": Loss(garble(REACHED_FILE)),
    "data": Loss(remove("data")),
}


def start(network: Network, member: str) -> None:
    """Do what a start does before a loop runs: open the home and its keys."""
    load_parts(Home.open(network.homes[member].path), DevelopmentKey())


@pytest.mark.parametrize("lost", [name for name, loss in LOSSES.items() if loss.refusal is None])
def test_a_validator_starts_without_it_catches_up_and_votes(network: Network, lost: str) -> None:
    LOSSES[lost].lose(network.homes[LOSER].path)

    async def scenario() -> None:
        async with running_on(network, *OTHERS) as running:
            await grow(running, 2)
            process = await running.start(LOSER)
            await grow(running, 3)
            await votes(process)
            await running.stop("hk-operator")  # now nothing is final without it
            await grow(running, 1)

    play(scenario())


@pytest.mark.parametrize("lost", [name for name, loss in LOSSES.items() if loss.refusal is not None])
def test_a_start_that_is_refused_names_what_cures_it(network: Network, grown: Network, lost: str) -> None:
    LOSSES[lost].lose(network.homes[LOSER].path)
    with pytest.raises(SetupError, match=LOSSES[lost].refusal):
        start(network, LOSER)
    for name in ("genesis.json", "node.toml", "keys/tls.pem", "keys/tls.crt"):
        shutil.copy2(grown.homes[LOSER].path / name, network.homes[LOSER].path / name)
    start(network, LOSER)


@pytest.mark.parametrize("lost", ["TLS key", "TLS certificate", "damaged TLS key"])
def test_a_tls_key_that_is_gone_is_replaced_through_another_members_node(network: Network, lost: str) -> None:
    home = network.homes[LOSER].path
    LOSSES[lost].lose(home)

    async def scenario() -> None:
        async with running_on(network, *OTHERS) as running:
            await command(
                "key", "rotate", "--role", "tls", "--home", str(home), "--url", running.url(OTHERS[0])
            )
            process = await running.start(LOSER)
            await grow(running, 2)
            await votes(process)

    play(scenario())


def test_a_validator_without_its_key_follows_and_votes_with_the_one_of_the_next_epoch(
    network: Network, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Regression: the start asked for the key of the stored epoch, so that the node never learned of the next one."""
    home = network.homes[LOSER].path

    async def scenario() -> None:
        async with running_on(network, *OTHERS) as running:
            (home / "keys" / "validator.pem").unlink()
            # Recorded while the node is down: the stored epoch is over when it starts.
            await command(
                "key", "rotate", "--role", "validator", "--home", str(home), "--url", running.url(OTHERS[0])
            )
            await grow(running, 1)
            assert require_validators(running.processes[OTHERS[0]].store).epoch == 1
            process = await running.start(LOSER)
            lack = process.node.status().lack
            assert lack is not None and "luohu key rotate --role validator" in lack
            assert process.node.status().kind == "observer"
            await grow(running, 2)
            await votes(process)
            assert process.node.status().lack is None
            await running.stop("hk-operator")
            await grow(running, 1)

    play(scenario())
    assert "engine.key_missing" in caplog.text and "node.follows" in caplog.text


def test_a_validator_without_its_key_rotates_through_its_own_node(network: Network) -> None:
    home = network.homes[LOSER].path

    async def scenario() -> None:
        async with running_on(network, *OTHERS) as running:
            (home / "keys" / "validator.pem").write_bytes(b"-----BEGIN PRIVATE KEY-----\n")
            process = await running.start(LOSER)
            await grow(running, 1)
            assert not process.node.status().is_voting
            # It serves clients all the same.
            await until(lambda: process.node.status().condition.waits_for is None)
            await command(
                "key", "rotate", "--role", "validator", "--home", str(home), "--url", running.url(LOSER)
            )
            await grow(running, 2)
            await votes(process)

    play(scenario())


def test_a_validator_whose_keys_are_all_gone_votes_with_those_that_governors_set(
    network: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    home = network.homes[LOSER].path
    shutil.rmtree(home / "keys")
    (home / "keys").mkdir(mode=0o700)
    with pytest.raises(SetupError, match="luohu key tls"):
        start(network, LOSER)

    async def made(*arguments: str) -> dict[str, Any]:
        capsys.readouterr()
        await command(*arguments)
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        return answer

    async def scenario() -> None:
        async with running_on(network, *OTHERS) as running:
            keys = {
                name: await made(
                    "key", "new", "--home", str(home), "--out", str(home / "keys" / f"{name}.pem")
                )
                for name in ("member", "member-next", "validator", "validator-next")
            }
            await made(
                "key", "tls", "--member", LOSER, "--home", str(home), "--out", str(home / "keys" / "tls.pem")
            )
            genesis = ("--genesis", str(home / "genesis.json"))
            own = (LOSER, "--next-key", keys["member-next"]["next_key_commitment"])
            committed = ("--next-validator-key", keys["validator-next"]["next_key_commitment"])
            of_node = (LOSER, "--tls", str(home / "keys" / "tls.crt"), *committed)
            member = str(home / "keys" / "member.pem")
            shown = await made("governance", "possess", "keys", *own, "--key", member, *genesis)
            validator = ("--validator", str(home / "keys" / "validator.pem"))
            shown_of_node = await made("governance", "possess", "node", *of_node, *validator, *genesis)
            for change in (
                (
                    *("keys", *own, "--key", keys["member"]["public_key"]),
                    *("--key-signature", shown["key_signature"]),
                ),
                (
                    *("node", *of_node, "--validator-key", keys["validator"]["public_key"]),
                    *("--validator-signature", shown_of_node["validator_signature"]),
                ),
            ):
                by = ("--home", str(network.homes["hk-operator"].path), "--url", running.url("hk-operator"))
                proposed = await made("governance", "propose", *change, *by, "--yes")
                for voter in ("hk-bureau", "mainland-bank"):
                    of = ("--home", str(network.homes[voter].path), "--url", running.url("hk-operator"))
                    await made("governance", "vote", proposed["proposal"], "yes", *of, "--yes")
            await grow(running, 1)
            # Its stored state names the certificate that is gone: it shows the new one, which its peers know.
            process = await running.start(LOSER)
            await grow(running, 2)
            await votes(process)
            await running.stop("hk-operator")
            await grow(running, 1)

    play(scenario())


@pytest.mark.parametrize("with_mark", [True, False], ids=["reached", "nothing"])
def test_keys_without_data_and_without_those_of_ended_epochs_are_a_whole_home(
    network: Network, with_mark: bool
) -> None:
    """What the manual advises, one after the other: delete the keys of ended epochs, restore `keys/` alone."""
    home = network.homes[LOSER].path

    async def scenario() -> None:
        async with running_on(network, *VALIDATORS) as running:
            await command(
                "key", "rotate", "--role", "validator", "--home", str(home), "--url", running.url(LOSER)
            )
            await grow(running, 2)
            await running.stop(LOSER)
            (home / "keys" / "validator.pem").unlink()
            shutil.rmtree(home / "data")
            if not with_mark:
                (home / REACHED_FILE).unlink()
            process = await running.start(LOSER)
            assert process.node.status().lack is not None
            height = await grow(running, 2)
            await votes(process)
            assert process.node.status().epoch == 1
            assert process.store.tip().header.height >= height

    play(scenario())


# The register of an issuer

ISSUER = "hk-bureau"
REGISTER_PATH = f"{FOLDER}/{REGISTER}"


def empty(name: str) -> Lose:
    def lose(home: Path) -> None:
        (home / name).write_bytes(b"")

    return lose


# How a register is lost, and what `luohu anchor` says then: its code, and words of its cure.
REGISTER_LOSSES = {
    "its folder": (remove(FOLDER), "register-missing", "Restore issued/"),
    "the register": (remove(REGISTER_PATH), "register-missing", "Restore issued/"),
    "all but an empty file": (empty(REGISTER_PATH), "register-missing", "Restore issued/"),
    "what it holds": (garble(REGISTER_PATH), "configuration", "restore it from a backup"),
}


@dataclass
class Counter:
    """The bureau's counter beside a running network: its home, its documents, and what commands print."""

    running: RunningNetwork
    capsys: pytest.CaptureFixture[str]

    @property
    def home(self) -> Path:
        return self.running.network.homes[ISSUER].path

    def file(self, name: str) -> Path:
        path = self.home.parent / name
        path.write_bytes(f"SAMPLE {name}".encode())
        return path

    async def asked(self, *arguments: object, expected_code: int = FINE) -> dict[str, Any]:
        """Run a command of the bureau by another member's node, and return its answer."""
        self.capsys.readouterr()
        asked = [*map(str, arguments), "--home", str(self.home)]
        if arguments[:2] != ("issued", "list"):
            asked += ["--url", self.running.url(OTHERS[1])]
        await command(*asked, expected_code=expected_code)
        answer: dict[str, Any] = json.loads(self.capsys.readouterr().out)
        return answer

    async def anchor(self, file: Path, *more: str, expected_code: int = FINE) -> dict[str, Any]:
        own = ("--holder", HOLDER, "--schema", "hk.credit-report")
        return await self.asked("anchor", file, *own, *more, expected_code=expected_code)


@pytest.mark.parametrize("lost", REGISTER_LOSSES)
def test_a_node_votes_without_its_register_and_the_issuer_is_told_until_it_is_back(
    network: Network, lost: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    lose, code, cure = REGISTER_LOSSES[lost]
    backup = tmp_path / "backup"

    async def scenario() -> None:
        async with running_on(network, *VALIDATORS) as running:
            counter = Counter(running, capsys)
            first, second = counter.file("a.pdf"), counter.file("b.pdf")
            # The network's own anchors had no register: it is begun by word.
            await counter.anchor(first, "--new-register")
            shutil.copytree(counter.home / FOLDER, backup)
            await running.stop(ISSUER)
            lose(counter.home)
            process = await running.start(ISSUER)
            await grow(running, 1)
            await votes(process)

            error = (await counter.anchor(second, expected_code=USAGE))["error"]
            assert error["code"] == code and cure in error["cure"]
            assert "--new-register" in error["cure"] or code != "register-missing"
            listed = (await counter.asked("issued", "list", expected_code=USAGE))["error"]
            assert listed["code"] == code
            assert not Path(f"{second}.proof").exists(), "nothing was anchored in its place"

            shutil.rmtree(counter.home / FOLDER, ignore_errors=True)
            shutil.copytree(backup, counter.home / FOLDER)
            await counter.anchor(second)
            found = await counter.asked("issued", "list")
            assert [each["state"] for each in found["documents"]] == ["delivered", "delivered"]

    play(scenario())


def test_an_issuer_whose_register_is_gone_for_good_begins_a_new_one_and_can_still_revoke(
    network: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario() -> None:
        async with running_on(network, *VALIDATORS) as running:
            counter = Counter(running, capsys)
            first, second = counter.file("a.pdf"), counter.file("b.pdf")
            # The network's own anchors had no register: it is begun by word.
            await counter.anchor(first, "--new-register")
            remove(FOLDER)(counter.home)
            proof = f"{first}.proof"
            revoked = await counter.asked("revoke", "--proof", proof, "--reason", "error")
            assert revoked["height"] is not None, "the proof alone names the document"
            await counter.anchor(second, "--new-register")
            found = await counter.asked("issued", "list")
            assert [each["state"] for each in found["documents"]] == ["delivered"]
            assert Proof.decode(Path(f"{second}.proof").read_bytes()).opening.size == second.stat().st_size

    play(scenario())


# On all nodes at once


def test_all_nodes_go_on_where_every_home_lost_its_register_and_the_issuer_is_told(
    network: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario() -> None:
        async with running_on(network, *VALIDATORS) as running:
            counter = Counter(running, capsys)
            await counter.anchor(counter.file("a.pdf"), "--new-register")
        for member in VALIDATORS:
            shutil.rmtree(network.homes[member].path / FOLDER, ignore_errors=True)
        async with running_on(network, *VALIDATORS) as running:
            counter = Counter(running, capsys)
            await grow(running, 1)
            error = (await counter.anchor(counter.file("b.pdf"), expected_code=USAGE))["error"]
            assert error["code"] == "register-missing"

    play(scenario())


@pytest.mark.parametrize(
    "lost",
    [
        "member key",
        "next member key",
        "next validator key",
        "snapshots",
        "core log",
        "lock",
        "lock of the votes",
        "reached.json",
    ],
)
def test_all_nodes_go_on_without_it(network: Network, lost: str) -> None:
    for member in VALIDATORS:
        LOSSES[lost].lose(network.homes[member].path)

    async def scenario() -> None:
        async with running_on(network, *VALIDATORS) as running:
            await grow(running, 2)

    play(scenario())


def put_back(network: Network, grown: Network, name: str, members: tuple[str, ...]) -> None:
    for member in members:
        source, target = (each.homes[member].path / name for each in (grown, network))
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target)
        else:
            shutil.copy2(source, target)


def test_all_nodes_without_validator_keys_follow_until_those_of_a_quorum_are_back(
    network: Network, grown: Network
) -> None:
    for member in VALIDATORS:
        remove("keys/validator.pem")(network.homes[member].path)

    async def stuck() -> None:
        async with running_on(network, *VALIDATORS) as running:
            for process in running.processes.values():
                lack = process.node.status().lack
                assert lack is not None and "put its file back" in lack.lower()

    async def cured() -> None:
        async with running_on(network, *VALIDATORS) as running:
            await grow(running, 2)
            assert not running.processes[LOSER].node.status().is_voting

    play(stuck())
    put_back(network, grown, "keys/validator.pem", OTHERS)
    play(cured())


@pytest.mark.parametrize("lost", ["chain", "data"])
def test_nodes_that_all_lost_their_chain_found_no_other_and_fetch_it_where_one_has_it_again(
    network: Network, grown: Network, lost: str
) -> None:
    """Regression: all four began again at block 0, voted, and a hundred acknowledged transactions were nowhere."""
    for member in VALIDATORS:
        LOSSES[lost].lose(network.homes[member].path)

    async def stuck() -> None:
        async with running_on(network, *VALIDATORS) as running:
            for process in running.processes.values():
                status = process.node.status()
                assert (status.kind, status.is_voting) == ("observer", False)
                waits_for = status.condition.waits_for
                assert waits_for is not None and "which this home had" in waits_for
                assert process.driver.engine.guard is None, "nothing can be signed"
            await until(
                lambda: all(len(p.node.status().peers_connected) == 3 for p in running.processes.values())
            )
            assert {process.store.tip().header.height for process in running.processes.values()} == {0}

    async def cured() -> None:
        async with running_on(network, *VALIDATORS) as running:
            for process in running.processes.values():
                await votes(process)
            old = {process.store.find_header(1) for process in running.processes.values()}
            assert len(old) == 1 and None not in old
            await grow(running, 2)

    play(stuck())
    put_back(network, grown, f"data/{CHAIN}", ("hk-operator",))
    play(cured())


def test_nodes_that_all_lost_their_votes_observe_and_go_on_where_the_logs_are_back(
    network: Network, grown: Network
) -> None:
    for member in VALIDATORS:
        LOSSES["votes"].lose(network.homes[member].path)

    async def stuck() -> None:
        async with running_on(network, *VALIDATORS) as running:
            processes = running.processes.values()
            await until(lambda: all(process.node.status().is_amnesiac for process in processes))
            assert not any(process.node.status().is_voting for process in processes)

    async def cured() -> None:
        async with running_on(network, *VALIDATORS) as running:
            await grow(running, 2)

    play(stuck())
    put_back(network, grown, f"data/{VOTES}", VALIDATORS)
    play(cured())


@pytest.mark.parametrize("lost", [name for name, loss in LOSSES.items() if loss.refusal is not None])
def test_each_of_all_nodes_is_refused_with_the_same_truth(network: Network, lost: str) -> None:
    for member in VALIDATORS:
        LOSSES[lost].lose(network.homes[member].path)
        with pytest.raises(SetupError, match=LOSSES[lost].refusal):
            start(network, member)


# What a start knows and keeps


def test_a_home_remembers_how_far_it_had_come(network: Network) -> None:
    homes = [network.homes[member].path for member in VALIDATORS]
    marks = [json.loads((home / REACHED_FILE).read_text()) for home in homes]
    assert {mark["chain_id"] for mark in marks} == {network.genesis.content.chain_id.hex()}
    assert min(mark["height"] for mark in marks) >= 3
    assert REACHED_EVERY > 3, "the last blocks were written at the orderly end"


def test_to_give_the_blocks_up_for_good_is_to_remove_the_mark(network: Network) -> None:
    for member in VALIDATORS:
        LOSSES["data"].lose(network.homes[member].path)
        LOSSES["reached.json"].lose(network.homes[member].path)

    async def scenario() -> None:
        async with running_on(network, *VALIDATORS) as running:
            await grow(running, 1)

    play(scenario())


def test_a_vote_log_of_another_member_is_refused_with_a_key_or_without(network: Network) -> None:
    home = network.homes[LOSER]
    (home.data / VOTES).unlink()
    log, _ = VoteLog.open(
        home.data / VOTES,
        chain_id=network.genesis.content.chain_id,
        validator="hk-bureau",
        expected_existing=False,
    )
    log.close()

    async def begin() -> None:
        with pytest.raises(SetupError, match="votes of sz-operator"):
            NodeProcess(load_parts(Home.open(home.path), DevelopmentKey()), Api)

    asyncio.run(begin())
    (home.path / "keys" / "validator.pem").unlink()
    asyncio.run(begin())


def test_a_key_that_others_can_read_is_refused_whichever_it_is(network: Network) -> None:
    for path in (network.homes[LOSER].path / "keys").glob("*.pem"):
        path.chmod(0o640)
        with pytest.raises(SetupError, match=f"chmod 600 {path}"):
            start(network, LOSER)
        path.chmod(0o600)
    start(network, LOSER)
