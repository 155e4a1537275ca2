"""Signatures for the simulator: fast, deterministic, and forged by nobody who does not hold the index.

Only the world hands out signing functions, so a Byzantine node can sign anything, but as itself only.
"""

from collections.abc import Callable
from functools import lru_cache
from hashlib import sha512

from ledger.encoding.keys import ED25519, PublicKey
from ledger.rules.certificates import QuorumCertificate, Subject, Validator, ValidatorSet, Vote

CHAIN_ID = b"\x11" * 32


def make_validators(count: int) -> ValidatorSet:
    """Return a set of `count` validators with keys that nothing here uses."""
    return ValidatorSet(
        tuple(
            Validator(f"member-{index:02}", PublicKey(ED25519, bytes([index]) * 32)) for index in range(count)
        )
    )


@lru_cache(maxsize=1 << 16)
def signature_of(signer: int, subject: Subject) -> bytes:
    """Return the signature of validator `signer` on a subject."""
    return sha512(b"%d|" % signer + subject.kind.encode() + subject.body(CHAIN_ID)).digest()


def make_sign(signer: int) -> Callable[[Subject], bytes]:
    """Return the signing function of one validator."""
    return lambda subject: signature_of(signer, subject)


def verify(claim: Vote | QuorumCertificate) -> bool:
    """Check every signature of a vote or certificate."""
    if isinstance(claim, Vote):
        return claim.signature == signature_of(claim.signer, claim.subject)
    return all(signed.signature == signature_of(signed.signer, claim.subject) for signed in claim.signatures)
