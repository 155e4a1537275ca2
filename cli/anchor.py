"""`luohu anchor` and `luohu revoke`: what an issuer does on the ledger.

Rule 1: a document is anchored once: where its proof lies beside it, nothing is done; a proof that belongs to
something else is never overwritten.
Rule 2: batches that a crash left behind are finished first, and count for the documents that they hold.
"""

import asyncio
from pathlib import Path
from typing import Final

import click

from cli.exits import unreadable, wrong_usage
from cli.files import FILE, read_proof
from cli.homes import SigningMember, open_member
from cli.manifest import ManifestRow, read_manifest
from cli.nodes import connect
from cli.output import Progress, fields, json_option, print_answer
from cli.passphrases import passphrase_option
from cli.times import now_ms, to_moment
from ledger.errors import LedgerError
from ledger.keys import PublicKey
from ledger.merkle import CHUNK_SIZE, content_root
from ledger.operations import RevokeAnchor, RevokeDocument
from ledger.proofs import Proof
from ledger.records import Json
from node.client.client import Client, Result
from node.client.issuer import (
    OUTBOX,
    Anchored,
    Document,
    finish,
    prepare,
    proof_path_of,
    waiting_batches,
)
from node.client.recipient import sign_operations, submit_once

DOCUMENTS_PER_ANCHOR_MAX: Final = 4_000
ROOT_DIGITS: Final = 64
REASONS: Final = ("error", "superseded", "expired", "withdrawn", "holder-request", "fraud", "other")


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
@click.option("--url", required=True, help="A node's API, like http://127.0.0.1:7201.")
@passphrase_option
@json_option
def anchor(
    files: tuple[Path, ...],
    holder: str | None,
    manifest: Path | None,
    schema: str,
    expires: int | None,
    home_path: Path,
    url: str,
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
    documents = _documents(files, holder, manifest, expires)
    member = open_member(home_path, passphrase_file)
    done = asyncio.run(_anchor(documents, schema, member, url))
    new = {path for each in done for path in each.proof_paths}
    proofs = [proof_path_of(document.path.resolve()) for document in documents]
    anchors: list[Json] = [
        {"root": each.root.hex(), "height": each.height, "documents_count": len(each.proof_paths)}
        for each in done
    ]
    skipped_count = sum(path not in new for path in proofs)
    value: dict[str, Json] = {
        "anchors": anchors,
        "proofs": [str(path) for path in proofs],
        "already_anchored_count": skipped_count,
    }
    rows = [
        (
            "anchor",
            f"{each.root.hex()}, {len(each.proof_paths)} documents, "
            + ("recorded before" if each.height is None else f"block {each.height}"),
        )
        for each in done
    ]
    rows += [("proof", str(path)) for path in proofs]
    headline = f"{len(proofs)} documents are anchored"
    if skipped_count:
        headline += f", {skipped_count} of them before: their proofs lie beside them"
    print_answer(as_json=as_json, value=value, lines=[headline, *fields(rows)])


@click.command("revoke")
@click.option("--proof", "proof_path", type=FILE, metavar="FILE.proof", help="Revoke this proof's document.")
@click.option("--anchor", "root", metavar="ROOT", help="Revoke a whole anchor, by its root.")
@click.option(
    "--reason", metavar="CODE", required=True, type=click.Choice(REASONS), help=f"Why: {', '.join(REASONS)}."
)
@click.option("--home", "home_path", type=FILE, required=True, help="The home of the issuer, who signs.")
@click.option("--url", required=True, help="A node's API, like http://127.0.0.1:7201.")
@passphrase_option
@json_option
def revoke(
    proof_path: Path | None,
    root: str | None,
    reason: str,
    home_path: Path,
    url: str,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Issuer: revoke a document, or a whole anchor. It is then valid at no time, whatever time is asked about.

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
    operation: RevokeDocument | RevokeAnchor
    if proof_path is not None:
        operation = RevokeDocument(Proof.decode(read_proof(proof_path)).opening.commitment(), reason)
        revoked = f"commitment {operation.commitment.hex()}"
    else:
        assert root is not None, "one of the two is given"
        operation = RevokeAnchor(_root(root), reason)
        revoked = f"anchor {root}"
    member = open_member(home_path, passphrase_file)

    async def submit() -> Result | None:
        async with connect(url) as client:
            transaction = sign_operations(
                chain_id=member.chain_id,
                member=member.id,
                key=member.key,
                now_ms=now_ms(),
                operations=(operation,),
            )
            return await submit_once(client, transaction)

    result = asyncio.run(submit())
    height = None if result is None else result.height
    said = "was revoked before" if result is None else f"is revoked as of block {height}"
    print_answer(
        as_json=as_json,
        value={"revoked": revoked, "reason": reason, "height": height},
        lines=[f"{revoked} {said} ({reason})"],
    )


def _documents(
    files: tuple[Path, ...], holder: str | None, manifest: Path | None, expires_ms: int | None
) -> list[Document]:
    if bool(files) == (manifest is not None) or (manifest is not None and holder is not None):
        raise wrong_usage(
            "luohu anchor",
            expected="either FILE... with --holder KEY, or --manifest CSV",
            found="neither" if not files and manifest is None else "both",
            cure="Name files or a manifest.",
        )
    if manifest is not None:
        rows = read_manifest(manifest, expires_ms=expires_ms)
    else:
        try:
            key = None if holder is None else PublicKey.from_text(holder)
        except LedgerError as error:
            raise wrong_usage(
                "--holder",
                expected=error.expected,
                found=error.found,
                cure="Use the key that `luohu wallet derive` shows.",
            ) from error
        rows = tuple(ManifestRow(path, key, expires_ms) for path in dict.fromkeys(files))
    return [Document(row.file, row.holder_key, row.expires_ms) for row in rows]


def _root(text: str) -> bytes:
    if len(text) != ROOT_DIGITS or not set(text) <= set("0123456789abcdef"):
        raise wrong_usage(
            "--anchor",
            expected=f"the {ROOT_DIGITS} hexadecimal digits of a root",
            found=ascii(text)[:80],
            cure="`luohu proof show FILE.proof --json` shows the anchor_root.",
        )
    return bytes.fromhex(text)


async def _anchor(documents: list[Document], schema: str, member: SigningMember, url: str) -> list[Anchored]:
    outbox = member.home.data / OUTBOX
    async with connect(url) as client:
        _check_schema(member, schema)
        done = [await _finish(client, batch, member) for batch in waiting_batches(outbox)]
        new = [each for each in documents if not _is_anchored(each, schema, member)]
        progress = Progress("anchoring", len(new))
        for start in range(0, len(new), DOCUMENTS_PER_ANCHOR_MAX):
            batch = prepare(
                new[start : start + DOCUMENTS_PER_ANCHOR_MAX],
                chain_id=member.chain_id,
                issuer=member.id,
                schema=schema,
                now_ms=now_ms(),
                outbox=outbox,
            )
            done.append(await _finish(client, batch, member))
            progress.update(start + DOCUMENTS_PER_ANCHOR_MAX)
        progress.finish()
    return done


async def _finish(client: Client, batch: Path, member: SigningMember) -> Anchored:
    return await finish(client, batch, key=member.key, now_ms=now_ms())


def _check_schema(member: SigningMember, schema: str) -> None:
    known = [each.code for each in member.home.genesis.content.schemas]
    if schema not in known:
        raise wrong_usage(
            "--schema",
            expected=f"one of {', '.join(known)}",
            found=ascii(schema)[:80],
            cure="Name a registered kind of document.",
        )


def _is_anchored(document: Document, schema: str, member: SigningMember) -> bool:
    """Say whether the document's proof lies beside it already. Raises CommandError where another's does."""
    path = proof_path_of(document.path)
    if not path.exists():
        return False
    try:
        proof = Proof.decode(read_proof(path))
        metadata = proof.opening.decoded_metadata()
    except LedgerError as error:
        raise _foreign_proof(path, error.found) from error
    try:
        with document.path.open("rb") as file:
            content = content_root(iter(lambda: file.read(CHUNK_SIZE), b""))
    except OSError as error:
        raise unreadable(str(document.path), error) from error
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
