"""Verify documents as they arrive, inside a program that runs on asyncio: nothing is held, nothing blocks.

python examples/verify_upload.py trust.json request report.pdf report.pdf.proof
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from ledger.requests import Request
from ledger.trees.merkle import ContentHasher
from ledger.trust import parse_trusted_root
from ledger.verdicts import Verdict, VerificationError
from ledger.verifier import Verifier


async def uploaded(path: Path) -> AsyncIterator[bytes]:
    """Stand in for your web framework: yield a document as it comes in."""
    with path.open("rb") as file:
        while piece := file.read(64 * 1024):
            yield piece
            await asyncio.sleep(0)


async def verify_upload(
    verifier: Verifier, document: AsyncIterator[bytes], proof: bytes, request: Request, now_ms: int
) -> Verdict:
    """Hash a document piece by piece, then verify: about a millisecond, so no thread is needed."""
    hasher = ContentHasher()
    async for piece in document:
        hasher.update(piece)
    return verifier.verify(hasher.finish(), proof, request=request, now_ms=now_ms)


async def main() -> int:
    """Verify one document twice at once."""
    trust_path, request_path, document_path, proof_path = map(Path, sys.argv[1:5])
    # The test of this program brings its own present; yours is the clock's.
    now_ms = int(sys.argv[5]) if len(sys.argv) > 5 else time.time_ns() // 1_000_000
    verifier = Verifier(parse_trusted_root(trust_path.read_bytes()))
    request = Request.decode(request_path.read_bytes())
    proof = proof_path.read_bytes()
    try:
        verdicts = await asyncio.gather(
            *(verify_upload(verifier, uploaded(document_path), proof, request, now_ms) for _ in range(2))
        )
    except VerificationError as error:
        print(f"refused at the step {error.step}: {error.code}")
        return 1
    print(f"{len(verdicts)} verified: {verdicts[0].consent.purpose}")
    return 0


sys.exit(asyncio.run(main()))
