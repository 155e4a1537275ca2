"""Rotations from a home: each key's successor is on disk before the ledger hears of it.

Rule 1: what a rotation commits to is written and synced first. A crash leaves a file that the next try uses.
Rule 2: what is registered decides what is done: a rotation that took effect before a crash is finished, not
made again.
Rule 3: validator keys and TLS identities only gain files, which a running node finds by what is registered;
the member key moves to `member.pem` once its rotation is final.
Rule 4: what is registered is what evidence under the home's genesis shows: a node that says so of a rotation that it
threw away does not move a key (docs/proven-and-told.md).
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from ledger.encoding.keys import SEED_SIZE, PrivateKey
from ledger.rules.operations import (
    MEMBER_KEY,
    ROTATION_TAG,
    VALIDATOR_KEY,
    Operation,
    RotateKey,
    RotateTls,
    next_key_commitment,
)
from ledger.rules.state import Leaf, Member, Node, member_key, node_key
from node.client.answers import Recorded
from node.client.ledgerclient import LedgerClient
from node.client.submission import sign_operations, submit_once
from node.errors import RefusedByNode
from node.files.keyfiles import Protection
from node.home.home import MEMBER_AFTER_KEY, Home
from node.network.tls import make_identity, registrable

L = TypeVar("L", bound=Leaf)


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a rotation came to: its sequence, and the height where this call recorded it, as a node says."""

    role: str
    sequence: int
    height: int | None


@dataclass(frozen=True, slots=True)
class Rotation:
    """One home's rotations over one node."""

    ledger: LedgerClient
    home: Home
    protection: Protection
    now_ms: Callable[[], int]

    @property
    def _chain_id(self) -> bytes:
        return self.home.genesis.content.chain_id

    async def rotate_member_key(self) -> Rotated:
        """Replace the member's key, or finish a rotation that a crash interrupted. Raises ClientError."""
        member = await self._member()
        if self.home.promote_next_member_key(self.protection, member.key, member.key_sequence):
            return Rotated(MEMBER_KEY, member.key_sequence, None)
        current = self.home.load_member_key(self.protection, expected=member.key)
        revealed = self._require_committed(MEMBER_KEY, member.next_key)
        after = self.home.require_fresh_key(MEMBER_AFTER_KEY, self.protection, _fresh_key())
        sequence = member.key_sequence + 1
        recorded = await self._act(
            self._rotation(MEMBER_KEY, sequence, revealed, after),
            current,
            Member,
            member_key(member.id),
            lambda found: found.key_sequence >= sequence,
        )
        self.home.promote_next_member_key(self.protection, revealed.public, sequence)
        return _rotated(MEMBER_KEY, sequence, recorded)

    async def rotate_validator_key(self) -> Rotated:
        """Replace the key that the member's node votes with, from the next epoch on."""
        node = await self._node()
        if node.next_validator_key is None:
            cure = "Have governance register a validator: luohu governance propose node."
            raise RefusedByNode(
                code="no-validator-key", where="node", expected="a validator", found=node.kind, cure=cure
            )
        sequence = node.validator_key_sequence + 1
        revealed = self._require_committed(VALIDATOR_KEY, node.next_validator_key)
        name = f"validator-{sequence + 1}.pem"
        after = self.home.require_fresh_key(name, self.protection, _fresh_key())
        current = await self._member_key()
        recorded = await self._act(
            self._rotation(VALIDATOR_KEY, sequence, revealed, after),
            current,
            Node,
            node_key(node.member),
            lambda found: found.validator_key_sequence >= sequence,
        )
        return _rotated(VALIDATOR_KEY, sequence, recorded)

    async def rotate_tls_certificate(self) -> Rotated:
        """Replace the TLS certificate that the member's node shows its peers."""
        node, member = await self._node(), await self._member()
        sequence = node.tls_sequence + 1
        next_key = self._require_committed(MEMBER_KEY, member.next_key)
        identity = self.home.require_fresh_tls_identity(
            f"tls-{sequence}", self.protection, make_identity(member.id)
        )
        certificate = registrable(identity.certificate, member.id)
        unsigned = RotateTls(sequence, certificate, next_key.public, bytes(64))
        body = unsigned.signed_body(chain_id=self._chain_id, member=member.id)
        operation = replace(unsigned, signature=next_key.sign(ROTATION_TAG, body))
        recorded = await self._act(
            operation,
            self._key_of(member),
            Node,
            node_key(node.member),
            lambda found: found.tls_sequence >= sequence,
        )
        return _rotated("tls", sequence, recorded)

    def _rotation(self, role: str, sequence: int, revealed: PrivateKey, after: PrivateKey) -> RotateKey:
        commitment = next_key_commitment(after.public)
        unsigned = RotateKey(role, sequence, revealed.public, commitment, bytes(64))
        body = unsigned.signed_body(chain_id=self._chain_id, member=self.home.member)
        return replace(unsigned, signature=revealed.sign(ROTATION_TAG, body))

    def _require_committed(self, role: str, commitment: bytes) -> PrivateKey:
        found = self.home.find_committed_key(self.protection, role, commitment)
        if found is None:
            cure = "Put its file into the home's keys; if it is lost, governance sets other keys."
            expected = f"the next {role} key, committed to as {commitment.hex()}"
            raise RefusedByNode(
                code="next-key-missing", where="home", expected=expected, found="no such key", cure=cure
            )
        return found

    async def _member_key(self) -> PrivateKey:
        return self._key_of(await self._member())

    async def _member(self) -> Member:
        return (await self.ledger.member(self.home.member)).value

    async def _node(self) -> Node:
        return (await self.ledger.node(self.home.member)).value

    def _key_of(self, member: Member) -> PrivateKey:
        self.home.promote_next_member_key(self.protection, member.key, member.key_sequence)
        return self.home.load_member_key(self.protection, expected=member.key)

    async def _act(
        self, operation: Operation, key: PrivateKey, shape: type[L], place: bytes, holds: Callable[[L], bool]
    ) -> Recorded[L]:
        signed = sign_operations(
            chain_id=self._chain_id,
            member=self.home.member,
            key=key,
            now_ms=self.now_ms(),
            operations=(operation,),
        )
        return await self.ledger.act(
            lambda client: submit_once(client, signed),
            shape,
            place,
            holds,
            what=f"the rotation of {self.home.member}",
        )


def _fresh_key() -> PrivateKey:
    return PrivateKey.from_seed(secrets.token_bytes(SEED_SIZE))


def _rotated(role: str, sequence: int, recorded: Recorded[L]) -> Rotated:
    # No leaf says when a key came: the height is the node's word.
    return Rotated(role, sequence, max(recorded.heights, default=None))
