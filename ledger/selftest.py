"""Whether signatures, encodings, text and hashes are answered here as they must be.

Two nodes that disagree on one signature are a fork, and a verifier that accepts what others refuse is a hole. Both rest
on libraries that changed their minds before: PyNaCl 1.6.1 took keys for proper that 1.6.2 refuses.

Rule 1: a library's version proves nothing. It is asked, with every vector on which libraries are known to differ.
Rule 2: where one answer is wrong, nothing is verified, signed or voted for here. The error names library and version.
Rule 3: it is asked once in a process, in less than 50 ms.
"""

import sys
from collections.abc import Callable
from functools import cache, partial
from typing import Final

from ledger.encoding.codec import CODEC_LIBRARY, Value, decode, encode
from ledger.encoding.digests import digest, keyed_digest, tagged_digest
from ledger.encoding.keys import ED25519, KEY_LIBRARY, PrivateKey, PublicKey, is_accepted
from ledger.encoding.signaturevectors import KEYS, SIGNATURES
from ledger.encoding.textcharacters import RANGES, find_foreign
from ledger.errors import EncodingError, LedgerError, SignatureError, UnfitEnvironment
from ledger.trees.merkle import Tree

INTERPRETER: Final = f"Python {sys.version.split()[0]}"
_TAG: Final = "luohu/selftest/1"
_SEED: Final = bytes(range(32))
_SIGNATURE: Final = bytes.fromhex(
    "f633afdd71cdf688a2b19bc37c5e0c43901cba450a28d5c611f2299754b376a7d24dd1c0105bbe05d1211323fd466c3facb07725d1eaf4818f2d86ee05abd20b"
)

_HASHES: Final = (
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    "e768c48f2f5a6b0c80983d74910207894c9b0f508ed9814dcd5baddd497e2722",
    "6bebdbcca7ab1652450b6cda83688546185161c0be80dc02ad0751492ff211a5",
    "36642e73c2540ab121e3a6bf9545b0a24982cd830eb13d3cd19de3ce6c021ec1",
)

_ENCODINGS: Final[tuple[tuple[Value, str], ...]] = (
    (0, "00"),
    (127, "7f"),
    (128, "cc80"),
    (256, "cd0100"),
    (2**16, "ce00010000"),
    (2**32, "cf0000000100000000"),
    (2**64 - 1, "cfffffffffffffffff"),
    (None, "c0"),
    (b"", "c400"),
    (bytes(2), "c4020000"),
    ("", "a0"),
    ("港", "a3e6b8af"),
    ("a" * 32, "d920" + "61" * 32),
    ((), "90"),
    ((1, (b"\x01", None), "x"), "930192c40101c0a178"),
)
_REFUSED: Final = {
    "a longer integer": "cc05",
    "a longer text": "d90161",
    "longer bytes": "c5000100",
    "a longer array": "dc0000",
    "a negative integer": "ff",
    "a truth value": "c3",
    "a fraction": "cb3ff0000000000000",
    "a map": "80",
    "an extension": "d40000",
    "text that is not UTF-8": "a180",
    "half of a surrogate pair": "a3eda080",
    "text of another alphabet": "a2d0b0",
    "a second value": "0000",
    "an end too soon": "c40200",
    "seventeen levels": "91" * 17 + "00",
}


@cache
def require_fit() -> None:
    """Check all of it, once in a process. Raises UnfitEnvironment."""
    for check in (_check_hashes, _check_text, _check_encodings, _check_keys, _check_signatures):
        check()


def _check_hashes() -> None:
    found = (
        digest(b"abc"),
        tagged_digest(_TAG, b"abc"),
        keyed_digest(bytes(32), _TAG, b"abc"),
        Tree([b"a", b"b", b"c"]).root(),
    )
    for place, (one, other) in enumerate(zip(found, _HASHES, strict=True)):
        _require(one.hex() == other, f"hash {place}", other, one.hex(), INTERPRETER)


def _check_text() -> None:
    for first, last in RANGES:
        for code, is_listed in ((first - 1, False), (first, True), (last, True), (last + 1, False)):
            is_listed = is_listed or any(low <= code <= high for low, high in RANGES)
            found = find_foreign(chr(code)) is None
            _require(found == is_listed, f"U+{code:04X}", _word(is_listed), _word(found), INTERPRETER)


def _check_encodings() -> None:
    for value, expected in _ENCODINGS:
        found = encode(value).hex()
        _require(found == expected, f"encoding of {value!r:.40}", expected, found, CODEC_LIBRARY)
        decoded = decode(bytes.fromhex(expected))
        _require(decoded == value, f"value of {expected:.40}", f"{value!r}", f"{decoded!r}", CODEC_LIBRARY)
    for name, spelling in _REFUSED.items():
        is_taken = _passes(partial(decode, bytes.fromhex(spelling)), EncodingError)
        _require(not is_taken, name, "refused", "accepted", CODEC_LIBRARY)


def _check_keys() -> None:
    for name, data, is_proper in KEYS:
        found = _passes(PublicKey(ED25519, data).check_prime_order, SignatureError)
        _require(found == is_proper, f"key {name}", _word(is_proper), _word(found), KEY_LIBRARY)


def _check_signatures() -> None:
    signature = PrivateKey.from_seed(_SEED).sign(_TAG, b"abc")
    _require(signature == _SIGNATURE, "signing", _SIGNATURE.hex(), signature.hex(), KEY_LIBRARY)
    for name, key, message, signed, is_valid in SIGNATURES:
        found = is_accepted(key, message, signed)
        _require(found == is_valid, f"signature {name}", _word(is_valid), _word(found), KEY_LIBRARY)


def _passes(check: Callable[[], object], error: type[LedgerError]) -> bool:
    try:
        check()
    except error:
        return False
    return True


def _word(is_accepted: bool) -> str:
    return "accepted" if is_accepted else "refused"


def _require(is_right: bool, where: str, expected: str, found: str, library: str) -> None:
    if not is_right:
        cure = "Install the releases that requirements/library.lock names: they were tried. Then start again."
        raise UnfitEnvironment(where=f"{library}, {where}", expected=expected, found=found, cure=cure)
