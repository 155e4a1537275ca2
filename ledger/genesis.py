"""Genesis: the first block, and the file that founds a chain (docs/formats.md, Genesis).

Rule 1: the chain id is the SHA-256 of the canonical genesis content; the members' signatures stand outside.
Rule 2: every member signs the chain id, governor or not: nobody is founded under keys that others put there.
Rule 3: at least two sides have governors, each of them at least two, all together at most GOVERNORS_MAX; at least
one member validates.
Rule 4: block 0 follows from the content alone.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar, Final

from ledger.chain.overlays import Executed, Overlay, Tip
from ledger.encoding.arguments import require_json_text
from ledger.encoding.digests import digest
from ledger.encoding.keys import SUITE, PrivateKey, PublicKey
from ledger.encoding.lookalikes import skeleton
from ledger.encoding.records import (
    Hash,
    Items,
    Json,
    MemberId,
    Milliseconds,
    Octets,
    PurposeCode,
    SchemaCode,
    SignatureBytes,
    Uint,
    from_json,
    pack,
    parse_json,
    to_json,
)
from ledger.errors import LedgerError
from ledger.rules.blocks import HEADER_VERSION, NO_HASH, Block, EncodedHeader, Header, transactions_root
from ledger.rules.certificates import VALIDATORS_MAX, Validator, ValidatorSet
from ledger.rules.names import find_unseen
from ledger.rules.proposals import GOVERNORS_MAX, Governance
from ledger.rules.state import DEVELOPMENT as DEVELOPMENT
from ledger.rules.state import (
    GOVERNOR,
    ISSUER,
    MEMBERS_MAX,
    OBSERVER,
    PROTOCOL,
    VALIDATOR,
    Bearer,
    Changes,
    Issuers,
    Jurisdiction,
    Jurisdictions,
    Leaf,
    Member,
    Members,
    Name,
    Network,
    NetworkName,
    Node,
    NodeKind,
    Notices,
    Parameters,
    Purpose,
    Roles,
    Schema,
    Use,
    Validators,
)
from ledger.rules.state import PRODUCTION as PRODUCTION
from ledger.trees.merkle import Frontier
from ledger.trees.statepages import update
from ledger.trees.statetree import EMPTY, value_hash

GENESIS_VERSION: Final = 2
GENESIS_TAG: Final = "luohu/genesis/1"
GENESIS_FILE_SIZE_MAX: Final = 1024 * 1024
GOVERNORS_PER_SIDE_MIN: Final = 2
SIDES_MIN: Final = 2


class GenesisError(LedgerError):
    """A genesis that founds no chain."""

    code = "genesis"


@dataclass(frozen=True, slots=True)
class GenesisNode:
    """A member's node: validators have a validator key and a commitment to the next one."""

    kind: NodeKind
    validator_key: PublicKey | None
    next_validator_key: Hash | None
    tls_certificate: Annotated[bytes, Octets(1, 2048)]


@dataclass(frozen=True, slots=True)
class GenesisMember:
    """A member that exists from the start."""

    id: MemberId
    name_zh_hans: Name
    name_zh_hant: Name
    name_en: Name
    jurisdiction: Jurisdiction
    roles: Roles
    key: PublicKey
    next_key: Hash
    node: GenesisNode | None


@dataclass(frozen=True, slots=True)
class GenesisSchema:
    """A schema that exists from the start, for these issuers; for any where they are None."""

    code: SchemaCode
    bearer: Bearer
    issuers: Issuers | None


@dataclass(frozen=True, slots=True)
class GenesisPurpose:
    """A purpose that exists from the start, with the hashes of its notices."""

    code: PurposeCode
    notices: Notices


@dataclass(frozen=True, slots=True)
class GenesisContent:
    """Everything that a chain starts from. A `development` chain runs on loopback only."""

    TAG: ClassVar[str] = "luohu-genesis"

    version: Annotated[int, Uint(GENESIS_VERSION, minimum=GENESIS_VERSION)]
    suite: Annotated[int, Uint(SUITE, minimum=SUITE)]
    network: NetworkName
    use: Use
    jurisdictions: Jurisdictions
    time_ms: Milliseconds
    parameters: Parameters
    members: Annotated[tuple[GenesisMember, ...], Items(MEMBERS_MAX, minimum=1)]
    schemas: Annotated[tuple[GenesisSchema, ...], Items(256)]
    purposes: Annotated[tuple[GenesisPurpose, ...], Items(256)]

    def __post_init__(self) -> None:
        _check_order("members", [member.id for member in self.members])
        _check_order("schemas", [schema.code for schema in self.schemas])
        _check_order("purposes", [purpose.code for purpose in self.purposes])
        for member in self.members:
            _check_member(member)
        keys = Counter(str(key) for member in self.members for key in _keys_of(member))
        repeated = [key for key, count in keys.items() if count > 1]
        if repeated:
            raise GenesisError(where="genesis keys", expected="each key once", found=f"{repeated[0]} twice")
        if not self.parameters.knows(0):
            raise GenesisError(
                where="genesis protocol", expected=f"{PROTOCOL}", found=f"{self.parameters.protocol}"
            )
        _check_names(self.members)
        issuers = {member.id for member in self.members if ISSUER in member.roles}
        for schema in self.schemas:
            strangers = sorted({*(schema.issuers or ())} - issuers)
            if strangers:
                raise GenesisError(
                    where=f"issuers of {schema.code}",
                    expected="members that are issuers",
                    found=strangers[0],
                )
        for member in self.members:
            if member.jurisdiction not in self.jurisdictions:
                raise GenesisError(
                    where=f"jurisdiction of {member.id}",
                    expected=f"one of {', '.join(self.jurisdictions)}",
                    found=member.jurisdiction,
                )
        sides = Counter(member.jurisdiction for member in self.members if GOVERNOR in member.roles)
        if len(sides) < SIDES_MIN:
            raise GenesisError(
                where="genesis governors",
                expected=f"governors of at least {SIDES_MIN} sides",
                found=", ".join(sides) or "none",
            )
        for side, count in sides.items():
            if count < GOVERNORS_PER_SIDE_MIN:
                raise GenesisError(
                    where=f"governors of {side}",
                    expected=f"at least {GOVERNORS_PER_SIDE_MIN}",
                    found=f"{count}",
                )
        count = sum(member.node is not None and member.node.kind == VALIDATOR for member in self.members)
        if not 1 <= count <= VALIDATORS_MAX:
            raise GenesisError(
                where="genesis validators", expected=f"1 to {VALIDATORS_MAX}", found=f"{count}"
            )
        count = sum(GOVERNOR in member.roles for member in self.members)
        if count > GOVERNORS_MAX:
            raise GenesisError(
                where="genesis governors", expected=f"at most {GOVERNORS_MAX}", found=f"{count}"
            )

    @property
    def chain_id(self) -> bytes:
        """The 32-byte hash of the canonical content."""
        return digest(pack(self))

    @property
    def validators(self) -> ValidatorSet:
        """The validators of epoch 0."""
        return ValidatorSet(
            tuple(
                Validator(member.id, member.node.validator_key)
                for member in self.members
                if member.node is not None and member.node.validator_key is not None
            )
        )


@dataclass(frozen=True, slots=True)
class GenesisSignature:
    """A member's signature over the chain id."""

    member: MemberId
    signature: SignatureBytes


@dataclass(frozen=True, slots=True)
class Genesis:
    """The content and the signatures of its members."""

    content: GenesisContent
    signatures: Annotated[tuple[GenesisSignature, ...], Items(256)]

    def verify(self) -> None:
        """Check that every member signed. Raises GenesisError or SignatureError."""
        members = [member.id for member in self.content.members]
        signers = [signature.member for signature in self.signatures]
        if signers != members:
            raise GenesisError(
                where="genesis signatures",
                expected=f"exactly those of {members}",
                found=f"{signers}",
            )
        chain_id = self.content.chain_id
        for member, signature in zip(self.content.members, self.signatures, strict=True):
            member.key.verify(GENESIS_TAG, chain_id, signature.signature)


def sign_genesis(content: GenesisContent, keys: dict[str, PrivateKey]) -> Genesis:
    """Return the content with the signatures of its members, whose keys are given by member id."""
    chain_id = content.chain_id
    return Genesis(
        content,
        tuple(
            GenesisSignature(member.id, keys[member.id].sign(GENESIS_TAG, chain_id))
            for member in content.members
        ),
    )


def genesis_from_json(value: Json) -> Genesis:
    """Return a verified genesis from its JSON form. Raises LedgerError."""
    genesis = from_json(Genesis, value)
    pack(genesis.content)
    genesis.verify()
    return genesis


def parse_genesis(text: str | bytes) -> Genesis:
    """Return the verified genesis of a genesis.json, given by its content. Raises LedgerError."""
    cure = "Give the content of genesis.json: Path(path).read_bytes()."
    content = require_json_text("genesis", text, cure=cure)
    return genesis_from_json(parse_json(content, size_max=GENESIS_FILE_SIZE_MAX))


def genesis_to_json(genesis: Genesis) -> dict[str, Json]:
    """Return the JSON form of a genesis."""
    return to_json(genesis)


class _NoState:
    def find_value(self, key: bytes) -> bytes | None:
        return None

    def load_page(self, path: bytes) -> bytes | None:
        return None


def genesis_block(content: GenesisContent) -> Executed:
    """Return block 0, with the leaves and pages that it starts the state with."""
    empty = _NoState()
    changes = Changes(empty)
    for leaf in _leaves(content):
        changes.put(leaf)
    tree = update(empty, EMPTY, [(key, value_hash(value)) for key, value in sorted(changes.values.items())])
    header = Header(
        version=HEADER_VERSION,
        suite=content.suite,
        chain_id=content.chain_id,
        epoch=0,
        view=0,
        height=0,
        time_ms=content.time_ms,
        parent_hash=NO_HASH,
        transactions_root=transactions_root(()),
        state_root=tree.root,
        history_root=Frontier().root(),
        validators_hash=content.validators.digest(),
        next_validators_hash=None,
        proposer=None,
    )
    encoded_header = EncodedHeader.encode(header)
    history, _ = Frontier().append(encoded_header.hash)
    return Executed(Block(encoded_header, ()), Overlay(changes.values, tree.pages, empty), history)


def genesis_tip(content: GenesisContent) -> Tip:
    """Return block 0 as something to build on."""
    return genesis_block(content).tip()


def _leaves(content: GenesisContent) -> list[Leaf]:
    governors = tuple(member.id for member in content.members if GOVERNOR in member.roles)
    leaves: list[Leaf] = [
        Network(content.network, content.use, content.jurisdictions),
        content.parameters,
        Validators(0, content.validators, None),
        Members(tuple(member.id for member in content.members)),
        Governance(governors, 0, None),
    ]
    leaves += [Schema(schema.code, schema.bearer, schema.issuers, 0) for schema in content.schemas]
    leaves += [Purpose(purpose.code, purpose.notices, 0) for purpose in content.purposes]
    for member in content.members:
        leaves.append(
            Member(
                id=member.id,
                name_zh_hans=member.name_zh_hans,
                name_zh_hant=member.name_zh_hant,
                name_en=member.name_en,
                jurisdiction=member.jurisdiction,
                roles=member.roles,
                key=member.key,
                key_sequence=0,
                next_key=member.next_key,
                version=0,
                suspensions=(),
            )
        )
        if member.node is not None:
            leaves.append(
                Node(
                    member=member.id,
                    kind=member.node.kind,
                    validator_key=member.node.validator_key,
                    validator_key_sequence=0,
                    next_validator_key=member.node.next_validator_key,
                    tls_certificate=member.node.tls_certificate,
                    tls_sequence=0,
                )
            )
    return leaves


def _keys_of(member: GenesisMember) -> list[PublicKey]:
    node_key = member.node.validator_key if member.node is not None else None
    return [member.key] if node_key is None else [member.key, node_key]


def _check_member(member: GenesisMember) -> None:
    for key in _keys_of(member):
        key.check_prime_order()
    if member.node is None:
        return
    named = (member.node.validator_key is not None, member.node.next_validator_key is not None)
    if named != ((False, False) if member.node.kind == OBSERVER else (True, True)):
        expected = "validator key and next one for validators, neither for observers"
        raise GenesisError(
            where=f"node of {member.id}", expected=expected, found=f"{member.node.kind} {named}"
        )


def _check_names(members: Sequence[GenesisMember]) -> None:
    """Check that no two members look the same (ledger/rules/names.py). Raises GenesisError."""
    owners: dict[str, str] = {}
    for member in members:
        names = (member.name_zh_hans, member.name_zh_hant, member.name_en)
        unseen = find_unseen(names)
        if unseen is not None:
            expected = "something to read, and single spaces inside"
            raise GenesisError(where=f"names of {member.id}", expected=expected, found=ascii(unseen))
        for name in names:
            owner = owners.setdefault(skeleton(name), member.id)
            if owner != member.id:
                expected = "names that look like nobody else's"
                raise GenesisError(
                    where=f"names of {member.id}", expected=expected, found=f"that of {owner}: {name}"
                )


def _check_order(where: str, names: list[str]) -> None:
    for before, after in pairwise(names):
        if before >= after:
            raise GenesisError(
                where=f"genesis {where}", expected="each once, in order", found=f"{after} after {before}"
            )
