"""What validators let out about themselves: clocks by their fresh proposals, how far they are, and who is silent."""

from dataclasses import replace

import pytest

from ledger.encoding.keys import PrivateKey
from ledger.rules.blocks import Header
from ledger.rules.certificates import NOTARIZE, Subject, Validator, ValidatorSet, Vote
from node.consensus.messages import IDLE, StatusMessage, VoteMessage
from node.replica.heard import HELD_BACK_MAX_MS, RESENT_MS, SILENT_MS, TIME_STALE_MS, Heard

MEMBERS = ("a", "b", "c", "d")
VALIDATORS = ValidatorSet(
    tuple(Validator(member, PrivateKey.from_seed(member.encode() * 32).public) for member in MEMBERS)
)
WALL_MS = 1_800_000_000_000
PARENT_MS = WALL_MS - 10_000_000


class Clocks:
    """Both clocks of a node, moved by the test."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000
        self.step_ms = 0

    def wall_ms(self) -> int:
        return WALL_MS + self.now_ms + self.step_ms

    def monotonic_ms(self) -> int:
        return self.now_ms


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def heard(clocks: Clocks) -> Heard:
    heard = Heard(VALIDATORS, clocks)
    clocks.now_ms += RESENT_MS
    return heard


def header(clocks: Clocks, view: int, *, offset_ms: int, proposer: str = "b", epoch: int = 0) -> Header:
    """Return the header of a block that a validator proposes now, by a clock that is so far ahead."""
    empty = bytes(32)
    return Header(
        version=1,
        suite=1,
        chain_id=empty,
        epoch=epoch,
        height=view,
        view=view,
        parent_hash=empty,
        history_root=empty,
        transactions_root=empty,
        state_root=empty,
        validators_hash=empty,
        next_validators_hash=None,
        time_ms=clocks.wall_ms() + offset_ms,
        proposer=proposer,
    )


def propose(heard: Heard, clocks: Clocks, view: int, *, offset_ms: int, late_ms: int = 0) -> None:
    made = header(clocks, view, offset_ms=offset_ms)
    clocks.now_ms += late_ms
    heard.note_proposal("b", made, view, PARENT_MS)


def test_a_clock_that_is_ahead_is_known_by_one_proposal(heard: Heard, clocks: Clocks) -> None:
    propose(heard, clocks, 1, offset_ms=7_000)
    assert heard.clock_offsets_ms() == {"b": 7_000}


def test_a_clock_that_is_behind_takes_two_proposals(heard: Heard, clocks: Clocks) -> None:
    propose(heard, clocks, 1, offset_ms=-7_000)
    assert heard.clock_offsets_ms() == {}
    propose(heard, clocks, 2, offset_ms=-7_000)
    assert heard.clock_offsets_ms() == {"b": -7_000}


def test_one_suffices_where_no_link_holds_back_so_long(heard: Heard, clocks: Clocks) -> None:
    propose(heard, clocks, 1, offset_ms=-HELD_BACK_MAX_MS)
    assert heard.clock_offsets_ms() == {}
    propose(heard, clocks, 2, offset_ms=-HELD_BACK_MAX_MS - 1)
    assert heard.clock_offsets_ms()["b"] <= -HELD_BACK_MAX_MS


def test_what_waited_on_its_way_is_outweighed_by_what_did_not(heard: Heard, clocks: Clocks) -> None:
    propose(heard, clocks, 1, offset_ms=0, late_ms=20_000)
    propose(heard, clocks, 2, offset_ms=0, late_ms=5)
    assert heard.clock_offsets_ms() == {"b": -5}


def test_the_same_proposal_again_says_nothing(heard: Heard, clocks: Clocks) -> None:
    made = header(clocks, 3, offset_ms=0)
    heard.note_proposal("b", made, 3, PARENT_MS)
    clocks.now_ms += 9_000
    heard.note_proposal("b", made, 3, PARENT_MS)
    heard.note_proposal("b", header(clocks, 2, offset_ms=-9_000), 2, PARENT_MS)
    propose(heard, clocks, 4, offset_ms=0)
    assert heard.clock_offsets_ms() == {"b": 0}


def test_what_a_peer_sends_again_as_it_comes_says_nothing(heard: Heard, clocks: Clocks) -> None:
    heard.peer_up("b")
    for view in (1, 2, 3):
        propose(heard, clocks, view, offset_ms=-240_000)
    clocks.now_ms += RESENT_MS
    heard.note_proposal("b", header(clocks, 3, offset_ms=-240_000), 3, PARENT_MS)
    assert heard.clock_offsets_ms() == {}
    propose(heard, clocks, 4, offset_ms=3)
    assert heard.clock_offsets_ms() == {"b": 3}


@pytest.mark.parametrize("parent_ms", [None, "at", "above"])
def test_a_time_that_follows_from_the_parents_says_nothing(
    heard: Heard, clocks: Clocks, parent_ms: str | None
) -> None:
    made = header(clocks, 1, offset_ms=7_000)
    times = {None: None, "at": made.time_ms - 1, "above": made.time_ms + 5}
    heard.note_proposal("b", made, 1, times[parent_ms])
    assert heard.clock_offsets_ms() == {}


def test_only_a_peers_own_proposals_of_its_own_view_count(heard: Heard, clocks: Clocks) -> None:
    made = header(clocks, 5, offset_ms=7_000, proposer="c")
    heard.note_proposal("b", made, 5, PARENT_MS)
    heard.note_proposal("c", made, 6, PARENT_MS)
    heard.note_proposal("stranger", replace(made, proposer="stranger"), 5, PARENT_MS)
    assert heard.clock_offsets_ms() == {}
    heard.note_proposal("c", made, 5, PARENT_MS)
    assert heard.clock_offsets_ms() == {"c": 7_000}


def test_a_clock_of_which_nothing_was_heard_for_long_is_not_known(heard: Heard, clocks: Clocks) -> None:
    propose(heard, clocks, 1, offset_ms=7_000)
    clocks.now_ms += TIME_STALE_MS - 1
    assert heard.clock_offsets_ms() == {"b": 7_000}
    clocks.now_ms += 1
    assert heard.clock_offsets_ms() == {}


def test_our_own_clock_may_be_set_meanwhile(heard: Heard, clocks: Clocks) -> None:
    propose(heard, clocks, 1, offset_ms=7_000)
    clocks.step_ms = 7_000
    assert heard.clock_offsets_ms() == {}  # Zero, and by one proposal only.
    clocks.step_ms = -1_000
    assert heard.clock_offsets_ms() == {"b": 8_000}


def test_a_new_epoch_goes_on_from_what_was_known_of_who_stays(heard: Heard, clocks: Clocks) -> None:
    propose(heard, clocks, 900, offset_ms=7_000)
    heard.begin(ValidatorSet(VALIDATORS.validators[:2]))
    assert heard.clock_offsets_ms() == {"b": 7_000}
    heard.note_proposal("b", header(clocks, 1, offset_ms=9_000, epoch=1), 1, PARENT_MS)
    assert heard.clock_offsets_ms() == {"b": 9_000}
    heard.begin(ValidatorSet(VALIDATORS.validators[2:]))
    assert heard.clock_offsets_ms() == {}


def say(heard: Heard, peer: str, epoch: int, view: int) -> None:
    heard.note_message(peer, StatusMessage(epoch, view, view + 1, IDLE))


def test_how_far_others_are_is_what_two_of_four_say(heard: Heard) -> None:
    assert heard.known_final() == (0, 0)
    say(heard, "b", 9, 2**50)
    assert heard.known_final() == (0, 0)
    say(heard, "c", 1, 17)
    say(heard, "d", 1, 12)
    assert heard.known_final() == (1, 17)
    say(heard, "stranger", 9, 9)
    assert heard.known_final() == (1, 17)


def test_who_does_not_vote_is_silent_after_a_while(heard: Heard, clocks: Clocks) -> None:
    for peer in MEMBERS:
        heard.peer_up(peer)
    clocks.now_ms += SILENT_MS
    assert heard.silent(MEMBERS) == ()
    vote = Vote(Subject(NOTARIZE, 0, 1, 0, bytes(32)), 1, bytes(64))
    heard.note_message("b", VoteMessage(vote))
    clocks.now_ms += 1
    assert heard.silent(MEMBERS) == ("a", "c", "d")
    assert heard.silent(("a", "b", "stranger")) == ("a",)
