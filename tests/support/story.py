"""The story of one document, over four real nodes in virtual time: everything that a verifier's test starts from."""

import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from prometheus_client import CollectorRegistry

from ledger.commitments import Metadata, Opening
from ledger.consents import ConsentFile, grant_consent
from ledger.encoding.keys import PrivateKey
from ledger.encoding.records import pack
from ledger.presentation import Place
from ledger.proofs import BatchPath, EvidenceRequest, Proof
from ledger.requests import Request
from ledger.rules.operations import AnchorBatch, Operation
from ledger.rules.state import CROSS_BORDER
from ledger.rules.transactions import Transaction, TransactionBody
from ledger.trees.merkle import Tree, content_root
from ledger.trust import TrustedRoot
from node.running import RunningNode
from node.watch import Watch
from tests.support.asking import body_with, present_list
from tests.support.node_world import START_MS, VALIDATORS, World, private_key

ISSUER, BANK, RELAY = "hk-bureau", "mainland-bank", "hk-operator"
DAY_MS = 86_400_000


@dataclass(slots=True)
class Story:
    """Documents anchored in one batch, a request, a consent, and the proof that was presented."""

    world: World
    document: bytes
    holder: PrivateKey
    consent_key: PrivateKey
    trust: TrustedRoot
    request: Request
    consent: ConsentFile
    proof: Proof

    @property
    def now_ms(self) -> int:
        """The wall clock of this world."""
        return START_MS + 1_000 + self.world.now_ms

    def send(self, sender: str, *operations: Operation) -> None:
        """Have a member's transaction made final."""
        send(self.world, sender, *operations)

    def refreshed(self) -> Proof:
        """Return the proof with evidence of now, and the same presentation."""
        commitment = self.proof.opening.commitment()
        asked = EvidenceRequest(
            ISSUER, self.proof.anchor_root, commitment, self.consent_key.public, self.consent.consent_id, 0
        )
        return replace(self.proof, evidence=running(self.world).evidence(asked))

    def present(self, request: Request, *, holder: PrivateKey | None = None) -> Proof:
        """Return the proof presented for a request, by the holder or by another key."""
        return present(self.proof, request, self.consent, holder or self.holder, self.consent_key)


def running(world: World) -> RunningNode:
    """Return one node as its API sees it."""
    node = world.nodes["sz-operator"]
    return RunningNode(
        genesis=world.genesis,
        member="sz-operator",
        driver=node.driver,
        store=node.store,
        clock=node,
        registry=CollectorRegistry(),
        find_member_key=lambda: None,
        peers_connected=tuple,
        watch=Watch(member="sz-operator", driver=node.driver, clock=node),
    )


def send(world: World, sender: str, *operations: Operation) -> Transaction:
    """Sign a transaction, submit it to one node, and let it become final."""
    body = TransactionBody(
        world.genesis.content.chain_id, sender, START_MS + world.now_ms + 60_000, tuple(operations)
    )
    transaction = Transaction.sign(body, private_key(f"{sender} member"))
    world.nodes["sz-operator"].submit(transaction)
    world.run(1_000)
    assert transaction.id in world.nodes["sz-operator"].final, "the story's transactions apply"
    return transaction


def make_request(world: World, trust: TrustedRoot, **changes: object) -> Request:
    """Return the bank's request, with some of its fields changed."""
    now_ms = START_MS + world.now_ms
    fields: dict[str, Any] = {
        "chain_id": world.genesis.content.chain_id,
        "issuer": ISSUER,
        "flags": CROSS_BORDER,
        "notice_version": bytes(32),
        "until_ms": START_MS + DAY_MS,
        "answer_by_ms": START_MS + 30 * DAY_MS,
        "uses": 3,
        "pin": trust.newest_pin(now_ms),
    }
    body = body_with(**{**fields, **changes})
    return Request.sign(body, private_key(f"{body.decoded_asked().recipient} member"))


def present(
    proof: Proof, request: Request, consent: ConsentFile, holder: PrivateKey, consent_key: PrivateKey
) -> Proof:
    """Sign a presentation of a proof alone for a request."""
    presentation = present_list(
        (Place(0, proof.opening.commitment(), None),),
        0,
        request,
        consent_key=consent_key,
        consent_id=consent.consent_id,
        terms_salt=consent.terms_salt,
        receipt_hash=consent.receipt_hash,
        holder=holder,
    )
    return replace(proof, presentation=presentation)


def tell(directory: Path) -> Story:
    """Tell the story up to the presented proof."""
    world = World(directory)
    for member in VALIDATORS:
        world.start(member)
    world.run(2_000)
    trust = TrustedRoot(1, world.genesis, ())
    holder, consent_key = private_key("holder"), private_key("consent")
    document = b"SAMPLE credit report of a person who does not exist\n" * 3
    openings = [_opening(document, holder, world), *(_opening(bytes([n]), holder, world) for n in range(4))]
    tree = Tree([opening.commitment() for opening in openings])
    send(world, ISSUER, AnchorBatch(tree.root(), tree.size, "hk.credit-report", None))
    request = make_request(world, trust)
    consent = grant_consent(
        request,
        consent_key,
        nonce=b"consent nonce 01",
        terms_salt=bytes(32),
        from_ms=START_MS,
        submit_by_ms=START_MS + world.now_ms + 60_000,
    )
    send(world, RELAY, consent.grant)
    commitment = openings[0].commitment()
    asked = EvidenceRequest(ISSUER, tree.root(), commitment, consent_key.public, consent.consent_id, 0)
    proof = Proof(
        world.genesis.content.chain_id,
        openings[0],
        BatchPath(tree.size, tree.path(0)),
        tree.root(),
        running(world).evidence(asked),
        None,
    )
    proof = present(proof, request, consent, holder, consent_key)
    return Story(world, document, holder, consent_key, trust, request, consent, proof)


def _opening(document: bytes, holder: PrivateKey, world: World) -> Opening:
    size, root = content_root([document])
    metadata = Metadata(ISSUER, "hk.credit-report", holder.public, START_MS, START_MS + 30 * DAY_MS)
    salt = random.Random(document).randbytes(32)
    return Opening("application/pdf", size, root, salt, pack(cast(Any, metadata)))
