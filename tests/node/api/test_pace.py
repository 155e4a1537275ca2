"""How slow a client is: seconds that bytes make good, and a time that a byte now and then does not lengthen."""

import asyncio

import pytest

from node.api.pace import RATE_MIN, RATE_SPARED, Pace, Reading


def test_seconds_pass_and_bytes_make_them_good() -> None:
    pace = Pace(100.0, rate=1_000)
    assert pace.behind_s(104.0) == 4.0
    pace.took(3_000, 104.0)
    assert pace.behind_s(104.0) == 1.0
    assert pace.late_s(10.0) == 113.0


def test_bytes_in_advance_make_nothing_good_but_what_is_allowed() -> None:
    for ahead_s in (0.0, 2.0):
        pace = Pace(100.0, rate=1_000, ahead_s=ahead_s)
        pace.took(1_000_000, 101.0)
        assert pace.behind_s(101.0) == -ahead_s
        assert pace.behind_s(105.0) == 4.0 - ahead_s


def test_a_byte_now_and_then_makes_as_good_as_nothing_good() -> None:
    pace = Pace(0.0)
    for second in range(0, 60, 4):
        pace.took(1, float(second))
    assert pace.behind_s(60.0) > 59.9
    assert RATE_MIN < RATE_SPARED


def test_a_reading_has_a_time_for_all_of_it_and_none_passes_while_it_waits_for_us() -> None:
    async def scenario() -> None:
        reading = Reading(whole_s=0.05, stall_s=60.0)
        await asyncio.sleep(0.1)
        reading.go_on()
        with pytest.raises(TimeoutError):
            async with reading.limits():
                reading.pause()
                await asyncio.sleep(0.1)
                reading.go_on()
                while True:
                    reading.took(RATE_SPARED)
                    await asyncio.sleep(0)
        assert not reading.is_displaced

    asyncio.run(scenario())


def test_a_reading_that_falls_behind_ends_before_its_time() -> None:
    async def scenario() -> None:
        reading = Reading(whole_s=3_600.0, stall_s=0.05)
        reading.go_on()
        with pytest.raises(TimeoutError):
            async with reading.limits():
                while True:
                    reading.took(1)
                    await asyncio.sleep(0.001)

    asyncio.run(scenario())


def test_a_reading_that_is_displaced_ends_at_once_and_says_so() -> None:
    async def scenario() -> None:
        before, within = (Reading(whole_s=3_600.0, stall_s=3_600.0) for _ in range(2))
        before.go_on()
        before.displace()
        for reading in (before, within):
            with pytest.raises(TimeoutError):
                async with reading.limits():
                    reading.go_on()
                    reading.displace()
                    await asyncio.Event().wait()
            assert reading.is_displaced
            # After its end nothing of it is left to be ended.
            reading.displace()

    asyncio.run(scenario())
