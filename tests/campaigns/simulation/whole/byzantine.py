"""Members that break the rules, by name. Each is a machine of honest code whose messages are spoiled.

They sign anything, but only as themselves: a signature of another member is what none of them can make.
"""

import random
from dataclasses import replace

from ledger.rules.blocks import EncodedHeader, transactions_root
from ledger.rules.certificates import FINALIZE, NOTARIZE, NULLIFY, QuorumCertificate, SignedBy, Subject, Vote
from node.consensus.messages import (
    BlockProposalMessage,
    CertificateMessage,
    CertificateRequest,
    LatestVoteAnswer,
    LatestVoteRequest,
    Message,
    StatusMessage,
    VoteMessage,
    encode_message,
)
from node.messages import (
    MESSAGE_SIZE_MAX,
    BlockProposal,
    Consensus,
    FinalBlocks,
    Gossip,
    NotHeld,
    PeerMessage,
    SnapshotChunk,
    SnapshotOffer,
    StoredBlock,
    WantBlock,
    WantFinal,
    WantTransactions,
    encode_peer_message,
)
from node.peernames import registered
from tests.campaigns.simulation.whole.machine import Machine
from tests.campaigns.simulation.whole.oracle import decode_message_shared, decode_shared

HELD_MAX = 200


class Byzantine(Machine):
    """A machine whose every message passes through `spoil`, for each receiver by itself."""

    keeps_rules = False

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.chance = random.Random(f"byzantine {self.number} {self.links.seed}")

    def send(self, peer_id: str, data: bytes) -> bool:
        is_connected = False
        for spoiled in self.spoil(peer_id, decode_shared(data), data):
            is_connected = self.transmit(peer_id, spoiled)
        return is_connected

    def broadcast(self, data: bytes) -> int:
        message = decode_shared(data)
        for peer in self.consortium.everybody:
            if peer != self.member:
                for spoiled in self.spoil(peer, message, data):
                    self.transmit(peer, spoiled)
        return len(self.consortium.everybody) - 1

    def spoil(self, peer: str, message: PeerMessage, data: bytes) -> list[bytes]:
        """Return what is sent instead."""
        return [data]

    def is_odd(self, peer: str) -> bool:
        """Divide the peers into two halves."""
        return self.consortium.everybody.index(registered(peer)) % 2 == 1

    def may(self, permille: int) -> bool:
        """Throw a die."""
        return self.chance.randrange(1_000) < permille

    def vote_for(self, subject: Subject) -> Vote:
        """Sign anything."""
        assert self.driver is not None and self.driver.engine.me is not None
        return Vote(subject, self.driver.engine.me, self.sign_anything(subject))

    @property
    def place(self) -> tuple[int, int]:
        """Epoch and current view."""
        assert self.driver is not None
        return self.driver.engine.epoch, self.driver.core.current_view

    @property
    def is_validator(self) -> bool:
        """Tell whether this machine may vote at all."""
        return self.driver is not None and self.driver.engine.me is not None


def vote_in(message: PeerMessage) -> Vote | None:
    """Return the single vote that a message carries."""
    if not isinstance(message, Consensus | BlockProposal):
        return None
    inner = decode_message_shared(message.message)
    return inner.vote if isinstance(inner, VoteMessage | BlockProposalMessage) else None


def wrap(message: Message) -> bytes:
    """Return a consensus message as it is sent."""
    return encode_peer_message(Consensus(encode_message(message)))


class Equivocator(Byzantine):
    """As a leader, proposes one valid block to some and another to the rest."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self._twins: dict[bytes, bytes | None] = {}

    def spoil(self, peer: str, message: PeerMessage, data: bytes) -> list[bytes]:
        if not isinstance(message, BlockProposal) or not self.is_odd(peer):
            return [data]
        vote = vote_in(message)
        assert vote is not None and vote.subject.block_hash is not None
        block_hash = vote.subject.block_hash
        if block_hash not in self._twins:
            self._twins[block_hash] = self._make_twin(vote.subject, block_hash)
        twin = self._twins[block_hash]
        if twin is None:
            return [data]
        return [twin, data] if self.may(300) else [twin]

    def _make_twin(self, subject: Subject, block_hash: bytes) -> bytes | None:
        assert self.driver is not None
        chain = self.driver.chain
        candidate = chain.tree.find(block_hash)
        if candidate is None or candidate.executed is None:
            return None
        header = candidate.encoded_header.header
        built = chain.build(
            header.parent_hash, (), view=header.view, proposer=self.member, now_ms=header.time_ms + 1
        )
        if built is None or built[0].block.hash == block_hash:
            return None
        other = built[0].block
        vote = self.vote_for(Subject(NOTARIZE, subject.epoch, subject.view, subject.parent_view, other.hash))
        self.timeline.sometimes["byzantine: two blocks proposed"] += 1
        encoded = encode_message(BlockProposalMessage(vote))
        return encode_peer_message(BlockProposal(encoded, other.encoded_header.encoded, ()))


class ConflictingVoter(Byzantine):
    """Votes for a block that does not exist beside each vote for one that does."""

    def spoil(self, peer: str, message: PeerMessage, data: bytes) -> list[bytes]:
        vote = vote_in(message)
        if vote is None or vote.subject.kind == NULLIFY or vote.signer != self._me():
            return [data]
        subject = vote.subject
        other = Subject(subject.kind, subject.epoch, subject.view, subject.parent_view, b"\xee" * 32)
        pair = [data, wrap(VoteMessage(self.vote_for(other)))]
        self.timeline.sometimes["byzantine: two votes of a kind"] += 1
        return pair if self.may(500) else pair[::-1]

    def _me(self) -> int | None:
        return None if self.driver is None else self.driver.engine.me


class NullifyAndFinalize(Byzantine):
    """Nullifies every view that it finalizes, and finalizes what it nullifies where it knows a block."""

    def spoil(self, peer: str, message: PeerMessage, data: bytes) -> list[bytes]:
        vote = vote_in(message)
        if vote is None or not self.is_validator:
            return [data]
        subject = vote.subject
        if subject.kind == NULLIFY:
            notarized = self.oracle.notarized.get((subject.epoch, subject.view))
            if notarized is None:
                return [data]
            other = Subject(
                FINALIZE, subject.epoch, subject.view, notarized.parent_view, notarized.block_hash
            )
        elif subject.kind == FINALIZE:
            other = Subject(NULLIFY, subject.epoch, subject.view, None, None)
        else:
            return [data]
        self.timeline.sometimes["byzantine: nullify and finalize"] += 1
        return [wrap(VoteMessage(self.vote_for(other))), data]


class Withholder(Byzantine):
    """Keeps votes, certificates or bodies to itself, or shows them to some only."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self._withheld = self.chance.choice(("votes", "certificates", "bodies", "everything"))
        self._is_partial = self.may(500)

    def spoil(self, peer: str, message: PeerMessage, data: bytes) -> list[bytes]:
        if self._is_partial and not self.is_odd(peer):
            return [data]
        is_kept = self._withheld in ("everything", self._kind(message))
        self.timeline.sometimes["byzantine: message withheld"] += is_kept
        return [] if is_kept else [data]

    @staticmethod
    def _kind(message: PeerMessage) -> str:
        if isinstance(message, Gossip | StoredBlock | FinalBlocks):
            return "bodies"
        if vote_in(message) is not None:
            return "votes"
        if isinstance(message, Consensus):
            inner = decode_message_shared(message.message)
            return "certificates" if isinstance(inner, CertificateMessage) else "other"
        return "other"


class Usurper(Byzantine):
    """As a leader, builds on its parent's parent, as if the parent had been skipped."""

    def spoil(self, peer: str, message: PeerMessage, data: bytes) -> list[bytes]:
        if not isinstance(message, BlockProposal) or not self.is_validator:
            return [data]
        vote = vote_in(message)
        assert vote is not None and self.driver is not None
        subject, chain = vote.subject, self.driver.chain
        parent = self.oracle.notarized.get((subject.epoch, subject.parent_view or 0))
        below = None if parent is None or parent.block_hash is None else chain.tree.find(parent.block_hash)
        if parent is None or below is None:
            return [data]
        header = below.encoded_header.header
        built = chain.build(
            header.parent_hash, (), view=subject.view, proposer=self.member, now_ms=self.wall_ms()
        )
        if built is None:
            return [data]
        other = built[0].block
        usurping = Subject(NOTARIZE, subject.epoch, subject.view, parent.parent_view, other.hash)
        self.timeline.sometimes["byzantine: parent usurped"] += 1
        encoded = encode_message(BlockProposalMessage(self.vote_for(usurping)))
        return [encode_peer_message(BlockProposal(encoded, other.encoded_header.encoded, ()))]


class Repeater(Byzantine):
    """As a leader, proposes blocks that hold a final transaction once more, or one of their own twice."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self._repeating: dict[bytes, list[bytes]] = {}

    def spoil(self, peer: str, message: PeerMessage, data: bytes) -> list[bytes]:
        vote = vote_in(message) if isinstance(message, BlockProposal) else None
        if vote is None or vote.subject.block_hash is None or not self.is_validator:
            return [data]
        if vote.subject.block_hash not in self._repeating:
            self._repeating[vote.subject.block_hash] = self._repeat(vote.subject, vote.subject.block_hash)
        return self._repeating[vote.subject.block_hash] or [data]

    def _repeat(self, subject: Subject, block_hash: bytes) -> list[bytes]:
        """Return the proposal and the body that it repeats; nothing where there is none to repeat."""
        assert self.driver is not None
        chain = self.driver.chain
        candidate = chain.tree.find(block_hash)
        if candidate is None or candidate.executed is None or self.may(300):
            return []
        own = candidate.executed.block.transactions
        height = chain.tip.header.height
        before = chain.store.load_block(self.chance.randint(max(1, height - 20), height)) if height else None
        final = () if before is None else before.transactions
        is_final = bool(final) and self.may(500)
        among = final if is_final else own
        if not among:
            return []
        repeated = self.chance.choice(among)
        transactions = (*own, repeated)
        ids = tuple(transaction.id for transaction in transactions)
        # It claims that nothing changes by it, as would be true of what was applied once.
        header = replace(candidate.encoded_header.header, transactions_root=transactions_root(ids))
        other = EncodedHeader.encode(header)
        vote = self.vote_for(Subject(NOTARIZE, subject.epoch, subject.view, subject.parent_view, other.hash))
        what = "a final transaction" if is_final else "one transaction twice"
        self.timeline.sometimes[f"byzantine: {what} proposed"] += 1
        encoded = encode_message(BlockProposalMessage(vote))
        proposal = encode_peer_message(BlockProposal(encoded, other.encoded, ids))
        return [proposal, encode_peer_message(Gossip((repeated.encoded,)))]


class Impersonator(Byzantine):
    """Votes and proposes in other members' names, with its own signature or none."""

    def spoil(self, peer: str, message: PeerMessage, data: bytes) -> list[bytes]:
        if not self.is_validator or not self.may(250):
            return [data]
        assert self.driver is not None
        epoch, view = self.place
        count = len(self.driver.engine.validators)
        other = self.chance.randrange(count)
        kind = self.chance.choice((NOTARIZE, NULLIFY, FINALIZE))
        subject = (
            Subject(NULLIFY, epoch, view, None, None)
            if kind == NULLIFY
            else Subject(kind, epoch, view, max(0, view - 1), b"\x11" * 32)
        )
        own = self.sign_anything(subject)
        forged = Vote(subject, other, own if self.may(500) else bytes(64))
        certificate = QuorumCertificate(subject, tuple(SignedBy(signer, own) for signer in range(count)))
        messages: list[Message] = [VoteMessage(forged), CertificateMessage(certificate)]
        if kind == NOTARIZE:
            messages.append(BlockProposalMessage(forged))
        self.timeline.sometimes["byzantine: another impersonated"] += 1
        return [data, wrap(self.chance.choice(messages))]


class Replayer(Byzantine):
    """Says again what was said in old views, and signs for epochs that are over or not yet there."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self._held: list[bytes] = []

    def _receive(self, sender: str, data: bytes) -> None:
        self._hold(data)
        super()._receive(sender, data)

    def _hold(self, data: bytes) -> None:
        if len(self._held) < HELD_MAX:
            self._held.append(data)
        elif self.may(50):
            self._held[self.chance.randrange(HELD_MAX)] = data

    def spoil(self, peer: str, message: PeerMessage, data: bytes) -> list[bytes]:
        self._hold(data)
        sent = [data]
        if self.may(300):
            sent.append(self.chance.choice(self._held))
            self.timeline.sometimes["byzantine: old message replayed"] += 1
        vote = vote_in(message)
        if vote is not None and self.is_validator and self.may(200):
            subject = vote.subject
            epoch = max(0, subject.epoch + self.chance.choice((-1, 1)))
            moved = Subject(subject.kind, epoch, subject.view, subject.parent_view, subject.block_hash)
            sent.append(wrap(VoteMessage(self.vote_for(moved))))
        return sent


class GarbageSender(Byzantine):
    """Sends bytes that are no message, messages that are cut or changed, and ones past every limit."""

    def spoil(self, peer: str, message: PeerMessage, data: bytes) -> list[bytes]:
        if not self.may(60):
            return [data]
        self.timeline.sometimes["byzantine: garbage sent"] += 1
        place = self.chance.randrange(len(data))
        garbage = (
            self.chance.randbytes(self.chance.randrange(200)),
            data[:place],
            data[:place] + bytes([data[place] ^ 1 << self.chance.randrange(8)]) + data[place + 1 :],
            data + b"\0",
            b"\0" * (MESSAGE_SIZE_MAX + 1) if self.may(50) else b"",
            encode_peer_message(Gossip((self.chance.randbytes(300),))),
            encode_peer_message(StoredBlock(self.chance.randbytes(300), ())),
            encode_peer_message(WantTransactions(tuple(bytes([i]) * 32 for i in range(20)))),
        )
        return [data, self.chance.choice(garbage)]


class FutureFlooder(Byzantine):
    """Votes, asks and proposes far ahead, and never stops asking."""

    def spoil(self, peer: str, message: PeerMessage, data: bytes) -> list[bytes]:
        if not self.is_validator or not self.may(400):
            return [data]
        epoch, view = self.place
        far = view + self.chance.choice((2, 3, 50, 2**20, 2**40))
        nullify = Subject(NULLIFY, epoch, far, None, None)
        notarize = Subject(NOTARIZE, epoch, far, far - 1, self.chance.randbytes(32))
        own = SignedBy(self.vote_for(nullify).signer, self.sign_anything(nullify))
        flood = [
            wrap(VoteMessage(self.vote_for(nullify))),
            wrap(VoteMessage(self.vote_for(notarize))),
            wrap(CertificateMessage(QuorumCertificate(nullify, (own,)))),
            wrap(CertificateRequest(epoch, far, NOTARIZE)),
            wrap(LatestVoteRequest(epoch)),
            wrap(StatusMessage(epoch, far, far + 1, self.chance.choice(("idle", "waiting", "work")))),
            wrap(LatestVoteAnswer(epoch, (), ())),
            encode_peer_message(WantBlock(self.chance.randbytes(32))),
            encode_peer_message(WantFinal(1, 8)),
        ]
        self.timeline.sometimes["byzantine: flood from the future"] += 1
        return [data, *(self.chance.choice(flood) for _ in range(self.chance.randint(1, 4)))]


class LyingServer(Byzantine):
    """Answers those who catch up with blocks that are cut, swapped, changed, or of another certificate."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self._certificate: QuorumCertificate | None = None

    def spoil(self, peer: str, message: PeerMessage, data: bytes) -> list[bytes]:
        match message:
            case FinalBlocks():
                self.timeline.sometimes["byzantine: lie about final blocks"] += 1
                return [encode_peer_message(self.chance.choice(self._lies(message)))]
            case StoredBlock(header, transactions):
                self.timeline.sometimes["byzantine: lie about a block"] += 1
                lies = [StoredBlock(header, transactions[1:]), StoredBlock(header, transactions * 2)]
                return [encode_peer_message(self.chance.choice(lies))] if transactions else []
            case Gossip():
                return [] if self.may(300) else [data]
            case _:
                return [data]

    def _lies(self, told: FinalBlocks) -> list[PeerMessage]:
        held, self._certificate = self._certificate, told.certificate
        blocks, first = told.blocks, told.blocks[0]
        without = StoredBlock(first.header, first.transactions[1:])
        return [
            replace(told, blocks=blocks[1:] or blocks, height=told.height + 1),
            replace(told, blocks=blocks[::-1]),
            replace(told, blocks=blocks[:-1] or blocks),
            replace(told, blocks=(without, *blocks[1:])),
            replace(told, certificate=held),
            replace(told, certificate=None, history=None),
            replace(told, tip_height=2**50),
            replace(told, certificate=self._forge()),
            NotHeld("blocks", told.height, 0, 0, 2**50),
            told,
        ]

    def _forge(self) -> QuorumCertificate | None:
        """Return a certificate that this member alone signed."""
        if not self.is_validator:
            return None
        epoch, view = self.place
        subject = Subject(FINALIZE, epoch, view, max(0, view - 1), b"\x22" * 32)
        own = self.vote_for(subject)
        return QuorumCertificate(subject, (SignedBy(own.signer, own.signature),))


class SnapshotForger(Byzantine):
    """Offers snapshots of a state that nobody agreed on, and chunks that are not of the snapshot offered."""

    def spoil(self, peer: str, message: PeerMessage, data: bytes) -> list[bytes]:
        match message:
            case SnapshotOffer():
                # For chunks it is asked only where its offer was a true one.
                if self.may(500):
                    return [data]
                self.timeline.sometimes["byzantine: snapshot forged"] += 1
                return [encode_peer_message(self.chance.choice(self._forged_offers(message)))]
            case SnapshotChunk():
                self.timeline.sometimes["byzantine: chunk forged"] += 1
                place = self.chance.randrange(len(message.chunk))
                flipped = bytes([message.chunk[place] ^ 1])
                chunk = message.chunk[:place] + flipped + message.chunk[place + 1 :]
                forged: list[PeerMessage] = [
                    replace(message, chunk=chunk),
                    replace(message, siblings=message.siblings[1:]),
                    replace(message, index=message.index + 1),
                    replace(message, chunk=message.chunk[:-1] or b"\0"),
                    NotHeld("chunk", message.height, message.index, 0, message.height),
                ]
                return [encode_peer_message(self.chance.choice(forged))] if self.may(700) else [data]
            case FinalBlocks():
                # Who cannot have blocks is driven to the snapshot.
                return [] if self.may(500) else [data]
            case _:
                return [data]

    @staticmethod
    def _forged_offers(offer: SnapshotOffer) -> list[SnapshotOffer]:
        described = offer.description
        return [
            replace(offer, description=replace(described, chunks_root=b"\x33" * 32)),
            replace(offer, certificate=None),
            replace(offer, trust_path=replace(offer.trust_path, handovers=())),
        ]


class Twin(Byzantine):
    """One of two machines with one key. Each is honest by itself."""

    def spoil(self, peer: str, message: PeerMessage, data: bytes) -> list[bytes]:
        return [data]


ACTORS: dict[str, type[Byzantine]] = {
    "equivocator": Equivocator,
    "conflicting-voter": ConflictingVoter,
    "nullify-and-finalize": NullifyAndFinalize,
    "withholder": Withholder,
    "usurper": Usurper,
    "impersonator": Impersonator,
    "replayer": Replayer,
    "garbage-sender": GarbageSender,
    "future-flooder": FutureFlooder,
    "lying-server": LyingServer,
    "snapshot-forger": SnapshotForger,
    "twins": Twin,
    "repeater": Repeater,
}
