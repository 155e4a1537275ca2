"""The judge of a simulated world. It sees what every machine sends, stores and decides, and trusts none.

Written from the invariants (docs/reliability.md), not from the predicates of the code under test; what it
shares with that code is decoding, hashing, and the transition of one transaction, which it applies by itself
to a plain map.

I1 final logs are prefixes of one another. I2 one notarized block in a view. I3 no view is nullified and
finalized. I4 what is finalized is notarized. I5 between a block and its parent all views are nullified. I6 a
certificate holds a quorum of distinct valid signatures. I7 no honest validator signs two votes that exclude
each other, across crashes. I8 neither evidence nor punishment hits an honest one. I9 view, finality and
height grow; durable finality never goes back. I10 what is sent was synced. I11 replaying the final blocks
gives the state root of each header and the stored state. I12 memory is bounded. I13 a transaction is final
once, and what was final anywhere is final everywhere. R4 what is notarized is certified, after a nullification
too, until finality passes it.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, NoReturn

from ledger.chain.overlays import Executed
from ledger.encoding.keys import PublicKey
from ledger.errors import LedgerError
from ledger.genesis import genesis_block
from ledger.rules.blocks import Block, EncodedHeader, transactions_root
from ledger.rules.certificates import FINALIZE, NOTARIZE, NULLIFY, VOTE_TAGS, QuorumCertificate, Subject, Vote
from ledger.rules.operations import AnchorBatch, CastVote, RevokeAnchor, RevokeDocument, RotateKey, RotateTls
from ledger.rules.proposals import PASSED, Proposal, proposal_key
from ledger.rules.state import Changes, find, require_parameters, require_validators
from ledger.rules.transactions import Transaction
from ledger.rules.transition import BlockContext, apply_transaction
from node.consensus.effects import CancelCertify, Certify, Effect, Misbehaviour, Persist, Trace
from node.consensus.events import Certified, Event
from node.consensus.journal import CertificateHeld, CertifyVerdict, VoteCast, encode_record
from node.consensus.messages import (
    BlockProposalMessage,
    CertificateMessage,
    CertificateRequest,
    LatestVoteAnswer,
    Message,
    VoteMessage,
    decode_message,
)
from node.messages import BlockProposal, Consensus, FinalBlocks, WantFinal, decode_peer_message
from node.peernames import registered
from node.replica.engine import Engine
from node.storage.votelog import Damage
from tests.campaigns.simulation.whole.clients import Clients
from tests.campaigns.simulation.whole.consortium import Consortium
from tests.campaigns.simulation.whole.disk import VOTES
from tests.campaigns.simulation.whole.events import Timeline
from tests.ledger.trees.test_statetree import naive_root

if TYPE_CHECKING:
    from tests.campaigns.simulation.whole.machine import Machine

RETAINED_VIEWS = 10
ROOT_CHECKED_EVERY = 7
RECORDED_ONCE = (AnchorBatch, RevokeDocument, RevokeAnchor)
View = tuple[int, int]
"""Epoch and view."""

decode_shared = lru_cache(8_192)(decode_peer_message)
decode_message_shared = lru_cache(8_192)(decode_message)


class Violation(AssertionError):
    """An invariant does not hold."""


@dataclass(frozen=True, slots=True)
class FinalBlock:
    """One block of the log that all honest nodes share."""

    hash: bytes
    place: View
    is_seal: bool
    time_ms: int
    transactions: tuple[bytes, ...]


@dataclass(slots=True)
class State:
    """The final state as a plain map (ledger.rules.state.StateView)."""

    leaves: dict[bytes, bytes] = field(default_factory=dict)

    def find_value(self, key: bytes) -> bytes | None:
        return self.leaves.get(key)


@dataclass(slots=True)
class Ledger:
    """The final log, and the state that replaying it gives."""

    blocks: list[FinalBlock] = field(default_factory=list)
    heights: dict[bytes, int] = field(default_factory=dict)
    changes: list[dict[bytes, bytes]] = field(default_factory=list)
    state: State = field(default_factory=State)
    places: dict[bytes, int] = field(default_factory=dict)
    records: set[tuple[str, str, bytes]] = field(default_factory=set)

    def state_at(self, height: int) -> dict[bytes, bytes]:
        """Return all leaves after the block of a height."""
        leaves: dict[bytes, bytes] = {}
        for changed in self.changes[: height + 1]:
            leaves.update(changed)
        return leaves


class Oracle:
    """Everything that may be asked of a world."""

    def __init__(self, timeline: Timeline, consortium: Consortium) -> None:
        self.timeline = timeline
        self.consortium = consortium
        self.clients = Clients()
        self.faulty: set[str] = set()
        self.ledger = Ledger()
        self.sets: dict[int, list[tuple[str, PublicKey]]] = {}
        self.notarized: dict[View, Subject] = {}
        self.nullified: set[View] = set()
        self.finalized: dict[View, Subject] = {}
        self.accused: set[str] = set()
        self.refused: set[bytes] = set()
        self.heights: dict[int, int] = defaultdict(int)
        self.finality_times: list[int] = []
        self._seen: set[QuorumCertificate] = set()
        self._machines: dict[int, Machine] = {}
        self._losers: dict[bytes, set[str]] = defaultdict(set)
        self._signed: dict[tuple[str, View], dict[str, Subject]] = defaultdict(dict)
        self._durable: dict[int, set[bytes]] = defaultdict(set)
        self._bases: dict[int, int] = defaultdict(int)
        self._voted_before_loss: dict[int, bytes] = {}
        self._progress: dict[int, tuple[int, int, int]] = {}
        self._floors: dict[int, View] = {}
        self._pending_certify: dict[int, set[View]] = defaultdict(set)
        self._voted_on: set[bytes] = set()
        self._begin()

    def _begin(self) -> None:
        start = genesis_block(self.consortium.genesis.content)
        self._state_root = start.block.header.state_root
        self._extend(start.block, dict(start.overlay.values))

    def require(self, holds: bool, claim: str) -> None:
        """Raise Violation unless something holds."""
        if not holds:
            self.fail(claim)

    def fail(self, claim: str) -> NoReturn:
        """Raise Violation."""
        raise Violation(f"at {self.timeline.now_ms} ms: {claim}")

    def is_honest(self, machine: "Machine") -> bool:
        """Tell whether a machine's member keeps the rules and remembers what it promised."""
        return machine.member not in self.faulty

    def may_lose_database(self, machine: "Machine") -> bool:
        """Tell whether this loss stays within what is promised (docs/reliability.md, what is not covered).

        Who votes for a block promises to keep it. Where more than f members break that promise for one block,
        Byzantine ones among them, that block may be gone, and the network waits for it: for ever, or for the last
        that has it. Not where enough others have it as a final one.
        """
        if not self.is_honest(machine):
            return True
        faulty_max = (len(self.sets[max(self.sets)]) - 1) // 3
        others = {member for member, _ in self.sets[max(self.sets)]} - self.faulty - {machine.member}
        return all(
            # Any quorum has one of these: it leaves out f members, the faulty ones among them.
            len(others & self._holders(block_hash)) > faulty_max - len(self.faulty)
            or len(self._losers[block_hash] | self.faulty | {machine.member}) <= faulty_max
            for block_hash in self._voted_for(machine.member)
        )

    def _voted_for(self, member: str) -> list[bytes]:
        """Return the blocks that a member notarized and that are final, or may become it."""
        final = self.ledger.blocks[-1].place
        found = []
        for (signer, place), own in self._signed.items():
            if signer != member or NOTARIZE not in own:
                continue
            block_hash = own[NOTARIZE].block_hash
            assert block_hash is not None, "a notarization names a block"
            if block_hash in self.ledger.heights or (place > final and place not in self.nullified):
                found.append(block_hash)
        return found

    def _holders(self, block_hash: bytes) -> set[str]:
        """Return the members that have a block as a final one."""
        height = self.ledger.heights.get(block_hash)
        return {
            machine.member
            for number, machine in self._machines.items()
            if height is not None and self.heights[number] >= height
        }

    # Processes.

    def note_start(self, machine: "Machine") -> None:
        """A process is open: what its disk promised is still there."""
        assert machine.driver is not None
        self._machines[machine.number] = machine
        height = machine.driver.chain.tip.header.height
        known = self.heights[machine.number]
        if machine.keeps_rules:
            self._learn(machine)
        if self.is_honest(machine):
            self.require(height >= known, f"I9: {machine.member} had {known} blocks, opens with {height}")
            self._check_log(machine, height)
        self._note_unreported_snapshot(machine, known, height)
        self.heights[machine.number] = height

    def _learn(self, machine: "Machine") -> None:
        """Take what is final up to a machine's tip into the log, where nobody reported it yet.

        A process may die between the write that makes blocks final and the word of it; a snapshot may come from a
        machine whose word does not count.
        """
        assert machine.driver is not None
        tip = machine.driver.chain.tip
        unreported: list[Block] = []
        wanted = tip.encoded_header.hash
        for height in range(tip.header.height, len(self.ledger.blocks) - 1, -1):
            block = self._stored_block(height, wanted)
            if block is None:
                self.fail(f"I1: {machine.member} has height {tip.header.height}, and nobody has {height}")
            unreported.append(block)
            wanted = block.header.parent_hash
        for block in reversed(unreported):
            self._replay(block)
            self.timeline.sometimes["final before anyone reported it"] += 1

    def _stored_block(self, height: int, block_hash: bytes) -> Block | None:
        """Return a final block from whichever disk has it whole."""
        number = height.to_bytes(8, "big")
        for machine in self._machines.values():
            records = machine.disk.records
            header = records.find(b"H" + number)
            encoded_header = None if header is None else EncodedHeader.decode(header)
            if encoded_header is None or encoded_header.hash != block_hash:
                continue
            places = records.keys(b"T" + number, b"T" + (height + 1).to_bytes(8, "big"))
            transactions = tuple(Transaction.decode(records.tables[b"T"][place]) for place in places)
            if (
                transactions_root(tuple(each.id for each in transactions))
                == encoded_header.header.transactions_root
            ):
                return Block(encoded_header, transactions)
        return None

    def _note_unreported_snapshot(self, machine: "Machine", known: int, height: int) -> None:
        """A power cut may fall between a snapshot on the disk and the word that it is installed."""
        is_next_known = known < height < len(self.ledger.blocks)
        if is_next_known and machine.disk.records.find(b"h" + self.ledger.blocks[known + 1].hash) is None:
            self._bases[machine.number] = height
            self.timeline.sometimes["snapshot installed and not reported"] += 1

    def note_stop(self, machine: "Machine") -> None:
        """A process is gone: what it sent must be found on its disk, not in memory."""
        self._durable[machine.number].clear()
        self._pending_certify[machine.number].clear()

    def note_lost_database(self, machine: "Machine") -> None:
        """A machine starts over without its chain."""
        for block_hash in self._voted_for(machine.member):
            self._losers[block_hash].add(machine.member)
        self.heights[machine.number] = 0
        self._bases[machine.number] = 0
        self._voted_before_loss[machine.number] = machine.disk.files.synced(VOTES)

    def note_installed(self, machine: "Machine") -> None:
        """I1 and I11: a machine goes on from a snapshot: a block of the log, and the state after it."""
        assert machine.driver is not None
        if not machine.keeps_rules:
            return
        tip = machine.driver.chain.tip
        height = tip.header.height
        self.timeline.sometimes["snapshot installed"] += 1
        self.require(height > self.heights[machine.number], f"I9: {machine.member} went back to {height}")
        self._learn(machine)
        is_known = (
            height < len(self.ledger.blocks) and self.ledger.blocks[height].hash == tip.encoded_header.hash
        )
        self.require(is_known, f"I1: {machine.member} installs another block at {height}")
        self.heights[machine.number] = self._bases[machine.number] = height
        self._floors[machine.number] = (tip.header.epoch, tip.header.view)
        stored = dict(machine.driver.chain.store.values())
        is_same = stored == self.ledger.state_at(height)
        self.require(is_same, f"I11: {machine.member} installs another state at {height}")

    def note_journal(self, machine: "Machine", damage: Damage | None) -> None:
        """A vote log was opened."""
        is_told = damage is None or not self.is_honest(machine)
        self.require(is_told, f"honest {machine.member} finds a damaged vote log: {damage}")

    def note_engine(self, machine: "Machine", engine: Engine) -> None:
        """A core is about to start."""
        core = engine.core
        floor = (engine.epoch, core.finalized.view)
        self._progress[machine.number] = (engine.epoch, core.current_view, core.finalized.view)
        held = self._floors.get(machine.number, (0, 0))
        if self.is_honest(machine) and engine.me is not None and floor[0] == held[0]:
            self.require(floor >= held, f"I9: the floor of {machine.member} was {held}, is {floor}")

    # Steps.

    def note_handled(
        self, machine: "Machine", engine: Engine, event: Event, effects: Sequence[Effect], now_ms: int
    ) -> None:
        """A core handled one event."""
        core, number = engine.core, machine.number
        epoch, view, final_view = now = (engine.epoch, core.current_view, core.finalized.view)
        # Claims are put into words where they do not hold, and numbers one by one: this runs at every event.
        self.timeline.trace(f"{number} {type(event).__name__} ({epoch}, {view}, {final_view}) {len(effects)}")
        before = self._progress[number]
        self._progress[number] = now
        if not machine.keeps_rules:
            return
        if epoch != before[0] or view < before[1] or final_view < before[2]:
            self.fail(f"I9: {machine.member} went from {before} to {now}")
        if final_view >= view:
            self.fail(f"I9: {machine.member} is in {now}")
        if view > before[1] + 5:
            self.timeline.sometimes["jump over more than 5 views"] += 1
        limit = view - final_view + RETAINED_VIEWS + 2
        if core.rounds_count > limit:
            self.fail(f"I12: {machine.member} holds {core.rounds_count} rounds")
        deadline_ms = core.next_deadline_ms()
        if deadline_ms is not None and deadline_ms <= now_ms:
            self.fail(f"{machine.member}: deadline {deadline_ms} is not in the future")
        if effects or isinstance(event, Certified):
            self._note_effects(machine, engine, event, effects)

    def _note_effects(
        self, machine: "Machine", engine: Engine, event: Event, effects: Sequence[Effect]
    ) -> None:
        late = self._pending_certify[machine.number]
        for position, effect in enumerate(effects):
            if isinstance(effect, Persist):
                self.require(position == 0, f"I10: {machine.member} persists after another effect")
                for record in effect.records:
                    if isinstance(record, CertificateHeld):
                        self.note_certificate(record.certificate)
            elif isinstance(effect, Certify):
                late.add((engine.epoch, effect.view))
            elif isinstance(effect, Misbehaviour):
                self.note_evidence(machine, effect)
            elif isinstance(effect, Trace):
                self._note_trace(machine, effect)
        self._note_certification(machine, engine, event, effects)

    def _note_certification(
        self, machine: "Machine", engine: Engine, event: Event, effects: Sequence[Effect]
    ) -> None:
        """R4: what is notarized is certified, after a nullification too; only finality calls it off."""
        late, final = self._pending_certify[machine.number], engine.core.finalized.view
        # Where there is one, it stands first: `_note_effects` requires it.
        first = effects[0] if effects else None
        records = first.records if isinstance(first, Persist) else ()
        asked = {effect.view for effect in effects if isinstance(effect, Certify)} if records else set()
        for record in records:
            subject = record.certificate.subject if isinstance(record, CertificateHeld) else None
            if subject is None or subject.kind != NOTARIZE or subject.view <= final:
                continue
            self.require(subject.view in asked, f"R4: {machine.member} does not certify {subject}")
            if (engine.epoch, subject.view) in self.nullified:
                self.timeline.sometimes["notarized after nullification"] += 1
        for effect in effects:
            if isinstance(effect, CancelCertify):
                self.require(effect.view <= final, f"R4: {machine.member} gives up certifying {effect.view}")
        if not isinstance(event, Certified) or (engine.epoch, event.view) not in late:
            return
        late.discard((engine.epoch, event.view))
        if (engine.epoch, event.view) in self.nullified:
            self.timeline.sometimes["certified after nullification"] += 1
        if event.view > final:
            is_kept = any(isinstance(each, CertifyVerdict) and each.view == event.view for each in records)
            self.require(is_kept, f"R4: {machine.member} drops the verdict on view {event.view}")

    def _note_trace(self, machine: "Machine", effect: Trace) -> None:
        fields = dict(effect.fields)
        if effect.name == "consensus.nullify":
            self.timeline.sometimes[f"nullify: {fields['reason']}"] += 1
        elif effect.name in ("consensus.amnesia", "consensus.observing"):
            claim = f"honest {machine.member} believes that it forgot: {effect.name} {fields}"
            self.require(not self.is_honest(machine), claim)
            self.timeline.sometimes[f"amnesia: {effect.name.removeprefix('consensus.')}"] += 1

    def note_step(self, machine: "Machine", name: str) -> None:
        """A process did one thing."""
        driver = machine.driver
        assert driver is not None
        if not machine.keeps_rules:
            return
        height = driver.chain.tip.header.height
        if height < self.heights[machine.number]:
            self.fail(f"I9: {machine.member} went back to {height}")
        if driver.own_key.misused_count:
            self.fail(f"I8: {machine.member} believes that its key is misused: {driver.own_key.misused_how}")
        if self.timeline.events_count % 64 == 0:
            self._check_memory(machine)

    def _check_memory(self, machine: "Machine") -> None:
        driver = machine.driver
        assert driver is not None
        count = len(driver.engine.validators)
        rounds = driver.core._rounds.newest_first()
        votes_max = max((len(each.votes) for each in rounds), default=0)
        self.require(votes_max <= 3 * count, f"I12: {machine.member} holds {votes_max} votes of a view")
        bounds = {
            "verifying": (len(driver._executor._verifying), 256),
            "certifying": (len(driver._executor._certifying), 256),
            "questions": (len(driver._block_requests._again_at_ms), 257),
            "events": (len(driver._events), 64),
            "candidates": (len(driver.chain.tree._candidates), 512),
            "bodies": (len(driver.chain._bodies._of_block), 512),
            "mempool": (driver.mempool.count, 20_000),
            "told of a seal": (len(driver._serving._seal_due_ms), len(self._machines)),
        }
        for what, (found, allowed) in bounds.items():
            self.require(found <= allowed, f"I12: {machine.member} holds {found} {what}")

    # Messages.

    def note_sent(self, machine: "Machine", data: bytes) -> None:
        """A machine sends: every own vote in it binds it, and is on its disk."""
        if not machine.keeps_rules:
            return
        message = decode_shared(data)
        if isinstance(message, (Consensus, BlockProposal)):
            self._note_message(machine, decode_message_shared(message.message))
        elif isinstance(message, FinalBlocks) and message.certificate is not None:
            self.note_certificate(message.certificate)
            self.timeline.sometimes["final blocks served"] += 1
        elif isinstance(message, WantFinal):
            self.timeline.sometimes["final blocks asked for"] += 1

    def _note_message(self, machine: "Machine", message: Message) -> None:
        match message:
            case BlockProposalMessage(vote) | VoteMessage(vote):
                self._note_vote(machine, vote)
            case CertificateMessage(certificate):
                self.note_certificate(certificate)
                assert machine.driver is not None
                if certificate.subject.epoch < machine.driver.engine.epoch:
                    self.timeline.sometimes["seal told in an ended epoch"] += 1
            case LatestVoteAnswer():
                for certificate in message.certificates:
                    self.note_certificate(certificate)
            case CertificateRequest():
                self.timeline.sometimes["certificate requested"] += 1
            case _:
                return

    def _note_vote(self, machine: "Machine", vote: Vote) -> None:
        subject, member = vote.subject, machine.member
        signer, _ = self.sets[subject.epoch][vote.signer]
        self.require(signer == member, f"{member} sends a vote of {signer}")
        if member in self.faulty:
            return
        place = (subject.epoch, subject.view)
        own = self._signed[(member, place)]
        held = own.setdefault(subject.kind, subject)
        self.require(held == subject, f"I7: {member} signed {held} and {subject}")
        is_excluding = NULLIFY in own and FINALIZE in own
        self.require(not is_excluding, f"I7: {member} nullified and finalized {place}")
        self._check_durable(machine, vote)

    def _check_durable(self, machine: "Machine", vote: Vote) -> None:
        record = encode_record(VoteCast(vote))
        known = self._durable[machine.number]
        if record in known:
            return
        is_synced = machine.disk.files.holds_synced(VOTES, record) or self._is_passed(machine, vote.subject)
        self.require(is_synced, f"I10: {machine.member} sends an unsynced {vote.subject}")
        known.add(record)
        block_hash = vote.subject.block_hash
        if block_hash is not None and record not in self._voted_before_loss.get(machine.number, b""):
            self.require(
                self._holds_block(machine, block_hash),
                f"I10: {machine.member} votes for a block that is not durable: {vote.subject}",
            )

    @staticmethod
    def _is_passed(machine: "Machine", subject: Subject) -> bool:
        """Tell whether the log holds a finality below which nothing is signed again: votes in its views are dropped.

        One event may give votes of two views and the finality of both. The log is rewritten after the first.
        """
        assert machine.driver is not None
        engine = machine.driver.engine
        final = engine.core.finalized
        if final.certificate is None or (subject.epoch, subject.view) > (engine.epoch, final.view):
            return False
        return machine.disk.files.holds_synced(VOTES, encode_record(CertificateHeld(final.certificate)))

    @staticmethod
    def _holds_block(machine: "Machine", block_hash: bytes) -> bool:
        records = machine.disk.records
        if records.find_synced(b"h" + block_hash) is not None:
            return True
        pending = records.tables.get(b"U", {})
        return any(
            key.endswith(block_hash) and records.find_synced(key) is not None for key in reversed(pending)
        )

    # Certificates.

    def note_certificate(self, certificate: QuorumCertificate) -> None:
        """An honest node holds or shows a certificate."""
        if certificate in self._seen:
            return
        self._seen.add(certificate)
        subject = certificate.subject
        place = (subject.epoch, subject.view)
        self._check_certificate(certificate)
        if subject.kind == NULLIFY:
            self.nullified.add(place)
        else:
            held = self.notarized.setdefault(place, subject)
            is_same = (held.block_hash, held.parent_view) == (subject.block_hash, subject.parent_view)
            self.require(is_same, f"I2/I4: {held} and {subject}")
            if subject.kind == FINALIZE:
                self.finalized[place] = subject
            elif self._is_proposed_again(subject):
                self.timeline.sometimes["seal proposed again"] += 1
            elif subject.parent_view is not None and subject.parent_view < subject.view - 2:
                self.timeline.sometimes["parent skips two views or more"] += 1
        is_both = place in self.nullified and place in self.finalized
        self.require(not is_both, f"I3: {place} is nullified and finalized")
        if place in self.nullified and place in self.notarized:
            self.timeline.sometimes["view notarized and nullified"] += 1

    def _is_proposed_again(self, subject: Subject) -> bool:
        parent = self.notarized.get((subject.epoch, subject.parent_view or 0))
        return parent is not None and parent.block_hash == subject.block_hash

    def _check_certificate(self, certificate: QuorumCertificate) -> None:
        subject = certificate.subject
        validators = self.sets[subject.epoch]
        quorum = len(validators) - (len(validators) - 1) // 3
        signers = {signed.signer for signed in certificate.signatures}
        is_whole = quorum <= len(signers) == len(certificate.signatures) and max(signers) < len(validators)
        self.require(is_whole, f"I6: {certificate}")
        tag, body = VOTE_TAGS[subject.kind], subject.body(self.consortium.chain_id)
        for signed in certificate.signatures:
            try:
                validators[signed.signer][1].verify(tag, body, signed.signature)
            except LedgerError:
                self.require(False, f"I6: signature of {validators[signed.signer][0]} in {certificate}")

    # Misbehaviour.

    def note_evidence(self, machine: "Machine", evidence: Misbehaviour) -> None:
        """A node accuses another."""
        if not machine.keeps_rules:
            return
        first, second = evidence.first, evidence.second
        member, key = self.sets[first.subject.epoch][first.signer]
        self.require(first.signer == second.signer, "I8: evidence against two signers")
        self.require(member in self.faulty, f"I8: {machine.member} accuses honest {member}: {evidence}")
        kinds = {first.subject.kind, second.subject.kind}
        is_same_view = (first.subject.epoch, first.subject.view) == (
            second.subject.epoch,
            second.subject.view,
        )
        is_pair = first.subject != second.subject and (len(kinds) == 1 or kinds == {NULLIFY, FINALIZE})
        self.require(is_same_view and is_pair, f"I8: no evidence: {evidence}")
        for vote in (first, second):
            key.verify(
                VOTE_TAGS[vote.subject.kind], vote.subject.body(self.consortium.chain_id), vote.signature
            )
        self.accused.add(member)
        self.timeline.sometimes["evidence"] += 1

    def note_punishment(self, machine: "Machine", peer: str, reason: str) -> None:
        """A node refuses a peer for a time."""
        if machine.keeps_rules:
            is_faulty = registered(peer) in self.faulty
            self.require(is_faulty, f"I8: {machine.member} punishes honest {peer}: {reason}")
            self.timeline.sometimes["punishment"] += 1

    # Finality.

    def note_final(self, machine: "Machine", path: Sequence[Executed]) -> None:
        """A node reports blocks as final: they are the shared log's next, and on its disk."""
        if not machine.keeps_rules:
            return
        for executed in path:
            header = executed.block.header
            height = self.heights[machine.number] + 1
            self.require(
                header.height == height, f"I1: {machine.member} reports {header.height}, not {height}"
            )
            self.heights[machine.number] = height
            if height == len(self.ledger.blocks):
                self._replay(executed.block)
            found = self.ledger.blocks[height].hash
            self.require(found == executed.block.hash, f"I1: {machine.member} differs at height {height}")
            key = b"H" + height.to_bytes(8, "big")
            is_synced = machine.disk.records.find_synced(key) == executed.block.encoded_header.encoded
            self.require(is_synced, f"I10: {machine.member} reports height {height} before it is synced")
            for transaction in executed.block.transactions:
                self.clients.became_final(transaction.id)
        if len(path) > 1:
            self.timeline.sometimes["several blocks final at once"] += 1
        last = path[-1].block.header
        self._floors[machine.number] = (last.epoch, last.view)
        self.timeline.trace(f"{machine.number} final {last.height}")

    def note_refused(self, machine: "Machine", transaction: Transaction, error: LedgerError) -> None:
        """I13: a node gives up a transaction for good. It is none that must be, is or ever becomes final."""
        if not machine.keeps_rules:
            return
        self.timeline.sometimes[f"refused for good: {error.code}"] += 1
        self.clients.was_refused(transaction, error)
        if not all(isinstance(each, RECORDED_ONCE) for each in transaction.body.operations):
            # What governors and validators ask for may apply later: after a handover, say.
            return
        claim = f"I13: {machine.member} refuses {transaction.id.hex()} for good: {error}"
        is_final = transaction.id in self.ledger.places
        self.require(not is_final and transaction.id not in self.clients.wanted, claim)
        self.refused.add(transaction.id)

    def _replay(self, block: Block) -> None:
        """I11 and I13: the block follows from the log by its transactions alone."""
        header = block.header
        before, state = self.ledger.blocks[-1], self.ledger.state
        self.require(header.parent_hash == before.hash, f"I1: height {header.height} is on another parent")
        self.require(header.time_ms > before.time_ms, f"I1: time goes back at height {header.height}")
        epoch = before.place[0] + before.is_seal
        self.require(header.epoch == epoch, f"I1: height {header.height} is of epoch {header.epoch}")
        changes = Changes(state)
        parameters = require_parameters(state)
        context = BlockContext(self.consortium.chain_id, header.height, header.time_ms, parameters)
        for transaction in block.transactions:
            is_new = transaction.id not in self.ledger.places
            self.require(is_new, f"I13: {transaction.id.hex()} is final again at {header.height}")
            is_refused = transaction.id in self.refused
            self.require(not is_refused, f"I13: {transaction.id.hex()} is final and was refused for good")
            self.ledger.places[transaction.id] = header.height
            self._note_operations(transaction.body.sender, transaction.body.operations, header.height)
            is_in_time = transaction.body.valid_until_ms >= header.time_ms
            self.require(is_in_time, f"I13: an expired transaction is final at {header.height}")
            for key, value in apply_transaction(transaction, changes, context).items():
                changes.values[key] = value
        validators = require_validators(state)
        self.require(header.is_seal == (validators.pending is not None), f"seal at {header.height}")
        if validators.pending is not None:
            changes.put(validators.succeed())
            self.timeline.sometimes["epoch encoded_header"] += 1
        self._note_decisions(changes, header.height)
        self._extend(block, changes.values)
        self.finality_times.append(self.timeline.now_ms)
        self._state_root = header.state_root
        if header.height % ROOT_CHECKED_EVERY == 0:
            self.check_final_root()

    def _note_operations(self, sender: str, operations: Sequence[object], height: int) -> None:
        for operation in operations:
            self.timeline.sometimes[f"recorded: {type(operation).__name__}"] += 1
            match operation:
                case AnchorBatch():
                    record, after = ("anchor", sender, operation.root), None
                case RevokeDocument():
                    record, after = ("revocation", sender, operation.commitment), None
                case RevokeAnchor():
                    record = ("anchor revocation", sender, operation.root)
                    after = ("anchor", sender, operation.root)
                case RotateKey(role):
                    self.timeline.sometimes[f"{role} key rotated"] += 1
                    continue
                case RotateTls():
                    self.timeline.sometimes["TLS certificate rotated"] += 1
                    continue
                case CastVote(identity):
                    self._voted_on.add(identity)
                    continue
                case _:
                    continue
            is_new = record not in self.ledger.records
            self.require(is_new, f"I13: {record} is recorded again at {height}")
            is_founded = after is None or after in self.ledger.records
            self.require(is_founded, f"I13: {record} is recorded without {after}")
            self.ledger.records.add(record)

    def _note_decisions(self, changes: Changes, height: int) -> None:
        """Count what was decided in this block, by the state that it leaves."""
        for identity in sorted(self._voted_on):
            proposal = find(changes, Proposal, proposal_key(identity))
            if proposal is None or proposal.decision is None or proposal.decision.height != height:
                continue
            is_passed = proposal.decision.status == PASSED
            what = f"enacted: {type(proposal.change).__name__}" if is_passed else "proposal outvoted"
            self.timeline.sometimes[what] += 1
        self._voted_on.clear()

    def _extend(self, block: Block, changes: dict[bytes, bytes]) -> None:
        header = block.header
        ids = tuple(transaction.id for transaction in block.transactions)
        place = (header.epoch, header.view)
        self.ledger.heights[block.hash] = header.height
        self.ledger.blocks.append(FinalBlock(block.hash, place, header.is_seal, header.time_ms, ids))
        self.ledger.changes.append(dict(changes))
        self.ledger.state.leaves.update(changes)
        current = require_validators(self.ledger.state)
        self.sets[current.epoch] = [(each.member, each.key) for each in current.current.validators]

    def check_final_root(self) -> None:
        """I11: the state that replaying gives has the root that the last header states."""
        root = naive_root(self.ledger.state.leaves)
        self.require(root == self._state_root, "I11: replaying gives another state root")

    def _check_log(self, machine: "Machine", height: int) -> None:
        if height == 0:
            return
        key = b"H" + height.to_bytes(8, "big")
        assert machine.driver is not None
        tip_hash = machine.driver.chain.tip.encoded_header.hash
        is_known = height < len(self.ledger.blocks) and self.ledger.blocks[height].hash == tip_hash
        self.require(is_known, f"I1: {machine.member} opens with another block at {height} ({key.hex()})")

    # At the end.

    def check_history(self) -> None:
        """I4 and I5, over everything seen."""
        for place, subject in sorted(self.notarized.items()):
            assert subject.parent_view is not None
            skipped = {(place[0], view) for view in range(subject.parent_view + 1, place[1])} - self.nullified
            self.require(not skipped, f"I5: {subject} skips {sorted(skipped)}, which are not nullified")
        previous: View = (0, 0)
        for place in sorted(self.finalized):
            floor = previous[1] if previous[0] == place[0] else 0
            at = place[1]
            while at > floor:
                found = self.notarized.get((place[0], at))
                self.require(found is not None, f"I4: no block in view {at}, on the way from {place}")
                assert found is not None and found.parent_view is not None
                at = found.parent_view
            self.require(at == floor, f"I5: final {place} does not extend final {previous}")
            previous = place

    def check_store(self, machine: "Machine") -> None:
        """I11: what is stored is what replaying gives."""
        records = machine.disk.records
        height, base = self.heights[machine.number], self._bases[machine.number]
        number = records.find(b"Mstate") or bytes(8)
        table = b"v" if any(number) else b"V"
        found = {key[1:]: value for key, value in records.tables.get(table, {}).items()}
        is_same = found == self.ledger.state_at(height)
        self.require(is_same, f"I11: {machine.member} stores another state at height {height}")
        for place in range(base, height + 1):
            stored = records.find(b"h" + self.ledger.blocks[place].hash)
            is_stored = stored == place.to_bytes(8, "big")
            self.require(is_stored, f"I1: {machine.member} lacks height {place}")
