"""Two banks, one resident, two copies: what each party sees, field by field, and that nothing in it joins the two.

A value that both copies show joins them only if it says more than that they are from this bureau, of this kind and
day: if another resident's copy does not show it too. So beside the resident there is a stranger, who asks the same
banks on the same day, and the question is always: could bank B tell the resident's copy from the stranger's?
"""

import asyncio
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from itertools import combinations
from pathlib import Path
from typing import Final

import pytest

from ledger.commitments import DAY_MS, Metadata, Opening
from ledger.consents import ConsentFile
from ledger.encoding.keys import PublicKey
from ledger.encoding.records import pack, unpack
from ledger.proofs import EvidenceRequest, Proof
from ledger.requests import Request
from ledger.rules.blocks import EncodedHeader
from ledger.rules.operations import Grant, Operation, RecordVerification, Withdraw
from ledger.rules.state import CROSS_BORDER, SEPARATE_CONSENT, Anchor, Consent, Member
from ledger.trees.merkle import Content, content_root
from ledger.trust import TrustedRoot
from ledger.verifier import Verifier
from node.api.service import Submission
from node.client.client import Client
from node.client.holder import grant, make_consent, present, refresh
from node.client.issuing.draft import Draft, draft_of_bytes
from node.client.issuing.outbox import Outbox
from node.client.issuing.register import Register
from node.client.ledgerclient import LedgerClient
from node.client.nodes import Nodes
from node.client.recipient import fresh_nonce, record_verification
from node.client.wallet import COST_EXPONENT_MIN, Wallet
from node.files.keyfiles import Passphrase
from tests.support.asking import request_with
from tests.support.consortium import (
    CHAIN_ID,
    REPORT,
    START_MS,
    hash_of,
    key_of,
    make_genesis,
    member_key_of,
)
from tests.support.memory_node import MemoryNode, serve

ISSUER: Final = "hk-bureau"
SMALL: Final = 10_000
BANKS: Final = ("mainland-bank", "hk-bank")
TRUST: Final = TrustedRoot(1, make_genesis(), ())
SIZE: Final = 4_096
CROWD: Final = 60

# Places in trees. State keys and leaves are hashes of fresh random values, and leaves are shuffled as well, so
# where a copy stands is chance; what shows that leaves are, is below.
PLACES: Final = {"siblings", "bitmap", "depth", "other"}

SHAPES: Final[dict[str, type]] = {
    "opening.metadata": Metadata,
    "evidence.anchor.value": Anchor,
    "evidence.issuer.value": Member,
    "evidence.consent.recipient.value": Member,
    "evidence.consent.consent.value": Consent,
}


class WatchedNode(MemoryNode):
    """A node whose operator writes down everything that clients send."""

    def __init__(self) -> None:
        super().__init__()
        self.relayed: list[bytes] = []

    async def relay(self, operations: Sequence[bytes], *, wait_ms: int) -> Submission:
        self.relayed += operations
        return await super().relay(operations, wait_ms=wait_ms)


@dataclass(slots=True)
class Copy:
    """A resident's copy for one bank: what the bank holds, what the chain holds, what the node was sent."""

    request: Request
    consent: ConsentFile
    presented: Proof
    asked: EvidenceRequest
    on_chain: list[Operation] = field(default_factory=list)

    def bank_sees(self) -> dict[str, object]:
        """Return every field of the proof that the bank was handed."""
        return dict(walk("", self.presented))

    def chain_shows(self) -> dict[str, object]:
        """Return every field of the operations about this copy."""
        return {
            f"{operation.TAG}.{path}": value
            for operation in self.on_chain
            for path, value in walk("", operation.decoded() if isinstance(operation, Grant) else operation)
        }

    def node_sees(self) -> dict[str, object]:
        """Return every field of what was sent to the node."""
        relayed = dict(walk("grant", self.consent.grant.decoded()))
        return {**dict(walk("evidence_request", self.asked)), **relayed}


def walk(path: str, value: object) -> Iterator[tuple[str, object]]:
    """Yield each field of a record with its value, decoding what is encoded inside."""
    if path in SHAPES and isinstance(value, bytes):
        value = unpack(SHAPES[path], value)
    if path.endswith("header") and isinstance(value, bytes):
        value = EncodedHeader.decode(value).header
    if is_dataclass(value):
        for each in fields(value):
            if each.name not in PLACES:
                yield from walk(f"{path}.{each.name}".lstrip("."), getattr(value, each.name))
    elif isinstance(value, tuple):
        for number, item in enumerate(value):
            yield from walk(f"{path}.{number}", item)
    elif value is not None:
        yield path, value


def joins(one: dict[str, object], other: dict[str, object], stranger: dict[str, object]) -> set[str]:
    """Return the fields of `other` that tie it to `one`, and would not tie the stranger's to it."""
    known, theirs = ({_trace(*field) for field in seen.items()} for seen in (one, stranger))
    traces = {path: _trace(path, value) for path, value in other.items()}
    return {path for path, trace in traces.items() if trace in known and trace not in theirs}


def _trace(path: str, value: object) -> str:
    """Return what a field is recognised by: a small number in its own field alone, where 3 is a height or a place."""
    is_small = isinstance(value, int) and value < SMALL
    return f"{path}: {value}" if is_small else repr(value)


def paper(name: str) -> bytes:
    """Return a report as a careful bureau makes it: with a mark of its own, and filled up to a common size."""
    return (f"SAMPLE report of {name} ".encode() + secrets.token_hex(16).encode()).ljust(SIZE)


def make_request(bank: str, now_ms: int) -> Request:
    return request_with(
        nonce=fresh_nonce(),
        recipient=bank,
        flags=SEPARATE_CONSENT | (CROSS_BORDER if bank == BANKS[0] else 0),
        until_ms=now_ms - now_ms % DAY_MS + 30 * DAY_MS,
        answer_by_ms=now_ms + DAY_MS,
        pin=TRUST.newest_pin(now_ms),
    )


@dataclass(slots=True)
class Town:
    """A node, a bureau, a resident and a stranger with a wallet each, and a crowd."""

    node: WatchedNode
    copies: dict[tuple[str, str], Copy]


async def live(folder: Path, node: WatchedNode) -> Town:
    """Play the story for two residents at two banks, all on one day, in one batch with a crowd."""
    passphrase = Passphrase.from_text("a wallet's passphrase")
    copies: dict[tuple[str, str], Copy] = {}
    people = ("resident", "stranger")
    wallets = {
        name: Wallet.create(folder / name, passphrase, cost_exponent=COST_EXPONENT_MIN) for name in people
    }
    papers = {(name, bank): paper(name) for name in people for bank in BANKS}
    drafts = [
        draft(document, wallets[name].derive_holder_key(), reference=f"{name} for {bank}")
        for (name, bank), document in papers.items()
    ]
    drafts += [draft(paper(f"{n}"), key_of(f"crowd {n}").public, reference=f"{n}") for n in range(CROWD)]
    with Register.open(folder / "issued.sqlite", chain_id=CHAIN_ID, issuer=ISSUER) as register:
        async with serve(node) as url, Client.connect(url) as client:
            register.collect(drafts, now_ms=node.clock.now_ms)
            outbox = Outbox(
                register, Nodes([client]), key=member_key_of(ISSUER), trust=TRUST, clock=node.clock
            )
            await outbox.settle()
            proofs = {key: await outbox.prove(register.require(f"{key[0]} for {key[1]}")) for key in papers}
            ledger, consents = LedgerClient(Nodes([client]), TRUST, node.clock.wall_ms), {}
            for name, bank in papers:
                request = make_request(bank, node.clock.now_ms)
                consent = await make_consent(ledger, request, wallets[name], now_ms=node.clock.now_ms)
                await grant(ledger, consent)
                consents[name, bank] = consent
            for key, consent in consents.items():
                refreshed = (await refresh(ledger, proofs[key], consent)).value
                asked = node.requests[-1]
                assert isinstance(asked, EvidenceRequest)
                shown = present(refreshed, consent.request, consent, wallets[key[0]])
                copies[key] = Copy(consent.request, consent, shown, asked)
            for (_, bank), copy in copies.items():
                await record_verification(
                    ledger,
                    copy.presented,
                    member=bank,
                    key=member_key_of(bank),
                    outcome="verified",
                    now_ms=node.clock.now_ms,
                )
    for wallet in wallets.values():
        wallet.close()
    for key, copy in copies.items():
        verdict = Verifier(TRUST).verify(
            papers[key], copy.presented.encode(), request=copy.request, now_ms=node.clock.now_ms
        )
        assert verdict.consent.recipient == key[1]
        copy.on_chain = [each for each in operations_of(node) if is_about(each, copy)]
    return Town(node, copies)


def draft(document: bytes, holder: PublicKey, *, reference: str) -> Draft:
    return draft_of_bytes(
        document, media_type="application/pdf", schema=REPORT, holder_key=holder, reference=reference
    )


def operations_of(node: MemoryNode) -> list[Operation]:
    return [
        operation
        for executed in node.ledger.blocks
        for transaction in executed.block.transactions
        for operation in transaction.body.operations
    ]


def is_about(operation: Operation, copy: Copy) -> bool:
    match operation:
        case Grant():
            return operation.consent_id == copy.consent.consent_id
        case RecordVerification() | Withdraw():
            return operation.consent_id == copy.consent.consent_id  # type: ignore[union-attr]
    return False


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    return asyncio.run(live(tmp_path_factory.mktemp("town"), WatchedNode()))


# -- what each party sees ------------------------------------------------------------------------------------

TERMS: Final = [
    "recipient",
    "purpose",
    "sources.0",
    "flags",
    "notice_version",
    "terms_commitment",
    "from_ms",
    "until_ms",
    "uses",
]
GRANT: Final = [
    "chain_id",
    "nonce",
    "submit_by_ms",
    "consent_key.algorithm",
    "consent_key.data",
    *(f"terms.{name}" for name in TERMS),
]
CHAIN_SHOWS: Final = {
    *(f"grant.{name}" for name in GRANT),
    *(
        f"record_verification.{name}"
        for name in (
            "consent_key.algorithm",
            "consent_key.data",
            "consent_id",
            "slot",
            "use_tag",
            "outcome",
        )
    ),
}
NODE_SEES: Final = {
    *(f"grant.{name}" for name in GRANT),
    *(
        f"evidence_request.{name}"
        for name in (
            "issuer",
            "root",
            "commitment",
            "consent_key.algorithm",
            "consent_key.data",
            "consent_id",
            "from_epoch",
        )
    ),
}
HEADER: Final = [
    "version",
    "suite",
    "chain_id",
    "epoch",
    "view",
    "height",
    "time_ms",
    "parent_hash",
    "transactions_root",
    "state_root",
    "history_root",
    "validators_hash",
    "proposer",
]
MEMBER: Final = [
    "id",
    "name_zh_hans",
    "name_zh_hant",
    "name_en",
    "jurisdiction",
    "roles.0",
    "key.algorithm",
    "key.data",
    "key_sequence",
    "next_key",
    "version",
]
PROOF_OF_A_COPY: Final = {
    "opening.size",
    "opening.media_type",
    "opening.content_root",
    "opening.salt",
    "opening.metadata.issuer",
    "opening.metadata.schema",
    "opening.metadata.holder_key.algorithm",
    "opening.metadata.holder_key.data",
    "opening.metadata.issued_ms",
    "batch.leaf_count",
    "batch.path.index",
    "presentation.item",
    "presentation.list_size",
    "presentation.path.index",
    "presentation.terms_salt",
    "presentation.consent_key.algorithm",
    "presentation.consent_key.data",
    "presentation.consent_id",
    "presentation.nonce",
    "presentation.holder_signature",
    "presentation.consent_signature",
}


def test_the_chain_shows_of_a_copy_its_grant_and_its_verification_and_no_document(town: Town) -> None:
    for copy in town.copies.values():
        assert set(copy.chain_shows()) == CHAIN_SHOWS
    anchors = [each for each in operations_of(town.node) if each.TAG == "anchor"]
    assert len(anchors) == 1
    assert [each.name for each in fields(anchors[0])] == ["root", "leaf_count", "schema", "expires_ms"]
    whole = b"".join(t.encoded for e in town.node.ledger.blocks for t in e.block.transactions)
    for copy in town.copies.values():
        opening = copy.presented.opening
        holder = opening.decoded_metadata().holder_key
        assert holder is not None
        for hidden in (opening.commitment(), opening.salt, opening.content_root, holder.data):
            assert hidden not in whole


def test_the_node_learns_which_commitment_goes_with_which_consent_and_no_opening(town: Town) -> None:
    for copy in town.copies.values():
        assert set(copy.node_sees()) == NODE_SEES
        sent = pack(copy.asked) + b"".join(town.node.relayed)
        opening = copy.presented.opening
        for hidden in (opening.salt, opening.content_root, opening.metadata):
            assert hidden not in sent


def test_a_bank_sees_the_opening_the_public_records_and_the_presentation(town: Town) -> None:
    for copy in town.copies.values():
        own = {
            path for path in copy.bank_sees() if path.split(".")[0] in ("opening", "batch", "presentation")
        }
        assert own == PROOF_OF_A_COPY
        header = {path for path in copy.bank_sees() if path.startswith("evidence.header.")}
        assert header == {f"evidence.header.{name}" for name in HEADER}
        recipient = {path for path in copy.bank_sees() if path.startswith("evidence.consent.recipient.value")}
        shown = {f"evidence.consent.recipient.value.{name}" for name in MEMBER}
        assert shown <= recipient and all("roles" in path for path in recipient - shown)


# -- that nothing joins --------------------------------------------------------------------------------------


@pytest.mark.parametrize("party", ["bank_sees", "chain_shows", "node_sees"])
@pytest.mark.parametrize(("here", "there"), [BANKS, BANKS[::-1]])
def test_nothing_tells_the_residents_other_copy_from_a_strangers(
    party: str, here: str, there: str, town: Town
) -> None:
    see = {key: getattr(copy, party)() for key, copy in town.copies.items()}
    assert joins(see["resident", here], see["resident", there], see["stranger", there]) == set()


def test_both_banks_and_the_chain_and_the_node_together_join_nothing(town: Town) -> None:
    def everything(key: tuple[str, str]) -> dict[str, object]:
        copy = town.copies[key]
        views = {"bank": copy.bank_sees(), "chain": copy.chain_shows(), "node": copy.node_sees()}
        return {f"{name}: {path}": value for name, view in views.items() for path, value in view.items()}

    seen = {key: everything(key) for key in town.copies}
    for here, there in (BANKS, BANKS[::-1]):
        assert joins(seen["resident", here], seen["resident", there], seen["stranger", there]) == set()


def test_what_two_copies_share_is_public_or_everybodys_of_that_day(town: Town) -> None:
    one, other = (town.copies["resident", bank].bank_sees() for bank in BANKS)
    shared = {path for path in one if path in other and one[path] == other[path]}
    own = {path for path in shared if path.split(".")[0] in ("opening", "batch", "presentation")}
    assert own == {
        "opening.size",
        "opening.media_type",
        "opening.metadata.issuer",
        "opening.metadata.schema",
        "opening.metadata.holder_key.algorithm",
        "opening.metadata.issued_ms",
        "batch.leaf_count",
        "presentation.item",
        "presentation.list_size",
        "presentation.path.index",
        "presentation.consent_key.algorithm",
    }
    consents = {path.split(".value.")[-1] for path in shared if path.startswith("evidence.consent.consent")}
    assert consents == {
        "consent_key.algorithm",
        "granted.terms.purpose",
        "granted.terms.sources.0",
        "granted.terms.notice_version",
        "granted.terms.from_ms",
        "granted.terms.until_ms",
        "granted.terms.uses",
        "used",
    }


# -- that the search would notice ----------------------------------------------------------------------------


def opening_with(
    document: bytes,
    holder: str,
    *,
    issued_ms: int = START_MS - START_MS % DAY_MS,
    expires_ms: int | None = None,
    salt: bytes | None = None,
) -> dict[str, object]:
    content = Content(*content_root((document,)))
    metadata = Metadata(ISSUER, REPORT, key_of(holder).public, issued_ms, expires_ms)
    salt = salt or secrets.token_bytes(32)
    return dict(walk("opening", Opening("application/pdf", content.size, content.root, salt, pack(metadata))))


SAME: Final = b"the very same bytes".ljust(SIZE)
SALT: Final = hash_of("a salt used twice")
CARELESS: Final[dict[str, tuple[dict[str, object], dict[str, object], set[str]]]] = {
    "identical bytes": (opening_with(SAME, "a"), opening_with(SAME, "b"), {"opening.content_root"}),
    "a size of its own": (
        opening_with(paper("x") + b"12345", "a"),
        opening_with(paper("x") + b"54321", "b"),
        {"opening.size"},
    ),
    "one holder key": (
        opening_with(paper("x"), "a"),
        opening_with(paper("x"), "a"),
        {"opening.metadata.holder_key.data"},
    ),
    "the moment of issue": (
        opening_with(paper("x"), "a", issued_ms=START_MS + 12_345),
        opening_with(paper("x"), "b", issued_ms=START_MS + 12_345),
        {"opening.metadata.issued_ms"},
    ),
    "an expiry of its own": (
        opening_with(paper("x"), "a", expires_ms=START_MS + 12_345),
        opening_with(paper("x"), "b", expires_ms=START_MS + 12_345),
        {"opening.metadata.expires_ms"},
    ),
    "one salt": (
        opening_with(paper("x"), "a", salt=SALT),
        opening_with(paper("x"), "b", salt=SALT),
        {"opening.salt"},
    ),
}


@pytest.mark.parametrize("case", CARELESS)
def test_a_careless_bureau_or_wallet_is_noticed(case: str) -> None:
    one, other, expected = CARELESS[case]
    assert joins(one, other, opening_with(paper("stranger"), "stranger")) == expected


def test_a_consent_key_used_twice_is_noticed(town: Town) -> None:
    one, other, stranger = (
        town.copies[key].chain_shows()
        for key in (("resident", BANKS[0]), ("resident", BANKS[1]), ("stranger", BANKS[1]))
    )
    other["grant.consent_key.data"] = one["grant.consent_key.data"]
    assert joins(one, other, stranger) == {"grant.consent_key.data"}


# -- places --------------------------------------------------------------------------------------------------


def shared_levels(one: int, other: int) -> int:
    """Return at which level two leaves come together: 1 where each is the other's sibling."""
    return (one ^ other).bit_length()


def siblings_count(leaves: list[int]) -> int:
    """Return how many residents, with copies issued one after the other, have them side by side."""
    pairs = zip(leaves[::2], leaves[1::2], strict=True)
    return sum(shared_levels(one, other) == 1 for one, other in pairs)


def test_copies_issued_together_are_not_side_by_side_in_their_batch(tmp_path: Path) -> None:
    residents = 500
    drafts = [draft(b"%d" % n, key_of("crowd").public, reference=f"{n}") for n in range(2 * residents)]
    with Register.open(tmp_path / "issued.sqlite", chain_id=CHAIN_ID, issuer=ISSUER) as register:
        issued = register.collect(drafts, now_ms=START_MS)
        register.form_batches(2 * residents)
        leaves = [leaf for each in issued if (leaf := register.document(each.id).leaf) is not None]
    assert siblings_count(list(range(2 * residents))) == residents, "without shuffling every bank could tell"
    # One sibling among 999 others: 0.5 pairs expected, nine or more once in a hundred million runs.
    assert siblings_count(leaves) < 9


def test_a_path_names_its_neighbours_by_hash_and_says_of_whom_to_nobody(town: Town) -> None:
    for one, other in combinations(town.copies.values(), 2):
        path = one.presented.batch.path
        assert path.index != other.presented.batch.path.index
        opened = {other.presented.opening.commitment(), other.presented.opening.content_root}
        assert not opened & set(path.siblings), "siblings are hashes of hashes: no commitment stands there"


def test_proven_leaves_are_public_records_but_for_the_consent(town: Town) -> None:
    anchors = {copy.presented.evidence.anchor for copy in town.copies.values()}
    issuers = {copy.presented.evidence.issuer for copy in town.copies.values()}
    assert len(anchors) == len(issuers) == 1
