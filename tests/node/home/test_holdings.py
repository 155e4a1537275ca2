"""Before a chain is moved aside, peers are asked; what they say is judged here, and asked of real nodes."""

import asyncio
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from node.files.keyfiles import DevelopmentKey
from node.home.holdings import Holdings, Question, ask_peers
from node.home.home import Home
from node.home.reached import REACHED_FILE
from node.home.repair import CHAIN, Finding, repair
from node.network.registry import Peer, PeerKind
from node.network.tls import make_identity
from node.storage.database import WriteBatch
from node.storage.leveldb import LevelDatabase
from node.storage.store import SCHEMA_VERSION
from tests.support.running_network import (
    VALIDATORS,
    RunningNetwork,
    fresh_anchor,
    make_network,
    run_network,
    sign,
)

LOST = "sz-operator"
OTHERS = tuple(member for member in VALIDATORS if member != LOST)
CERTIFICATES = {
    member: make_identity(member).certificate for member in (*VALIDATORS, "auditor", "more", "most")
}


def peers(*members: str, observers: tuple[str, ...] = ()) -> dict[str, Peer]:
    kinds = dict.fromkeys(members, PeerKind.VALIDATOR) | dict.fromkeys(observers, PeerKind.OBSERVER)
    return {member: Peer(CERTIFICATES[member], None, kind) for member, kind in kinds.items()}


FOUR = peers(*OTHERS, observers=("auditor",))
SEVEN = peers(*OTHERS, "auditor", "more", "most")


@pytest.mark.parametrize(
    ("height", "heights", "expected"),
    [
        # Four validators, so one of two is honest.
        (10, {"hk-bureau": 10, "hk-operator": 10}, True),
        (10, {"hk-bureau": 10, "hk-operator": 99}, True),
        (10, {"hk-bureau": 10}, False),
        (10, {"hk-bureau": 10, "hk-operator": 9, "mainland-bank": 9}, False),
        # An observer is none of the f + 1.
        (10, {"hk-bureau": 10, "auditor": 10}, False),
        (10, {}, False),
        # A chain of genesis alone is lost to nobody.
        (0, {}, True),
        # Where nothing is known here, as many must say as the question at the start asks.
        (None, {"hk-bureau": 0, "hk-operator": 3}, True),
        (None, {"hk-bureau": 3, "auditor": 3}, False),
    ],
)
def test_what_validators_say_counts_where_an_honest_one_is_among_them(
    height: int | None, heights: Mapping[str, int], expected: bool
) -> None:
    question = Question(height, None, FOUR)
    assert Holdings(heights=dict(heights)).suffice(question) is expected


def test_more_validators_must_say_so_where_more_may_be_faulty() -> None:
    two, three = ({"hk-bureau": 5, "more": 5}, {"hk-bureau": 5, "more": 5, "most": 5})
    assert not Holdings(heights=two).suffice(Question(5, None, SEVEN))
    assert Holdings(heights=three).suffice(Question(5, None, SEVEN))
    four = {**three, "auditor": 5}
    assert not Holdings(heights=three).suffice(Question(None, None, SEVEN))
    assert Holdings(heights=four).suffice(Question(None, None, SEVEN))


def test_one_that_shows_the_block_holds_the_chain_and_one_with_another_block_does_not() -> None:
    question = Question(10, bytes(32), FOUR)
    assert Holdings(shown_by={"auditor"}).suffice(question)
    heights = {"hk-bureau": 30, "hk-operator": 30, "mainland-bank": 30}
    elsewhere = Holdings(heights=heights, elsewhere={"hk-bureau", "hk-operator"})
    assert not elsewhere.suffice(question)
    assert "hk-bureau has another block there" in elsewhere.told(question)
    assert "auditor does not answer" in elsewhere.told(question)


# Real nodes


async def grow(running: RunningNetwork, count: int) -> int:
    """Have anchors recorded; return the height that all nodes have."""
    node = next(iter(running.processes.values())).node
    for _ in range(count):
        (answer,) = await node.submit(
            [sign(running.network, "hk-bureau", fresh_anchor()).encoded], wait_ms=20_000
        )
        assert answer.state == "final"
    height = node.status().height
    for process in running.processes.values():
        await process.node.wait_for_height(height)
    return height


def lose_current(home: Home) -> None:
    (home.data / CHAIN / "CURRENT").unlink()


def write_schema(version: int) -> Callable[[Home], None]:
    def change(home: Home) -> None:
        database = LevelDatabase.open(home.data / CHAIN)
        batch = WriteBatch()
        batch.put(b"Mschema", b"%d" % version)
        database.write(batch, is_synced=True)
        database.close()

    return change


def asking(home: Home, asked: list[Question], seconds: float) -> Callable[[Question], Holdings]:
    """Ask as the command does, from a loop of its own."""

    def ask(question: Question) -> Holdings:
        asked.append(question)
        return asyncio.run(
            ask_peers(
                question,
                member=home.member,
                chain_id=home.genesis.content.chain_id,
                settings=home.require_node(),
                identity=home.load_tls_identity(DevelopmentKey()),
                seconds=seconds,
            )
        )

    return ask


async def repaired(
    home: Home, *, give_up: str | None = None, seconds: float = 30
) -> tuple[list[Finding], list[Question]]:
    asked: list[Question] = []
    found = await asyncio.to_thread(repair, home, asking(home, asked, seconds), give_up=give_up)
    return found, asked


def chain_names(home: Home) -> list[str]:
    return sorted(path.name for path in home.data.iterdir() if path.name.startswith(CHAIN))


OTHER_VERSIONS = (int(SCHEMA_VERSION) - 1, int(SCHEMA_VERSION) + 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("harm", "kept"),
    [
        (lose_current, "chain.damaged-1"),
        *((write_schema(version), "chain.other-version-1") for version in OTHER_VERSIONS),
    ],
    ids=("damaged", "older", "newer"),
)
def test_a_chain_that_running_peers_hold_is_moved_aside_and_fetched_again(
    tmp_path: Path, harm: Callable[[Home], None], kept: str
) -> None:
    async def live() -> None:
        async with run_network(tmp_path / "network") as running:
            height = await grow(running, 3)
            home = running.network.homes[LOST]
            await running.stop(LOST)
            harm(home)
            (found, *rest), (question,) = await repaired(home)
            assert not rest
            # The tip is known all the same: of a store of another version, or salvaged from a copy of what is left.
            assert question.height is not None and question.height >= height
            assert question.block_hash is not None
            assert (found.is_repaired, found.kept_at) == (True, home.data / kept)
            assert ("damaged" in found.found) is ("other-version" in kept), "nothing is damaged, it says"
            back = await running.start(LOST)
            await asyncio.wait_for(back.node.wait_for_height(height), 30)
            await asyncio.wait_for(until_voting(running), 30)

    asyncio.run(asyncio.wait_for(live(), 90))


async def until_voting(running: RunningNetwork) -> None:
    while not running.processes[LOST].node.status().is_voting:
        await asyncio.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    "harm", [lose_current, *map(write_schema, OTHER_VERSIONS)], ids=("damaged", "older", "newer")
)
def test_repaired_all_at_once_every_home_keeps_its_chain(
    tmp_path: Path, harm: Callable[[Home], None]
) -> None:
    """Regression: all four followed the same good advice, and began again at block 0."""

    async def live() -> list[Home]:
        async with run_network(tmp_path / "network") as running:
            await grow(running, 3)
            return [running.network.homes[member] for member in VALIDATORS]

    homes = asyncio.run(asyncio.wait_for(live(), 60))
    for home in homes:
        harm(home)

    async def together() -> list[tuple[list[Finding], list[Question]]]:
        return await asyncio.gather(*(repaired(home, seconds=2) for home in homes))

    for home, (findings, (question,)) in zip(homes, asyncio.run(together()), strict=True):
        found = findings[0]
        assert (found.part, found.is_repaired, found.kept_at) == (CHAIN, False, None)
        assert chain_names(home) == [CHAIN]
        # Whoever repairs is asked by the others as well: no node answers for it.
        assert "does not answer" in found.found
        assert f"--give-up {question.height}" in found.cure
    home = homes[0]
    (wrong, *_), (question,) = asyncio.run(repaired(home, give_up="0", seconds=0.1))
    assert not wrong.is_repaired and chain_names(home) == [CHAIN]
    given_up = asyncio.run(repaired(home, give_up=f"{question.height}"))[0][0]
    assert given_up.is_repaired and CHAIN not in chain_names(home)


@pytest.mark.slow
def test_peers_that_founded_the_chain_anew_do_not_hold_the_old_one(tmp_path: Path) -> None:
    async def live() -> None:
        async with run_network(tmp_path / "network") as running:
            await grow(running, 3)
            home = running.network.homes[LOST]
            await running.stop(LOST)
            for member in OTHERS:
                await running.stop(member)
                shutil.rmtree(running.network.homes[member].data)
                (running.network.homes[member].path / REACHED_FILE).unlink()
            for member in OTHERS:
                await running.start(member)
            reached = await grow(running, 8)
            lose_current(home)
            (found, *_), (question,) = await repaired(home)
            assert question.height is not None and question.height < reached
            assert not found.is_repaired and chain_names(home) == [CHAIN]
            assert "has another block there" in found.found

    asyncio.run(asyncio.wait_for(live(), 90))


def test_a_home_whose_keys_open_nothing_asks_nobody_and_says_so(tmp_path: Path) -> None:
    home = make_network(tmp_path / "network").homes[LOST]
    LevelDatabase.open(home.data / CHAIN).close()
    lose_current(home)
    (home.path / REACHED_FILE).write_text(
        f'{{"chain_id": "{home.genesis.content.chain_id.hex()}", "height": 812}}'
    )
    (home.path / "keys" / "tls.pem").unlink()
    found = repair(home, asking(home, [], 1))[0]
    assert not found.is_repaired and chain_names(home) == [CHAIN]
    assert "tls.pem" in found.found
    assert "--give-up 812" in found.cure


def test_a_home_that_reached_more_than_its_chain_has_asks_for_what_it_had(tmp_path: Path) -> None:
    home = make_network(tmp_path / "network").homes[LOST]
    write_schema(9)(home)
    (home.path / REACHED_FILE).write_text(
        f'{{"chain_id": "{home.genesis.content.chain_id.hex()}", "height": 812}}'
    )
    asked: list[Question] = []

    def ask(question: Question) -> Holdings:
        asked.append(question)
        return Holdings(heights=dict.fromkeys(OTHERS, 811))

    assert not repair(home, ask)[0].is_repaired
    assert [(each.height, each.block_hash) for each in asked] == [(812, None)]
    assert set(asked[0].peers) == {*OTHERS, "auditor"}
