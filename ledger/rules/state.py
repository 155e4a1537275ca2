"""State records: one leaf for each object, its end inside it (docs/formats.md, State).

Rule 1: a leaf's value begins with its kind and the identifiers that make its key, so a value can only be
found under the one key that it names.
Rule 2: what ends an object (revocation, withdrawal, suspension) lies inside its leaf, so no check can look
at the one and forget the other. Only a single document's revocation is a leaf of its own: its absence is
what a proof shows.
Rule 3: nothing here is personal: identifiers of institutions and codes, hashes, keys, counts and times.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar, Final, Protocol, TypeVar

from ledger.encoding.codec import Value, encode, encode_checked
from ledger.encoding.keys import PublicKey
from ledger.encoding.records import (
    Code,
    Hash,
    Height,
    Identifier,
    Integer,
    Items,
    MemberId,
    Milliseconds,
    Octets,
    PurposeCode,
    Record,
    SchemaCode,
    Text,
    Uint,
    pack,
    unpack,
)
from ledger.errors import LedgerError
from ledger.rules.certificates import VALIDATORS_MAX, ValidatorSet, Vote
from ledger.trees.statetree import state_key

GOVERNOR: Final = "governor"
ISSUER: Final = "issuer"
RECIPIENT: Final = "recipient"
AUDITOR: Final = "auditor"
ROLES: Final = (AUDITOR, GOVERNOR, ISSUER, RECIPIENT)

VALIDATOR: Final = "validator"
OBSERVER: Final = "observer"

DEVELOPMENT: Final = "development"
PRODUCTION: Final = "production"

JURISDICTIONS_MAX: Final = 8

PROTOCOL: Final = 1
"""The rules that this release knows."""
PROTOCOL_MAX: Final = 65_535

Jurisdiction = Annotated[str, Identifier("jurisdiction", 2, r"[A-Z]{2}")]
Jurisdictions = Annotated[tuple[Jurisdiction, ...], Items(JURISDICTIONS_MAX, minimum=2, increasing=True)]
NetworkName = Annotated[str, Identifier("network", 32)]
Use = Annotated[str, Code((DEVELOPMENT, PRODUCTION))]
Role = Annotated[str, Code(ROLES)]
Roles = Annotated[tuple[Role, ...], Items(len(ROLES), minimum=1, increasing=True)]
Name = Annotated[str, Text(200)]
NodeKind = Annotated[str, Code((VALIDATOR, OBSERVER))]
Bearer = Annotated[int, Uint(1)]
Listed = Annotated[int, Uint(1)]
LeafCount = Annotated[int, Uint(1_000_000, minimum=1)]
Uses = Annotated[int, Uint(10_000, minimum=1)]

RevocationReason = Annotated[
    str, Code(("error", "superseded", "expired", "withdrawn", "holder-request", "fraud", "other"))
]
Outcome = Annotated[str, Code(("verified", "accepted", "declined", "refused"))]
Sources = Annotated[tuple[Jurisdiction, ...], Items(8, minimum=1, increasing=True)]
CategoryMask = Annotated[int, Uint(2**16 - 1)]
ConsentFlags = Annotated[int, Uint(2**8 - 1)]

MEMBERS_MAX: Final = 256
ISSUERS_MAX: Final = MEMBERS_MAX
NOTICES_MAX: Final = 64
Issuers = Annotated[tuple[MemberId, ...], Items(ISSUERS_MAX, increasing=True)]
Notices = Annotated[tuple[Hash, ...], Items(NOTICES_MAX, increasing=True)]

SEPARATE_CONSENT: Final = 1
SENSITIVE: Final = 2
CROSS_BORDER: Final = 4

BY_HOLDER: Final = "holder"
BY_RECIPIENT: Final = "recipient"


class Leaf(Record, Protocol):
    """Any record that lies in the state: it names its own key."""

    TAG: ClassVar[str]

    def state_key(self) -> bytes: ...


class StateError(LedgerError):
    """A state value that is not what its key or its kind demands."""

    code = "state"


@dataclass(frozen=True, slots=True)
class Suspension:
    """Anchors from `distrust_from` until `reinstated_at` never verify (heights; None while suspended)."""

    distrust_from: Height
    suspended_at: Height
    reinstated_at: Height | None


@dataclass(frozen=True, slots=True)
class Member:
    """A registered institution."""

    TAG: ClassVar[str] = "member"

    id: MemberId
    name_zh_hans: Name
    name_zh_hant: Name
    name_en: Name
    jurisdiction: Jurisdiction
    roles: Roles
    key: PublicKey
    key_sequence: Integer
    next_key: Hash
    version: Integer
    suspensions: Annotated[tuple[Suspension, ...], Items(64)]

    def state_key(self) -> bytes:
        return member_key(self.id)

    @property
    def is_suspended(self) -> bool:
        return bool(self.suspensions) and self.suspensions[-1].reinstated_at is None

    def distrusts(self, height: int) -> bool:
        """Say whether an anchor at `height` lies in an interval that this member's suspensions distrust."""
        return any(
            interval.distrust_from <= height
            and (interval.reinstated_at is None or height < interval.reinstated_at)
            for interval in self.suspensions
        )


@dataclass(frozen=True, slots=True)
class Members:
    """The ids of all members, active and suspended. A member is never removed."""

    TAG: ClassVar[str] = "members"

    ids: Annotated[tuple[MemberId, ...], Items(MEMBERS_MAX, minimum=1, increasing=True)]

    def state_key(self) -> bytes:
        return MEMBERS_KEY


@dataclass(frozen=True, slots=True)
class Node:
    """A member's node: its validator key where it validates, and its TLS certificate (DER)."""

    TAG: ClassVar[str] = "node"

    member: MemberId
    kind: NodeKind
    validator_key: PublicKey | None
    validator_key_sequence: Integer
    next_validator_key: Hash | None
    tls_certificate: Annotated[bytes, Octets(1, 2048)]
    tls_sequence: Integer

    def state_key(self) -> bytes:
        return node_key(self.member)


@dataclass(frozen=True, slots=True)
class Schema:
    """A kind of document. `bearer` is 1 where a document of it needs no holder key.

    Only its `issuers` anchor documents of it; where that is None, any issuer does; where it is empty, nobody.
    """

    TAG: ClassVar[str] = "schema"

    code: SchemaCode
    bearer: Bearer
    issuers: Issuers | None
    version: Integer

    def state_key(self) -> bytes:
        return schema_key(self.code)


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a recipient may use a document for. A grant for it names one of its `notices`, what the holder was told."""

    TAG: ClassVar[str] = "purpose"

    code: PurposeCode
    notices: Notices
    version: Integer

    def state_key(self) -> bytes:
        return purpose_key(self.code)


@dataclass(frozen=True, slots=True)
class Network:
    """What the network is called, what it is for, and which sides there may be. Genesis says it, for good."""

    TAG: ClassVar[str] = "network"

    name: NetworkName
    use: Use
    jurisdictions: Jurisdictions

    def state_key(self) -> bytes:
        return NETWORK_KEY


@dataclass(frozen=True, slots=True)
class Parameters:
    """What binds every block. Sizes in bytes, horizons in milliseconds.

    From the height `protocol_height` on blocks follow the rules of the number `protocol`; below it, those before.
    """

    TAG: ClassVar[str] = "parameters"

    block_size_max: Annotated[int, Uint(4 * 1024 * 1024, minimum=1024)]
    block_operations_max: Annotated[int, Uint(100_000, minimum=1)]
    block_signatures_max: Annotated[int, Uint(100_000, minimum=1)]
    transaction_horizon_ms: Annotated[int, Uint(7 * 86_400_000, minimum=1_000)]
    consent_duration_max_ms: Annotated[int, Uint(10 * 366 * 86_400_000, minimum=1_000)]
    protocol: Annotated[int, Uint(PROTOCOL_MAX, minimum=1)]
    protocol_height: Height

    def knows(self, height: int) -> bool:
        """Say whether this release knows the rules of the block at a height."""
        return self.protocol == PROTOCOL or height < self.protocol_height

    def state_key(self) -> bytes:
        return PARAMETERS_KEY


@dataclass(frozen=True, slots=True)
class Validators:
    """The validator set of the current epoch, and the set that the next seal block makes current."""

    TAG: ClassVar[str] = "validators"

    epoch: Height
    current: ValidatorSet
    pending: ValidatorSet | None

    def state_key(self) -> bytes:
        return VALIDATORS_KEY

    def succeed(self) -> "Validators":
        """Return what the seal makes of it: the pending set, current in the next epoch."""
        assert self.pending is not None, "only a pending set succeeds"
        return Validators(self.epoch + 1, self.pending, None)


@dataclass(frozen=True, slots=True)
class FormerValidators:
    """The set of the latest epoch that ended or is about to: its misbehaviour can still be reported."""

    TAG: ClassVar[str] = "former_validators"

    epoch: Height
    validators: ValidatorSet

    def state_key(self) -> bytes:
        return FORMER_VALIDATORS_KEY


@dataclass(frozen=True, slots=True)
class MisbehaviourPlace:
    """What names a record of misbehaviour."""

    epoch: Height
    member: MemberId


@dataclass(frozen=True, slots=True)
class LatestMisbehaviour:
    """The latest record of misbehaviour, from which all others are reached. No leaf where there is none."""

    TAG: ClassVar[str] = "latest_misbehaviour"

    latest: MisbehaviourPlace

    def state_key(self) -> bytes:
        return LATEST_MISBEHAVIOUR_KEY


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """Two votes of one validator that exclude each other, both signed by `key`. One for each epoch.

    `previous` is the record before, so that nobody can leave one out of a list unnoticed.
    """

    TAG: ClassVar[str] = "misbehaviour"

    epoch: Height
    member: MemberId
    key: PublicKey
    first: Vote
    second: Vote
    previous: MisbehaviourPlace | None
    height: Height
    time_ms: Milliseconds

    def state_key(self) -> bytes:
        return misbehaviour_key(self.epoch, self.member)


@dataclass(frozen=True, slots=True)
class Revoked:
    """When and why a whole anchor was revoked."""

    reason: RevocationReason
    height: Height
    time_ms: Milliseconds


@dataclass(frozen=True, slots=True)
class Anchor:
    """The anchored root of a batch. `expires_ms` is the latest expiry of its documents, or None.

    `bearer`, `schema_version` and `listed` say what the schema said then; `listed` is 1 where it listed the issuer.
    """

    TAG: ClassVar[str] = "anchor"

    issuer: MemberId
    root: Hash
    leaf_count: LeafCount
    schema: SchemaCode
    bearer: Bearer
    schema_version: Integer
    listed: Listed
    expires_ms: Milliseconds | None
    height: Height
    time_ms: Milliseconds
    issuer_version: Integer
    key_sequence: Integer
    revoked: Revoked | None

    def state_key(self) -> bytes:
        # Its fields are those of a record, checked where it was read or is written.
        return state_key(encode_checked((self.TAG, self.issuer, self.root)))


@dataclass(frozen=True, slots=True)
class Revocation:
    """One commitment revoked by its issuer. Its absence is what a proof shows."""

    TAG: ClassVar[str] = "revocation"

    issuer: MemberId
    commitment: Hash
    reason: RevocationReason
    height: Height
    time_ms: Milliseconds

    def state_key(self) -> bytes:
        return revocation_key(self.issuer, self.commitment)


@dataclass(frozen=True, slots=True)
class ConsentTerms:
    """What the ledger holds of what a holder agreed to: no item, no issuer, no kind of document.

    `sources` are the jurisdictions that documents may come from; `terms_commitment` hides what was asked, all of it.
    """

    recipient: MemberId
    purpose: PurposeCode
    sources: Sources
    flags: ConsentFlags
    notice_version: Hash
    terms_commitment: Hash
    from_ms: Milliseconds
    until_ms: Milliseconds
    uses: Uses


@dataclass(frozen=True, slots=True)
class Granted:
    """The terms of a grant and when it was recorded."""

    terms: ConsentTerms
    height: Height
    time_ms: Milliseconds


@dataclass(frozen=True, slots=True)
class Ended:
    """Who ended a consent, and when."""

    by: Annotated[str, Code((BY_HOLDER, BY_RECIPIENT))]
    height: Height
    time_ms: Milliseconds


@dataclass(frozen=True, slots=True)
class Consent:
    """A consent. A withdrawal may arrive before the grant (`granted` is None), and then blocks it."""

    TAG: ClassVar[str] = "consent"

    consent_key: PublicKey
    consent_id: Hash
    granted: Granted | None
    ended: Ended | None
    used: Annotated[int, Uint(10_000)]

    def state_key(self) -> bytes:
        return consent_key(self.consent_key, self.consent_id)


@dataclass(frozen=True, slots=True)
class Verification:
    """A recipient's record that it verified a document under one slot of a consent."""

    TAG: ClassVar[str] = "verification"

    consent_key: PublicKey
    consent_id: Hash
    slot: Annotated[int, Uint(9_999)]
    recipient: MemberId
    use_tag: Hash
    outcome: Outcome
    height: Height
    time_ms: Milliseconds

    def state_key(self) -> bytes:
        return verification_key(self.consent_key, self.consent_id, self.slot)


# A validator set holds at most VALIDATORS_MAX validators; the longest leaf holds two of them.
LEAF_SIZE_MAX: Final = 2 * VALIDATORS_MAX * 80 + 4096

L = TypeVar("L", bound=Leaf)


# Few codes, asked for with every transaction: their keys are remembered.
CODES_REMEMBERED_MAX: Final = 1_024
ANCHORS_REMEMBERED_MAX: Final = 8_192


@lru_cache(CODES_REMEMBERED_MAX)
def member_key(member: str) -> bytes:
    return state_key(encode((Member.TAG, member)))


def node_key(member: str) -> bytes:
    return state_key(encode((Node.TAG, member)))


@lru_cache(CODES_REMEMBERED_MAX)
def schema_key(code: str) -> bytes:
    return state_key(encode((Schema.TAG, code)))


def purpose_key(code: str) -> bytes:
    return state_key(encode((Purpose.TAG, code)))


# An anchor's key is asked for when it is admitted, built, executed and stored, within moments.
@lru_cache(ANCHORS_REMEMBERED_MAX)
def anchor_key(issuer: str, root: bytes) -> bytes:
    return state_key(encode((Anchor.TAG, issuer, root)))


# A revocation's key, and those of consents, are made of fields of records, which were checked where those were read.
def revocation_key(issuer: str, commitment: bytes) -> bytes:
    return state_key(encode_checked((Revocation.TAG, issuer, commitment)))


def consent_key(key: PublicKey, consent_id: bytes) -> bytes:
    return state_key(encode_checked((Consent.TAG, _key_value(key), consent_id)))


def verification_key(key: PublicKey, consent_id: bytes, slot: int) -> bytes:
    return state_key(encode_checked((Verification.TAG, _key_value(key), consent_id, slot)))


def misbehaviour_key(epoch: int, member: str) -> bytes:
    return state_key(encode((Misbehaviour.TAG, epoch, member)))


def _key_value(key: PublicKey) -> Value:
    return (key.algorithm, key.data)


MEMBERS_KEY: Final = state_key(encode((Members.TAG,)))
NETWORK_KEY: Final = state_key(encode((Network.TAG,)))
PARAMETERS_KEY: Final = state_key(encode((Parameters.TAG,)))
LATEST_MISBEHAVIOUR_KEY: Final = state_key(encode((LatestMisbehaviour.TAG,)))
FORMER_VALIDATORS_KEY: Final = state_key(encode((FormerValidators.TAG,)))
VALIDATORS_KEY: Final = state_key(encode((Validators.TAG,)))


class StateView(Protocol):
    """Where leaves are read from: a finalized store, or a block's overlay above it."""

    def find_value(self, key: bytes) -> bytes | None:
        """Return the value under a 32-byte state key, or None."""
        ...


def decode_leaf(shape: type[L], key: bytes, value: bytes) -> L:
    """Return the leaf of `shape` that `value` encodes, checked to belong under `key`. Raises LedgerError."""
    if shape not in _OFTEN_READ:
        return _decode(shape, key, value)
    leaf = _decode_often(shape, key, value)
    assert isinstance(leaf, shape), "what was decoded as a shape is of it"
    return leaf


def _decode(shape: type[L], key: bytes, value: bytes) -> L:
    leaf = unpack(shape, value, size_max=LEAF_SIZE_MAX)
    if leaf.state_key() != key:
        expected = f"the {shape.TAG} of key {key.hex()}"
        raise StateError(where="state value", expected=expected, found=f"that of {leaf.state_key().hex()}")
    return leaf


# Few records, read for every transaction or block. A decoded leaf never changes, so all readers may share it.
_OFTEN_READ: Final = frozenset({Member, Members, Schema, Purpose, Parameters, Validators})


@lru_cache(maxsize=512)
def _decode_often(shape: type[Leaf], key: bytes, value: bytes) -> Leaf:
    return _decode(shape, key, value)


def find(state: StateView, shape: type[L], key: bytes) -> L | None:
    """Return the leaf of `shape` under `key`, or None where the state holds none."""
    value = state.find_value(key)
    return None if value is None else decode_leaf(shape, key, value)


def require_members(state: StateView) -> Members:
    """Return the ids of all members, which every state from genesis on holds."""
    members = find(state, Members, MEMBERS_KEY)
    assert members is not None, "a state without members"
    return members


def require_network(state: StateView) -> Network:
    """Return what the network is, which every state from genesis on holds."""
    network = find(state, Network, NETWORK_KEY)
    assert network is not None, "a state without a network"
    return network


def require_parameters(state: StateView) -> Parameters:
    """Return the parameters, which every state from genesis on holds."""
    parameters = find(state, Parameters, PARAMETERS_KEY)
    assert parameters is not None, "a state without parameters"
    return parameters


def require_validators(state: StateView) -> Validators:
    """Return the validators, which every state from genesis on holds."""
    validators = find(state, Validators, VALIDATORS_KEY)
    assert validators is not None, "a state without validators"
    return validators


class Changes:
    """Leaves written on top of a view: what one transaction, or one block, would change."""

    def __init__(self, base: StateView) -> None:
        self._base = base
        self.values: dict[bytes, bytes] = {}

    def find_value(self, key: bytes) -> bytes | None:
        value = self.values.get(key)
        return self._base.find_value(key) if value is None else value

    def put(self, leaf: Leaf) -> None:
        """Write a leaf under its own key."""
        self.values[leaf.state_key()] = pack(leaf)

    def merge(self, values: Mapping[bytes, bytes]) -> None:
        """Take over what a transaction changed."""
        self.values.update(values)
