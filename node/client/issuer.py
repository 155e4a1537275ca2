"""What an issuer does: anchor a batch of documents, and put a proof beside each.

Rule 1: salts and commitments are on disk before anything is submitted, so that a crash loses no proof.
Rule 2: a batch is resumed from what is on disk; "already recorded" by this issuer counts as success.
Rule 3: leaves are shuffled, so that a document's place says nothing of the order of customers.
"""

import mimetypes
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Final

from ledger.commitments import Metadata, Opening
from ledger.keys import PrivateKey, PublicKey
from ledger.merkle import CHUNK_SIZE, Tree, content_root
from ledger.operations import AnchorBatch
from ledger.proofs import BatchPath, EvidenceRequest, Proof
from ledger.records import Hash, Items, MemberId, SchemaCode, Text, pack, unpack
from node.client.client import Client
from node.client.recipient import sign_operations, submit_once
from node.durablefile import POSIX_FILES, replace_file

BATCH_DOCUMENTS_MAX: Final = 10_000
BATCH_FILE_SIZE_MAX: Final = 8 * 1024 * 1024
PROOF_SUFFIX: Final = ".proof"
OUTBOX: Final = "outbox"

# Python's own table: what a machine adds to it would make commitments differ, or not fit a media type.
_MEDIA_TYPES: Final = mimetypes.MimeTypes()


@dataclass(frozen=True, slots=True)
class Document:
    """A file to anchor: for which holder (None: bearer), until when (milliseconds, or None)."""

    path: Path
    holder_key: PublicKey | None
    expires_ms: int | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One document of a batch: where its proof goes, and the opening of its commitment."""

    proof_path: Annotated[str, Text(4096)]
    opening: Opening


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as it is kept until its proofs are written: entries in the shuffled order of the leaves."""

    TAG: ClassVar[str] = "batch"

    chain_id: Hash
    issuer: MemberId
    schema: SchemaCode
    entries: Annotated[tuple[Entry, ...], Items(BATCH_DOCUMENTS_MAX, minimum=1)]

    def tree(self) -> Tree:
        """Return the tree over the commitments."""
        return Tree([entry.opening.commitment() for entry in self.entries])


@dataclass(frozen=True, slots=True)
class Anchored:
    """What was anchored: the batch's root, its height (None if it was recorded before), and the proofs."""

    root: bytes
    height: int | None
    proof_paths: tuple[Path, ...]


def proof_path_of(document: Path) -> Path:
    """Return where a document's proof goes: beside it."""
    return document.with_name(document.name + PROOF_SUFFIX)


def media_type_of(document: Path) -> str:
    """Return a document's media type by its name."""
    return _MEDIA_TYPES.guess_type(document.name)[0] or "application/octet-stream"


def prepare(
    documents: list[Document], *, chain_id: bytes, issuer: str, schema: str, now_ms: int, outbox: Path
) -> Path:
    """Commit to documents with fresh salts and keep the batch durably; return where. Raises OSError."""
    entries = []
    for document in documents:
        with document.path.open("rb") as file:
            size, root = content_root(iter(lambda file=file: file.read(CHUNK_SIZE), b""))  # type: ignore[misc]
        metadata = Metadata(issuer, schema, document.holder_key, now_ms, document.expires_ms)
        opening = Opening(media_type_of(document.path), size, root, secrets.token_bytes(32), pack(metadata))
        entries.append(Entry(str(proof_path_of(document.path.resolve())), opening))
    secrets.SystemRandom().shuffle(entries)
    batch = Batch(chain_id, issuer, schema, tuple(entries))
    outbox.mkdir(mode=0o700, parents=True, exist_ok=True)
    POSIX_FILES.sync_directory(outbox.parent)
    path = outbox / f"{batch.tree().root().hex()}.batch"
    replace_file(POSIX_FILES, path, pack(batch))
    return path


def waiting_batches(outbox: Path) -> list[Path]:
    """Return the batches that were prepared and whose proofs are not all written."""
    return sorted(outbox.glob("*.batch")) if outbox.is_dir() else []


async def finish(client: Client, path: Path, *, key: PrivateKey, now_ms: int) -> Anchored:
    """Anchor a prepared batch, write its proofs, and forget it. May be repeated after any crash."""
    batch = unpack(Batch, path.read_bytes(), size_max=BATCH_FILE_SIZE_MAX)
    tree = batch.tree()
    expiries = [entry.opening.decoded_metadata().expires_ms for entry in batch.entries]
    known = [expiry for expiry in expiries if expiry is not None]
    latest = max(known) if len(known) == len(expiries) else None
    transaction = sign_operations(
        chain_id=batch.chain_id,
        member=batch.issuer,
        key=key,
        now_ms=now_ms,
        operations=(AnchorBatch(tree.root(), tree.size, batch.schema, latest),),
    )
    result = await submit_once(client, transaction)
    proof_paths = []
    for index, entry in enumerate(batch.entries):
        request = EvidenceRequest(
            batch.issuer, tree.root(), entry.opening.commitment(), None, None, from_epoch=0
        )
        proof = Proof(
            batch.chain_id,
            entry.opening,
            BatchPath(tree.size, tree.path(index)),
            tree.root(),
            await client.evidence(request),
            None,
        )
        proof_path = Path(entry.proof_path)
        replace_file(POSIX_FILES, proof_path, proof.encode())
        proof_paths.append(proof_path)
    path.unlink()
    return Anchored(tree.root(), None if result is None else result.height, tuple(sorted(proof_paths)))
