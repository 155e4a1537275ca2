"""`luohu verify`: a document, its proof, the bank's own request and a trusted root, offline.

Rule 1: the first line says the verdict. With `--anchor-only` it says that neither consent nor presentation
was checked.
Rule 2: a refusal names code and step, expected and found, and what a clerk can say and do, in three languages.
Rule 3: without `--at` the present is asked about, by this machine's clock. With it a past time: one to come is refused.
Rule 4: where a bundle was asked for, the first line says that the verdict is about the document inside; its name and
digest follow. Only what verified is written out, and never over another file.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import click

from cli.bulk import BulkQuestion, BulkSummary, summary_json, verify_manifest
from cli.exits import NO, refused, unreadable, wrong_usage
from cli.files import FILE, read_request, read_trusted_root, refuse_existing
from cli.output import fields, json_option, print_answer
from cli.times import in_words, now_ms, show_duration, show_time, to_duration, to_moment
from ledger.bundles import is_bundle_name
from ledger.encoding.records import Json
from ledger.errors import LedgerError
from ledger.requests import Request
from ledger.sets import SET_MEDIA_TYPE
from ledger.verdictjson import ANCHOR_VERIFIED, VERIFIED, refusal_to_json, verdict_to_json
from ledger.verdicts import AnchorVerdict, Verdict, VerificationError
from ledger.verifier import MAX_AGE_MS, Verifier
from node.files.durablefile import POSIX_FILES, create_file
from node.files.reading import DOCUMENT_SIZE_MAX, open_piped, open_within
from node.recipient.bulk import JOBS_MAX, BulkSettings
from node.recipient.presented import InsideDocument, PresentedFiles, tell_files
from node.recipient.question import TimeAsked, ask

UNCHECKED = "neither consent nor presentation was checked"


class _VerifyCommand(click.Command):
    """`luohu verify`, and `luohu verify serve`. A document of that name is `./serve`."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: object
    ) -> click.Context:
        if args[:1] != ["serve"]:
            return super().make_context(info_name, args, parent, **cast(Any, extra))
        from cli.serve import serve

        context: click.Context = serve.make_context(
            f"{info_name} serve", args[1:], parent, **cast(Any, extra)
        )
        return context


@click.command("verify", cls=_VerifyCommand)
@click.argument("document", metavar="[FILE]", type=FILE, required=False)
@click.option("--proof", "proof_path", type=FILE, help="The proof file.  [default: FILE.proof]")
@click.option("--bundle", "as_bundle", is_flag=True, help="FILE is a ZIP: verify the document inside.")
@click.option("--extract", type=FILE, metavar="PATH", help="Write out the document inside, once verified.")
@click.option(
    "--set",
    "set_folder",
    type=FILE,
    metavar="DIR",
    help="FILE shows files of a set: verify those that lie in DIR.",
)
@click.option("--trust", "trust_path", type=FILE, required=True, help="The trusted root, trust.json.")
@click.option("--request", "request_path", type=FILE, help="Your own consent request, as you made it.")
@click.option("--anchor-only", is_flag=True, help="Check neither consent nor presentation.")
@click.option(
    "--max-age",
    type=to_duration,
    default=MAX_AGE_MS,
    metavar="DURATION",
    help="How old the proof may be, like 24h, 30m or 7d.  [default: 24h]",
)
@click.option(
    "--at",
    type=to_moment,
    metavar="TIME",
    help="A past time asked about; a date alone is its end in UTC+8.  [default: the present]",
)
@click.option(
    "--manifest",
    type=FILE,
    metavar="CSV",
    help="Rows of file, proof, request, max-age, bundle; instead of FILE.",
)
@click.option("--out", type=FILE, metavar="CSV", help="Where the answers to a manifest go.")
@click.option(
    "--excel", is_flag=True, help="Begin --out with a byte-order mark, so that Excel shows Chinese."
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    metavar="N",
    help="Processes that verify a manifest.  [default: one for each core]",
)
@json_option
def verify(
    document: Path | None,
    proof_path: Path | None,
    as_bundle: bool,
    extract: Path | None,
    set_folder: Path | None,
    trust_path: Path,
    request_path: Path | None,
    anchor_only: bool,
    max_age: int,
    at: int | None,
    manifest: Path | None,
    out: Path | None,
    excel: bool,
    jobs: int | None,
    as_json: bool,
) -> int:
    """Verify a document offline: who issued it, when, whether it stands, and that you may use it.

    Needs no network: only FILE, its proof, the trusted root, and the request that you made yourself. FILE is
    verified as it is. Accept each request once: verification keeps no memory.

    A ZIP of document and proof is a bundle with --bundle, or where its name ends in .zip and no FILE.proof stands
    beside it. Then the verdict is about the document inside, which --extract writes out.

    With --set, FILE is what the resident chose of a set, and DIR holds exactly the files that it shows. They are told
    by their content, whatever their names.

    With --manifest, thousands of documents, an answer for each in --out. `luohu verify serve` offers the same on
    loopback to systems in other languages.

    \b
    Example:
      luohu verify report.pdf --trust trust.json --request request.luohu
      luohu verify both.zip --extract report.pdf --trust trust.json --request request.luohu
      luohu verify report.pdf --trust trust.json --anchor-only
      luohu verify pictures.shown --set pictures --proof pictures.proof --trust trust.json --request request.luohu
      luohu verify --manifest today.csv --out answers.csv --trust trust.json
    """
    _check_call(document, proof_path, request_path, anchor_only, manifest, out, jobs, is_for_excel=excel)
    time = time_asked(at, max_age)
    _check_bundle_call(document, proof_path, extract, as_bundle=as_bundle)
    if set_folder is not None:
        from cli.sets import check_set_call, verify_shown

        shown_path, proof = check_set_call(document, proof_path, is_bundle=as_bundle or extract is not None)
        return verify_shown(
            shown_path, proof, set_folder, read_trusted_root(trust_path), request_path, time, as_json=as_json
        )
    trust = read_trusted_root(trust_path)
    if manifest is not None and out is not None:
        settings = BulkSettings(trust, at, None if request_path is None else str(request_path))
        question = BulkQuestion(settings, request_path, anchor_only, max_age)
        jobs = jobs or min(JOBS_MAX, os.cpu_count() or 1)
        summary = verify_manifest(manifest, out, question, jobs=jobs, for_excel=excel)
        return _print_summary(summary, out, is_anchor_only=anchor_only, as_json=as_json)
    assert document is not None, "the call was checked"
    files = tell_files(document, proof_path, as_bundle=as_bundle)
    _check_extract(files, extract)
    request = None if request_path is None else read_request(request_path)
    shown = ShownFile(files, is_proof_named=proof_path is not None)
    try:
        verdict = _verify(shown, Verifier(trust), request, time, extract)
    except VerificationError as error:
        print_refusal(error, is_anchor_only=request is None, as_json=as_json, file=shown)
        return NO
    except LedgerError as error:
        raise refused(error) from error
    _print_verdict(verdict, time, as_json=as_json, file=shown)
    return 0


def time_asked(at: int | None, max_age: int) -> TimeAsked:
    """Return the time that a command asks about. Raises CommandError for a time to come."""
    time = TimeAsked(now_ms(), at, max_age)
    if time.is_to_come:
        raise wrong_usage(
            "--at",
            expected=f"a past time; this machine's clock says {show_time(time.now_ms)}",
            found=show_time(time.at_ms),
            cure="Leave --at out to ask about the present, or name an earlier time; a date alone is its end.",
        )
    return time


def _check_call(
    document: Path | None,
    proof: Path | None,
    request: Path | None,
    is_anchor_only: bool,
    manifest: Path | None,
    out: Path | None,
    jobs: int | None,
    *,
    is_for_excel: bool,
) -> None:
    if (document is None) == (manifest is None):
        raise wrong_usage(
            "luohu verify",
            expected="either FILE or --manifest CSV",
            found="neither" if document is None else "both",
            cure="Name one document, or a manifest of many.",
        )
    if (out is None) != (manifest is None) or (manifest is None and (jobs is not None or is_for_excel)):
        raise wrong_usage(
            "luohu verify",
            expected="--manifest with --out, and --jobs and --excel only with them",
            found="--manifest without --out" if out is None and manifest is not None else "no --manifest",
            cure="Give --manifest CSV --out CSV; one document needs none of them.",
        )
    if manifest is not None and proof is not None:
        raise wrong_usage(
            "--proof", expected="none beside --manifest", found="one", cure="Name it in the second column."
        )
    # In a manifest, each row may name its own request; cli.bulk asks for the others.
    if (request is not None) if is_anchor_only else (request is None and manifest is None):
        raise wrong_usage(
            "luohu verify",
            expected="either --request REQUEST or --anchor-only",
            found="both" if is_anchor_only else "neither",
            cure="Give your own request with --request; without one, say --anchor-only to check less.",
        )


def _check_bundle_call(
    document: Path | None, proof: Path | None, extract: Path | None, *, as_bundle: bool
) -> None:
    if as_bundle and (document is None or proof is not None):
        raise wrong_usage(
            "--bundle",
            expected="one FILE, and no --proof: the proof is inside",
            found="--manifest" if document is None else "--proof",
            cure="In a manifest, write `bundle` in the fifth column. Beside a proof, FILE is the document itself.",
        )
    if extract is not None and document is None:
        raise wrong_usage(
            "--extract",
            expected="one FILE",
            found="--manifest",
            cure="Verify that one by itself, with --extract.",
        )


def _check_extract(files: PresentedFiles, extract: Path | None) -> None:
    if extract is None:
        return
    if files.proof is not None:
        raise wrong_usage(
            "--extract",
            expected="a bundle",
            found="a document that is a file already",
            cure="Leave --extract away; where FILE is a ZIP of document and proof, say --bundle.",
        )
    refuse_existing(extract)


def _print_summary(summary: BulkSummary, out: Path, *, is_anchor_only: bool, as_json: bool) -> int:
    verified_count = sum(summary.verdicts.get(verdict, 0) for verdict in (VERIFIED, ANCHOR_VERIFIED))
    note = f" ({UNCHECKED})" if is_anchor_only else ""
    rows = [(code, f"{count}") for code, count in summary.codes.items()]
    if summary.resumed_count:
        rows.append(("of an earlier call", f"{summary.resumed_count} rows"))
    if summary.repeated_count:
        again = f"{summary.repeated_count} rows: the same request and document as an earlier row; accept each once"
        rows.append(("presented again", again))
    lines = [f"{verified_count} of {summary.rows_count} verified{note}; wrote {out}", *fields(rows)]
    print_answer(as_json=as_json, value=summary_json(summary), lines=lines)
    return 0 if verified_count == summary.rows_count else NO


@dataclass(slots=True)
class ShownFile:
    """What is told of the file that a verdict is about: itself, or the document inside."""

    files: PresentedFiles
    is_proof_named: bool
    inside: InsideDocument | None = None
    written: Path | None = None

    @property
    def note(self) -> str:
        """Say that a verdict is about the document inside; empty where it is about the named file itself."""
        return "" if self.files.proof is not None else f"the document inside {self.files.document}"

    def rows(self) -> list[tuple[str, str]]:
        """Return what people read of it."""
        inside, proof = self.inside, self.files.proof
        if proof is not None and not self.is_proof_named and is_bundle_name(self.files.document.name):
            meant = (
                f"{self.files.document} itself, for {proof} stands beside it; --bundle means what is inside"
            )
            return [("file", meant)]
        if inside is None:
            return []
        rows = [("inside", f"{inside.name}, {inside.size} bytes")]
        if inside.sha256 is not None:
            rows.append(("SHA-256", inside.sha256.hex()))
        if self.written is not None:
            rows.append(("written to", f"{self.written}"))
        return rows

    def to_json(self) -> dict[str, Json]:
        """Return what programs read of it: `inside`, where the document is the one in a bundle."""
        inside = self.inside
        if inside is None:
            return {}
        written = None if self.written is None else f"{self.written}"
        return {"inside": {**inside.to_json(), "written": written}}


def _verify(
    shown: ShownFile, verifier: Verifier, request: Request | None, time: TimeAsked, extract: Path | None
) -> AnchorVerdict | Verdict:
    """Verify a document with its proof, in whichever files they come, and write it out where that is asked."""
    files = shown.files

    def open_file(each: Path) -> BinaryIO:
        if each == files.document or shown.is_proof_named:
            return open_piped(each, size_max=DOCUMENT_SIZE_MAX)
        # It stands beside the document, where others may have put it.
        return open_within(each.parent, each.name)

    try:
        with files.opened(open_file) as opened:
            shown.inside = opened.inside
            try:
                verdict = ask(verifier, opened.pieces(), opened.proof, request, time)
            except VerificationError as error:
                raise opened.explained(error) from error
            if extract is not None:
                assert opened.inside is not None, "the call was checked"
                _write_inside(opened.inside, extract)
                shown.written = extract
            return verdict
    except FileNotFoundError as error:
        if shown.is_proof_named or f"{error.filename}" != f"{files.proof}":
            raise unreadable(str(error.filename or files.document), error) from error
        raise wrong_usage(
            f"{files.proof}",
            expected="the proof beside the document",
            found="no such file",
            cure="Name the proof with --proof; where FILE is a ZIP of document and proof, say --bundle.",
            code="path",
        ) from error
    except OSError as error:
        raise unreadable(str(error.filename or files.document), error) from error


def _write_inside(inside: InsideDocument, path: Path) -> None:
    """Write out what was verified, byte for byte: it is read once more, and compared before it has its name."""
    try:
        create_file(POSIX_FILES, path, inside.again())
    except FileExistsError:
        refuse_existing(path)
        raise
    except OSError as error:
        raise unreadable(str(path), error) from error


def print_refusal(
    error: VerificationError, *, is_anchor_only: bool, as_json: bool, file: ShownFile | None = None
) -> None:
    """Print why a document was refused."""
    meaning, next_step = error.refusal.meaning, error.refusal.next_step
    notes = [] if file is None or not file.note else [file.note]
    notes += [UNCHECKED] if is_anchor_only else []
    note = f" ({'; '.join(notes)})" if notes else ""
    rows = [
        *([] if file is None else file.rows()),
        ("step", error.step),
        ("where", error.where),
        ("expected", in_words(error.expected, code=error.code, where=error.where)),
        ("found", in_words(error.found, code=error.code, where=error.where)),
        ("en", f"{meaning.en} {next_step.en}"),
        ("zh-Hans", meaning.zh_hans + next_step.zh_hans),
        ("zh-Hant", meaning.zh_hant + next_step.zh_hant),
    ]
    lines = [f"REFUSED: {error.code}{note}", *fields(rows)]
    value = refusal_to_json(error, is_anchor_only=is_anchor_only) | ({} if file is None else file.to_json())
    print_answer(as_json=as_json, value=value, lines=lines)


def _print_verdict(
    verdict: AnchorVerdict | Verdict, time: TimeAsked, *, as_json: bool, file: ShownFile
) -> None:
    notes = [file.note] if file.note else []
    if isinstance(verdict, AnchorVerdict):
        first, notes = "ANCHOR VERIFIED ONLY", [*notes, UNCHECKED]
    else:
        first = "VERIFIED"
    rows = [*file.rows(), *past_rows(time), *verdict_rows(verdict)]
    if verdict.integrity.media_type == SET_MEDIA_TYPE:
        rows.append(("set", "the list of a set alone: none of its files was verified; see --set"))
    value = verdict_to_json(verdict, at_ms=time.at_ms) | file.to_json()
    line = f"{first}: {'; '.join(notes)}" if notes else first
    print_answer(as_json=as_json, value=value, lines=[line, *fields(rows)])


def past_rows(time: TimeAsked) -> list[tuple[str, str]]:
    """Return the row that says that a past time was asked about, where one was."""
    return [] if time.past_ms is None else [("asked about", f"{show_time(time.at_ms)}, not the present")]


def verdict_rows(verdict: AnchorVerdict | Verdict) -> list[tuple[str, str]]:
    """Return what people read of a verdict: a row for each axis that was checked."""
    return [*_anchor_rows(verdict), *(_consent_rows(verdict) if isinstance(verdict, Verdict) else [])]


def _anchor_rows(verdict: AnchorVerdict | Verdict) -> list[tuple[str, str]]:
    integrity, issuer, anchored, status = (
        verdict.integrity,
        verdict.issuer,
        verdict.anchored,
        verdict.status,
    )
    expiry = "no expiry" if anchored.expires_ms is None else f"valid until {show_time(anchored.expires_ms)}"
    standing = "suspended, anchored before that" if issuer.is_suspended else "in good standing"
    return [
        ("document", f"exactly as anchored: {integrity.size} bytes, {integrity.media_type}"),
        ("issuer", f"{issuer.name_en} / {issuer.name_zh_hans} / {issuer.name_zh_hant} ({issuer.member})"),
        ("standing", f"{standing} as of block {status.height}"),
        ("kind", anchored.schema),
        ("anchored", f"{show_time(anchored.time_ms)}, block {anchored.height}; {expiry}"),
        ("status", f"not revoked as of block {status.height}, {show_time(status.time_ms)}"),
        ("proof age", show_duration(status.age_ms)),
        (
            "trust",
            f"chain {verdict.trust.chain_id.hex()[:16]}, pinned block {verdict.trust.height} "
            f"of epoch {verdict.trust.epoch}",
        ),
    ]


def _consent_rows(verdict: Verdict) -> list[tuple[str, str]]:
    consent, presented = verdict.consent, verdict.presented
    by = "the holder's key" if presented.holder_key is not None else "the consent key (bearer document)"
    return [
        (
            "consent",
            f"active: {consent.recipient} for {consent.purpose}, until {show_time(consent.until_ms)}",
        ),
        ("uses", f"{consent.used} of {consent.uses} recorded"),
        ("presented", f"for this request, signed by {by}"),
    ]
