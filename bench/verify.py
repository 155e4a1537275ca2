"""How many proofs one core verifies per second, beside the raw signature checks that they contain.

    python -m bench.verify --json

Cold: documents, proofs, consents and headers are all distinct. Warm: the proofs are distinct too, but made under one
header, as a bank meets them that verifies many documents of a day. The limit is what the signature checks of a cold
verification alone would allow: three of the quorum and two of the presentation. The three take turns in short slices,
in processor time, and each figure is the median of its slices, so that what else the machine does weighs on all
alike; the state that the proofs were made from is gone by then. A large document is measured against raw SHA-256.
"""

import gc
import hashlib
import random
import statistics
import time
from dataclasses import dataclass
from typing import Final

import click

from bench.load import rate_of_signature_checks
from bench.memory_chain import ISSUER, SCHEMA, MemoryChain
from bench.report import Report, progress
from ledger.commitments import Metadata, Opening
from ledger.consents import ConsentFile, grant_consent
from ledger.encoding.keys import PrivateKey
from ledger.encoding.records import pack
from ledger.proofs import BatchPath, ConsentEvidence, Evidence, Proof, ProvenLeaf
from ledger.requests import (
    FROM_END,
    HOLDER_CARRIED,
    SELF,
    Asked,
    Basis,
    Item,
    Request,
    RequestBody,
    Retention,
)
from ledger.rules.operations import AnchorBatch, Grant
from ledger.rules.state import CROSS_BORDER, anchor_key, consent_key, member_key, revocation_key
from ledger.trees.merkle import CHUNK_SIZE, Tree, content_root
from ledger.trees.statepages import prove
from ledger.trees.statetree import AbsenceProof, InclusionProof
from ledger.trust import TrustedRoot, TrustPath
from ledger.verifier import Verifier
from node.client.holder import sign_presentation
from node.home.development import development_key

BANK: Final = "mainland-bank"
RELAY: Final = "hk-operator"
PURPOSE: Final = "consumer-credit.loan"
DAY_MS: Final = 86_400_000
DOCUMENT_SIZE: Final = 4_096
SIGNATURES_PER_PROOF: Final = 5
SLICE_DOCUMENTS: Final = 20


@dataclass(frozen=True, slots=True)
class Copy:
    """One issued document: bytes, opening of its commitment, holder key."""

    document: bytes
    opening: Opening
    holder: PrivateKey


@dataclass(frozen=True, slots=True)
class Case:
    """One document with its presented proof, the request that it answers, and the present."""

    document: bytes
    proof: bytes
    request: Request
    now_ms: int


def issue(chain: MemoryChain, count: int, source: random.Random) -> list[Copy]:
    """Return fresh documents with their commitments."""
    copies = []
    for _ in range(count):
        document = source.randbytes(DOCUMENT_SIZE)
        holder = PrivateKey.from_seed(source.randbytes(32))
        metadata = Metadata(ISSUER, SCHEMA, holder.public, chain.now_ms, chain.now_ms + 30 * DAY_MS)
        size, root = content_root([document])
        opening = Opening("application/pdf", size, root, source.randbytes(32), pack(metadata))
        copies.append(Copy(document, opening, holder))
    return copies


def prove_present(chain: MemoryChain, key: bytes) -> ProvenLeaf:
    """Return a leaf with its inclusion proof."""
    value = chain.find_value(key)
    proof = prove(chain, chain.tip.header.state_root, key)
    if value is None or not isinstance(proof, InclusionProof):
        raise LookupError(key.hex())
    return ProvenLeaf(value, proof)


@dataclass(frozen=True, slots=True)
class Consented:
    """A document, the request for it, and the consent that answers the request."""

    copy: Copy
    index: int
    request: Request
    key: PrivateKey
    consent: ConsentFile


def grant(
    chain: MemoryChain, trust: TrustedRoot, copy: Copy, index: int, source: random.Random
) -> tuple[Consented, Grant]:
    """Request a document, and grant what was requested. The grant is not recorded yet."""
    now_ms = chain.now_ms
    asked = Asked(
        recipient=BANK,
        items=(Item((ISSUER,), (SCHEMA,), count=1, needed=1, bound=1, covers=None),),
        sources=("HK",),
        purpose=PURPOSE,
        category_mask=1,
        basis=Basis(HOLDER_CARRIED, None, None, SELF, Retention(FROM_END, 30)),
        flags=CROSS_BORDER,
        notice_version=chain.genesis.content.purposes[0].notices[0],
        until_ms=now_ms + 30 * DAY_MS,
        uses=1,
    )
    nonce, pin = source.randbytes(16), trust.newest_pin(now_ms)
    body = RequestBody(pack(asked), trust.chain_id, nonce, now_ms + 30 * DAY_MS, pin, None)
    request = Request.sign(body, development_key(BANK, "member"))
    key = PrivateKey.from_seed(source.randbytes(32))
    consent = grant_consent(
        request,
        key,
        nonce=source.randbytes(16),
        terms_salt=source.randbytes(32),
        from_ms=chain.now_ms,
        submit_by_ms=chain.now_ms + DAY_MS,
    )
    return Consented(copy, index, request, key, consent), consent.grant


def present(chain: MemoryChain, trust: TrustedRoot, batch: Tree, each: Consented) -> Case:
    """Prove a consented document under the newest block, and present it."""
    commitment = each.copy.opening.commitment()
    unrevoked = prove(chain, chain.tip.header.state_root, revocation_key(ISSUER, commitment))
    if not isinstance(unrevoked, AbsenceProof):
        raise LookupError("a fresh document is not revoked")
    evidence = Evidence(
        header=chain.tip.encoded_header.encoded,
        certificate=chain.certificate(),
        trust_path=TrustPath(0, (), None),
        anchor=prove_present(chain, anchor_key(ISSUER, batch.root())),
        issuer=prove_present(chain, member_key(ISSUER)),
        unrevoked=unrevoked,
        consent=ConsentEvidence(
            prove_present(chain, member_key(BANK)),
            prove_present(chain, consent_key(each.key.public, each.consent.consent_id)),
        ),
    )
    proof = Proof(
        trust.chain_id,
        each.copy.opening,
        BatchPath(batch.size, batch.path(each.index)),
        batch.root(),
        evidence,
        None,
    )
    proof = sign_presentation(proof, each.request, each.consent, each.copy.holder, each.key, item=0)
    return Case(each.copy.document, proof.encode(), each.request, chain.now_ms)


def make_cases(
    chain: MemoryChain,
    trust: TrustedRoot,
    copies: list[Copy],
    batch: Tree,
    source: random.Random,
    *,
    is_cold: bool,
) -> list[Case]:
    """Return a case for each copy: cold, each under a header of its own, or all under the newest."""
    cases, waiting = [], []
    for index, copy in enumerate(copies):
        consented, granted = grant(chain, trust, copy, index, source)
        chain.extend(RELAY, granted)
        if is_cold:
            cases.append(present(chain, trust, batch, consented))
        waiting.append(consented)
        progress("cold proofs" if is_cold else "warm proofs", (index + 1) / len(copies))
    return cases if is_cold else [present(chain, trust, batch, each) for each in waiting]


@dataclass(frozen=True, slots=True)
class Rates:
    """Verifications per second, cold and warm, and signature checks per second, of one slice or the median of many."""

    cold: float
    warm: float
    checks: float


def verifications_per_second(verifier: Verifier, cases: list[Case]) -> float:
    """Verify each case once, in processor time."""
    start = time.process_time()
    for case in cases:
        verifier.verify(case.document, case.proof, request=case.request, now_ms=case.now_ms)
    return len(cases) / (time.process_time() - start)


def measure_in_turn(trust: TrustedRoot, cold: list[Case], warm: list[Case]) -> list[Rates]:
    """Return the rates of each slice; every case is verified once."""
    colds, warms, rates = Verifier(trust), Verifier(trust), []
    # The header of the warm cases was seen before.
    colds.verify(cold[0].document, cold[0].proof, request=cold[0].request, now_ms=cold[0].now_ms)
    warms.verify(warm[0].document, warm[0].proof, request=warm[0].request, now_ms=warm[0].now_ms)
    for first in range(1, len(cold), SLICE_DOCUMENTS):
        part = slice(first, first + SLICE_DOCUMENTS)
        rates.append(
            Rates(
                verifications_per_second(colds, cold[part]),
                verifications_per_second(warms, warm[part]),
                rate_of_signature_checks(SIGNATURES_PER_PROOF * SLICE_DOCUMENTS, time.process_time),
            )
        )
    return rates


def document_rates(size: int) -> tuple[float, float]:
    """Return MB per second of a document's root, and of raw SHA-256 over the same bytes; best of three, in turn."""
    document = random.Random("document").randbytes(CHUNK_SIZE) * (size // CHUNK_SIZE)
    roots, raws = [], []
    for _ in range(3):
        start = time.perf_counter()
        content_root([document])
        roots.append(time.perf_counter() - start)
        start = time.perf_counter()
        hashlib.sha256(document).digest()
        raws.append(time.perf_counter() - start)
    return len(document) / min(roots) / 1e6, len(document) / min(raws) / 1e6


@click.command()
@click.option("--records", default=1_000_000, show_default=True, help="Records in the state.")
@click.option("--documents", default=400, show_default=True, help="Distinct documents and proofs.")
@click.option("--large-mb", default=128, show_default=True, help="Size of the large document.")
@click.option("--quick", is_flag=True, help="A smoke run: its figure says nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (the only form).")
def main(records: int, documents: int, large_mb: int, quick: bool, as_json: bool) -> None:
    """Measure verification of distinct documents and proofs on one core, cold and warm."""
    del as_json
    if quick:
        records, documents, large_mb = 200, 6, 2
    source = random.Random("bench.verify")
    chain = MemoryChain()
    chain.hold(records)
    trust = TrustedRoot(1, chain.genesis, ())
    copies = issue(chain, documents, source)
    batch = Tree([copy.opening.commitment() for copy in copies])
    chain.extend(ISSUER, AnchorBatch(batch.root(), batch.size, SCHEMA, None))
    cold_cases = make_cases(chain, trust, copies, batch, source, is_cold=True)
    warm_cases = make_cases(chain, trust, copies, batch, source, is_cold=False)
    del chain
    gc.collect()
    rates = measure_in_turn(trust, cold_cases, warm_cases)
    cold, warm, checks = (
        statistics.median(getattr(each, name) for each in rates) for name in ("cold", "warm", "checks")
    )
    ratios = [SIGNATURES_PER_PROOF * each.cold / each.checks for each in rates]
    document_rate, raw_rate = document_rates(large_mb * 1024 * 1024)
    Report(
        name="verify",
        figure=cold,
        unit="cold verifications per second on one core",
        limit=checks / SIGNATURES_PER_PROOF,
        limit_is=f"raw signature checks per second on one core, in turn with the proofs, / {SIGNATURES_PER_PROOF}",
        details={
            "warm_per_second": round(warm),
            "document_mb_per_second": round(document_rate),
            "raw_sha256_mb_per_second": round(raw_rate),
            "document_ratio": round(document_rate / raw_rate, 3),
            "records": records,
            "documents": documents,
            "document_size": DOCUMENT_SIZE,
            "proof_size": round(sum(len(case.proof) for case in cold_cases) / documents),
            "signature_checks_per_second": round(checks),
            "ratio_of_slices": [round(each, 3) for each in statistics.quantiles(ratios, n=4)]
            if len(ratios) > 1
            else [],
        },
    ).print()


if __name__ == "__main__":
    main()
