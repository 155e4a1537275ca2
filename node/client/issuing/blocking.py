"""The issuer for code without a loop: the same calls, from any thread, on a loop of its own.

Rule 1: every call does what the asynchronous one does and raises what it raises.
Rule 2: leaving ends the loop and its threads; what was taken is in the register.
"""

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from ledger.encoding.keys import PrivateKey
from ledger.proofs import Proof
from ledger.trust import TrustedRoot
from node.client.issuing.draft import Draft
from node.client.issuing.issuer import Issuance, Issuer, Pacing
from node.client.issuing.outbox import Outbox
from node.client.issuing.register import Register
from node.client.nodes import Nodes
from node.clock import Clock

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BlockingIssuance:
    """A document that is in the register, and the future of its proof: `proof.result(timeout_s)` waits for it."""

    reference: str | None
    commitment: bytes
    proof: "Future[Proof]"


class BlockingIssuer:
    """An Issuer on a loop in a thread of its own. Use `open`, which ends it. Threads may share it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, issuer: Issuer) -> None:
        self._loop = loop
        self._issuer = issuer

    @classmethod
    @contextmanager
    def open(
        cls,
        register: Register,
        urls: Sequence[str],
        *,
        key: PrivateKey,
        trust: TrustedRoot,
        clock: Clock,
        pacing: Pacing | None = None,
    ) -> Iterator["BlockingIssuer"]:
        """Go on with what the register holds, and take more, over the nodes at these URLs. Raises LedgerError."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="issuer")
        thread.start()
        stack = AsyncExitStack()

        async def enter() -> Issuer:
            nodes = await stack.enter_async_context(Nodes.connect(urls))
            outbox = Outbox(register, nodes, key=key, trust=trust, clock=clock)
            return await stack.enter_async_context(Issuer.open(outbox, clock, pacing=pacing))

        try:
            yield cls(loop, asyncio.run_coroutine_threadsafe(enter(), loop).result())
        finally:
            asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result()
            # The loop's own threads look names up. Closing it tells them to end, and waits for none.
            asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def issue(self, draft: Draft) -> BlockingIssuance:
        """Take one document; returns once it is in the register. Raises ReferenceTaken or LedgerError."""
        return self._shown(self._wait(self._issuer.issue(draft)))

    def issue_many(self, drafts: Sequence[Draft]) -> list[BlockingIssuance]:
        """Take documents, all or none, in one durable write."""
        return [self._shown(each) for each in self._wait(self._issuer.issue_many(drafts))]

    def correct(self, reference: str, draft: Draft) -> BlockingIssuance:
        """Issue a corrected document in place of the standing one. Raises RegisterError or LedgerError."""
        return self._shown(self._wait(self._issuer.correct(reference, draft)))

    def revoke(self, reference: str, reason: str) -> None:
        """Hold the revocation of the standing document of a reference. Raises RegisterError."""
        self._wait(self._issuer.revoke(reference, reason))

    def proof(self, reference: str) -> Proof:
        """Return the proof of the standing document, when it is anchored. Raises RegisterError or Refused."""
        return self._wait(self._issuer.proof(reference))

    def erase(self, reference: str) -> bool:
        """Erase salt, opening and reference of the standing document; say whether there was one."""
        return self._wait(self._issuer.erase(reference))

    def settled(self) -> None:
        """Return once nothing waits."""
        self._wait(self._issuer.settled())

    def _wait(self, call: Coroutine[object, object, T]) -> T:
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()

    def _shown(self, issuance: Issuance) -> BlockingIssuance:
        async def follow() -> Proof:
            return await asyncio.shield(issuance.proof)

        proof = asyncio.run_coroutine_threadsafe(follow(), self._loop)
        return BlockingIssuance(issuance.reference, issuance.commitment, proof)
