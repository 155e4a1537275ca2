"""The vote log: what was appended is there after any crash, and what is lost is never lost silently."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.errors import VoteLogError
from node.storage import votelog
from node.storage.voteframes import (
    GROUP_SIZE_MAX,
    HEADER_SIZE,
    PAGE_SIZE,
    RECORD_SIZE_MAX,
    RECORDS_PER_GROUP_MAX,
    SECTOR_SIZE,
    LogHeader,
    decode_header,
    encode_group,
    encode_header,
    scan_groups,
)
from node.storage.votelog import (
    KEPT_FILES_MAX,
    DamageKind,
    Recovery,
    VoteLog,
    VoteLogForeign,
    VoteLogFull,
    VoteLogLocked,
    VoteLogOfAnotherVersion,
)
from tests.support.crashing_disk import CrashingDisk, Loss, PowerCut

CHAIN_ID = bytes(range(32))
VOTES = (b"notarize 1", b"finalize 1", b"notarize 2")


def open_log(
    path: Path, *, existing: bool = True, disk: CrashingDisk | None = None
) -> tuple[VoteLog, Recovery]:
    if disk is None:
        return VoteLog.open(path, chain_id=CHAIN_ID, validator="sz-operator", expected_existing=existing)
    return VoteLog.open(
        path, chain_id=CHAIN_ID, validator="sz-operator", expected_existing=existing, files=disk
    )


def recover(path: Path) -> Recovery:
    log, recovery = open_log(path)
    log.close()
    return recovery


def write_log(path: Path, *groups: tuple[bytes, ...]) -> None:
    log, _ = open_log(path, existing=False)
    for group in groups:
        log.append(group)
    log.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "votes.log"


@pytest.fixture
def three_votes(path: Path) -> Path:
    write_log(path, *((vote,) for vote in VOTES))
    return path


def flip(path: Path, position: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


def copy_position(group: int, copy: int) -> int:
    return HEADER_SIZE + (2 * group + copy) * PAGE_SIZE


# -- node/storage/votelog.py, rule 1: appended is durable -----------------------------------------------


def test_what_was_appended_is_there_after_reopening_in_order(three_votes: Path) -> None:
    assert recover(three_votes) == Recovery(VOTES, False, 0, None)


def test_an_append_returns_only_after_a_sync(path: Path, tmp_path: Path) -> None:
    disk = CrashingDisk(tmp_path)
    log, _ = open_log(path, existing=False, disk=disk)
    disk.log.clear()
    log.append(VOTES)
    assert disk.log == ["write_at", "sync"]


def test_appending_nothing_touches_no_disk(path: Path, tmp_path: Path) -> None:
    disk = CrashingDisk(tmp_path)
    log, _ = open_log(path, existing=False, disk=disk)
    disk.log.clear()
    log.append(())
    assert disk.log == []


def test_a_second_append_touches_no_page_of_the_first(three_votes: Path) -> None:
    before = three_votes.read_bytes()
    log, _ = open_log(three_votes)
    log.append((b"one more",))
    log.close()
    assert len(before) % PAGE_SIZE == 0
    assert three_votes.read_bytes()[: len(before)] == before


@pytest.mark.parametrize("loss", Loss)
def test_a_power_cut_during_an_append_loses_nothing_that_was_appended(
    path: Path, tmp_path: Path, loss: Loss
) -> None:
    big = (b"x" * 3000, b"y" * 3000)
    for step in (1, 2):
        home = tmp_path / f"step{step}"
        home.mkdir()
        log_path = home / "votes.log"
        write_log(log_path, VOTES)
        disk = CrashingDisk(tmp_path, crash_at=step + 1, loss=loss)
        log, _ = open_log(log_path, disk=disk)
        with pytest.raises(PowerCut):
            log.append(big)
        log.close()
        recovery = recover(log_path)
        assert recovery.damage is None
        # All of the append or none of it: it was never reported as durable.
        assert recovery.records in (VOTES, VOTES + big)
        assert recover(log_path) == Recovery(recovery.records, False, 0, None)


@given(keep=st.integers(0, 4 * PAGE_SIZE), zero=st.sets(st.integers(0, 31)))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_append_of_which_any_sectors_arrived_is_kept_whole_or_dropped_whole(
    tmp_path: Path, keep: int, zero: set[int]
) -> None:
    path = tmp_path / "votes.log"
    path.unlink(missing_ok=True)
    write_log(path, (b"first",), (b"z" * 5000,))
    content = bytearray(path.read_bytes())
    start = HEADER_SIZE + 2 * PAGE_SIZE
    for sector in zero:
        content[start + sector * SECTOR_SIZE : start + (sector + 1) * SECTOR_SIZE] = bytes(SECTOR_SIZE)
    path.write_bytes(content[: start + keep])
    first_half, second_half = range(16), range(16, 32)
    lacks_both = (zero & set(first_half) or keep < 2 * PAGE_SIZE) and (
        zero & set(second_half) or keep < 4 * PAGE_SIZE
    )
    recovery = recover(path)
    assert recovery.damage is None
    assert recovery.records == ((b"first",) if lacks_both else (b"first", b"z" * 5000))
    assert recovery.dropped_torn == bool(lacks_both and keep > 0)


# -- node/storage/votelog.py, rule 2: a failure ends the use --------------------------------------------


@pytest.mark.parametrize("operation", ["write_at", "sync"])
def test_after_a_failed_append_the_log_takes_nothing_more_and_never_syncs_again(
    path: Path, tmp_path: Path, operation: str
) -> None:
    disk = CrashingDisk(tmp_path)
    log, _ = open_log(path, existing=False, disk=disk)
    disk.failing[operation] = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(VoteLogError, match=r"durable append.*No space left.*must stop"):
        log.append(VOTES)
    disk.failing.clear()
    disk.log.clear()
    with pytest.raises(VoteLogError, match=r"append failed earlier.*restart"):
        log.append(VOTES)
    with pytest.raises(VoteLogError, match="failed earlier"):
        log.compact(VOTES)
    with pytest.raises(VoteLogError, match="failed earlier"):
        log.end_amnesia(VOTES)
    assert disk.log == []
    log.close()
    assert recover(path).damage is None


def test_a_failed_compaction_leaves_the_old_log_and_ends_its_use(three_votes: Path, tmp_path: Path) -> None:
    disk = CrashingDisk(tmp_path)
    log, _ = open_log(three_votes, disk=disk)
    disk.failing["sync"] = OSError(errno.EIO, "Input/output error")
    with pytest.raises(VoteLogError, match="durable compaction"):
        log.compact(())
    log.close()
    assert recover(three_votes).records == VOTES


def test_a_closed_log_takes_nothing(three_votes: Path) -> None:
    log, _ = open_log(three_votes)
    log.close()
    log.close()
    with pytest.raises(VoteLogError, match="found it closed"):
        log.append(VOTES)


# -- node/storage/votelog.py, rule 3: torn, repaired, damaged -------------------------------------------


@pytest.mark.parametrize("copy", [0, 1])
@pytest.mark.parametrize("group", [0, 1, 2])
@pytest.mark.parametrize("offset", [0, 31, 32, 35, 40, 44, 60, PAGE_SIZE - 1])
def test_either_intact_copy_counts_and_the_other_is_rewritten(
    three_votes: Path, group: int, copy: int, offset: int
) -> None:
    flip(three_votes, copy_position(group, copy) + offset)
    assert recover(three_votes) == Recovery(VOTES, False, 1, None)
    assert recover(three_votes) == Recovery(VOTES, False, 0, None)


def test_one_damaged_copy_of_everything_is_repaired(three_votes: Path) -> None:
    for position in (5, copy_position(0, 1), copy_position(1, 0), copy_position(2, 0)):
        flip(three_votes, position)
    assert recover(three_votes) == Recovery(VOTES, False, 4, None)


@pytest.mark.parametrize("group", [0, 1, 2])
@pytest.mark.parametrize("offset", [0, 34, 41, 60, 4000])
def test_both_copies_damaged_is_amnesia_even_in_the_last_group(
    three_votes: Path, group: int, offset: int
) -> None:
    flip(three_votes, copy_position(group, 0) + offset)
    flip(three_votes, copy_position(group, 1) + offset)
    evidence = three_votes.read_bytes()
    recovery = recover(three_votes)
    assert recovery.damage is not None
    assert recovery.damage.kind is DamageKind.RECORDS
    assert f"group {group}" in recovery.damage.detail
    assert recovery.records == VOTES[:group] + VOTES[group + 1 :]
    assert recovery.damage.kept_at == three_votes.with_name("votes.log.damaged-1")
    assert recovery.damage.kept_at.read_bytes() == evidence


def test_two_copies_damaged_in_different_places_are_amnesia(three_votes: Path) -> None:
    flip(three_votes, copy_position(2, 0) + 2)
    flip(three_votes, copy_position(2, 1) + 4090)
    damage = recover(three_votes).damage
    assert damage is not None
    assert damage.kind is DamageKind.RECORDS


def test_an_unreadable_page_is_damage_not_a_page_that_was_never_written(
    three_votes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pread

    def pread(descriptor: int, size: int, offset: int) -> bytes:
        if offset >= copy_position(2, 0):
            raise OSError(errno.EIO, "Input/output error")
        return real(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", pread)
    log, recovery = open_log(three_votes)
    log.close()
    assert recovery.records == VOTES[:2]
    assert recovery.damage is not None


def test_one_unreadable_page_is_repaired(three_votes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pread

    def pread(descriptor: int, size: int, offset: int) -> bytes:
        if offset == copy_position(1, 0):
            raise OSError(errno.EIO, "Input/output error")
        return real(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", pread)
    log, recovery = open_log(three_votes)
    log.close()
    assert recovery == Recovery(VOTES, False, 1, None)


@pytest.mark.parametrize("size", [1, 43, 44, 100, PAGE_SIZE - 1])
def test_the_first_bytes_of_an_append_are_a_torn_append(three_votes: Path, size: int) -> None:
    log, _ = open_log(three_votes)
    log.append((b"never sent",))
    log.close()
    content = three_votes.read_bytes()
    end = copy_position(3, 0)
    three_votes.write_bytes(content[: end + size])
    assert recover(three_votes) == Recovery(VOTES, True, 0, None)
    assert three_votes.stat().st_size == end
    assert recover(three_votes) == Recovery(VOTES, False, 0, None)


@pytest.mark.parametrize(
    ("junk", "is_torn"),
    [
        (bytes(100), True),
        (bytes(2 * GROUP_SIZE_MAX), True),
        (bytes(2 * GROUP_SIZE_MAX + 1), False),
        (b"\xff" * 100, False),
        (b"\xff" * PAGE_SIZE, False),
    ],
)
def test_a_tail_of_zeros_is_torn_and_a_tail_of_junk_is_damage(
    three_votes: Path, junk: bytes, is_torn: bool
) -> None:
    with three_votes.open("ab") as file:
        file.write(junk)
    recovery = recover(three_votes)
    assert recovery.records == VOTES
    assert recovery.dropped_torn == is_torn
    assert (recovery.damage is None) == is_torn


TORN_SIZE = 2 * PAGE_SIZE


def torn_tail(*, sequence: int = 3, zero: tuple[int, ...] = (1, 17), flipped: tuple[int, ...] = ()) -> bytes:
    """Return a fourth group of two copies of two pages, with sectors never written and bytes flipped."""
    file_id = b"f" * 32
    copy = encode_group(file_id, sequence, (b"z" * 5000,))
    assert len(copy) == TORN_SIZE
    tail = bytearray(copy * 2)
    for sector in zero:
        tail[sector * SECTOR_SIZE : (sector + 1) * SECTOR_SIZE] = bytes(SECTOR_SIZE)
    for position in flipped:
        tail[position] ^= 1
    return bytes(tail)


@pytest.mark.parametrize(
    ("tail", "is_torn"),
    [
        (torn_tail(), True),
        (torn_tail(zero=(15, 31)), True),
        (torn_tail(zero=(1,), flipped=(TORN_SIZE + 100,)), False),
        (torn_tail(zero=(17,), flipped=(100,)), False),
        (torn_tail(zero=(), flipped=(100, TORN_SIZE + 100)), False),
        (torn_tail(sequence=4), False),
        (torn_tail(sequence=2), False),
        (torn_tail() + bytes(1), False),
        (torn_tail() + bytes(PAGE_SIZE), False),
        (torn_tail()[:-1], True),
        (torn_tail(zero=(), flipped=(100,))[: TORN_SIZE + 1], False),
    ],
)
def test_only_an_append_of_which_both_copies_lack_a_sector_is_torn(
    three_votes: Path, tail: bytes, is_torn: bool
) -> None:
    with three_votes.open("ab") as file:
        file.write(tail)
    recovery = recover(three_votes)
    assert recovery.records == VOTES
    assert recovery.dropped_torn == is_torn
    assert (recovery.damage is None) == is_torn


def test_two_intact_copies_that_differ_are_damage() -> None:
    file_id = b"f" * 32
    one, other = (encode_group(file_id, 0, (record,)) for record in (b"one", b"other"))
    scan = scan_groups(file_id, bytes(HEADER_SIZE) + one + other)
    assert scan.problem == "group 0: expected two equal copies, found two that differ"
    assert scan_groups(file_id, bytes(HEADER_SIZE) + one + one).problem is None


def test_two_intact_headers_that_differ_are_damage() -> None:
    one, other = (
        encode_header(LogHeader(CHAIN_ID, "sz-operator", file_id, 0)) for file_id in (b"f" * 32, b"g" * 32)
    )
    assert decode_header(one) is not None
    assert decode_header(one[:PAGE_SIZE] + other[PAGE_SIZE:]) is None


def test_a_torn_append_that_was_dropped_stays_dropped_after_a_power_cut(
    three_votes: Path, tmp_path: Path
) -> None:
    size = three_votes.stat().st_size
    with three_votes.open("ab") as file:
        file.write(bytes(700))
    disk = CrashingDisk(tmp_path, loss=Loss.DATA_AND_NAMES)
    log, recovery = open_log(three_votes, disk=disk)
    assert recovery.dropped_torn
    disk.cut_power()
    log.close()
    assert three_votes.stat().st_size == size


def test_the_evidence_has_its_durable_name_before_the_log_is_replaced(
    three_votes: Path, tmp_path: Path
) -> None:
    flip(three_votes, copy_position(1, 0))
    flip(three_votes, copy_position(1, 1))
    disk = CrashingDisk(tmp_path)
    log, _ = open_log(three_votes, disk=disk)
    log.close()
    assert disk.log[:3] == ["open", "link", "sync_directory"]
    assert "rename" in disk.log[3:]


def test_a_rewritten_log_takes_no_page_of_the_one_it_replaced(path: Path) -> None:
    log, _ = open_log(path, existing=False)
    log.append((b"old 0",))
    log.append((b"old 1",))
    stale = path.read_bytes()[copy_position(1, 0) :]
    log.compact((b"new 0",))
    log.close()
    with path.open("ab") as file:
        file.write(stale)
    recovery = recover(path)
    assert recovery.records == (b"new 0",)
    assert recovery.damage is not None


def test_after_a_torn_append_was_dropped_the_log_goes_on(three_votes: Path) -> None:
    with three_votes.open("ab") as file:
        file.write(bytes(700))
    log, _ = open_log(three_votes)
    log.append((b"after",))
    log.close()
    assert recover(three_votes).records == (*VOTES, b"after")


def test_pages_of_another_log_of_the_same_validator_are_not_records(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.log"
    write_log(other, (b"old 0",), (b"old 1",))
    write_log(path, (b"new 0",))
    stale = other.read_bytes()[copy_position(1, 0) :]
    with path.open("ab") as file:
        file.write(stale)
    recovery = recover(path)
    assert recovery.records == (b"new 0",)
    assert recovery.damage is not None


def test_groups_in_another_order_are_damage(three_votes: Path) -> None:
    content = three_votes.read_bytes()
    first, second = (content[copy_position(group, 0) : copy_position(group + 1, 0)] for group in (0, 1))
    rest = content[copy_position(2, 0) :]
    three_votes.write_bytes(content[:HEADER_SIZE] + second + first + rest)
    recovery = recover(three_votes)
    assert recovery.damage is not None
    assert "expected its copies at bytes" in recovery.damage.detail
    assert recovery.records == VOTES


def test_a_group_cut_out_of_the_middle_is_damage(three_votes: Path) -> None:
    content = three_votes.read_bytes()
    three_votes.write_bytes(content[: copy_position(1, 0)] + content[copy_position(2, 0) :])
    recovery = recover(three_votes)
    assert recovery.records == (VOTES[0], VOTES[2])
    assert recovery.damage is not None


@pytest.mark.parametrize("copy", [0, 1])
def test_either_intact_header_counts(three_votes: Path, copy: int) -> None:
    flip(three_votes, copy * PAGE_SIZE + 20)
    assert recover(three_votes) == Recovery(VOTES, False, 1, None)


def test_two_damaged_headers_are_amnesia(three_votes: Path) -> None:
    flip(three_votes, 20)
    flip(three_votes, PAGE_SIZE + 20)
    recovery = recover(three_votes)
    assert recovery.damage is not None
    assert recovery.damage.kind is DamageKind.HEADER
    assert recovery.records == ()


@pytest.mark.parametrize("content", [b"", b"x", bytes(PAGE_SIZE), bytes(10 * PAGE_SIZE), b"junk" * 5000])
def test_a_file_that_is_no_log_is_amnesia(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    recovery = recover(path)
    assert recovery.damage is not None
    assert recovery.damage.kind is DamageKind.HEADER
    assert recovery.damage.kept_at is not None
    assert recovery.damage.kept_at.read_bytes() == content


def test_a_missing_log_is_a_first_start_only_where_nobody_voted(path: Path) -> None:
    log, recovery = open_log(path, existing=False)
    log.close()
    assert recovery == Recovery((), False, 0, None)
    path.unlink()
    log, recovery = open_log(path, existing=True)
    log.close()
    assert recovery.damage is not None
    assert recovery.damage.kind is DamageKind.MISSING


@given(st.binary(max_size=3 * PAGE_SIZE), st.integers(0, 3 * PAGE_SIZE))
@settings(max_examples=100, deadline=None)
def test_scanning_never_raises_whatever_the_bytes(junk: bytes, cut: int) -> None:
    scan = scan_groups(CHAIN_ID, bytes(HEADER_SIZE) + junk[cut:])
    assert scan.records == ()


@given(position=st.integers(0, 8 * PAGE_SIZE - 1), bit=st.integers(0, 7))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_single_bit_flip_loses_a_record(tmp_path: Path, position: int, bit: int) -> None:
    path = tmp_path / "votes.log"
    path.unlink(missing_ok=True)
    write_log(path, *((vote,) for vote in VOTES))
    flip(path, position, bit)
    assert recover(path) == Recovery(VOTES, False, 1, None)


# -- node/storage/votelog.py, rule 4: amnesia is remembered ---------------------------------------------


def test_amnesia_outlives_restarts_and_compaction_until_it_is_ended(path: Path) -> None:
    log, _ = open_log(path, existing=True)
    assert log.is_amnesiac
    log.append((b"seen",))
    log.close()
    log, recovery = open_log(path)
    assert recovery.records == (b"seen",)
    assert recovery.damage is not None
    assert recovery.damage.kind is DamageKind.UNRESOLVED
    log.compact((b"seen",))
    log.close()
    log, recovery = open_log(path)
    assert recovery.damage is not None
    log.end_amnesia((b"safe",))
    assert not log.is_amnesiac
    log.close()
    assert recover(path) == Recovery((b"safe",), False, 0, None)


@pytest.mark.parametrize("loss", Loss)
def test_a_power_cut_while_damage_is_handled_never_makes_it_look_whole(tmp_path: Path, loss: Loss) -> None:
    for step in range(1, 30):
        home = tmp_path / f"step{step}"
        home.mkdir()
        path = home / "votes.log"
        write_log(path, *((vote,) for vote in VOTES))
        flip(path, copy_position(1, 0))
        flip(path, copy_position(1, 1))
        try:
            log, _ = open_log(path, disk=CrashingDisk(tmp_path, crash_at=step, loss=loss))
        except PowerCut:
            recovery = recover(path)
            assert recovery.damage is not None
            assert recovery.records == (VOTES[0], VOTES[2])
            assert len(list(home.glob("votes.log.damaged-*"))) == 1
        else:
            log.close()
            assert step > 8
            return
    pytest.fail("expected the damage to be handled within 30 steps")


def test_evidence_of_repeated_damage_is_kept_apart_up_to_a_limit(path: Path) -> None:
    for number in range(1, KEPT_FILES_MAX + 1):
        path.write_bytes(b"damage %d" % number)
        recover(path)
        assert path.with_name(f"votes.log.damaged-{number}").read_bytes() == b"damage %d" % number
    path.write_bytes(b"one too many")
    with pytest.raises(VoteLogError, match=rf"found {KEPT_FILES_MAX} damaged logs"):
        open_log(path)
    assert path.read_bytes() == b"one too many"


# -- node/storage/votelog.py, rule 5: compaction --------------------------------------------------------


def test_compaction_keeps_the_live_records_and_shrinks_the_file(three_votes: Path) -> None:
    log, _ = open_log(three_votes)
    before = log.size
    log.compact(VOTES[1:])
    assert log.size < before
    assert log.size == three_votes.stat().st_size
    log.append((b"after",))
    log.close()
    assert recover(three_votes) == Recovery((*VOTES[1:], b"after"), False, 0, None)


@pytest.mark.parametrize("loss", Loss)
def test_a_power_cut_at_any_step_of_compaction_leaves_the_old_log_or_the_new(
    tmp_path: Path, loss: Loss
) -> None:
    outcomes = set()
    for step in range(2, 30):
        home = tmp_path / f"step{step}"
        home.mkdir()
        path = home / "votes.log"
        write_log(path, *((vote,) for vote in VOTES))
        log, _ = open_log(path, disk=CrashingDisk(tmp_path, crash_at=step, loss=loss))
        try:
            log.compact((b"live",))
        except PowerCut:
            log.close()
            recovery = recover(path)
            assert recovery in (Recovery(VOTES, False, 0, None), Recovery((b"live",), False, 0, None))
            outcomes.add(recovery.records)
        else:
            log.close()
            assert recover(path).records == (b"live",)
            assert outcomes == {VOTES, (b"live",)}
            return
    pytest.fail("expected compaction to end within 30 steps")


@pytest.mark.parametrize("loss", Loss)
def test_a_power_cut_at_any_step_of_creation_leaves_no_log_or_an_empty_one(
    tmp_path: Path, loss: Loss
) -> None:
    for step in range(1, 30):
        path = tmp_path / f"votes{step}.log"
        try:
            log, _ = open_log(path, existing=False, disk=CrashingDisk(tmp_path, crash_at=step, loss=loss))
        except PowerCut:
            log, recovery = open_log(path, existing=False)
            log.close()
            assert recovery == Recovery((), False, 0, None)
        else:
            log.close()
            return
    pytest.fail("expected creation to end within 30 steps")


def test_a_compaction_larger_than_a_group_is_split(path: Path) -> None:
    records = tuple(bytes([number]) * RECORD_SIZE_MAX for number in range(40))
    many = tuple(b"%d" % number for number in range(2 * RECORDS_PER_GROUP_MAX + 1))
    log, _ = open_log(path, existing=False)
    log.compact(records + many)
    log.close()
    assert recover(path).records == records + many


def test_compaction_is_due_past_its_size_and_not_again_at_once(path: Path) -> None:
    log, _ = VoteLog.open(
        path,
        chain_id=CHAIN_ID,
        validator="sz-operator",
        expected_existing=False,
        compaction_size=HEADER_SIZE + 2 * PAGE_SIZE,
    )
    assert not log.is_due_for_compaction
    log.append((b"vote",))
    log.append((b"vote",))
    assert log.is_due_for_compaction
    log.compact([b"live" * 1000] * 20)
    assert not log.is_due_for_compaction
    log.close()


# -- node/storage/votelog.py, rule 6: one process, one validator, one chain -----------------------------


def test_a_second_user_of_a_log_is_refused_until_the_first_has_closed_it(three_votes: Path) -> None:
    log, _ = open_log(three_votes)
    with pytest.raises(VoteLogLocked, match="only user"):
        open_log(three_votes)
    log.compact(VOTES)
    with pytest.raises(VoteLogLocked):
        open_log(three_votes)
    log.close()
    assert recover(three_votes).records == VOTES


@pytest.mark.parametrize(
    ("chain_id", "validator"),
    [(bytes(32), "sz-operator"), (CHAIN_ID, "hk-operator"), (bytes(32), "hk-operator")],
)
def test_a_log_of_another_chain_or_validator_is_refused_and_left_alone(
    three_votes: Path, chain_id: bytes, validator: str
) -> None:
    before = three_votes.read_bytes()
    with pytest.raises(VoteLogForeign, match=r"expected the votes of .* found those of sz-operator"):
        VoteLog.open(three_votes, chain_id=chain_id, validator=validator, expected_existing=True)
    assert three_votes.read_bytes() == before
    assert recover(three_votes).records == VOTES


def test_a_log_of_a_later_format_is_refused_and_left_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.storage.voteframes.VERSION", 2)
    write_log(path, VOTES)
    monkeypatch.undo()
    before = path.read_bytes()
    with pytest.raises(VoteLogOfAnotherVersion, match="expected format version 1, found 2; use the release"):
        open_log(path)
    assert path.read_bytes() == before


def test_a_log_in_a_directory_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VoteLogError, match="expected a lockable file"):
        open_log(tmp_path / "missing" / "votes.log")


def test_the_log_is_readable_by_its_owner_only(three_votes: Path) -> None:
    assert three_votes.stat().st_mode & 0o777 == 0o600


# -- limits ---------------------------------------------------------------------------------------------


def refuse(log: VoteLog, records: tuple[bytes, ...]) -> None:
    size = log.size
    with pytest.raises(VoteLogError, match="expected"):
        log.append(records)
    assert log.size == size


def test_records_are_taken_up_to_each_limit_and_refused_past_it(path: Path) -> None:
    log, _ = open_log(path, existing=False)
    largest = (bytes(RECORD_SIZE_MAX),)
    most = (b"",) * RECORDS_PER_GROUP_MAX
    # 15 records of the largest size, and one that fills the group to the last byte.
    overhead = 32 + 12 + 3 + 15 * 5 + 3
    filler = GROUP_SIZE_MAX - overhead - 15 * RECORD_SIZE_MAX
    fullest = (*largest * 15, bytes(filler))
    assert filler < RECORD_SIZE_MAX
    for records in (largest, most, fullest):
        log.append(records)
    refuse(log, (bytes(RECORD_SIZE_MAX + 1),))
    refuse(log, (b"",) * (RECORDS_PER_GROUP_MAX + 1))
    refuse(log, (*largest * 15, bytes(filler + 1)))
    log.append((b"still usable",))
    log.close()
    assert recover(path).records == (*largest, *most, *fullest, b"still usable")


def test_a_full_log_refuses_appends_and_can_be_compacted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(votelog, "LOG_SIZE_MAX", HEADER_SIZE + 4 * PAGE_SIZE)
    log, _ = open_log(path, existing=False)
    log.append((b"1",))
    log.append((b"2",))
    with pytest.raises(VoteLogFull, match="compact"):
        log.append((b"3",))
    with pytest.raises(VoteLogFull):
        log.compact((bytes(RECORD_SIZE_MAX),))
    log.compact((b"2",))
    log.append((b"3",))
    log.close()
    assert recover(path).records == (b"2", b"3")


def test_a_file_past_the_limit_is_damage(three_votes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(votelog, "LOG_SIZE_MAX", three_votes.stat().st_size)
    assert recover(three_votes).damage is None
    monkeypatch.setattr(votelog, "LOG_SIZE_MAX", three_votes.stat().st_size - 1)
    assert recover(three_votes).damage is not None
