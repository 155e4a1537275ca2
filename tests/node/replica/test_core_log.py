"""The core log: from what a node's core was told, its decisions are made again, elsewhere and later."""

import errno
import json
import logging
import os
import pickle
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from click.testing import CliRunner

from cli.node import node as node_commands
from ledger.encoding.codec import Value, decode, encode
from ledger.encoding.keys import PrivateKey
from ledger.encoding.records import pack
from ledger.rules.certificates import NULLIFY, Subject, Vote
from node.consensus.core import Simplex
from node.consensus.effects import Effect
from node.consensus.events import Event, PeerUp, Received, Started
from node.consensus.image import CoreImage, take_image
from node.consensus.messages import VoteMessage
from node.home.repair import CORE_LOG
from node.replica import corelog
from node.replica.corelog import (
    FRAME_SIZE_MAX,
    MAGIC,
    SEGMENTS_MAX,
    CoreLog,
    CoreLogError,
    find_segments,
    read_frames,
)
from node.replica.corenotes import EFFECTS_MAX, Opening, Outcome, decode_note, encode_event, encode_note
from node.replica.engine import Engine
from node.replica.explain import Decision, open_segment, replay
from tests.campaigns.simulation.whole import machine, world
from tests.campaigns.simulation.whole.keys import signatures
from tests.campaigns.simulation.whole.schedule import plan
from tests.support.node_world import VALIDATORS, World, anchor_transaction

START_MS = 1_800_000_000_000
LARGE = 64 * 1024 * 1024


def run_world(directory: Path, *, segment_size_max: int = LARGE, blocks: int = 12) -> World:
    """Run four nodes that keep core logs, through a crash of one, and end them."""
    made = World(directory, segment_size_max=segment_size_max)
    for member in VALIDATORS:
        made.start(member)
    for number in range(blocks):
        made.nodes["hk-bureau"].submit(
            anchor_transaction(made.genesis, number, made.nodes["hk-bureau"].wall_ms())
        )
        made.run(400)
        if number == blocks // 2:
            made.kill("sz-operator")
            made.run(3_000)
            made.start("sz-operator")
            made.run(5_000)
    assert made.nodes["sz-operator"].store.tip().header.height >= blocks
    made.close()
    return made


def core_log(made: World, member: str) -> Path:
    return made.directory / member / "data" / CORE_LOG


def all_decisions(directory: Path) -> list[Decision]:
    return [decision for path in find_segments(directory) for decision in replay(path)]


def rewrite(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Put other frames into a segment, with checksums that fit."""
    frames = change(list(read_frames(path)))
    path.write_bytes(MAGIC + b"".join(map(framed, frames)))


def framed(content: bytes) -> bytes:
    return struct.pack(">II", len(content), zlib.crc32(content)) + content


def copy_of(ended: World, folder: Path) -> Path:
    """Return a segment of a node that ran, to be changed."""
    original = find_segments(core_log(ended, "hk-bureau"))[0]
    copied = folder / original.name
    copied.write_bytes(original.read_bytes())
    return copied


def first_event(frames: list[bytes]) -> int:
    """Return the index of the first event: it stands behind opening, core and rounds."""
    return 2 + decode_note(CoreImage, frames[1]).rounds_count


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Four nodes that ran and ended."""
    return run_world(tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize("member", VALIDATORS)
def test_every_decision_is_made_again(ended: World, member: str) -> None:
    paths = find_segments(core_log(ended, member))
    # A process, a segment: one node was killed and started again.
    assert len(paths) == (2 if member == "sz-operator" else 1)
    decisions = all_decisions(core_log(ended, member))
    assert [each.deviation for each in decisions if each.deviation or each.failure] == []
    effects = {type(effect).__name__ for each in decisions for effect in each.effects}
    assert {"Persist", "Broadcast", "Verify", "Certify", "Finalized"} <= effects
    assert sum(isinstance(each.event, Started) for each in decisions) == len(paths)
    opening = open_segment(paths[0]).opening
    assert (opening.member, opening.epoch) == (member, 0)
    assert opening.chain_id == ended.genesis.content.chain_id
    times = [each.time_ms for each in decisions]
    assert times == sorted(times) and times[0] >= START_MS


def test_segments_are_bounded_and_each_stands_alone(tmp_path: Path) -> None:
    size_max = 8_000
    made = run_world(tmp_path, segment_size_max=size_max)
    paths = find_segments(core_log(made, "hk-bureau"))
    assert len(paths) == SEGMENTS_MAX and paths[0].name != "segment-000000000001.log"
    assert all(path.stat().st_size < 4 * size_max for path in paths)
    for path in paths:
        assert path.stat().st_mode & 0o777 == 0o600
        decisions = list(replay(path))
        assert [each.deviation for each in decisions if each.deviation or each.failure] == []
    assert sum(len(list(replay(path))) for path in paths) > 100


def test_a_log_that_was_cut_ends_before_the_cut(ended: World, tmp_path: Path) -> None:
    original = find_segments(core_log(ended, "hk-bureau"))[0]
    cut = tmp_path / original.name
    cut.write_bytes(original.read_bytes()[:-3])
    # The last outcome is gone: its event is the last decision all the same, and nothing is held against it.
    decisions = list(replay(cut))
    assert len(decisions) == len(list(replay(original)))
    assert decisions[-1].deviation is None


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_damaged_frame_is_named_and_ends_the_replay(ended: World, tmp_path: Path, share: float) -> None:
    original = find_segments(core_log(ended, "hk-bureau"))[0].read_bytes()
    damaged = tmp_path / "segment-000000000001.log"
    place = len(MAGIC) + 8 + int(share * (len(original) - 64))
    damaged.write_bytes(original[:place] + bytes([original[place] ^ 1]) + original[place + 1 :])
    with pytest.raises(CoreLogError, match="byte"):
        list(replay(damaged))


def test_a_log_of_other_code_is_refused(ended: World, tmp_path: Path) -> None:
    other = copy_of(ended, tmp_path)

    def of_other_code(frames: list[bytes]) -> list[bytes]:
        return [encode_note(replace(decode_note(Opening, frames[0]), code=bytes(32))), *frames[1:]]

    rewrite(other, of_other_code)
    with pytest.raises(CoreLogError, match="with the release that wrote it"):
        list(replay(other))


@pytest.mark.parametrize(
    ("start", "found"),
    [
        (b"LUOHU-CORE-LOG\x01", "version 1"),
        (b"LUOHU-CORE-LOG\x03", "version 3"),
        (b"LUOHU", "the first bytes of one"),
        (b"", "nothing"),
        (b"\x00\x00\x00\x10" + bytes(32), "a core log of an earlier release"),
        (b"\x80\x05.", "something else"),
    ],
)
def test_what_is_no_core_log_of_this_version_is_refused_with_a_cure(
    tmp_path: Path, start: bytes, found: str
) -> None:
    path = tmp_path / "segment-000000000001.log"
    path.write_bytes(start)
    with pytest.raises(CoreLogError) as refused:
        list(replay(path))
    assert found in refused.value.found and refused.value.cure


def test_what_came_out_otherwise_is_a_deviation(ended: World, tmp_path: Path) -> None:
    forged = copy_of(ended, tmp_path)

    def without_a_signature(frames: list[bytes]) -> list[bytes]:
        for number in range(first_event(frames) + 1, len(frames), 2):
            outcome = decode_note(Outcome, frames[number])
            if outcome.signatures:
                frames[number] = encode_note(Outcome(outcome.effects, ()))
                return frames
        raise AssertionError("a validator that never voted")

    rewrite(forged, without_a_signature)
    deviating = [each for each in replay(forged) if each.deviation is not None]
    assert deviating and "NotOnRecord" in (deviating[0].failure or "")


def test_the_event_that_ended_a_node_is_on_record(tmp_path: Path) -> None:
    made = World(tmp_path, segment_size_max=LARGE)
    node = made.start("hk-bureau")
    made.run(500)
    with pytest.raises(AssertionError, match="Started comes first"):
        node.driver.start()
    made.close()
    last = all_decisions(core_log(made, "hk-bureau"))[-1]
    assert isinstance(last.event, Started) and last.deviation is None
    assert last.failure is not None and "Started comes first" in last.failure


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = World(tmp_path, segment_size_max=LARGE)
    for member in VALIDATORS:
        made.start(member)
    made.run(500)
    recorder = made.nodes["hk-bureau"].core_log
    assert recorder is not None
    recorder.close()
    full = mock.Mock(**{"write.side_effect": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))})
    with caplog.at_level(logging.ERROR, logger="node.replica.corelog"):
        recorder._file = full
        before = made.nodes["hk-bureau"].store.tip().header.height
        made.nodes["hk-bureau"].submit(anchor_transaction(made.genesis, 1, made.nodes["hk-bureau"].wall_ms()))
        made.run(2_000)
    assert made.nodes["hk-bureau"].store.tip().header.height > before
    assert [record.message.split()[0] for record in caplog.records] == ["corelog.failed"]
    made.close()


# A log from somebody else: nothing in it is executed, and it is believed no further than it proves itself.


class _Calls:
    """What a forger would like a reader to call."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (self.path,)

    def __init__(self, path: str) -> None:
        self.path = path


# Each takes an attribute, a function or memory from a reader of pickles.
PICKLES = {
    "a class attribute": (b"\x80\x04cnode.consensus.core\nSimplex\nN}(\x8c\x0eloads_anything\x88u\x86b."),
    "memory": b"\x80\x04r\x00\x00\x00\x04N.",
    "a name": b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
}


@pytest.mark.parametrize("name", PICKLES)
@pytest.mark.parametrize("place", [0, 1, 2, 3, 4])
def test_a_pickle_is_no_frame(ended: World, tmp_path: Path, name: str, place: int) -> None:
    forged = copy_of(ended, tmp_path)
    rewrite(forged, lambda frames: [*frames[:place], PICKLES[name], *frames[place + 1 :]])
    before = set(vars(Simplex))
    with pytest.raises(CoreLogError):
        list(replay(forged))
    assert set(vars(Simplex)) == before


def test_reading_a_log_calls_nothing(ended: World, tmp_path: Path) -> None:
    target = tmp_path / "made by the reader"
    forged = copy_of(ended, tmp_path)
    rewrite(forged, lambda frames: [*frames[:1], pickle.dumps(_Calls(str(target))), *frames[2:]])
    with pytest.raises(CoreLogError):
        list(replay(forged))
    assert not target.exists()


@pytest.mark.parametrize("size", [FRAME_SIZE_MAX + 1, 2**31, 2**32 - 1])
def test_a_frame_is_not_read_past_its_limit(tmp_path: Path, size: int) -> None:
    path = tmp_path / "segment-000000000001.log"
    path.write_bytes(MAGIC + struct.pack(">II", size, 0) + bytes(64))
    tracemalloc.start()
    with pytest.raises(CoreLogError, match=f"at most {FRAME_SIZE_MAX} bytes"):
        list(replay(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * FRAME_SIZE_MAX


@pytest.mark.parametrize(
    "content",
    [
        b"\xdd\xff\xff\xff\xff",
        b"\xdc\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\x91" * 5_000,
        b"\xc6\x7f\xff\xff\xff",
    ],
)
def test_what_a_frame_only_claims_to_hold_takes_no_memory(
    ended: World, tmp_path: Path, content: bytes
) -> None:
    forged = copy_of(ended, tmp_path)
    for place in (0, 1, 2, 3):
        rewrite(forged, lambda frames, at=place: [*frames[:at], content, *frames[at + 1 :]])  # type: ignore[misc]
        tracemalloc.start()
        with pytest.raises(CoreLogError):
            list(replay(forged))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 16 * 1024 * 1024


def test_a_log_cannot_choose_what_verifies(ended: World, tmp_path: Path) -> None:
    """A vote that nobody signed is refused by the core, whatever the log holds: its reader gives it the check."""
    forged = copy_of(ended, tmp_path)

    def with_a_forged_vote(frames: list[bytes]) -> list[bytes]:
        last_ms = decode(frames[-2])
        assert isinstance(last_ms, tuple) and isinstance(last_ms[1], int)
        opening = decode_note(Opening, frames[0])
        image = decode_note(CoreImage, frames[1])
        others = [index for index in range(len(image.validators)) if index != image.me]
        vote = Vote(Subject(NULLIFY, opening.epoch, 10_000, None, None), others[0], bytes(64))
        views = [each.view for each in replay(forged)]
        vote = replace(vote, subject=replace(vote.subject, view=views[-1]))
        return [
            *frames,
            encode_event(Received(others[0], VoteMessage(vote)), last_ms[1]),
            encode_note(Outcome((), ())),
        ]

    rewrite(forged, with_a_forged_vote)
    last = list(replay(forged))[-1]
    assert "Punish" in {type(effect).__name__ for effect in last.effects}
    assert last.deviation is not None


def change_of(place: int, value: Value) -> Callable[[list[bytes]], list[bytes]]:
    """Return the change that puts a value into the core's state."""

    def change(frames: list[bytes]) -> list[bytes]:
        state = decode(frames[1])
        assert isinstance(state, tuple)
        return [frames[0], encode((*state[:place], value, *state[place + 1 :])), *frames[2:]]

    return change


# By the order of the fields of `CoreImage`.
STATES: dict[str, tuple[int, Value]] = {
    "no durations": (0, ()),
    "durations of nothing": (0, (0,) * 13),
    "a leader timeout of a year": (0, (2**40, *(1_000,) * 12)),
    "no validators": (1, ((),)),
    "one's index beyond them": (2, 63),
    "another epoch": (3, 7),
    "helped nobody": (15, ((63, 1),)),
    "punished nobody": (16, ((63, "bad-signature"),)),
    "a punishment of its own": (16, ((1, "os.system"),)),
    "more rounds than there are": (20, 2**53 - 1),
    "fewer rounds than there are": (20, 0),
    "text for a number": (13, "1"),
}


@pytest.mark.parametrize("name", STATES)
def test_a_state_that_no_core_has_is_refused_or_fails(ended: World, tmp_path: Path, name: str) -> None:
    forged = copy_of(ended, tmp_path)
    size = len(find_frames(forged))
    rewrite(forged, change_of(*STATES[name]))
    try:
        made = list(replay(forged))
    except CoreLogError as refused:
        assert refused.expected and refused.found and refused.cure
        return
    # What ends within the rounds of its state is a log that was cut, and says nothing.
    assert len(made) < size


def find_frames(path: Path) -> list[bytes]:
    return list(read_frames(path))


def test_an_event_with_a_peer_whom_the_epoch_does_not_have_is_refused(ended: World, tmp_path: Path) -> None:
    forged = copy_of(ended, tmp_path)
    rewrite(forged, lambda frames: [*frames, encode_event(PeerUp(63), 2**50)])
    with pytest.raises(CoreLogError, match="one of 4 validators"):
        list(replay(forged))


def test_a_signer_whom_the_epoch_does_not_have_is_shown(ended: World, tmp_path: Path) -> None:
    """A peer may send such a vote, so an honest log may hold one."""
    directory = tmp_path / "data" / CORE_LOG
    directory.mkdir(parents=True)
    forged = copy_of(ended, directory)
    vote = Vote(Subject(NULLIFY, 0, 1, None, None), 63, bytes(64))
    rewrite(forged, lambda frames: [*frames, encode_event(Received(1, VoteMessage(vote)), 2**50)])
    run = CliRunner().invoke(node_commands, ["explain", "--home", str(tmp_path), "--last", "1"])
    assert "signer=number 63, who is none" in run.output, run.output


def test_files_of_other_names_are_no_segments(tmp_path: Path) -> None:
    for name in ("segment-1.log", "segment-x.log", "segment-0000000000001.log", "segment-000000000001.log~"):
        (tmp_path / name).write_bytes(MAGIC)
    assert find_segments(tmp_path) == []
    (tmp_path / "segment-000000000007.log").write_bytes(MAGIC)
    assert [path.name for path in find_segments(tmp_path)] == ["segment-000000000007.log"]


def test_what_does_not_fit_a_note_ends_the_log_and_not_the_node(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = World(tmp_path, segment_size_max=LARGE)
    for member in VALIDATORS:
        made.start(member)
    made.run(500)
    monkeypatch.setattr(corelog, "outcome_of", lambda effects: Outcome(("Send",) * (EFFECTS_MAX + 1), ()))
    with caplog.at_level(logging.ERROR, logger="node.replica.corelog"):
        before = made.nodes["hk-bureau"].store.tip().header.height
        made.nodes["hk-bureau"].submit(anchor_transaction(made.genesis, 1, made.nodes["hk-bureau"].wall_ms()))
        made.run(2_000)
    assert made.nodes["hk-bureau"].store.tip().header.height > before
    assert [record.message.split()[0] for record in caplog.records] == ["corelog.failed"] * len(VALIDATORS)
    made.close()


def test_no_private_key_is_in_a_state(tmp_path: Path) -> None:
    made = World(tmp_path, segment_size_max=LARGE)
    node = made.start("hk-bureau")
    made.run(100)
    image, rounds = take_image(node.driver.core)
    seeds = [key.seed for key in _private_keys(node.driver.engine.guard)]
    assert seeds
    content = pack(image) + b"".join(map(pack, rounds))
    assert not any(seed in content for seed in seeds)
    made.close()


def _private_keys(guard: object) -> Iterator[PrivateKey]:
    slots = [*getattr(type(guard), "__slots__", ()), *getattr(guard, "__dict__", ())]
    yield from (value for name in slots if isinstance(value := getattr(guard, name, None), PrivateKey))


def test_explain_shows_the_last_decisions(ended: World) -> None:
    home = ended.directory / "sz-operator"
    run = CliRunner().invoke(node_commands, ["explain", "--home", str(home), "--last", "30", "--json"])
    assert run.exit_code == 0, run.output
    answer = json.loads(run.output)
    assert answer["deviations"] == 0 and len(answer["segments"]) == 2
    assert answer["decisions"] == len(all_decisions(core_log(ended, "sz-operator")))
    assert len(answer["last"]) == 30
    text = CliRunner().invoke(node_commands, ["explain", "--home", str(home), "--last", "200"]).output
    assert "were made again: all came out as recorded" in text
    assert "finalize view" in text and "Persist" in text


def test_explain_says_what_is_not_whole(ended: World, tmp_path: Path) -> None:
    directory = tmp_path / "data" / CORE_LOG
    directory.mkdir(parents=True)
    whole = find_segments(core_log(ended, "hk-bureau"))[0].read_bytes()
    (directory / "segment-000000000001.log").write_bytes(
        whole[:9_000] + bytes([whole[9_000] ^ 1]) + whole[9_001:]
    )
    run = CliRunner().invoke(
        node_commands, ["explain", "--home", str(tmp_path), "--last", "0"], standalone_mode=False
    )
    assert run.return_value == 1 and "is not whole" in run.output


# The same over histories with faults and members that lie, of whole nodes in virtual time.


@pytest.mark.parametrize("seed", [3, 17, 29])
def test_decisions_of_a_storm_are_made_again(seed: int, tmp_path: Path) -> None:
    schedule = plan(seed, validators_count=4)
    logs: list[CoreLog] = []
    watch = machine._Watched._watch

    def recorded(self: machine._Watched, engine: Engine) -> Engine:
        directory = tmp_path / f"{len(logs):04}"
        log = CoreLog(
            directory,
            chain_id=self._machine.consortium.chain_id,
            member=self._machine.member,
            clock=self._machine,
            segment_size_max=1 << 40,
        )
        logs.append(log)
        log.begin(engine.core)
        handle = engine.core.handle

        def told(event: Event, now_ms: int) -> list[Effect]:
            log.happens(event, now_ms)
            effects = handle(event, now_ms)
            log.decided(engine.core, effects)
            return effects

        engine.core.handle = told  # type: ignore[method-assign]
        return watch(self, engine)

    with mock.patch.object(machine._Watched, "_watch", recorded):
        world.run(schedule)
    with signatures(are_real=schedule.are_signatures_real):
        decisions = list(_decisions_of(logs))
    assert [each.deviation for each in decisions if each.deviation is not None] == []
    assert sum(isinstance(each.event, Received) for each in decisions) > 1_000


def _decisions_of(logs: list[CoreLog]) -> Iterator[Decision]:
    for log in logs:
        log.close()
        yield from all_decisions(log._directory)
