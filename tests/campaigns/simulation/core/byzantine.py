"""Validators that do not keep the rules. Each runs an honest core for its good manners and spoils what it sends.

They sign anything, but only as themselves.
"""

from collections.abc import Callable

from ledger.rules.certificates import FINALIZE, NOTARIZE, NULLIFY, QuorumCertificate, SignedBy, Subject, Vote
from node.consensus.messages import (
    BlockProposalMessage,
    CertificateMessage,
    CertificateRequest,
    LatestVoteAnswer,
    Message,
    StatusMessage,
    VoteMessage,
)
from tests.campaigns.simulation.core.chain import Block
from tests.campaigns.simulation.core.node import EPOCH, SimulatedNode
from tests.campaigns.simulation.core.packets import ConsensusPacket
from tests.campaigns.simulation.core.signatures import signature_of


class ByzantineNode(SimulatedNode):
    """A node whose messages pass through `spoil`."""

    def transmit(self, peer: int, message: Message, block: Block | None) -> None:
        """Send whatever the temper makes of an honest message."""
        for spoiled, beside in self.spoil(peer, message, block):
            self.network.send(self.index, peer, ConsensusPacket(spoiled, beside))

    def spoil(self, peer: int, message: Message, block: Block | None) -> list[tuple[Message, Block | None]]:
        """Return what is sent instead."""
        return [(message, block)]

    def vote(self, subject: Subject) -> Vote:
        """Sign anything."""
        return Vote(subject, self.index, signature_of(self.index, subject))


class Equivocator(ByzantineNode):
    """Proposes one block to some and another to the rest."""

    def spoil(self, peer: int, message: Message, block: Block | None) -> list[tuple[Message, Block | None]]:
        if not isinstance(message, BlockProposalMessage) or block is None or peer % 2 == 0:
            return [(message, block)]
        other = Block(block.view, block.height, block.parent_hash, block.items, salt=1)
        subject = message.vote.subject
        self.disk.blocks[other.hash] = other
        twin = Subject(NOTARIZE, EPOCH, subject.view, subject.parent_view, other.hash)
        answer: list[tuple[Message, Block | None]] = [(BlockProposalMessage(self.vote(twin)), other)]
        return [*answer, (message, block)] if self.world.chance(300) else answer


class DoubleVoter(ByzantineNode):
    """Follows each vote for a block with one for a block that does not exist."""

    def spoil(self, peer: int, message: Message, block: Block | None) -> list[tuple[Message, Block | None]]:
        if not isinstance(message, VoteMessage) or message.vote.subject.kind == NULLIFY:
            return [(message, block)]
        subject = message.vote.subject
        other = Subject(subject.kind, EPOCH, subject.view, subject.parent_view, b"\xee" * 32)
        pair: list[tuple[Message, Block | None]] = [(message, block), (VoteMessage(self.vote(other)), None)]
        return pair if self.world.chance(500) else pair[::-1]


class NullifyAndFinalize(ByzantineNode):
    """Nullifies every view that it finalizes."""

    def spoil(self, peer: int, message: Message, block: Block | None) -> list[tuple[Message, Block | None]]:
        if not isinstance(message, VoteMessage) or message.vote.subject.kind == NOTARIZE:
            return [(message, block)]
        subject = message.vote.subject
        nullify = VoteMessage(self.vote(Subject(NULLIFY, EPOCH, subject.view, None, None)))
        return [(nullify, None), (message, None)]


class Withholder(ByzantineNode):
    """Shows proposals to some, and keeps most votes and certificates to itself."""

    def spoil(self, peer: int, message: Message, block: Block | None) -> list[tuple[Message, Block | None]]:
        if isinstance(message, BlockProposalMessage):
            return [(message, block)] if peer == (self.index + 1) % len(self.validators) else []
        if isinstance(message, VoteMessage | CertificateMessage) and self.world.chance(700):
            return []
        return [(message, block)]


class Usurper(ByzantineNode):
    """Builds on its parent's parent, as if the parent had been skipped."""

    def spoil(self, peer: int, message: Message, block: Block | None) -> list[tuple[Message, Block | None]]:
        if not isinstance(message, BlockProposalMessage) or block is None:
            return [(message, block)]
        subject = message.vote.subject
        parent = self.oracle.notarized.get(subject.parent_view or 0)
        parent_block = self.disk.blocks.get(block.parent_hash)
        if parent is None or parent_block is None:
            return [(message, block)]
        usurping = Block(block.view, block.height - 1, parent_block.parent_hash, block.items, salt=2)
        self.disk.blocks[usurping.hash] = usurping
        proposal = Subject(NOTARIZE, EPOCH, subject.view, parent.parent_view, usurping.hash)
        return [(BlockProposalMessage(self.vote(proposal)), usurping)]


class Garbler(ByzantineNode):
    """Sends nonsense beside the truth: forged, foreign, far away, and lies about where it is."""

    def spoil(self, peer: int, message: Message, block: Block | None) -> list[tuple[Message, Block | None]]:
        messages: list[tuple[Message, Block | None]] = [(message, block)]
        if self.world.chance(300):
            nonsense = self.world.random.choice(NONSENSE)(self, peer)
            messages.append((nonsense, None))
        return messages


def _subject(node: ByzantineNode, kind: str, view: int) -> Subject:
    if kind == NULLIFY:
        return Subject(NULLIFY, EPOCH, view, None, None)
    return Subject(kind, EPOCH, view, max(0, view - 1), bytes([view % 256]) * 32)


def _view(node: ByzantineNode) -> int:
    current = 1 if node.core is None else node.core.current_view
    return max(0, current + node.world.random.randint(-3, 3))


def _forged_vote(node: ByzantineNode, peer: int) -> Message:
    return VoteMessage(Vote(_subject(node, NOTARIZE, _view(node)), node.index, b"\0" * 64))


def _foreign_vote(node: ByzantineNode, peer: int) -> Message:
    other = (node.index + 1) % len(node.validators)
    return VoteMessage(Vote(_subject(node, FINALIZE, _view(node)), other, b"\1" * 64))


def _far_vote(node: ByzantineNode, peer: int) -> Message:
    return VoteMessage(node.vote(_subject(node, NULLIFY, _view(node) + node.world.random.randrange(2**40))))


def _other_epoch(node: ByzantineNode, peer: int) -> Message:
    return VoteMessage(node.vote(Subject(NULLIFY, EPOCH + 1, _view(node), None, None)))


def _wrong_leader(node: ByzantineNode, peer: int) -> Message:
    return BlockProposalMessage(node.vote(_subject(node, NOTARIZE, _view(node))))


def _small_certificate(node: ByzantineNode, peer: int) -> Message:
    subject = _subject(node, NULLIFY, _view(node) + 5)
    return CertificateMessage(
        QuorumCertificate(subject, (SignedBy(node.index, signature_of(node.index, subject)),))
    )


def _forged_certificate(node: ByzantineNode, peer: int) -> Message:
    subject = _subject(node, FINALIZE, _view(node) + 7)
    signers = range(len(node.validators))
    return CertificateMessage(
        QuorumCertificate(subject, tuple(SignedBy(signer, b"\2" * 64) for signer in signers))
    )


def _repeating_certificate(node: ByzantineNode, peer: int) -> Message:
    subject = _subject(node, NULLIFY, _view(node))
    signed = SignedBy(node.index, signature_of(node.index, subject))
    return CertificateMessage(QuorumCertificate(subject, (signed,) * len(node.validators)))


def _lying_status(node: ByzantineNode, peer: int) -> Message:
    view = node.world.random.choice([0, _view(node), 2**50])
    return StatusMessage(EPOCH, view, view + 1, node.world.random.choice(["idle", "waiting", "work"]))


def _greedy_request(node: ByzantineNode, peer: int) -> Message:
    return CertificateRequest(EPOCH, node.world.random.randrange(2**50), NOTARIZE)


def _foreign_answer(node: ByzantineNode, peer: int) -> Message:
    vote = node.vote(_subject(node, NULLIFY, _view(node)))
    return LatestVoteAnswer(EPOCH, (vote,), ())


def _forged_answer(node: ByzantineNode, peer: int) -> Message:
    vote = Vote(_subject(node, NULLIFY, _view(node) + 2), peer, b"\3" * 64)
    return LatestVoteAnswer(EPOCH, (vote,), ())


NONSENSE: tuple[Callable[[ByzantineNode, int], Message], ...] = (
    _forged_vote,
    _foreign_vote,
    _far_vote,
    _other_epoch,
    _wrong_leader,
    _small_certificate,
    _forged_certificate,
    _repeating_certificate,
    _lying_status,
    _greedy_request,
    _foreign_answer,
    _forged_answer,
)

TEMPERS: tuple[type[ByzantineNode], ...] = (
    Equivocator,
    DoubleVoter,
    NullifyAndFinalize,
    Withholder,
    Usurper,
    Garbler,
)
