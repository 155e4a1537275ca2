"""Proposals: the changes that governors decide, and the records of deciding (docs/formats.md, Proposals).

Rule 1: a proposal is one leaf: its change, what it expects of the record that it changes, and every vote on it.
Rule 2: a proposal's id is a hash of chain, proposer, change, expectation and expiry, so that a vote can never
count for anything else.
Rule 3: each proposal names the one before, so that nobody can leave one out of a list unnoticed.
"""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Final, TypeAlias

from ledger.encoding.codec import Value, encode
from ledger.encoding.digests import tagged_digest
from ledger.encoding.keys import PublicKey
from ledger.encoding.records import (
    Code,
    Hash,
    Height,
    Integer,
    Items,
    MemberId,
    Milliseconds,
    PurposeCode,
    SchemaCode,
    SignatureBytes,
    pack,
)
from ledger.rules.certificates import VALIDATORS_MAX
from ledger.rules.state import (
    Bearer,
    Jurisdiction,
    Name,
    NetworkName,
    NodeKind,
    Notices,
    Parameters,
    Roles,
    StateView,
    Use,
    find,
)
from ledger.rules.tlscertificates import TlsCertificate
from ledger.trees.statetree import state_key

PROPOSAL_TAG: Final = "luohu/proposal/1"
POSSESSION_TAG: Final = "luohu/possession/1"
GOVERNORS_MAX: Final = 64
BALLOTS_MAX: Final = 128
"""Twice the governors that there can be: governors change while a proposal is open."""
VALIDATORS_MIN: Final = 4
ISSUERS_NAMED_MAX: Final = 64
"""How many issuers one change names, so that a proposal with all its ballots is no larger than a leaf may be."""

YES: Final = "yes"
NO: Final = "no"
OPEN: Final = "open"
PASSED: Final = "passed"
REJECTED: Final = "rejected"
EXPIRED: Final = "expired"

Choice = Annotated[str, Code((NO, YES))]
IssuersNamed = Annotated[tuple[MemberId, ...], Items(ISSUERS_NAMED_MAX, increasing=True)]


@dataclass(frozen=True, slots=True)
class NodeRegistration:
    """A node as governors register it: validators with a validator key and the commitment to the next."""

    kind: NodeKind
    validator_key: PublicKey | None
    next_validator_key: Hash | None
    certificate: TlsCertificate


@dataclass(frozen=True, slots=True)
class Possession:
    """What shows that whoever registers keys has them: a signature by each, over the whole change, for one network.

    A next key shows nothing: it is known by its hash alone.
    """

    network: NetworkName
    use: Use
    key_signature: SignatureBytes | None
    validator_key_signature: SignatureBytes | None


@dataclass(frozen=True, slots=True)
class AddMember:
    """Register a member, with a node or without one."""

    TAG: ClassVar[str] = "add_member"

    id: MemberId
    name_zh_hans: Name
    name_zh_hant: Name
    name_en: Name
    jurisdiction: Jurisdiction
    roles: Roles
    key: PublicKey
    next_key: Hash
    node: NodeRegistration | None
    possession: Possession


@dataclass(frozen=True, slots=True)
class SuspendMember:
    """End a member's operations; its anchors from a height on never verify. Repeated, it widens that only."""

    TAG: ClassVar[str] = "suspend_member"

    member: MemberId
    distrust_from: Height


@dataclass(frozen=True, slots=True)
class ReinstateMember:
    """End a member's suspension. What was distrusted stays so."""

    TAG: ClassVar[str] = "reinstate_member"

    member: MemberId


@dataclass(frozen=True, slots=True)
class ChangeRoles:
    """Replace a member's roles."""

    TAG: ClassVar[str] = "change_roles"

    member: MemberId
    roles: Roles


@dataclass(frozen=True, slots=True)
class ChangeNames:
    """Replace a member's names."""

    TAG: ClassVar[str] = "change_names"

    member: MemberId
    name_zh_hans: Name
    name_zh_hant: Name
    name_en: Name


@dataclass(frozen=True, slots=True)
class SetMemberKeys:
    """Replace the keys of a member that lost one of them."""

    TAG: ClassVar[str] = "set_member_keys"

    member: MemberId
    key: PublicKey
    next_key: Hash
    possession: Possession


@dataclass(frozen=True, slots=True)
class SetNode:
    """Register a member's node, or replace its registration: its kind, its keys and its TLS certificate."""

    TAG: ClassVar[str] = "set_node"

    member: MemberId
    node: NodeRegistration
    possession: Possession


@dataclass(frozen=True, slots=True)
class AddSchema:
    """Register a kind of document, for these issuers; for any where they are None."""

    TAG: ClassVar[str] = "add_schema"

    code: SchemaCode
    bearer: Bearer
    issuers: IssuersNamed | None


@dataclass(frozen=True, slots=True)
class SetIssuers:
    """List issuers of a schema, and take others off its list. One for any issuer gets a list by its first change."""

    TAG: ClassVar[str] = "set_issuers"

    code: SchemaCode
    added: IssuersNamed
    removed: IssuersNamed


@dataclass(frozen=True, slots=True)
class AddPurpose:
    """Register what a recipient may use a document for, with what holders are told."""

    TAG: ClassVar[str] = "add_purpose"

    code: PurposeCode
    notices: Notices


@dataclass(frozen=True, slots=True)
class SetNotices:
    """Let holders be told by these notices of a purpose, and no more by those."""

    TAG: ClassVar[str] = "set_notices"

    code: PurposeCode
    added: Notices
    removed: Notices


@dataclass(frozen=True, slots=True)
class SetParameters:
    """Replace the limits that bind every block, provided that they still are the current ones named."""

    TAG: ClassVar[str] = "set_parameters"

    current: Parameters
    parameters: Parameters


@dataclass(frozen=True, slots=True)
class ChangeValidators:
    """Let these members validate, by the keys registered for their nodes, provided that `current` still do."""

    TAG: ClassVar[str] = "change_validators"

    current: Annotated[tuple[MemberId, ...], Items(VALIDATORS_MAX, minimum=1, increasing=True)]
    members: Annotated[tuple[MemberId, ...], Items(VALIDATORS_MAX, minimum=VALIDATORS_MIN, increasing=True)]


MemberChange: TypeAlias = (
    SuspendMember | ReinstateMember | ChangeRoles | ChangeNames | SetMemberKeys | SetNode
)
"""A change that names one member, who is not asked."""

Registering: TypeAlias = AddMember | SetMemberKeys | SetNode
"""A change that registers keys."""

Change: TypeAlias = (
    AddMember
    | SuspendMember
    | ReinstateMember
    | ChangeRoles
    | ChangeNames
    | SetMemberKeys
    | SetNode
    | AddSchema
    | SetIssuers
    | AddPurpose
    | SetNotices
    | SetParameters
    | ChangeValidators
)


@dataclass(frozen=True, slots=True)
class Ballot:
    """One governor's vote, which is final."""

    governor: MemberId
    choice: Choice
    height: Height


@dataclass(frozen=True, slots=True)
class Decision:
    """How a proposal was decided, and when."""

    status: Annotated[str, Code((PASSED, REJECTED))]
    height: Height
    time_ms: Milliseconds


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change that a governor proposed, with the votes on it. `previous` is the proposal before this one."""

    TAG: ClassVar[str] = "proposal"

    id: Hash
    number: Integer
    previous: Hash | None
    proposer: MemberId
    change: Change
    expected_version: Integer | None
    expires_ms: Milliseconds
    height: Height
    time_ms: Milliseconds
    ballots: Annotated[tuple[Ballot, ...], Items(BALLOTS_MAX)]
    decision: Decision | None

    def state_key(self) -> bytes:
        return proposal_key(self.id)

    def find_ballot(self, governor: str) -> Ballot | None:
        """Return a governor's vote, or None."""
        return next((ballot for ballot in self.ballots if ballot.governor == governor), None)

    def status_at(self, time_ms: int) -> str:
        """Say what has become of it: open, passed, rejected, or expired, which nothing records."""
        if self.decision is not None:
            return self.decision.status
        return OPEN if time_ms <= self.expires_ms else EXPIRED


@dataclass(frozen=True, slots=True)
class Governance:
    """Who governs (active or suspended), how many proposals there were, and the latest."""

    TAG: ClassVar[str] = "governance"

    governors: Annotated[tuple[MemberId, ...], Items(GOVERNORS_MAX, minimum=1, increasing=True)]
    proposals_count: Integer
    latest_proposal: Hash | None

    def state_key(self) -> bytes:
        return GOVERNANCE_KEY


def proposal_key(proposal_id: bytes) -> bytes:
    return state_key(encode((Proposal.TAG, proposal_id)))


GOVERNANCE_KEY: Final = state_key(encode((Governance.TAG,)))


def proposal_id(*, chain_id: bytes, proposer: str, proposed: Value) -> bytes:
    """Return the 32-byte id of what `proposer` proposes, given the array form of the operation."""
    return tagged_digest(PROPOSAL_TAG, encode((chain_id, proposer, proposed)))


def possession_body(change: Registering) -> bytes:
    """Return what each key that a change registers signs: the change, with the network and without signatures."""
    unsigned = replace(change.possession, key_signature=None, validator_key_signature=None)
    return pack(replace(change, possession=unsigned))


def shown_keys(change: Change) -> tuple[tuple[PublicKey | None, bytes | None], ...]:
    """Return the keys that a change registers, of the member and of its validator, each with its signature."""
    match change:
        case AddMember() | SetNode():
            key = change.key if isinstance(change, AddMember) else None
            validator_key = None if change.node is None else change.node.validator_key
        case SetMemberKeys():
            key, validator_key = change.key, None
        case _:
            return ()
    shown = change.possession
    return (key, shown.key_signature), (validator_key, shown.validator_key_signature)


def named_members(change: Change) -> frozenset[str]:
    """Return the members that a change is about, who are not asked: also those that it lists or takes off a list."""
    match change:
        case AddSchema():
            return frozenset(change.issuers or ())
        case SetIssuers():
            return frozenset(change.added) | frozenset(change.removed)
        case AddMember() | AddPurpose() | SetNotices() | SetParameters() | ChangeValidators():
            return frozenset()
        case _:
            return frozenset((change.member,))


def require_governance(state: StateView) -> Governance:
    """Return who governs, which every state from genesis on holds."""
    governance = find(state, Governance, GOVERNANCE_KEY)
    assert governance is not None, "a state without governance"
    return governance
