"""Verify one document: the library alone, without node or network.

python examples/verify_one.py trust.json request report.pdf report.pdf.proof [PAST_MS]
"""

import sys
import time
from pathlib import Path

from ledger.errors import LedgerError
from ledger.requests import Request
from ledger.trust import parse_trusted_root
from ledger.verdicts import VerificationError
from ledger.verifier import Verifier

trust_path, request_path, document_path, proof_path = map(Path, sys.argv[1:5])

# Once, when your program starts: the verifier holds no state, and threads may share it.
verifier = Verifier(parse_trusted_root(trust_path.read_bytes()))

try:
    # Your own request, as you made it. Never one that the resident brings.
    request = Request.decode(request_path.read_bytes())
except LedgerError as error:
    sys.exit(f"your request cannot be used: {error}")

try:
    with document_path.open("rb") as document:
        proof = proof_path.read_bytes()
        if len(sys.argv) > 5:
            # A past time is another question, with a call of its own: what was recorded since does not count.
            verdict = verifier.verify_as_of(document, proof, request=request, at_ms=int(sys.argv[5]))
        else:
            now_ms = time.time_ns() // 1_000_000
            verdict = verifier.verify(document, proof, request=request, now_ms=now_ms)
except VerificationError as error:
    print(f"refused at the step {error.step}: {error.code}")
    # What was found is of the file: escaped, it cannot steer a terminal.
    print(f"expected {error.expected}, found {error.found!a}")
    for sentence in (error.refusal.meaning, error.refusal.next_step):
        print(sentence.en, sentence.zh_hans, sentence.zh_hant, sep="\n")
    sys.exit(1)

# Accept each nonce once: look it up and insert it in one transaction of your own database.
print(f"accept nonce {verdict.presented.nonce.hex()} once")
print(f"{verdict.integrity.size} bytes, issued by {verdict.issuer.name_en}, as {verdict.anchored.schema}")
print(f"not revoked as of block {verdict.status.height}, {verdict.status.age_ms} ms ago")
print(f"consent {verdict.consent.consent_id.hex()} for {verdict.consent.purpose}")
