"""The fake application: blocks of numbered items, and the chain that they form."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

from ledger.rules.certificates import QuorumCertificate

GENESIS_HASH = sha256(b"genesis of the simulation").digest()


@dataclass(frozen=True)
class Block:
    """A block: the salt lets a Byzantine leader make two of them."""

    view: int
    height: int
    parent_hash: bytes
    items: tuple[int, ...]
    salt: int = 0

    @cached_property
    def hash(self) -> bytes:
        """The block's hash."""
        content = f"{self.view}|{self.height}|{self.parent_hash.hex()}|{self.items}|{self.salt}"
        return sha256(content.encode()).digest()


@dataclass(frozen=True, slots=True)
class Committed:
    """A final block, with its certificate if it has one of its own."""

    block: Block
    certificate: QuorumCertificate | None


def branch(blocks: dict[bytes, Block], tip_hash: bytes, base_hash: bytes) -> list[Block] | None:
    """Return the blocks from above `base_hash` to `tip_hash`, or None if one is missing or they do not meet."""
    found: list[Block] = []
    block_hash = tip_hash
    while block_hash != base_hash:
        block = blocks.get(block_hash)
        if block is None:
            return None
        found.append(block)
        block_hash = block.parent_hash
    return found[::-1]


def first_missing(blocks: dict[bytes, Block], tip_hash: bytes, base_hash: bytes) -> bytes | None:
    """Return the hash of the highest block missing between `base_hash` and `tip_hash`."""
    block_hash = tip_hash
    while block_hash not in (base_hash, GENESIS_HASH):
        block = blocks.get(block_hash)
        if block is None:
            return block_hash
        block_hash = block.parent_hash
    return None
