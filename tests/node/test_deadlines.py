"""When a node must act next, and what it looks at for it: the quick ways give what the plain ones give.

Rule 1: after each event a node asks when it is due. What answers that looks at as little as it can, remembers what it
found, and asks the cheap questions first. The plain twins here list everything, each time anew.
Rule 2: they are compared wherever a simulated node asks, through histories with crashes, liars and snapshots, and over
states drawn at random.
"""

from collections import Counter
from types import SimpleNamespace
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.rules.certificates import NOTARIZE
from node.consensus.core import Simplex
from node.consensus.messages import IDLE
from node.consensus.pacemaker import Pacemaker
from node.consensus.resolver import PendingRequest, Resolver
from node.consensus.rounds import FinalizedTip, Round, Rounds
from node.sync.snapshot import Phase
from node.sync.sources import Sources
from node.sync.sync import Sync
from tests.campaigns.simulation.core.signatures import make_validators
from tests.campaigns.simulation.whole import world
from tests.campaigns.simulation.whole.schedule import plan
from tests.node.consensus.test_image import make_observer

CHAIN_VIEWS_MAX = 12
MOMENTS = st.integers(0, 40)

# The plain twins.


def least(times: list[int | None]) -> int | None:
    return min((each for each in times if each is not None), default=None)


def plain_parts(core: Simplex) -> dict[str, int | None]:
    """Return each part's deadline."""
    return {
        "pacemaker": plain_pacemaker(core._pacemaker, core._now_ms),
        "voter": core._voter.next_deadline_ms(),
        "resolver": plain_resolver(core._resolver),
        "startup": core._startup.next_deadline_ms(),
        "standstill": core._standstill_at_ms,
    }


def plain_deadline(core: Simplex) -> int | None:
    return None if core._me is None else least([*plain_parts(core).values()])


def plain_pacemaker(pacemaker: Pacemaker, now_ms: int) -> int | None:
    if pacemaker._me is None:
        return pacemaker._status_at_ms
    times = pacemaker._round_deadlines(pacemaker._rounds.current, now_ms)
    times += (pacemaker._status_at_ms, pacemaker._heartbeat_at_ms)
    if pacemaker._unfinalized_since_ms is not None:
        times.append(pacemaker._unfinalized_since_ms + pacemaker._config.finality_wait_ms)
    times += [pace.stale_at_ms for pace in pacemaker._paces.values() if pace.pace != IDLE]
    return least([each for each in times if each is not None and each > now_ms])


def plain_resolver(resolver: Resolver) -> int | None:
    requests = [*resolver._blocks.values(), *(resolver._certificates.values() if resolver._peers_up else ())]
    return least([each.ask_at_ms for each in requests])


def plain_above(rounds: Rounds) -> list[Round]:
    return [rounds._rounds[view] for view in sorted(rounds._rounds) if view > rounds.finalized.view]


def plain_claim(sources: Sources, now_ms: int) -> int:
    asked = [each for each in sources._sources.values() if each.aside_until_ms <= now_ms]
    return max([each.claimed_height for each in asked], default=0)


def plain_active(sync: Sync, now_ms: int) -> bool:
    is_short = plain_claim(sync._sources, now_ms) > sync._chain.tip.header.height
    return any([sync._host.is_behind(), is_short, sync._snapshot.phase is not Phase.NONE, sync.has_slice])


# In histories of whole nodes.


@pytest.mark.slow
@pytest.mark.parametrize("seed", [5, 29])
def test_in_every_history_a_node_is_due_when_the_plain_way_says(seed: int) -> None:
    wrong: list[str] = []
    asked, first = Counter[str](), Counter[str]()
    deadline, above, claim, active = (
        Simplex.next_deadline_ms,
        Rounds.above_finalized,
        Sources.highest_claim,
        Sync.is_active,
    )

    def note(what: str, found: object, expected: object) -> None:
        asked[what] += 1
        if found != expected:
            wrong.append(f"{what}: {found}, plainly {expected}")

    def deadline_of(core: Simplex) -> int | None:
        found, parts = deadline(core), plain_parts(core)
        note("deadline", found, plain_deadline(core))
        note("pacemaker", core._pacemaker.next_deadline_ms(core._now_ms), parts["pacemaker"])
        note("resolver", core._resolver.next_deadline_ms(), parts["resolver"])
        note("current", core._rounds.current is core._rounds.at(core._rounds.current_view), True)
        first.update(name for name, each in parts.items() if each is not None and each == found)
        return found

    def above_of(rounds: Rounds) -> list[Round]:
        found = above(rounds)
        note("above finality", [each.view for each in found], [each.view for each in plain_above(rounds)])
        return found

    def claim_of(sources: Sources, now_ms: int) -> int:
        found = claim(sources, now_ms)
        note("claim", found, plain_claim(sources, now_ms))
        return found

    def active_of(sync: Sync, now_ms: int) -> bool:
        found = active(sync, now_ms)
        note(f"active: {found}", found, plain_active(sync, now_ms))
        return found

    with (
        mock.patch.object(Simplex, "next_deadline_ms", deadline_of),
        mock.patch.object(Rounds, "above_finalized", above_of),
        mock.patch.object(Sources, "highest_claim", claim_of),
        mock.patch.object(Sync, "is_active", active_of),
    ):
        world.run(plan(seed, validators_count=4))
    assert wrong[:5] == []
    # Each was asked often, and each part of a core was what it was due for at some time: none is compared in vain.
    assert min(asked[name] for name in ("deadline", "pacemaker", "resolver", "current")) > 5_000
    assert min(asked[name] for name in ("above finality", "claim", "active: True", "active: False")) > 100
    assert set(first) == {"pacemaker", "voter", "resolver", "startup", "standstill"}, first


# Over states drawn at random.


@given(st.sets(st.integers(1, CHAIN_VIEWS_MAX)), st.integers(0, CHAIN_VIEWS_MAX))
def test_rounds_above_finality_are_those_that_the_plain_way_finds(views: set[int], final_view: int) -> None:
    rounds = Rounds(make_validators(4), 0, FinalizedTip(0, bytes(32), None))
    for view in sorted(views, reverse=True):
        rounds.at(view)
    rounds.finalized = FinalizedTip(final_view, bytes(32), None)
    rounds.current_view = final_view + 1
    found = rounds.above_finalized()
    assert found == plain_above(rounds) and [each.view for each in found] == sorted(
        view for view in views if view > final_view
    )
    before = len(rounds)
    assert rounds.current is rounds.at(rounds.current_view) is rounds.current
    assert len(rounds) == before + (rounds.current_view not in views), "asked for again, none is made"


@given(st.lists(MOMENTS), st.lists(MOMENTS), st.booleans())
def test_a_request_is_repeated_when_the_plain_way_says(
    blocks: list[int], certificates: list[int], has_peer: bool
) -> None:
    resolver = make_observer()._resolver
    resolver._blocks = {view: PendingRequest(ask_at_ms, 0) for view, ask_at_ms in enumerate(blocks)}
    resolver._certificates = {
        (view, NOTARIZE): PendingRequest(ask_at_ms, 0) for view, ask_at_ms in enumerate(certificates)
    }
    if has_peer:
        resolver.connect(1)
    assert resolver.next_deadline_ms() == plain_resolver(resolver)


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcde"), st.integers(0, 9), st.sampled_from(["claim", "stall", "lie", "leave"])
        )
    ),
    st.integers(0, 90_000),
)
def test_the_highest_claim_is_what_the_plain_way_finds(told: list[tuple[str, int, str]], now_ms: int) -> None:
    sources = Sources(lambda _peer, _reason: None)
    for moment, (peer, height, what) in enumerate(told):
        sources.add(peer)
        sources.note_claim(peer, tip_height=height)
        match what:
            case "stall":
                sources.stalled(peer, moment * 10_000, "blocks")
                sources.note_ahead(peer, height)
            case "lie":
                sources.lied(peer, moment * 10_000, ValueError("a lie"))
                sources.note_ahead(peer, height)
            case "leave":
                sources.remove(peer)
            case _:
                pass
    assert sources.highest_claim(now_ms) == plain_claim(sources, now_ms)


@pytest.mark.parametrize("is_behind", [False, True])
@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("claimed_height", [0, 7, 8])
@pytest.mark.parametrize("is_ready", [False, True])
def test_a_node_catches_up_for_any_one_reason_as_the_plain_way_says(
    is_behind: bool, phase: Phase, claimed_height: int, is_ready: bool
) -> None:
    sources = Sources(lambda _peer, _reason: None)
    sources.add("a")
    sources.note_claim("a", tip_height=claimed_height)
    sync = Sync.__new__(Sync)
    parts = {
        "_sources": sources,
        "_host": SimpleNamespace(is_behind=lambda: is_behind),
        "_chain": SimpleNamespace(tip=SimpleNamespace(header=SimpleNamespace(height=7))),
        "_snapshot": SimpleNamespace(phase=phase, is_ready=is_ready and phase is Phase.INSTALL),
        "_blocks": SimpleNamespace(is_ready=is_ready),
    }
    for name, part in parts.items():
        setattr(sync, name, part)
    expected = is_behind or phase is not Phase.NONE or claimed_height > 7 or is_ready
    assert sync.is_active(1) == plain_active(sync, 1) == expected


def test_the_twins_are_no_copies_of_what_they_are_compared_with() -> None:
    """What they must notice: the least of some parts only, and a claim of whoever is aside."""
    sources = Sources(lambda _peer, _reason: None)
    for peer, height in (("a", 3), ("b", 9)):
        sources.add(peer)
        sources.note_claim(peer, tip_height=height)
    sources.stalled("b", 0, "blocks")
    sources.note_ahead("b", 9)
    assert (plain_claim(sources, 1), plain_claim(sources, 30_000)) == (3, 9)
    core = make_observer()
    core._resolver._blocks[1] = PendingRequest(7, 0)
    assert plain_resolver(core._resolver) == 7
    assert plain_deadline(core) is None, "an observer's core is due for nothing"
