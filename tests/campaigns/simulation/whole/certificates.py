"""The TLS certificates of simulated nodes: what a home holds, what a node shows, and whom it pins (node/network).

Rule 1: a node pins what its own state registers, and shows what that registers for it. Who dials may show the two
newest others of its home instead, where it was hung up on; who answers shows the registered one only.
Rule 2: two nodes are connected where a dial can be made on which each pins the other. A node that cannot pin its
peer, and is pinned by it, fetches from it and does nothing else.
Rule 3: a certificate is in the home before its rotation is sent, and stays there, whatever becomes of the rest.
"""

import random
from dataclasses import dataclass, field

from ledger.rules.operations import Operation, Propose, RotateTls
from ledger.rules.proposals import SetNode
from ledger.rules.state import MEMBERS_KEY, Node, StateView, find, node_key, require_members
from ledger.rules.tlscertificates import TlsCertificate
from node.registered import IDENTITIES_TRIED_MAX


@dataclass(slots=True)
class Certificates:
    """One machine's certificates and pins."""

    member: str
    home: list[bytes] = field(default_factory=list)
    shown: bytes = b""
    pins: dict[str, bytes] = field(default_factory=dict)
    read_keys: frozenset[bytes] = frozenset()
    """The leaves that were read: while none of them changes, there is nothing new to read."""

    def read(self, state: StateView) -> bool:
        """Read what the state registers; tell whether that is anything new."""
        before = (self.shown, self.pins)
        self.pins = {}
        keys = {member: node_key(member) for member in require_members(state).ids}
        self.read_keys = frozenset((MEMBERS_KEY, *keys.values()))
        for member, key in keys.items():
            node = find(state, Node, key)
            if node is not None:
                self.pins[member] = node.tls_certificate
        self.shown = self.pins.pop(self.member)
        if self.shown not in self.home:
            self.home.append(self.shown)
        return before != (self.shown, self.pins)

    def add(self, certificate: bytes) -> None:
        """Keep a certificate that is to be registered."""
        if certificate not in self.home:
            self.home.append(certificate)

    def may_show(self) -> list[bytes]:
        """Return what this node shows when it dials, in turn."""
        others = [each for each in reversed(self.home) if each != self.shown]
        return [self.shown, *others[:IDENTITIES_TRIED_MAX]]

    def is_pinned_by(self, other: "Certificates") -> bool:
        """Tell whether a dial of this node is answered by another."""
        return other.pins.get(self.member) in self.may_show()

    def reaches(self, other: "Certificates") -> bool:
        """Tell whether a dial of this node makes a connection on which each pins the other."""
        return self.is_pinned_by(other) and self.pins.get(other.member) == other.shown


def make_certificate(member: str, sequence: int) -> TlsCertificate:
    """Return the parts of a member's certificate after so many rotations: the same in every run."""
    drawn = random.Random(f"{member} tls {sequence}")
    return TlsCertificate(*(drawn.randbytes(size) for size in (20, 16, 64, 64)))


def certificate_in(operation: Operation, sender: str) -> tuple[str, bytes] | None:
    """Return whose certificate an operation of a sender is to register, and which, in DER."""
    match operation:
        case RotateTls(_, certificate):
            return sender, certificate.der(sender)
        case Propose(SetNode(member, registration)):
            return member, registration.certificate.der(member)
        case _:
            return None
