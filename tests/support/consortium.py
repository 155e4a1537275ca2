"""The development consortium of the tests: seven members with keys from fixed seeds, and blocks in memory.

Keys, genesis and every transaction made here are the same in every run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256

from ledger.chain.execution import build_block
from ledger.chain.overlays import Executed, Tip
from ledger.encoding.keys import PrivateKey
from ledger.encoding.records import pack
from ledger.errors import LedgerError
from ledger.genesis import (
    DEVELOPMENT,
    GENESIS_VERSION,
    Genesis,
    GenesisContent,
    GenesisMember,
    GenesisNode,
    GenesisPurpose,
    GenesisSchema,
    genesis_tip,
    sign_genesis,
)
from ledger.rules.certificates import FINALIZE, VOTE_TAGS, QuorumCertificate, SignedBy, Subject
from ledger.rules.leaders import leader_index
from ledger.rules.operations import (
    GRANT_TAG,
    MEMBER_KEY,
    ROTATION_TAG,
    WITHDRAWAL_TAG,
    AnchorBatch,
    CloseConsent,
    Grant,
    GrantBody,
    Operation,
    RecordVerification,
    RotateKey,
    Withdraw,
    WithdrawalBody,
    next_key_commitment,
    rotation_body,
)
from ledger.rules.state import CROSS_BORDER, SEPARATE_CONSENT, ConsentTerms, Parameters
from ledger.rules.transactions import Transaction, TransactionBody, VerifiedTransactions

START_MS = 1_800_000_000_000
MINUTE_MS = 60_000
DAY_MS = 86_400_000
LATER_MS = START_MS + 365 * DAY_MS
"""A time after every story that starts at START_MS, as a clock shows it to whoever asks about a past time."""
REPORT = "hk.credit-report"
NOTICE = "hk.public-notice"
MAINLAND_REPORT = "cn.credit-report"
LOAN = "consumer-credit.loan"

VALIDATORS = ("hk-bureau", "hk-operator", "mainland-bank", "sz-operator")
SIDES = {
    "auditor": "HK",
    "hk-bank": "HK",
    "hk-bureau": "HK",
    "hk-operator": "HK",
    "mainland-bank": "CN",
    "mainland-bureau": "CN",
    "sz-operator": "CN",
}
ROLES = {
    "auditor": ("auditor",),
    "hk-bank": ("recipient",),
    "hk-bureau": ("governor", "issuer"),
    "hk-operator": ("governor",),
    "mainland-bank": ("governor", "recipient"),
    "mainland-bureau": ("issuer",),
    "sz-operator": ("governor",),
}


KEYS_MADE: dict[bytes, PrivateKey] = {}
"""Every key that `key_of` made, by its public half."""


@cache
def key_of(name: str) -> PrivateKey:
    """Return the key of a name: the same in every run."""
    key = PrivateKey.from_seed(sha256(b"tests: " + name.encode()).digest())
    KEYS_MADE[key.public.data] = key
    return key


def member_key_of(member: str, sequence: int = 0) -> PrivateKey:
    """Return a member's key, or, from sequence 1 on, the one that its nth rotation reveals."""
    return key_of(f"{member} member {sequence}")


def hash_of(name: str) -> bytes:
    """Return 32 bytes that stand for something: the same in every run."""
    return sha256(b"tests, hash: " + name.encode()).digest()


PARAMETERS = Parameters(
    block_size_max=2 * 1024 * 1024,
    block_operations_max=10_000,
    block_signatures_max=4_000,
    transaction_horizon_ms=60 * MINUTE_MS,
    consent_duration_max_ms=366 * DAY_MS,
    protocol=1,
    protocol_height=0,
)


def names_for(member: str) -> tuple[str, str, str]:
    """Return a member's names: in simplified Chinese, in traditional Chinese, in English."""
    return f"测试成员 {member}", f"測試成員 {member}", f"Test member {member}"


def named(member: GenesisMember, identity: str) -> GenesisMember:
    """Return a member under another id, with the names that go with it."""
    zh_hans, zh_hant, en = names_for(identity)
    return replace(member, id=identity, name_zh_hans=zh_hans, name_zh_hant=zh_hant, name_en=en)


def genesis_member(member: str) -> GenesisMember:
    """Return a member as the genesis holds it."""
    node = GenesisNode(
        kind="validator",
        validator_key=key_of(f"{member} validator").public,
        next_validator_key=next_key_commitment(key_of(f"{member} next validator").public),
        tls_certificate=b"TLS certificate of " + member.encode(),
    )
    zh_hans, zh_hant, en = names_for(member)
    return GenesisMember(
        id=member,
        name_zh_hans=zh_hans,
        name_zh_hant=zh_hant,
        name_en=en,
        jurisdiction=SIDES[member],
        roles=ROLES[member],
        key=member_key_of(member).public,
        next_key=next_key_commitment(member_key_of(member, 1).public),
        node=node if member in VALIDATORS else None,
    )


def make_content(parameters: Parameters = PARAMETERS) -> GenesisContent:
    """Return the genesis content of the consortium."""
    return GenesisContent(
        version=GENESIS_VERSION,
        suite=1,
        network="tests",
        use=DEVELOPMENT,
        jurisdictions=("CN", "HK"),
        time_ms=START_MS,
        parameters=parameters,
        members=tuple(genesis_member(member) for member in sorted(SIDES)),
        schemas=(
            GenesisSchema(MAINLAND_REPORT, 0, ("mainland-bureau",)),
            GenesisSchema(REPORT, 0, None),
            GenesisSchema(NOTICE, 1, None),
        ),
        purposes=(
            GenesisPurpose(LOAN, (hash_of("notice"),)),
            GenesisPurpose("corporate.account", ()),
        ),
    )


def make_genesis(content: GenesisContent | None = None) -> Genesis:
    """Return the content, the consortium's own unless another is given, signed by its members."""
    return sign_genesis(content or make_content(), {member: member_key_of(member) for member in SIDES})


CHAIN_ID = make_content().chain_id


def make_terms(**changes: object) -> ConsentTerms:
    """Return terms on which the mainland bank may verify the Hong Kong bureau's reports twice."""
    terms = ConsentTerms(
        recipient="mainland-bank",
        purpose=LOAN,
        sources=("HK",),
        flags=SEPARATE_CONSENT | CROSS_BORDER,
        notice_version=hash_of("notice"),
        terms_commitment=hash_of("terms"),
        from_ms=START_MS,
        until_ms=START_MS + 30 * DAY_MS,
        uses=2,
    )
    return replace(terms, **changes)  # type: ignore[arg-type]


def make_grant(
    holder: str = "holder",
    *,
    terms: ConsentTerms | None = None,
    nonce: bytes = bytes(16),
    submit_by_ms: int = START_MS + 10 * MINUTE_MS,
    chain_id: bytes = CHAIN_ID,
) -> Grant:
    """Return a grant that a holder's consent key signed."""
    key = key_of(holder)
    body = pack(GrantBody(chain_id, nonce, submit_by_ms, key.public, terms or make_terms()))
    return Grant(body, key.sign(GRANT_TAG, body))


def make_withdrawal(grant: Grant, holder: str = "holder", *, chain_id: bytes = CHAIN_ID) -> Withdraw:
    """Return the withdrawal of a grant's consent, signed by a holder's consent key."""
    key = key_of(holder)
    body = pack(WithdrawalBody(chain_id, key.public, grant.consent_id))
    return Withdraw(body, key.sign(WITHDRAWAL_TAG, body))


def make_closing(grant: Grant) -> CloseConsent:
    """Return the recipient's closing of a grant's consent."""
    return CloseConsent(grant.decoded().consent_key, grant.consent_id)


def make_anchor(number: int = 0, *, schema: str = REPORT, expires_ms: int | None = None) -> AnchorBatch:
    """Return the anchor of a batch of its own."""
    return AnchorBatch(hash_of(f"root {number}"), 3, schema, expires_ms)


def make_record(grant: Grant, slot: int, outcome: str = "verified") -> RecordVerification:
    """Return the record of a verification under a slot of a grant's consent."""
    key = grant.decoded().consent_key
    return RecordVerification(key, grant.consent_id, slot, hash_of(f"use tag {slot}"), outcome)


def make_rotation(
    member: str,
    sequence: int = 1,
    *,
    key: PrivateKey | None = None,
    chain_id: bytes = CHAIN_ID,
    signed_as: str | None = None,
) -> RotateKey:
    """Return a member's rotation, by default to the key that it committed to, which signs it."""
    revealed = key or member_key_of(member, sequence)
    next_key = next_key_commitment(member_key_of(member, sequence + 1).public)
    body = rotation_body(
        chain_id=chain_id,
        member=signed_as or member,
        role=MEMBER_KEY,
        sequence=sequence,
        key=revealed.public,
        next_key=next_key,
    )
    return RotateKey(MEMBER_KEY, sequence, revealed.public, next_key, revealed.sign(ROTATION_TAG, body))


def make_transaction(
    sender: str,
    *operations: Operation,
    valid_until_ms: int = START_MS + 10 * MINUTE_MS,
    key: PrivateKey | None = None,
    chain_id: bytes = CHAIN_ID,
) -> Transaction:
    """Return a transaction signed by the sender's first member key, unless another is given."""
    body = TransactionBody(chain_id, sender, valid_until_ms, operations)
    return Transaction.sign(body, key or member_key_of(sender))


def leader_of(view: int) -> str:
    """Return the validator that may propose in a view of epoch 0."""
    return VALIDATORS[leader_index(epoch=0, view=view, validators_count=len(VALIDATORS))]


def certify(
    executed: Executed, kind: str = FINALIZE, signers: Sequence[int] = (0, 1, 2)
) -> QuorumCertificate:
    """Return a quorum certificate over a block by the consortium's validators."""
    header = executed.block.header
    subject = Subject(kind, header.epoch, header.view, header.view - 1, executed.block.hash)
    body = subject.body(header.chain_id)
    signed = tuple(
        SignedBy(index, key_of(f"{VALIDATORS[index]} validator").sign(VOTE_TAGS[kind], body))
        for index in signers
    )
    return QuorumCertificate(subject, signed)


@dataclass(slots=True)
class Ledger:
    """A chain in memory: the tip, and the blocks that led to it."""

    tip: Tip
    blocks: list[Executed]

    @classmethod
    def start(cls, content: GenesisContent | None = None) -> "Ledger":
        """Return the chain of the consortium, or of another content, at its genesis."""
        return cls(genesis_tip(content or make_content()), [])

    def build(
        self, *transactions: Transaction, now_ms: int | None = None
    ) -> tuple[Executed, list[tuple[Transaction, LedgerError]]]:
        """Return the next block and what it refuses. The tip stays."""
        view = self.tip.header.view + 1
        return build_block(
            self.tip,
            transactions,
            view=view,
            proposer=leader_of(view),
            now_ms=self.tip.header.time_ms + 1_000 if now_ms is None else now_ms,
            verified=VerifiedTransactions(),
        )

    def record(self, *transactions: Transaction, now_ms: int | None = None) -> Executed:
        """Build a block of transactions that all apply, and move the tip to it."""
        executed, refused = self.build(*transactions, now_ms=now_ms)
        assert not refused, f"a transaction was refused: {refused[0][1]}"
        self.tip = executed.tip()
        self.blocks.append(executed)
        return executed

    def refusal(self, transaction: Transaction, *, now_ms: int | None = None) -> LedgerError:
        """Return why a transaction is refused, having checked that refusing it changed nothing."""
        executed, refused = self.build(transaction, now_ms=now_ms)
        assert len(refused) == 1, "the transaction applies"
        assert executed.block.header.state_root == self.tip.header.state_root, "a refusal changed the state"
        assert executed.overlay.values == {} and executed.overlay.pages == {}
        assert executed.block.transactions == ()
        return refused[0][1]
