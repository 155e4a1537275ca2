"""Rotations from a home: each key's successor is on disk before the ledger hears of it.

Rule 1: what a rotation commits to is written and synced first. A crash leaves a file that the next try uses.
Rule 2: what is registered decides what is done: a rotation that took effect before a crash is finished, not
made again.
Rule 3: validator keys and TLS identities only gain files, which a running node finds by what is registered;
the member key moves to `member.pem` once its rotation is final.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

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
from ledger.rules.state import Member
from node.client.client import Client, Result
from node.client.submission import submit_operations
from node.errors import RefusedByNode
from node.files.keyfiles import Protection
from node.home.home import MEMBER_AFTER_KEY, Home
from node.network.tls import make_identity, registrable


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a rotation came to: its sequence, and the height where this call recorded it."""

    role: str
    sequence: int
    height: int | None


@dataclass(frozen=True, slots=True)
class Rotation:
    """One home's rotations over one node."""

    client: Client
    home: Home
    protection: Protection
    now_ms: Callable[[], int]

    @property
    def _chain_id(self) -> bytes:
        return self.home.genesis.content.chain_id

    async def rotate_member_key(self) -> Rotated:
        """Replace the member's key, or finish a rotation that a crash interrupted. Raises ClientError."""
        member = await self.client.member(self.home.member)
        if self.home.promote_next_member_key(self.protection, member.key, member.key_sequence):
            return Rotated(MEMBER_KEY, member.key_sequence, None)
        current = self.home.load_member_key(self.protection, expected=member.key)
        revealed = self._require_committed(MEMBER_KEY, member.next_key)
        after = self.home.require_fresh_key(MEMBER_AFTER_KEY, self.protection, _fresh_key())
        sequence = member.key_sequence + 1
        result = await self._submit(self._rotation(MEMBER_KEY, sequence, revealed, after), current)
        self.home.promote_next_member_key(self.protection, revealed.public, sequence)
        return _rotated(MEMBER_KEY, sequence, result)

    async def rotate_validator_key(self) -> Rotated:
        """Replace the key that the member's node votes with, from the next epoch on."""
        node = await self.client.node(self.home.member)
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
        result = await self._submit(self._rotation(VALIDATOR_KEY, sequence, revealed, after), current)
        return _rotated(VALIDATOR_KEY, sequence, result)

    async def rotate_tls_certificate(self) -> Rotated:
        """Replace the TLS certificate that the member's node shows its peers."""
        node = await self.client.node(self.home.member)
        member = await self.client.member(self.home.member)
        sequence = node.tls_sequence + 1
        next_key = self._require_committed(MEMBER_KEY, member.next_key)
        identity = self.home.require_fresh_tls_identity(
            f"tls-{sequence}", self.protection, make_identity(member.id)
        )
        certificate = registrable(identity.certificate, member.id)
        unsigned = RotateTls(sequence, certificate, next_key.public, bytes(64))
        body = unsigned.signed_body(chain_id=self._chain_id, member=member.id)
        operation = replace(unsigned, signature=next_key.sign(ROTATION_TAG, body))
        result = await self._submit(operation, self._key_of(member))
        return _rotated("tls", sequence, result)

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
        return self._key_of(await self.client.member(self.home.member))

    def _key_of(self, member: Member) -> PrivateKey:
        self.home.promote_next_member_key(self.protection, member.key, member.key_sequence)
        return self.home.load_member_key(self.protection, expected=member.key)

    async def _submit(self, operation: Operation, key: PrivateKey) -> Result | None:
        return await submit_operations(
            self.client,
            operation,
            chain_id=self._chain_id,
            member=self.home.member,
            key=key,
            now_ms=self.now_ms(),
        )


def _fresh_key() -> PrivateKey:
    return PrivateKey.from_seed(secrets.token_bytes(SEED_SIZE))


def _rotated(role: str, sequence: int, result: Result | None) -> Rotated:
    return Rotated(role, sequence, None if result is None else result.height)
