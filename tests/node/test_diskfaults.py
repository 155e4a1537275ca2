"""What a disk refuses is told by its number, with what to do about it, and is never taken for damage."""

import errno
import os

import pytest

from cli.exits import USAGE, explain
from node.diskfaults import CURES, fault_in, is_disk_fault


@pytest.mark.parametrize("number", sorted(CURES))
def test_a_fault_is_known_by_its_number_and_by_the_systems_words(number: int) -> None:
    assert is_disk_fault(number)
    found = fault_in(f"IO error: /data/chain/000007.ldb: {os.strerror(number)}")
    assert found is not None and os.strerror(found) == os.strerror(number)


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, None])
def test_a_file_that_is_lost_or_another_thing_is_no_fault_of_the_disk(number: int | None) -> None:
    assert not is_disk_fault(number)
    assert number is None or fault_in(f"IO error: x: {os.strerror(number)}") is None


def test_a_word_within_a_path_is_no_fault() -> None:
    assert fault_in("Corruption: No space left on device/000007.ldb: checksum mismatch") is None


def test_no_cure_of_a_fault_advises_repair() -> None:
    assert not any("luohu node repair" in cure for cure in CURES.values())
    assert "Make room" in CURES[errno.ENOSPC]


@pytest.mark.parametrize("path", ["/data/node.lock", None])
def test_every_command_says_that_the_disk_is_full_and_nothing_of_permissions(path: str | None) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
    told = explain(full)
    assert (told.exit_code, told.cure) == (USAGE, CURES[errno.ENOSPC])
