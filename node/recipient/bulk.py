"""Verifying many documents: rows in, one answer for each, in order (docs/verifying.md, Many documents).

Rule 1: a row that cannot be verified is an answer, never the end of the rest: what is refused, malformed or
unreadable is so in its own row.
Rule 2: every answer has the same columns; those that do not apply are empty.
Rule 3: which file is the proof is decided where all ways in are (`node.recipient.presented`). The answer of a bundle
names the archive as the proof, and the document inside by its name and digest.
Rule 4: workers hold no more than WINDOW_PER_JOB parts of CHUNK_ROWS rows each, however many rows there are.
"""

import os
import signal
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import BinaryIO, Final

from ledger.encoding.records import Json
from ledger.errors import LedgerError
from ledger.presentation import REQUEST_MAGIC, REQUEST_SIZE_MAX, Request
from ledger.proofs import PROOF_SUFFIX
from ledger.trust import TrustedRoot
from ledger.verdictjson import REFUSED, refusal_to_json, verdict_to_json
from ledger.verdicts import STEP_FILES, VerificationError
from ledger.verifier import Document, Verifier
from node.clock import Clock, SystemClock
from node.recipient.presented import InsideDocument, PresentedFiles, tell_files
from node.recipient.question import TimeAsked, ask

CHUNK_ROWS: Final = 16
WINDOW_PER_JOB: Final = 4
JOBS_MAX: Final = 64

UNREADABLE: Final = "unreadable"

_AXES: Final = (
    ("integrity", ("media_type", "size", "commitment")),
    ("issuer", ("member", "is_suspended")),
    ("anchored", ("root", "schema", "height", "time_ms", "issued_ms", "expires_ms")),
    ("status", ("height", "time_ms", "age_ms")),
    ("consent", ("consent_id", "recipient", "purpose", "until_ms", "used", "uses")),
    ("presented", ("nonce", "holder_key")),
    ("trust", ("epoch", "height")),
)
_REFUSAL: Final = ("step", "code", "where", "expected", "found")
_INSIDE: Final = ("inside.name", "inside.sha256")

COLUMNS: Final = (
    "row",
    "file",
    "proof",
    "request",
    "verdict",
    "at_ms",
    *(f"{axis}.{name}" for axis, names in _AXES for name in names),
    *_REFUSAL,
    *_INSIDE,
)
"""The columns of an answer, in order. `row` is the line of the manifest at which the row ends."""


@dataclass(frozen=True, slots=True)
class Row:
    """One document to verify: the line it stands on, its files, and how old its proof may be.

    `proof` is None where none was named: it stands beside the document, or in one archive with it. `is_bundle` says
    that the latter was asked for. `request` is None where the anchor alone is verified.
    """

    number: int
    document: str
    proof: str | None
    request: str | None
    max_age_ms: int
    is_bundle: bool = False

    def files(self) -> PresentedFiles:
        """Return which files are document and proof."""
        proof = None if self.proof is None else Path(self.proof)
        return tell_files(Path(self.document), proof, as_bundle=self.is_bundle)

    def shown_proof(self, files: PresentedFiles) -> str:
        """Return what the answer names as the proof: what the row named, what stands beside it, or the archive."""
        if self.proof is not None:
            return self.proof
        return self.document if files.proof is None else f"{self.document}{PROOF_SUFFIX}"


@dataclass(frozen=True, slots=True)
class RowAnswer:
    """What came of a row: the cells under COLUMNS."""

    verdict: str
    code: str
    cells: tuple[str, ...]

    @property
    def is_verified(self) -> bool:
        """Say whether the row was verified, by consent or by anchor alone as it asked."""
        return self.verdict not in (REFUSED, UNREADABLE)


@dataclass(frozen=True, slots=True)
class BulkSettings:
    """What all rows share: the trusted root, and the past time asked about (None: the present, row by row)."""

    trust: TrustedRoot
    at_ms: int | None


class BulkVerification:
    """Answers rows, one after the other, in this process."""

    def __init__(self, settings: BulkSettings, *, clock: Clock | None = None) -> None:
        self._verifier = Verifier(settings.trust)
        self._at_ms = settings.at_ms
        self._clock = clock or SystemClock()

    def answer(self, row: Row) -> RowAnswer:
        """Return what holds of one row."""
        time = TimeAsked(self._clock.wall_ms(), self._at_ms, row.max_age_ms)
        files = row.files()
        inside = None
        try:
            with files.opened(_open) as opened:
                inside = opened.inside
                value = self._judge(row, opened.pieces(), opened.proof, time)
        except VerificationError as error:
            value = refusal_to_json(error, is_anchor_only=row.request is None)
        except LedgerError as error:
            value = _refusal(REFUSED, error.code, error.where or "request", error.expected, error.found)
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or f"{error}"
            where = f"{getattr(error, 'filename', None) or row.document}"
            value = _refusal(UNREADABLE, "path", where, _expected_file(row, files, where), reason)
        return _row_answer(row, time.at_ms, value, proof=row.shown_proof(files), inside=inside)

    def _judge(self, row: Row, document: Document, proof: bytes, time: TimeAsked) -> dict[str, Json]:
        request = None
        if row.request is not None:
            with _open(Path(row.request)) as file:
                # One byte past its limit: the decoder refuses a longer one by its own rule.
                request = Request.decode(file.read(len(REQUEST_MAGIC) + REQUEST_SIZE_MAX + 1))
        return verdict_to_json(ask(self._verifier, document, proof, request, time), at_ms=time.at_ms)


def answer_rows(rows: Iterable[Row], settings: BulkSettings, *, jobs: int) -> Iterator[RowAnswer]:
    """Yield the answers in the order of the rows, worked out by `jobs` processes (1: by this one).

    Raises BrokenProcessPool where a worker was killed; what was yielded before stands.
    """
    if jobs == 1:
        batch = BulkVerification(settings)
        yield from (batch.answer(row) for row in rows)
        return
    remaining = iter(rows)
    # Spawned, not forked: a fork inherits locks and descriptors of whatever program calls this.
    with ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(settings,)
    ) as pool:
        waiting: deque[Future[list[RowAnswer]]] = deque()
        try:
            while part := tuple(islice(remaining, CHUNK_ROWS)):
                waiting.append(pool.submit(_answer_part, part))
                if len(waiting) == jobs * WINDOW_PER_JOB:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


# One verification for each worker process: its trusted root is checked once, not with each part.
_worker: BulkVerification | None = None


def _start_worker(settings: BulkSettings) -> None:
    global _worker
    # The terminal's interrupt reaches every process of the group; the parent alone ends the work.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _worker = BulkVerification(settings)


def _answer_part(part: Sequence[Row]) -> list[RowAnswer]:
    assert _worker is not None, "a worker starts with its batch"
    return [_worker.answer(row) for row in part]


def _open(path: Path) -> BinaryIO:
    # Without blocking: a pipe that is named by mistake would hold its worker for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(0, "not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def _expected_file(row: Row, files: PresentedFiles, where: str) -> str:
    if row.proof is None and files.proof is not None and where == f"{files.proof}":
        return "the proof beside the document, one in the second column, or `bundle` in the fifth"
    return "a readable file"


def _refusal(verdict: str, code: str, where: str, expected: str, found: str) -> dict[str, Json]:
    return {
        "verdict": verdict,
        "step": STEP_FILES,
        "code": code,
        "where": where,
        "expected": expected,
        "found": found,
    }


def _row_answer(
    row: Row, at_ms: int, value: dict[str, Json], *, proof: str, inside: InsideDocument | None
) -> RowAnswer:
    cells = [f"{row.number}", row.document, proof, row.request or "", f"{value['verdict']}", f"{at_ms}"]
    for axis, names in _AXES:
        facts = value.get(axis)
        cells += [_cell(facts.get(name)) if isinstance(facts, dict) else "" for name in names]
    cells += [_cell(value.get(name)) for name in _REFUSAL]
    digest = None if inside is None else inside.sha256
    cells += [_cell(None if inside is None else inside.name), "" if digest is None else digest.hex()]
    return RowAnswer(f"{value['verdict']}", _cell(value.get("code")), tuple(cells))


def _cell(value: Json) -> str:
    if value is None:
        return ""
    return f"{int(value)}" if isinstance(value, bool) else f"{value}"
