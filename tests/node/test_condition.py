"""A node's condition is a function of what it sees: a table of situations, and properties of all of them."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.condition import (
    AMNESIA,
    ASKING,
    ASKING_PATIENCE_MS,
    BEHIND,
    CHAIN_MISSING,
    CLOCK_DIFFERENCE_MS,
    CLOCKS_DISAGREE,
    CODES,
    DISK_FULL,
    DISK_FULL_SIZE,
    DISK_LOW,
    DISK_LOW_SIZE,
    FINALITY_PATIENCE_MS,
    FIRST_BLOCK,
    KEY_MISSING,
    KEY_MISUSED,
    LARGE_PACKETS_LOST,
    NO_FINALITY,
    NO_QUORUM,
    QUORUM_PATIENCE_MS,
    RULES_UNKNOWN,
    STALLED_PATIENCE_MS,
    SYNC_STALLED,
    WELL,
    Observations,
    judge,
    show_lasting,
)

FOUR = ("a", "b", "c", "d")
NOW_MS = 10_000_000
HOUR_MS = 3_600_000
# A validator among four that are all there, a second after a block.
GOOD = Observations(
    member="a",
    now_ms=NOW_MS,
    validators=FOUR,
    is_validator=True,
    final_ms=NOW_MS - 1_000,
    height=7,
    known_height=7,
    disk_free_size=2 * DISK_LOW_SIZE,
)
OBSERVER = replace(GOOD, member="auditor", is_validator=False)
TWO_GONE = replace(
    GOOD,
    down_since_ms={"c": NOW_MS - 286_000, "d": NOW_MS - 285_000},
    below_quorum_since_ms=NOW_MS - 285_000,
    final_ms=NOW_MS - 286_000,
)

LACKS_KEY: dict[str, Any] = {"lacks": "its key", "lack_cure": "Put it back.", "lacks_key": True}

# What is seen, the codes that it means, and what the node then waits for (None: it is ready).
SITUATIONS: dict[str, tuple[Observations, tuple[str, ...], str | None]] = {
    "all is well": (GOOD, (), None),
    "an observer": (OBSERVER, (), None),
    "one of four is gone": (replace(GOOD, down_since_ms={"d": 0}), (), None),
    "two of four are gone": (TWO_GONE, (NO_QUORUM,), "a quorum"),
    "two of four fell away a moment ago": (
        replace(TWO_GONE, below_quorum_since_ms=NOW_MS - QUORUM_PATIENCE_MS + 1, final_ms=NOW_MS - 5_000),
        (),
        None,
    ),
    "two of four fell away three seconds ago": (
        replace(TWO_GONE, below_quorum_since_ms=NOW_MS - QUORUM_PATIENCE_MS, final_ms=NOW_MS - 5_000),
        (NO_QUORUM,),
        "a quorum",
    ),
    "the others have a quorum and tell what is final": (
        replace(TWO_GONE, final_ms=NOW_MS - 11_000),
        (),
        None,
    ),
    "the others had a quorum, and tell nothing any more": (
        replace(TWO_GONE, final_ms=NOW_MS - 12_000),
        (NO_QUORUM,),
        "a quorum",
    ),
    "just started, alone": (
        replace(TWO_GONE, final_ms=None, began_ms=NOW_MS - 4_000, below_quorum_since_ms=NOW_MS - 4_000),
        (NO_QUORUM,),
        "a quorum",
    ),
    "an observer whose validators stand still": (
        replace(OBSERVER, down_since_ms={"c": 0, "d": 0}, below_quorum_since_ms=0, final_ms=NOW_MS - 30_000),
        (NO_FINALITY,),
        "new final blocks",
    ),
    "an observer with one peer that serves it": (
        replace(OBSERVER, down_since_ms={"b": 0, "c": 0, "d": 0}, below_quorum_since_ms=0),
        (),
        None,
    ),
    "nothing final for a little less than the patience": (
        replace(GOOD, final_ms=NOW_MS - FINALITY_PATIENCE_MS + 1),
        (),
        None,
    ),
    "nothing final for the patience": (
        replace(GOOD, final_ms=NOW_MS - FINALITY_PATIENCE_MS),
        (NO_FINALITY,),
        "new final blocks",
    ),
    "heartbeats are rare here": (replace(GOOD, final_ms=NOW_MS - 80_000, heartbeat_ms=30_000), (), None),
    "amnesia": (
        replace(GOOD, observes_since_ms=NOW_MS - 100, until_view=9, finalized_view=7),
        (AMNESIA,),
        "the end of its amnesia",
    ),
    "the question is a moment old": (
        replace(GOOD, asks_since_ms=NOW_MS - ASKING_PATIENCE_MS + 1, unanswered=("b", "c")),
        (),
        None,
    ),
    "the question is not answered": (
        replace(GOOD, asks_since_ms=NOW_MS - ASKING_PATIENCE_MS, unanswered=("b", "c")),
        (ASKING,),
        "answers about its own votes",
    ),
    "no block yet": (replace(GOOD, has_first_block=False), (FIRST_BLOCK,), "the first final block"),
    "behind": (
        replace(GOOD, is_behind=True, known_height=142),
        (BEHIND,),
        "the blocks that others have made final",
    ),
    "behind, and nothing comes": (
        replace(GOOD, is_behind=True, stalled_ms=STALLED_PATIENCE_MS),
        (BEHIND, SYNC_STALLED),
        "the blocks that others have made final",
    ),
    "another clock": (replace(GOOD, clock_offsets_ms={"b": CLOCK_DIFFERENCE_MS}), (CLOCKS_DISAGREE,), None),
    "a clock that differs a little": (
        replace(GOOD, clock_offsets_ms={"b": CLOCK_DIFFERENCE_MS - 1, "c": 1 - CLOCK_DIFFERENCE_MS}),
        (),
        None,
    ),
    "two of four clocks two hours ahead": (
        replace(
            GOOD,
            clock_offsets_ms={"c": 2 * HOUR_MS, "d": 2 * HOUR_MS, "b": 3},
            final_ms=NOW_MS - FINALITY_PATIENCE_MS,
        ),
        (NO_FINALITY, CLOCKS_DISAGREE),
        "new final blocks",
    ),
    "the key elsewhere": (replace(GOOD, key_misused_how="a vote", key_misused_count=1), (KEY_MISUSED,), None),
    "no key": (
        replace(GOOD, is_validator=False, down_since_ms={"a": 0}, **LACKS_KEY),
        (KEY_MISSING,),
        None,
    ),
    "blocks that this home had": (
        replace(GOOD, is_validator=False, lacks="blocks", lack_cure="Wait.", is_lack_waited_out=True),
        (CHAIN_MISSING,),
        "blocks",
    ),
    "blocks of later epochs": (
        replace(GOOD, is_validator=False, lacks="blocks", lack_cure="Wait."),
        (CHAIN_MISSING,),
        None,
    ),
    "rules are announced that it does not know": (
        replace(GOOD, unknown_protocol=2, protocol_height=900, height=898),
        (RULES_UNKNOWN,),
        None,
    ),
    "large packets are lost": (replace(GOOD, swallowing=("b",)), (LARGE_PACKETS_LOST,), None),
    "the disk is low": (replace(GOOD, disk_free_size=DISK_LOW_SIZE - 1), (DISK_LOW,), None),
    "the disk is low enough": (replace(GOOD, disk_free_size=DISK_LOW_SIZE), (), None),
    "the disk is full": (replace(GOOD, disk_free_size=DISK_FULL_SIZE - 1), (DISK_FULL,), "room on its disk"),
    "the disk is nearly full": (replace(GOOD, disk_free_size=DISK_FULL_SIZE), (DISK_LOW,), None),
    "the disk cannot be asked": (replace(GOOD, disk_free_size=None), (), None),
    "one validator alone": (
        Observations(member="a", now_ms=NOW_MS, validators=("a",), is_validator=True, final_ms=NOW_MS),
        (),
        None,
    ),
}


@pytest.mark.parametrize(("seen", "codes", "waits_for"), SITUATIONS.values(), ids=SITUATIONS)
def test_a_situation_has_its_troubles(
    seen: Observations, codes: tuple[str, ...], waits_for: str | None
) -> None:
    condition = judge(seen)
    assert tuple(each.code for each in condition.troubles) == codes
    assert condition.state == (codes[0] if codes else WELL)
    if waits_for is None:
        assert condition.waits_for is None
    else:
        assert (condition.waits_for or "").startswith(f"{waits_for}: ")


def test_every_trouble_has_a_situation() -> None:
    assert {code for _, codes, _ in SITUATIONS.values() for code in codes} == set(CODES)


def test_a_lost_quorum_is_said_with_who_is_missing_and_since_when() -> None:
    trouble = judge(TWO_GONE).find(NO_QUORUM)
    assert trouble is not None
    assert trouble.found == (
        "connected 2 of 4 validators, needs 3; missing c for 4 min 46 s, d for 4 min 45 s; "
        "last final block 4 min 46 s ago"
    )


def test_a_standstill_names_who_does_not_vote() -> None:
    seen = replace(GOOD, final_ms=NOW_MS - 60_000, silent=("d", "c"))
    assert "no vote came from c, d" in (judge(seen).waits_for or "")
    assert "vote came" not in (judge(replace(seen, silent=())).waits_for or "")


@pytest.mark.parametrize(
    ("offsets", "told"),
    [
        ({"b": 7_200_000}, "b 2 h 0 min ahead"),
        ({"b": -7_200_000}, "clocks differ from this node's, with which 3 of 4 agree: b 2 h 0 min behind"),
        (
            {"b": 5_000, "c": 5_100, "d": 5_050},
            "this node's clock is 5 s behind 3 others, which agree: b 5 s ahead",
        ),
        (
            {"b": -5_000, "c": -5_100, "d": -5_050},
            "this node's clock is 5 s ahead of 3 others, which agree: b 5 s behind",
        ),
        ({"b": 90_000, "c": 90_000, "d": 0}, "no quorum of clocks agrees"),
        ({"b": 90_000, "c": -90_000, "d": 0}, "no quorum of clocks agrees"),
        ({"b": 90_000, "c": -90_000, "d": 400_000}, "no quorum of clocks agrees"),
    ],
)
def test_it_says_whose_clock_is_wrong(offsets: dict[str, int], told: str) -> None:
    trouble = judge(replace(GOOD, clock_offsets_ms=offsets)).find(CLOCKS_DISAGREE)
    assert trouble is not None and told in trouble.found
    for member, offset_ms in offsets.items():
        assert (f"{member} " in trouble.found) == (abs(offset_ms) >= CLOCK_DIFFERENCE_MS)


def test_it_is_an_error_of_the_clocks_only_where_this_node_or_a_quorum_is_concerned() -> None:
    found = [
        judge(replace(GOOD, clock_offsets_ms=offsets)).troubles[0].is_error
        for offsets in ({"b": 9_000}, {"b": 9_000, "c": 9_000}, {"b": 9_000, "c": 9_000, "d": 9_000})
    ]
    assert found == [False, True, True]


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (119_999, "119 s"),
        (120_000, "2 min 0 s"),
        (286_000, "4 min 46 s"),
        (7_199_999, "119 min 59 s"),
        (7_200_000, "2 h 0 min"),
        (172_799_999, "47 h 59 min"),
        (176_400_000, "2 d 1 h"),
    ],
)
def test_durations_are_for_people(milliseconds: int, shown: str) -> None:
    assert show_lasting(milliseconds) == shown


TIMES = st.integers(0, NOW_MS)
MEMBERS = st.sampled_from((*FOUR, "e", "f", "g"))
OBSERVED = st.builds(
    Observations,
    member=st.sampled_from(("a", "auditor")),
    now_ms=st.just(NOW_MS),
    began_ms=TIMES,
    heartbeat_ms=st.integers(1, 60_000),
    validators=st.sampled_from((("a",), FOUR, (*FOUR, "e"), (*FOUR, "e", "f", "g"))),
    is_validator=st.booleans(),
    lacks=st.none() | st.just("blocks"),
    lack_cure=st.just("Wait."),
    lacks_key=st.booleans(),
    is_lack_waited_out=st.booleans(),
    down_since_ms=st.dictionaries(MEMBERS, TIMES),
    below_quorum_since_ms=st.none() | TIMES,
    silent=st.lists(MEMBERS, unique=True),
    final_ms=st.none() | TIMES,
    has_first_block=st.booleans(),
    is_behind=st.booleans(),
    height=st.integers(0, 2**53),
    known_height=st.integers(0, 2**53),
    stalled_ms=st.integers(0, 100_000),
    asked=st.lists(MEMBERS, unique=True),
    asks_since_ms=st.none() | TIMES,
    unanswered=st.lists(MEMBERS, unique=True, max_size=3),
    observes_since_ms=st.none() | TIMES,
    until_view=st.integers(0, 2**53),
    finalized_view=st.integers(0, 2**53),
    clock_offsets_ms=st.dictionaries(MEMBERS, st.integers(-(10**12), 10**12)),
    disk_free_size=st.none() | st.integers(0, 2**50),
    key_misused_how=st.none() | st.just("a vote"),
    swallowing=st.lists(MEMBERS, unique=True),
)


@given(OBSERVED)
def test_whatever_is_seen_the_condition_is_one_and_says_what_to_do(seen: Observations) -> None:
    condition = judge(seen)
    codes = [each.code for each in condition.troubles]
    assert condition == judge(replace(seen))
    assert codes == sorted(set(codes), key=CODES.index)
    assert (condition.state == WELL) == (not codes)
    assert (condition.waits_for is None) == all(each.waits_for is None for each in condition.troubles)
    for each in condition.troubles:
        assert each.found and each.cure.endswith((".", "forgot."))
        assert condition.find(each.code) == each


@given(OBSERVED)
def test_what_only_an_operator_must_see_never_costs_readiness(seen: Observations) -> None:
    quiet = replace(
        seen,
        clock_offsets_ms={},
        key_misused_how=None,
        lacks=seen.lacks if seen.is_lack_waited_out and not seen.lacks_key else None,
        swallowing=(),
        stalled_ms=0,
        disk_free_size=None if seen.disk_free_size is None else max(seen.disk_free_size, DISK_LOW_SIZE),
    )
    is_full = seen.disk_free_size is not None and seen.disk_free_size < DISK_FULL_SIZE
    assert (judge(seen).waits_for is None) == (judge(quiet).waits_for is None and not is_full)


@given(OBSERVED)
def test_who_is_connected_is_counted_once_and_never_an_observer(seen: Observations) -> None:
    assert set(seen.connected) <= set(seen.validators) - set(seen.down_since_ms)
    assert (seen.member in seen.connected) <= seen.is_validator
