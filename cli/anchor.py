"""`luohu anchor` and `luohu revoke`: what an issuer does on the ledger.

Rule 1: a document is anchored once: where its proof lies beside it, nothing is done; a proof that belongs to
something else is never overwritten.
Rule 2: every document is read before the register is opened, which one process has at a time: nothing that is slow to
read keeps it from others.
Rule 3: what a crash or an outage left of these documents is finished. What it left of others waits for `issued retry`.
Rule 4: what cannot be anchored is refused before anything is collected: an expiry that is past, and a content that its
holder has a standing document of, unless it is to be anchored again.
Rule 5: what is refused later is named, and the rest goes on.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from cli.exits import FINE, NO, unreadable, wrong_usage
from cli.files import FILE, read_proof
from cli.homes import SigningMember, open_member
from cli.manifest import ManifestRow, read_manifest
from cli.nodes import connect_all, connect_ledger
from cli.output import Progress, fields, json_option, print_answer
from cli.passphrases import passphrase_option
from cli.registers import NEW_REGISTER, WAIT, Counter, left_behind, left_rows, name_of, tell_waiting
from cli.registry import require_schema
from cli.roots import TRUST, URLS, headline, root_of_home, shown_json, shown_rows
from cli.setdraft import draft_of_folder
from cli.times import now_ms, show_time, to_moment
from ledger.encoding.keys import PublicKey
from ledger.encoding.records import Json
from ledger.errors import LedgerError
from ledger.proofs import PROOF_FILE_SIZE_MAX, Proof
from ledger.rules.operations import RevokeAnchor, RevokeDocument
from ledger.rules.state import Anchor, Revocation, anchor_key, revocation_key
from ledger.trust import TrustedRoot
from node.client.answers import Answer
from node.client.issuing.draft import (
    Draft,
    draft_of_file,
    proof_path_of,
    refuse_reserved,
)
from node.client.issuing.outbox import Settled
from node.client.issuing.place import is_missing, register_of_home
from node.client.issuing.register import Issued, Register, State
from node.client.issuing.setfolder import manifest_path_of, set_path_of
from node.client.ledgerclient import LedgerClient
from node.client.submission import sign_operations, submit_once
from node.clock import SystemClock
from node.files.reading import open_within

ROOT_DIGITS: Final = 64
REASONS: Final = ("error", "superseded", "expired", "withdrawn", "holder-request", "fraud", "other")


@dataclass(frozen=True, slots=True)
class _Ended:
    """A revocation as the ledger shows it, and whether this call brought it there."""

    shown: Answer[object]
    height: int
    reason: str
    is_new: bool


@dataclass(frozen=True, slots=True)
class _Asked:
    """As what documents are anchored: their kind, their media type where it was named, the folder that is one set."""

    schema: str
    media_type: str | None
    set_folder: Path | None


@click.command("anchor")
@click.argument("files", metavar="FILE...", nargs=-1, type=FILE)
@click.option("--holder", metavar="KEY", help="The holder key, as `luohu wallet derive` shows it.")
@click.option(
    "--manifest", type=FILE, metavar="CSV", help="Rows of file, holder key, expiry; instead of FILEs."
)
@click.option(
    "--set",
    "set_folder",
    type=FILE,
    metavar="DIR",
    help="Anchor all files of a folder as one set, instead of FILEs.",
)
@click.option(
    "--media-type",
    metavar="TYPE",
    help="The media type of each file, like application/dicom.  [default: by its name; DICOM by its content]",
)
@click.option("--schema", required=True, metavar="S", help="The kind of document, like hk.credit-report.")
@click.option(
    "--expires", type=to_moment, metavar="DATE", help="Until when they are valid.  [default: no end]"
)
@click.option("--home", "home_path", type=FILE, required=True, help="The home of the issuer, who signs.")
@click.option(
    "--again", is_flag=True, help="Anchor a content once more that its holder has a document of already."
)
@WAIT
@NEW_REGISTER
@TRUST
@URLS
@passphrase_option
@json_option
def anchor(
    files: tuple[Path, ...],
    holder: str | None,
    manifest: Path | None,
    set_folder: Path | None,
    media_type: str | None,
    schema: str,
    expires: int | None,
    home_path: Path,
    again: bool,
    wait_ms: int,
    new_register: bool,
    trust_path: Path | None,
    urls: tuple[str, ...],
    passphrase_file: Path | None,
    as_json: bool,
) -> int:
    """Issuer: anchor documents on the ledger; FILE.proof appears beside each.

    Thousands of documents share one anchor. The ledger learns nothing of them but a root. May be repeated
    after any crash: what was begun is finished, and what is anchored is not anchored again.

    With --set, the files of a folder are one document, of which the resident can show all or some. Hand the resident
    DIR.set, which opens every file, the proof DIR.set.manifest.proof, and the files.

    \b
    Example:
      luohu anchor report.pdf --holder ed25519:... --schema hk.credit-report --expires 2026-12-31 \\
        --home network/hk-bureau --url http://127.0.0.1:7201
      luohu anchor --manifest today.csv --schema hk.credit-report --home ... --url ...
      luohu anchor --set pictures --holder ed25519:... --schema hk.credit-report --home ... --url ...
    """
    asked = _Asked(schema, media_type, set_folder)
    _check_media_type(media_type)
    rows = _documents(files, holder, manifest, set_folder, expires)
    member = open_member(home_path, passphrase_file)
    root = root_of_home(trust_path, member.home.genesis)
    _check_expiries(rows)
    drafts = _drafts(rows, asked)
    settled, waiting_count = asyncio.run(
        _anchor(rows, drafts, schema, member, root, urls, again=again, wait_ms=wait_ms, is_new=new_register)
    )
    new = {issued.proof_path for issued in settled.delivered}
    left = {issued.proof_path for issued in settled.refused} | {
        each.proof_path for each, _ in settled.unwritten
    }
    proofs = [draft.proof_path for draft in drafts if draft.proof_path not in left]
    anchors: list[Json] = [
        {"root": batch.root.hex(), "height": batch.height, "documents_count": batch.leaf_count}
        for batch in settled.anchored
    ]
    skipped_count = sum(path not in new for path in proofs)
    value: dict[str, Json] = {
        "anchors": anchors,
        "proofs": [str(path) for path in proofs],
        "already_anchored_count": skipped_count,
        "refused": [*left_behind(settled)],
        "waiting_count": waiting_count,
    }
    shown = [
        ("anchor", f"{batch.root.hex()}, {batch.leaf_count} documents, block {batch.height}")
        for batch in settled.anchored
    ]
    shown += [("proof", str(path)) for path in proofs]
    if set_folder is not None:
        holder_file = set_path_of(set_folder)
        value["set"] = {"holder_file": str(holder_file), "document": str(rows[0].file)}
        shown.append(
            ("holder's file", f"{holder_file}, which opens every file; {rows[0].file} is the document")
        )
    headline = f"{len(proofs)} documents are anchored"
    if skipped_count:
        headline += f", {skipped_count} of them before: their proofs lie beside them"
    if settled.refused or settled.unwritten:
        headline += (
            f"; {len(settled.refused)} are refused, {len(settled.unwritten)} proofs could not be written"
        )
    print_answer(as_json=as_json, value=value, lines=[headline, *fields([*shown, *left_rows(settled)])])
    tell_waiting(waiting_count)
    return NO if settled.refused or settled.unwritten else FINE


@click.command("revoke")
@click.option("--proof", "proof_path", type=FILE, metavar="FILE.proof", help="Revoke this proof's document.")
@click.option("--anchor", "root", metavar="ROOT", help="Revoke a whole anchor, by its root.")
@click.option(
    "--reason", metavar="CODE", required=True, type=click.Choice(REASONS), help=f"Why: {', '.join(REASONS)}."
)
@click.option("--home", "home_path", type=FILE, required=True, help="The home of the issuer, who signs.")
@WAIT
@TRUST
@URLS
@passphrase_option
@json_option
def revoke(
    proof_path: Path | None,
    root: str | None,
    reason: str,
    home_path: Path,
    wait_ms: int,
    trust_path: Path | None,
    urls: tuple[str, ...],
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Issuer: revoke a document, or a whole anchor. It is then valid at no time, whatever time is asked about.

    Returns when the revocation is shown under the genesis of your home, or under the root that --trust names.

    \b
    Example:
      luohu revoke --proof report.pdf.proof --reason error --home network/hk-bureau --url http://127.0.0.1:7201
    """
    if (proof_path is None) == (root is None):
        raise wrong_usage(
            "luohu revoke",
            expected="either --proof FILE.proof or --anchor ROOT",
            found="neither" if root is None else "both",
            cure="Name one of them.",
        )
    if proof_path is not None:
        commitment = Proof.decode(read_proof(proof_path)).opening.commitment()
        revoked = f"commitment {commitment.hex()}"
        member = open_member(home_path, passphrase_file)
        trust = root_of_home(trust_path, member.home.genesis)
        ended, others = asyncio.run(_revoke_document(commitment, reason, member, trust, urls, wait_ms))
    else:
        assert root is not None, "one of the two is given"
        operation = RevokeAnchor(_root(root), reason)
        revoked = f"anchor {root}"
        member = open_member(home_path, passphrase_file)
        trust = root_of_home(trust_path, member.home.genesis)
        ended, others = asyncio.run(_revoke_anchor(operation, member, trust, urls)), []
    said = (
        f"is revoked as of block {ended.height}"
        if ended.is_new
        else f"was revoked before, in block {ended.height}"
    )
    print_answer(
        as_json=as_json,
        value={
            "revoked": revoked,
            "reason": ended.reason,
            "height": ended.height if ended.is_new else None,
            "standing": [
                {"number": each.id, "commitment": each.commitment.hex(), "proof": _path_json(each)}
                for each in others
            ],
            **shown_json(ended.shown),
        },
        lines=[
            headline(ended.shown, f"{revoked} {said} ({ended.reason})"),
            *fields([*shown_rows(ended.shown), *map(_still_stands, others)]),
        ],
    )


def _path_json(issued: Issued) -> Json:
    return None if issued.proof_path is None else f"{issued.proof_path}"


def _still_stands(issued: Issued) -> tuple[str, str]:
    place = "" if issued.proof_path is None else f", proof {issued.proof_path}"
    return "still stands", f"{name_of(issued)} of the same content, {issued.state}{place}"


def _documents(
    files: tuple[Path, ...],
    holder: str | None,
    manifest: Path | None,
    set_folder: Path | None,
    expires_ms: int | None,
) -> tuple[ManifestRow, ...]:
    ways_count = bool(files) + (manifest is not None) + (set_folder is not None)
    if ways_count != 1 or (manifest is not None and holder is not None):
        raise wrong_usage(
            "luohu anchor",
            expected="either FILE... or --set DIR with --holder KEY, or --manifest CSV",
            found="none of them" if ways_count == 0 else "several of them",
            cure="Name files, a folder that is one set, or a manifest.",
        )
    if manifest is not None:
        return read_manifest(manifest, expires_ms=expires_ms)
    try:
        key = None if holder is None else PublicKey.from_text(holder)
    except LedgerError as error:
        raise wrong_usage(
            "--holder",
            expected=error.expected,
            found=error.found,
            cure="Use the key that `luohu wallet derive` shows.",
        ) from error
    documents = files if set_folder is None else (manifest_path_of(set_path_of(set_folder)),)
    return tuple(ManifestRow(path, key, expires_ms) for path in dict.fromkeys(documents))


def _check_media_type(media_type: str | None) -> None:
    if media_type is None:
        return
    try:
        refuse_reserved(media_type)
    except LedgerError as error:
        raise wrong_usage(
            "--media-type",
            expected=error.expected,
            found=error.found,
            cure=error.cure or "Write it in small letters, like application/dicom.",
            code=error.code,
        ) from error


def _root(text: str) -> bytes:
    if len(text) != ROOT_DIGITS or not set(text) <= set("0123456789abcdef"):
        raise wrong_usage(
            "--anchor",
            expected=f"the {ROOT_DIGITS} hexadecimal digits of a root",
            found=ascii(text)[:80],
            cure="`luohu proof show FILE.proof --json` shows the anchor_root.",
        )
    return bytes.fromhex(text)


def _check_expiries(rows: Sequence[ManifestRow]) -> None:
    """Raise CommandError where an expiry is past of a document that has no proof yet (rule 4)."""
    now = now_ms()
    past = [
        row
        for row in rows
        if row.expires_ms is not None and row.expires_ms <= now and not proof_path_of(row.file).exists()
    ]
    if past:
        first = past[0]
        assert first.expires_ms is not None, "it is past"
        raise wrong_usage(
            str(first.file),
            expected=f"an expiry after {show_time(now)}, which is now",
            found=show_time(first.expires_ms) + (f", and {len(past) - 1} more like it" if past[1:] else ""),
            cure="Give an expiry that is still to come. Nothing was anchored.",
            code="expired",
        )


async def _anchor(
    rows: tuple[ManifestRow, ...],
    drafts: Sequence[Draft],
    schema: str,
    member: SigningMember,
    root: TrustedRoot,
    urls: tuple[str, ...],
    *,
    again: bool,
    wait_ms: int,
    is_new: bool,
) -> tuple[Settled, int]:
    """Return what came of documents, and how many others wait."""
    async with connect_all(urls) as nodes:
        await require_schema(LedgerClient(nodes, root, now_ms), schema, where="--schema")
        new = [draft for row, draft in zip(rows, drafts, strict=True) if not _is_anchored(row, draft, member)]
        counter = Counter(member, root, nodes, SystemClock(), wait_ms, is_new)
        async with counter.lend() as outbox:
            ids = _collect(outbox.register, new, again=again)
            settled = await outbox.submit(only=ids)
            waiting_count = outbox.register.waiting_count() - len(outbox.register.undelivered_ids(only=ids))
        settled += await counter.deliver(ids)
    return settled, waiting_count


def _collect(register: Register, drafts: Sequence[Draft], *, again: bool) -> set[int]:
    """Hold drafts in the register, and return their numbers: those that wait there already are found (rule 3).

    Raises CommandError where a holder has a document of the content, and it is not to be anchored again.
    """
    found: list[Issued] = []
    new: list[Draft] = []
    held: list[str] = []
    seen: set[tuple[bytes, PublicKey | None]] = set()
    for draft in drafts:
        copies = _copies(register, draft)
        unfinished = [each for each in copies if _is_unfinished(each, draft)]
        name = (draft.content.root, draft.holder_key)
        if unfinished:
            found.append(unfinished[0])
        elif not again and (copies or name in seen):
            issued = (
                f"{name_of(copies[-1])}, which is {copies[-1].state}" if copies else "another in this call"
            )
            held.append(f"{draft.proof_path}: {issued}")
        else:
            new.append(draft)
        seen.add(name)
    if held:
        raise wrong_usage(
            "documents",
            expected="contents that their holders have no standing document of",
            found=held[0] + (f", and {len(held) - 1} more" if held[1:] else ""),
            cure="`luohu issued proof` makes a lost proof again. To anchor a content once more, add --again.",
            code="already-issued",
        )
    register.readmit(found)
    return {each.id for each in [*found, *register.collect(new, now_ms=now_ms())]}


def _copies(register: Register, draft: Draft) -> list[Issued]:
    """Return the standing documents of a draft's content and holder."""
    ended = (State.DROPPED, State.REVOKED, State.CORRECTED)
    return [
        each
        for each in register.find_content(draft.content.root)
        if each.opening is not None
        and each.state not in ended
        and each.opening.decoded_metadata().holder_key == draft.holder_key
    ]


def _is_unfinished(issued: Issued, draft: Draft) -> bool:
    assert issued.opening is not None, "copies have theirs"
    is_same = issued.proof_path == draft.proof_path and draft.is_of(issued.opening)
    return is_same and (issued.is_waiting or issued.state is State.REFUSED)


async def _revoke_document(
    commitment: bytes,
    reason: str,
    member: SigningMember,
    trust: TrustedRoot,
    urls: tuple[str, ...],
    wait_ms: int,
) -> tuple[_Ended, list[Issued]]:
    """Return how a revocation ended, and the other standing documents of the same content.

    It needs no register: a document is revoked also where that was lost.
    """
    async with connect_all(urls) as nodes:
        if is_missing(register_of_home(member.home.path, wait_ms=wait_ms)):
            return await _revoke_unregistered(commitment, reason, member, trust, urls), []
        counter = Counter(member, trust, nodes, SystemClock(), wait_ms, is_new=True)
        async with counter.lend() as outbox:
            register = outbox.register
            recorded = await outbox.revoke(register.add_revocation(commitment, reason))
            issued = register.find_commitment(commitment)
            content = None if issued is None or issued.opening is None else issued.opening.content_root
            others = [] if content is None else register.find_content(content)
    record = recorded.shown.value
    ended = _Ended(recorded.shown, record.height, record.reason, is_new=recorded.is_new(record.height))
    standing = (State.SUBMITTED, State.ANCHORED, State.DELIVERED)
    return ended, [each for each in others if each.commitment != commitment and each.state in standing]


async def _revoke_unregistered(
    commitment: bytes, reason: str, member: SigningMember, trust: TrustedRoot, urls: tuple[str, ...]
) -> _Ended:
    transaction = sign_operations(
        chain_id=member.chain_id,
        member=member.id,
        key=member.key,
        now_ms=now_ms(),
        operations=(RevokeDocument(commitment, reason),),
    )
    async with connect_ledger(urls, trust) as ledger:
        recorded = await ledger.act(
            lambda client: submit_once(client, transaction),
            Revocation,
            revocation_key(member.id, commitment),
            lambda _: True,
            what=f"the revocation of {commitment.hex()[:16]}",
        )
    record = recorded.shown.value
    return _Ended(recorded.shown, record.height, record.reason, is_new=recorded.is_new(record.height))


async def _revoke_anchor(
    operation: RevokeAnchor, member: SigningMember, trust: TrustedRoot, urls: tuple[str, ...]
) -> _Ended:
    transaction = sign_operations(
        chain_id=member.chain_id, member=member.id, key=member.key, now_ms=now_ms(), operations=(operation,)
    )
    async with connect_ledger(urls, trust) as ledger:
        recorded = await ledger.act(
            lambda client: submit_once(client, transaction),
            Anchor,
            anchor_key(member.id, operation.root),
            lambda found: found.revoked is not None,
            what=f"the revocation of anchor {operation.root.hex()[:16]}",
        )
    record = recorded.shown.value.revoked
    assert record is not None, "what is shown is revoked"
    return _Ended(recorded.shown, record.height, record.reason, is_new=recorded.is_new(record.height))


def _drafts(rows: tuple[ManifestRow, ...], asked: _Asked) -> list[Draft]:
    """Return a draft of each document. Raises CommandError where one cannot be read."""
    if asked.set_folder is not None:
        return [draft_of_folder(asked.set_folder, rows[0], schema=asked.schema, media_type=asked.media_type)]
    progress = Progress("reading", len(rows))
    drafts: list[Draft] = []
    for row in rows:
        try:
            draft = draft_of_file(
                row.file,
                schema=asked.schema,
                holder_key=row.holder_key,
                expires_ms=row.expires_ms,
                folder=row.folder,
                media_type=asked.media_type,
            )
        except OSError as error:
            raise unreadable(str(row.file), error) from error
        drafts.append(draft)
        progress.update(len(drafts))
    progress.finish()
    return drafts


def _is_anchored(document: ManifestRow, draft: Draft, member: SigningMember) -> bool:
    """Say whether the document's proof lies beside it already. Raises CommandError where something else does."""
    path = draft.proof_path
    assert path is not None, "a draft of a file has one"
    try:
        with open_within(path.parent, path.name) as file:
            encoded = file.read(PROOF_FILE_SIZE_MAX + 1)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise unreadable(str(path), error) from error
    try:
        proof = Proof.decode(encoded)
        metadata = proof.opening.decoded_metadata()
    except LedgerError as error:
        raise _foreign_proof(path, error.found) from error
    content = (draft.content.size, draft.content.root)
    found = (proof.chain_id, metadata.issuer, metadata.schema, metadata.holder_key, metadata.expires_ms)
    expected = (member.chain_id, member.id, draft.schema, document.holder_key, document.expires_ms)
    if found != expected or content != (proof.opening.size, proof.opening.content_root):
        raise _foreign_proof(path, "a proof with another content, holder, expiry or kind")
    return True


def _foreign_proof(path: Path, found: str) -> Exception:
    return wrong_usage(
        str(path),
        expected="no proof yet, or the proof of exactly this document",
        found=found,
        cure="Move the proof away if the document is to be anchored anew: it is the only copy of its salt.",
    )
