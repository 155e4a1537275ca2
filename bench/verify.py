"""How many proofs one core verifies per second, beside the raw signature checks that they contain.

    python -m bench.verify --json

Documents, proofs, consents and headers are all distinct (cold). The limit is what the signature checks alone
would allow: three of the quorum and two of the presentation, timed in the same run on the same core.
"""

import random
import time
from dataclasses import dataclass
from typing import Final

import click

from bench.load import rate_of_signature_checks
from bench.memory_chain import ISSUER, SCHEMA, MemoryChain
from bench.report import Report, progress
from ledger.commitments import Metadata, Opening
from ledger.keys import PrivateKey
from ledger.merkle import Tree, content_root
from ledger.operations import AnchorBatch
from ledger.presentation import (
    PRESENTATION_TAG,
    Presentation,
    Request,
    RequestBody,
    grant_consent,
    presentation_body,
)
from ledger.proofs import BatchPath, ConsentEvidence, Evidence, Proof, ProvenLeaf
from ledger.records import pack
from ledger.state import CROSS_BORDER, anchor_key, consent_key, member_key, revocation_key
from ledger.statepages import prove
from ledger.statetree import AbsenceProof, InclusionProof
from ledger.trust import TrustedRoot, TrustPath
from ledger.verifier import Verifier
from node.development import development_key

BANK: Final = "mainland-bank"
RELAY: Final = "hk-operator"
PURPOSE: Final = "consumer-credit.loan"
DAY_MS: Final = 86_400_000
DOCUMENT_SIZE: Final = 4_096
SIGNATURES_PER_PROOF: Final = 5


@dataclass(frozen=True, slots=True)
class Copy:
    """One issued document: bytes, opening of its commitment, holder key."""

    document: bytes
    opening: Opening
    holder: PrivateKey


@dataclass(frozen=True, slots=True)
class Case:
    """One document with its presented proof, the request that it answers, and the time asked about."""

    document: bytes
    proof: bytes
    request: Request
    at_ms: int


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


def make_case(
    chain: MemoryChain, trust: TrustedRoot, copy: Copy, batch: Tree, index: int, source: random.Random
) -> Case:
    """Grant a consent for one document, prove it under the block that recorded it, and present it."""
    body = RequestBody(
        chain_id=trust.chain_id,
        nonce=source.randbytes(16),
        recipient=BANK,
        issuer=ISSUER,
        schemas=(SCHEMA,),
        purpose=PURPOSE,
        category_mask=1,
        direction="HK-CN",
        transfer_basis="holder-carried",
        flags=CROSS_BORDER,
        notice_version=bytes(32),
        until_ms=chain.now_ms + 30 * DAY_MS,
        uses=1,
        pin=trust.newest_pin(chain.now_ms),
    )
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
    chain.extend(RELAY, consent.grant)
    commitment = copy.opening.commitment()
    unrevoked = prove(chain, chain.tip.header.state_root, revocation_key(ISSUER, commitment))
    if not isinstance(unrevoked, AbsenceProof):
        raise LookupError("a fresh document is not revoked")
    evidence = Evidence(
        header=chain.tip.sealed.encoded,
        certificate=chain.certificate(),
        trust_path=TrustPath(0, (), None),
        anchor=prove_present(chain, anchor_key(ISSUER, batch.root())),
        issuer=prove_present(chain, member_key(ISSUER)),
        unrevoked=unrevoked,
        consent=ConsentEvidence(
            prove_present(chain, member_key(BANK)),
            prove_present(chain, consent_key(key.public, consent.consent_id)),
        ),
    )
    message = presentation_body(
        chain_id=trust.chain_id,
        commitment=commitment,
        recipient=BANK,
        key=key.public,
        consent_id=consent.consent_id,
        nonce=body.nonce,
    )
    presentation = Presentation(
        key.public,
        consent.consent_id,
        body.nonce,
        copy.holder.sign(PRESENTATION_TAG, message),
        key.sign(PRESENTATION_TAG, message),
    )
    proof = Proof(
        trust.chain_id,
        copy.opening,
        BatchPath(batch.size, batch.path(index)),
        batch.root(),
        evidence,
        presentation,
    )
    return Case(copy.document, proof.encode(), request, chain.now_ms)


@click.command()
@click.option("--records", default=20_000, show_default=True, help="Records in the state.")
@click.option("--documents", default=400, show_default=True, help="Distinct documents and proofs.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (the only form).")
def main(records: int, documents: int, as_json: bool) -> None:
    """Measure cold verification of distinct documents, proofs and headers on one core."""
    del as_json
    source = random.Random("bench.verify")
    chain = MemoryChain()
    chain.fill(records)
    trust = TrustedRoot(1, chain.genesis, ())
    copies = issue(chain, documents, source)
    batch = Tree([copy.opening.commitment() for copy in copies])
    chain.extend(ISSUER, AnchorBatch(batch.root(), batch.size, SCHEMA, None))
    cases = []
    for index, copy in enumerate(copies):
        cases.append(make_case(chain, trust, copy, batch, index, source))
        progress("making proofs", (index + 1) / documents)
    verifier = Verifier(trust)
    before = rate_of_signature_checks(2_000)
    start = time.perf_counter()
    for case in cases:
        verifier.verify(case.document, case.proof, request=case.request, at_ms=case.at_ms)
    seconds = time.perf_counter() - start
    after = rate_of_signature_checks(2_000)
    checks = (before + after) / 2
    Report(
        name="verify",
        figure=documents / seconds,
        unit="cold verifications per second on one core",
        limit=checks / SIGNATURES_PER_PROOF,
        limit_is=f"raw signature checks per second on one core, before and after, / {SIGNATURES_PER_PROOF}",
        details={
            "records": records,
            "documents": documents,
            "document_size": DOCUMENT_SIZE,
            "proof_size": round(sum(len(case.proof) for case in cases) / documents),
            "signature_checks_per_second": [round(before), round(after)],
        },
    ).print()


if __name__ == "__main__":
    main()
