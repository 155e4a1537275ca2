"""What the state registers of nodes: the peers to pin, and the keys of this one (docs/epochs.md).

Rule 1: peers' certificates are those of the state at the finalized tip; they are read again when a block changes them.
Rule 2: this node signs for its member with the key that the state registers.
Rule 3: this node shows the certificate that the state registers for it. One that is not registered yet, since its
state is older than its registration, shows the one that its home began with, and follows until the state names it.
Where the home lacks the registered one, it shows the newest that it has: its peers may know of a later registration.
Rule 4: the state here may be older than a rotation of this node's own certificate, which was recorded while the node
was down, before its chain was lost, or while it runs and peers are a block ahead of it. Peers then know another
certificate than the state here does: where they hang up, the home's other identities are shown in turn. What one's
own certificates are is no secret.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from ledger.chain.overlays import Executed
from ledger.encoding.keys import PrivateKey, PublicKey
from ledger.errors import LuohuError
from ledger.rules.state import MEMBERS_KEY, Member, Node, find, member_key, node_key, require_members
from node.files.keyfiles import KeyFileError
from node.home.settings import Address
from node.network.registry import Peer, PeerKind
from node.network.tls import TlsIdentity, fingerprint
from node.storage.store import Store

logger = logging.getLogger(__name__)

LOST_CURE: Final = (
    "Put its files back into keys/. If they are lost, replace it through another member's node: luohu key rotate "
    "--role tls; or have governors do so: luohu governance propose node."
)
IDENTITIES_TRIED_MAX: Final = 2
"""The registered one is the newest of a home, or the one before it where the newest was never registered."""


class IdentityMissing(LuohuError):
    """The state registers a TLS certificate for this node whose key is not in its home."""


class Registered:
    """The registrations in a store, as one member's node sees them."""

    def __init__(
        self,
        store: Store,
        *,
        member: str,
        addresses: Mapping[str, Address],
        first_identity: TlsIdentity,
        find_identity: Callable[[bytes], TlsIdentity | None],
        list_identities: Callable[[], Sequence[str]],
        find_other_identities: Callable[[bytes, int], Sequence[TlsIdentity]],
        find_member_key: Callable[[PublicKey], PrivateKey | None],
    ) -> None:
        self._store = store
        self._member = member
        self._addresses = addresses
        self._find_identity = find_identity
        self._identity = self._first_identity = first_identity
        self._list_identities = list_identities
        self._find_other_identities = find_other_identities
        self._others: Sequence[TlsIdentity] = ()
        self._names_read: Sequence[str] = ()
        self._find_member_key = find_member_key
        self._member_key: PrivateKey | None = None
        self._keys: frozenset[bytes] = frozenset()

    def identity(self) -> TlsIdentity:
        """Return what this node shows its peers. Raises IdentityMissing."""
        found = find(self._store, Node, node_key(self._member))
        if found is None or found.tls_certificate == self._identity.certificate:
            return self._identity
        identity = self._find_identity(found.tls_certificate)
        if identity is None:
            registered = fingerprint(found.tls_certificate)
            held = fingerprint(self._identity.certificate)
            raise IdentityMissing(
                where=f"the keys of {self._member}",
                expected=f"the TLS certificate {registered} that is registered for {self._member}",
                found=f"no such one in the home's keys (it shows {held})",
                cure=LOST_CURE,
            )
        self._identity, self._names_read = identity, ()
        return identity

    def identity_to_begin_with(self) -> TlsIdentity:
        """Return what this node shows until its state says more: the registered one, or the newest of the home."""
        try:
            return self.identity()
        except IdentityMissing as missing:
            logger.error(
                "node.identity_missing member=%s: peers refuse this node until they know another: %s",
                self._member,
                missing,
            )
        newest = next(iter(self._find_other_identities(b"", 1)), self._first_identity)
        self._identity, self._names_read = newest, ()
        return newest

    def other_identities(self) -> Sequence[TlsIdentity]:
        """Return what else this node may show where its peers do not know what it shows (rule 4)."""
        names = self._list_identities()
        if names != self._names_read:
            # To open a key takes its time; what has a name never changes, but a rotation adds one while the node runs.
            self._names_read = names
            try:
                self._others = self._find_other_identities(self._identity.certificate, IDENTITIES_TRIED_MAX)
            except KeyFileError as error:
                logger.error("node.identity_unreadable error=%s", error)
                self._others = ()
        return self._others

    def member_key(self) -> PrivateKey | None:
        """Return the key that signs for this node's member now; None where the home does not have it."""
        found = find(self._store, Member, member_key(self._member))
        if found is None:
            return None
        if self._member_key is None or self._member_key.public != found.key:
            self._member_key = self._find_member_key(found.key)
        return self._member_key

    def peers(self) -> dict[str, Peer]:
        """Return every other registered node, with its pinned certificate."""
        members = require_members(self._store).ids
        self._keys = frozenset((MEMBERS_KEY, *map(node_key, members)))
        peers: dict[str, Peer] = {}
        for member in members:
            node = find(self._store, Node, node_key(member))
            if node is None or member == self._member:
                continue
            address = self._addresses.get(member)
            shown = None if address is None else str(address)
            try:
                peers[member] = Peer(node.tls_certificate, shown, PeerKind(node.kind))
            except ValueError as error:
                # One bad registration must not stop everybody else's node.
                logger.error("peer.unusable member=%s error=%s", member, error)
        return peers

    def is_changed_by(self, path: Iterable[Executed]) -> bool:
        """Say whether these blocks changed what was read."""
        return any(self._keys & executed.overlay.values.keys() for executed in path)
