"""Verify a folder of documents with their proofs in all cores, and print one line for each.

python examples/verify_many.py trust.json request folder [PAST_MS]
"""

import sys
from pathlib import Path

from ledger.trust import parse_trusted_root
from ledger.verifier import MAX_AGE_MS
from node.recipient.bulk import COLUMNS, BulkSettings, Row, answer_rows

# Worker processes import this file: what it does stands under this condition.
if __name__ == "__main__":
    trust_path, request_path, folder = map(Path, sys.argv[1:4])
    # None asks about the present, row by row. A time that is given is a past one.
    at_ms = int(sys.argv[4]) if len(sys.argv) > 4 else None
    proofs = sorted(folder.glob("*.proof"))
    rows = [
        Row(number, str(proof.with_suffix("")), str(proof), str(request_path), MAX_AGE_MS)
        for number, proof in enumerate(proofs, start=1)
    ]
    settings = BulkSettings(parse_trusted_root(trust_path.read_bytes()), at_ms)
    refused_count = 0
    for answer in answer_rows(rows, settings, jobs=2):
        cells = dict(zip(COLUMNS, answer.cells, strict=True))
        print(ascii(cells["file"]), answer.verdict, answer.code or cells["consent.purpose"])
        refused_count += not answer.is_verified
    sys.exit(1 if refused_count else 0)
