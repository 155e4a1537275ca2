"""Keys: the set of accepted signatures is pinned, because two nodes that disagree on one are a fork."""

import json
from collections.abc import Callable
from typing import Any

import nacl.bindings
import pytest
from nacl.exceptions import BadSignatureError

from ledger.encoding.codec import encode
from ledger.encoding.digests import tagged
from ledger.encoding.keys import ALGORITHM_NAMES, ED25519, P256, SM2, WEBAUTHN, PrivateKey, PublicKey
from ledger.encoding.records import from_json, pack, unpack
from ledger.errors import EncodingError, SignatureError
from ledger.rules.operations import WithdrawalBody
from tests.support.consortium import key_of
from tests.support.sources import ROOT

VECTORS = ROOT.parent / "shared" / "vectors"
TAG = "luohu/tests/1"
FIELD_PRIME = 2**255 - 19
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493


def read_vectors(name: str) -> Any:  # noqa: ANN401
    path = VECTORS / name
    if not path.exists():
        pytest.skip(f"the public vectors are not here: {name} is missing beside the project")
    return json.loads(path.read_text())


def accepts(key: bytes, message: bytes, signature: bytes) -> bool:
    """Say whether the call that PublicKey.verify makes accepts a signature over bytes without a tag."""
    if len(signature) != 64:
        return False
    try:
        nacl.bindings.crypto_sign_open(signature + message, key)
    except BadSignatureError:
        return False
    return True


def test_of_the_speccheck_edge_cases_only_case_3_is_accepted() -> None:
    cases = read_vectors("ed25519_speccheck.json")
    accepted = [
        index
        for index, case in enumerate(cases)
        if accepts(*(bytes.fromhex(case[name]) for name in ("pub_key", "message", "signature")))
    ]
    assert len(cases) == 12
    assert accepted == [3]


def test_all_wycheproof_cases_are_answered_as_published() -> None:
    groups = read_vectors("wycheproof_ed25519.json")["testGroups"]
    count = 0
    for group in groups:
        key = bytes.fromhex(group["publicKey"]["pk"])
        for case in group["tests"]:
            found = accepts(key, bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"]))
            assert found == (case["result"] == "valid"), f"case {case['tcId']}: {case['comment']}"
            count += 1
    assert count == 151


def test_a_key_verifies_what_it_signed_under_that_tag_only() -> None:
    key = key_of("a")
    signature = key.sign(TAG, b"body")
    key.public.verify(TAG, b"body", signature)
    assert accepts(key.public.data, tagged(TAG, b"body"), signature)
    for tag, body, public in (
        ("luohu/tests/2", b"body", key.public),
        (TAG, b"body.", key.public),
        (TAG, b"body", key_of("b").public),
    ):
        with pytest.raises(SignatureError):
            public.verify(tag, body, signature)


def test_signatures_are_the_same_every_time() -> None:
    assert key_of("a").sign(TAG, b"body") == key_of("a").sign(TAG, b"body")


def test_every_flipped_bit_of_a_signature_is_refused() -> None:
    key = key_of("a")
    signature = key.sign(TAG, b"body")
    for bit in range(512):
        flipped = bytearray(signature)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SignatureError):
            key.public.verify(TAG, b"body", bytes(flipped))


def test_a_signature_with_the_group_order_added_is_refused() -> None:
    key = key_of("a")
    signature = key.sign(TAG, b"body")
    scalar = int.from_bytes(signature[32:], "little") + GROUP_ORDER
    with pytest.raises(SignatureError):
        key.public.verify(TAG, b"body", signature[:32] + scalar.to_bytes(32, "little"))


@pytest.mark.parametrize("size", [0, 63, 65])
def test_a_signature_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(SignatureError, match="expected 64 bytes"):
        key_of("a").public.verify(TAG, b"", bytes(size))


def test_members_keys_are_of_prime_order() -> None:
    for name in ("a", "b", "c"):
        key_of(name).public.check_prime_order()


def find_off_curve() -> bytes:
    for candidate in range(2, 100):
        coordinate = candidate.to_bytes(32, "little")
        top = (candidate**2 - 1) % FIELD_PRIME
        d = -121665 * pow(121666, -1, FIELD_PRIME) % FIELD_PRIME
        square = top * pow(d * candidate**2 + 1, -1, FIELD_PRIME) % FIELD_PRIME
        if pow(square, (FIELD_PRIME - 1) // 2, FIELD_PRIME) == FIELD_PRIME - 1:
            return coordinate
    raise AssertionError("no such point")


# From "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko, 2020): points outside the prime-order group.
IMPROPER_KEYS = {
    "the neutral element": bytes([1]) + bytes(31),
    "order 2": (FIELD_PRIME - 1).to_bytes(32, "little"),
    "order 4": bytes(32),
    "order 8": bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"),
    "not canonical": (FIELD_PRIME + 1).to_bytes(32, "little"),
    "not on the curve": find_off_curve(),
}


@pytest.mark.parametrize("name", list(IMPROPER_KEYS))
def test_a_key_outside_the_prime_order_group_is_refused_at_registration(name: str) -> None:
    with pytest.raises(SignatureError, match="prime order"):
        PublicKey(ED25519, IMPROPER_KEYS[name]).check_prime_order()


def test_a_key_of_mixed_order_is_refused_at_registration() -> None:
    mixed = nacl.bindings.crypto_core_ed25519_add(key_of("a").public.data, IMPROPER_KEYS["order 8"])
    with pytest.raises(SignatureError, match="prime order"):
        PublicKey(ED25519, mixed).check_prime_order()


def test_a_public_key_has_one_text() -> None:
    key = key_of("a").public
    assert PublicKey.from_text(str(key)) == key
    digits = key.data.hex()
    for text in (
        digits,
        f"ed25519:{digits.upper()}",
        f"ed25519:{digits}0",
        f"ed25519:{digits[1:]}",
        "",
        "sm2:00",
    ):
        with pytest.raises(EncodingError):
            PublicKey.from_text(text)


def test_a_public_key_names_a_known_algorithm() -> None:
    key = key_of("a").public
    assert unpack(PublicKey, pack(key)) == key
    for algorithm, data in (
        (0, key.data),
        (5, key.data),
        (1, key.data[1:]),
        (1, key.data + b"\0"),
        (2, key.data),
    ):
        with pytest.raises(EncodingError) as malformed:
            PublicKey(algorithm, data)
        assert malformed.value.code == "encoding"
        with pytest.raises(EncodingError) as malformed:
            unpack(PublicKey, encode((algorithm, data)))
        assert malformed.value.code == "encoding"


@pytest.mark.parametrize("algorithm", [P256, SM2, WEBAUTHN])
def test_a_key_of_an_algorithm_to_come_is_unsupported_and_not_malformed(algorithm: int) -> None:
    """Alone, inside a record, and in its JSON form."""
    data = b"\x02" + bytes(32)
    inner = encode((bytes(32), (algorithm, data), bytes(32)))
    asks: list[Callable[[], object]] = [
        lambda: PublicKey(algorithm, data),
        lambda: unpack(PublicKey, encode((algorithm, data))),
        lambda: unpack(WithdrawalBody, inner),
        lambda: from_json(PublicKey, {"algorithm": algorithm, "data": data.hex()}),
    ]
    for ask in asks:
        with pytest.raises(EncodingError, match=ALGORITHM_NAMES[algorithm]) as refused:
            ask()
        assert refused.value.code == "unsupported-algorithm"


def test_a_seed_has_32_bytes_and_is_never_shown() -> None:
    key = key_of("a")
    assert key.seed.hex() not in repr(key) and repr(key.seed) not in repr(key)
    for size in (31, 33):
        with pytest.raises(EncodingError, match="32 bytes"):
            PrivateKey.from_seed(bytes(size))
