"""The corpus that fuzzing starts from: python -m tests.campaigns.fuzz.corpus writes it anew.

One file an entry under corpus/TARGET. What fuzzing itself found worth keeping stands beside these and is kept.
"""

import io
import json
import random
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from ledger.chain.snapshots import Description
from ledger.consents import ConsentFile, grant_consent
from ledger.encoding.codec import Value, encode
from ledger.encoding.records import pack, to_json
from ledger.genesis import genesis_to_json
from ledger.proofs import PROOF_MAGIC
from ledger.receipts import (
    STANDARD,
    ConsentReceipt,
    ReceiptCategory,
    ReceiptFile,
    ReceiptKind,
    ReceiptParty,
    ReceiptPurpose,
    Wording,
)
from ledger.rules.certificates import FINALIZE, NULLIFY, Subject, Vote
from ledger.sdjwt import Binding, Claims, bind, decode, issue
from ledger.sets import select_files
from ledger.trust import TrustPath, trusted_root_to_json
from node.consensus.events import (
    BlockAvailable,
    Built,
    Certified,
    Event,
    PeerDown,
    PeerUp,
    Received,
    Started,
    TimerFired,
    Verified,
    WorkChanged,
)
from node.consensus.image import take_image
from node.consensus.journal import CertificateHeld, VoteCast, encode_record
from node.consensus.messages import (
    CertificateMessage,
    LatestVoteRequest,
    Message,
    StatusMessage,
    VoteMessage,
    encode_message,
)
from node.messages import (
    CHUNK,
    BlockProposal,
    Consensus,
    FinalBlocks,
    Gossip,
    NotHeld,
    PeerMessage,
    SnapshotChunk,
    SnapshotOffer,
    StoredBlock,
    WantBlock,
    WantChunk,
    WantFinal,
    WantSnapshot,
    WantTransactions,
    encode_peer_message,
)
from node.network.hello import Hello, encode_hello
from node.replica.corenotes import Outcome, encode_event, encode_note
from node.storage.voteframes import LogHeader, encode_group, encode_header
from tests.attacks.forge import (
    PLAIN,
    RECORDED,
    SETS,
    Shown,
    honest,
    honest_after_handovers,
    honest_bearer,
    honest_from_checkpoint,
    honest_under_history,
)
from tests.attacks.shownsets import CHOSEN, whole
from tests.campaigns.fuzz.targets import make_core_of_nobody
from tests.support.archives import STORED, TOOLS, UTF8, zip_of
from tests.support.asking import BASIS, ITEM
from tests.support.consortium import (
    CHAIN_ID,
    START_MS,
    hash_of,
    key_of,
    make_anchor,
    make_content,
    make_genesis,
    make_grant,
    make_record,
    make_rotation,
    make_transaction,
    make_withdrawal,
)

FOLDER: Final = Path(__file__).with_name("corpus")


def bank_entries(shown: Shown, consent: ConsentFile) -> Iterator[tuple[str, str, bytes]]:
    """Yield what passes between holder and bank beside proofs: receipts, chosen fields, archives, forms."""
    wording = Wording("样本", "樣本", "sample")
    party = ReceiptParty("issuer", "hk-bureau", "HK", wording, wording, "a@example", wording, wording)
    receipt = ConsentReceipt(
        version=2,
        standard=STANDARD,
        record_id=bytes(16),
        chain_id=shown.trust.chain_id,
        request_id=bytes(32),
        principal=consent.consent_key,
        language="en",
        given_ms=START_MS,
        from_ms=START_MS,
        until_ms=START_MS,
        uses=1,
        notice_version=bytes(32),
        title=wording,
        purpose=ReceiptPurpose("consumer-credit.loan", wording),
        items=(ITEM,),
        kinds=(ReceiptKind("hk.credit-report", wording),),
        categories=(ReceiptCategory(0, wording),),
        is_sensitive=1,
        parties=(party, replace(party, role="recipient")),
        method=wording,
        necessity=wording,
        retention=wording,
        third_parties=wording,
        sources=("HK",),
        basis=BASIS,
        crossing=wording,
        separate_consent=wording,
        refusal=wording,
        withdrawal=wording,
        rights=wording,
    )
    file = ReceiptFile(receipt, bytes(32), consent.consent_id)
    yield "receipt-json", "receipt", json.dumps(to_json(file)).encode()
    claims = Claims("hk-bureau", "hk.credit-report", 1, key_of("holder").public)
    report = issue(
        {"name": "x", "list": [1, {"a": None}]}, claims, key_of("issuer"), random.Random(1).randbytes
    )
    yield "sd-jwt", "whole", report.encode()
    yield (
        "sd-jwt",
        "bound",
        bind(decode(report.encode()), Binding("bank", "00", 1, ""), key_of("holder")).encode(),
    )
    shown_set = select_files(whole(), CHOSEN)
    yield "shown-set", "whole", whole().encode()
    yield "shown-set", "chosen", shown_set.encode()
    yield "manifest-of-a-set", "three", shown_set.manifest
    for name, method in (("stored", zipfile.ZIP_STORED), ("deflated", zipfile.ZIP_DEFLATED)):
        written = io.BytesIO()
        with zipfile.ZipFile(written, "w", method) as archive:
            # Level 0: what deflate does beyond that differs from machine to machine.
            archive.writestr(zipfile.ZipInfo("d"), shown.document, method, 0)
            archive.writestr(zipfile.ZipInfo("p"), PROOF_MAGIC + b"proof", method, 0)
        yield "bundle", name, written.getvalue()
    for name, tool in TOOLS.items():
        parts = tool.parts(b"document", PROOF_MAGIC + b"proof", names=("d", "p"), folder="f")
        # Stored, for the same reason.
        stored = [replace(part, method=STORED, flags=part.flags & UTF8) for part in parts]
        yield "bundle", name.replace(" ", "-"), zip_of(stored)
    head = b'--b\r\nContent-Disposition: form-data; name="document"; filename="a b"\r\n\r\n'
    second = b"\r\n--b\r\nContent-Disposition: form-data; name=proof\r\nContent-Type: x/y\r\n\r\n"
    yield "form", "two", head + b"document" + second + b"proof\r\n--b--\r\n"
    yield "form", "nothing", b"--b--"


def core_entries(messages: dict[str, Message]) -> Iterator[tuple[str, str, bytes]]:
    """Yield what stands in a core log: a state, events, and a whole segment behind its opening."""
    core = make_core_of_nobody()
    core.handle(Started(), 1)
    image, _ = take_image(core)
    yield "core-image", "started", encode_note(image)
    events: dict[str, Event] = {
        "started": Started(),
        "timer": TimerFired(),
        "built": Built(1, None),
        "verified": Verified(1, bytes(32), True),
        "certified": Certified(1, bytes(32), False),
        "work": WorkChanged(True),
        "up": PeerUp(1),
        "down": PeerDown(1),
        "available": BlockAvailable(bytes(32)),
        **{name: Received(1, message) for name, message in messages.items()},
    }
    for name, event in events.items():
        yield "core-event", name, encode_event(event, 7)
    outcome = encode_note(Outcome(("Broadcast",), (bytes(64),)))
    told = [b"", encode_event(Started(), 1), outcome, encode_event(Received(0, messages["vote"]), 2), outcome]
    yield "core-log", "told", b"".join(len(each).to_bytes(2, "big") + each for each in told)


def entries() -> Iterator[tuple[str, str, bytes]]:
    """Yield target, name and content of each entry."""
    shown = honest()
    values: dict[str, Value] = {
        "nothing": None,
        "number": 2**63,
        "text": "hk-bureau",
        "nested": ((1, (b"x",)), ()),
        "many": tuple(range(40)),
    }
    for name, value in values.items():
        yield "codec", name, encode(value)
        yield "verifier-values", name, encode(value)
    proof = shown.proof
    assert proof.presentation is not None and proof.evidence.consent is not None
    for part in (proof.evidence, proof.opening, proof.batch, proof.presentation):
        yield "verifier-values", type(part).__name__.lower(), pack(part)
    grant = make_grant()
    transactions = {
        "anchor": make_transaction("hk-bureau", make_anchor()),
        "grant": make_transaction("hk-operator", grant, make_withdrawal(grant)),
        "record": make_transaction("mainland-bank", make_record(grant, 0)),
        "rotation": make_transaction("hk-bureau", make_rotation("hk-bureau")),
    }
    for name, transaction in transactions.items():
        yield "transaction", name, transaction.encoded
        yield "peer-message", f"gossip-{name}", encode_peer_message(Gossip((transaction.encoded,)))
    proofs = {
        "plain": shown,
        "handovers": honest_after_handovers(),
        "checkpoint": honest_from_checkpoint(),
        "history": honest_under_history(),
        "bearer": honest_bearer(),
    }
    for name, other in proofs.items():
        yield "proof", name, other.proof_bytes
        yield "verifier", name, other.proof_bytes
        yield "evidence", name, pack(other.proof.evidence)
    for number in range(3):
        yield "verifier-edits", f"honest-{number}", bytes([number])
        yield "verifier-edits", f"edited-{number}", bytes([number, 0, 200, 7, 4, 1, 255])
    certificate = shown.chain.certified(PLAIN).certificate
    header = shown.proof.evidence.header
    yield "header", "plain", header
    yield "header", "seal", honest_after_handovers().proof.evidence.trust_path.handovers[0].seal.header
    yield "certificate", "finalize", pack(certificate)
    yield "validators", "four", pack(SETS[0])
    yield "member", "issuer", shown.proof.evidence.issuer.value
    yield "anchor", "anchor", shown.proof.evidence.anchor.value
    consent_evidence = shown.proof.evidence.consent
    assert consent_evidence is not None
    yield "consent", "consent", consent_evidence.consent.value
    yield "request", "request", shown.request.encode()
    consent = grant_consent(
        shown.request,
        key_of("consent"),
        nonce=bytes(16),
        terms_salt=bytes(32),
        from_ms=START_MS,
        submit_by_ms=START_MS,
    )
    yield "consent-file", "consent", consent.encode()
    yield from bank_entries(shown, consent)
    genesis = json.dumps(genesis_to_json(make_genesis(make_content()))).encode()
    yield "genesis-json", "genesis", genesis
    yield "trust-json", "trust", json.dumps(trusted_root_to_json(proofs["checkpoint"].trust)).encode()
    yield "json", "mixed", b'{"a": [1, null, "\\u00e9", {"b": false}], "c": -1.5e3}'
    vote = Vote(Subject(FINALIZE, 0, 3, 2, hash_of("block")), 1, bytes(64))
    nullify = replace(vote, subject=Subject(NULLIFY, 0, 3, None, None))
    messages: dict[str, Message] = {
        "vote": VoteMessage(vote),
        "nullify": VoteMessage(nullify),
        "certificate": CertificateMessage(certificate),
        "status": StatusMessage(0, 1, 2, "idle"),
        "question": LatestVoteRequest(0),
    }
    for name, message in messages.items():
        yield "consensus-message", name, encode_message(message)
    carried = encode_message(messages["vote"])
    history = honest_under_history().proof.evidence.trust_path.history
    assert history is not None
    tip = shown.chain.tips[PLAIN]
    chunk = encode(("chunk", (proof.evidence.issuer.value, proof.evidence.anchor.value)))
    description = Description(
        tip.encoded_header.encoded, shown.chain.tips[RECORDED].history, 2, 500, 1, hash_of("chunks")
    )
    yield "snapshot-chunk", "two-leaves", chunk
    block = StoredBlock(header, (transactions["anchor"].encoded,))
    peer_messages: dict[str, PeerMessage] = {
        "consensus": Consensus(carried),
        "proposal": BlockProposal(carried, header, (hash_of("transaction"),)),
        "want-transactions": WantTransactions((hash_of("transaction"),)),
        "want-block": WantBlock(hash_of("block")),
        "want-final": WantFinal(7, 64),
        "block": block,
        "final-blocks": FinalBlocks(8, (block,), certificate, None, 9),
        "final-blocks-in-history": FinalBlocks(8, (block,), None, history, 9),
        "want-snapshot": WantSnapshot(0, 7),
        "snapshot-offer": SnapshotOffer(description, certificate, TrustPath(0, (), None)),
        "want-chunk": WantChunk(8_192, hash_of("chunks"), 3),
        "snapshot-chunk": SnapshotChunk(8_192, hash_of("chunks"), 3, chunk, (hash_of("sibling"),)),
        "not-held": NotHeld(CHUNK, 8_192, 3, 0, 9),
    }
    for name, sent in peer_messages.items():
        yield "peer-message", name, encode_peer_message(sent)
    records = [encode_record(VoteCast(vote)), encode_record(CertificateHeld(certificate))]
    for number, record in enumerate(records):
        yield "journal-record", f"record-{number}", record
    yield from core_entries(messages)
    yield "hello", "hello", encode_hello(Hello(CHAIN_ID, bytes(8), "hk-bureau"))
    group = encode_group(bytes(32), 0, records)
    log = encode_header(LogHeader(CHAIN_ID, "hk-bureau", bytes(32), 0))
    yield "vote-log", "two-copies", log + group * 2
    yield "vote-log-groups", "two-copies", group * 2
    yield "vote-log-groups", "torn", group + bytes(4096)
    yield from argument_entries()


def argument_entries() -> Iterator[tuple[str, str, bytes]]:
    """Yield calls: all arguments good, one odd, all odd."""
    for call in (0, 7, 20):
        yield "arguments", f"good-{call}", bytes([call, 0, 0, 0, 0, 0, 0])
        yield "arguments", f"one-{call}", bytes([call, 0, 9, 0])
        yield "arguments", f"odd-{call}", bytes([call, 1, 20, 40, 60, 80, 100])


def write() -> None:
    """Write the entries; what fuzzing added stays."""
    for target, name, content in entries():
        path = FOLDER / target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


if __name__ == "__main__":
    write()
