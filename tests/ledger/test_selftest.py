"""The self-test: it passes here, and a library that answers one thing otherwise is found and named."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nacl.bindings
import pytest
from nacl.exceptions import BadSignatureError

from ledger import selftest
from ledger.audit import Audit
from ledger.encoding import codec, keys
from ledger.encoding.signaturevectors import KEYS, SIGNATURES
from ledger.errors import UnfitEnvironment
from ledger.selftest import require_fit
from ledger.verifier import Verifier
from node.client.wallet import Wallet
from node.files.keyfiles import Passphrase
from tests.attacks.forge import honest
from tests.support import ed25519
from tests.support.consortium import make_genesis
from tests.vectors import make_signatures

PASSPHRASE = Passphrase.from_text("correct horse battery staple")


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    require_fit.cache_clear()
    yield
    require_fit.cache_clear()


def test_this_environment_is_fit() -> None:
    require_fit()


def test_the_vectors_are_what_their_script_makes_of_plain_integers() -> None:
    assert make_signatures.PATH.read_text() == make_signatures.text()


def test_the_vectors_hold_every_torsion_accepted_and_refused() -> None:
    names = {name: is_accepted for name, _, _, _, is_accepted in SIGNATURES}
    for order in (2, 4, 8):
        assert names[f"key with a torsion of {order} that the challenge cancels"]
        assert not names[f"key with a torsion of {order} that the challenge does not cancel"]
        assert not names[f"R with a torsion of {order}"]
        point = ed25519.torsion(order)
        assert ed25519.multiply(order, point) == ed25519.NEUTRAL != ed25519.multiply(order // 2, point)
    for name in ("key and R of small order", "key of small order", "R of small order"):
        assert not names[name]
    assert {is_proper for _, _, is_proper in KEYS} == {True, False}


def test_plain_integers_and_the_library_agree_on_what_a_key_signs() -> None:
    seed = bytes(range(32))
    half = hashlib.sha512(seed).digest()[:32]
    secret = int.from_bytes(half, "little") & ((1 << 254) - 8) | 1 << 254
    public = ed25519.encode(ed25519.multiply(secret, ed25519.BASE))
    key = keys.PrivateKey.from_seed(seed)
    assert key.public.data == public
    signature = key.sign("luohu/tests/1", b"body")
    assert ed25519.accepts(public, b"\x0dluohu/tests/1body", signature)
    assert not ed25519.accepts(public, b"\x0dluohu/tests/1body.", signature)


def accept_cofactored(_original: Callable[..., Any]) -> Callable[[bytes, bytes], bytes]:
    """A library that multiplies the equation by eight, as RFC 8032 allows."""

    def crypto_sign_open(signed: bytes, key: bytes) -> bytes:
        signature, message = signed[:64], signed[64:]
        point, committed = ed25519.decode(key), ed25519.decode(signature[:32])
        scalar = int.from_bytes(signature[32:], "little")
        if point is None or committed is None or scalar >= ed25519.ORDER:
            raise BadSignatureError
        k = ed25519.challenge(signature[:32], key, message)
        difference = ed25519.add(committed, ed25519.multiply(k, point))
        if ed25519.multiply(8 * scalar, ed25519.BASE) != ed25519.multiply(8, difference):
            raise BadSignatureError
        return message

    return crypto_sign_open


def accept_on_the_curve(_original: Callable[..., Any]) -> Callable[[bytes], bool]:
    """PyNaCl 1.6.0 and 1.6.1: any point of more than small order is taken for proper."""

    def is_valid_point(key: bytes) -> bool:
        point = ed25519.decode(key)
        return point is not None and ed25519.multiply(8, point) != ed25519.NEUTRAL

    return is_valid_point


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("crypto_sign_open", accept_cofactored),
        ("crypto_sign_open", lambda _original: lambda signed, _key: signed[64:]),
        ("crypto_core_ed25519_is_valid_point", accept_on_the_curve),
        ("crypto_core_ed25519_is_valid_point", lambda _original: lambda _key: False),
        ("crypto_sign", lambda original: lambda data, key: original(data + b".", key)),
    ],
)
def test_a_signature_library_that_changed_its_mind_is_found_and_named(
    name: str, other: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nacl.bindings, name, other(getattr(nacl.bindings, name)))
    with pytest.raises(UnfitEnvironment) as caught:
        require_fit()
    assert caught.value.where.startswith(f"PyNaCl {nacl.__version__}, ")


def test_a_codec_that_takes_a_longer_spelling_is_found_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "check_spelling", lambda _value, _data: None)
    with pytest.raises(UnfitEnvironment, match=r"^msgpack \d.*a longer integer: expected refused"):
        require_fit()


def test_an_interpreter_with_other_characters_is_found_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "find_foreign", lambda text: None if text == "ɏ" * 1 else "")
    with pytest.raises(UnfitEnvironment, match=r"^Python 3\..*U\+0020: expected accepted"):
        require_fit()


def test_another_hash_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "digest", lambda data: hashlib.sha512(data).digest()[:32])
    with pytest.raises(UnfitEnvironment, match=r"^Python 3\..*hash 0"):
        require_fit()


def make_verifier(_folder: Path) -> None:
    Verifier(honest().trust)


def make_audit(_folder: Path) -> None:
    Audit(make_genesis())


def make_wallet(folder: Path) -> None:
    Wallet.create(folder / "new", PASSPHRASE, cost_exponent=14).close()


def load_wallet(folder: Path) -> None:
    Wallet.load(folder / "wallet", PASSPHRASE).close()


@pytest.mark.parametrize("begin", [make_verifier, make_audit, make_wallet, load_wallet])
def test_nothing_begins_where_a_library_errs(
    begin: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Wallet.create(tmp_path / "wallet", PASSPHRASE, cost_exponent=14).close()
    begin(tmp_path)
    require_fit.cache_clear()
    monkeypatch.setattr(nacl.bindings, "crypto_core_ed25519_is_valid_point", lambda _key: True)
    for _ in range(2):
        with pytest.raises(UnfitEnvironment):
            begin(tmp_path / "elsewhere" if begin is make_wallet else tmp_path)
