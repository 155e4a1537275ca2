"""`luohu issued`: what a bureau's counter does with what it issued: list, show, prove again, correct, retry, drop.

Rule 1: a document is named by its number in the register, its commitment, its reference, or the file beside which its
proof belongs.
Rule 2: what changes something has `--dry-run`, which says what would be done and does nothing.
Rule 3: a correction is anchored and can be proven before the document that it replaces is revoked; called again after a
crash it goes on with the same one.
Rule 4: a proof is written over nothing but a proof of the same document.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from cli.agreement import require_yes
from cli.exits import FINE, NO, unreadable, wrong_usage
from cli.files import FILE, read_proof, refuse_existing, write_file
from cli.homes import open_member
from cli.nodes import connect_all
from cli.output import fields, json_option, print_answer
from cli.passphrases import passphrase_option
from cli.registers import WAIT, Counter, left_behind, left_rows, name_of
from cli.roots import TRUST, URLS, root_of_home
from cli.times import now_ms, show_time, to_moment
from ledger.encoding.keys import PublicKey
from ledger.encoding.records import Json
from ledger.errors import LedgerError
from ledger.proofs import Proof
from ledger.sets import SET_MEDIA_TYPE
from node.client.issuing.draft import Draft, draft_of_file, proof_path_of
from node.client.issuing.outbox import Settled
from node.client.issuing.place import missing, register_of_home
from node.client.issuing.register import Issued, Register, State
from node.clock import SystemClock
from node.files.durablefile import PRIVATE_MODE
from node.home.home import Home

LIMIT_MAX: Final = 100_000
COMMITMENT_DIGITS: Final = 64
PROVABLE: Final = (State.ANCHORED, State.DELIVERED, State.REFUSED)
CORRECTABLE: Final = (State.SUBMITTED, State.ANCHORED, State.DELIVERED)

_HOME: Final = click.option("--home", "home_path", type=FILE, required=True, help="The home of the issuer.")
_DRY_RUN: Final = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")


@click.group("issued")
def issued() -> None:
    """Look after what was issued: list, show, prove again, correct, retry, drop."""


@issued.command("list")
@click.option(
    "--state", type=click.Choice([f"{each}" for each in State]), help="Only documents in this state."
)
@click.option(
    "--limit",
    type=click.IntRange(1, LIMIT_MAX),
    default=100,
    show_default=True,
    help="How many at most, the newest first.",
)
@_HOME
@WAIT
@json_option
def list_documents(state: str | None, limit: int, home_path: Path, wait_ms: int, as_json: bool) -> None:
    """List what was issued, newest first, and count each state.

    \b
    Example:
      luohu issued list --state refused --home network/hk-bureau
    """
    with _register(home_path, wait_ms) as register:
        counts = register.counts()
        found = register.newest(limit, state=None if state is None else State(state))
    counted = ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing was issued"
    value: dict[str, Json] = {
        "counts": {f"{name}": count for name, count in counts.items()},
        "documents": [_document_json(each) for each in found],
    }
    print_answer(as_json=as_json, value=value, lines=[counted, *fields(map(_row, found))])


@issued.command("show")
@click.argument("document", metavar="DOCUMENT")
@_HOME
@WAIT
@json_option
def show(document: str, home_path: Path, wait_ms: int, as_json: bool) -> None:
    """Show one document: its state, its anchor, its proof, and other documents of the same content.

    \b
    Example:
      luohu issued show report.pdf --home network/hk-bureau
    """
    with _register(home_path, wait_ms) as register:
        found = _find(register, document)
        follower = register.find_successor(found)
        content = None if found.opening is None else found.opening.content_root
        copies = [] if content is None else register.find_content(content)
        root = None if found.batch is None else register.batch(found.batch).root
    others = [each for each in copies if each.id != found.id]
    value: dict[str, Json] = {
        **_document_json(found),
        "anchor_root": None if root is None else root.hex(),
        "corrected_by": None if follower is None else follower.id,
        "same_content": [each.id for each in others],
    }
    rows = [(name, "none" if shown is None else f"{shown}") for name, shown in value.items()]
    print_answer(as_json=as_json, value=value, lines=[f"{name_of(found)} is {found.state}", *fields(rows)])


@issued.command("proof")
@click.argument("document", metavar="DOCUMENT")
@click.option("--out", type=FILE, metavar="FILE.proof", help="Where it goes.  [default: beside its document]")
@_HOME
@_DRY_RUN
@WAIT
@TRUST
@URLS
@passphrase_option
@json_option
def prove(
    document: str,
    out: Path | None,
    home_path: Path,
    dry_run: bool,
    wait_ms: int,
    trust_path: Path | None,
    urls: tuple[str, ...],
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Make a lost proof again, with evidence of now. Nothing is anchored.

    \b
    Example:
      luohu issued proof report.pdf --home network/hk-bureau --url http://127.0.0.1:7201
    """
    member = open_member(home_path, passphrase_file)
    root = root_of_home(trust_path, member.home.genesis)
    if out is not None:
        refuse_existing(out)
    with _register(home_path, wait_ms) as register:
        found = _find(register, document)
    if found.state not in PROVABLE or found.opening is None or found.height is None:
        raise wrong_usage(
            name_of(found),
            expected="a document that is anchored and stands",
            found="one that was erased" if found.opening is None else f"one that is {found.state}",
            cure="`luohu issued retry` finishes what waits; what is revoked or erased has no proof.",
        )
    path = out or found.proof_path
    if path is None:
        raise wrong_usage(
            "--out", expected="a place for the proof", found="none", cure="Name one with --out."
        )
    if out is None:
        _check_replaces(path, found)
    if not dry_run:

        async def ask() -> Proof:
            async with connect_all(urls) as nodes:
                counter = Counter(member, root, nodes, SystemClock(), wait_ms)
                async with counter.lend() as outbox:
                    return await outbox.prove(found)

        proof = asyncio.run(ask())
        write_file(path, proof.encode(), mode=PRIVATE_MODE)
        with _register(home_path, wait_ms) as register:
            register.mark_delivered(found)
    said = f"the proof of {name_of(found)} {'would be' if dry_run else 'is'} in {path}"
    value: dict[str, Json] = {"number": found.id, "proof": f"{path}", "is_dry_run": dry_run}
    print_answer(as_json=as_json, value=value, lines=[said])


@issued.command("correct")
@click.argument("document", metavar="DOCUMENT")
@click.argument("file", metavar="FILE", type=FILE)
@click.option("--holder", metavar="KEY", help="The holder key.  [default: that of DOCUMENT]")
@click.option("--expires", type=to_moment, metavar="DATE", help="Until when.  [default: as DOCUMENT]")
@_HOME
@_DRY_RUN
@WAIT
@TRUST
@URLS
@passphrase_option
@json_option
def correct(
    document: str,
    file: Path,
    holder: str | None,
    expires: int | None,
    home_path: Path,
    dry_run: bool,
    wait_ms: int,
    trust_path: Path | None,
    urls: tuple[str, ...],
    passphrase_file: Path | None,
    as_json: bool,
) -> int:
    """Issue FILE in place of DOCUMENT, which is revoked once the new one can be proven.

    May be called again after any crash: it goes on with the same correction.

    \b
    Example:
      luohu issued correct 17 report-2.pdf --home network/hk-bureau --url http://127.0.0.1:7201
    """
    member = open_member(home_path, passphrase_file)
    root = root_of_home(trust_path, member.home.genesis)
    content = _draft(file)
    with _register(home_path, wait_ms) as register:
        old = _find(register, document)
        follower = register.find_successor(old)
    if old.opening is None or (follower is None and old.state not in CORRECTABLE):
        raise wrong_usage(
            name_of(old),
            expected="a document that is on the ledger and stands",
            found="one that was erased" if old.opening is None else f"one that is {old.state}",
            cure="Drop what was never anchored (`luohu issued drop`), and anchor the right document.",
        )
    if old.opening.media_type == SET_MEDIA_TYPE:
        raise wrong_usage(
            name_of(old),
            expected="a document that is one file",
            found="a set of files",
            cure="Anchor the corrected folder with `luohu anchor --set DIR`, then revoke the old set: `luohu revoke`.",
        )
    metadata = old.opening.decoded_metadata()
    draft = replace(
        content,
        schema=metadata.schema,
        holder_key=_holder(holder, metadata.holder_key),
        expires_ms=expires or metadata.expires_ms,
    )
    _check_correction(old, follower, draft)
    settled = Settled((), (), ())
    made = follower
    if not dry_run:

        async def act() -> tuple[Issued, Settled]:
            async with connect_all(urls) as nodes:
                counter = Counter(member, root, nodes, SystemClock(), wait_ms)
                async with counter.lend() as outbox:
                    new = outbox.register.supersede_document(old, draft, now_ms=now_ms())
                    outbox.register.readmit([new])
                    done = await outbox.submit(only={new.id})
                return new, done + await counter.deliver({new.id})

        made, settled = asyncio.run(act())
    value: dict[str, Json] = {
        "corrected": old.id,
        "number": None if made is None else made.id,
        "proof": f"{draft.proof_path}",
        "revoked": [each.hex() for each in settled.revoked],
        "refused": [*left_behind(settled)],
        "is_dry_run": dry_run,
    }
    is_left = bool(settled.refused or settled.unwritten or settled.unrevoked)
    if dry_run:
        said = f"{file} would be issued in place of {name_of(old)}, which would be revoked"
    elif is_left:
        said = f"{name_of(old)} is not corrected whole: what was refused follows"
    else:
        said = f"{name_of(old)} is corrected: proof {draft.proof_path}"
    unrevoked = [("not revoked", f"{name_of(old)}: {error}") for _, error in settled.unrevoked]
    print_answer(as_json=as_json, value=value, lines=[said, *fields([*left_rows(settled), *unrevoked])])
    return NO if is_left else FINE


@issued.command("retry")
@click.argument("documents", metavar="[DOCUMENT]...", nargs=-1)
@_HOME
@_DRY_RUN
@WAIT
@TRUST
@URLS
@passphrase_option
@json_option
def retry(
    documents: tuple[str, ...],
    home_path: Path,
    dry_run: bool,
    wait_ms: int,
    trust_path: Path | None,
    urls: tuple[str, ...],
    passphrase_file: Path | None,
    as_json: bool,
) -> int:
    """Finish what waits, and try again what was refused: the named documents, or all.

    One whose expiry has passed stays refused: drop it.

    \b
    Example:
      luohu issued retry --home network/hk-bureau --url http://127.0.0.1:7201
    """
    member = open_member(home_path, passphrase_file)
    root = root_of_home(trust_path, member.home.genesis)
    with _register(home_path, wait_ms) as register:
        named = [_find(register, each) for each in dict.fromkeys(documents)]
        chosen = named if documents else [register.document(each) for each in register.refused_ids()]
        waiting_count = sum(each.is_waiting for each in named) if documents else register.waiting_count()
    now = now_ms()
    again = [each for each in chosen if each.state is State.REFUSED and not _has_expired(each, now)]
    settled = Settled((), (), ())
    if not dry_run:

        async def act() -> Settled:
            async with connect_all(urls) as nodes:
                counter = Counter(member, root, nodes, SystemClock(), wait_ms)
                async with counter.lend() as outbox:
                    outbox.register.readmit(again)
                    only = {each.id for each in named} if documents else None
                    done = await outbox.submit(only=only)
                    ids = set(outbox.register.undelivered_ids(only=only))
                return done + await counter.deliver(ids)

        settled = asyncio.run(act())
    with _register(home_path, wait_ms) as register:
        left = [register.document(each.id) for each in chosen]
    still = [each for each in left if each.state is State.REFUSED] if not dry_run else []
    value: dict[str, Json] = {
        "retried": [each.id for each in again],
        "waiting_count": waiting_count,
        "anchors": [{"root": each.root.hex(), "height": each.height} for each in settled.anchored],
        "delivered_count": len(settled.delivered),
        "revoked": [each.hex() for each in settled.revoked],
        "refused": [_document_json(each) for each in still],
        "unwritten": [each for each in left_behind(settled) if each["state"] != "refused"],
        "is_dry_run": dry_run,
    }
    if dry_run:
        said = f"{len(again)} refused documents would be tried again, {waiting_count} that wait finished"
    else:
        said = f"{len(settled.delivered)} proofs are written; {len(still)} documents stay refused"
    print_answer(
        as_json=as_json, value=value, lines=[said, *fields([*map(_row, still), *left_rows(settled)])]
    )
    return NO if still or settled.unwritten or settled.unrevoked else FINE


@issued.command("drop")
@click.argument("documents", metavar="DOCUMENT...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@_HOME
@_DRY_RUN
@WAIT
@json_option
def drop(
    documents: tuple[str, ...], yes: bool, home_path: Path, dry_run: bool, wait_ms: int, as_json: bool
) -> None:
    """Give up documents that were collected or refused. They stay in the list; no proof of them goes out.

    \b
    Example:
      luohu issued drop 17 --home network/hk-bureau
    """
    with _register(home_path, wait_ms) as register:
        found = [_find(register, each) for each in dict.fromkeys(documents)]
        register.check_droppable(found)
    if not dry_run:
        require_yes(f"Drop {', '.join(map(name_of, found))}?", yes=yes, command="luohu issued drop")
        with _register(home_path, wait_ms) as register:
            register.drop(found)
    said = f"{len(found)} documents {'would be' if dry_run else 'are'} dropped"
    value: dict[str, Json] = {"dropped": [each.id for each in found], "is_dry_run": dry_run}
    print_answer(as_json=as_json, value=value, lines=[said, *fields(map(_row, found))])


@contextmanager
def _register(home_path: Path, wait_ms: int) -> Iterator[Register]:
    """Open the register of a home, without its key. Raises ConfigError, RegisterError or OSError."""
    home = Home.open(home_path)
    path = register_of_home(home.path, wait_ms=wait_ms)
    if (error := missing(path)) is not None:
        raise error
    chain_id = home.genesis.content.chain_id
    with Register.open(path, chain_id=chain_id, issuer=home.member, wait_ms=wait_ms) as register:
        yield register


def _find(register: Register, text: str) -> Issued:
    """Return the document that is meant (rule 1). Raises CommandError."""
    found = [*_named(register, text)]
    if len(found) == 1:
        return found[0]
    numbers = ", ".join(f"{each.id} ({each.state})" for each in found[:8])
    raise wrong_usage(
        "DOCUMENT",
        expected="the number of one document, its commitment, its reference, or its file",
        found=f"{len(found)} documents of {ascii(text)[:80]}: {numbers}" if found else ascii(text)[:80],
        cure="`luohu issued list` shows the numbers.",
        code="unknown-document",
    )


def _named(register: Register, text: str) -> list[Issued]:
    by_reference = register.find(text)
    if by_reference is not None:
        return [by_reference]
    if text.isascii() and text.isdecimal() and len(text) < 19:
        return register.numbered(int(text))
    if len(text) == COMMITMENT_DIGITS and set(text) <= set("0123456789abcdef"):
        by_commitment = register.find_commitment(bytes.fromhex(text))
        return [] if by_commitment is None else [by_commitment]
    if "\0" in text or not Path(text).name:
        return []
    found = register.find_proof_path(proof_path_of(Path(text)))
    standing = [each for each in found if each.state not in (State.DROPPED, State.REVOKED, State.CORRECTED)]
    return standing or found


def _check_replaces(path: Path, found: Issued) -> None:
    """Raise CommandError where something else than a proof of the document has the name (rule 4)."""
    try:
        path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise unreadable(str(path), error) from error
    try:
        is_same = Proof.decode(read_proof(path)).opening.commitment() == found.commitment
    except LedgerError:
        is_same = False
    if not is_same:
        raise wrong_usage(
            str(path),
            expected="nothing, or a proof of this document",
            found="something else",
            cure="Name another place with --out.",
        )


def _check_correction(old: Issued, follower: Issued | None, draft: Draft) -> None:
    assert old.opening is not None, "its caller looked"
    if follower is not None and (follower.opening is None or not draft.is_of(follower.opening)):
        raise wrong_usage(
            name_of(old),
            expected="a document that was not corrected yet, or the same correction again",
            found=f"one that {name_of(follower)} corrects",
            cure=f"Correct document {follower.id}, or drop it where it was refused.",
        )
    if follower is None and draft.is_of(old.opening):
        raise wrong_usage(
            str(draft.proof_path),
            expected="a document that differs",
            found=f"exactly {name_of(old)}",
            cure="Name the corrected file. `luohu issued proof` makes a lost proof again.",
        )
    if follower is None and draft.expires_ms is not None and draft.expires_ms <= now_ms():
        raise wrong_usage(
            "--expires",
            expected=f"a time after {show_time(now_ms())}, which is now",
            found=show_time(draft.expires_ms),
            cure="Give an expiry that is still to come.",
            code="expired",
        )
    if follower is None and draft.proof_path is not None and draft.proof_path.exists():
        raise wrong_usage(
            str(draft.proof_path),
            expected="no proof beside the corrected file yet",
            found="a file",
            cure="Keep the old proof: move it away, or give the corrected file another name.",
        )


def _draft(file: Path) -> Draft:
    """Return a draft of a file that lacks kind, holder and expiry. Raises CommandError."""
    try:
        return draft_of_file(file, schema="", holder_key=None)
    except OSError as error:
        raise unreadable(str(file), error) from error


def _holder(text: str | None, own: PublicKey | None) -> PublicKey | None:
    try:
        return own if text is None else PublicKey.from_text(text)
    except LedgerError as error:
        cure = "Use the key that `luohu wallet derive` shows."
        raise wrong_usage("--holder", expected=error.expected, found=error.found, cure=cure) from error


def _has_expired(found: Issued, now: int) -> bool:
    expires_ms = None if found.opening is None else found.opening.decoded_metadata().expires_ms
    return expires_ms is not None and expires_ms <= now


def _document_json(found: Issued) -> dict[str, Json]:
    opening = found.opening
    metadata = None if opening is None else opening.decoded_metadata()
    holder = None if metadata is None else metadata.holder_key
    return {
        "number": found.id,
        "state": f"{found.state}",
        "reference": found.reference,
        "commitment": found.commitment.hex(),
        "proof": None if found.proof_path is None else f"{found.proof_path}",
        "schema": None if metadata is None else metadata.schema,
        "holder_key": None if holder is None else f"{holder}",
        "issued_ms": None if metadata is None else metadata.issued_ms,
        "expires_ms": None if metadata is None else metadata.expires_ms,
        "size": None if opening is None else opening.size,
        "media_type": None if opening is None else opening.media_type,
        "height": found.height,
        "leaf": found.leaf,
        "corrects": found.supersedes,
        "is_erased": opening is None,
        "refused_code": None if found.refusal is None else found.refusal.code,
        "refused_found": None if found.refusal is None else found.refusal.found,
    }


def _row(found: Issued) -> tuple[str, str]:
    said = f"{found.state}"
    if found.refusal is not None:
        said += f" [{found.refusal.code}] {found.refusal.found}"
    place = found.proof_path or found.reference or "no file"
    return f"{found.id}", f"{place}: {said}"
