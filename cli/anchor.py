"""`luohu anchor` and `luohu revoke`: what an issuer does on the ledger.

Rule 1: a document is anchored once: where its proof lies beside it, nothing is done; a proof that belongs to
something else is never overwritten.
Rule 2: every document is read before the register is opened, which one process has at a time: nothing that is slow to
read keeps it from others.
Rule 3: what a crash or an outage left in the register is finished first, and counts for the documents that it holds.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from cli.exits import NO, CommandError, unreadable, wrong_usage
from cli.files import FILE, read_proof
from cli.homes import SigningMember, open_member
from cli.manifest import ManifestRow, read_manifest
from cli.nodes import connect_all, connect_ledger
from cli.output import Progress, fields, json_option, print_answer
from cli.passphrases import passphrase_option
from cli.roots import TRUST, URLS, headline, root_of_home, shown_json, shown_rows
from cli.times import now_ms, to_moment
from ledger.encoding.keys import PublicKey
from ledger.encoding.records import Json
from ledger.errors import LedgerError
from ledger.proofs import PROOF_MAGIC, PROOF_SIZE_MAX, Proof
from ledger.rules.operations import RevokeAnchor
from ledger.rules.state import Anchor, anchor_key
from ledger.trust import TrustedRoot
from node.client.answers import Answer
from node.client.issuing.draft import Draft, draft_of_file, proof_path_of
from node.client.issuing.outbox import Outbox, Settled
from node.client.issuing.register import REGISTER, Issued, Register
from node.client.nodes import Nodes
from node.client.submission import sign_operations, submit_once
from node.clock import SystemClock
from node.files.reading import open_within

ROOT_DIGITS: Final = 64
PROOF_FILE_SIZE_MAX: Final = len(PROOF_MAGIC) + PROOF_SIZE_MAX
REASONS: Final = ("error", "superseded", "expired", "withdrawn", "holder-request", "fraud", "other")


@dataclass(frozen=True, slots=True)
class _Ended:
    """A revocation as the ledger shows it, and whether this call brought it there."""

    shown: Answer[object]
    height: int
    reason: str
    is_new: bool


@click.command("anchor")
@click.argument("files", metavar="FILE...", nargs=-1, type=FILE)
@click.option("--holder", metavar="KEY", help="The holder key, as `luohu wallet derive` shows it.")
@click.option(
    "--manifest", type=FILE, metavar="CSV", help="Rows of file, holder key, expiry; instead of FILEs."
)
@click.option("--schema", required=True, metavar="S", help="The kind of document, like hk.credit-report.")
@click.option(
    "--expires", type=to_moment, metavar="DATE", help="Until when they are valid.  [default: no end]"
)
@click.option("--home", "home_path", type=FILE, required=True, help="The home of the issuer, who signs.")
@TRUST
@URLS
@passphrase_option
@json_option
def anchor(
    files: tuple[Path, ...],
    holder: str | None,
    manifest: Path | None,
    schema: str,
    expires: int | None,
    home_path: Path,
    trust_path: Path | None,
    urls: tuple[str, ...],
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Issuer: anchor documents on the ledger; FILE.proof appears beside each.

    Thousands of documents share one anchor. The ledger learns nothing of them but a root. May be repeated
    after any crash: what was begun is finished, and what is anchored is not anchored again.

    \b
    Example:
      luohu anchor report.pdf --holder ed25519:... --schema hk.credit-report --expires 2026-12-31 \\
        --home network/hk-bureau --url http://127.0.0.1:7201
      luohu anchor --manifest today.csv --schema hk.credit-report --home ... --url ...
    """
    rows = _documents(files, holder, manifest, expires)
    member = open_member(home_path, passphrase_file)
    root = root_of_home(trust_path, member.home.genesis)
    settled = asyncio.run(_anchor(rows, schema, member, root, urls))
    if settled.refused:
        raise _refused(settled.refused[0], len(settled.refused))
    new = {issued.proof_path for issued in settled.delivered}
    proofs = [proof_path_of(row.file) for row in rows]
    anchors: list[Json] = [
        {"root": batch.root.hex(), "height": batch.height, "documents_count": batch.leaf_count}
        for batch in settled.anchored
    ]
    skipped_count = sum(path not in new for path in proofs)
    value: dict[str, Json] = {
        "anchors": anchors,
        "proofs": [str(path) for path in proofs],
        "already_anchored_count": skipped_count,
    }
    shown = [
        ("anchor", f"{batch.root.hex()}, {batch.leaf_count} documents, block {batch.height}")
        for batch in settled.anchored
    ]
    shown += [("proof", str(path)) for path in proofs]
    headline = f"{len(proofs)} documents are anchored"
    if skipped_count:
        headline += f", {skipped_count} of them before: their proofs lie beside them"
    print_answer(as_json=as_json, value=value, lines=[headline, *fields(shown)])


@click.command("revoke")
@click.option("--proof", "proof_path", type=FILE, metavar="FILE.proof", help="Revoke this proof's document.")
@click.option("--anchor", "root", metavar="ROOT", help="Revoke a whole anchor, by its root.")
@click.option(
    "--reason", metavar="CODE", required=True, type=click.Choice(REASONS), help=f"Why: {', '.join(REASONS)}."
)
@click.option("--home", "home_path", type=FILE, required=True, help="The home of the issuer, who signs.")
@TRUST
@URLS
@passphrase_option
@json_option
def revoke(
    proof_path: Path | None,
    root: str | None,
    reason: str,
    home_path: Path,
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
        ended = asyncio.run(_revoke_document(commitment, reason, member, trust, urls))
    else:
        assert root is not None, "one of the two is given"
        operation = RevokeAnchor(_root(root), reason)
        revoked = f"anchor {root}"
        member = open_member(home_path, passphrase_file)
        trust = root_of_home(trust_path, member.home.genesis)
        ended = asyncio.run(_revoke_anchor(operation, member, trust, urls))
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
            **shown_json(ended.shown),
        },
        lines=[
            headline(ended.shown, f"{revoked} {said} ({ended.reason})"),
            *fields(shown_rows(ended.shown)),
        ],
    )


def _refused(first: Issued, count: int) -> CommandError:
    assert first.refusal is not None, "it was refused"
    name = f"document {first.id}" if first.proof_path is None else f"{first.proof_path}"
    others = f", and {count - 1} more" if count > 1 else ""
    return CommandError(
        exit_code=NO,
        code=first.refusal.code,
        where=name,
        expected="a document that the ledger anchors and proves",
        found=f"{first.refusal.found}{others}",
        cure="Correct it. Everything else went on; what is refused stays in the register and stops nothing.",
    )


def _documents(
    files: tuple[Path, ...], holder: str | None, manifest: Path | None, expires_ms: int | None
) -> tuple[ManifestRow, ...]:
    if bool(files) == (manifest is not None) or (manifest is not None and holder is not None):
        raise wrong_usage(
            "luohu anchor",
            expected="either FILE... with --holder KEY, or --manifest CSV",
            found="neither" if not files and manifest is None else "both",
            cure="Name files or a manifest.",
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
    return tuple(ManifestRow(path, key, expires_ms) for path in dict.fromkeys(files))


def _root(text: str) -> bytes:
    if len(text) != ROOT_DIGITS or not set(text) <= set("0123456789abcdef"):
        raise wrong_usage(
            "--anchor",
            expected=f"the {ROOT_DIGITS} hexadecimal digits of a root",
            found=ascii(text)[:80],
            cure="`luohu proof show FILE.proof --json` shows the anchor_root.",
        )
    return bytes.fromhex(text)


async def _anchor(
    rows: tuple[ManifestRow, ...],
    schema: str,
    member: SigningMember,
    root: TrustedRoot,
    urls: tuple[str, ...],
) -> Settled:
    _check_schema(member, schema)
    drafts = _drafts(rows, schema)
    with _register(member) as register:
        async with connect_all(urls) as nodes:
            outbox = _outbox(register, nodes, member, root)
            before = await outbox.settle()
            new = [
                draft
                for row, draft in zip(rows, drafts, strict=True)
                if not _is_anchored(row, draft, schema, member)
            ]
            register.collect(new, now_ms=now_ms())
            after = await outbox.settle()
    return before + after


async def _revoke_document(
    commitment: bytes, reason: str, member: SigningMember, trust: TrustedRoot, urls: tuple[str, ...]
) -> _Ended:
    with _register(member) as register:
        due = register.add_revocation(commitment, reason)
        async with connect_all(urls) as nodes:
            recorded = await _outbox(register, nodes, member, trust).revoke(due)
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


@contextmanager
def _register(member: SigningMember) -> Iterator[Register]:
    path = member.home.data / REGISTER
    with Register.open(path, chain_id=member.chain_id, issuer=member.id) as register:
        yield register


def _outbox(register: Register, nodes: Nodes, member: SigningMember, root: TrustedRoot) -> Outbox:
    return Outbox(register, nodes, key=member.key, trust=root, clock=SystemClock())


def _check_schema(member: SigningMember, schema: str) -> None:
    known = [each.code for each in member.home.genesis.content.schemas]
    if schema not in known:
        raise wrong_usage(
            "--schema",
            expected=f"one of {', '.join(known)}",
            found=ascii(schema)[:80],
            cure="Name a registered kind of document.",
        )


def _drafts(rows: tuple[ManifestRow, ...], schema: str) -> list[Draft]:
    """Return a draft of each document. Raises CommandError where one cannot be read."""
    progress = Progress("reading", len(rows))
    drafts: list[Draft] = []
    for row in rows:
        try:
            draft = draft_of_file(
                row.file,
                schema=schema,
                holder_key=row.holder_key,
                expires_ms=row.expires_ms,
                folder=row.folder,
            )
        except OSError as error:
            raise unreadable(str(row.file), error) from error
        drafts.append(draft)
        progress.update(len(drafts))
    progress.finish()
    return drafts


def _is_anchored(document: ManifestRow, draft: Draft, schema: str, member: SigningMember) -> bool:
    """Say whether the document's proof lies beside it already. Raises CommandError where something else does."""
    path = proof_path_of(document.file)
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
    expected = (member.chain_id, member.id, schema, document.holder_key, document.expires_ms)
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
