"""What waits is bounded, fair and in order; what is retried waits longer each time."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.network.dialer import Backoff
from node.network.limits import (
    INBOX_COUNT_MAX,
    INBOX_SIZE_MAX,
    MESSAGE_SIZE_MAX,
    OUTBOX_COUNT_MAX,
    OUTBOX_SIZE_MAX,
    Timing,
)
from node.network.receivequeue import NetworkStopped, ReceiveQueue
from node.network.sendqueue import SendQueue


async def is_waiting(task: asyncio.Task[None]) -> bool:
    """Let the loop turn, then say whether the task still waits."""
    for _ in range(5):
        await asyncio.sleep(0)
    return not task.done()


@pytest.mark.parametrize(
    ("data", "count_max"),
    [(b"x", INBOX_COUNT_MAX), (bytes(MESSAGE_SIZE_MAX), INBOX_SIZE_MAX // MESSAGE_SIZE_MAX)],
)
def test_a_lane_takes_its_maximum_and_makes_the_next_wait_for_room(data: bytes, count_max: int) -> None:
    async def scenario() -> None:
        receive_queue = ReceiveQueue()
        for _ in range(count_max):
            assert receive_queue.has_room("bank", data)
            await receive_queue.put("bank", data)
        assert receive_queue.size("bank") == (count_max, count_max * len(data))
        assert not receive_queue.has_room("bank", data)
        late = asyncio.create_task(receive_queue.put("bank", data))
        assert await is_waiting(late)
        await receive_queue.put("bureau", data)
        assert await receive_queue.take_batch(1) == [("bank", data)]
        await late
        assert receive_queue.size("bank")[0] == count_max

    asyncio.run(scenario())


@given(st.lists(st.tuples(st.sampled_from("abc"), st.binary(min_size=1, max_size=3)), max_size=30))
def test_delivery_goes_round_the_peers_and_keeps_the_order_of_each(puts: list[tuple[str, bytes]]) -> None:
    async def scenario() -> list[tuple[str, bytes]]:
        receive_queue = ReceiveQueue()
        for peer_id, data in puts:
            await receive_queue.put(peer_id, data)
        return await receive_queue.take_batch(len(puts)) if puts else []

    taken = asyncio.run(scenario())
    for peer_id in "abc":
        assert [data for p, data in taken if p == peer_id] == [data for p, data in puts if p == peer_id]
    for index, (peer_id, _) in enumerate(taken):
        others = {p for p, _ in taken[index + 1 :]} - {peer_id}
        # Nobody who still waits is passed over twice.
        again = next((j for j in range(index + 1, len(taken)) if taken[j][0] == peer_id), None)
        if again is not None:
            assert others <= {p for p, _ in taken[index:again]} | {p for p, _ in taken[again:]}
            served = {p for p, _ in taken[index + 1 : again]}
            assert served == {p for p, _ in taken[index + 1 :]} - {peer_id}


def test_forgetting_a_peer_drops_what_waits_and_frees_who_waits_to_put() -> None:
    async def scenario() -> None:
        receive_queue = ReceiveQueue()
        for _ in range(INBOX_COUNT_MAX):
            await receive_queue.put("bank", b"x")
        await receive_queue.put("bureau", b"y")
        late = asyncio.create_task(receive_queue.put("bank", b"late"))
        assert await is_waiting(late)
        receive_queue.forget("bank")
        await late
        assert receive_queue.size("bank") == (0, 0)
        assert await receive_queue.take_batch(10) == [("bureau", b"y")]

    asyncio.run(scenario())


def test_a_closed_inbox_ends_its_stream_and_a_failed_one_says_why() -> None:
    async def scenario() -> None:
        receive_queue = ReceiveQueue()
        waiting = asyncio.create_task(receive_queue.take_batch(1))
        await asyncio.sleep(0)
        receive_queue.close()
        assert await waiting == []
        await receive_queue.put("bank", b"too late")
        assert await receive_queue.take_batch(1) == []
        receive_queue.close(ZeroDivisionError("ours"))
        with pytest.raises(NetworkStopped, match="ours"):
            await receive_queue.take_batch(1)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("size", "count_max"), [(1, OUTBOX_COUNT_MAX), (MESSAGE_SIZE_MAX, OUTBOX_SIZE_MAX // MESSAGE_SIZE_MAX)]
)
def test_a_full_outbox_drops_its_oldest(size: int, count_max: int) -> None:
    async def scenario() -> None:
        send_queue = SendQueue()
        messages = [bytes([index % 251]) * size for index in range(count_max + 1)]
        for data in messages[:count_max]:
            send_queue.put(data)
        assert (len(send_queue), send_queue.size, send_queue.dropped_count) == (
            count_max,
            count_max * size,
            0,
        )
        send_queue.put(messages[count_max])
        assert (len(send_queue), send_queue.size, send_queue.dropped_count) == (
            count_max,
            count_max * size,
            1,
        )
        assert await send_queue.take() == messages[1]
        send_queue.clear()
        assert (len(send_queue), send_queue.size) == (0, 0)

    asyncio.run(scenario())


def test_backoff_is_immediate_first_then_doubles_to_its_cap_and_forgets_on_success() -> None:
    timing = Timing(backoff_first_s=0.1, backoff_max_s=5.0)
    backoff = Backoff(timing, random.Random(7))
    assert backoff.delay_s() == 0.0
    for failures_count in range(1, 2000):
        backoff.failed()
        longest = min(0.1 * 2.0 ** min(failures_count - 1, 32), 5.0)
        assert longest / 2 <= backoff.delay_s() <= longest
    backoff.succeeded()
    assert backoff.delay_s() == 0.0


def test_backoff_differs_between_nodes() -> None:
    delays = []
    for seed in range(20):
        backoff = Backoff(Timing(), random.Random(seed))
        backoff.failed()
        delays.append(backoff.delay_s())
    assert len(set(delays)) == 20


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan")])
def test_a_time_of_nothing_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="expected hello_s above 0"):
        Timing(hello_s=wrong)
