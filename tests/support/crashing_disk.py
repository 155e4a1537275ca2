"""A disk that loses power: real files, with every unsynced write and name lost or kept as the test says."""

import enum
import itertools
import os
from collections.abc import Callable
from pathlib import Path

from node.files.durablefile import PRIVATE_MODE, Access, FileLock, PosixFiles

_NUMBERS = itertools.count()


class PowerCut(BaseException):
    """The power went. Not an Exception: no handler of the program under test runs after it."""


class Loss(enum.Enum):
    """What a power cut does to what was not synced yet."""

    NOTHING = "nothing"
    DATA_AND_NAMES = "data and names"
    DATA = "data"
    NAMES = "names"
    HALF_THE_DATA = "half the data"


class CrashingDisk:
    """File operations that stop at step `crash_at`, performed or not, and then lose what was not synced.

    `crash_at` None counts the steps. After the cut every operation raises PowerCut again.
    """

    def __init__(self, evidence: Path, *, crash_at: int | None = None, loss: Loss = Loss.NOTHING) -> None:
        self._disk = PosixFiles()
        self._evidence = evidence
        self._crash_at = crash_at
        self._loss = loss
        self._images: dict[int, tuple[int, bytes]] = {}
        self._undo_names: list[Callable[[], None]] = []
        self.steps_count = 0
        self.failing: dict[str, OSError] = {}
        self.log: list[str] = []

    def exists(self, path: Path) -> bool:
        return self._disk.exists(path)

    def is_same(self, path: Path, other: Path) -> bool:
        return self._disk.is_same(path, other)

    def find_access(self, path: Path) -> Access | None:
        return self._disk.find_access(path)

    def give_access(self, descriptor: int, access: Access) -> None:
        self._disk.give_access(descriptor, access)

    def lock(self, path: Path) -> FileLock:
        return self._disk.lock(path)

    def close(self, descriptor: int) -> None:
        self._disk.close(descriptor)

    def size(self, descriptor: int) -> int:
        return self._disk.size(descriptor)

    def read_at(self, descriptor: int, size: int, offset: int) -> bytes:
        return self._disk.read_at(descriptor, size, offset)

    def create(self, path: Path, mode: int = PRIVATE_MODE) -> int:
        self._step("create")
        descriptor = self._disk.create(path, mode)
        self._remember(descriptor)
        self._undo_names.append(lambda: path.unlink(missing_ok=True))
        return descriptor

    def create_held(self, path: Path, mode: int) -> int | None:
        self._step("create")
        descriptor = self._disk.create_held(path, mode)
        if descriptor is not None:
            self._remember(descriptor)
            self._undo_names.append(lambda: path.unlink(missing_ok=True))
        return descriptor

    def open(self, path: Path) -> int:
        self._step("open")
        descriptor = self._disk.open(path)
        self._remember(descriptor)
        return descriptor

    def write_at(self, descriptor: int, data: bytes, offset: int) -> None:
        self._step("write_at", lambda: self._disk.write_at(descriptor, data, offset))
        self._disk.write_at(descriptor, data, offset)

    def truncate(self, descriptor: int, size: int) -> None:
        self._step("truncate", lambda: self._disk.truncate(descriptor, size))
        self._disk.truncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        self._step("sync")
        self._disk.sync(descriptor)
        self._remember(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        self._step("rename", lambda: self._rename(source, target))
        self._rename(source, target)

    def link(self, source: Path, target: Path) -> None:
        self._step("link")
        self._disk.link(source, target)
        self._undo_names.append(lambda: target.unlink(missing_ok=True))

    def remove(self, path: Path) -> None:
        self._step("remove")
        self._disk.remove(path)

    def sync_directory(self, directory: Path) -> None:
        self._step("sync_directory")
        self._disk.sync_directory(directory)
        self._undo_names.clear()

    def _rename(self, source: Path, target: Path) -> None:
        backup: Path | None = None
        if target.exists():
            backup = self._evidence / f"replaced-{next(_NUMBERS)}"
            backup.hardlink_to(target)
        self._disk.rename(source, target)

        def undo() -> None:
            target.rename(source)
            if backup is not None:
                target.hardlink_to(backup)

        self._undo_names.append(undo)

    def _remember(self, descriptor: int) -> None:
        inode = os.fstat(descriptor).st_ino
        kept = self._images[inode][0] if inode in self._images else os.dup(descriptor)
        self._images[inode] = (kept, _content(kept))

    def _step(self, name: str, perform: Callable[[], None] | None = None) -> None:
        self.steps_count += 1
        self.log.append(name)
        if self._crash_at is not None and self.steps_count >= self._crash_at:
            if self.steps_count == self._crash_at:
                if perform is not None:
                    perform()
                self.cut_power()
            raise PowerCut
        if name in self.failing:
            raise self.failing[name]

    def cut_power(self) -> None:
        """Lose what was not synced, now."""
        if self._loss in (Loss.DATA_AND_NAMES, Loss.DATA, Loss.HALF_THE_DATA):
            for descriptor, synced in self._images.values():
                self._lose_data(descriptor, synced)
        if self._loss in (Loss.DATA_AND_NAMES, Loss.NAMES):
            for undo in reversed(self._undo_names):
                undo()

    def _lose_data(self, descriptor: int, synced: bytes) -> None:
        written = _content(descriptor)
        if written == synced:
            return
        if self._loss is Loss.HALF_THE_DATA:
            # The size arrived, and every second sector of what was written; the others read as before or zero.
            before = synced.ljust(len(written), b"\0")[: len(written)]
            sectors = [
                (written if start // 512 % 2 else before)[start : start + 512]
                for start in range(0, len(written), 512)
            ]
            synced = b"".join(sectors)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, synced, 0)


def _content(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
