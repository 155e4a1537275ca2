"""`luohu verify --manifest`: thousands of documents, with an answer for each in one CSV file.

Rule 1: the manifest is a table (`cli.spreadsheets`). A row is file, proof, request, max-age, bundle; the last ones may
be empty or left out: FILE.proof, the request given for all, the age given for all, no bundle but by the ending .zip.
Rule 2: a manifest that is not right is refused by the line that is wrong, before anything is verified. Files that are
missing are told then, all at once; their rows are answered as unreadable.
Rule 3: the output appears whole or not at all. Until then answers are in a journal beside it (`cli.journal`); the
same call goes on from there. A journal of another manifest, trusted root, question or release is refused.
Rule 4: what answers a row again with the same request and the same document as an earlier row of the manifest is told:
each such row names the first. It stays verified, for no memory is kept from which one could say which of them counts.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

from cli.csvfile import csv_pieces, read_cells
from cli.exits import UNREACHABLE, CommandError, unreadable
from cli.files import read_file, refuse_existing
from cli.journal import Journal, load_key
from cli.listedfiles import ListedFiles
from cli.output import Progress, warn
from cli.spreadsheets import FILE_COLUMN, Column, table_refused
from cli.times import in_words, iso_time, parse_duration
from ledger.bundles import is_bundle_name
from ledger.encoding.records import Json, pack
from ledger.proofs import PROOF_SUFFIX
from node.files.durablefile import POSIX_FILES, write_file
from node.recipient.bulk import COLUMNS, BulkSettings, Row, answer_rows

MANIFEST_SIZE_MAX: Final = 128 * 1024 * 1024
ROWS_MAX: Final = 200_000
JOURNAL_SUFFIX: Final = ".partial"
MANIFEST_COLUMNS: Final = (
    FILE_COLUMN,
    Column("proof", ("证明", "证明文件", "證明", "證明檔案")),
    Column("request", ("请求", "授权请求", "請求", "授權請求")),
    Column("max-age", ("最长时限", "证明时限", "最長時限", "證明時限")),
    Column("bundle", ("压缩包", "壓縮檔")),
)
COLUMNS_MAX: Final = len(MANIFEST_COLUMNS)
BUNDLE: Final = "bundle"
OUTPUT_MODE: Final = 0o666

TIME_COLUMNS: Final = (
    "at_ms",
    "anchored.time_ms",
    "anchored.issued_ms",
    "anchored.expires_ms",
    "status.time_ms",
    "consent.until_ms",
)
# Those of an answer, then its times as people read them, and of which row it is a repeat.
ANSWER_COLUMNS: Final = (
    *COLUMNS,
    *(f"{name.removesuffix('_ms')}_utc8" for name in TIME_COLUMNS),
    "presented.first_row",
)

_ROW: Final = COLUMNS.index("row")
_VERDICT: Final = COLUMNS.index("verdict")
_CODE: Final = COLUMNS.index("code")
_WHERE: Final = COLUMNS.index("where")
_EXPECTED: Final = COLUMNS.index("expected")
_FOUND: Final = COLUMNS.index("found")
_TIMES: Final = tuple(COLUMNS.index(name) for name in TIME_COLUMNS)
_NONCE: Final = COLUMNS.index("presented.nonce")
_COMMITMENT: Final = COLUMNS.index("integrity.commitment")


@dataclass(frozen=True, slots=True)
class BulkQuestion:
    """What is asked of every row that does not say otherwise."""

    settings: BulkSettings
    request: Path | None
    is_anchor_only: bool
    max_age_ms: int


@dataclass(frozen=True, slots=True)
class BulkSummary:
    """How many rows came to which verdict, were answered by an earlier call, and repeat an earlier row."""

    verdicts: dict[str, int]
    codes: dict[str, int]
    resumed_count: int
    repeated_count: int

    @property
    def rows_count(self) -> int:
        """How many rows there are."""
        return sum(self.verdicts.values())


def verify_manifest(
    manifest: Path, out: Path, question: BulkQuestion, *, jobs: int, for_excel: bool = False
) -> BulkSummary:
    """Answer every row of a manifest, and write the answers to `out`. Raises CommandError."""
    refuse_existing(out)
    content = read_file(manifest, size_max=MANIFEST_SIZE_MAX)
    rows = read_rows(manifest, content, question)
    journal = out.with_name(out.name + JOURNAL_SUFFIX)
    try:
        with Journal.open(journal, _binding(content, question), load_key()) as kept:
            resumed_count = _answer_all(kept, rows, question.settings, jobs)
            summary = _write_answers(kept, out, resumed_count, for_excel=for_excel)
        POSIX_FILES.remove(journal)
    except OSError as error:
        raise unreadable(str(error.filename or out), error) from error
    return summary


def read_rows(path: Path, content: bytes, question: BulkQuestion) -> list[Row]:
    """Return the rows of a manifest, in order. Raises CommandError, which names the line."""
    found = read_cells(
        path,
        content,
        size_max=MANIFEST_SIZE_MAX,
        rows_max=ROWS_MAX,
        columns=MANIFEST_COLUMNS,
    )
    listed = ListedFiles(path)
    rows = [_row(path, line, cells, question, listed) for line, cells in found]
    missing = listed.missing()
    if missing is not None:
        warn(f"{path} names files that are missing; their rows will not be verified: {missing}")
    return rows


def _row(path: Path, number: int, cells: Sequence[str], question: BulkQuestion, listed: ListedFiles) -> Row:
    where = f"{path} line {number}"
    if len(cells) > COLUMNS_MAX:
        names = ", ".join(column.name for column in MANIFEST_COLUMNS)
        raise table_refused(where, f"{names}, the last ones at will", f"{len(cells)} columns")
    name, proof, request, max_age, bundle = (*cells, *[""] * (COLUMNS_MAX - len(cells)))
    if not name or any("\0" in cell for cell in cells):
        raise table_refused(where, "the name of a file", ascii(name)[:80])
    if bundle not in ("", BUNDLE) or (bundle and proof):
        expected = (
            f"`{BUNDLE}` in the fifth column, where the file is a ZIP of document and proof, or nothing"
        )
        raise table_refused(where, expected, ascii(bundle)[:80] if not proof else "it beside a proof")
    if question.is_anchor_only and request:
        raise table_refused(where, "no request, with --anchor-only", ascii(request)[:80])
    if not question.is_anchor_only and not request and question.request is None:
        raise table_refused(where, "a request in the third column, or --request for all", "none")
    try:
        max_age_ms = parse_duration(max_age) if max_age else question.max_age_ms
    except ValueError as error:
        raise table_refused(where, "a duration like 24h, or nothing", ascii(max_age)[:80]) from error
    document = listed.find(number, name)
    asked = None if question.request is None else str(question.request)
    if request:
        asked = str(listed.find(number, request))
    proof_path = _proof_of(listed, number, document, proof, is_bundle=bool(bundle))
    return Row(number, str(document), proof_path, asked, max_age_ms, bool(bundle), str(path.parent))


def _proof_of(listed: ListedFiles, number: int, document: Path, proof: str, *, is_bundle: bool) -> str | None:
    """Return the proof that a row names, or that stands beside its document in another normal form; else None."""
    if proof:
        return str(listed.find(number, proof))
    beside = listed.find_beside(number, document, PROOF_SUFFIX)
    if is_bundle or beside == document.with_name(document.name + PROOF_SUFFIX):
        is_missing = not is_bundle and not is_bundle_name(document.name) and not os.path.lexists(beside)
        if is_missing and os.path.lexists(document):
            listed.note_missing(number, beside)
        return None
    return str(beside)


def _binding(content: bytes, question: BulkQuestion) -> str:
    # It reads the installation's record: no other command pays for that.
    from node.version import release

    request = None if question.request is None else read_file(question.request, size_max=64 * 1024)
    parts = (
        content,
        pack(question.settings.trust),
        request or b"",
        f"{question.settings.at_ms} {question.is_anchor_only} {question.max_age_ms}".encode(),
        ",".join(COLUMNS).encode(),
        release().encode(),
    )
    digests = b"".join(hashlib.sha256(part).digest() for part in parts)
    return f"luohu verify {hashlib.sha256(digests).hexdigest()}"


def _answer_all(kept: Journal, rows: list[Row], settings: BulkSettings, jobs: int) -> int:
    """Answer all rows, and return how many are answered as an earlier call did."""
    progress = Progress("verifying", len(rows))
    recalled_count = 0
    try:
        answers = answer_rows(rows, settings, jobs=jobs, recall=lambda row: kept.find(row.number))
        for count, (row, answer) in enumerate(zip(rows, answers, strict=True), start=1):
            if answer.is_recalled:
                recalled_count += 1
            else:
                kept.append(row.number, answer)
            progress.update(count)
    except BrokenProcessPool as error:
        raise CommandError(
            exit_code=UNREACHABLE,
            where="verifying",
            expected="workers that finish",
            found="one that was killed",
            cure="Call it again, which goes on from here; with fewer --jobs where memory is short.",
            code="interrupted",
        ) from error
    finally:
        progress.finish()
    return recalled_count


def _write_answers(kept: Journal, out: Path, resumed_count: int, *, for_excel: bool) -> BulkSummary:
    verdicts: Counter[str] = Counter()
    codes: Counter[str] = Counter()
    first_rows: dict[tuple[str, str], str] = {}
    repeated_count = 0

    def finish(answers: Iterable[list[str]]) -> Iterator[list[str]]:
        nonlocal repeated_count
        for cells in answers:
            verdicts[cells[_VERDICT]] += 1
            if cells[_CODE]:
                codes[cells[_CODE]] += 1
            first_row = ""
            if cells[_NONCE]:
                # One request may ask for several documents: the same one again is a repeat.
                first_row = first_rows.setdefault((cells[_NONCE], cells[_COMMITMENT]), cells[_ROW])
            is_repeat = first_row not in ("", cells[_ROW])
            repeated_count += is_repeat
            for place in (_EXPECTED, _FOUND):
                cells[place] = in_words(cells[place], code=cells[_CODE], where=cells[_WHERE])
            times = [iso_time(int(cells[place])) if cells[place] else "" for place in _TIMES]
            yield [*cells, *times, first_row if is_repeat else ""]
        # Once more, before the file takes its name: the answers took their time.
        refuse_existing(out)

    pieces = csv_pieces(chain([ANSWER_COLUMNS], finish(kept.answers())), has_mark=for_excel)
    write_file(POSIX_FILES, out, pieces, mode=OUTPUT_MODE)
    return BulkSummary(dict(verdicts), dict(sorted(codes.items())), resumed_count, repeated_count)


def summary_json(summary: BulkSummary) -> dict[str, Json]:
    """Return the JSON form of a summary."""
    return {
        "rows_count": summary.rows_count,
        "resumed_count": summary.resumed_count,
        "repeated_count": summary.repeated_count,
        "verdicts": dict(summary.verdicts),
        "codes": dict(summary.codes),
    }
