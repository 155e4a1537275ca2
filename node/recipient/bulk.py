"""Verifying many documents: rows in, one answer for each, in order (docs/verifying.md, Many documents).

Rule 1: a row that cannot be verified is an answer, never the end of the rest: what is refused, malformed or
unreadable is so in its own row.
Rule 2: every answer has the same columns; those that do not apply are empty.
Rule 3: which file is the proof is decided where all ways in are (`node.recipient.presented`). The answer of a bundle
names the archive as the proof, and the document inside by its name and digest.
Rule 4: workers hold no more than WINDOW_PER_JOB parts of CHUNK_ROWS rows each, however many rows there are.
Rule 5: an answer of an earlier call counts only for the bytes that are read now, document, proof and request, under
the same row and the same time asked about; one about the present only for RECALL_MS. All else is verified.
Rule 6: the files of a row are named by a list and lie where others may put them: no link is followed
(node/files/reading.py, rule 2).
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

from ledger.encoding.records import Json
from ledger.errors import LedgerError
from ledger.proofs import PROOF_SUFFIX
from ledger.requests import REQUEST_FILE_SIZE_MAX, Request
from ledger.trees.merkle import Content, content_root
from ledger.trust import TrustedRoot
from ledger.verdictjson import REFUSED, refusal_to_json, verdict_to_json
from ledger.verdicts import STEP_FILES, VerificationError
from ledger.verifier import Document, Verifier
from node.clock import Clock, SystemClock
from node.files.reading import DOCUMENT_SIZE_MAX, open_listed, open_named
from node.recipient.presented import InsideDocument, OpenedFiles, PresentedFiles, tell_files
from node.recipient.question import TimeAsked, ask
from node.workers import Workers

CHUNK_ROWS: Final = 16
WINDOW_PER_JOB: Final = 4
JOBS_MAX: Final = 64
# How long an answer about the present is one. A call that was cut short is made again within that.
RECALL_MS: Final = 3_600_000

UNREADABLE: Final = "unreadable"

_AXES: Final = (
    ("integrity", ("media_type", "size", "commitment")),
    ("issuer", ("member", "is_suspended")),
    ("anchored", ("root", "schema", "height", "time_ms", "issued_ms", "expires_ms")),
    ("status", ("height", "time_ms", "age_ms")),
    ("consent", ("consent_id", "recipient", "purpose", "until_ms", "used", "uses")),
    ("presented", ("nonce", "holder_key", "item", "shown", "list_size", "list_root")),
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
_AT_MS: Final = COLUMNS.index("at_ms")
_VERDICT: Final = COLUMNS.index("verdict")
_STEP: Final = COLUMNS.index("step")
_CODE: Final = COLUMNS.index("code")


@dataclass(frozen=True, slots=True)
class Row:
    """One document to verify: the line it stands on, its files, and how old its proof may be.

    `proof` is None where none was named: it stands beside the document, or in one archive with it. `is_bundle` says
    that the latter was asked for. `request` is None where the anchor alone is verified. `folder` is that of the list
    which names these files: below it no link is followed, and neither is a file's own name where it is None.
    """

    number: int
    document: str
    proof: str | None
    request: str | None
    max_age_ms: int
    is_bundle: bool = False
    folder: str | None = None

    def files(self) -> PresentedFiles:
        """Return which files are document and proof."""
        proof = None if self.proof is None else Path(self.proof)
        return tell_files(Path(self.document), proof, as_bundle=self.is_bundle)

    def open_listed(self, path: Path) -> BinaryIO:
        """Open a file that the row names, or what stands beside one. Raises OSError."""
        folder = path.parent if self.folder is None else Path(self.folder)
        return open_listed(path, folder=folder, size_max=DOCUMENT_SIZE_MAX)

    def shown_proof(self, files: PresentedFiles) -> str:
        """Return what the answer names as the proof: what the row named, what stands beside it, or the archive."""
        if self.proof is not None:
            return self.proof
        return self.document if files.proof is None else f"{self.document}{PROOF_SUFFIX}"


@dataclass(frozen=True, slots=True)
class RowAnswer:
    """What came of a row: the cells under COLUMNS.

    `basis` is a SHA-256 in hexadecimal over the row and all that was read for the answer; where something could not be
    read, over what was found instead. `is_recalled` where it is the answer of an earlier call on the same basis.
    """

    verdict: str
    code: str
    cells: tuple[str, ...]
    basis: str
    is_recalled: bool = False

    @property
    def is_verified(self) -> bool:
        """Say whether the row was verified, by consent or by anchor alone as it asked."""
        return self.verdict not in (REFUSED, UNREADABLE)


@dataclass(frozen=True, slots=True)
class EarlierAnswer:
    """What an earlier call answered to a row, on which basis. Whoever brings it vouches for it."""

    basis: str
    cells: tuple[str, ...]


Recall = Callable[[Row], EarlierAnswer | None]


def recall_nothing(_row: Row) -> None:
    """Recall no earlier answer."""


@dataclass(frozen=True, slots=True)
class BulkSettings:
    """What all rows share: the trusted root, and the past time asked about (None: the present, row by row).

    `request` is the path that the user named for every row without one of its own: a link to it is followed.
    """

    trust: TrustedRoot
    at_ms: int | None
    request: str | None = None


class BulkVerification:
    """Answers rows, one after the other, in this process."""

    def __init__(self, settings: BulkSettings, *, clock: Clock | None = None) -> None:
        self._verifier = Verifier(settings.trust)
        self._at_ms = settings.at_ms
        self._request = settings.request
        self._clock = clock or SystemClock()

    def answer(self, row: Row, earlier: EarlierAnswer | None = None) -> RowAnswer:
        """Return what holds of one row: what is found now, or what was found `earlier` of the same bytes."""
        time = TimeAsked(self._clock.wall_ms(), self._at_ms, row.max_age_ms)
        files = row.files()
        inside, basis = None, ""
        try:
            with files.opened(row.open_listed) as opened:
                inside = opened.inside
                content = _hash_document(opened)
                request = None if row.request is None else self._read_request(row)
                basis = _basis(row, content, opened, request)
                if earlier is not None and self._counts(earlier, basis, time.at_ms):
                    return _recalled(earlier)
                try:
                    value = self._judge(content, opened.proof, request, time)
                except VerificationError as error:
                    raise opened.explained(error) from error
        except VerificationError as error:
            value = refusal_to_json(error, is_anchor_only=row.request is None)
        except LedgerError as error:
            value = _refusal(REFUSED, error.code, error.where or "request", error.expected, error.found)
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or f"{error}"
            where = f"{getattr(error, 'filename', None) or row.document}"
            value = _refusal(UNREADABLE, "path", where, _expected_file(row, files, where), reason)
        answer = _row_answer(row, time.at_ms, value, proof=row.shown_proof(files), inside=inside, basis=basis)
        if earlier is not None and not basis and self._counts(earlier, answer.basis, time.at_ms):
            return _recalled(earlier)
        return answer

    def _counts(self, earlier: EarlierAnswer, basis: str, at_ms: int) -> bool:
        """Say whether an earlier answer is about the same bytes and time: that very one, or a present not long ago."""
        if earlier.basis != basis:
            return False
        asked_ms = int(earlier.cells[_AT_MS])
        return asked_ms == at_ms if self._at_ms is not None else 0 <= at_ms - asked_ms <= RECALL_MS

    def _judge(
        self, document: Document, proof: bytes, request: bytes | None, time: TimeAsked
    ) -> dict[str, Json]:
        asked = None if request is None else Request.decode(request)
        return verdict_to_json(ask(self._verifier, document, proof, asked, time), at_ms=time.at_ms)

    def _read_request(self, row: Row) -> bytes:
        path = Path(f"{row.request}")
        with open_named(path) if row.request == self._request else row.open_listed(path) as file:
            # One byte past its limit: the decoder refuses a longer one by its own rule.
            return file.read(REQUEST_FILE_SIZE_MAX + 1)


def answer_rows(
    rows: Iterable[Row], settings: BulkSettings, *, jobs: int, recall: Recall = recall_nothing
) -> Iterator[RowAnswer]:
    """Yield the answers in the order of the rows, worked out by `jobs` processes (1: by this one).

    `recall` is asked here for the earlier answer to each row, which counts only where the row's bytes are the same.
    Raises BrokenProcessPool where a worker was killed; what was yielded before stands.
    """
    if jobs == 1:
        batch = BulkVerification(settings)
        yield from (batch.answer(row, recall(row)) for row in rows)
        return
    remaining = iter(rows)
    with Workers(jobs, prepare=partial(_prepare_worker, settings)) as workers:
        waiting: deque[Future[list[RowAnswer]]] = deque()
        while part := tuple(islice(remaining, CHUNK_ROWS)):
            waiting.append(workers.submit(_answer_part, [(row, recall(row)) for row in part]))
            if len(waiting) == jobs * WINDOW_PER_JOB:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


# One verification for each worker process: its trusted root is checked once, not with each part.
_worker: BulkVerification | None = None


def _prepare_worker(settings: BulkSettings) -> None:
    global _worker
    _worker = BulkVerification(settings)


def _answer_part(part: Sequence[tuple[Row, EarlierAnswer | None]]) -> list[RowAnswer]:
    assert _worker is not None, "a worker starts with its batch"
    return [_worker.answer(row, earlier) for row, earlier in part]


def _recalled(earlier: EarlierAnswer) -> RowAnswer:
    cells = earlier.cells
    return RowAnswer(cells[_VERDICT], cells[_CODE], cells, earlier.basis, is_recalled=True)


def _hash_document(opened: OpenedFiles) -> Content:
    """Return what a document comes to: read once, it is judged and remembered by the same bytes."""
    return Content(*content_root(opened.pieces()))


def _basis(row: Row, content: Content, opened: OpenedFiles, request: bytes | None) -> str:
    """Return a digest of all that an answer stands on, but for what all rows share."""
    inside = opened.inside
    read = (
        b"read",
        f"{content.size}".encode(),
        content.root,
        opened.proof,
        b"none" if request is None else b"request" + request,
        b"none" if inside is None else f"inside {inside.name}".encode(),
        b"" if inside is None else inside.sha256 or b"",
    )
    return _digest(row, *read)


def _digest(row: Row, *read: bytes) -> str:
    names = (row.document, row.proof or "", row.request or "")
    settings = f"{row.number} {row.max_age_ms} {row.is_bundle} {row.proof is None} {row.request is None}"
    parts = (settings.encode(), *map(os.fsencode, names), *read)
    # Each by its own digest: no part can run into the next.
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


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
    row: Row, at_ms: int, value: dict[str, Json], *, proof: str, inside: InsideDocument | None, basis: str
) -> RowAnswer:
    cells = [f"{row.number}", row.document, proof, row.request or "", f"{value['verdict']}", f"{at_ms}"]
    for axis, names in _AXES:
        facts = value.get(axis)
        cells += [_cell(facts.get(name)) if isinstance(facts, dict) else "" for name in names]
    cells += [_cell(value.get(name)) for name in _REFUSAL]
    digest = None if inside is None else inside.sha256
    cells += [_cell(None if inside is None else inside.name), "" if digest is None else digest.hex()]
    if not basis:
        basis = _digest(row, b"found", *(cell.encode("utf-8", "surrogatepass") for cell in cells[_STEP:]))
    return RowAnswer(f"{value['verdict']}", _cell(value.get("code")), tuple(cells), basis)


def _cell(value: Json) -> str:
    if value is None:
        return ""
    return f"{int(value)}" if isinstance(value, bool) else f"{value}"
