"""What peers do: they come, speak and go. Each message becomes an event of the core, an answer or an offence.

Rule 1: whatever is not one canonical message that may be said here is an offence of its sender. Our own damage is none.
Rule 2: a peer that no register names may answer what it was asked, and nothing else.
Rule 3: messages of other epochs are for no core of this one. They tell who is ahead, and who is to be told of a seal
(docs/epochs.md).
"""

from collections.abc import Callable
from typing import assert_never

from ledger.errors import LedgerError
from ledger.rules.blocks import BlockError, EncodedHeader
from ledger.trees.statepages import StatePageError
from node.chain.chain import Chain
from node.clock import Clock
from node.consensus.events import BlockAvailable, Event, PeerDown, PeerUp, Received
from node.consensus.messages import (
    BlockProposalMessage,
    CertificateMessage,
    Message,
    decode_message,
    encode_message,
    epoch_of,
)
from node.messages import (
    BlockProposal,
    Consensus,
    FinalBlocks,
    Gossip,
    NotHeld,
    PeerMessage,
    SnapshotChunk,
    SnapshotOffer,
    StoredBlock,
    SyncAnswer,
    WantBlock,
    WantChunk,
    WantFinal,
    WantSnapshot,
    WantTransactions,
    decode_peer_message,
)
from node.peernames import is_unpinned
from node.replica.blockexecutor import BlockExecutor
from node.replica.blockrequests import BlockRequests
from node.replica.engine import Engine
from node.replica.heard import Heard
from node.replica.intake import Intake
from node.replica.messenger import Messenger
from node.replica.serving import Serving
from node.sync.server import SyncServer
from node.sync.sync import Sync


class Inbox:
    """One replica's ear for its peers."""

    def __init__(
        self,
        *,
        engine: Engine,
        chain: Chain,
        messenger: Messenger,
        block_requests: BlockRequests,
        executor: BlockExecutor,
        intake: Intake,
        serving: Serving,
        heard: Heard,
        sync: Sync,
        sync_server: SyncServer,
        clock: Clock,
        tell_core: Callable[[Event], None],
        progress: Callable[[], None],
    ) -> None:
        """`progress` tries everything that waits for missing data."""
        self._engine = engine
        self._chain = chain
        self._messenger = messenger
        self._block_requests = block_requests
        self._executor = executor
        self._intake = intake
        self._serving = serving
        self._heard = heard
        self._sync = sync
        self._sync_server = sync_server
        self._clock = clock
        self._tell_core = tell_core
        self._progress = progress

    def begin(self, engine: Engine) -> None:
        """Listen for this engine from now on."""
        self._engine = engine

    # -- connections ------------------------------------------------------------------------------------

    def peer_up(self, peer: str) -> None:
        """Take note of a connection."""
        self._sync.peer_up(peer)
        if is_unpinned(peer):
            # No status and no certificate is taken from it: it must be asked how far it is.
            self._sync.probe(peer)
            return
        self._messenger.connected.add(peer)
        self._heard.peer_up(peer)
        index = self._engine.validators.index_of(peer)
        if index is not None:
            self._tell_core(PeerUp(index))
            return
        final = self._chain.store.tip_certificate()
        if final is not None:
            # The core speaks with validators only; an observer learns here how far the chain is.
            self._messenger.send(peer, Consensus(encode_message(CertificateMessage(final))))

    def peer_down(self, peer: str) -> None:
        """Take note of a lost connection."""
        self._messenger.connected.discard(peer)
        self._sync.peer_down(peer)
        self._sync_server.forget(peer)
        self._serving.forget(peer)
        index = self._engine.validators.index_of(peer)
        if index is not None:
            self._tell_core(PeerDown(index))

    # -- messages ---------------------------------------------------------------------------------------

    def receive(self, peer: str, data: bytes) -> None:
        """Take one message of a connected peer."""
        try:
            message = decode_peer_message(data)
            if is_unpinned(peer) and not isinstance(message, SyncAnswer):
                # It takes us for a peer like any other. We do not know it: it may answer, and nothing else.
                return
            self._dispatch(peer, message)
        except StatePageError:
            # Our own damage and no offence of the peer's: pages are made here, from what was verified.
            raise
        except LedgerError as error:
            self._intake.gossip_queue.forget(peer)
            self._messenger.note_offence(peer, error)

    def _dispatch(self, peer: str, message: PeerMessage) -> None:
        match message:
            case Consensus():
                self._receive_consensus(peer, decode_message(message.message))
            case BlockProposal():
                self._receive_proposal(peer, message)
            case Gossip():
                self._receive_gossip(peer, message)
            case WantTransactions():
                self._serving.transactions(peer, message)
            case WantBlock():
                self._serving.block(peer, message)
            case StoredBlock():
                self._receive_block(message)
            case WantFinal() | WantSnapshot() | WantChunk():
                answer = self._sync_server.answer(peer, message, self._clock.monotonic_ms())
                self._messenger.send(peer, answer)
            case FinalBlocks() | SnapshotOffer() | SnapshotChunk() | NotHeld():
                self._sync.receive(peer, message, self._clock.monotonic_ms())
            case _:
                assert_never(message)

    def _receive_consensus(self, peer: str, message: Message) -> None:
        self._heard.note_message(peer, message)
        if epoch_of(message) > self._engine.epoch:
            # It is of no use to this engine, but its sender is past our seal.
            self._sync.note_ahead(peer)
        elif epoch_of(message) < self._engine.epoch:
            self._serving.seal(peer, message, self._clock.monotonic_ms())
        self._tell_core(Received(self._engine.validators.index_of(peer), message))

    def _receive_proposal(self, peer: str, message: BlockProposal) -> None:
        core_message = decode_message(message.message)
        encoded_header = EncodedHeader.decode(message.header)
        if not isinstance(core_message, BlockProposalMessage):
            raise BlockError(where="proposal", expected="a leader's vote", found=type(core_message).__name__)
        subject = core_message.vote.subject
        if subject.block_hash != encoded_header.hash or not encoded_header.header.may_be_certified_in(
            subject.view
        ):
            raise BlockError(
                where="proposal", expected="a vote for its own header", found="a vote for another block"
            )
        self._heard.note_proposal(
            peer,
            encoded_header.header,
            subject.view,
            self._chain.find_time_ms(encoded_header.header.parent_hash),
        )
        if self._engine.me is None:
            self._receive_consensus(peer, core_message)
            return
        # A seal that is proposed again is here already, or is asked for by its hash.
        if subject.view == encoded_header.header.view:
            candidate = self._chain.propose(encoded_header, message.transaction_ids)
            if candidate is not None:
                self._executor.collect(candidate)
        self._receive_consensus(peer, core_message)
        self._progress()

    def _receive_gossip(self, peer: str, message: Gossip) -> None:
        if self._intake.receive(peer, message):
            self._progress()

    def _receive_block(self, block: StoredBlock) -> None:
        encoded_header = EncodedHeader.decode(block.header)
        if not self._block_requests.is_asked(encoded_header.hash):
            return
        if self._chain.take_block(block, is_wanted=True) is not None:
            self._tell_core(BlockAvailable(encoded_header.hash))
        self._progress()
