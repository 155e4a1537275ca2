"""The waiting room: a limit at its bound and one past it, and everybody told when the issuer broke."""

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from node.client.issuing.waitingroom import WaitingRoom

TURNS = 20


def run(scene: Callable[[], Coroutine[object, object, None]]) -> None:
    asyncio.run(scene())


async def others() -> None:
    """Let every other task go as far as it can."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


def test_what_fits_comes_in_and_one_more_waits_until_some_have_left() -> None:
    async def scene() -> None:
        waiting = 2
        room = WaitingRoom(lambda: waiting, count_max=4)
        room.count()
        await room.take(2)
        late = asyncio.ensure_future(room.take(1))
        await others()
        assert not late.done(), "two wait and two come in"
        waiting = 1
        await room.recount()
        await others()
        assert late.done()

    run(scene)


def test_a_delivery_larger_than_the_room_comes_in_alone() -> None:
    async def scene() -> None:
        waiting = 1
        room = WaitingRoom(lambda: waiting, count_max=4)
        room.count()
        large = asyncio.ensure_future(room.take(9))
        await others()
        assert not large.done()
        waiting = 0
        await room.recount()
        await others()
        assert large.done() and not room.is_empty
        await room.leave(9)
        assert room.is_empty

    run(scene)


def test_room_is_kept_for_one_of_two_who_wait_for_it() -> None:
    async def scene() -> None:
        room = WaitingRoom(lambda: 0, count_max=4)
        await room.take(4)
        tasks = [asyncio.ensure_future(room.take(3)) for _ in range(2)]
        await others()
        await room.leave(4)
        await others()
        assert [task.done() for task in tasks] == [True, False]
        tasks[1].cancel()

    run(scene)


def test_whoever_waits_and_whoever_comes_later_is_told_what_the_issuer_broke_of() -> None:
    async def scene() -> None:
        room = WaitingRoom(lambda: 0, count_max=1)
        await room.take(1)
        waits = asyncio.ensure_future(room.take(1))
        await others()
        room.error = OSError("the disk is full")
        await room.notify()
        for attempt in (waits, room.take(0), room.wait_for(lambda: True)):
            with pytest.raises(OSError, match="full"):
                await attempt

    run(scene)
