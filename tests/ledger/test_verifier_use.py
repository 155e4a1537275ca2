"""How the verifier may be used: from threads, from coroutines, and for documents larger than memory."""

import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from ledger.trees.merkle import CHUNK_SIZE, Content, ContentHasher, content_root
from ledger.verdicts import VerificationError
from ledger.verifier import Verifier
from tests.attacks.forge import NOW_MS, honest
from tests.support.sources import ROOT

IS_LARGE = "LUOHU_LARGE" in os.environ
DOCUMENT_SIZE = 2 * 1024**3 if IS_LARGE else 192 * 1024**2
MEMORY_MAX = 24 * 1024**2


def test_threads_share_one_verifier() -> None:
    shown = honest()
    verifier = Verifier(shown.trust)
    forged = shown.presentation_with(nonce=bytes(16)).proof_bytes

    def ask(number: int) -> str:
        proof, document = (forged, shown.document) if number % 3 == 1 else (shown.proof_bytes, shown.document)
        if number % 3 == 2:
            document += b"!"
        try:
            return verifier.verify(document, proof, request=shown.request, now_ms=NOW_MS).consent.purpose
        except VerificationError as error:
            return error.code

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(240)))
    assert answers == ["consumer-credit.loan", "wrong-nonce", "document-altered"] * 80


def test_coroutines_share_one_verifier_and_hash_documents_as_they_come() -> None:
    shown = honest()
    verifier = Verifier(shown.trust)

    async def ask(document: bytes) -> str:
        hasher = ContentHasher()
        for place in range(0, len(document), 7):
            hasher.update(document[place : place + 7])
            await asyncio.sleep(0)
        try:
            content = hasher.finish()
            verdict = verifier.verify(content, shown.proof_bytes, request=shown.request, now_ms=NOW_MS)
            in_thread = await asyncio.to_thread(
                verifier.verify, document, shown.proof_bytes, request=shown.request, now_ms=NOW_MS
            )
        except VerificationError as error:
            return error.code
        assert verdict == in_thread
        return verdict.issuer.member

    async def main() -> list[str]:
        return await asyncio.gather(*(ask(shown.document + b"!" * (n % 2)) for n in range(8)))

    assert asyncio.run(main()) == ["hk-bureau", "document-altered"] * 4


def test_a_content_that_is_not_the_documents_is_refused_like_the_document() -> None:
    shown = honest()
    honest_content = Content(*content_root([shown.document]))
    verifier = Verifier(shown.trust)
    for content in (
        replace(honest_content, size=honest_content.size + 1),
        replace(honest_content, root=bytes(32)),
    ):
        with pytest.raises(VerificationError) as refused:
            verifier.verify(content, shown.proof_bytes, request=shown.request, now_ms=NOW_MS)
        assert refused.value.code == "document-altered"


@pytest.mark.parametrize("size", [0, 1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 3 * CHUNK_SIZE])
def test_a_hasher_says_what_the_root_of_the_whole_is(size: int) -> None:
    document = bytes(range(256)) * (size // 256 + 1)
    document = document[:size]
    for step in (1_000_003, CHUNK_SIZE):
        hasher = ContentHasher()
        for place in range(0, size, step):
            hasher.update(document[place : place + step])
        assert hasher.size == size
        assert hasher.finish() == Content(*content_root([document]))


@pytest.mark.slow
def test_a_large_document_is_verified_in_constant_memory() -> None:
    script = (
        "import resource, sys\n"
        "from ledger.verdicts import VerificationError\n"
        "from ledger.verifier import Verifier\n"
        "from tests.attacks.forge import NOW_MS, honest\n"
        "shown, size = honest(), int(sys.argv[1])\n"
        "verifier = Verifier(shown.trust)\n"
        "def ask(size):\n"
        "    piece = bytes(1 << 20)\n"
        "    try:\n"
        "        verifier.verify_anchor((piece for _ in range(size >> 20)), shown.proof_bytes, now_ms=NOW_MS)\n"
        "    except VerificationError as error:\n"
        "        return error.found\n"
        "ask(4 << 20)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(ask(size))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    command = [sys.executable, "-c", script, f"{DOCUMENT_SIZE}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    found, grown = done.stdout.split("\n")[:2]
    assert found == f"{DOCUMENT_SIZE} bytes", "all of it was read"
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(grown) * unit < MEMORY_MAX
