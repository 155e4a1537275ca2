"""The state tree and its proofs: one authenticated map (docs/formats.md, State tree).

The shape is a pure function of the keys: no key is EMPTY, one key is its LEAF, more are an INNER node over
those with the next bit 0 and those with it 1. So a leaf stands at its shortest unique prefix, and the order
of insertion leaves no trace. Bit 0 is the most significant bit of byte 0.

Rule 1: a proof has a depth of at most 256; its bitmap is exactly that many bits, padded with zeros to a byte;
it has one sibling for each bit set, of 32 bytes, and none of them is EMPTY.
Rule 2: key and value come from whoever asks, never from the proof.
Rule 3: absence at an empty place starts from EMPTY.
Rule 4: absence beside another leaf: its key is another one, and agrees with the key on all bits above it.
Rule 5: the lowest sibling is not EMPTY. A lone leaf would have been hoisted, two empties have no parent.
Rule 6: the bits of the key say on which side each sibling stands; the result is the root.
Rule 7: presence and absence are verified by different functions over different records. A value of no bytes
is present.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from ledger.encoding.digests import HASH_SIZE, digest, running_digest
from ledger.encoding.records import Hash, Items, Octets, Uint
from ledger.errors import ProofError

KEY_BITS: Final = 8 * HASH_SIZE
DEPTH_MAX: Final = KEY_BITS

_LEAF: Final = b"\x21"
_INNER: Final = b"\x22"
_VALUE: Final = b"\x23"
_KEY: Final = b"\x24"

EMPTY: Final = digest(b"\x20")
_HASH_SIZES: Final = frozenset({HASH_SIZE})

Depth = Annotated[int, Uint(DEPTH_MAX)]
Bitmap = Annotated[bytes, Octets(0, DEPTH_MAX // 8)]
Siblings = Annotated[tuple[Hash, ...], Items(DEPTH_MAX)]


def state_key(encoded: bytes) -> bytes:
    """Return the tree's 32-byte key for the canonical encoding of a composite key."""
    return digest(_KEY + encoded)


def value_hash(value: bytes) -> bytes:
    """Return the hash that a leaf holds of a value's bytes."""
    return digest(_VALUE + value)


def leaf_hash(key: bytes, hashed_value: bytes) -> bytes:
    """Return the hash of a leaf."""
    return digest(_LEAF + key + hashed_value)


def inner_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node over the hashes of its children."""
    return digest(_INNER + left + right)


@dataclass(frozen=True, slots=True)
class OtherLeaf:
    """The leaf that stands where the absent key would."""

    key: Hash
    value_hash: Hash


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """Why a key has a value. Bit i of `bitmap` says whether the node at depth i + 1 has a sibling here: they
    are listed from the lowest up.
    """

    TAG: ClassVar[str] = "inclusion"

    depth: Depth
    bitmap: Bitmap
    siblings: Siblings

    def __post_init__(self) -> None:
        _check_shape(self.TAG, self.depth, self.bitmap, self.siblings)


@dataclass(frozen=True, slots=True)
class AbsenceProof:
    """Why a key has no value: its place holds `other`, or nothing."""

    TAG: ClassVar[str] = "absence"

    depth: Depth
    bitmap: Bitmap
    siblings: Siblings
    other: OtherLeaf | None

    def __post_init__(self) -> None:
        _check_shape(self.TAG, self.depth, self.bitmap, self.siblings)


def verify_present(root: bytes, key: bytes, value: bytes, proof: InclusionProof) -> None:
    """Check that `key` has exactly `value` under `root`. Raises ProofError."""
    _check_size("state key", key)
    start = leaf_hash(key, value_hash(value))
    _check_root(proof.TAG, root, _climb(key, start, proof))


def verify_absent(root: bytes, key: bytes, proof: AbsenceProof) -> None:
    """Check that `key` has no value under `root`. Raises ProofError."""
    _check_size("state key", key)
    _check_root(proof.TAG, root, _climb(key, _absent_start(key, proof), proof))


def shared_bits_count(first: bytes, second: bytes) -> int:
    """Return how many leading bits two keys share."""
    difference = int.from_bytes(first, "big") ^ int.from_bytes(second, "big")
    return KEY_BITS - difference.bit_length()


def _absent_start(key: bytes, proof: AbsenceProof) -> bytes:
    other = proof.other
    if other is None:
        return EMPTY
    _check_size("absence.other.key", other.key)
    _check_size("absence.other.value_hash", other.value_hash)
    if other.key == key:
        raise ProofError(
            where="absence.other", expected="a leaf of another key", found=f"a leaf of {key.hex()} itself"
        )
    shared_count = shared_bits_count(key, other.key)
    if shared_count < proof.depth:
        raise ProofError(
            where="absence.other",
            expected=f"a key with the first {proof.depth} bits of the absent one",
            found=f"{shared_count} bits",
        )
    return leaf_hash(other.key, other.value_hash)


def _climb(key: bytes, start: bytes, proof: InclusionProof | AbsenceProof) -> bytes:
    """Rule 6: the root that the proof leads to."""
    depth = proof.depth
    path = int.from_bytes(key, "big") >> (KEY_BITS - depth)
    present = int.from_bytes(proof.bitmap, "big") >> (8 * len(proof.bitmap) - depth)
    siblings = iter(proof.siblings)
    current = start
    for _ in range(depth):
        sibling = next(siblings) if present & 1 else EMPTY
        if path & 1:
            current = running_digest(_INNER + sibling + current).digest()
        else:
            current = running_digest(_INNER + current + sibling).digest()
        path >>= 1
        present >>= 1
    return current


def _check_shape(where: str, depth: int, bitmap: bytes, siblings: tuple[bytes, ...]) -> None:
    """Rules 1 and 5."""
    if not 0 <= depth <= DEPTH_MAX:
        raise ProofError(where=f"{where}.depth", expected=f"0 to {DEPTH_MAX}", found=f"{depth}")
    size = (depth + 7) // 8
    if len(bitmap) != size:
        raise ProofError(
            where=f"{where}.bitmap", expected=f"{size} bytes for depth {depth}", found=f"{len(bitmap)} bytes"
        )
    bits, padding_bits_count = int.from_bytes(bitmap, "big"), 8 * size - depth
    if bits & ((1 << padding_bits_count) - 1):
        raise ProofError(
            where=f"{where}.bitmap", expected=f"{padding_bits_count} zero bits at the end", found=bitmap.hex()
        )
    if bits.bit_count() != len(siblings):
        raise ProofError(
            where=f"{where}.siblings",
            expected=f"{bits.bit_count()}, one for each bit",
            found=f"{len(siblings)}",
        )
    if depth and not bits >> padding_bits_count & 1:
        raise ProofError(
            where=f"{where}.bitmap", expected="a lowest sibling that is not empty", found=bitmap.hex()
        )
    if set(map(len, siblings)) <= _HASH_SIZES and EMPTY not in siblings:
        return
    # One of them does not fit; only now is it worth to say which.
    for index, sibling in enumerate(siblings):
        _check_size(f"{where}.siblings[{index}]", sibling)
        if sibling == EMPTY:
            raise ProofError(
                where=f"{where}.siblings[{index}]", expected="a sibling that is not empty", found=EMPTY.hex()
            )


def _check_size(where: str, item: bytes) -> None:
    if len(item) != HASH_SIZE:
        raise ProofError(where=where, expected=f"{HASH_SIZE} bytes", found=f"{len(item)} bytes")


def _check_root(where: str, root: bytes, found: bytes) -> None:
    _check_size("state root", root)
    if root != found:
        raise ProofError(where=where, expected=f"the state root {root.hex()}", found=found.hex())
