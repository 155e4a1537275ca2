"""What peers hold of a chain: asked before the home of a stopped node gives its own copy up (docs/sync.md, Repair).

Rule 1: a peer that gives the very block that this home has at its tip holds the chain up to there, whoever it is.
Rule 2: what validators merely say of their height counts where f + 1 of them say it, for one of them is honest. Where
this home no longer knows its own height, q - 1 must say how far they are: what is final, an honest one of them holds.
Rule 3: who gives another block at that height is on another chain, and holds nothing of this one.
Rule 4: nothing is asked for but that block, and nothing that comes is kept.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from ledger.errors import LedgerError
from ledger.rules.blocks import EncodedHeader, transactions_root
from ledger.rules.state import VALIDATOR, Node, StateView, find, node_key, require_members
from ledger.rules.transactions import Transaction
from node.home.settings import NodeSettings
from node.messages import FinalBlocks, NotHeld, WantFinal, decode_peer_message, encode_peer_message
from node.network.peers import PeerNetwork
from node.network.registry import Peer, PeerKind
from node.network.tls import TlsIdentity
from node.peernames import registered

ASK_S: Final = 15.0
GOODBYE_S: Final = 0.25
NOBODY_HOLDS: Final = 2**53 - 1
"""A height to ask for where only the answer's own height matters."""


@dataclass(frozen=True, slots=True)
class Question:
    """How far this home's chain is known to reach, and whom to ask whether they hold it.

    `height` is None where nothing is known, `block_hash` where only the height is.
    """

    height: int | None
    block_hash: bytes | None
    peers: Mapping[str, Peer]

    @property
    def validators_count(self) -> int:
        """How many validators there are, this home's among them."""
        return sum(peer.kind is PeerKind.VALIDATOR for peer in self.peers.values()) + 1

    @property
    def words(self) -> str:
        """What is asked for, in words."""
        if self.height is None:
            return "the chain that was here, whose height cannot be read any more"
        return f"the chain up to block {self.height}"


@dataclass(slots=True)
class Holdings:
    """What peers answered: who showed the block, who another in its place, and what each said of its own height."""

    shown_by: set[str] = field(default_factory=set)
    elsewhere: set[str] = field(default_factory=set)
    heights: dict[str, int] = field(default_factory=dict)

    def suffice(self, question: Question) -> bool:
        """Say whether the running network holds what is asked for (rules 1 and 2)."""
        if self.shown_by or question.height == 0:
            return True
        faulty_max = (question.validators_count - 1) // 3
        said = [
            height
            for member, height in self.heights.items()
            if member not in self.elsewhere and question.peers[member].kind is PeerKind.VALIDATOR
        ]
        if question.height is None:
            return len(said) >= question.validators_count - faulty_max - 1
        return sum(height >= question.height for height in said) > faulty_max

    def told(self, question: Question) -> str:
        """Return what came, for people."""
        return ", ".join(f"{member} {self._words(member)}" for member in sorted(question.peers))

    def _words(self, member: str) -> str:
        if member in self.elsewhere:
            return "has another block there"
        return f"is at {self.heights[member]}" if member in self.heights else "does not answer"


AskPeers = Callable[[Question], Holdings]
"""Asks; raises LuohuError or OSError where nobody can be asked from here."""


def peers_in(state: StateView, member: str, settings: NodeSettings) -> dict[str, Peer]:
    """Return the nodes that a state registers beside a member's own, at the addresses of its settings."""
    peers: dict[str, Peer] = {}
    for other in require_members(state).ids:
        node = find(state, Node, node_key(other))
        address = settings.peers.get(other)
        if other == member or node is None:
            continue
        kind = PeerKind.VALIDATOR if node.kind == VALIDATOR else PeerKind.OBSERVER
        try:
            peers[other] = Peer(node.tls_certificate, None if address is None else str(address), kind)
        except ValueError:
            # A registration that nobody can pin: nobody can ask that node either.
            continue
    return peers


async def ask_peers(
    question: Question,
    *,
    member: str,
    chain_id: bytes,
    settings: NodeSettings,
    identity: TlsIdentity,
    seconds: float = ASK_S,
) -> Holdings:
    """Ask all peers until enough of them have answered, or the time is over. Raises OSError."""
    if not question.peers:
        return Holdings()
    asking = _Asking(question, Holdings())
    network = PeerNetwork(
        node_id=member,
        identity=identity,
        chain_id=chain_id,
        peers=question.peers,
        random_source=random.SystemRandom(),
        on_peer_up=asking.ask,
        on_unpinned_up=asking.ask,
    )
    asking.send = network.send
    await network.start(host=settings.listen.host, port=settings.listen.port)
    try:
        # What came until then is the answer.
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asking.hear(network)
    finally:
        await network.close()
        # TLS says goodbye after that: a loop that ended now would leave its sockets open.
        await asyncio.sleep(GOODBYE_S)
    return asking.holdings


@dataclass(slots=True)
class _Asking:
    question: Question
    holdings: Holdings
    send: Callable[[str, bytes], bool] = lambda _peer, _data: False

    def ask(self, peer: str) -> None:
        height = self.question.height if self.question.block_hash is not None else None
        self.send(peer, encode_peer_message(WantFinal(NOBODY_HOLDS if height is None else height, 1)))

    async def hear(self, network: PeerNetwork) -> None:
        async for peer, data in network.messages():
            self.receive(peer, data)
            is_enough = self.question.height is not None and self.holdings.suffice(self.question)
            if is_enough or len(self.holdings.heights) == len(self.question.peers):
                return

    def receive(self, peer: str, data: bytes) -> None:
        try:
            message = decode_peer_message(data)
            if isinstance(message, FinalBlocks):
                self._compare(registered(peer), message)
        except LedgerError:
            # Whoever answers with nonsense has not answered.
            return
        if isinstance(message, FinalBlocks | NotHeld) and peer in self.question.peers:
            self.holdings.heights[peer] = message.tip_height

    def _compare(self, member: str, message: FinalBlocks) -> None:
        if self.question.block_hash is None or message.height != self.question.height:
            return
        encoded_header = EncodedHeader.decode(message.blocks[0].header)
        root = transactions_root(
            tuple(Transaction.decode(each).id for each in message.blocks[0].transactions)
        )
        if encoded_header.hash != self.question.block_hash:
            self.holdings.elsewhere.add(member)
        elif encoded_header.header.transactions_root == root:
            self.holdings.shown_by.add(member)
