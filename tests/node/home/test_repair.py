"""Repair: every kind of damage is named, kept, and leaves a home that starts and heals from its peers."""

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.node import node as node_commands
from ledger.genesis import DEVELOPMENT
from ledger.trees.statepages import StatePageError
from node.consensus.startup import Participation
from node.errors import StoreError
from node.files.configfile import ConfigError
from node.files.durablefile import FileLock
from node.home.holdings import Holdings, Question
from node.home.home import KEYS, Home
from node.home.repair import CHAIN, NODE_LOCK, SNAPSHOTS, VOTES, repair
from node.home.settings import HomeSettings
from node.storage import toppages as top_pages
from node.storage.database import WriteBatch
from node.storage.leveldb import LevelDatabase
from node.storage.quarantine import keep_aside
from node.storage.votelog import VoteLog
from tests.node.home.test_home import create
from tests.support.catching_up import check_whole, grow, is_level, memory, run_until
from tests.support.node_world import FIVE, VALIDATORS, World, make_genesis
from tests.support.running_network import RunningNetwork, fresh_anchor, run_network, sign

__all__ = ("memory",)

GENESIS = make_genesis()
CHAIN_ID = GENESIS.content.chain_id
MEMBER = "hk-operator"
PEM = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"


@pytest.fixture(scope="module", autouse=True)
def low_top_pages() -> Iterator[None]:
    """A top_pages so low that a state as small as these has pages which are stored."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(top_pages, "TOP_PAGES_LEVELS", 3)
        yield


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directories of a network that made some blocks and stopped."""
    directory = tmp_path_factory.mktemp("grown")
    world = World(directory, interval=4, chunk_size=700)
    for member in VALIDATORS:
        world.start(member)
    world.run(1_000)
    grow(world, 8)
    world.run(500)
    world.close()
    return directory


@pytest.fixture
def world(grown: Path, memory: Path) -> Iterator[World]:
    """That network again, with one member's node still down."""
    for member in VALIDATORS:
        shutil.copytree(grown / member, memory / member)
    world = World(memory, interval=4, chunk_size=700, now_ms=60_000)
    for member in VALIDATORS:
        if member != MEMBER:
            world.start(member)
    yield world
    world.close()


@pytest.fixture
def home(world: World, tmp_path: Path) -> Home:
    """The home whose data that node has."""
    path = tmp_path / "home"
    (path / "keys").mkdir(parents=True)
    for name in ("member.pem", "validator.pem"):
        (path / "keys" / name).write_bytes(PEM)
        (path / "keys" / name).chmod(0o600)
    (path / "data").symlink_to(world.directory / MEMBER)
    return Home(path, GENESIS, HomeSettings(MEMBER, None))


def held(question: Question) -> Holdings:
    """A peer shows the block that is asked for."""
    return Holdings(shown_by={next(iter(question.peers), "hk-bureau")})


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if path.is_file()}


def largest(directory: Path, *suffixes: str) -> Path:
    found = [path for path in directory.iterdir() if path.suffix in suffixes]
    return max(found, key=lambda path: path.stat().st_size)


def flip_in_the_log(chain: Path) -> None:
    path = largest(chain, ".log")
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0x10
    path.write_bytes(data)


def compacted(chain: Path) -> None:
    """Move what is in the write-ahead log into a table."""
    with closing(LevelDatabase.open(chain)) as database:
        database._database.compact_range()


def flip_in_a_table(chain: Path) -> None:
    compacted(chain)
    path = largest(chain, ".ldb", ".sst")
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0x10
    path.write_bytes(data)


def truncate_a_table(chain: Path) -> None:
    compacted(chain)
    path = largest(chain, ".ldb", ".sst")
    path.write_bytes(path.read_bytes()[:-100])


def lose_a_table(chain: Path) -> None:
    compacted(chain)
    largest(chain, ".ldb", ".sst").unlink()


def lose_current(chain: Path) -> None:
    (chain / "CURRENT").unlink()


def lose_the_manifest(chain: Path) -> None:
    next(chain.glob("MANIFEST-*")).unlink()


def garble_current(chain: Path) -> None:
    (chain / "CURRENT").write_bytes(b"MANIFEST-999999\n")


def delete_record(table: bytes) -> Callable[[Path], None]:
    def damage(chain: Path) -> None:
        with closing(LevelDatabase.open(chain)) as database:
            keys = [key for key, _ in database.iterate(table, bytes([table[0] + 1]))]
            batch = WriteBatch()
            batch.delete(keys[len(keys) // 2])
            database.write(batch, is_synced=True)

    damage.__name__ = f"delete_record_{table.decode()}"
    return damage


def change_value(chain: Path) -> None:
    """What an insider does: another value, with a checksum that is right."""
    with closing(LevelDatabase.open(chain)) as database:
        key, value = next(database.iterate(b"V", b"W"))
        batch = WriteBatch()
        batch.put(key, value[:-1] + bytes([value[-1] ^ 1]))
        database.write(batch, is_synced=True)


DAMAGES = (
    flip_in_the_log,
    flip_in_a_table,
    truncate_a_table,
    lose_a_table,
    lose_current,
    lose_the_manifest,
    garble_current,
    change_value,
    *(delete_record(table) for table in (b"H", b"h", b"T", b"t", b"V", b"P", b"N")),
)


def test_an_intact_home_is_left_as_it_is(home: Home) -> None:
    before = content(home.data / CHAIN)
    assert repair(home, held) == []
    assert content(home.data / CHAIN) == before
    assert not list(home.data.glob("*.damaged-*"))
    assert not list(home.data.glob(".examined-*"))


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_chain_is_kept_as_it_was_and_fetched_again_from_peers(
    world: World, home: Home, damage: Callable[[Path], None]
) -> None:
    damage(home.data / CHAIN)
    before = content(home.data / CHAIN)
    findings = repair(home, held)
    assert [(each.part, each.is_repaired) for each in findings] == [(CHAIN, True)]
    assert findings[0].expected and findings[0].found
    kept = findings[0].kept_at
    assert kept is not None and kept.name == "chain.damaged-1"
    assert content(kept) == before
    assert not (home.data / CHAIN).exists()
    node = world.start(MEMBER)
    run_until(world, lambda: is_level(world))
    check_whole(node)
    assert repair_again(world, home) == []
    restarted = world.start(MEMBER)
    run_until(world, lambda: restarted.driver.core.standing is Participation.VOTING, milliseconds=120_000)


def repair_again(world: World, home: Home) -> list[object]:
    world.kill(MEMBER)
    return [*repair(home, held)]


def test_a_deleted_vote_log_is_named_and_the_node_observes_until_it_is_safe(world: World, home: Home) -> None:
    (home.data / VOTES).unlink()
    findings = repair(home, held)
    assert [(each.part, each.found) for each in findings] == [(VOTES, "no file")]
    check_amnesiac_then_voting(world)


def test_a_damaged_vote_log_is_kept_and_the_node_observes_until_it_is_safe(world: World, home: Home) -> None:
    path = home.data / VOTES
    data = path.read_bytes()
    path.write_bytes(bytes(byte ^ 0x55 for byte in data[:8192]) + data[8192:])
    findings = repair(home, held)
    assert [each.part for each in findings] == [VOTES]
    assert findings[0].kept_at is not None and findings[0].kept_at.exists()
    check_amnesiac_then_voting(world)


def test_chain_and_votes_lost_together_are_amnesia_too(world: World, home: Home) -> None:
    lose_current(home.data / CHAIN)
    (home.data / VOTES).unlink()
    assert [each.part for each in repair(home, held)] == [CHAIN, VOTES]
    check_amnesiac_then_voting(world)


def test_a_validator_that_governors_added_forgot_as_one_of_genesis_does(home: Home) -> None:
    added = Home(home.path, GENESIS, HomeSettings("hk-bank", None))
    for name in (VOTES, f"{VOTES}.lock"):
        (home.data / name).unlink(missing_ok=True)
    key = home.path / "keys" / "validator.pem"
    moved = key.rename(home.path / "kept.pem")
    assert VOTES not in [each.part for each in repair(added, held)], "without a key it never voted"
    moved.rename(key)
    assert VOTES in [each.part for each in repair(added, held)]
    log, _ = VoteLog.open(home.data / VOTES, chain_id=CHAIN_ID, validator="hk-bank", expected_existing=True)
    assert log.is_amnesiac
    log.close()


def check_amnesiac_then_voting(world: World) -> None:
    node = world.start(MEMBER)
    seen = set()
    for _ in range(100):
        seen.add(node.driver.core.standing)
        world.run(2)
    assert Participation.OBSERVING in seen
    assert Participation.VOTING not in seen
    grow(world, 3, first=700)
    run_until(world, lambda: node.driver.core.standing is Participation.VOTING, milliseconds=120_000)
    run_until(world, lambda: is_level(world))


def test_votes_of_another_validator_are_put_aside(home: Home) -> None:
    path = home.data / VOTES
    path.unlink()
    log, _ = VoteLog.open(path, chain_id=CHAIN_ID, validator="hk-bureau", expected_existing=False)
    log.close()
    findings = repair(home, held)
    assert [each.part for each in findings] == [VOTES]
    assert findings[0].kept_at == home.data / "votes.damaged-1"
    log, recovery = VoteLog.open(path, chain_id=CHAIN_ID, validator=MEMBER, expected_existing=True)
    assert log.is_amnesiac and recovery.damage is not None
    log.close()


def test_a_damaged_snapshot_store_is_put_aside(world: World, home: Home) -> None:
    (home.data / SNAPSHOTS / "CURRENT").unlink()
    assert [each.part for each in repair(home, held)] == [SNAPSHOTS]
    world.start(MEMBER)
    run_until(world, lambda: is_level(world))


def test_keys_are_named_and_left_alone(home: Home) -> None:
    member, validator = (home.path / "keys" / name for name in ("member.pem", "validator.pem"))
    member.write_bytes(b"\x00" * 100)
    validator.unlink()
    findings = repair(home, held)
    assert [(each.part, each.where, each.is_repaired) for each in findings] == [
        (KEYS, f"{member}", False),
        (KEYS, f"{validator}", False),
    ]
    assert member.read_bytes() == b"\x00" * 100
    validator.write_bytes(PEM)
    validator.chmod(0o644)
    assert "0600" in repair(home, held)[1].expected


def test_a_home_that_a_node_runs_on_is_left_alone(home: Home) -> None:
    lose_current(home.data / CHAIN)
    before = content(home.data / CHAIN)
    lock = FileLock(home.data / NODE_LOCK)
    with pytest.raises(ConfigError, match="a node that does not run"):
        repair(home, held)
    assert content(home.data / CHAIN) == before
    lock.release()
    assert repair(home, held)


def test_evidence_never_replaces_evidence(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        (tmp_path / "chain").mkdir()
        assert keep_aside(tmp_path / "chain") == tmp_path / f"chain.damaged-{number}"
    assert not list((tmp_path / "chain.damaged-1").iterdir())


def test_a_store_of_another_chain_is_named_and_left_alone(home: Home) -> None:
    (home.data / VOTES).unlink()
    other = Home(home.path, make_genesis(FIVE), home.settings)
    before = content(home.data / CHAIN)
    found = repair(other, held)[0]
    assert (found.part, found.kept_at, found.is_repaired) == (CHAIN, None, False)
    assert found.expected.startswith("chain ") and "genesis.json" in found.cure
    assert content(home.data / CHAIN) == before


def test_a_home_that_never_ran_has_nothing_to_repair(tmp_path: Path) -> None:
    home = create(tmp_path / "home", use=DEVELOPMENT, plain=True)
    assert repair(home, held) == []


def test_the_command_says_what_it_did(tmp_path: Path) -> None:
    home = create(tmp_path / "home", use=DEVELOPMENT, plain=True)
    (home.data / CHAIN).mkdir()
    (home.data / CHAIN / "000003.log").write_bytes(b"x" * 50)
    given_up = ["repair", "--home", str(home.path), "--give-up", "all", "--json"]
    run = CliRunner().invoke(node_commands, given_up, standalone_mode=False)
    assert run.return_value == 0
    told = json.loads(run.output)
    assert [(each["part"], each["is_repaired"]) for each in told["findings"]] == [
        ("chain", True),
        ("votes", True),
    ]
    assert Path(told["findings"][0]["kept_at"]).is_dir()
    (home.path / "keys" / "member.pem").unlink()
    again = CliRunner().invoke(node_commands, ["repair", "--home", str(home.path)], standalone_mode=False)
    assert again.return_value == 1
    assert "member.pem: expected" in again.output


async def check_stops_on_damage(
    running: RunningNetwork, home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    """Check that a node which meets damage while it runs stops, and names the command that heals it."""
    process = await running.start("sz-operator")
    page = next(path for path, _ in process.store.pages())

    def meet_damage() -> None:
        process.driver.chain.tree.tip.state.load_page(page)
        refuse_page(page)

    process._guarded(meet_damage)
    assert isinstance(process.failed.result(), StoreError)
    assert f"luohu node repair --home {home.path}" in caplog.text
    await running.stop("sz-operator")


def refuse_page(path: bytes) -> None:
    raise StatePageError(path=path, expected="the top that the page above names", found="another")


def test_a_damaged_node_says_what_heals_it_and_heals(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Real nodes: the refusal at the start names the command, and after it the node is where the others are."""

    async def live() -> None:
        async with run_network(tmp_path / "network") as running:
            node = running.processes["hk-bureau"].node
            for _ in range(3):
                answers = await node.submit(
                    [sign(running.network, "hk-bureau", fresh_anchor()).encoded], wait_ms=10_000
                )
                assert [answer.state for answer in answers] == ["final"]
            home = running.network.homes["sz-operator"]
            await running.stop("sz-operator")
            lose_current(home.data / CHAIN)
            with pytest.raises(StoreError, match="luohu node repair --home"):
                await running.start("sz-operator")
            assert [each.part for each in repair(home, held)] == [CHAIN]
            await check_stops_on_damage(running, home, caplog)
            healed = await running.start("sz-operator")
            with pytest.raises(ConfigError, match="a node that does not run"):
                repair(home, held)
            height = running.processes["hk-bureau"].store.tip().header.height
            async with asyncio.timeout(30):
                await healed.node.wait_for_height(height)
            status = healed.node.status()
            assert status.missing_blocks is None
            assert healed.store.find_header(height) == running.processes["hk-bureau"].store.find_header(
                height
            )

    asyncio.run(live())
