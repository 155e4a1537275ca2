"""The judge of a simulated world, written without the core's predicates (docs/consensus.md, Why it is safe).

I1 finalized logs are prefixes of one another. I2 one notarized block in a view. I3 no view both nullified and
finalized. I4 what is finalized is notarized. I5 final blocks chain through nullified views only. I6 certificates
hold a quorum of valid distinct signatures. I7 no honest node ever signs an excluding pair, across crashes. I8 no
evidence and no punishment hits an honest node. I9 view, finality and tip grow. I10 what was sent had been synced.
I12 memory stays within its bounds. Deadlines lie in the future.
"""

from collections import defaultdict
from collections.abc import Sequence

from ledger.rules.certificates import FINALIZE, NOTARIZE, NULLIFY, QuorumCertificate, Subject, Vote
from node.consensus.core import Simplex
from node.consensus.effects import Certify, Effect, Finalized, Persist
from node.consensus.events import Certified, Event
from node.consensus.journal import CertificateHeld, VoteCast, encode_record
from node.consensus.messages import (
    BlockProposalMessage,
    CertificateMessage,
    CertificateRequest,
    LatestVoteAnswer,
    Message,
    VoteMessage,
)
from tests.campaigns.simulation.core.chain import Block
from tests.campaigns.simulation.core.disk import Disk
from tests.campaigns.simulation.core.signatures import signature_of
from tests.campaigns.simulation.core.world import World

RETAINED_VIEWS = 10


class Violation(AssertionError):
    """An invariant does not hold."""


class Oracle:
    """Sees everything that honest nodes send, store and decide."""

    def __init__(self, world: World, validators_count: int, byzantine: frozenset[int]) -> None:
        self.world = world
        self.count = validators_count
        self.quorum = validators_count - (validators_count - 1) // 3
        self.faulty = set(byzantine)
        self.notarized: dict[int, Subject] = {}
        self.nullified: set[int] = set()
        self.finalized: dict[int, Subject] = {}
        self.log: list[bytes] = []
        self.heights: dict[int, int] = defaultdict(int)
        self.accused: set[int] = set()
        self.views_entered: list[tuple[int, int]] = []
        self._seen: set[QuorumCertificate] = set()
        self._signed: dict[tuple[int, int], dict[str, Subject]] = defaultdict(dict)
        self._progress: dict[int, tuple[int, int]] = {}
        self._late: dict[int, set[int]] = defaultdict(set)

    def _require(self, holds: bool, claim: str) -> None:
        if not holds:
            raise Violation(f"at {self.world.now_ms} ms: {claim}")

    # What nodes do.

    def note_start(self, node: int, core: Simplex) -> None:
        """A process starts: its finality must not be lower than what its disk promised."""
        self._progress[node] = (core.current_view, core.finalized.view)

    def note_step(self, node: int, core: Simplex, event: Event, effects: Sequence[Effect]) -> None:
        """One event was handled."""
        view, final = core.current_view, core.finalized.view
        old_view, old_final = self._progress[node]
        self._require(view >= old_view and final >= old_final, f"I9: node {node} went back to {view}/{final}")
        self._require(final < view, f"I9: node {node} is in view {view}, final is {final}")
        self._progress[node] = (view, final)
        if view > old_view + 5:
            self.world.sometimes["jump over more than 5 views"] += 1
        if view > old_view:
            self.views_entered.append((self.world.now_ms, view))
        limit = (view - final) + RETAINED_VIEWS + 2
        self._require(core.rounds_count <= limit, f"I12: node {node} holds {core.rounds_count} rounds")
        deadline_ms = core.next_deadline_ms()
        is_later = deadline_ms is None or deadline_ms > self.world.now_ms
        self._require(is_later, f"node {node}: deadline {deadline_ms} is not in the future")
        self._check_persist_first(node, effects)
        self._count_late_certifications(node, event, effects)
        self.world.trace(f"{node} {type(event).__name__} {view} {final} {len(effects)}")

    def _check_persist_first(self, node: int, effects: Sequence[Effect]) -> None:
        for position, effect in enumerate(effects):
            if isinstance(effect, Persist):
                self._require(position == 0, f"I10: node {node} persists after another effect")
                for record in effect.records:
                    if isinstance(record, CertificateHeld):
                        self.note_certificate(record.certificate)
            elif isinstance(effect, Finalized):
                self.note_certificate(effect.certificate)

    def _count_late_certifications(self, node: int, event: Event, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Certify):
                self._late[node].add(effect.view)
        if isinstance(event, Certified) and event.view in self._late[node]:
            self._late[node].discard(event.view)
            if event.view in self.nullified:
                self.world.sometimes["certified after nullification"] += 1

    def note_sent(self, node: int, message: Message, disk: Disk) -> None:
        """An honest node sends: every own vote in it is final for it, and on its disk."""
        match message:
            case BlockProposalMessage(vote) | VoteMessage(vote):
                self._require(vote.signer == node, f"node {node} sends a vote of {vote.signer}")
                self._note_signature(vote)
                self._require(
                    encode_record(VoteCast(vote)) in disk.synced_set,
                    f"I10: node {node} sends an unsynced {vote}",
                )
            case CertificateMessage(certificate):
                self.note_certificate(certificate)
            case LatestVoteAnswer():
                for certificate in message.certificates:
                    self.note_certificate(certificate)
            case CertificateRequest():
                self.world.sometimes["certificate requested"] += 1
            case _:
                return

    def _note_signature(self, vote: Vote) -> None:
        if vote.signer in self.faulty:
            return
        subject = vote.subject
        own = self._signed[(vote.signer, subject.view)]
        held = own.setdefault(subject.kind, subject)
        self._require(held == subject, f"I7: node {vote.signer} signed {held} and {subject}")
        is_excluding = NULLIFY in own and FINALIZE in own
        self._require(not is_excluding, f"I7: node {vote.signer} nullified and finalized view {subject.view}")

    def note_certificate(self, certificate: QuorumCertificate) -> None:
        """A certificate exists."""
        if certificate in self._seen:
            return
        self._seen.add(certificate)
        subject = certificate.subject
        signers = {signed.signer for signed in certificate.signatures}
        is_whole = len(signers) == len(certificate.signatures) >= self.quorum and max(signers) < self.count
        is_signed = all(
            signed.signature == signature_of(signed.signer, subject) for signed in certificate.signatures
        )
        self._require(is_whole and is_signed, f"I6: {certificate}")
        if subject.kind == NULLIFY:
            self.nullified.add(subject.view)
        else:
            self._note_block(subject)
        is_both = subject.view in self.nullified and subject.view in self.finalized
        self._require(not is_both, f"I3: view {subject.view} is nullified and finalized")
        if subject.view in self.nullified and subject.view in self.notarized:
            self.world.sometimes["view notarized and nullified"] += 1

    def _note_block(self, subject: Subject) -> None:
        held = self.notarized.setdefault(subject.view, subject)
        is_same = (held.block_hash, held.parent_view) == (subject.block_hash, subject.parent_view)
        self._require(is_same, f"I2/I4: {held} and {subject}")
        if subject.kind == NOTARIZE and _parent_of(subject) < subject.view - 2:
            self.world.sometimes["parent skips two views or more"] += 1
        if subject.kind == FINALIZE:
            self.finalized[subject.view] = subject

    def note_evidence(self, node: int, first: Vote, second: Vote) -> None:
        """A node accuses another."""
        self._require(first.signer == second.signer, "I8: evidence against two signers")
        self._require(
            first.signer in self.faulty, f"I8: node {node} accuses honest {first.signer}: {first} {second}"
        )
        is_signed = all(vote.signature == signature_of(vote.signer, vote.subject) for vote in (first, second))
        kinds = {first.subject.kind, second.subject.kind}
        is_pair = first.subject.view == second.subject.view and (
            (len(kinds) == 1 and first.subject != second.subject) or kinds == {NULLIFY, FINALIZE}
        )
        self._require(is_signed and is_pair, f"I8: no evidence: {first} {second}")
        self.accused.add(first.signer)
        self.world.sometimes["evidence"] += 1

    def note_punishment(self, node: int, peer: int, reason: str) -> None:
        """A node punishes another."""
        self._require(peer in self.faulty, f"I8: node {node} punishes honest {peer} for {reason}")
        self.world.sometimes["punishment"] += 1

    def note_trace(self, node: int, name: str, fields: dict[str, int | str]) -> None:
        """Count what is worth knowing."""
        if name == "consensus.nullify":
            self.world.sometimes[f"nullify: {fields['reason']}"] += 1
        elif name in ("consensus.amnesia", "consensus.observing"):
            self._require(node in self.faulty, f"honest node {node} believes that it forgot: {fields}")
            self.world.sometimes[name] += 1

    def note_committed(self, node: int, height: int, block: Block) -> None:
        """A node commits a block at a height."""
        self._require(height == self.heights[node] + 1, f"I1: node {node} commits {height}")
        self.heights[node] = height
        if height > len(self.log):
            self.log.append(block.hash)
        self._require(self.log[height - 1] == block.hash, f"I1: node {node} differs at height {height}")

    # At the end.

    def check_history(self) -> None:
        """I4 and I5, over everything seen."""
        for view, subject in sorted(self.notarized.items()):
            skipped = set(range(_parent_of(subject) + 1, view)) - self.nullified
            self._require(
                not skipped, f"I5: {subject} skips views {sorted(skipped)}, which are not nullified"
            )
        previous = 0
        for view in sorted(self.finalized):
            at = view
            while at > previous:
                self._require(at in self.notarized, f"I4: no block in view {at}, on the way from {view}")
                at = _parent_of(self.notarized[at])
            self._require(at == previous, f"I5: final view {view} does not extend final view {previous}")
            previous = view


def _parent_of(subject: Subject) -> int:
    assert subject.parent_view is not None, "a notarized block has a parent"
    return subject.parent_view
