"""The register: an issuer's own durable list of what it issued, off chain (docs/issuing.md; docs/decisions/0013).

Rule 1: a document is in the register, salt and all, before anything of it is sent anywhere.
Rule 2: every change is one transaction, on the disk when the call returns: a crash leaves it whole or absent.
Rule 3: a reference names one standing document. The same draft again is that document; another one is refused.
Rule 4: the leaves of a batch are in an order drawn by the system's random source.
Rule 5: one process uses a register at a time; it is private to its owner (mode 0600).
Rule 6: erasing takes reference, opening, content root and proof path; commitment and place stay, so that the batch can
be proven and the document revoked. Erased bytes are overwritten in the file.
Rule 7: what is refused or dropped has no place in a batch and waits for nobody: the rest goes on without it. It keeps
its row, with the reason.
"""

import secrets
import sqlite3
import stat
import threading
import time
from array import array
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from ledger.commitments import Opening
from ledger.encoding.records import pack, unpack
from node.client.issuing.batchtree import LEAVES_MAX, BatchTree
from node.client.issuing.draft import Draft
from node.errors import SetupError
from node.files.durablefile import EXPOSED_BITS, POSIX_FILES, FileLock, FileLocked
from node.files.system import has_owners

REGISTER: Final = "issued.sqlite"
VERSION: Final = 2
OPENING_SIZE_MAX: Final = 1_024
CACHE_KIB: Final = 65_536
LOCK_POLL_S: Final = 0.01

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
CREATE INDEX undelivered ON documents (batch) WHERE NOT is_delivered AND proof_path IS NOT NULL;
CREATE INDEX leaves ON documents (batch, leaf);
CREATE TABLE revocations (
    commitment BLOB PRIMARY KEY, reason TEXT NOT NULL, after_document INTEGER REFERENCES documents,
    is_recorded INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX due ON revocations (commitment) WHERE NOT is_recorded;
"""
_SCHEMA_2: Final = """
ALTER TABLE documents ADD COLUMN content_root BLOB;
ALTER TABLE documents ADD COLUMN refused_code TEXT;
ALTER TABLE documents ADD COLUMN refused_found TEXT;
ALTER TABLE documents ADD COLUMN is_dropped INTEGER NOT NULL DEFAULT 0;
DROP INDEX IF EXISTS standing;
DROP INDEX IF EXISTS collected;
CREATE UNIQUE INDEX standing ON documents (reference)
    WHERE reference IS NOT NULL AND NOT is_superseded AND NOT is_dropped;
CREATE INDEX collected ON documents (schema, id) WHERE batch IS NULL AND refused_code IS NULL AND NOT is_dropped;
CREATE INDEX expiring ON documents (expires_ms) WHERE expires_ms IS NOT NULL AND NOT is_delivered;
CREATE INDEX refused ON documents (id) WHERE refused_code IS NOT NULL;
CREATE INDEX proof_paths ON documents (proof_path) WHERE proof_path IS NOT NULL;
CREATE INDEX supersedings ON documents (supersedes) WHERE supersedes IS NOT NULL;
CREATE INDEX contents ON documents (content_root) WHERE content_root IS NOT NULL
"""
"""What version 2 adds: which content a document has, and whether it was refused or dropped."""
_COLLECTED: Final = "batch IS NULL AND refused_code IS NULL AND NOT is_dropped"
_STATE: Final = (
    "CASE WHEN coalesce(r.is_recorded, 0) THEN iif(d.is_superseded, 'corrected', 'revoked') "
    "WHEN d.is_dropped THEN 'dropped' WHEN d.refused_code IS NOT NULL THEN 'refused' "
    "WHEN d.batch IS NULL THEN 'collected' WHEN b.height IS NULL THEN 'submitted' "
    "WHEN d.is_delivered THEN 'delivered' ELSE 'anchored' END"
)
_TABLES: Final = (
    "FROM documents d LEFT JOIN batches b ON d.batch = b.id "
    "LEFT JOIN revocations r ON d.commitment = r.commitment "
)
_DOCUMENT: Final = (
    "SELECT d.id, d.reference, d.commitment, d.opening, d.proof_path, d.is_delivered, d.batch, d.leaf, "
    f"d.supersedes, d.is_superseded, b.height, d.refused_code, d.refused_found, {_STATE} {_TABLES}"
)


class RegisterError(SetupError):
    """A register that cannot be used, or does not hold what is asked for."""


class ReferenceTaken(RegisterError):
    """The reference names another document that stands."""


class State(StrEnum):
    """Where a document stands (docs/issuing.md, States)."""

    COLLECTED = "collected"
    SUBMITTED = "submitted"
    ANCHORED = "anchored"
    DELIVERED = "delivered"
    REFUSED = "refused"
    DROPPED = "dropped"
    REVOKED = "revoked"
    CORRECTED = "corrected"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a document was refused: the code, and what was found."""

    code: str
    found: str


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
    refusal: Refusal | None
    state: State

    @property
    def is_waiting(self) -> bool:
        """Whether something is still to be done for it, which nobody refused."""
        return self.state in (State.COLLECTED, State.SUBMITTED) or (
            self.state is State.ANCHORED and self.proof_path is not None
        )


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
    after_document: int | None = None
    """The number of the document that corrects the revoked one; None where none does."""


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
    def open(cls, path: Path, *, chain_id: bytes, issuer: str, wait_ms: int = 0) -> Iterator["Register"]:
        """Open or make the register of an issuer on a chain; wait so many milliseconds while another process has it.

        Raises RegisterError or OSError.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = take_lock(path, wait_ms=wait_ms)
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
            raise _unusable(path, error) from error
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
            return self._supersede(standing, draft, now_ms)

    def supersede_document(self, document: Issued, draft: Draft, *, now_ms: int) -> Issued:
        """Do as `supersede` for a document that may have no reference; the same correction again is the one it made.

        Raises ReferenceTaken where another one corrects it.
        """
        with self.change():
            follower = self.find_successor(document)
            if follower is None:
                return self._supersede(self.document(document.id), draft, now_ms)
            if _is_of(draft, follower):
                return follower
            raise ReferenceTaken(
                where=f"document {document.id}",
                expected="one that was not corrected yet",
                found=f"one that document {follower.id} corrects",
                cure=f"correct document {follower.id}",
            )

    def _supersede(self, standing: Issued, draft: Draft, now_ms: int) -> Issued:
        self._connection.execute("UPDATE documents SET is_superseded = 1 WHERE id = ?", (standing.id,))
        made = self._collect(replace(draft, reference=standing.reference), now_ms, supersedes=standing.id)
        self._connection.execute(
            "INSERT INTO revocations (commitment, reason, after_document) VALUES (?, 'superseded', ?) "
            "ON CONFLICT DO NOTHING",
            (standing.commitment, made.id),
        )
        return made

    def find_successor(self, document: Issued) -> Issued | None:
        """Return the document that corrects this one, unless it was dropped."""
        return self._document("WHERE d.supersedes = ? AND NOT d.is_dropped ORDER BY d.id DESC", document.id)

    def numbered(self, identity: int) -> list[Issued]:
        """Return the document of a number, if there is one."""
        return self._documents("WHERE d.id = ?", identity)

    def find_proof_path(self, path: Path) -> list[Issued]:
        """Return every document whose proof belongs at a path, oldest first."""
        return self._documents("WHERE d.proof_path = ? ORDER BY d.id", f"{path}")

    def find(self, reference: str) -> Issued | None:
        """Return the standing document of a reference."""
        return self._document("WHERE d.reference = ? AND NOT d.is_superseded AND NOT d.is_dropped", reference)

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

    def documents(self, identities: Sequence[int]) -> list[Issued]:
        """Return documents by their numbers in this register, in the order given."""
        where = "WHERE d.id IN (SELECT value FROM json_each(?))"
        found = {each.id: each for each in self._documents(where, _listed(identities))}
        return [found[each] for each in identities]

    def erase(self, commitment: bytes) -> bool:
        """Erase what opens a document, and its reference; say whether it was here (rule 6). Raises RegisterError.

        What waits for its anchor goes on without it: the batch is anchored, and nobody can prove this leaf.
        """
        with self._turn:
            self.cut_log()  # where another program is in the way, nothing is erased yet
            with self.change():
                changed = self._connection.execute(
                    "UPDATE documents SET reference = NULL, opening = NULL, proof_path = NULL, content_root = NULL, "
                    "is_delivered = 1 WHERE commitment = ? AND opening IS NOT NULL",
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

    def find_content(self, content_root: bytes) -> list[Issued]:
        """Return every document of a content, oldest first, whoever holds it and whatever became of it."""
        return self._documents("WHERE d.content_root = ? ORDER BY d.id", content_root)

    def counts(self) -> dict[State, int]:
        """Return how many documents are in each state that any is in."""
        with self._turn:
            rows = self._connection.execute(f"SELECT {_STATE} AS state, count(*) {_TABLES} GROUP BY state")
            return {State(state): count for state, count in rows.fetchall()}

    def newest(self, count_max: int, *, state: State | None = None) -> list[Issued]:
        """Return up to `count_max` documents, of one state where one is given, newest first."""
        where = "" if state is None else f"WHERE {_STATE} = ? "
        values = (count_max,) if state is None else (f"{state}", count_max)
        return self._documents(where + "ORDER BY d.id DESC LIMIT ?", *values)

    def refused_ids(self) -> list[int]:
        """Return the numbers of documents that were refused and not dropped since."""
        with self._turn:
            rows = self._connection.execute(
                "SELECT id FROM documents WHERE refused_code IS NOT NULL AND NOT is_dropped ORDER BY id"
            ).fetchall()
        return [row[0] for row in rows]

    def undelivered_ids(self, *, only: Collection[int] | None = None) -> list[int]:
        """Return the numbers of documents whose anchors are proven and whose proofs are not written yet."""
        with self._turn:
            rows = self._connection.execute(
                "SELECT d.id FROM documents d JOIN batches b ON d.batch = b.id WHERE NOT d.is_delivered AND "
                "d.refused_code IS NULL AND d.proof_path IS NOT NULL AND b.height IS NOT NULL ORDER BY d.id"
            ).fetchall()
        return [row[0] for row in rows if only is None or row[0] in only]

    def mark_delivered(self, *documents: Issued) -> None:
        """Note that documents' proofs are where they belong."""
        with self.change():
            self._connection.executemany(
                "UPDATE documents SET is_delivered = 1, refused_code = NULL, refused_found = NULL WHERE id = ?",
                [(each.id,) for each in documents],
            )

    # -- what is refused --------------------------------------------------------------------------------

    def refuse(self, document: Issued, refusal: Refusal) -> None:
        """Note that a document's proof is refused: nobody tries it again unless told to (rule 7)."""
        with self.change():
            self._refuse("id = ?", refusal, document.id)

    def refuse_batch(self, batch: Batch, refusal: Refusal) -> list[Issued]:
        """Take a batch apart whose anchor is refused, and return its documents: each is refused on its own.

        Those that were erased have nothing to prove, so they are dropped.
        """
        with self.change():
            rows = self._connection.execute(
                "SELECT id FROM documents WHERE batch = ? AND opening IS NOT NULL ORDER BY id", (batch.id,)
            ).fetchall()
            self._refuse("batch = ?", refusal, batch.id)
            self._connection.execute(
                "UPDATE documents SET is_dropped = opening IS NULL, batch = NULL, leaf = NULL WHERE batch = ?",
                (batch.id,),
            )
            self._connection.execute("DELETE FROM batches WHERE id = ?", (batch.id,))
            self._tree = None
        return [self.document(row[0]) for row in rows]

    def refuse_expired(self, now_ms: int) -> list[Issued]:
        """Refuse documents whose expiry passed while they waited, and return them: no batch takes them any more.

        One that has a leaf already keeps it, and gets no proof.
        """
        with self.change():
            where = (
                "expires_ms IS NOT NULL AND NOT is_delivered AND expires_ms <= ? AND refused_code IS NULL "
                "AND NOT is_dropped AND (batch IS NULL OR proof_path IS NOT NULL)"
            )
            rows = self._connection.execute(
                f"SELECT id FROM documents WHERE {where} ORDER BY id", (now_ms,)
            ).fetchall()
            if rows:
                self._refuse(where, Refusal("expired", "an expiry that passed while it waited"), now_ms)
        return [self.document(row[0]) for row in rows]

    def readmit(self, documents: Sequence[Issued]) -> None:
        """Let refused documents be tried again."""
        with self.change():
            self._connection.executemany(
                "UPDATE documents SET refused_code = NULL, refused_found = NULL, is_delivered = 0 "
                "WHERE id = ? AND refused_code IS NOT NULL AND NOT is_dropped",
                [(each.id,) for each in documents],
            )

    def drop(self, documents: Sequence[Issued]) -> None:
        """Take documents out of the queue, all or none. Raises RegisterError for one that may be on the ledger.

        Where one was to correct another, the other stands again.
        """
        with self.change():
            for each in documents:
                self._drop(self.document(each.id))

    def check_droppable(self, documents: Sequence[Issued]) -> None:
        """Raise RegisterError where `drop` would."""
        for each in documents:
            _check_droppable(each)

    def _drop(self, document: Issued) -> None:
        if document.state is State.DROPPED:
            return
        _check_droppable(document)
        self._connection.execute("UPDATE documents SET is_dropped = 1 WHERE id = ?", (document.id,))
        if document.supersedes is not None:
            self._connection.execute("DELETE FROM revocations WHERE after_document = ?", (document.id,))
            self._connection.execute(
                "UPDATE documents SET is_superseded = 0 WHERE id = ?", (document.supersedes,)
            )

    def _refuse(self, where: str, refusal: Refusal, *values: object) -> None:
        self._connection.execute(
            f"UPDATE documents SET refused_code = ?, refused_found = ? WHERE {where}",
            (refusal.code, refusal.found, *values),
        )

    # -- batches ----------------------------------------------------------------------------------------

    def collected_count(self) -> int:
        """Return how many documents have no place in a batch."""
        with self._turn:
            return int(
                self._connection.execute(f"SELECT count(*) FROM documents WHERE {_COLLECTED}").fetchone()[0]
            )

    def form_batches(self, documents_max: int, *, only: Collection[int] | None = None) -> list[Batch]:
        """Give every collected document a leaf in a batch of its schema, in an order drawn by chance.

        `only` are the numbers of those that are meant, where not all are.
        """
        assert 1 <= documents_max <= LEAVES_MAX, "a batch has at most a million leaves"
        formed = []
        chosen = None if only is None else _listed(only)
        while (batch := self._form(documents_max, chosen)) is not None:
            formed.append(batch)
        return formed

    def waiting_batches(self, *, only: Collection[int] | None = None) -> list[Batch]:
        """Return the batches whose anchors are not proven, oldest first; where `only` is given, those of documents."""
        where, values = "height IS NULL", []
        if only is not None:
            where += " AND id IN (SELECT batch FROM documents WHERE id IN (SELECT value FROM json_each(?)))"
            values = [_listed(only)]
        with self._turn:
            rows = self._connection.execute(
                f"SELECT id, root, schema, leaf_count, expires_ms, height FROM batches WHERE {where} ORDER BY id",
                values,
            ).fetchall()
        return [Batch(*row) for row in rows]

    def waiting_count(self) -> int:
        """Return for how many documents something is still to be done that nobody refused."""
        with self._turn:
            unanchored = self._connection.execute(
                "SELECT count(*) FROM documents d JOIN batches b ON d.batch = b.id "
                "WHERE b.height IS NULL AND d.opening IS NOT NULL AND d.refused_code IS NULL"
            ).fetchone()[0]
        return self.collected_count() + int(unanchored) + len(self.undelivered_ids())

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

    def due_revocations(self, *, only: Collection[int] | None = None) -> list[Due]:
        """Return the revocations to record now: those of corrections once the new document is anchored.

        `only` are the numbers of the new documents that are meant, where not all are.
        """
        with self._turn:
            rows = self._connection.execute(
                "SELECT r.commitment, r.reason, r.after_document FROM revocations r "
                "LEFT JOIN documents d ON r.after_document = d.id LEFT JOIN batches b ON d.batch = b.id "
                "WHERE NOT r.is_recorded AND d.refused_code IS NULL "
                "AND (r.after_document IS NULL OR b.height IS NOT NULL) ORDER BY r.rowid"
            ).fetchall()
        return [Due(*row) for row in rows if only is None or row[2] in only]

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
                # A full disk has ended the transaction already.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _claim(self) -> None:
        """Make the tables of a new register, or check whose this one is."""
        with self.change():
            if not self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in _SCHEMA.split(";"):
                    self._connection.execute(statement)
                own = (1, self.chain_id, self.issuer)
                self._connection.execute("INSERT INTO owner VALUES (?, ?, ?)", own)
            if self._connection.execute("SELECT version FROM owner").fetchone() == (1,):
                self._migrate()
            found = self._connection.execute("SELECT version, chain_id, issuer FROM owner").fetchone()
        if found != (VERSION, self.chain_id, self.issuer):
            expected = f"version {VERSION} of {self.issuer} on chain {self.chain_id.hex()}"
            shown = f"version {found[0]} of {found[2]} on chain {found[1].hex()}"
            raise RegisterError(
                where=self.path, expected=expected, found=shown, cure="name the issuer's own register"
            )

    def _migrate(self) -> None:
        """Make a register of version 1 one of version 2, in the transaction that is open."""
        for statement in _SCHEMA_2.split(";"):
            self._connection.execute(statement)
        rows = self._connection.execute("SELECT id, opening FROM documents WHERE opening IS NOT NULL")
        roots = (
            (unpack(Opening, opening, size_max=OPENING_SIZE_MAX).content_root, identity)
            for identity, opening in rows.fetchall()
        )
        self._connection.executemany("UPDATE documents SET content_root = ? WHERE id = ?", roots)
        self._connection.execute("UPDATE owner SET version = ?", (VERSION,))

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
        if draft.expires_ms is not None and draft.expires_ms <= now_ms:
            raise RegisterError(
                code="expired",
                where="expires_ms" if draft.reference is None else f"expires_ms of {draft.reference!a:.80}",
                expected=f"a time after {now_ms}, which is now",
                found=f"{draft.expires_ms}",
                cure="give an expiry that is still to come, in milliseconds of the Unix epoch",
            )
        opening = draft.opened(self.issuer, now_ms=now_ms)
        commitment = opening.commitment()
        path = None if draft.proof_path is None else f"{draft.proof_path}"
        made = self._connection.execute(
            "INSERT INTO documents (reference, schema, expires_ms, commitment, opening, proof_path, supersedes, "
            "content_root) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                draft.reference,
                draft.schema,
                draft.expires_ms,
                commitment,
                pack(opening),
                path,
                supersedes,
                opening.content_root,
            ),
        )
        assert made.lastrowid is not None, "an insertion has a number"
        return Issued(
            id=made.lastrowid,
            reference=draft.reference,
            commitment=commitment,
            opening=opening,
            proof_path=draft.proof_path,
            is_delivered=False,
            batch=None,
            leaf=None,
            supersedes=supersedes,
            is_superseded=False,
            height=None,
            refusal=None,
            state=State.COLLECTED,
        )

    def _form(self, documents_max: int, chosen: str | None) -> Batch | None:
        where, values = _COLLECTED, []
        if chosen is not None:
            where, values = f"{_COLLECTED} AND id IN (SELECT value FROM json_each(?))", [chosen]
        with self.change():
            first = self._connection.execute(
                f"SELECT schema FROM documents WHERE {where} ORDER BY id LIMIT 1", values
            ).fetchone()
            if first is None:
                return None
            found = self._connection.execute(
                f"SELECT id FROM documents WHERE {where} AND schema = ? ORDER BY id LIMIT ?",
                (*values, *first, documents_max),
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
    identity, reference, commitment, opening, path, delivered, batch, leaf, supersedes, superseded = row[:10]
    height, code, found, state = row[10:]
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
        refusal=None if code is None else Refusal(f"{code}", f"{found}"),
        state=State(f"{state}"),
    )


def _check_droppable(document: Issued) -> None:
    if document.state is State.DROPPED:
        return
    if document.state not in (State.COLLECTED, State.REFUSED):
        raise RegisterError(
            where=f"document {document.id}",
            expected="one that was collected or refused",
            found=f"one that is {document.state}"
            + ("" if document.height is None else f", anchored in block {document.height}"),
            cure="revoke it: `luohu revoke --proof FILE.proof --reason withdrawn`",
        )


def _is_of(draft: Draft, issued: Issued) -> bool:
    return issued.opening is not None and draft.is_of(issued.opening)


def take_lock(path: Path, *, wait_ms: int = 0) -> FileLock:
    """Take the lock of a register, within so many milliseconds. Raises RegisterError or OSError."""
    until_ns = time.monotonic_ns() + wait_ms * 1_000_000
    while True:
        try:
            return FileLock(path.with_name(path.name + ".lock"))
        except FileLocked as error:
            if time.monotonic_ns() >= until_ns:
                raise RegisterError(
                    code="register-in-use",
                    where=path,
                    expected="to be its only user",
                    found="another process using it",
                    cure="wait for it, or stop it",
                ) from error
        time.sleep(LOCK_POLL_S)


def write_log_back(path: Path) -> None:
    """Write the log of a register that nobody has open into its file, which is whole then. Raises DatabaseError."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode = DELETE")


def _listed(numbers: Collection[int]) -> str:
    """Return numbers as `json_each` reads them."""
    return f"[{','.join(map(str, sorted(numbers)))}]"


def _unusable(path: Path, error: sqlite3.DatabaseError) -> RegisterError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
    if code == sqlite3.SQLITE_FULL:
        return RegisterError(
            code="disk-full",
            where=path,
            expected="room on its disk",
            found="none",
            cure="Make room, and repeat the call. The register is whole as it was: it needs no backup.",
        )
    cure = "check the disk; restore it from a backup"
    if code & 0xFF in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
        cure = "make room where the disk is full; otherwise check the disk and its permissions, and only then restore"
    return RegisterError(where=path, expected="a usable register", found=f"{error}", cure=cure)


def _check_private(path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if has_owners() and mode & EXPOSED_BITS:
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
