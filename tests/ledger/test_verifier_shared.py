"""One verifier for a whole bank: shared by threads, and used from asynchronous code."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

from ledger.verdicts import Verdict, VerificationError
from tests.attacks.forge import Shown, honest, honest_after_handovers, honest_bearer
from tests.attacks.test_one_bit_of_the_document import FORGERY as ALTERED
from tests.attacks.test_presented_by_a_thief import FORGERY as STOLEN

SHOWN = (honest(), honest_after_handovers(), honest_bearer(), ALTERED.forge(honest()), STOLEN.forge(honest()))
THREADS = 8
ROUNDS = 12


def answer(shown: Shown) -> Verdict | str:
    """Return what the one verifier of this trusted root says."""
    try:
        return shown.verifier.verify(
            shown.document, shown.proof_bytes, request=shown.request, now_ms=shown.at_ms
        )
    except VerificationError as refused:
        return refused.code


def test_threads_share_a_verifier_and_never_mix_their_answers() -> None:
    assert SHOWN[0].verifier is SHOWN[1].verifier, "one verifier for all"
    alone = [answer(shown) for shown in SHOWN]
    assert alone[3:] == ["document-altered", "holder-signature"]
    with ThreadPoolExecutor(THREADS) as threads:
        together = list(threads.map(answer, SHOWN * ROUNDS))
    assert together == alone * ROUNDS


def test_asynchronous_code_verifies_in_a_thread_beside_its_loop() -> None:
    async def verify_all() -> list[Verdict | str]:
        return await asyncio.gather(*(asyncio.to_thread(answer, shown) for shown in SHOWN))

    assert asyncio.run(verify_all()) == [answer(shown) for shown in SHOWN]


def test_a_document_that_arrives_in_pieces_is_verified_once_it_is_whole() -> None:
    shown = honest()

    async def received() -> AsyncIterator[bytes]:
        for start in range(0, len(shown.document), 7):
            yield shown.document[start : start + 7]

    async def verify() -> Verdict:
        pieces = [piece async for piece in received()]
        return await asyncio.to_thread(
            lambda: shown.verifier.verify(
                pieces, shown.proof_bytes, request=shown.request, now_ms=shown.at_ms
            )
        )

    assert asyncio.run(verify()) == shown.verify()
