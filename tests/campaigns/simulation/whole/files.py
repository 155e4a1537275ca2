"""The files of a simulated machine, in memory: contents and names, written and synced."""

import errno
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from node.files.durablefile import PRIVATE_MODE, Access, FileLocked

SECTOR_SIZE = 512


class Steps(Protocol):
    """The disk, as files use it."""

    files: "FileTree"

    def step(self, name: str) -> None: ...

    def write(self, name: str) -> None: ...

    def sync(self, name: str) -> None: ...


@dataclass(slots=True, eq=False)
class Inode:
    """One file: its content, and how to undo what is not synced."""

    content: bytearray = field(default_factory=bytearray)
    unsynced: list[tuple[int, bytes, int]] = field(default_factory=list)

    def write(self, data: bytes, offset: int) -> None:
        """Write without syncing."""
        before = bytes(self.content[offset : offset + len(data)])
        self.unsynced.append((offset, before, len(self.content)))
        if offset > len(self.content):
            self.content.extend(bytes(offset - len(self.content)))
        self.content[offset : offset + len(data)] = data

    def truncate(self, size: int) -> None:
        """Cut to a size, without syncing."""
        self.unsynced.append((size, bytes(self.content[size:]), len(self.content)))
        del self.content[size:]

    def synced(self) -> bytes:
        """Return what a power cut leaves at least."""
        if not self.unsynced:
            return bytes(self.content)
        image = Inode(bytearray(self.content), list(self.unsynced))
        image.undo()
        return bytes(image.content)

    def undo(self) -> None:
        """Return to what was synced."""
        for offset, before, size in reversed(self.unsynced):
            self.content[offset : offset + len(before)] = before
            del self.content[size:]
        self.unsynced.clear()

    def cut_power(self, chance: random.Random) -> None:
        """Lose what was not synced, or any sectors of it."""
        if not self.unsynced:
            return
        written = bytes(self.content)
        self.undo()
        fate = chance.randrange(4)
        if fate == 0:
            return
        if fate == 1:
            self.content[:] = written
            return
        before = bytes(self.content).ljust(len(written), b"\0")
        kept = [
            (written if chance.randrange(2) else before)[start : start + SECTOR_SIZE]
            for start in range(0, len(written), SECTOR_SIZE)
        ]
        self.content[:] = b"".join(kept)


@dataclass(slots=True)
class FileTree:
    """Names and inodes. `history` holds the names after each change since the last directory sync."""

    names: dict[Path, Inode] = field(default_factory=dict)
    history: list[dict[Path, Inode]] = field(default_factory=lambda: [{}])

    def change_names(self) -> None:
        """Note that a name changed."""
        self.history.append(dict(self.names))

    def sync_names(self) -> None:
        """Make the names survive."""
        self.history = [dict(self.names)]

    def cut_power(self, chance: random.Random) -> None:
        """Lose names and data that were not synced, or a part of them."""
        self.names = dict(chance.choice(self.history))
        self.sync_names()
        for path in sorted(self.names):
            self.names[path].cut_power(chance)

    def synced(self, path: Path) -> bytes:
        """Return what a power cut now would leave of a file at least."""
        inode = self.history[0].get(path)
        return b"" if inode is None else inode.synced()

    def holds_synced(self, path: Path, record: bytes) -> bool:
        """Tell whether a record would be found after a power cut now."""
        inode = self.history[0].get(path)
        if inode is None:
            return False
        return (inode.synced() if inode.unsynced else inode.content).rfind(record) >= 0

    def has_unsynced(self, path: Path) -> bool:
        """Tell whether a power cut now could tear something of a file."""
        inode = self.names.get(path)
        return inode is not None and bool(inode.unsynced)

    def rot(self, path: Path, chance: random.Random, *, copies_count: int) -> bool:
        """Flip one bit in one page, or in every second page of a run of four, so that no copy stays whole."""
        inode = self.names.get(path)
        if inode is None or len(inode.content) < 4 * 4096:
            return False
        pages_count = len(inode.content) // 4096
        first = 2 + 2 * chance.randrange((pages_count - 2) // 2)
        for page in range(first, min(first + copies_count, pages_count)):
            inode.content[page * 4096 + chance.randrange(4096)] ^= 1 << chance.randrange(8)
        return True


class _Lock:
    def release(self) -> None:
        """One machine, one process: nothing to release."""


class SimulatedFiles:
    """File operations on a simulated disk (node.files.durablefile.FileOperations)."""

    def __init__(self, disk: Steps) -> None:
        self._disk = disk
        self._tree = disk.files
        self._open: dict[int, Inode] = {}
        self._next = 3

    def exists(self, path: Path) -> bool:
        return path in self._tree.names

    def is_same(self, path: Path, other: Path) -> bool:
        return self._tree.names[path] is self._tree.names[other]

    def find_access(self, path: Path) -> Access | None:
        return Access(path, PRIVATE_MODE, 0, 0) if path in self._tree.names else None

    def give_access(self, descriptor: int, access: Access) -> None:
        """One machine, one user: nothing to give."""

    def lock(self, path: Path) -> _Lock:
        if self._open:
            raise FileLocked(where=f"{path}", expected="to be the only user", found="another process")
        return _Lock()

    def create(self, path: Path, mode: int = PRIVATE_MODE) -> int:
        self._disk.write("create")
        if path in self._tree.names:
            raise FileExistsError(errno.EEXIST, "File exists", str(path))
        self._tree.names[path] = Inode()
        self._tree.change_names()
        return self.open(path)

    def create_held(self, _path: Path, _mode: int) -> None:
        """Nothing is held here: one process."""

    def open(self, path: Path) -> int:
        descriptor = self._next
        self._next += 1
        self._open[descriptor] = self._tree.names[path]
        return descriptor

    def close(self, descriptor: int) -> None:
        del self._open[descriptor]

    def size(self, descriptor: int) -> int:
        return len(self._open[descriptor].content)

    def read_at(self, descriptor: int, size: int, offset: int) -> bytes:
        return bytes(self._open[descriptor].content[offset : offset + size])

    def write_at(self, descriptor: int, data: bytes, offset: int) -> None:
        self._disk.write("write_at")
        self._open[descriptor].write(data, offset)

    def truncate(self, descriptor: int, size: int) -> None:
        self._disk.step("truncate")
        self._open[descriptor].truncate(size)

    def sync(self, descriptor: int) -> None:
        self._disk.sync("sync")
        self._open[descriptor].unsynced.clear()
        self._disk.step("synced")

    def rename(self, source: Path, target: Path) -> None:
        self._disk.step("rename")
        self._tree.names[target] = self._tree.names.pop(source)
        self._tree.change_names()

    def link(self, source: Path, target: Path) -> None:
        self._disk.write("link")
        if target in self._tree.names:
            raise FileExistsError(errno.EEXIST, "File exists", str(target))
        self._tree.names[target] = self._tree.names[source]
        self._tree.change_names()

    def remove(self, path: Path) -> None:
        self._disk.step("remove")
        if self._tree.names.pop(path, None) is not None:
            self._tree.change_names()

    def sync_directory(self, directory: Path) -> None:
        self._disk.sync("sync_directory")
        self._tree.sync_names()
