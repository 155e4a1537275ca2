"""Private keys encrypted under a passphrase: PKCS#8 with PBES2 (RFC 8018), as openssl and `cryptography` read it.

Rule 1: the key that encrypts is PBKDF2 with HMAC-SHA-256 of KDF_ROUNDS rounds over a fresh salt. `cryptography` writes
such files with rounds so few that a stolen file falls to guessing, and takes no number for this format; so they are
written here, and read by it.
"""

import base64
import secrets
import textwrap
from typing import Final

from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

KDF_ROUNDS: Final = 600_000
SALT_SIZE: Final = 16

_INTEGER: Final = 0x02
_OCTETS: Final = 0x04
_NULL: Final = b"\x05\x00"
_SEQUENCE: Final = 0x30
# Object identifiers, encoded whole.
_PBES2: Final = bytes.fromhex("06092a864886f70d01050d")
_PBKDF2: Final = bytes.fromhex("06092a864886f70d01050c")
_HMAC_SHA_256: Final = bytes.fromhex("06082a864886f70d0209")
_AES_256_CBC: Final = bytes.fromhex("060960864801650304012a")


def encrypt_pem(private_key_info: bytes, passphrase: bytes) -> bytes:
    """Return an unencrypted PKCS#8 key (DER) as an encrypted one (PEM)."""
    salt, vector = secrets.token_bytes(SALT_SIZE), secrets.token_bytes(16)
    key = PBKDF2HMAC(hashes.SHA256(), 32, salt, KDF_ROUNDS).derive(passphrase)
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES256(key), modes.CBC(vector)).encryptor()
    encrypted = encryptor.update(padder.update(private_key_info) + padder.finalize()) + encryptor.finalize()
    rounds = KDF_ROUNDS.to_bytes(KDF_ROUNDS.bit_length() // 8 + 1, "big")
    derivation = _sequence(
        _PBKDF2,
        _sequence(_part(_OCTETS, salt), _part(_INTEGER, rounds), _sequence(_HMAC_SHA_256, _NULL)),
    )
    cipher = _sequence(_AES_256_CBC, _part(_OCTETS, vector))
    whole = _sequence(_sequence(_PBES2, _sequence(derivation, cipher)), _part(_OCTETS, encrypted))
    lines = textwrap.fill(base64.b64encode(whole).decode(), 64)
    return f"-----BEGIN ENCRYPTED PRIVATE KEY-----\n{lines}\n-----END ENCRYPTED PRIVATE KEY-----\n".encode()


def _sequence(*parts: bytes) -> bytes:
    return _part(_SEQUENCE, b"".join(parts))


def _part(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    size_bytes = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 + len(size_bytes)]) + size_bytes + content
