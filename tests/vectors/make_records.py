"""Make `records.json`: the bytes of one of each record that leaves a machine, as docs/formats.md names them.

Run `python -m tests.vectors.make_records` at the top of the repository. Bytes change only in a commit that says that
the format changed. A new operation is one line in `operations`; the witness in
tests/ledger/encoding/test_vectors.py wants its shape.
"""

import json
from dataclasses import replace
from pathlib import Path

from ledger.commitments import Metadata, Opening
from ledger.consents import ConsentFile, grant_consent
from ledger.encoding.records import Json, pack
from ledger.genesis import genesis_to_json
from ledger.presentation import Place
from ledger.proofs import BatchPath, EvidenceRequest, Proof
from ledger.requests import Request
from ledger.rules.blocks import Header
from ledger.rules.certificates import FINALIZE, NOTARIZE, NULLIFY, VOTE_TAGS, Subject, Vote
from ledger.rules.operations import (
    ROTATION_TAG,
    AnchorBatch,
    CastVote,
    Operation,
    Propose,
    ReportMisbehaviour,
    RevokeAnchor,
    RevokeDocument,
    RotateTls,
    SuspendSelf,
)
from ledger.rules.proposals import AddSchema
from ledger.rules.tlscertificates import TlsCertificate
from ledger.trees.merkle import Tree, content_root
from ledger.trust import TrustedRoot, trusted_root_to_json
from tests.support.asking import present_list, request_with
from tests.support.consortium import (
    CHAIN_ID,
    DAY_MS,
    REPORT,
    START_MS,
    VALIDATORS,
    hash_of,
    key_of,
    make_anchor,
    make_closing,
    make_genesis,
    make_grant,
    make_record,
    make_rotation,
    make_transaction,
    make_withdrawal,
    member_key_of,
)
from tests.support.memory_node import MemoryNode

RECORDS = Path(__file__).with_name("records.json")
DOCUMENT = b"%PDF-1.7 SAMPLE of a person who does not exist\n"
TRUST = TrustedRoot(1, make_genesis(), ())


def operations() -> list[tuple[str, Operation]]:
    """Return one of each operation, with the member that sends it."""
    grant = make_grant()
    return [
        ("hk-bureau", make_anchor(1, expires_ms=START_MS + DAY_MS)),
        ("hk-bureau", RevokeDocument(hash_of("document"), "superseded")),
        ("hk-bureau", RevokeAnchor(make_anchor(1).root, "fraud")),
        ("hk-operator", grant),
        ("hk-operator", make_withdrawal(grant)),
        ("mainland-bank", make_closing(grant)),
        ("mainland-bank", make_record(grant, 0, "accepted")),
        ("hk-bureau", make_rotation("hk-bureau")),
        ("hk-bureau", make_tls_rotation()),
        ("hk-bank", SuspendSelf(0, 1)),
        ("hk-operator", Propose(AddSchema("hk.tax-statement", 0, None), None, START_MS + DAY_MS)),
        ("sz-operator", CastVote(hash_of("proposal"), "yes")),
        ("sz-operator", make_report()),
    ]


def make_tls_rotation() -> RotateTls:
    """Return the rotation of the Hong Kong bureau's TLS certificate, on the signature of its next key."""
    certificate = TlsCertificate(
        bytes(range(1, 21)), bytes(range(16)), bytes(range(64)), bytes(range(64, 128))
    )
    key = member_key_of("hk-bureau", 1)
    unsigned = RotateTls(1, certificate, key.public, bytes(64))
    body = unsigned.signed_body(chain_id=CHAIN_ID, member="hk-bureau")
    return replace(unsigned, signature=key.sign(ROTATION_TAG, body))


def make_report() -> ReportMisbehaviour:
    """Return the report of two votes of one validator that exclude each other."""
    key = key_of(f"{VALIDATORS[0]} validator")
    subjects = [Subject(NOTARIZE, 0, 7, 5, hash_of(name)) for name in ("block", "another block")]
    first, second = (
        Vote(subject, 0, key.sign(VOTE_TAGS[NOTARIZE], subject.body(CHAIN_ID))) for subject in subjects
    )
    return ReportMisbehaviour(key.public, first, second)


def seal() -> Header:
    """Return a header with every field that may be absent."""
    return Header(
        version=1,
        suite=1,
        chain_id=CHAIN_ID,
        epoch=0,
        view=300,
        height=70_000,
        time_ms=START_MS + 1,
        parent_hash=hash_of("parent"),
        transactions_root=hash_of("transactions"),
        state_root=hash_of("state"),
        history_root=hash_of("history"),
        validators_hash=hash_of("validators"),
        next_validators_hash=hash_of("next validators"),
        proposer="hk-bureau",
    )


def votes() -> dict[str, Vote]:
    """Return a vote of each kind by the first validator."""
    made = {}
    for kind in (NOTARIZE, NULLIFY, FINALIZE):
        has_block = kind != NULLIFY
        subject = Subject(kind, 0, 7, 5 if has_block else None, hash_of("block") if has_block else None)
        signature = key_of(f"{VALIDATORS[0]} validator").sign(VOTE_TAGS[kind], subject.body(CHAIN_ID))
        made[kind] = Vote(subject, 0, signature)
    return made


def files() -> tuple[Request, ConsentFile, Proof, MemoryNode]:
    """Return request, consent and presented proof of one document, and the node that made the evidence."""
    node, holder, consent_key = (
        MemoryNode(),
        key_of("holder of the document"),
        key_of("consent of the holder"),
    )
    size, root = content_root([DOCUMENT])
    metadata = pack(Metadata("hk-bureau", REPORT, holder.public, START_MS, START_MS + DAY_MS))
    openings = [Opening("application/pdf", size, root, hash_of(f"salt {n}"), metadata) for n in range(5)]
    tree = Tree([opening.commitment() for opening in openings])
    assert not node.extend(
        make_transaction("hk-bureau", AnchorBatch(tree.root(), 5, REPORT, START_MS + DAY_MS))
    )
    request = request_with(
        notice_version=hash_of("notice"),
        until_ms=START_MS + DAY_MS,
        answer_by_ms=START_MS + DAY_MS,
        uses=3,
        pin=TRUST.newest_pin(START_MS),
    )
    consent = grant_consent(
        request,
        consent_key,
        nonce=b"consent nonce 01",
        terms_salt=hash_of("terms salt"),
        receipt_hash=hash_of("receipt"),
        from_ms=START_MS,
        submit_by_ms=START_MS + DAY_MS,
    )
    assert not node.extend(make_transaction("hk-operator", consent.grant))
    commitment = openings[2].commitment()
    asked = EvidenceRequest("hk-bureau", tree.root(), commitment, consent_key.public, consent.consent_id, 0)
    presentation = present_list(
        (Place(0, commitment, None),),
        0,
        request,
        consent_key=consent_key,
        consent_id=consent.consent_id,
        terms_salt=consent.terms_salt,
        receipt_hash=consent.receipt_hash,
        holder=holder,
    )
    batch = BatchPath(5, tree.path(2))
    proof = Proof(CHAIN_ID, openings[2], batch, tree.root(), node.evidence(asked), presentation)
    return request, consent, proof, node


def records() -> dict[str, Json]:
    """Return everything that records.json holds."""
    request, consent, proof, node = files()
    transactions: dict[str, Json] = {}
    for sender, operation in operations():
        transaction = make_transaction(sender, operation)
        transactions[operation.TAG] = {"bytes": transaction.encoded.hex(), "id": transaction.id.hex()}
    tip = node.ledger.tip.encoded_header
    return {
        "chain_id": CHAIN_ID.hex(),
        "genesis.json": genesis_to_json(make_genesis()),
        "trust.json": trusted_root_to_json(TRUST),
        "transactions": transactions,
        "headers": {
            "block": {"bytes": tip.encoded.hex(), "hash": tip.hash.hex()},
            "seal": {"bytes": pack(seal()).hex()},
        },
        "votes": {kind: pack(vote).hex() for kind, vote in votes().items()},
        "certificate": pack(node.certificates[-1]).hex(),
        "request": request.encode().hex(),
        "consent": {"bytes": consent.encode().hex(), "consent_id": consent.consent_id.hex()},
        "proof": {"bytes": proof.encode().hex(), "commitment": proof.opening.commitment().hex()},
        "document": DOCUMENT.hex(),
    }


def text() -> str:
    """Return the content of records.json."""
    return json.dumps(records(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    RECORDS.write_text(text(), encoding="utf-8")
