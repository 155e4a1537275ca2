"""The first message in each direction: which protocol, which chain, which node, which run of it.

Rule 1: nothing else is said or heard before both hellos have been accepted.
Rule 2: the refusal names what was expected and what was found, and reaches the other side as the close
reason.
Rule 3: the certificate decides. A hello whose node id is pinned to another certificate is refused.

Bytes: `luohu-peer`, version (2, big-endian), chain id (32), incarnation (8), node id (1 to 64, ASCII).
Magic and version keep their place in every later version, so that versions can always refuse each other
clearly.
"""

from dataclasses import dataclass

from ledger.errors import LuohuError
from node.network.registry import NODE_ID_SIZE_MAX, check_node_id

PROTOCOL_VERSION = 1
CHAIN_ID_SIZE = 32
INCARNATION_SIZE = 8
MAGIC = b"luohu-peer"

_VERSION_END = len(MAGIC) + 2
_CHAIN_END = _VERSION_END + CHAIN_ID_SIZE
_INCARNATION_END = _CHAIN_END + INCARNATION_SIZE
HELLO_SIZE_MAX = _INCARNATION_END + NODE_ID_SIZE_MAX


class HelloRefused(LuohuError):
    """The other side's hello is not one that we can talk to."""


@dataclass(frozen=True, slots=True)
class Hello:
    """Who speaks. `incarnation` is random for each run of a node: another one means that it restarted."""

    chain_id: bytes
    incarnation: bytes
    node_id: str

    def __post_init__(self) -> None:
        if len(self.chain_id) != CHAIN_ID_SIZE:
            raise ValueError(f"chain id: expected {CHAIN_ID_SIZE} bytes, found {len(self.chain_id)}")
        if len(self.incarnation) != INCARNATION_SIZE:
            raise ValueError(f"incarnation: expected {INCARNATION_SIZE} bytes, found {len(self.incarnation)}")
        check_node_id(self.node_id)


def encode_hello(hello: Hello) -> bytes:
    """Return the one encoding of this hello."""
    version = PROTOCOL_VERSION.to_bytes(2, "big")
    return MAGIC + version + hello.chain_id + hello.incarnation + hello.node_id.encode("ascii")


def decode_hello(data: bytes) -> Hello:
    """Read a hello of our version, or raise HelloRefused."""
    if not data.startswith(MAGIC) or len(data) < _VERSION_END:
        raise HelloRefused(
            where="hello", expected=f"{MAGIC.decode()} and a version", found=f"{len(data)} other bytes"
        )
    version = int.from_bytes(data[len(MAGIC) : _VERSION_END], "big")
    if version != PROTOCOL_VERSION:
        raise HelloRefused(where="protocol version", expected=str(PROTOCOL_VERSION), found=str(version))
    if not _INCARNATION_END < len(data) <= HELLO_SIZE_MAX:
        expected = f"{_INCARNATION_END + 1} to {HELLO_SIZE_MAX} bytes"
        raise HelloRefused(where="hello", expected=expected, found=str(len(data)))
    node_id = data[_INCARNATION_END:].decode("ascii", "replace")
    try:
        return Hello(data[_VERSION_END:_CHAIN_END], data[_CHAIN_END:_INCARNATION_END], node_id)
    except ValueError as error:
        raise HelloRefused(where="node id", expected="an ASCII identifier", found=repr(node_id)) from error


def check_chain(hello: Hello, chain_id: bytes) -> None:
    """Raise HelloRefused unless the other side is on our chain."""
    if hello.chain_id != chain_id:
        raise HelloRefused(where="chain id", expected=chain_id[:8].hex(), found=hello.chain_id[:8].hex())
