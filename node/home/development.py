"""Published development keys: anyone can derive them, so they protect nothing.

Rule 1: a key's 32-byte seed is SHA-256 of `luohu development key <member> <use>`, use being one of USES.
Rule 2: the TLS certificate follows from the member's id alone: fixed names and dates, a signature whose
nonce is derived (RFC 6979). So the development genesis is the same on every machine.
Rule 3: whoever runs a node asks `is_published` and `has_published_key`, and serves nothing but loopback where
a key in use is among them.
"""

from collections.abc import Iterable
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ledger.encoding.digests import digest
from ledger.encoding.keys import PrivateKey, PublicKey
from ledger.genesis import GenesisContent
from ledger.rules.operations import next_key_commitment
from node.network.tls import TlsIdentity, sign_own

MEMBER: Final = "member"
MEMBER_NEXT: Final = "member-next"
VALIDATOR: Final = "validator"
VALIDATOR_NEXT: Final = "validator-next"
TLS: Final = "tls"
USES: Final = (MEMBER, MEMBER_NEXT, VALIDATOR, VALIDATOR_NEXT, TLS)
PUBLISHED_FOR: Final = (
    "auditor",
    "hk-bank",
    "hk-bureau",
    "hk-operator",
    "mainland-bank",
    "mainland-bureau",
    "sz-operator",
)
"""The members of the development consortium."""

SIGNING_USES: Final = (MEMBER, MEMBER_NEXT, VALIDATOR, VALIDATOR_NEXT)

_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def development_seed(member: str, use: str) -> bytes:
    """Return the published 32-byte seed of a member's key."""
    assert use in USES, "a use that nobody publishes"
    return digest(f"luohu development key {member} {use}".encode("ascii"))


def development_key(member: str, use: str) -> PrivateKey:
    """Return the published signing key of a member."""
    return PrivateKey.from_seed(development_seed(member, use))


def is_published(key: PublicKey, member: str) -> bool:
    """Say whether a signing key is published, for this member or one of the development consortium."""
    return any(key == published for published in _published_keys((member, *PUBLISHED_FOR)))


def development_identity(member: str) -> TlsIdentity:
    """Return the published TLS key of a member and its certificate, the same bytes always."""
    scalar = int.from_bytes(development_seed(member, TLS), "big") % (_P256_ORDER - 1) + 1
    key = ec.derive_private_key(scalar, ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, member),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Luohu published development key"),
        ]
    )
    # Positive and at most 20 bytes (RFC 5280, 4.1.2.2).
    serial = int.from_bytes(digest(member.encode("ascii"))[:15], "big") + 1
    return sign_own(key, name, serial, is_deterministic=True)


def has_published_key(genesis: GenesisContent) -> bool:
    """Say whether any key, next key or TLS key of a genesis is published."""
    names = sorted({member.id for member in genesis.members} | set(PUBLISHED_FOR))
    keys = _published_keys(names)
    published = {str(key) for key in keys}
    commitments = {next_key_commitment(key) for key in keys}
    tls_keys = {_tls_key(development_identity(name).certificate) for name in sorted(names)}
    for member in genesis.members:
        if str(member.key) in published or member.next_key in commitments:
            return True
        node = member.node
        if node is None:
            continue
        if node.validator_key is not None and str(node.validator_key) in published:
            return True
        if node.next_validator_key in commitments or _tls_key(node.tls_certificate) in tls_keys:
            return True
    return False


def _published_keys(members: Iterable[str]) -> list[PublicKey]:
    return [development_key(member, use).public for member in members for use in SIGNING_USES]


def _tls_key(certificate: bytes) -> bytes:
    """Return the public key in a certificate (DER), or the bytes themselves where they are no certificate."""
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except (ValueError, UnsupportedAlgorithm):
        return certificate
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
