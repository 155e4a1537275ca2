"""What travels in the simulated network beside consensus messages."""

from dataclasses import dataclass
from typing import TypeAlias

from node.consensus.messages import Message
from tests.campaigns.simulation.core.chain import Block


@dataclass(frozen=True, slots=True)
class ConsensusPacket:
    """A consensus message as bytes' worth, and the block beside a proposal."""

    message: Message
    block: Block | None = None


@dataclass(frozen=True, slots=True)
class WantBlockPacket:
    """Ask for a block."""

    block_hash: bytes


@dataclass(frozen=True, slots=True)
class BlockPacket:
    """A block, asked for."""

    block: Block


@dataclass(frozen=True, slots=True)
class ItemPacket:
    """A transaction, gossiped."""

    item: int


Packet: TypeAlias = ConsensusPacket | WantBlockPacket | BlockPacket | ItemPacket
