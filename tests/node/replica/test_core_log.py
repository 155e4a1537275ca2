"""The core log: from what a node's core was told, its decisions are made again, elsewhere and later."""

import errno
import json
import logging
import os
import pickle
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
from click.testing import CliRunner

from cli.node import node as node_commands
from ledger.encoding.keys import PrivateKey
from node.consensus.effects import Effect
from node.consensus.events import Event, Received, Started
from node.home.repair import CORE_LOG
from node.replica.corelog import (
    SEGMENTS_MAX,
    CoreLog,
    CoreLogError,
    find_segments,
    freeze,
    read_frames,
    thaw_any,
)
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
    head = struct.Struct(">II")
    path.write_bytes(b"".join(head.pack(len(each), zlib.crc32(each)) + each for each in frames))


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
    opening = open_segment(paths[0])
    assert (opening.member, opening.epoch) == (member, 0)
    assert opening.chain_id == ended.genesis.content.chain_id
    times = [each.time_ms for each in decisions]
    assert times == sorted(times) and times[0] >= START_MS


def test_segments_are_bounded_and_each_stands_alone(tmp_path: Path) -> None:
    size_max = 12_000
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
    place = 8 + int(share * (len(original) - 64))
    damaged.write_bytes(original[:place] + bytes([original[place] ^ 1]) + original[place + 1 :])
    with pytest.raises(CoreLogError, match="byte"):
        list(replay(damaged))


def test_a_log_of_other_code_is_refused(ended: World, tmp_path: Path) -> None:
    other = tmp_path / "segment-000000000001.log"
    other.write_bytes(find_segments(core_log(ended, "hk-bureau"))[0].read_bytes())

    def of_other_code(frames: list[bytes]) -> list[bytes]:
        opening = thaw_any(frames[0])
        assert isinstance(opening, tuple)
        return [pickle.dumps((opening[0], bytes(32), *opening[2:])), *frames[1:]]

    rewrite(other, of_other_code)
    with pytest.raises(CoreLogError, match="use the release that wrote it"):
        list(replay(other))


def test_what_came_out_otherwise_is_a_deviation(ended: World, tmp_path: Path) -> None:
    original = find_segments(core_log(ended, "hk-bureau"))[0]
    forged = tmp_path / original.name
    forged.write_bytes(original.read_bytes())

    def without_a_signature(frames: list[bytes]) -> list[bytes]:
        for number, frame in enumerate(frames[3::2]):
            outcome = thaw_any(frame)
            assert isinstance(outcome, tuple)
            names, own = outcome
            if own:
                frames[3 + 2 * number] = pickle.dumps((names, ()))
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


class _Calls:
    """What a forger would like a reader to call."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (self.path,)

    def __init__(self, path: str) -> None:
        self.path = path


class _Names:
    def __init__(self, module: str, name: str) -> None:
        self.content = b"\x80\x04\x8c" + bytes([len(module)]) + module.encode()
        self.content += b"\x8c" + bytes([len(name)]) + name.encode() + b"\x93."


def test_reading_a_log_calls_nothing(tmp_path: Path) -> None:
    target = tmp_path / "made by the reader"
    with pytest.raises(CoreLogError, match="one of the core's own classes"):
        thaw_any(pickle.dumps(_Calls(str(target))))
    assert not target.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("builtins", "eval"),
        ("node.replica.corelog", "CoreLog"),
        ("node.consensus.core", "Simplex.__init__"),
        ("node.consensus.core", "Callable"),
        ("node.consensus.core", "assert_never"),
        ("ledger.encoding.keys", "re.compile"),
        ("ledger.encoding.keys", "EncodingError"),
    ],
)
def test_only_the_cores_own_classes_are_made(module: str, name: str) -> None:
    with pytest.raises(CoreLogError):
        thaw_any(_Names(module, name).content)


def test_no_private_key_is_in_a_state(tmp_path: Path) -> None:
    made = World(tmp_path, segment_size_max=LARGE)
    node = made.start("hk-bureau")
    made.run(100)
    state = freeze(node.driver.core)
    assert PrivateKey.__name__.encode() not in state and b"SignerGuard" not in state
    made.close()


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
    (directory / "segment-000000000001.log").write_bytes(whole[:9_000] + b"\0" + whole[9_001:])
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
