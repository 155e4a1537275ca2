"""Who may connect: the pinned peers, as plain data.

Rule 1: a peer exists here only with a certificate that can be pinned and an address that can be dialled.
Rule 2: a registry never changes; a new one replaces it. Whoever holds the old one sees one consistent set.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from node.network.tls import check_certificate

PEERS_COUNT_MAX = 256
"""The most peers that a node keeps connections to."""
NODE_ID_SIZE_MAX = 64

_NODE_ID = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_PORT_MAX = 65535


class PeerKind(Enum):
    """What a peer may do: a validator votes, an observer follows."""

    VALIDATOR = "validator"
    OBSERVER = "observer"


@dataclass(frozen=True, slots=True)
class Peer:
    """A registered node: its pinned certificate (DER), where it listens ("host:port", or None), its kind."""

    certificate: bytes
    address: str | None
    kind: PeerKind

    def __post_init__(self) -> None:
        check_certificate(self.certificate)
        if self.address is not None:
            split_address(self.address)


@dataclass(frozen=True, slots=True)
class PeerRegistry:
    """The peers of one node by their node ids, without the node itself."""

    peers: Mapping[str, Peer]

    def __post_init__(self) -> None:
        if len(self.peers) > PEERS_COUNT_MAX:
            raise ValueError(f"peers: expected at most {PEERS_COUNT_MAX}, found {len(self.peers)}")
        for node_id in self.peers:
            check_node_id(node_id)

    def find(self, node_id: str) -> Peer | None:
        """Return the peer of that id, or None."""
        return self.peers.get(node_id)

    def is_pinned(self, certificate: bytes | None) -> bool:
        """Say whether any peer has exactly this certificate."""
        return any(peer.certificate == certificate for peer in self.peers.values())

    def certificates(self) -> frozenset[bytes]:
        """Return every pinned certificate: the trust anchors."""
        return frozenset(peer.certificate for peer in self.peers.values())


def check_node_id(node_id: str) -> None:
    """Raise ValueError unless this is a node id."""
    if len(node_id) > NODE_ID_SIZE_MAX or not _NODE_ID.fullmatch(node_id):
        expected = f"1 to {NODE_ID_SIZE_MAX} characters like {_NODE_ID.pattern}"
        raise ValueError(f"node id: expected {expected}, found {node_id[: 2 * NODE_ID_SIZE_MAX]!r}")


def split_address(address: str) -> tuple[str, int]:
    """Split "host:port" ("[host]:port" for IPv6), or raise ValueError."""
    host, _, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"address: expected an IPv6 host in brackets, found {address!r}")
    is_number = port.isascii() and port.isdigit() and len(port) <= len(str(_PORT_MAX))
    if not host or "/" in host or "@" in host or not is_number or not 0 < int(port) <= _PORT_MAX:
        raise ValueError(f"address: expected host:port with a port from 1 to {_PORT_MAX}, found {address!r}")
    return host, int(port)
