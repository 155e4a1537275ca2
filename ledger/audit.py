"""Audit: replay a chain from genesis, and compare what a node stores with what the rules give.

Rule 1: every block is executed again and every signature checked again; nothing stored is believed.
Rule 2: a block counts as final when its own certificate, or that of a block of its epoch built on it, verifies
under the validator set of its epoch. A seal needs its own: the next set is believed only after it.
Rule 3: a difference is a finding that names block and record. Findings are collected where the replay can go
on; where it cannot, the audit ends with the finding that stopped it.
Rule 4: a chain shows that it is whole up to its last block, and never that this is the newest. Whoever knows a height
or a block that must be there says so, and what is missing or another is a finding.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from ledger.chain.execution import execute_block
from ledger.chain.overlays import Executed, Tip
from ledger.chain.prevalidation import Pool, prevalidated
from ledger.encoding.arguments import require_instance
from ledger.encoding.codec import decode
from ledger.encoding.records import pack
from ledger.errors import LedgerError
from ledger.genesis import Genesis, genesis_block
from ledger.rules.blocks import Block
from ledger.rules.certificates import QuorumCertificate, ValidatorSet
from ledger.rules.operations import (
    AnchorBatch,
    CastVote,
    CloseConsent,
    Grant,
    Operation,
    Propose,
    RecordVerification,
    ReportMisbehaviour,
    RevokeAnchor,
    RevokeDocument,
    RotateKey,
    RotateTls,
    SuspendSelf,
    Withdraw,
)
from ledger.rules.proposals import Proposal, proposal_key
from ledger.rules.state import Member, find, member_key, require_members, require_validators
from ledger.rules.transactions import VerifiedTransactions
from ledger.selftest import require_fit
from ledger.trust import Checkpoint


@dataclass(frozen=True, slots=True)
class Deed:
    """What a member did: its name in the report, and the words for people."""

    name: str
    words: str


ANCHORS: Final = Deed("anchors", "anchors")
REVOCATIONS: Final = Deed("revocations", "revocations")
VERIFICATIONS: Final = Deed("verifications", "recorded verifications")
RELAYS: Final = Deed("relays", "relayed for holders")
ROTATIONS: Final = Deed("rotations", "key rotations")
SUSPENSIONS: Final = Deed("own_suspensions", "suspensions by itself")

DEEDS: Final[dict[type[Operation], Deed | None]] = {
    AnchorBatch: ANCHORS,
    RevokeDocument: REVOCATIONS,
    RevokeAnchor: REVOCATIONS,
    RecordVerification: VERIFICATIONS,
    Grant: RELAYS,
    Withdraw: RELAYS,
    RotateKey: ROTATIONS,
    RotateTls: ROTATIONS,
    SuspendSelf: SUSPENSIONS,
    CloseConsent: None,
    Propose: None,
    CastVote: None,
    ReportMisbehaviour: None,
}
"""As what each operation counts for its sender. None: the report tells it with its consent, proposal or validator."""

DEEDS_SHOWN: Final = tuple(dict.fromkeys(deed for deed in DEEDS.values() if deed is not None))


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as the rules demand: at which block, in which record."""

    height: int
    record: str
    expected: str
    found: str
    cure: str | None = None

    def __str__(self) -> str:
        cure = "" if self.cure is None else f"; {self.cure}"
        return f"block {self.height}, {self.record}: expected {self.expected}, found {self.found}{cure}"


@dataclass(frozen=True, slots=True)
class ConsentUse:
    """A consent as the chain shows it: for whom and for what, how it ended, how often it was used.

    `sources` are the jurisdictions from which the holder signed that documents may come. The chain shows no issuer.
    """

    sources: tuple[str, ...]
    recipient: str
    purpose: str
    granted_height: int
    ended_height: int | None = None
    verification_heights: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ProposalCourse:
    """A proposal as the chain shows it: what was asked, by whom, and how it was decided."""

    change: str
    proposer: str
    proposed_height: int
    votes_count: int = 0
    status: str | None = None
    decided_height: int | None = None


@dataclass(frozen=True, slots=True)
class MisbehaviourFound:
    """Misbehaviour on record: whose, in which view, and where it was recorded."""

    member: str
    epoch: int
    view: int
    height: int


@dataclass(slots=True)
class AuditReport:
    """What happened on the chain, and what is wrong with it."""

    chain_id: bytes
    network: str
    height: int = 0
    final_height: int = 0
    transactions_count: int = 0
    operations: Counter[str] = field(default_factory=Counter)
    deeds: dict[Deed, Counter[str]] = field(
        default_factory=lambda: {deed: Counter[str]() for deed in DEEDS_SHOWN}
    )
    documents: Counter[str] = field(default_factory=Counter)
    consents: dict[bytes, ConsentUse] = field(default_factory=dict)
    proposals: dict[bytes, ProposalCourse] = field(default_factory=dict)
    misbehaviour: list[MisbehaviourFound] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    member_names: dict[str, str] = field(default_factory=dict)
    """The English name of each member by its id, as of the last block that was replayed."""
    required_height: int | None = None
    """The height that the chain is known to have at least; None where nothing is known."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


class _ReplayedState:
    """The state of a replay, in memory."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.pages: dict[bytes, bytes] = {}
        self.written_at: dict[bytes, int] = {}

    def find_value(self, key: bytes) -> bytes | None:
        return self.values.get(key)

    def load_page(self, path: bytes) -> bytes | None:
        return self.pages.get(path)

    def take(self, executed: Executed) -> None:
        height = executed.block.header.height
        for key, value in executed.overlay.values.items():
            self.values[key] = value
            self.written_at[key] = height
        for path, page in executed.overlay.pages.items():
            if page is None:
                self.pages.pop(path, None)
            else:
                self.pages[path] = page


class Audit:
    """One replay. Give it the blocks above genesis in order, then what the node stores as its state."""

    def __init__(
        self, genesis: Genesis, *, checkpoints: Iterable[Checkpoint] = (), height_min: int | None = None
    ) -> None:
        """Start from a genesis, which is verified. Raises LedgerError, UnfitEnvironment where libraries here err.

        The chain must hold the blocks of these checkpoints, and reach `height_min`.
        """
        require_instance("genesis", genesis, Genesis, cure="Give parse_genesis(Path(path).read_bytes()).")
        require_fit()
        pack(genesis)
        genesis.verify()
        start = genesis_block(genesis.content)
        self.report = AuditReport(genesis.content.chain_id, genesis.content.network)
        self._state = _ReplayedState()
        self._state.take(start)
        self._tip = Tip(start.block.encoded_header, self._state, start.history)
        self._verified = VerifiedTransactions()
        self._sets: dict[int, ValidatorSet] = {}
        self._checkpoints = {checkpoint.height: checkpoint for checkpoint in checkpoints}
        heights = [*self._checkpoints, *([] if height_min is None else [height_min])]
        self.report.required_height = max(heights, default=None)
        self._check_checkpoint(start.block)

    @property
    def height(self) -> int:
        """The height up to which blocks were replayed."""
        return self._tip.header.height

    def replay(self, block: Block, certificate: QuorumCertificate | None) -> bool:
        """Replay the next block; say whether the audit can go on."""
        require_instance("block", block, Block, cure="Give a block as `Client.block` returns it.")
        if certificate is not None:
            cure = "Give the block's own certificate, or None where it has none."
            require_instance("certificate", certificate, QuorumCertificate, cure=cure)
        validators = require_validators(self._state).current
        self._sets[block.header.epoch] = validators
        try:
            executed = execute_block(self._tip, block, verified=self._verified)
        except LedgerError as error:
            self._find(block.header.height, error.where, error.expected, error.found)
            return False
        self._state.take(executed)
        self._tip = Tip(block.encoded_header, self._state, executed.history)
        self.report.height = block.header.height
        self._count(block)
        self._check_checkpoint(block)
        if certificate is None:
            if block.header.is_seal:
                expected = "a finalization of the seal itself"
                self._find(block.header.height, "quorum certificate", expected, "none")
            return not block.header.is_seal
        return self._check_certificate(block, certificate, validators)

    def replay_all(
        self, blocks: Iterable[tuple[Block, QuorumCertificate | None]], pool: Pool | None = None
    ) -> bool:
        """Replay the next blocks, their signatures checked ahead by a pool; say whether the audit can go on."""
        ahead = blocks if pool is None else prevalidated(blocks, pool, self._verified, self._state)
        return all(self.replay(block, certificate) for block, certificate in ahead)

    def finish(self) -> AuditReport:
        """Return the report, with a finding where the last blocks lack a certificate, or where blocks are missing."""
        if self.report.final_height < self.report.height and self.report.is_clean:
            self._find(
                self.report.height,
                "quorum certificate",
                "a certificate over the last block",
                f"none above height {self.report.final_height}",
            )
        self._check_reach()
        for member in require_members(self._state).ids:
            found = find(self._state, Member, member_key(member))
            assert found is not None, "every member that is listed has a record"
            self.report.member_names[member] = found.name_en
        return self.report

    def _check_reach(self) -> None:
        required = self.report.required_height
        if required is not None and required > self.report.height and self.report.is_clean:
            cure = "this chain is old or was cut short: audit another node's, or fetch what is missing"
            expected, found = f"a chain that reaches block {required}", "no such block"
            self._find(self.report.height + 1, "block", expected, found, cure)

    def _check_checkpoint(self, block: Block) -> None:
        checkpoint = self._checkpoints.get(block.header.height)
        if checkpoint is not None and checkpoint.block_hash != block.hash:
            expected = f"the pinned block {checkpoint.block_hash.hex()}"
            self._find(block.header.height, "checkpoint", expected, block.hash.hex())

    def check_state(self, stored: Iterable[tuple[bytes, bytes]]) -> None:
        """Compare every stored leaf, as (key, value), with the replayed state."""
        seen: set[bytes] = set()
        for key, value in stored:
            seen.add(key)
            expected = self._state.values.get(key)
            if expected != value:
                height = self._state.written_at.get(key, self.report.height)
                shown = "no such record" if expected is None else describe_leaf(expected)
                self._find(height, f"state record {key.hex()}", shown, describe_leaf(value))
        for key in sorted(self._state.values.keys() - seen):
            missing = describe_leaf(self._state.values[key])
            self._find(self._state.written_at[key], f"state record {key.hex()}", missing, "nothing")

    def check_pages(
        self,
        pages: Iterable[tuple[bytes, bytes]],
        is_derived: Callable[[bytes], bool] = lambda path: False,
    ) -> None:
        """Compare every page of a node's state tree, as (path, page), with the replayed tree.

        Pages with the paths of `is_derived` are not stored but made of what is, and differ where that does.
        So they are named only where nothing else is: a damaged record is one finding.
        """
        seen: set[bytes] = set()
        differing: list[tuple[bytes, str]] = []
        for path, page in pages:
            seen.add(path)
            if self._state.pages.get(path) != page:
                differing.append((path, "another content"))
        differing += [(path, "nothing") for path in sorted(self._state.pages.keys() - seen)]
        stored = [(path, found) for path, found in differing if not is_derived(path)]
        for path, found in stored if stored or self.report.findings else differing:
            self._find(self.report.height, f"state page {path.hex()}", "the replayed page", found)

    def _check_certificate(
        self, block: Block, certificate: QuorumCertificate, validators: ValidatorSet
    ) -> bool:
        if not block.encoded_header.is_named_by(certificate):
            self._find(
                block.header.height, "quorum certificate", "a finalization of this block", "one of another"
            )
            return False
        try:
            certificate.verify(self.report.chain_id, validators)
        except LedgerError as error:
            self._find(block.header.height, error.where, error.expected, error.found)
            return False
        self.report.final_height = block.header.height
        return True

    def _find(self, height: int, record: str, expected: str, found: str, cure: str | None = None) -> None:
        self.report.findings.append(Finding(height, record, expected, found, cure))

    def _count(self, block: Block) -> None:
        for transaction in block.transactions:
            self.report.transactions_count += 1
            for operation in transaction.body.operations:
                self.report.operations[operation.TAG] += 1
                self._count_operation(operation, transaction.body.sender, block.header.height)

    def _count_operation(self, operation: Operation, sender: str, height: int) -> None:
        report = self.report
        deed = DEEDS[type(operation)]
        if deed is not None:
            report.deeds[deed][sender] += 1
        match operation:
            case AnchorBatch():
                report.documents[sender] += operation.leaf_count
            case Grant():
                terms = operation.decoded().terms
                report.consents.setdefault(
                    operation.consent_id, ConsentUse(terms.sources, terms.recipient, terms.purpose, height)
                )
            case Withdraw():
                self._end_consent(operation.decoded().consent_id, height)
            case CloseConsent():
                self._end_consent(operation.consent_id, height)
            case RecordVerification():
                self._use_consent(operation.consent_id, height)
            case Propose():
                self._count_proposal(operation, sender, height)
            case CastVote():
                self._count_ballot(operation)
            case ReportMisbehaviour():
                self._count_misbehaviour(operation, height)
            case _:
                pass

    def _count_proposal(self, operation: Propose, sender: str, height: int) -> None:
        identity = operation.proposal_id(chain_id=self.report.chain_id, proposer=sender)
        self.report.proposals[identity] = ProposalCourse(operation.change.TAG, sender, height)

    def _count_ballot(self, operation: CastVote) -> None:
        course = self.report.proposals[operation.proposal]
        counted = replace(course, votes_count=course.votes_count + 1)
        proposal = find(self._state, Proposal, proposal_key(operation.proposal))
        if proposal is not None and proposal.decision is not None:
            counted = replace(
                counted, status=proposal.decision.status, decided_height=proposal.decision.height
            )
        self.report.proposals[operation.proposal] = counted

    def _count_misbehaviour(self, operation: ReportMisbehaviour, height: int) -> None:
        subject = operation.first.subject
        validators = self._sets[subject.epoch]
        member = validators.validators[operation.first.signer].member
        self.report.misbehaviour.append(MisbehaviourFound(member, subject.epoch, subject.view, height))

    def _end_consent(self, consent_id: bytes, height: int) -> None:
        use = self.report.consents.get(consent_id)
        if use is not None and use.ended_height is None:
            self.report.consents[consent_id] = ConsentUse(
                use.sources, use.recipient, use.purpose, use.granted_height, height, use.verification_heights
            )

    def _use_consent(self, consent_id: bytes, height: int) -> None:
        use = self.report.consents[consent_id]
        heights = (*use.verification_heights, height)
        self.report.consents[consent_id] = ConsentUse(
            use.sources, use.recipient, use.purpose, use.granted_height, use.ended_height, heights
        )


def describe_leaf(value: bytes) -> str:
    """Return a leaf's content in short, for a report: kind, identifiers, fields."""
    try:
        return _show(decode(value))[:400]
    except LedgerError:
        return f"undecodable bytes {value[:32].hex()}"


def _show(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return "[" + ", ".join(_show(item) for item in value) + "]"
    return f"{value}"
