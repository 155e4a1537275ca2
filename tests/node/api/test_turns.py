"""Turns: one piece of work at a time, in order, and the loop goes round between two of them."""

import asyncio
from itertools import pairwise

import pytest

from node.api.turns import Turns


def test_the_loop_goes_round_between_two_pieces_however_many_ask() -> None:
    async def live() -> list[str]:
        turns, seen = Turns(), list[str]()

        async def work(name: str) -> None:
            for piece in range(2):
                async with turns.turn():
                    seen.append(f"{name}{piece}")

        async def consensus() -> None:
            while len([each for each in seen if each != "-"]) < 4:
                seen.append("-")
                await asyncio.sleep(0)

        await asyncio.gather(*(work(name) for name in "ab"), consensus())
        return seen

    seen = asyncio.run(live())
    assert [each for each in seen if each != "-"] == ["a0", "b0", "a1", "b1"]
    pieces = [index for index, each in enumerate(seen) if each != "-"]
    assert all(later - earlier > 1 for earlier, later in pairwise(pieces))


def test_a_piece_that_fails_gives_its_turn_on() -> None:
    async def live() -> None:
        turns = Turns()
        with pytest.raises(ValueError, match="broken"):
            async with turns.turn():
                raise ValueError("broken")
        async with asyncio.timeout(1), turns.turn():
            pass

    asyncio.run(live())
