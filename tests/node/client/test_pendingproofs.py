"""Proofs that are waited for: one future for each document, shared, resolved once, left alone without a warning."""

import asyncio
import gc
from collections.abc import Callable, Coroutine

import pytest

from node.client.issuing.pendingproofs import PendingProofs
from tests.attacks.forge import honest


def run(scene: Callable[[], Coroutine[object, object, None]]) -> None:
    asyncio.run(scene())


def test_everybody_who_asks_shares_one_future_and_gets_the_proof() -> None:
    async def scene() -> None:
        pending, proof = PendingProofs(), honest().proof
        first, second = pending.future_of(1), pending.future_of(1)
        pending.resolve(1, proof)
        assert first is second and await first is proof and pending.ids() == ()

    run(scene)


def test_a_document_that_failed_can_be_asked_for_again() -> None:
    async def scene() -> None:
        pending = PendingProofs()
        first = pending.future_of(1)
        pending.fail(1, OSError("refused"))
        assert pending.future_of(1) is not first and pending.ids() == (1,)
        with pytest.raises(OSError, match="refused"):
            await first

    run(scene)


def test_what_nobody_waits_for_is_passed_over() -> None:
    async def scene() -> None:
        pending, proof = PendingProofs(), honest().proof
        pending.resolve(1, proof)
        pending.fail(2, OSError("refused"))
        future = pending.future_of(3)
        future.cancel()
        pending.resolve(3, proof)
        assert future.cancelled() and pending.ids() == ()

    run(scene)


def test_an_erased_document_has_its_future_cancelled_and_no_other() -> None:
    async def scene() -> None:
        pending = PendingProofs()
        erased, kept = pending.future_of(1), pending.future_of(2)
        pending.cancel(1)
        assert erased.cancelled() and not kept.done() and pending.ids() == (2,)
        pending.cancel_all()
        assert kept.cancelled()

    run(scene)


def test_a_failure_that_nobody_looks_at_warns_nobody() -> None:
    async def scene() -> None:
        asked: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: asked.append(context))
        pending = PendingProofs()
        pending.future_of(1)
        pending.fail_all(OSError("the disk is full"))
        await asyncio.sleep(0)
        gc.collect()
        assert asked == [] and pending.ids() == ()

    run(scene)
