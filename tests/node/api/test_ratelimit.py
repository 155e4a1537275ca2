"""The rate limit: bursts pass, floods do not, and its memory is bounded."""

from node.api.ratelimit import ADDRESSES_MAX, RateLimit


def test_a_burst_passes_and_one_more_does_not() -> None:
    limit = RateLimit(burst=5, per_second=2)
    assert [limit.allows("a", 0) for _ in range(6)] == [True] * 5 + [False]


def test_time_refills_the_bucket_and_no_further_than_full() -> None:
    limit = RateLimit(burst=2, per_second=2)
    assert [limit.allows("a", 0) for _ in range(3)] == [True, True, False]
    assert not limit.allows("a", 499)
    assert limit.allows("a", 500)
    assert [limit.allows("a", 1_000_000) for _ in range(3)] == [True, True, False]


def test_one_address_does_not_use_up_anothers_share() -> None:
    limit = RateLimit(burst=1, per_second=1)
    assert limit.allows("a", 0)
    assert not limit.allows("a", 0)
    assert limit.allows("b", 0)


def test_only_so_many_addresses_are_remembered() -> None:
    limit = RateLimit(burst=1, per_second=1)
    for number in range(ADDRESSES_MAX + 10):
        limit.allows(f"{number}", 0)
    assert limit.addresses_count == ADDRESSES_MAX
