"""The transition against a simple model of the ledger: dictionaries, and the rules as docs/formats.md words them.

Random members send random operations; after each block the ledger holds what the model holds, refused what the model
refused and for the same reason, and its state root is that of a tree built anew from every leaf.
"""

import copy
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import sha256
from typing import TypeAlias

from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st

from ledger.chain.overlays import Overlay
from ledger.encoding.keys import PrivateKey
from ledger.encoding.records import pack
from ledger.genesis import genesis_block
from ledger.rules.operations import (
    AnchorBatch,
    CloseConsent,
    Grant,
    Operation,
    RecordVerification,
    RevokeAnchor,
    RevokeDocument,
    RotateKey,
    Withdraw,
)
from ledger.rules.state import (
    Anchor,
    Consent,
    Member,
    Revocation,
    Suspension,
    Verification,
    anchor_key,
    consent_key,
    find,
    member_key,
    revocation_key,
    verification_key,
)
from ledger.rules.transactions import Transaction
from ledger.trees.statepages import update
from ledger.trees.statetree import value_hash
from tests.support.consortium import (
    DAY_MS,
    LOAN,
    MAINLAND_REPORT,
    MINUTE_MS,
    NOTICE,
    REPORT,
    ROLES,
    SIDES,
    START_MS,
    Ledger,
    hash_of,
    key_of,
    make_anchor,
    make_closing,
    make_content,
    make_grant,
    make_record,
    make_rotation,
    make_terms,
    make_transaction,
    make_withdrawal,
    member_key_of,
)

SENDS: frozenset[type[Operation]] = frozenset(
    (
        AnchorBatch,
        RevokeDocument,
        RevokeAnchor,
        Grant,
        Withdraw,
        CloseConsent,
        RecordVerification,
        RotateKey,
    )
)
HORIZON_MS = 60 * MINUTE_MS
SUSPENDED = "mainland-bureau"
SENDERS = (*sorted(SIDES), "nobody")
HOLDERS = ("holder", "other holder")
SCHEMAS = (REPORT, NOTICE, MAINLAND_REPORT)

# Terms by name: what differs from a good consent, and so decides what becomes of its grant.
TERMS: dict[str, dict[str, object]] = {
    "good": {},
    "one use": {"uses": 1},
    "brief": {"until_ms": START_MS + 3 * MINUTE_MS},
    "later": {"from_ms": START_MS + 4 * MINUTE_MS},
    "backwards": {"until_ms": START_MS},
    "endless": {"until_ms": START_MS + 900 * DAY_MS},
    "direction": {"sources": ("CN",)},
    "flags": {"flags": 1},
    "both sides": {"sources": ("CN", "HK")},
    "own side": {"sources": ("CN",), "flags": 1},
    "no recipient": {"recipient": "auditor"},
    "nobody": {"recipient": "nobody"},
    "purpose": {"purpose": "unknown.purpose"},
    "notice": {"notice_version": hash_of("another notice")},
    "purpose without notices": {"purpose": "corporate.account"},
}

Op: TypeAlias = tuple[str, *tuple[str | int, ...]]
ConsentName: TypeAlias = tuple[str, str, int]
"""Holder, terms and deadline."""


@cache
def grant_of(holder: str, terms: str, late: int) -> Grant:
    """Return a holder's grant on named terms; a late one may be recorded in the first two minutes only."""
    return make_grant(holder, terms=make_terms(**TERMS[terms]), submit_by_ms=deadline_ms(late))


def deadline_ms(late: int) -> int:
    """Return until when a grant may be recorded."""
    return START_MS + (2 if late else 100) * MINUTE_MS


def real(op: Op, sender: str) -> Operation:
    """Return the ledger's form of an operation."""
    match op:
        case ("anchor", int(number), str(schema), int(expires)):
            return make_anchor(
                number, schema=schema, expires_ms=START_MS + expires * MINUTE_MS if expires else None
            )
        case ("revoke", int(number)):
            return RevokeDocument(hash_of(f"document {number}"), "error")
        case ("revoke_anchor", int(number)):
            return RevokeAnchor(make_anchor(number).root, "fraud")
        case ("grant", str(holder), str(terms), int(late)):
            return grant_of(holder, terms, late)
        case ("withdraw", str(holder), str(terms), int(late)):
            return make_withdrawal(grant_of(holder, terms, late), holder)
        case ("close", str(holder), str(terms), int(late)):
            return make_closing(grant_of(holder, terms, late))
        case ("record", str(holder), str(terms), int(late), int(slot), str(outcome)):
            return make_record(grant_of(holder, terms, late), slot, outcome)
        case ("rotate", int(sequence), str(how)):
            wrong = key_of("not committed to") if how == "key" else None
            return make_rotation(sender if sender in SIDES else "auditor", sequence, key=wrong)
    raise AssertionError(op)


class No(Exception):
    """The model refuses, with this code."""


Agreed: TypeAlias = dict[str, object]


@dataclass(slots=True)
class Model:
    """What the ledger should hold."""

    anchors: dict[tuple[str, int], str] = field(default_factory=dict)
    revocations: set[tuple[str, int]] = field(default_factory=set)
    consents: dict[ConsentName, Agreed] = field(default_factory=dict)
    records: dict[tuple[ConsentName, int], tuple[str, str]] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SIDES, 0))

    def require(self, member: str, role: str | None) -> None:
        if member not in SIDES:
            raise No("unregistered")
        if role is not None and role not in ROLES[member]:
            raise No("forbidden-role")
        if member == SUSPENDED:
            raise No("suspended")

    def apply(self, op: Op, sender: str, now: int) -> bool:
        """Apply an operation; say whether it changed anything. Raises No."""
        match op:
            case ("anchor", int(number), str(schema), int(expires)):
                self.require(sender, "issuer")
                if schema not in SCHEMAS:
                    raise No("unknown-schema")
                if (sender, number) in self.anchors:
                    raise No("already-recorded")
                if schema == MAINLAND_REPORT and sender != SUSPENDED:
                    raise No("issuer-not-listed")
                if expires and START_MS + expires * MINUTE_MS <= now:
                    raise No("expired")
                self.anchors[sender, number] = "good"
            case ("revoke", int(number)):
                self.require(sender, "issuer")
                if (sender, number) in self.revocations:
                    raise No("already-recorded")
                self.revocations.add((sender, number))
            case ("revoke_anchor", int(number)):
                self.require(sender, "issuer")
                if (sender, number) not in self.anchors:
                    raise No("unknown-anchor")
                if self.anchors[sender, number] == "revoked":
                    raise No("already-recorded")
                self.anchors[sender, number] = "revoked"
            case ("grant", str(holder), str(terms), int(late)):
                return self.grant((holder, terms, late), now)
            case ("withdraw", str(holder), str(terms), int(late)):
                consent = self.consents.setdefault(
                    (holder, terms, late), {"granted": False, "ended": None, "used": 0}
                )
                if consent["ended"] is not None:
                    return False
                consent["ended"] = "holder"
            case ("close", str(holder), str(terms), int(late)):
                self.close((holder, terms, late), sender)
            case ("record", str(holder), str(terms), int(late), int(slot), str(outcome)):
                self.record((holder, terms, late), sender, slot, outcome, now)
            case ("rotate", int(sequence), str(how)):
                self.require(sender, None)
                if sequence == self.keys[sender] and how == "":
                    raise No("already-recorded")
                if sequence != self.keys[sender] + 1:
                    raise No("wrong-sequence")
                if how == "key":
                    raise No("unexpected-key")
                self.keys[sender] = sequence
        return True

    def grant(self, name: ConsentName, now: int) -> bool:
        _, terms_name, late = name
        known = self.consents.get(name)
        if known is not None and known["granted"]:
            return False
        if known is not None:
            raise No("withdrawn")
        terms = make_terms(**TERMS[terms_name])
        if now > deadline_ms(late):
            raise No("expired")
        starts = max(now, terms.from_ms)
        if not starts < terms.until_ms <= starts + 366 * DAY_MS:
            raise No("consent-period")
        self.require(terms.recipient, "recipient")
        if terms.purpose not in (LOAN, "corporate.account"):
            raise No("unknown-purpose")
        if terms.purpose != LOAN or terms.notice_version != hash_of("notice"):
            raise No("unknown-notice")
        crosses = any(source != SIDES[terms.recipient] for source in terms.sources)
        if bool(terms.flags & 4) != crosses:
            raise No("direction")
        self.consents[name] = {"granted": True, "ended": None, "used": 0}
        return True

    def own_consent(self, name: ConsentName, sender: str) -> Agreed:
        consent = self.consents.get(name)
        if consent is None or not consent["granted"]:
            raise No("unknown-consent")
        if make_terms(**TERMS[name[1]]).recipient != sender:
            raise No("forbidden")
        return consent

    def close(self, name: ConsentName, sender: str) -> None:
        consent = self.own_consent(name, sender)
        if consent["ended"] is not None:
            raise No("already-recorded")
        consent["ended"] = "recipient"

    def record(self, name: ConsentName, sender: str, slot: int, outcome: str, now: int) -> None:
        self.require(sender, "recipient")
        if self.records.get((name, slot)) == (sender, outcome):
            raise No("already-recorded")
        consent = self.own_consent(name, sender)
        terms = make_terms(**TERMS[name[1]])
        if consent["ended"] is not None:
            raise No("consent-ended")
        if not terms.from_ms <= now <= terms.until_ms:
            raise No("consent-period")
        if consent["used"] == terms.uses:
            raise No("consent-used-up")
        if slot != consent["used"]:
            raise No("wrong-slot")
        consent["used"] = slot + 1
        self.records[name, slot] = (sender, outcome)


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction as a member sends it: which of its keys signs, until when it is valid, on which chain."""

    sender: str
    ops: tuple[Op, ...]
    key_lag: int = 0
    valid_for_min: int = 10
    is_foreign: bool = False

    def signed(self, keys: dict[str, int], now: int) -> Transaction:
        sequence = keys.get(self.sender, 0) - self.key_lag
        key: PrivateKey = member_key_of(self.sender, sequence) if sequence >= 0 else key_of("a thief")
        operations = [real(op, self.sender) for op in self.ops]
        until = max(0, now + self.valid_for_min * MINUTE_MS)
        changes = {"chain_id": bytes(32)} if self.is_foreign else {}
        return make_transaction(self.sender, *operations, valid_until_ms=until, key=key, **changes)

    def judged(self, model: Model, parent_keys: dict[str, int], transaction: Transaction, now: int) -> Model:
        """Return the model after this transaction. Raises No; the model itself never changes."""
        if self.is_foreign:
            raise No("wrong-chain")
        if self.sender not in SIDES:
            raise No("unregistered")
        match self.ops:
            case (("rotate", int(sequence), ""),) if sequence == parent_keys[self.sender]:
                # The latest rotation alone is recorded already, whichever key it is signed with by then.
                raise No("already-recorded")
        if transaction not in self.good_under(parent_keys, transaction):
            raise No("signature")
        if transaction.body.valid_until_ms < now:
            raise No("expired")
        if transaction.body.valid_until_ms > now + HORIZON_MS:
            raise No("beyond-horizon")
        after = copy.deepcopy(model)
        changed = [after.apply(op, self.sender, now) for op in self.ops]
        if not any(changed):
            raise No("no-change")
        return after

    def good_under(self, keys: dict[str, int], transaction: Transaction) -> tuple[Transaction, ...]:
        """Return the transaction where the key of the parent's state signs exactly this."""
        again = Transaction.sign(transaction.body, member_key_of(self.sender, keys[self.sender]))
        return (transaction,) if again.encoded == transaction.encoded else ()


# -- what is sent -------------------------------------------------------------------------------------------

numbers = st.integers(1, 2)
consents = st.tuples(st.sampled_from(sorted(TERMS)), st.integers(0, 1))
likely = st.tuples(st.sampled_from(["good", "good", "one use", "brief"]), st.just(0))


def holders_ops(holder: str) -> st.SearchStrategy[tuple[Op, ...]]:
    """Return what one holder may have relayed at once."""
    one = st.builds(
        lambda kind, what: (kind, holder, *what),
        st.sampled_from(["grant", "grant", "withdraw"]),
        likely | likely | likely | consents,
    )
    return st.lists(one, min_size=1, max_size=3).map(tuple)


own_op: st.SearchStrategy[Op] = st.one_of(
    st.tuples(
        st.just("anchor"), numbers, st.sampled_from((*SCHEMAS, "xx.unknown")), st.sampled_from([0, 0, 1, 9])
    ),
    st.tuples(st.just("revoke"), numbers),
    st.tuples(st.just("revoke_anchor"), numbers),
    st.builds(lambda holder, what: ("close", holder, *what), st.sampled_from(HOLDERS), likely),
    st.builds(
        lambda holder, what, slot, outcome: ("record", holder, *what, slot, outcome),
        st.sampled_from(HOLDERS),
        likely,
        st.integers(0, 2),
        st.sampled_from(["verified", "declined"]),
    ),
    st.tuples(st.just("rotate"), st.integers(1, 2), st.sampled_from(["", "", "key"])),
)
# Members that may do something are drawn more often than those that may not.
senders = st.sampled_from((*SENDERS, "hk-bureau", "hk-bureau", "mainland-bank", "mainland-bank"))
sent = st.builds(
    Sent,
    senders,
    st.one_of(st.lists(own_op, min_size=1, max_size=3).map(tuple), *map(holders_ops, HOLDERS)),
    key_lag=st.sampled_from([0] * 9 + [1]),
    valid_for_min=st.sampled_from([10] * 9 + [-1, 61]),
    is_foreign=st.sampled_from([False] * 19 + [True]),
)
blocks = st.lists(
    st.tuples(st.sampled_from([1, 1, 1, 2, 30]), st.lists(sent, min_size=2, max_size=8), st.booleans()),
    min_size=2,
    max_size=6,
)


def test_the_model_sends_the_operations_that_it_says() -> None:
    found: set[type[Operation]] = set()

    @settings(max_examples=300, derandomize=True, database=None, phases=[Phase.generate])
    @given(sent)
    def collect(each: Sent) -> None:
        found.update(type(real(op, each.sender)) for op in each.ops)

    collect()
    assert found == SENDS


# -- the ledger beside the model -------------------------------------------------------------------------------


def start() -> tuple[Ledger, dict[bytes, bytes]]:
    """Return a chain whose mainland bureau is suspended, and every leaf of its state."""
    ledger = Ledger.start()
    leaves = dict(genesis_block(make_content()).overlay.values)
    record = find(ledger.tip.state, Member, member_key(SUSPENDED))
    assert record is not None
    key, value = member_key(SUSPENDED), pack(replace(record, suspensions=(Suspension(0, 0, None),)))
    tip = ledger.tip
    tree = update(tip.state, tip.header.state_root, [(key, value_hash(value))])
    encoded_header = replace(tip.encoded_header, header=replace(tip.header, state_root=tree.root))
    ledger.tip = replace(
        tip, encoded_header=encoded_header, state=Overlay({key: value}, tree.pages, tip.state)
    )
    leaves[key] = value
    return ledger, leaves


def rebuilt_root(leaves: dict[bytes, bytes]) -> bytes:
    """Return the state root as docs/formats.md defines it, from all leaves at once."""
    hashed = {
        key: sha256(b"\x21" + key + sha256(b"\x23" + value).digest()).digest()
        for key, value in leaves.items()
    }

    def node(keys: list[bytes], depth: int) -> bytes:
        if not keys:
            return sha256(b"\x20").digest()
        if len(keys) == 1:
            return hashed[keys[0]]
        sides: tuple[list[bytes], list[bytes]] = ([], [])
        for key in keys:
            sides[key[depth // 8] >> (7 - depth % 8) & 1].append(key)
        return sha256(b"\x22" + node(sides[0], depth + 1) + node(sides[1], depth + 1)).digest()

    return node(sorted(leaves), 0)


def counts_of(leaves: dict[bytes, bytes]) -> dict[str, int]:
    """Return how many leaves of each kind a state holds; the tag is an encoded string after the array's head."""
    found: dict[str, int] = {}
    for value in leaves.values():
        size = value[1] & 31
        tag = value[2 : 2 + size].decode()
        found[tag] = found.get(tag, 0) + 1
    return found


def check_same(ledger: Ledger, leaves: dict[bytes, bytes], model: Model) -> None:
    """Check that the ledger holds what the model holds, record by record and not one more."""
    state = ledger.tip.state
    for (issuer, number), standing in model.anchors.items():
        anchor = find(state, Anchor, anchor_key(issuer, make_anchor(number).root))
        assert anchor is not None and (anchor.revoked is not None) == (standing == "revoked")
    for issuer, number in model.revocations:
        assert find(state, Revocation, revocation_key(issuer, hash_of(f"document {number}"))) is not None
    for name, expected in model.consents.items():
        grant = grant_of(*name)
        consent = find(state, Consent, consent_key(grant.decoded().consent_key, grant.consent_id))
        assert consent is not None
        ended = None if consent.ended is None else consent.ended.by
        found = {"granted": consent.granted is not None, "ended": ended, "used": consent.used}
        assert found == expected
    for (name, slot), (sender, outcome) in model.records.items():
        grant = grant_of(*name)
        key = verification_key(grant.decoded().consent_key, grant.consent_id, slot)
        record = find(state, Verification, key)
        assert record is not None and (record.recipient, record.outcome) == (sender, outcome)
    for member, sequence in model.keys.items():
        held = find(state, Member, member_key(member))
        assert held is not None and (held.key_sequence, held.version) == (sequence, 0)
        assert held.key == member_key_of(member, sequence).public
    counts = counts_of(leaves)
    expected_counts = (len(model.anchors), len(model.revocations), len(model.consents), len(model.records))
    kinds = ("anchor", "revocation", "consent", "verification")
    assert tuple(counts.get(kind, 0) for kind in kinds) == expected_counts


@settings(max_examples=60, deadline=None)
@given(blocks)
def test_the_transition_is_the_model(story: list[tuple[int, list[Sent], bool]]) -> None:
    ledger, leaves = start()
    model = Model()
    recorded: list[tuple[Sent, Transaction]] = []
    for minutes, listed, replays in story:
        now = ledger.tip.header.time_ms + minutes * MINUTE_MS
        parent_keys = dict(model.keys)
        chosen = [(each, each.signed(parent_keys, now)) for each in listed]
        if replays:
            # Everything that was ever recorded comes again: each is refused or changes nothing.
            chosen += recorded
        refusals: list[str] = []
        taken: list[Transaction] = []
        for each, transaction in chosen:
            try:
                model = each.judged(model, parent_keys, transaction, now)
            except No as refusal:
                refusals.append(str(refusal))
                continue
            assert (each, transaction) not in recorded, "a replay is refused"
            taken.append(transaction)
            recorded.append((each, transaction))
        executed, refused = ledger.build(*(transaction for _, transaction in chosen), now_ms=now)
        assert [error.code for _, error in refused] == refusals
        assert executed.block.transactions == tuple(taken)
        for code in refusals:
            event(code)
        before = ledger.tip.header.state_root
        ledger.tip = executed.tip()
        leaves.update(executed.overlay.values)
        assert taken or executed.block.header.state_root == before, "refusals alone change nothing"
        assert executed.block.header.state_root == rebuilt_root(leaves)
        check_same(ledger, leaves, model)
