"""An office with every kind of file that a command reads, and a node that answers: what tests of readers start from.

The node is the one in memory, served from a thread of its own; homes and manifest belong to a development network.
"""

import asyncio
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cli.times import show_time
from ledger.chain.overlays import Overlay
from ledger.commitments import Metadata, Opening
from ledger.consents import ConsentFile, grant_consent
from ledger.encoding.keys import PrivateKey, PublicKey
from ledger.encoding.records import pack
from ledger.presentation import Place
from ledger.proofs import BatchPath, EvidenceRequest, Proof
from ledger.requests import Request
from ledger.rules.operations import AnchorBatch
from ledger.rules.state import (
    Leaf,
    Member,
    Purpose,
    Suspension,
    find,
    member_key,
)
from ledger.trees.merkle import Tree, content_root
from ledger.trees.statepages import update
from ledger.trees.statetree import value_hash
from ledger.trust import TrustedRoot, trusted_root_to_json
from node.client.wallet import COST_EXPONENT_MIN, Wallet
from node.consent.receipts import require_notice_for
from node.consent.scenarios import load_scenarios, scenarios_directory
from node.consent.textbundle import Notice
from node.consent.textfolder import sample_texts
from node.files.keyfiles import Passphrase, create_key_file
from node.home.consortium import new_network
from node.home.home import format_genesis
from tests.support.asking import BASIS, present_list, request_with
from tests.support.consortium import (
    LOAN,
    REPORT,
    START_MS,
    hash_of,
    key_of,
    make_genesis,
    make_transaction,
)
from tests.support.governors import put
from tests.support.memory_node import MemoryNode, serve

PASSPHRASE = "correct horse"
ISSUER, BANK, RELAY = "hk-bureau", "mainland-bank", "hk-operator"
DAY_MS = 86_400_000
DOCUMENT = b"%PDF-1.7 SAMPLE of a person who does not exist\n"


@contextmanager
def served(node: MemoryNode) -> Iterator[str]:
    """Serve a node from a thread of its own, for commands, which run a loop of their own; yield its URL."""
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stopping = asyncio.Event()
    urls: list[str] = []

    async def live() -> None:
        async with serve(node) as url:
            urls.append(url)
            ready.set()
            await stopping.wait()
        await loop.shutdown_default_executor()

    thread = threading.Thread(target=loop.run_until_complete, args=(live(),))
    thread.start()
    try:
        assert ready.wait(10)
        yield urls[0]
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(10)
        loop.close()


@dataclass(slots=True)
class Office:
    """A node, and a folder with document, proof, request, consent, wallet, key, trust, genesis and homes."""

    node: MemoryNode
    url: str
    folder: Path
    holder: PublicKey
    consent_key: PrivateKey
    request: Request
    consent: ConsentFile
    proof: Proof

    @property
    def now_ms(self) -> int:
        return self.node.clock.now_ms

    @property
    def at(self) -> str:
        """The node's time as commands take it."""
        return show_time(self.now_ms).replace(" UTC+8", "")

    def path(self, name: str) -> Path:
        return self.folder / name

    def snapshot(self) -> dict[str, tuple[int, bytes]]:
        """Return everything that lies in the folder: names, modes and contents."""
        return {
            str(path.relative_to(self.folder)): (path.stat().st_mode, _content(path))
            for path in sorted(self.folder.rglob("*"))
        }

    def put(self, leaf: Leaf) -> None:
        """Put a leaf into the node's state, as governance would, and make a block over it."""
        ledger, value = self.node.ledger, pack(leaf)
        tip, key = ledger.tip, leaf.state_key()
        tree = update(tip.state, tip.header.state_root, [(key, value_hash(value))])
        encoded_header = replace(tip.encoded_header, header=replace(tip.header, state_root=tree.root))
        ledger.tip = replace(
            tip, encoded_header=encoded_header, state=Overlay({key: value}, tree.pages, tip.state)
        )
        self.node.extend()

    def suspend(self, member: str) -> None:
        """Suspend a member from the next height on; what it did before stays good."""
        record = find(self.node.ledger.tip.state, Member, member_key(member))
        assert record is not None
        height = self.node.ledger.tip.header.height + 1
        self.put(replace(record, suspensions=(Suspension(height, height, None),)))

    def evidence(self, proof: Proof) -> Proof:
        """Return a proof with evidence of now."""
        asked = EvidenceRequest(
            ISSUER,
            proof.anchor_root,
            proof.opening.commitment(),
            self.consent_key.public,
            self.consent.consent_id,
            0,
        )
        return replace(proof, evidence=self.node.evidence(asked))


def _content(path: Path) -> bytes:
    # A huge file would have no place here: what counts is that it was not touched.
    size = path.stat().st_size if path.is_file() else 0
    return f"{size} bytes".encode() if size > 2**24 or path.is_dir() else path.read_bytes()


def make_request(trust: TrustedRoot, now_ms: int, **changes: Any) -> Request:  # noqa: ANN401
    """Return the bank's request, with some of its fields changed."""
    notice = loan_notice()
    fields: dict[str, Any] = {
        "chain_id": trust.chain_id,
        "category_mask": notice.category_mask,
        "basis": replace(BASIS, retention=notice.kept),
        "flags": notice.flags,
        "notice_version": notice.version,
        "until_ms": now_ms + DAY_MS,
        "answer_by_ms": now_ms + DAY_MS,
        "uses": 3,
        "pin": trust.newest_pin(now_ms),
    }
    return request_with(**{**fields, **changes})


def present(
    proof: Proof, request: Request, consent: ConsentFile, holder: PrivateKey, key: PrivateKey
) -> Proof:
    """Return a proof presented alone for a request."""
    presentation = present_list(
        (Place(0, proof.opening.commitment(), None),),
        0,
        request,
        consent_key=key,
        consent_id=consent.consent_id,
        terms_salt=consent.terms_salt,
        receipt_hash=consent.receipt_hash,
        holder=holder,
    )
    return replace(proof, presentation=presentation)


def make_node() -> MemoryNode:
    """Return a node on whose chain governors passed the notice that requests here name."""
    node = MemoryNode()
    put(node.ledger, Purpose(LOAN, tuple(sorted((hash_of("notice"), loan_notice().version))), 1))
    return node


def loan_notice() -> Notice:
    """Return what a holder is told whose report goes from Hong Kong to a mainland bank."""
    return require_notice_for(
        sample_texts().bundle, schemas=(REPORT,), purpose=LOAN, sources=("HK",), destination="CN"
    )


@contextmanager
def open_office(folder: Path, *, has_homes: bool = False) -> Iterator[Office]:
    """Furnish an office in a folder, with the homes of a network where they are asked for."""
    if has_homes:
        make_homes(folder / "network")
    node, trust = make_node(), TrustedRoot(1, make_genesis(), ())
    passphrase = Passphrase.from_text(PASSPHRASE)
    with Wallet.create(folder / "wallet", passphrase, cost_exponent=COST_EXPONENT_MIN) as wallet:
        holder, public = wallet.derive_holder_key(), wallet.new_consent_key()
        holder_key, consent_key = wallet.signer_for(holder), wallet.signer_for(public)
        size, root = content_root([DOCUMENT])
        metadata = Metadata(ISSUER, REPORT, holder, START_MS, START_MS + 30 * DAY_MS)
        opening = Opening("application/pdf", size, root, bytes(32), pack(metadata))
        tree = Tree([opening.commitment()])
        assert not node.extend(
            make_transaction(ISSUER, AnchorBatch(tree.root(), 1, REPORT, metadata.expires_ms))
        )
        request = make_request(trust, node.clock.now_ms)
        consent = grant_consent(
            request,
            consent_key,
            nonce=bytes(16),
            terms_salt=bytes(32),
            from_ms=START_MS,
            submit_by_ms=START_MS + DAY_MS,
        )
        wallet.attach_consent(public, consent.consent_id)
    assert not node.extend(make_transaction(RELAY, consent.grant))
    asked = EvidenceRequest(ISSUER, tree.root(), opening.commitment(), public, consent.consent_id, 0)
    batch = BatchPath(1, tree.path(0))
    proof = Proof(trust.chain_id, opening, batch, tree.root(), node.evidence(asked), None)
    proof = present(proof, request, consent, holder_key, consent_key)
    write_files(folder, trust, request, consent, proof, holder)
    with served(node) as url:
        yield Office(node, url, folder, holder, consent_key, request, consent, proof)


def write_files(
    folder: Path, trust: TrustedRoot, request: Request, consent: ConsentFile, proof: Proof, holder: PublicKey
) -> None:
    """Write one good file for each reader."""
    (folder / "report.pdf").write_bytes(DOCUMENT)
    (folder / "other.pdf").write_bytes(DOCUMENT + b"another\n")
    (folder / "report.pdf.proof").write_bytes(proof.encode())
    (folder / "request").write_bytes(request.encode())
    (folder / "consent").write_bytes(consent.encode())
    (folder / "trust.json").write_text(json.dumps(trusted_root_to_json(trust)))
    (folder / "genesis.json").write_bytes(format_genesis(trust.genesis))
    (folder / "samples.texts").write_bytes(sample_texts().encoded)
    (folder / "manifest.csv").write_text(f"other.pdf,{holder},2027-12-31\n")
    create_key_file(folder / "key.pem", key_of("some key"), Passphrase.from_text(PASSPHRASE))


def make_homes(directory: Path) -> None:
    """Make the homes of a development network."""
    new_network(
        directory,
        development=True,
        passphrase=None,
        base_port=None,
        random=secrets.token_bytes,
        now_ms=time.time_ns() // 1_000_000,
        scenarios=load_scenarios(scenarios_directory()),
    )
