"""The journal of a call that answers many rows: what it answered so far, for the same call made again.

Rule 1: a line counts only if this user's luohu wrote it: it is authenticated under a key that only the user can read,
together with what was asked of all rows. A journal with any other line is refused whole.
Rule 2: a journal is a regular file of the user's own, under one name, which nobody else can read or write. A link is
not followed; a file of another, or open to others, is refused and left as it is.
Rule 3: the last line of a row holds. A torn last line is dropped.
Rule 4: a line is an earlier answer and no more: whether it still counts is decided where the row's files are read
(node/recipient/bulk.py, rule 5).

docs/verifying.md, Many documents, says what this protects from.
"""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from cli.exits import CommandError, wrong_usage
from cli.output import warn
from node.files.durablefile import POSIX_FILES, PrivateFileError, create_file, open_own, read_own
from node.files.system import take_lock
from node.recipient.bulk import COLUMNS, EarlierAnswer, RowAnswer

SYNC_LINES: Final = 1_000
LINE_SIZE_MAX: Final = 256 * 1024
KEY_SIZE: Final = 32
KEY_NAME: Final = "luohu/journal.key"


class Journal:
    """Answers so far, a line each, under a line that says what they answer."""

    def __init__(self, path: Path, file: BinaryIO, binding: str, key: bytes) -> None:
        """Use `Journal.open`."""
        self._path = path
        self._file = file
        self._binding = binding
        self._key = key
        self._places: dict[int, int] = {}
        self._end = 0
        self._written_count = 0

    @classmethod
    def open(cls, path: Path, binding: str, key: bytes) -> "Journal":
        """Open the journal at `path`, or begin one. Raises CommandError or OSError."""
        try:
            descriptor = open_own(path)
        except PrivateFileError as error:
            cure = "Do not rely on it: remove it, or name another --out."
            raise _refused(path, expected=error.expected, found=error.found, cure=cure) from error
        file = os.fdopen(descriptor, "r+b")
        try:
            take_lock(descriptor)
            journal = cls(path, file, binding, key)
            journal._read()
        except BlockingIOError as error:
            file.close()
            raise _refused(
                path,
                expected="to be the only one who answers this manifest",
                found="another process",
                cure="Wait for it, or name another --out.",
            ) from error
        except BaseException:
            file.close()
            raise
        return journal

    def __len__(self) -> int:
        return len(self._places)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def find(self, number: int) -> EarlierAnswer | None:
        """Return what is kept of the row on this line of the manifest. Raises CommandError."""
        place = self._places.get(number)
        if place is None:
            return None
        self._file.seek(place)
        _, earlier = self._parse(self._file.readline(LINE_SIZE_MAX))
        return earlier

    def append(self, number: int, answer: RowAnswer) -> None:
        """Keep the answer to the row on this line of the manifest."""
        fields = [number, answer.basis, list(answer.cells)]
        line = _line([*fields, self._authenticate(fields).hex()])
        self._file.seek(self._end)
        self._file.write(line)
        self._places[number] = self._end
        self._end += len(line)
        self._written_count += 1
        if self._written_count % SYNC_LINES == 0:
            self._file.flush()
            POSIX_FILES.sync(self._file.fileno())

    def answers(self) -> Iterator[list[str]]:
        """Yield the cells of every answer, in the order of their rows. Raises CommandError."""
        self._file.flush()
        for number in sorted(self._places):
            earlier = self.find(number)
            assert earlier is not None, "it has a place"
            yield list(earlier.cells)

    def _read(self) -> None:
        head = _line(self._binding)
        found = self._file.readline(len(head))
        if found != head:
            if not head.startswith(found) or self._file.read(1):
                raise _refused(
                    self._path,
                    expected="the answers so far to this manifest, under this trusted root and these options",
                    found="answers to something else",
                    cure="Give the call that was cut short, or remove the file to begin anew.",
                )
            # New, or cut off while its first line was written.
            self._file.seek(0)
            self._file.truncate()
            self._file.write(head)
            self._file.flush()
        self._end = len(head)
        while (line := self._file.readline(LINE_SIZE_MAX)).endswith(b"\n"):
            number, _ = self._parse(line)
            self._places[number] = self._end
            self._end += len(line)
        if len(line) == LINE_SIZE_MAX:
            raise self._foreign()
        self._file.seek(self._end)
        self._file.truncate()

    def _parse(self, line: bytes) -> tuple[int, EarlierAnswer]:
        try:
            *fields, found = json.loads(line)
            is_own = hmac.compare_digest(bytes.fromhex(found), self._authenticate(fields))
        except (ValueError, TypeError, RecursionError) as error:
            raise self._foreign() from error
        if not is_own:
            raise self._foreign()
        number, basis, cells = fields
        assert len(cells) == len(COLUMNS), "written under this version"
        return number, EarlierAnswer(basis, tuple(cells))

    def _authenticate(self, fields: list[object]) -> bytes:
        return hmac.digest(self._key, _line([self._binding, *fields]), hashlib.sha256)

    def _foreign(self) -> CommandError:
        return _refused(
            self._path,
            expected="answers that luohu wrote here for you",
            found="lines that it did not write, or wrote under another key",
            cure="Do not rely on them: remove the file, and all rows are verified.",
        )


def load_key() -> bytes:
    """Return the key under which this user's journals are authenticated; make it where there is none yet.

    Where none can be kept, it warns and returns one for this call alone: another call cannot go on from there.
    """
    try:
        path = _key_path()
        if not os.path.lexists(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return _make_key(path)
        return _read_key(path)
    except (OSError, RuntimeError, PrivateFileError) as error:
        warn(f"no key for a journal ({error}): should this call be cut short, it begins anew")
        return secrets.token_bytes(KEY_SIZE)


def _key_path() -> Path:
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (state if state.is_absolute() else Path.home() / ".local" / "state") / KEY_NAME


def _make_key(path: Path) -> bytes:
    key = secrets.token_bytes(KEY_SIZE)
    try:
        create_file(POSIX_FILES, path, key)
    except FileExistsError:
        # Another call was first.
        return _read_key(path)
    return key


def _read_key(path: Path) -> bytes:
    key = read_own(path, size_max=KEY_SIZE)
    if len(key) != KEY_SIZE:
        raise PrivateFileError(
            where=path,
            expected=f"{KEY_SIZE} bytes",
            found=f"{len(key)}",
            cure="remove it: a new one is made",
        )
    return key


def _refused(path: Path, *, expected: str, found: str, cure: str) -> CommandError:
    return wrong_usage(str(path), expected=expected, found=found, cure=cure, code="journal")


def _line(value: object) -> bytes:
    return json.dumps(value).encode("ascii") + b"\n"
