"""Several nodes as one: the first that answers usefully is asked first the next time.

Rule 1: a node that does not answer, is not ready, has no room or answers what no node sends is passed over.
Rule 2: a refusal stands only where every node that answered refuses; another node may be further on than this one.
Rule 3: the same signed transaction goes to each: its id makes it one, wherever it arrives.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, TypeVar

from ledger.encoding.arguments import require_each
from ledger.proofs import Evidence, EvidenceRequest
from ledger.rules.transactions import Transaction
from node.client.client import Client, Result
from node.client.submission import submit_once
from node.errors import BadAnswer, RefusedByNode, Unreachable

BUSY_CODES: Final = frozenset({"mempool-full", "mempool-share", "rate-limited"})
"""Refusals that say nothing of what was asked: there was no room."""

T = TypeVar("T")


class Nodes:
    """The nodes that may be used, in order of preference. Use `connect`, which closes them."""

    def __init__(self, clients: Sequence[Client]) -> None:
        assert clients, "there is somebody to ask"
        self._clients = list(clients)

    @classmethod
    @asynccontextmanager
    async def connect(cls, urls: Sequence[str]) -> AsyncIterator["Nodes"]:
        """Open clients for nodes' URLs, like http://127.0.0.1:7201. Asks nothing yet."""
        require_each("urls", urls, str, cure='Give a list: ["http://127.0.0.1:7201"].')
        async with AsyncExitStack() as stack:
            yield cls([await stack.enter_async_context(Client.connect(url)) for url in urls])

    @property
    def clients(self) -> tuple[Client, ...]:
        """The nodes, the preferred one first."""
        return tuple(self._clients)

    async def submit_once(self, transaction: Transaction) -> Result | None:
        """Have a transaction recorded; None where it was recorded before. Raises RefusedByNode or Unreachable."""
        return await self.ask(lambda client: submit_once(client, transaction))

    async def evidence(self, request: EvidenceRequest, check: Callable[[Evidence], T]) -> T:
        """Return what `check` makes of a node's evidence; it raises BadAnswer for what proves nothing.

        Raises RefusedByNode or Unreachable.
        """

        async def ask(client: Client) -> T:
            return check(await client.evidence(request))

        return await self.ask(ask)

    async def ask(self, question: Callable[[Client], Awaitable[T]]) -> T:
        """Return the first useful answer. Raises RefusedByNode, or Unreachable where no node answered."""
        refused: RefusedByNode | None = None
        failed: Unreachable | BadAnswer | RefusedByNode | None = None
        for client in self.clients:
            try:
                answer = await question(client)
            except RefusedByNode as error:
                if error.code in BUSY_CODES:
                    failed = error
                else:
                    refused = error
            except (Unreachable, BadAnswer) as error:
                failed = error
            else:
                self.prefer(client)
                return answer
        if refused is not None:
            raise refused
        assert failed is not None, "every node was asked"
        cure = f"Nothing is lost: the same again, later, is right. The last node asked says: {failed.cure}"
        raise Unreachable(
            code=failed.code, where=failed.where, expected=failed.expected, found=failed.found, cure=cure
        ) from failed

    def prefer(self, client: Client) -> None:
        """Ask a node first from now on."""
        self._clients.remove(client)
        self._clients.insert(0, client)
