"""Paths that swallow large packets: the sign, what follows it, and two real nodes over such a path."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from node.network import pathsize
from node.network.pathsize import (
    SMALL_SEGMENT_SIZE,
    TRY_AGAIN_S,
    TURNED_AWAY_MAX,
    USUAL_AGAIN_S,
    PathSize,
    has_small_segments,
    make_small_socket,
)
from node.network.registry import Peer
from tests.campaigns.chaos.links import Links
from tests.support.network_world import Node, running, unlisted, until

PAIR = ("bank", "bureau")
LONG = 20_000
PACKET_SIZE_MAX = 4_096
"""More than a handshake of this test puts into one piece, and less than a long message."""


class Time:
    """Seconds that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def path(time: Time) -> PathSize:
    return PathSize(time)


def test_a_path_is_a_usual_one_until_a_sign(path: PathSize) -> None:
    path.note_passed(is_small=False)
    assert not path.is_small and not path.is_next_dial_small and not path.is_swallowing


def test_after_a_sign_connections_are_small_and_what_passes_in_them_shows_the_path(path: PathSize) -> None:
    path.note_stuck(is_small=False)
    assert path.is_small and path.is_next_dial_small and not path.is_swallowing
    path.note_passed(is_small=True)
    assert path.is_swallowing


def test_the_first_sign_is_tried_once_and_what_passes_clears_it(path: PathSize, time: Time) -> None:
    path.note_stuck(is_small=False)
    path.note_passed(is_small=True)
    time.now += TRY_AGAIN_S - 1
    assert path.is_small and not path.is_trial_due
    time.now += 1
    assert not path.is_small and path.is_trial_due and path.is_swallowing
    path.begin_trial()
    assert not path.is_trial_due
    path.note_passed(is_small=False)
    assert not path.is_swallowing and not path.is_trial_due


def test_the_second_sign_is_believed_for_long(path: PathSize, time: Time) -> None:
    path.note_stuck(is_small=False)
    path.note_passed(is_small=True)
    time.now += TRY_AGAIN_S
    path.begin_trial()
    path.note_stuck(is_small=False)
    time.now += USUAL_AGAIN_S - 1
    assert path.is_small and path.is_swallowing and not path.is_trial_due
    time.now += 1
    assert not path.is_small and path.is_swallowing and not path.is_trial_due
    path.note_passed(is_small=False)
    assert not path.is_swallowing


def test_where_small_packets_do_not_pass_either_it_is_not_their_size(path: PathSize) -> None:
    path.note_stuck(is_small=False)
    path.note_stuck(is_small=True)
    assert not path.is_small and not path.is_swallowing


def test_dials_without_an_answer_take_turns_and_are_no_sign(path: PathSize) -> None:
    found = []
    for _ in range(4):
        path.note_unanswered()
        found.append(path.is_next_dial_small)
    assert found == [True, False, True, False]
    path.note_unanswered()
    path.note_passed(is_small=True)
    assert not path.is_swallowing and not path.is_next_dial_small


def test_who_dialled_too_early_is_turned_away_a_few_times_and_small_ones_never(path: PathSize) -> None:
    assert not path.turns_away(is_small=False)
    path.note_stuck(is_small=False)
    assert not path.turns_away(is_small=True)
    assert [path.turns_away(is_small=False) for _ in range(TURNED_AWAY_MAX + 1)] == [
        True
    ] * TURNED_AWAY_MAX + [False]
    path.note_stuck(is_small=False)
    assert path.turns_away(is_small=False)


def test_a_small_socket_makes_small_segments_in_both_directions() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()
        made = make_small_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", address))
        with made, socket.create_connection(address) as usual:
            made.connect(address)
            sizes = []
            for _ in range(2):
                accepted, _ = listening.accept()
                with accepted:
                    sizes.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))
            assert sizes[0] > SMALL_SEGMENT_SIZE >= sizes[1]
            assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= SMALL_SEGMENT_SIZE
            assert usual.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) > SMALL_SEGMENT_SIZE
    assert not has_small_segments(None)


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Node, Node, Links]]:
    """Run two nodes whose connections go through links of the test."""
    async with running("bank", unlisted(*PAIR)) as bank, running("bureau", unlisted(*PAIR)) as bureau:
        links = Links({"bank": bank.port, "bureau": bureau.port}, random.Random(1))
        links.open()
        try:
            for node in (bank, bureau):
                node.network.update_peers(_addresses(node.network.node_id, links))
            await until(lambda: bank.network.is_connected("bureau") and bureau.network.is_connected("bank"))
            yield bank, bureau, links
        finally:
            await links.close()


def _addresses(own_id: str, links: Links) -> dict[str, Peer]:
    return {
        peer_id: replace(peer, address=f"127.0.0.1:{links.addresses[own_id, peer_id]}")
        for peer_id, peer in unlisted(*PAIR).items()
        if peer_id != own_id
    }


async def say_until(node: Node, to: Node, condition: asyncio.Event) -> None:
    """Send long messages until told to stop, as one does who tells again what was not answered."""
    while not condition.is_set():
        node.network.send(to.network.node_id, bytes([1]) * LONG)
        await asyncio.sleep(0.2)


@asynccontextmanager
async def telling(node: Node, to: Node) -> AsyncIterator[None]:
    """Send long messages meanwhile; whoever gets them takes them."""
    is_over = asyncio.Event()
    tasks = [asyncio.ensure_future(say_until(node, to, is_over)), asyncio.ensure_future(_take_all(to))]
    try:
        yield
    finally:
        is_over.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _take_all(node: Node) -> None:
    async for _ in node.network.messages():
        pass


@pytest.mark.slow
@pytest.mark.parametrize("speaker", PAIR)
def test_long_messages_pass_a_path_that_swallows_large_packets_and_it_is_named(
    speaker: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pathsize, "TRY_AGAIN_S", 1.0)

    async def live() -> None:
        async with linked() as (bank, bureau, links):
            node, to = (bank, bureau) if speaker == "bank" else (bureau, bank)
            lane = (node.network.node_id, to.network.node_id)
            links.swallow([lane], packet_size_max=PACKET_SIZE_MAX)
            async with telling(node, to):
                await until(lambda: node.network.swallowing() == (lane[1],))
                assert f"peer.large_packets_lost peer={lane[1]}" in caplog.text
                # It is tried again, stands still again, and is believed then.
                path = node.network._links[lane[1]].path
                await until(lambda: path._signs_count == 2)
                await until(lambda: node.network.is_connected(lane[1]))
                connection = node.network._links[lane[1]].connection
                assert connection is not None and connection.is_small
            assert to.network.swallowing() == ()

    asyncio.run(live())


@pytest.mark.slow
def test_a_path_that_was_down_in_one_direction_is_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pathsize, "TRY_AGAIN_S", 1.0)

    async def live() -> None:
        async with linked() as (bank, bureau, links):
            path = bank.network._links["bureau"].path
            links.stall([("bank", "bureau")])
            async with telling(bank, bureau):
                await until(lambda: path._signs_count == 1)
                links.heal([("bank", "bureau")])
                await until(lambda: path._signs_count == 0 and not path.is_swallowing)
                await until(lambda: bank.network.is_connected("bureau"))

    asyncio.run(live())


@pytest.mark.slow
def test_a_peer_that_is_gone_is_no_sign() -> None:
    async def live() -> None:
        async with linked() as (bank, bureau, links):
            path = bank.network._links["bureau"].path
            async with telling(bank, bureau):
                links.stall([("bank", "bureau"), ("bureau", "bank")])
                await until(lambda: not bank.network.is_connected("bureau"))
                assert path._signs_count == 0
                links.heal([("bank", "bureau"), ("bureau", "bank")])
                await until(lambda: bank.network.is_connected("bureau"))
                assert path._signs_count == 0 and not path.is_swallowing

    asyncio.run(live())


def test_long_messages_on_a_good_path_leave_it_as_it_is() -> None:
    async def live() -> None:
        async with linked() as (bank, bureau, _):
            path = bank.network._links["bureau"].path
            async with telling(bank, bureau):
                connection = bank.network._links["bureau"].connection
                assert connection is not None
                await until(lambda: connection._probes_count >= 2)
            assert not path.is_small and bank.network.swallowing() == ()

    asyncio.run(live())
