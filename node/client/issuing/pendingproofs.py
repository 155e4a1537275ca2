"""Proofs that somebody waits for: a future for each document, under its id in the register.

Rule 1: a document has one future at a time, which everybody who asks for its proof shares.
Rule 2: a future may be left alone: its failure stays in the register, so nobody is warned.
"""

import asyncio

from ledger.proofs import Proof

ProofFuture = asyncio.Future[Proof]


class PendingProofs:
    """The futures that are not resolved yet."""

    def __init__(self) -> None:
        self._futures: dict[int, ProofFuture] = {}

    def ids(self) -> tuple[int, ...]:
        """Return the documents whose proofs are waited for, in the order of asking."""
        return tuple(self._futures)

    def future_of(self, identity: int) -> ProofFuture:
        """Return the future of a document's proof. Needs a running loop."""
        future = self._futures.get(identity)
        if future is None or future.done():
            future = self._futures[identity] = asyncio.get_running_loop().create_future()
            future.add_done_callback(_look_at)
        return future

    def resolve(self, identity: int, proof: Proof) -> None:
        """Give the proof to whoever waits for it."""
        future = self._futures.pop(identity, None)
        if future is not None and not future.done():
            future.set_result(proof)

    def fail(self, identity: int, error: BaseException) -> None:
        """Tell whoever waits for a proof that it does not come."""
        future = self._futures.pop(identity, None)
        if future is not None and not future.done():
            future.set_exception(error)

    def fail_all(self, error: BaseException) -> None:
        """Tell everybody."""
        for identity in self.ids():
            self.fail(identity, error)

    def cancel(self, identity: int) -> None:
        """Cancel the future of a document that is erased."""
        future = self._futures.pop(identity, None)
        if future is not None:
            future.cancel()

    def cancel_all(self) -> None:
        """Cancel what is left when the issuer stops: nothing is lost by it."""
        for future in self._futures.values():
            future.cancel()


def _look_at(future: ProofFuture) -> None:
    if not future.cancelled():
        future.exception()
