"""`luohu set`, and `luohu verify --set`: files under one anchor, of which some or all are shown (docs/sets.md).

Rule 1: what is anchored is the manifest; which files are shown changes nothing of it.
Rule 2: the holder's file opens every file and is never overwritten; neither is another.
Rule 3: the first line of a verdict says how many of how many files are shown.
"""

from pathlib import Path

import click

from cli.exits import NO, refused, unreadable, wrong_usage
from cli.files import FILE, read_file, read_proof, read_request, refuse_existing, write_file
from cli.output import fields, json_option, print_answer
from cli.verify import UNCHECKED, past_rows, print_refusal, verdict_rows
from ledger.encoding.records import Json
from ledger.errors import LedgerError
from ledger.presentedsets import FileShown, SetVerdict
from ledger.sets import SHOWN_FILE_SIZE_MAX, SetEntry, ShownSet, select_files
from ledger.trust import TrustedRoot
from ledger.verdictjson import set_to_json
from ledger.verdicts import AnchorVerdict, VerificationError
from ledger.verifier import Verifier
from node.files.durablefile import PRIVATE_MODE
from node.recipient.question import TimeAsked, ask_set
from node.recipient.setfolder import files_in


@click.group("set")
def sets() -> None:
    """A set of files under one anchor: choose which of them a bank may see, and look at what is shown."""


@sets.command("select")
@click.argument("holder_path", metavar="DIR.set", type=FILE)
@click.option("--file", "names", multiple=True, metavar="NAME", help="A file to show; may be repeated.")
@click.option("--all", "is_all", is_flag=True, help="Show every file.")
@click.option("--out", type=FILE, required=True, help="Where to write what is shown.")
@json_option
def select(holder_path: Path, names: tuple[str, ...], is_all: bool, out: Path, as_json: bool) -> None:
    """Resident: choose the files of a set that a bank may see.

    Give the bank OUT, the proof of the set, and the chosen files. Present the proof as for every document: `luohu
    proof present`. What is not chosen gives nothing away but that it is there.

    \b
    Example:
      luohu set select pictures.set --file slice-1.dcm --file slice-2.dcm --out pictures.shown
    """
    if is_all == bool(names):
        raise wrong_usage(
            "luohu set select",
            expected="either --file NAME, once or more, or --all",
            found="both" if names else "neither",
            cure="Name the files to show; `luohu set show` lists them.",
        )
    refuse_existing(out)
    whole, files_count = _read(holder_path)
    chosen = select_files(whole, names or [entry.name.decode() for entry in whole.entries])
    write_file(out, chosen.encode(), mode=PRIVATE_MODE)
    shown = _listed(chosen)
    print_answer(
        as_json=as_json,
        value={
            "shown": [entry.name.decode() for entry in shown],
            "files_count": files_count,
            "shown_hash": chosen.shown_hash.hex(),
        },
        lines=[
            f"wrote {out}: whoever has it can verify {_of(len(shown), files_count)}",
            *fields([("shows", entry.name.decode()) for entry in shown]),
        ],
    )


@sets.command("show")
@click.argument("file", metavar="FILE", type=FILE)
@json_option
def show(file: Path, as_json: bool) -> None:
    """Show the files in a set or in what was chosen of it. Nothing is verified but that it fits together.

    \b
    Example:
      luohu set show pictures.set
    """
    shown, files_count = _read(file)
    entries = _listed(shown)
    rows = [(f"shows {entry.name.decode()}", f"{entry.media_type}, {entry.size} bytes") for entry in entries]
    value: dict[str, Json] = {
        "files": [
            {"name": entry.name.decode(), "media_type": entry.media_type, "size": entry.size}
            for entry in entries
        ],
        "shown_count": len(entries),
        "files_count": files_count,
        "shown_hash": shown.shown_hash.hex(),
    }
    print_answer(
        as_json=as_json, value=value, lines=[f"{file}: {_of(len(entries), files_count)}", *fields(rows)]
    )


def check_set_call(shown: Path | None, proof: Path | None, *, is_bundle: bool) -> tuple[Path, Path]:
    """Return the two files that `luohu verify --set` needs. Raises CommandError."""
    if shown is None or proof is None or is_bundle:
        raise wrong_usage(
            "--set",
            expected="one FILE, which shows files of a set, and --proof",
            found="--bundle or --extract"
            if is_bundle
            else "no --proof"
            if shown is not None
            else "--manifest",
            cure="Name what the resident chose, the proof of the set, and the folder with the files.",
        )
    return shown, proof


def verify_shown(
    shown_path: Path,
    proof_path: Path,
    folder: Path,
    trust: TrustedRoot,
    request_path: Path | None,
    time: TimeAsked,
    *,
    as_json: bool,
) -> int:
    """Verify the files of a set that are shown, and print what holds. Without a request, of the anchor alone."""
    request = None if request_path is None else read_request(request_path)
    try:
        verdict = ask_set(
            Verifier(trust),
            read_file(shown_path, size_max=SHOWN_FILE_SIZE_MAX),
            read_proof(proof_path),
            files_in(folder),
            request,
            time,
        )
    except VerificationError as error:
        print_refusal(error, is_anchor_only=request is None, as_json=as_json)
        return NO
    except LedgerError as error:
        raise refused(error) from error
    except OSError as error:
        raise unreadable(str(error.filename or folder), error) from error
    _print_verdict(verdict, time, as_json=as_json)
    return 0


def _print_verdict(verdict: SetVerdict, time: TimeAsked, *, as_json: bool) -> None:
    of = _of(len(verdict.files), verdict.files_count)
    is_anchor_only = isinstance(verdict.document, AnchorVerdict)
    first = f"ANCHOR VERIFIED ONLY, {of}: {UNCHECKED}" if is_anchor_only else f"VERIFIED, {of}"
    rows = [
        *past_rows(time),
        *verdict_rows(verdict.document),
        (
            "complete",
            f"that the set has {verdict.files_count} files, and no more belong to it, is the issuer's word",
        ),
        *((f"shows {file.name}", _described(file)) for file in verdict.files),
    ]
    print_answer(as_json=as_json, value=set_to_json(verdict, at_ms=time.at_ms), lines=[first, *fields(rows)])


def _described(file: FileShown) -> str:
    return f"{file.media_type}, {file.size} bytes, here {', '.join(file.found_as)}"


def _of(shown_count: int, files_count: int) -> str:
    if shown_count == files_count:
        return f"all {files_count} files of the set"
    return f"{shown_count} of {files_count} files of the set"


def _read(path: Path) -> tuple[ShownSet, int]:
    """Return the set in a file, and how many files it has as a whole. Raises LedgerError where it is none."""
    shown = ShownSet.decode(read_file(path, size_max=SHOWN_FILE_SIZE_MAX))
    return shown, shown.check()


def _listed(shown: ShownSet) -> list[SetEntry]:
    return sorted(shown.entries, key=lambda entry: entry.name)
