"""Signatures of the simulation: real ones, or hashes in their place, and what is remembered of both.

Rule 1: a stub signature is a keyed hash under the public key. Anybody could forge it; the actors of the
simulation do not, and what they do forge are signatures that fail.
Rule 2: decoding and verifying are pure, so four nodes that read the same bytes may share the answer.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from hashlib import blake2b
from unittest import mock

import ledger.encoding.keys
import ledger.rules.state
import node.replica.inbox
from ledger.encoding.digests import tagged
from ledger.encoding.keys import PrivateKey, PublicKey, is_accepted
from ledger.encoding.records import unpack
from ledger.errors import SignatureError
from ledger.rules.blocks import EncodedHeader
from ledger.rules.transactions import Transaction


def _stub(key: PublicKey, tag: str, body: bytes) -> bytes:
    return blake2b(tagged(tag, body), key=key.data).digest()


def _sign(self: PrivateKey, tag: str, body: bytes) -> bytes:
    return _stub(self.public, tag, body)


def _verify(self: PublicKey, tag: str, body: bytes, signature: bytes) -> None:
    if signature != _stub(self, tag, body):
        raise SignatureError(
            where="signature", expected=f"a {tag} signature that verifies under {self}", found="another"
        )


@contextmanager
def signatures(*, are_real: bool) -> Iterator[None]:
    """Sign with hashes instead, unless the real thing is wanted."""
    with ExitStack() as patches:
        if are_real:
            shared = lru_cache(8_192)(is_accepted)
            patches.enter_context(mock.patch.object(ledger.encoding.keys, "is_accepted", shared))
        else:
            patches.enter_context(mock.patch.object(PrivateKey, "sign", _sign))
            patches.enter_context(mock.patch.object(PublicKey, "verify", _verify))
        _share_decoding(patches)
        yield


def _share_decoding(patches: ExitStack) -> None:
    for name in ("decode_peer_message", "decode_message"):
        shared = lru_cache(8_192)(getattr(node.replica.inbox, name))
        patches.enter_context(mock.patch.object(node.replica.inbox, name, shared))
    patches.enter_context(mock.patch.object(ledger.rules.state, "unpack", lru_cache(8_192)(unpack)))
    for record in (Transaction, EncodedHeader):
        shared = lru_cache(8_192)(record.decode)
        patches.enter_context(mock.patch.object(record, "decode", staticmethod(shared)))
