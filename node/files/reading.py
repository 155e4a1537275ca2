"""Files that somebody named, opened for reading. Commands, services and clients open none in another way.

Rule 1: only a regular file is opened. What else has the name is refused before it is opened, and looked at again once
it is: opening a pipe may wait for ever, and opening a device may set something off.
Rule 2: a link is followed only where the user named that very file (`open_named`). Below a folder that others fill, no
step of a name may be a link (`open_within`), and neither may a file that a list names (`open_listed`).
Rule 3: what is piped is read under the names of this process's own descriptors alone, /dev/stdin and /dev/fd/N
(`open_piped`): whoever started the process put it there. A pipe of another name is refused.
Rule 4: what is read as it comes has a largest size, also where the file grows meanwhile. Who holds a content whole
reads one byte past its limit, and refuses that.
Rule 5: nothing here waits. A file that has nothing to give for now is an error, not a pause; a pipe that was put there
may take its time.
"""

import errno
import io
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, BinaryIO, Final

from node.errors import SetupError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

DOCUMENT_SIZE_MAX: Final = 64 * 1024**3

# Not every system has these. Where there is no O_NOFOLLOW, names are compared with what was opened.
NOFOLLOW: Final[int] = getattr(os, "O_NOFOLLOW", 0)
CLOEXEC: Final[int] = getattr(os, "O_CLOEXEC", 0)
NONBLOCK: Final[int] = getattr(os, "O_NONBLOCK", 0)
BINARY: Final[int] = getattr(os, "O_BINARY", 0)

_READ: Final[int] = os.O_RDONLY | CLOEXEC | NONBLOCK | BINARY | getattr(os, "O_NOCTTY", 0)
# O_PATH: a folder through which one may go need not be one that one may list.
_FOLDER: Final[int] = os.O_RDONLY | CLOEXEC | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_PATH", 0)
_OPENS_IN_FOLDERS: Final = os.open in os.supports_dir_fd and os.stat in os.supports_dir_fd

_JUNCTION: Final = 0xA0000003

_OWN_DESCRIPTOR: Final = re.compile(r"/dev/(?:stdin|fd/(\d{1,9}))|/proc/self/fd/(\d{1,9})", re.ASCII)

_KINDS: Final[dict[int, str]] = {
    stat.S_IFREG: "a regular file",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_CURES: Final[dict[int, str]] = {
    stat.S_IFLNK: "name the file itself, not a link to it",
    stat.S_IFIFO: "name a file; what is piped is read as /dev/stdin, where something is read",
}


class UnfitFile(SetupError, OSError):
    """A path that is not such a file as is wanted there. It is an OSError with `filename` and `strerror`."""

    code = "path"

    def __init__(self, *, where: Path | str, expected: str, found: str, cure: str) -> None:
        super().__init__(where=where, expected=expected, found=found, cure=cure)
        self.filename = f"{where}"
        self.strerror = found

    def __str__(self) -> str:
        # An OSError with a file name would show its own words.
        return f"{self.args[0]}"


def check_regular(path: Path, status: os.stat_result, *, expected: str = "a regular file") -> None:
    """Check that a status is that of a regular file. Raises UnfitFile."""
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        raise UnfitFile(
            where=path,
            expected=expected,
            found=_KINDS.get(kind, "something else"),
            cure=_CURES.get(kind, "name a file"),
        )


def open_named(path: Path, *, size_max: int | None = None) -> BinaryIO:
    """Open a regular file that the user named; a link is followed. Raises OSError, UnfitFile among them.

    `size_max` is in bytes: more is refused, at once or while it is read. None: the caller reads no more than it holds.
    """
    with _about(path):
        return _open_checked(path, path.stat(), lambda: os.open(path, _READ), size_max)


def open_piped(path: Path, *, size_max: int | None = None) -> BinaryIO:
    """Open a regular file that the user named, or what was piped into this process. Raises OSError.

    Only the first may be read twice. `size_max` as in `open_named`.
    """
    with _about(path):
        own = _OWN_DESCRIPTOR.fullmatch(os.fspath(path))
        if own is None or not _is_pipe(path.stat()):
            return open_named(path, size_max=size_max)
        return _reader(os.dup(int(own[1] or own[2] or 0)), path, size_max)


def open_within(folder: Path, name: str | PurePath, *, size_max: int | None = None) -> BinaryIO:
    """Open a regular file below a folder that others may fill: no step of `name` is a link, and none leads up.

    The folder itself is the user's: links to it are followed. Raises OSError, UnfitFile among them.
    """
    steps = PurePath(name).parts
    path = folder / name
    if not steps or PurePath(name).anchor or ".." in steps:
        raise UnfitFile(
            where=folder,
            expected="the name of a file in it",
            found=ascii(str(name))[:80],
            cure="name a file that lies there",
        )
    with _about(path):
        if not _OPENS_IN_FOLDERS:
            return _open_by_names(folder, steps, size_max)
        descriptor = os.open(folder, _FOLDER)
        try:
            for step in steps[:-1]:
                _check_folder(path, os.stat(step, dir_fd=descriptor, follow_symlinks=False))
                inner = os.open(step, _FOLDER | NOFOLLOW, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
            status = os.stat(steps[-1], dir_fd=descriptor, follow_symlinks=False)
            return _open_checked(
                path, status, lambda: os.open(steps[-1], _READ | NOFOLLOW, dir_fd=descriptor), size_max
            )
        finally:
            os.close(descriptor)


def open_listed(path: Path, *, folder: Path, size_max: int | None = None) -> BinaryIO:
    """Open a regular file that a list names which lies in `folder`, such as a manifest. Raises OSError.

    Below that folder no step is a link. A path that leads elsewhere, absolute or by `..`, goes through folders as the
    list says, and its last step is no link.
    """
    if path.is_relative_to(folder):
        inner = path.relative_to(folder)
        if inner.name and ".." not in inner.parts:
            return open_within(folder, inner, size_max=size_max)
    return open_within(path.parent, path.name, size_max=size_max)


def list_files(folder: Path, *, count_max: int) -> list[str]:
    """Return the names of the files in a folder, in order; where there are more than `count_max`, one more than that.

    All that lies there is a regular file: a folder, link, pipe or device is refused, and so nothing is passed over in
    silence. The folder itself is the user's: links to it are followed. Raises OSError, UnfitFile among them.
    """
    with _about(folder), os.scandir(folder) as found:
        names: list[str] = []
        for each in found:
            kind = stat.S_IFMT(each.stat(follow_symlinks=False).st_mode)
            if kind != stat.S_IFREG:
                raise UnfitFile(
                    where=folder / each.name,
                    expected="regular files alone in the folder",
                    found=_KINDS.get(kind, "something else"),
                    cure="move it out of the folder",
                )
            names.append(each.name)
            if len(names) > count_max:
                break
    return sorted(names)


@contextmanager
def _about(path: Path) -> Iterator[None]:
    """Let errors name the whole path, and a name that no file can have be such an error."""
    try:
        yield
    except UnfitFile:
        raise
    except OSError as error:
        error.filename = f"{path}"
        raise
    except ValueError as error:
        raise UnfitFile(
            where=ascii(f"{path}"), expected="a usable path", found=f"{error}", cure="check the path"
        ) from error


def _open_checked(
    path: Path, status: os.stat_result, open_it: Callable[[], int], size_max: int | None
) -> BinaryIO:
    check_regular(path, status)
    descriptor = open_it()
    try:
        opened = os.fstat(descriptor)
        # It may have been exchanged since it was looked at.
        check_regular(path, opened)
        if size_max is not None and opened.st_size > size_max:
            raise _too_large(path, size_max, f"{opened.st_size}")
    except BaseException:
        os.close(descriptor)
        raise
    return _reader(descriptor, path, size_max)


def _open_by_names(folder: Path, steps: tuple[str, ...], size_max: int | None) -> BinaryIO:
    """Open a file below a folder where no file can be opened relative to one: each step is looked at by its name."""
    place = folder
    for step in steps[:-1]:
        place /= step
        _check_folder(place, os.lstat(place))
    path = place / steps[-1]
    status = os.lstat(path)

    def open_it() -> int:
        descriptor = os.open(path, _READ | NOFOLLOW)
        if not os.path.samestat(status, os.fstat(descriptor)):
            os.close(descriptor)
            raise UnfitFile(
                where=path,
                expected="the file that was looked at",
                found="another",
                cure="let nobody exchange it, and try again",
            )
        return descriptor

    return _open_checked(path, status, open_it, size_max)


def _check_folder(path: Path, status: os.stat_result) -> None:
    kind = stat.S_IFMT(status.st_mode)
    # Windows shows a junction, which leads elsewhere, as a folder.
    if getattr(status, "st_reparse_tag", 0) == _JUNCTION:
        kind = stat.S_IFLNK
    if kind != stat.S_IFDIR:
        raise UnfitFile(
            where=path,
            expected="folders on the way to the file",
            found=_KINDS.get(kind, "something else"),
            cure="name the file without a link on the way",
        )


def _is_pipe(status: os.stat_result) -> bool:
    return stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode)


def _too_large(path: Path, size_max: int, found: str) -> UnfitFile:
    return UnfitFile(
        where=path, expected=f"at most {size_max} bytes", found=found, cure="name the right file"
    )


def _reader(descriptor: int, path: Path, size_max: int | None) -> BinaryIO:
    return io.BufferedReader(_Source(descriptor, path, size_max))


class _Source(io.RawIOBase):
    """An open file that gives no more than it may, and does not pass for one at its end where it would wait."""

    def __init__(self, descriptor: int, path: Path, size_max: int | None) -> None:
        super().__init__()
        self._file = io.FileIO(descriptor)
        self._path = path
        self._size_max = size_max
        self._place = 0

    @property
    def name(self) -> str:
        """The path that was opened."""
        return f"{self._path}"

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def fileno(self) -> int:
        return self._file.fileno()

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._place = self._file.seek(offset, whence)
        return self._place

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        count: int | None = self._file.readinto(buffer)
        if count is None:
            raise BlockingIOError(errno.EAGAIN, "a file that has nothing to give for now", f"{self._path}")
        self._place += count
        if self._size_max is not None and self._place > self._size_max:
            raise _too_large(self._path, self._size_max, "more")
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
