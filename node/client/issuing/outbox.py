"""The outbox: brings what the register holds onto the ledger, one step at a time, each safe to repeat.

Rule 1: no node is believed: a batch counts as anchored, a document as revoked, and a proof goes out, once a quorum
certificate under the issuer's own trusted root shows it. A refusal to prove what is anchored counts when it shows why.
Rule 2: "already recorded" counts as success; a step that a crash cut short is done again.
Rule 3: a signed transaction is sent again as it is while it may be recorded, and signed anew once it has expired.
Rule 4: a correction is anchored, and can be proven, before what it supersedes is revoked: the holder is never without a
document.
Rule 5: what is refused is named and left behind, and so is a proof that has no place to go: the rest goes on. A full
disk ends the pass, since nothing else would fit either.
"""

import asyncio
import errno
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from ledger.encoding.keys import PrivateKey
from ledger.errors import LedgerError
from ledger.proofs import BatchPath, Evidence, EvidenceRequest, Proof, require_leaf
from ledger.rules.blocks import EncodedHeader
from ledger.rules.operations import AnchorBatch, Operation, RevokeDocument
from ledger.rules.state import Anchor, Revocation, anchor_key, revocation_key
from ledger.rules.transactions import Transaction
from ledger.trees.merkle import Content
from ledger.trust import Pins, TrustedRoot, verify_header
from ledger.verdicts import VerificationError
from ledger.verifier import Verifier
from node.client.answers import Recorded
from node.client.client import Client, Result
from node.client.issuing.batchtree import LEAVES_MAX
from node.client.issuing.register import Batch, Due, Issued, Refusal, Register
from node.client.ledgerclient import FRESH_MS, LedgerClient
from node.client.nodes import Nodes
from node.client.submission import sign_operations, submit_once
from node.clock import Clock
from node.errors import BadAnswer, ClientError, RefusedByNode, Unreachable
from node.evidence import AskedAnchor, DocumentsRequest
from node.files.durablefile import POSIX_FILES, PRIVATE_MODE, FileOperations, write_file, write_files

NODE_CODES: Final = frozenset(
    {"untrusted-header", "anchor-unproven", "issuer-unproven", "revocation-unproven", "stale-proof"}
)
"""Refusals of a proof that speak against the node that answered; any other is what the ledger says of the document."""
PROOFS_AT_ONCE: Final = 256
"""How many proofs are asked for in one question, written together and noted in one change of the register."""
QUESTIONS_AT_ONCE: Final = 64
"""How many of them are asked for at a time, each in a question of its own, where one question did not settle them."""
CHECKED_COUNT: Final = 32
"""How many proofs are checked before the loop goes round."""
WRITTEN_COUNT: Final = 32
"""How many proofs one thread writes after the other; each directory is synced once for them."""
BUSY: Final = "busy"
FULL: Final = (errno.ENOSPC, errno.EDQUOT)
PASSING_CODES: Final = frozenset({"issuer-suspended", "anchor-distrusted"})
"""Refusals that a reinstatement ends: under an older header they speak of a time that may have passed."""


_Proven: TypeAlias = bytes | RefusedByNode | Unreachable
"""The content of a proof file, or why there is none."""


class ShownRefusal(RefusedByNode):
    """What the ledger itself says no with: evidence under the issuer's trusted root shows why."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What one pass brought about: batches anchored, documents revoked, proofs written; and what it left behind.

    `refused` are documents as they stand now, with the reason. `unwritten` have a proof that could not be written where
    it belongs; `unrevoked` a revocation that the ledger refused. Both are tried again by the next pass.
    """

    anchored: tuple[Batch, ...]
    revoked: tuple[bytes, ...]
    delivered: tuple[Issued, ...]
    refused: tuple[Issued, ...] = ()
    unwritten: tuple[tuple[Issued, OSError], ...] = ()
    unrevoked: tuple[tuple[Due, RefusedByNode], ...] = ()

    def __add__(self, other: "Settled") -> "Settled":
        return Settled(
            self.anchored + other.anchored,
            self.revoked + other.revoked,
            self.delivered + other.delivered,
            self.refused + other.refused,
            self.unwritten + other.unwritten,
            self.unrevoked + other.unrevoked,
        )


class Outbox:
    """Anchors, revokes and proves what a register holds. One task at a time uses `anchor` and `revoke`."""

    def __init__(
        self,
        register: Register,
        nodes: Nodes,
        *,
        key: PrivateKey,
        trust: TrustedRoot,
        clock: Clock,
        files: FileOperations = POSIX_FILES,
    ) -> None:
        """Take what an issuer has. Raises LedgerError where `trust` is not a trusted root."""
        self.register = register
        self._nodes = nodes
        self._ledger = LedgerClient(nodes, trust, clock.wall_ms)
        self._key = key
        self._trust = trust
        self._verifier = Verifier(trust)
        self._pins = Pins(trust)
        self._clock = clock
        self._files = files
        self._signed: dict[bytes, Transaction] = {}

    async def settle(
        self,
        *,
        documents_max: int = LEAVES_MAX,
        only: Collection[int] | None = None,
        progress: Callable[[int], None] = lambda _count: None,
    ) -> Settled:
        """Do everything that is to be done, once, for the documents whose numbers are given, or for all.

        What is refused is in the answer. `progress` is told how many proofs are written. Raises Unreachable, and
        OSError where the disk is full; repeat it then.
        """
        submitted = await self.submit(documents_max=documents_max, only=only)
        return submitted + await self.deliver_all(self.register.undelivered_ids(only=only), progress=progress)

    async def submit(
        self, *, documents_max: int = LEAVES_MAX, only: Collection[int] | None = None
    ) -> Settled:
        """Have documents anchored, and what they supersede revoked: `settle` without the proofs. Raises Unreachable."""
        refused = self.register.refuse_expired(self._clock.wall_ms())
        self.register.form_batches(documents_max, only=only)
        anchored: list[Batch] = []
        for batch in self.register.waiting_batches(only=only):
            try:
                anchored.append(await self.anchor(batch))
            except RefusedByNode as error:
                refused += self.register.refuse_batch(batch, Refusal(error.code, error.found))
        revoked: list[bytes] = []
        unrevoked: list[tuple[Due, RefusedByNode]] = []
        for due in self.register.due_revocations(only=only):
            try:
                await self.revoke(due)
            except RefusedByNode as error:
                unrevoked.append((due, error))
                if due.after_document is not None:
                    made = self.register.document(due.after_document)
                    refused += [made] if made.refusal is not None else []
            else:
                revoked.append(due.commitment)
        return Settled(tuple(anchored), tuple(revoked), (), tuple(refused), (), tuple(unrevoked))

    async def deliver_all(
        self, ids: Sequence[int], *, progress: Callable[[int], None] = lambda _count: None
    ) -> Settled:
        """Write the proofs of anchored documents where they belong, PROOFS_AT_ONCE of them together.

        Raises Unreachable once all were tried, and OSError where the disk is full.
        """
        settled = Settled((), (), ())
        unreachable: Unreachable | None = None
        waiting = [ids[first : first + PROOFS_AT_ONCE] for first in range(0, len(ids), PROOFS_AT_ONCE)]
        asked = asyncio.ensure_future(self._prove_some(waiting[0] if waiting else []))
        try:
            for following in [*waiting[1:], []] if waiting else []:
                documents, proven = await asked
                # The next are asked for while these are written.
                asked = asyncio.ensure_future(self._prove_some(following))
                written, failed = await self._write_some(documents, proven)
                settled += written
                progress(len(settled.delivered) + len(settled.refused) + len(settled.unwritten))
                unreachable = unreachable or failed
                if failed is not None and not (written.delivered or written.refused):
                    break
        finally:
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
        if unreachable is not None:
            raise unreachable
        return settled

    async def _prove_some(self, ids: Sequence[int]) -> tuple[list[Issued], list[_Proven]]:
        """Prove documents in one question. What that does not settle for one, a question of its own does."""
        documents = self.register.documents(ids)
        try:
            proven: dict[int, _Proven] = {**await self._prove_together(documents)}
        except RefusedByNode:
            # One document may be what all are refused for, or the nodes may be of a release that has no such question.
            proven = {}
        except Unreachable as error:
            # Few such questions are answered at once; a question for one document needs no such room.
            if error.code != BUSY:
                return documents, [error] * len(documents)
            proven = {}
        left = [each for each in documents if each.id not in proven]
        for first in range(0, len(left), QUESTIONS_AT_ONCE):
            some = left[first : first + QUESTIONS_AT_ONCE]
            answers = await asyncio.gather(*map(self._proof_or_error, some))
            proven |= {each.id: answer for each, answer in zip(some, answers, strict=True)}
        return documents, [proven[each.id] for each in documents]

    async def _prove_together(self, documents: Sequence[Issued]) -> dict[int, bytes]:
        """Return the proofs that one question gives: of a document that it does not prove there is none.

        Raises Unreachable or RefusedByNode.
        """
        batches: dict[int, list[Issued]] = {}
        for each in documents:
            if each.opening is not None and each.batch is not None and each.leaf is not None:
                batches.setdefault(each.batch, []).append(each)
        asked = [(self.register.batch(identity), some) for identity, some in batches.items()]
        if sum(len(some) for _, some in asked) < 2:
            return {}
        request = DocumentsRequest(
            tuple(
                AskedAnchor(self.register.issuer, batch.root, tuple(each.commitment for each in some))
                for batch, some in asked
            ),
            None,
            None,
            self._from_epoch(),
        )
        ordered = [(batch, each) for batch, some in asked for each in some]

        async def ask(client: Client) -> dict[int, bytes]:
            answer = await client.documents_evidence(request)
            return await self._check_together(ordered, [*answer.each(request)])

        return await self._nodes.ask(ask)

    async def _check_together(
        self, documents: Sequence[tuple[Batch, Issued]], evidence: Sequence[Evidence | None]
    ) -> dict[int, bytes]:
        """Return the proofs that hold. Raises BadAnswer where the node's evidence proves nothing of any document."""
        proven: dict[int, bytes] = {}
        bad: BadAnswer | None = None
        for number, ((batch, issued), found) in enumerate(zip(documents, evidence, strict=True), 1):
            if found is not None:
                try:
                    proven[issued.id] = self._checked(batch, issued, found)[1]
                except BadAnswer as error:
                    bad = error
                except ShownRefusal:
                    pass  # asked for alone, it is told, and by every node that answers
            if number % CHECKED_COUNT == 0:
                await asyncio.sleep(0)
        if bad is not None and not proven:
            raise bad
        return proven

    async def _write_some(
        self, documents: Sequence[Issued], proven: Sequence[_Proven]
    ) -> tuple[Settled, Unreachable | None]:
        refused = [
            (each, found)
            for each, found in zip(documents, proven, strict=True)
            if isinstance(found, RefusedByNode)
        ]
        for issued, error in refused:
            self.register.refuse(issued, Refusal(error.code, error.found))
        proofs = [
            (each, found) for each, found in zip(documents, proven, strict=True) if isinstance(found, bytes)
        ]
        parts = [proofs[first : first + WRITTEN_COUNT] for first in range(0, len(proofs), WRITTEN_COUNT)]
        ended = await asyncio.gather(*(asyncio.to_thread(self._write, part) for part in parts))
        written = [error for part in ended for error in part]
        delivered = [each for (each, _), error in zip(proofs, written, strict=True) if error is None]
        self.register.mark_delivered(*delivered)
        for (issued, _), failure in zip(proofs, written, strict=True):
            if failure is not None and failure.errno in FULL:
                raise OSError(failure.errno, failure.strerror, f"{issued.proof_path}") from failure
        unwritten = [
            (each, error) for (each, _), error in zip(proofs, written, strict=True) if error is not None
        ]
        settled = Settled(
            (),
            (),
            tuple(delivered),
            tuple(self.register.document(each.id) for each, _ in refused),
            tuple(unwritten),
        )
        return settled, next((each for each in proven if isinstance(each, Unreachable)), None)

    async def _proof_or_error(self, issued: Issued) -> _Proven:
        try:
            return (await self.prove(issued)).encode()
        except (RefusedByNode, Unreachable) as error:
            return error

    def _write(self, proofs: Sequence[tuple[Issued, bytes]]) -> list[OSError | None]:
        """Write proofs where they belong, and return what failed of each."""
        placed = [(each.proof_path, content) for each, content in proofs if each.proof_path is not None]
        failed = iter(write_files(self._files, placed, mode=PRIVATE_MODE))
        return [None if each.proof_path is None else next(failed) for each, _ in proofs]

    async def anchor(self, batch: Batch) -> Batch:
        """Have a batch anchored, and return it with the height that was proven.

        Raises Unreachable, or RefusedByNode where no later attempt can succeed unless the issuer's standing changes.
        """
        operation = AnchorBatch(batch.root, batch.leaf_count, batch.schema, batch.expires_ms)
        try:
            await self._submit(batch.root, operation)
        except RefusedByNode as error:
            has_expired = batch.expires_ms is not None and batch.expires_ms <= self._clock.wall_ms()
            if error.code != "expired" or has_expired:
                # It may be on the ledger all the same: recorded in time, and the answer was lost.
                return await self._anchored_before(batch, error)
            self._signed.pop(batch.root, None)  # the transaction was too old, not the documents
            raise _not_yet(error) from error
        return self._note_anchored(batch, await self._confirm(batch))

    async def _anchored_before(self, batch: Batch, refusal: RefusedByNode) -> Batch:
        try:
            height = await self._confirm(batch)
        except ClientError:
            raise refusal from None
        return self._note_anchored(batch, height)

    def _note_anchored(self, batch: Batch, height: int) -> Batch:
        self.register.mark_anchored(batch, height)
        self._signed.pop(batch.root, None)
        return self.register.batch(batch.id)

    async def revoke(self, due: Due) -> Recorded[Revocation]:
        """Have a revocation recorded, and return it as the ledger shows it. Raises Unreachable or RefusedByNode.

        That of a correction waits until the new document can be proven (rule 4).
        """
        if due.after_document is not None:
            await self._require_provable(self.register.document(due.after_document))
        signed = self._sign(due.commitment, RevokeDocument(due.commitment, due.reason))

        async def send(client: Client) -> Result | None:
            return await submit_once(client, signed)

        key = revocation_key(self.register.issuer, due.commitment)
        what = f"the revocation of {due.commitment.hex()[:16]}"
        try:
            recorded = await self._ledger.act(send, Revocation, key, lambda _: True, what=what)
        except BadAnswer as error:
            raise _not_yet(error) from error
        self.register.mark_revoked(due)
        self._signed.pop(due.commitment, None)
        return recorded

    async def _require_provable(self, issued: Issued) -> None:
        if issued.opening is None:
            return  # it was erased since: nobody misses its proof
        try:
            await self.prove(issued)
        except RefusedByNode as error:
            self.register.refuse(issued, Refusal(error.code, error.found))
            raise

    async def prove(self, issued: Issued) -> Proof:
        """Return a document's proof with evidence of now, verified. Raises Unreachable or RefusedByNode."""
        if issued.opening is None or issued.batch is None or issued.leaf is None:
            found = "one that was erased" if issued.opening is None else "one without a place in a batch"
            raise _refused("unproven", "document", "one whose opening and batch are here", found)
        batch = self.register.batch(issued.batch)

        async def ask(client: Client) -> Proof:
            try:
                found = await client.evidence(self._request(batch, issued.commitment))
                return self._checked(batch, issued, found)[0]
            except ShownRefusal:
                raise
            except RefusedByNode as error:
                raise await self._shown(issued.commitment, error) from error

        return await self._nodes.ask(ask)

    def _checked(self, batch: Batch, issued: Issued, evidence: Evidence) -> tuple[Proof, bytes]:
        """Return a document's proof with a node's evidence, and as a file. Raises BadAnswer or ShownRefusal."""
        assert issued.opening is not None and issued.leaf is not None, "its caller looked"
        path = BatchPath(batch.leaf_count, self.register.tree(batch).path(issued.leaf))
        proof = Proof(self.register.chain_id, issued.opening, path, batch.root, evidence, None)
        encoded = proof.encode()
        self._check_proof(proof, encoded)
        return proof, encoded

    async def deliver(self, issued: Issued) -> Proof:
        """Return a document's proof, written where it belongs, and note it.

        Raises Unreachable; OSError; or RefusedByNode, once, where the ledger says no: it is not tried again.
        """
        try:
            proof = await self.prove(issued)
        except RefusedByNode as error:
            self.register.refuse(issued, Refusal(error.code, error.found))
            raise
        if issued.proof_path is not None:
            write_file(self._files, issued.proof_path, proof.encode(), mode=PRIVATE_MODE)
            self.register.mark_delivered(issued)
        return proof

    async def _submit(self, name: bytes, operation: Operation) -> Result | None:
        return await self._nodes.submit_once(self._sign(name, operation))

    def _sign(self, name: bytes, operation: Operation) -> Transaction:
        """Return the transaction that carries an operation: the same as before, while it may be recorded (rule 3)."""
        now_ms = self._clock.wall_ms()
        signed = self._signed.get(name)
        if signed is None or signed.body.valid_until_ms <= now_ms:
            signed = self._signed[name] = sign_operations(
                chain_id=self.register.chain_id,
                member=self.register.issuer,
                key=self._key,
                now_ms=now_ms,
                operations=(operation,),
            )
        return signed

    async def _confirm(self, batch: Batch) -> int:
        """Return the height at which a batch's anchor is proven to stand. Raises Unreachable."""

        def check(evidence: Evidence) -> int:
            try:
                header = EncodedHeader.decode(evidence.header)
                verify_header(
                    self._pins,
                    evidence.header,
                    evidence.certificate,
                    evidence.trust_path,
                    at_ms=max(self._clock.wall_ms(), header.header.time_ms),
                )
                key = anchor_key(self.register.issuer, batch.root)
                return require_leaf(evidence.anchor, Anchor, key, header).height
            except LedgerError as error:
                raise _bad(error) from error

        try:
            # The root stands for a commitment: nobody revokes it, whatever became of the documents meanwhile.
            return await self._nodes.evidence(self._request(batch, batch.root), check)
        except RefusedByNode as error:
            shown = await self._shown(batch.root, error)
            raise (shown if isinstance(shown, ShownRefusal) else _not_yet(error)) from error

    async def _shown(self, commitment: bytes, error: RefusedByNode) -> ClientError:
        """Return what a refusal to prove an anchored document comes to: shown where it is revoked, else no answer."""
        key = revocation_key(self.register.issuer, commitment)
        try:
            found = await self._ledger.lasting(Revocation, key, lambda _: True, what="its revocation")
        except ClientError as unshown:
            return unshown if isinstance(unshown, BadAnswer) else _not_yet(error)
        said = f"revoked in block {found.value.height}: {found.value.reason}"
        return _refused("revoked", "document", "not revoked", said)

    def _request(self, batch: Batch, commitment: bytes) -> EvidenceRequest:
        return EvidenceRequest(self.register.issuer, batch.root, commitment, None, None, self._from_epoch())

    def _from_epoch(self) -> int:
        """Return the epoch that evidence is to lead from: that of the newest pin."""
        return self._pins.at(self._clock.wall_ms())[-1].epoch

    def _check_proof(self, proof: Proof, encoded: bytes) -> None:
        opening = proof.opening
        try:
            header = EncodedHeader.decode(proof.evidence.header).header
            # A bureau's slow clock is no reason to hold a proof back: banks verify it by their own.
            now_ms = max(self._clock.wall_ms(), header.time_ms)
            content = Content(opening.size, opening.content_root)
            self._verifier.verify_anchor(content, encoded, now_ms=now_ms)
        except VerificationError as error:
            is_old = self._clock.wall_ms() - header.time_ms > FRESH_MS
            if error.code in NODE_CODES or (error.code in PASSING_CODES and is_old):
                raise _bad(error) from error
            raise _refused(error.code, error.where, error.expected, error.found) from error
        except LedgerError as error:
            raise _bad(error) from error


def _refused(code: str, where: str, expected: str, found: str) -> ShownRefusal:
    cure = "Correct it with a new document, or ask the governors where the issuer's standing is at fault."
    return ShownRefusal(code=code, where=where, expected=expected, found=found, cure=cure)


def _bad(error: LedgerError) -> BadAnswer:
    cure = "Use another node: what this one answers is not under a quorum that the trusted root knows."
    return BadAnswer(
        code="bad-answer", where=error.where, expected=error.expected, found=error.found, cure=cure
    )


def _not_yet(error: ClientError) -> Unreachable:
    return Unreachable(
        code=error.code, where=error.where, expected=error.expected, found=error.found, cure=error.cure
    )
