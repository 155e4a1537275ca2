"""Hashes: the one module that names a hash algorithm.

Rule 1: every hash is taken over a tag that names what is hashed, then the bytes. A tag is one length
byte and up to 255 ASCII characters, so no tagged input is a prefix of another's tag.
Rule 2: tree nodes use single-byte tags instead (RFC 9162: 0x00 and 0x01, state tree: 0x20 to 0x24).
These bytes are never the length of a tag in use, so no tree node can be read as a tagged input.
"""

import hmac
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from hashlib import _Hash as HASH

HASH_SIZE = 32


def digest(data: bytes) -> bytes:
    """Return the 32-byte SHA-256 digest of `data` (FIPS 180-4)."""
    return sha256(data).digest()


# A SHA-256 digest that has read its argument and reads on: for what is not to be held, or copied, whole, and for
# the loops in which a call more than need be would cost a fifth. `running_digest(data).digest()` is `digest(data)`.
running_digest: "Callable[[bytes], HASH]" = sha256


def tagged(tag: str, data: bytes) -> bytes:
    """Return `tag` with its length byte, followed by `data`: what is hashed or signed under that tag."""
    return _prefix(tag) + data


def tagged_digest(tag: str, data: bytes) -> bytes:
    """Return the 32-byte digest of `data` under `tag`."""
    return sha256(tagged(tag, data)).digest()


def keyed_digest(key: bytes, tag: str, data: bytes) -> bytes:
    """Return the 32-byte HMAC-SHA-256 (RFC 2104) of `data` under `tag`, keyed by exactly 32 bytes."""
    assert len(key) == HASH_SIZE, "a shorter HMAC key would be zero-padded and so not binding"
    return hmac.digest(key, tagged(tag, data), "sha256")


@cache
def _prefix(tag: str) -> bytes:
    encoded = tag.encode("ascii")
    assert 5 <= len(encoded) <= 31, "the length byte would collide with a tree node's tag"
    return bytes([len(encoded)]) + encoded
