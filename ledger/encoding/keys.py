"""Keys and signatures: the one module that names a signature algorithm (suite 1: Ed25519, RFC 8032).

Rule 1: a public key carries its algorithm from registration on; it is never taken from a signature.
Rule 2: verification is libsodium's: cofactorless, canonical S, no small-order or non-canonical keys or R.
This acceptance set is pinned by public vectors, since two nodes that disagree on one signature are a fork.
Rule 3: members' and validators' keys are of prime order, checked once, at registration.
Rule 4: what is signed is a tag, then a body whose first field is the chain id (docs/formats.md, Signatures). The one
exception are JSON Web Signatures, which begin with `eyJ`: the length of a tag is never that large, so none is both.
Rule 5: the numbers of algorithms to come are reserved, each with the size of its keys. A key of one of these is not
malformed but of an algorithm that this release does not have: `unsupported-algorithm`, wherever it is met.
"""

import re
from dataclasses import dataclass, field
from typing import Annotated, Final

import nacl
import nacl.bindings
from nacl.exceptions import BadSignatureError

from ledger.encoding.arguments import require_bytes, require_instance
from ledger.encoding.digests import tagged
from ledger.encoding.records import Octets, Uint
from ledger.errors import EncodingError, SignatureError

KEY_LIBRARY: Final = f"PyNaCl {nacl.__version__}"
SUITE: Final = 1
ED25519: Final = 1
P256: Final = 2
SM2: Final = 3
WEBAUTHN: Final = 4
KEY_SIZES: Final = {ED25519: 32, P256: 33, SM2: 33, WEBAUTHN: 33}
ALGORITHM_NAMES: Final = {ED25519: "Ed25519", P256: "P-256", SM2: "SM2", WEBAUTHN: "WebAuthn"}
UNSUPPORTED_ALGORITHM: Final = "unsupported-algorithm"
SEED_SIZE: Final = 32
# `{"` in base64url: how the signing input of every JSON Web Signature begins.
JWS_START: Final = b"eyJ"

_KEY_DIGITS: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_PREFIXES: Final = {ED25519: "ed25519:"}


def is_accepted(key: bytes, message: bytes, signature: bytes) -> bool:
    """Say whether a 64-byte signature over exactly `message` verifies under a 32-byte key (rule 2)."""
    try:
        # The bindings, not the wrapper class: the same libsodium call at two thirds of the time.
        nacl.bindings.crypto_sign_open(signature + message, key)
    except BadSignatureError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key with its algorithm: 1 is Ed25519, 32 bytes. Raises EncodingError for any other (rule 5)."""

    algorithm: Annotated[int, Uint(maximum=WEBAUTHN, minimum=ED25519)]
    data: Annotated[bytes, Octets(32, 33)]

    def __post_init__(self) -> None:
        if self.algorithm == ED25519 and len(self.data) == KEY_SIZES[ED25519]:
            return
        size = KEY_SIZES.get(self.algorithm)
        if size is None or len(self.data) != size:
            expected = "a known algorithm, and as many bytes as its keys have"
            found = f"{len(self.data)} bytes of algorithm {self.algorithm}"
            raise EncodingError(where="", expected=expected, found=found)
        raise EncodingError(
            code=UNSUPPORTED_ALGORITHM,
            where="",
            expected="a key of an algorithm that this release has, which is Ed25519",
            found=f"one of {ALGORITHM_NAMES[self.algorithm]}",
        )

    def __str__(self) -> str:
        return _PREFIXES[self.algorithm] + self.data.hex()

    @classmethod
    def from_text(cls, text: str) -> "PublicKey":
        """Parse `ed25519:` and 64 lower case hexadecimal digits. Raises EncodingError."""
        require_instance("public key", text, str, cure="Give the text of the key, like ed25519:0a1b….")
        digits = text.removeprefix(_PREFIXES[ED25519])
        if digits == text or not _KEY_DIGITS.fullmatch(digits):
            expected = "ed25519: and 64 lower case hexadecimal digits"
            raise EncodingError(where="public key", expected=expected, found=ascii(text[:80]))
        return cls(ED25519, bytes.fromhex(digits))

    def verify(self, tag: str, body: bytes, signature: bytes) -> None:
        """Check a 64-byte signature over `body` under `tag`. Raises SignatureError."""
        if len(signature) != 64:
            raise SignatureError(where="signature", expected="64 bytes", found=f"{len(signature)} bytes")
        if not is_accepted(self.data, tagged(tag, body), signature):
            raise SignatureError(
                where="signature",
                expected=f"a {tag} signature that verifies under {self}",
                found="one that does not",
            )

    def verify_jws(self, signing_input: bytes, signature: bytes) -> None:
        """Check a 64-byte JSON Web Signature (RFC 8037). Raises SignatureError."""
        if len(signature) != 64 or not signing_input.startswith(JWS_START):
            raise SignatureError(
                where="JWS", expected="64 bytes over a header and a payload", found=f"{len(signature)} bytes"
            )
        if not is_accepted(self.data, signing_input, signature):
            raise SignatureError(
                where="JWS", expected=f"a signature that verifies under {self}", found="one that does not"
            )

    def check_prime_order(self) -> None:
        """Check that the key is a point of the prime-order subgroup. Raises SignatureError."""
        if not nacl.bindings.crypto_core_ed25519_is_valid_point(self.data):
            raise SignatureError(
                where="public key", expected="a point of prime order on the curve", found=str(self)
            )


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """An Ed25519 private key, held as its 32-byte seed; never shown by repr."""

    seed: bytes = field(repr=False)
    public: PublicKey
    _expanded: bytes = field(repr=False, compare=False)

    @classmethod
    def from_seed(cls, seed: bytes) -> "PrivateKey":
        """Return the key of a 32-byte seed. Raises EncodingError for another size."""
        seed = require_bytes("private key seed", seed, cure="Give the 32 bytes of the seed.")
        if len(seed) != SEED_SIZE:
            raise EncodingError(
                where="private key seed", expected=f"{SEED_SIZE} bytes", found=f"{len(seed)} bytes"
            )
        public, expanded = nacl.bindings.crypto_sign_seed_keypair(seed)
        return cls(seed, PublicKey(ED25519, public), expanded)

    def sign(self, tag: str, body: bytes) -> bytes:
        """Return the 64-byte deterministic signature (RFC 8032) over `body` under `tag`."""
        signed = nacl.bindings.crypto_sign(tagged(tag, body), self._expanded)
        return signed[:64]

    def sign_jws(self, signing_input: bytes) -> bytes:
        """Return the 64-byte JSON Web Signature (RFC 8037) over a header and a payload."""
        assert signing_input.startswith(JWS_START), "what begins otherwise could be a tagged body"
        return nacl.bindings.crypto_sign(signing_input, self._expanded)[:64]
