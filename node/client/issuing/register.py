"""The register: an issuer's own durable list of what it issued, off chain (docs/issuing.md; docs/decisions/0013).

Rule 1: a document is in the register, salt and all, before anything of it is sent anywhere.
Rule 2: every change is one transaction, on the disk when the call returns: a crash leaves it whole or absent.
Rule 3: a reference names one standing document. The same draft again is that document; another one is refused.
Rule 4: the leaves of a batch are in an order drawn by the system's random source.
Rule 5: one process uses a register at a time; it is private to its owner (mode 0600).
Rule 6: erasing takes reference, opening and proof path; commitment and place stay, so that the batch can be proven
and the document revoked. Erased bytes are overwritten in the file.
"""

import secrets
import sqlite3
import stat
import threading
from array import array
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ledger.commitments import Opening
from ledger.encoding.records import pack, unpack
from node.client.issuing.batchtree import LEAVES_MAX, BatchTree
from node.client.issuing.draft import Draft
from node.errors import SetupError
from node.files.durablefile import EXPOSED_BITS, POSIX_FILES, FileLock, FileLocked

REGISTER: Final = "issued.sqlite"
VERSION: Final = 1
OPENING_SIZE_MAX: Final = 1_024
CACHE_KIB: Final = 65_536

_SCHEMA: Final = """
CREATE TABLE owner (version INTEGER NOT NULL, chain_id BLOB NOT NULL, issuer TEXT NOT NULL);
CREATE TABLE batches (
    id INTEGER PRIMARY KEY, root BLOB NOT NULL UNIQUE, schema TEXT NOT NULL, leaf_count INTEGER NOT NULL,
    expires_ms INTEGER, height INTEGER, nodes BLOB NOT NULL
) STRICT;
CREATE INDEX waiting ON batches (id) WHERE height IS NULL;
CREATE TABLE documents (
    id INTEGER PRIMARY KEY, reference TEXT, schema TEXT NOT NULL, expires_ms INTEGER,
    commitment BLOB NOT NULL UNIQUE, opening BLOB, proof_path TEXT, is_delivered INTEGER NOT NULL DEFAULT 0,
    batch INTEGER REFERENCES batches DEFERRABLE INITIALLY DEFERRED, leaf INTEGER,
    supersedes INTEGER REFERENCES documents, is_superseded INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX standing ON documents (reference) WHERE reference IS NOT NULL AND NOT is_superseded;
CREATE INDEX collected ON documents (schema, id) WHERE batch IS NULL;
CREATE INDEX undelivered ON documents (batch) WHERE NOT is_delivered AND proof_path IS NOT NULL;
CREATE INDEX leaves ON documents (batch, leaf);
CREATE TABLE revocations (
    commitment BLOB PRIMARY KEY, reason TEXT NOT NULL, after_document INTEGER REFERENCES documents,
    is_recorded INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX due ON revocations (commitment) WHERE NOT is_recorded;
"""
_DOCUMENT: Final = (
    "SELECT d.id, d.reference, d.commitment, d.opening, d.proof_path, d.is_delivered, d.batch, d.leaf, "
    "d.supersedes, d.is_superseded, b.height FROM documents d LEFT JOIN batches b ON d.batch = b.id "
)


class RegisterError(SetupError):
    """A register that cannot be used, or does not hold what is asked for."""


class ReferenceTaken(RegisterError):
    """The reference names another document that stands."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A document as the register holds it. `opening` is None once it was erased.

    `batch` and `leaf` are None until it has a place in a batch, `height` until that batch's anchor is proven.
    """

    id: int
    reference: str | None
    commitment: bytes
    opening: Opening | None
    proof_path: Path | None
    is_delivered: bool
    batch: int | None
    leaf: int | None
    supersedes: int | None
    is_superseded: bool
    height: int | None


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch that has its leaves in order: what its anchor says, and its height once that is proven."""

    id: int
    root: bytes
    schema: str
    leaf_count: int
    expires_ms: int | None
    height: int | None


@dataclass(frozen=True, slots=True)
class Due:
    """A revocation that is to be recorded."""

    commitment: bytes
    reason: str


class Register:
    """An issuer's register. Use `open`, which closes it. Threads may share it."""

    def __init__(self, path: Path, connection: sqlite3.Connection, *, chain_id: bytes, issuer: str) -> None:
        self.path = path
        self.chain_id = chain_id
        self.issuer = issuer
        self._connection = connection
        self._turn = threading.RLock()
        self._tree: tuple[int, BatchTree] | None = None

    @classmethod
    @contextmanager
    def open(cls, path: Path, *, chain_id: bytes, issuer: str) -> Iterator["Register"]:
        """Open or make the register of an issuer on a chain. Raises RegisterError or OSError."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _take_lock(path)
        try:
            if not path.exists():
                POSIX_FILES.close(POSIX_FILES.create(path))
                POSIX_FILES.sync_directory(path.parent)
            _check_private(path)
            with closing(_connect(path)) as connection:
                register = cls(path, connection, chain_id=chain_id, issuer=issuer)
                register._claim()
                yield register
        except sqlite3.DatabaseError as error:
            raise RegisterError(
                where=path,
                expected="a usable register",
                found=f"{error}",
                cure="check the disk; restore it from a backup",
            ) from error
        finally:
            lock.release()

    # -- documents --------------------------------------------------------------------------------------

    def collect(self, drafts: Sequence[Draft], *, now_ms: int) -> list[Issued]:
        """Hold drafts as documents, durably, all or none. A document that stands already is returned as it is.

        Raises ReferenceTaken or LedgerError.
        """
        with self.change():
            return [self._collect(draft, now_ms, supersedes=None) for draft in drafts]

    def supersede(self, reference: str, draft: Draft, *, now_ms: int) -> Issued:
        """Hold a corrected document, and the revocation of the standing one for when the new one is anchored.

        The same correction again is the document that it made. Raises RegisterError or LedgerError.
        """
        with self.change():
            standing = self.require(reference)
            if standing.supersedes is not None and _is_of(draft, standing):
                return standing
            self._connection.execute("UPDATE documents SET is_superseded = 1 WHERE id = ?", (standing.id,))
            made = self._collect(replace(draft, reference=reference), now_ms, supersedes=standing.id)
            self._connection.execute(
                "INSERT INTO revocations (commitment, reason, after_document) VALUES (?, 'superseded', ?) "
                "ON CONFLICT DO NOTHING",
                (standing.commitment, made.id),
            )
            return made

    def find(self, reference: str) -> Issued | None:
        """Return the standing document of a reference."""
        return self._document("WHERE d.reference = ? AND NOT d.is_superseded", reference)

    def require(self, reference: str) -> Issued:
        """Return the standing document of a reference. Raises RegisterError."""
        found = self.find(reference)
        if found is None:
            raise RegisterError(
                where="reference",
                expected="that of a document issued here",
                found=ascii(reference)[:80],
                cure="check it",
            )
        return found

    def find_commitment(self, commitment: bytes) -> Issued | None:
        """Return the document of a commitment, standing or not."""
        return self._document("WHERE d.commitment = ?", commitment)

    def document(self, identity: int) -> Issued:
        """Return a document by its number in this register."""
        found = self._document("WHERE d.id = ?", identity)
        assert found is not None, "documents are never removed"
        return found

    def erase(self, commitment: bytes) -> bool:
        """Erase what opens a document, and its reference; say whether it was here (rule 6). Raises RegisterError.

        What waits for its anchor goes on without it: the batch is anchored, and nobody can prove this leaf.
        """
        with self._turn:
            self.cut_log()  # where another program is in the way, nothing is erased yet
            with self.change():
                changed = self._connection.execute(
                    "UPDATE documents SET reference = NULL, opening = NULL, proof_path = NULL, is_delivered = 1 "
                    "WHERE commitment = ? AND opening IS NOT NULL",
                    (commitment,),
                ).rowcount
            self.cut_log()
        return changed > 0

    def cut_log(self) -> None:
        """Write the log of changes back and cut it: it holds older copies of pages. Raises RegisterError."""
        with self._turn:
            is_busy, *_ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if is_busy:
            found, cure = "another program reading it", "end that program and erase again"
            raise RegisterError(where=self.path, expected="to be its only user", found=found, cure=cure)

    def undelivered_ids(self) -> list[int]:
        """Return the numbers of documents whose anchors are proven and whose proofs are not written yet."""
        with self._turn:
            rows = self._connection.execute(
                "SELECT d.id FROM documents d JOIN batches b ON d.batch = b.id "
                "WHERE NOT d.is_delivered AND d.proof_path IS NOT NULL AND b.height IS NOT NULL ORDER BY d.id"
            ).fetchall()
        return [row[0] for row in rows]

    def mark_delivered(self, document: Issued) -> None:
        """Note that a document's proof is where it belongs."""
        with self.change():
            self._connection.execute("UPDATE documents SET is_delivered = 1 WHERE id = ?", (document.id,))

    # -- batches ----------------------------------------------------------------------------------------

    def collected_count(self) -> int:
        """Return how many documents have no place in a batch."""
        with self._turn:
            return int(
                self._connection.execute("SELECT count(*) FROM documents WHERE batch IS NULL").fetchone()[0]
            )

    def form_batches(self, documents_max: int) -> list[Batch]:
        """Give every collected document a leaf in a batch of its schema, in an order drawn by chance."""
        assert 1 <= documents_max <= LEAVES_MAX, "a batch has at most a million leaves"
        formed = []
        while (batch := self._form(documents_max)) is not None:
            formed.append(batch)
        return formed

    def waiting_batches(self) -> list[Batch]:
        """Return the batches whose anchors are not proven, oldest first."""
        with self._turn:
            rows = self._connection.execute(
                "SELECT id, root, schema, leaf_count, expires_ms, height FROM batches WHERE height IS NULL ORDER BY id"
            ).fetchall()
        return [Batch(*row) for row in rows]

    def batch(self, identity: int) -> Batch:
        """Return a batch by its number."""
        with self._turn:
            row = self._connection.execute(
                "SELECT id, root, schema, leaf_count, expires_ms, height FROM batches WHERE id = ?",
                (identity,),
            ).fetchone()
        return Batch(*row)

    def mark_anchored(self, batch: Batch, height: int) -> None:
        """Note that a batch's anchor was proven to be on the ledger."""
        with self.change():
            self._connection.execute("UPDATE batches SET height = ? WHERE id = ?", (height, batch.id))

    def tree(self, batch: Batch) -> BatchTree:
        """Return a batch's tree, as it was hashed when the batch was formed."""
        with self._turn:
            if self._tree is None or self._tree[0] != batch.id:
                row = self._connection.execute(
                    "SELECT nodes FROM batches WHERE id = ?", (batch.id,)
                ).fetchone()
                self._tree = (batch.id, BatchTree(batch.leaf_count, row[0]))
            return self._tree[1]

    # -- revocations ------------------------------------------------------------------------------------

    def add_revocation(self, commitment: bytes, reason: str) -> Due:
        """Hold a revocation until it is recorded, and return it with the reason that was given first.

        One that waits for a correction waits no longer.
        """
        with self.change():
            self._connection.execute(
                "INSERT INTO revocations (commitment, reason) VALUES (?, ?) "
                "ON CONFLICT DO UPDATE SET after_document = NULL",
                (commitment, reason),
            )
            row = self._connection.execute(
                "SELECT commitment, reason FROM revocations WHERE commitment = ?", (commitment,)
            ).fetchone()
        return Due(*row)

    def due_revocations(self) -> list[Due]:
        """Return the revocations to record now: those of corrections once the new document is anchored."""
        with self._turn:
            rows = self._connection.execute(
                "SELECT r.commitment, r.reason FROM revocations r LEFT JOIN documents d ON r.after_document = d.id "
                "LEFT JOIN batches b ON d.batch = b.id WHERE NOT r.is_recorded "
                "AND (r.after_document IS NULL OR b.height IS NOT NULL) ORDER BY r.rowid"
            ).fetchall()
        return [Due(*row) for row in rows]

    def is_revoked(self, commitment: bytes) -> bool:
        """Say whether this issuer's revocation of a document is recorded."""
        with self._turn:
            row = self._connection.execute(
                "SELECT is_recorded FROM revocations WHERE commitment = ?", (commitment,)
            ).fetchone()
        return row is not None and bool(row[0])

    def mark_revoked(self, due: Due) -> None:
        """Note that a revocation is on the ledger."""
        with self.change():
            self._connection.execute(
                "UPDATE revocations SET is_recorded = 1 WHERE commitment = ?", (due.commitment,)
            )

    # -- SQL --------------------------------------------------------------------------------------------

    @contextmanager
    def change(self) -> Iterator[None]:
        """Make what is done inside one durable transaction, or nothing (rule 2)."""
        with self._turn:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _claim(self) -> None:
        """Make the tables of a new register, or check whose this one is."""
        with self.change():
            if not self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in _SCHEMA.split(";"):
                    self._connection.execute(statement)
                own = (VERSION, self.chain_id, self.issuer)
                self._connection.execute("INSERT INTO owner VALUES (?, ?, ?)", own)
            found = self._connection.execute("SELECT version, chain_id, issuer FROM owner").fetchone()
        if found != (VERSION, self.chain_id, self.issuer):
            expected = f"version {VERSION} of {self.issuer} on chain {self.chain_id.hex()}"
            shown = f"version {found[0]} of {found[2]} on chain {found[1].hex()}"
            raise RegisterError(
                where=self.path, expected=expected, found=shown, cure="name the issuer's own register"
            )

    def _collect(self, draft: Draft, now_ms: int, supersedes: int | None) -> Issued:
        standing = None if draft.reference is None else self.find(draft.reference)
        if standing is not None:
            if not _is_of(draft, standing):
                cure = "correct it with `supersede`, or give the copy a reference of its own"
                raise ReferenceTaken(
                    where="reference",
                    expected="a new one, or the same document",
                    found="another document",
                    cure=cure,
                )
            return standing
        opening = draft.opened(self.issuer, now_ms=now_ms)
        path = None if draft.proof_path is None else f"{draft.proof_path}"
        made = self._connection.execute(
            "INSERT INTO documents (reference, schema, expires_ms, commitment, opening, proof_path, supersedes) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                draft.reference,
                draft.schema,
                draft.expires_ms,
                opening.commitment(),
                pack(opening),
                path,
                supersedes,
            ),
        )
        assert made.lastrowid is not None, "an insertion has a number"
        return self.document(made.lastrowid)

    def _form(self, documents_max: int) -> Batch | None:
        with self.change():
            first = self._connection.execute(
                "SELECT schema FROM documents WHERE batch IS NULL ORDER BY id LIMIT 1"
            ).fetchone()
            if first is None:
                return None
            found = self._connection.execute(
                "SELECT id FROM documents WHERE batch IS NULL AND schema = ? ORDER BY id LIMIT ?",
                (*first, documents_max),
            )
            ids = array("q", (row[0] for row in found))
            leaves = array("q", range(len(ids)))
            secrets.SystemRandom().shuffle(leaves)  # rule 4
            identity = int(
                self._connection.execute("SELECT coalesce(max(id), 0) + 1 FROM batches").fetchone()[0]
            )
            self._connection.executemany(
                "UPDATE documents SET batch = ?, leaf = ? WHERE id = ?",
                ((identity, leaf, document) for document, leaf in zip(ids, leaves, strict=True)),
            )
            self._insert_batch(identity, *first)
        return self.batch(identity)

    def _insert_batch(self, identity: int, schema: str) -> None:
        """Hash the tree over a batch's leaves, one after the other, and keep it with the batch."""
        size, known, latest = self._connection.execute(
            "SELECT count(*), count(expires_ms), max(expires_ms) FROM documents WHERE batch = ?", (identity,)
        ).fetchone()
        leaves = self._connection.execute(
            "SELECT commitment FROM documents WHERE batch = ? ORDER BY leaf", (identity,)
        )
        tree = BatchTree.build((row[0] for row in leaves), size)
        self._connection.execute(
            "INSERT INTO batches (id, root, schema, leaf_count, expires_ms, nodes) VALUES (?, ?, ?, ?, ?, ?)",
            (identity, tree.root(), schema, size, latest if known == size else None, tree.nodes),
        )

    def _document(self, where: str, *values: object) -> Issued | None:
        found = self._documents(where, *values)
        return found[0] if found else None

    def _documents(self, where: str, *values: object) -> list[Issued]:
        with self._turn:
            rows = self._connection.execute(_DOCUMENT + where, values).fetchall()
        return [_issued(row) for row in rows]


def _issued(row: tuple[object, ...]) -> Issued:
    identity, reference, commitment, opening, path, delivered, batch, leaf, supersedes, superseded, height = (
        row
    )
    assert isinstance(commitment, bytes), "the column's type is strict"
    return Issued(
        id=identity,  # type: ignore[arg-type]
        reference=reference,  # type: ignore[arg-type]
        commitment=commitment,
        opening=unpack(Opening, opening, size_max=OPENING_SIZE_MAX) if isinstance(opening, bytes) else None,
        proof_path=Path(path) if isinstance(path, str) else None,
        is_delivered=bool(delivered),
        batch=batch,  # type: ignore[arg-type]
        leaf=leaf,  # type: ignore[arg-type]
        supersedes=supersedes,  # type: ignore[arg-type]
        is_superseded=bool(superseded),
        height=height,  # type: ignore[arg-type]
    )


def _is_of(draft: Draft, issued: Issued) -> bool:
    return issued.opening is not None and draft.is_of(issued.opening)


def _take_lock(path: Path) -> FileLock:
    try:
        return FileLock(path.with_name(path.name + ".lock"))
    except FileLocked as error:
        raise RegisterError(
            where=path,
            expected="to be its only user",
            found="another process using it",
            cure="wait for it, or stop it",
        ) from error


def _check_private(path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & EXPOSED_BITS:
        expected = "a file that only its owner can use (mode 0600)"
        raise RegisterError(where=path, expected=expected, found=f"mode {mode:04o}", cure=f"chmod 600 {path}")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    except BaseException:
        connection.close()
        raise
    return connection
