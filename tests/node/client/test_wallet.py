"""The resident's wallet: keys of their own, durable before they are used, gone when they are erased."""

import errno
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.encoding.keys import PrivateKey, PublicKey
from ledger.errors import LedgerError
from ledger.trust import TrustedRoot
from node.client.wallet import (
    CONSENT,
    COST_EXPONENT,
    COST_EXPONENT_MAX,
    COST_EXPONENT_MIN,
    HOLDER,
    KEYS_MAX,
    WALLET_SIZE_MAX,
    RootedContent,
    UnknownWalletKey,
    Wallet,
    WalletError,
    WalletKey,
    WalletLocked,
)
from node.files.keyfiles import Passphrase
from tests.support.consortium import make_content, make_genesis
from tests.support.crashing_disk import CrashingDisk, Loss, PowerCut

ROOT = TrustedRoot(1, make_genesis(), ())
PASSPHRASE = Passphrase(b"correct horse")
CONSENT_ID = b"i" * 32
HEAD_SIZE = 13 + 2 + 1 + 32 + 12


def create(path: Path, disk: CrashingDisk | None = None) -> Wallet:
    if disk is None:
        return Wallet.create(path, PASSPHRASE, cost_exponent=COST_EXPONENT_MIN)
    return Wallet.create(path, PASSPHRASE, cost_exponent=COST_EXPONENT_MIN, files=disk)


def load_keys(path: Path) -> tuple[WalletKey, ...]:
    with Wallet.load(path, PASSPHRASE) as wallet:
        return wallet.keys


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mine.wallet"


@pytest.fixture
def wallet(path: Path) -> Iterator[Wallet]:
    with create(path) as wallet:
        yield wallet


def test_keys_come_back_after_reopening_oldest_first(path: Path) -> None:
    with create(path) as wallet:
        holder, consent = wallet.derive_holder_key(), wallet.new_consent_key()
        keys = wallet.keys
    assert load_keys(path) == keys
    assert [(key.kind, key.public) for key in keys] == [(HOLDER, holder), (CONSENT, consent)]


def test_a_key_of_the_wallet_signs_for_its_public_key(wallet: Wallet) -> None:
    public = wallet.derive_holder_key()
    public.verify("luohu/test", b"body", wallet.signer_for(public).sign("luohu/test", b"body"))


def test_a_key_that_is_not_in_the_wallet_is_refused(wallet: Wallet) -> None:
    other = PrivateKey.from_seed(bytes(32)).public
    with pytest.raises(UnknownWalletKey, match=f"expected the key {other}"):
        wallet.signer_for(other)
    with pytest.raises(UnknownWalletKey):
        wallet.erase(other)
    with pytest.raises(UnknownWalletKey):
        wallet.attach_consent(other, CONSENT_ID)


def test_every_key_has_randomness_of_its_own(wallet: Wallet, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = [bytes([number]) * 32 for number in range(3)]
    given = iter([item for seed in seeds for item in (seed, bytes(12))])
    monkeypatch.setattr("node.client.wallet.secrets.token_bytes", lambda size: next(given))
    made = [wallet.derive_holder_key(), wallet.new_consent_key(), wallet.derive_holder_key()]
    assert made == [PrivateKey.from_seed(seed).public for seed in seeds]


def test_a_new_key_is_on_the_disk_before_it_is_returned(path: Path, tmp_path: Path) -> None:
    disk = CrashingDisk(tmp_path)
    with create(path, disk) as wallet:
        for make in (wallet.derive_holder_key, wallet.new_consent_key):
            disk.log.clear()
            make()
            assert disk.log == ["remove", "create", "write_at", "sync", "rename", "sync_directory"]


def test_a_key_whose_write_failed_is_not_issued_and_the_old_file_stays(path: Path, tmp_path: Path) -> None:
    disk = CrashingDisk(tmp_path)
    with create(path, disk) as wallet:
        first = wallet.derive_holder_key()
        before = path.read_bytes()
        disk.failing["sync"] = OSError(errno.ENOSPC, "No space left on device")
        with pytest.raises(WalletError, match="No space left on device; nothing was issued"):
            wallet.derive_holder_key()
        assert [key.public for key in wallet.keys] == [first]
        assert path.read_bytes() == before
        disk.failing.clear()
        second = wallet.derive_holder_key()
    assert [key.public for key in load_keys(path)] == [first, second]


@pytest.mark.parametrize("loss", Loss)
def test_a_power_cut_during_a_save_leaves_the_old_wallet_or_the_new(tmp_path: Path, loss: Loss) -> None:
    sizes: set[int] = set()
    for step in range(1, 20):
        path = tmp_path / f"wallet{step}"
        with create(path) as wallet:
            first = wallet.derive_holder_key()
        with Wallet.load(path, PASSPHRASE, files=CrashingDisk(tmp_path, crash_at=step, loss=loss)) as wallet:
            try:
                wallet.derive_holder_key()
            except PowerCut:
                pass
            else:
                keeps_names = loss in (Loss.NOTHING, Loss.DATA, Loss.HALF_THE_DATA)
                assert sizes == ({1, 2} if keeps_names else {1})
                return
        keys = load_keys(path)
        assert keys[0].public == first
        sizes.add(len(keys))
    pytest.fail("expected a save to end within 20 steps")


@pytest.mark.parametrize("loss", [Loss.DATA_AND_NAMES, Loss.DATA])
def test_a_power_cut_during_creation_leaves_a_wallet_or_none(tmp_path: Path, loss: Loss) -> None:
    for step in range(1, 20):
        path = tmp_path / f"wallet{step}"
        try:
            create(path, CrashingDisk(tmp_path, crash_at=step, loss=loss)).close()
        except PowerCut:
            if path.exists():
                assert load_keys(path) == ()
            else:
                create(path).close()
        else:
            return
    pytest.fail("expected creation to end within 20 steps")


# -- consents -------------------------------------------------------------------------------------------


def test_a_consent_key_remembers_the_consent_that_it_gave(path: Path) -> None:
    with create(path) as wallet:
        other, key = wallet.new_consent_key(), wallet.new_consent_key()
        wallet.attach_consent(key, CONSENT_ID)
        wallet.attach_consent(key, CONSENT_ID)
    with Wallet.load(path, PASSPHRASE) as wallet:
        assert wallet.find_consent_key(CONSENT_ID) == key
        assert wallet.find_consent_key(b"j" * 32) is None
        assert [item.public for item in wallet.keys] == [other, key]


def test_a_consent_key_gives_one_consent(wallet: Wallet) -> None:
    key = wallet.new_consent_key()
    wallet.attach_consent(key, CONSENT_ID)
    with pytest.raises(WalletError, match="make a new consent key"):
        wallet.attach_consent(key, b"j" * 32)
    assert wallet.find_consent_key(CONSENT_ID) == key


def test_a_holder_key_gives_no_consent(wallet: Wallet) -> None:
    key = wallet.derive_holder_key()
    with pytest.raises(WalletError, match="expected a consent key, found the holder key"):
        wallet.attach_consent(key, CONSENT_ID)


def test_a_consent_id_of_another_size_is_refused_and_nothing_changes(wallet: Wallet, path: Path) -> None:
    key = wallet.new_consent_key()
    before = path.read_bytes()
    with pytest.raises(WalletError, match="32 bytes"):
        wallet.attach_consent(key, b"short")
    assert path.read_bytes() == before
    assert wallet.keys[0].consent_id is None


# -- erasure --------------------------------------------------------------------------------------------


def test_an_erased_key_is_gone_and_the_others_stay(path: Path) -> None:
    with create(path) as wallet:
        first, erased, last = (wallet.derive_holder_key() for _ in range(3))
        wallet.erase(erased)
        with pytest.raises(UnknownWalletKey):
            wallet.signer_for(erased)
        wallet.signer_for(first)
    assert [key.public for key in load_keys(path)] == [first, last]


def test_the_file_that_held_an_erased_key_is_overwritten_for_good(path: Path, tmp_path: Path) -> None:
    disk = CrashingDisk(tmp_path, loss=Loss.DATA_AND_NAMES)
    with create(path, disk) as wallet:
        erased = wallet.derive_holder_key()
        descriptor = os.open(path, os.O_RDONLY)
        size = path.stat().st_size
        wallet.erase(erased)
        disk.cut_power()
    assert os.pread(descriptor, 2 * size, 0) == bytes(size)
    os.close(descriptor)
    assert load_keys(path) == ()


def test_an_old_file_that_cannot_be_overwritten_is_reported_though_the_key_is_gone(
    path: Path, tmp_path: Path
) -> None:
    disk = CrashingDisk(tmp_path)
    with create(path, disk) as wallet:
        erased = wallet.derive_holder_key()
        steps = iter((None, OSError(errno.EIO, "Input/output error")))
        real = disk.write_at

        def write_at(descriptor: int, data: bytes, offset: int) -> None:
            error = next(steps)
            if error is not None:
                raise error
            real(descriptor, data, offset)

        disk.write_at = write_at  # type: ignore[method-assign]
        with pytest.raises(WalletError, match="expected the old file overwritten"):
            wallet.erase(erased)
        assert wallet.keys == ()
    assert load_keys(path) == ()


def test_the_old_file_is_overwritten_only_once_the_new_one_is_durable(path: Path, tmp_path: Path) -> None:
    for step in range(1, 20):
        home = tmp_path / f"home{step}"
        home.mkdir()
        wallet_path = home / "wallet"
        with create(wallet_path) as wallet:
            kept, erased = wallet.derive_holder_key(), wallet.derive_holder_key()
        disk = CrashingDisk(tmp_path, crash_at=step, loss=Loss.NAMES)
        with Wallet.load(wallet_path, PASSPHRASE, files=disk) as wallet:
            try:
                wallet.erase(erased)
            except PowerCut:
                pass
            else:
                return
        assert [key.public for key in load_keys(wallet_path)] in ([kept, erased], [kept])
    pytest.fail("expected an erasure to end within 20 steps")


# -- the file -------------------------------------------------------------------------------------------


def test_the_file_is_private_and_shows_no_key(path: Path) -> None:
    with create(path) as wallet:
        public = wallet.derive_holder_key()
        seed = wallet.keys[0].seed
    content = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert seed not in content
    assert public.data not in content


def test_no_two_saves_give_the_same_nonce(path: Path) -> None:
    with create(path) as wallet:
        nonces = set()
        for _ in range(5):
            wallet.derive_holder_key()
            nonces.add(path.read_bytes()[HEAD_SIZE - 12 : HEAD_SIZE])
    assert len(nonces) == 5


def test_a_wallet_that_others_can_read_is_refused_with_the_cure(path: Path) -> None:
    create(path).close()
    path.chmod(0o640)
    with pytest.raises(WalletError, match=f"chmod 600 {path}"):
        Wallet.load(path, PASSPHRASE)


def test_a_wallet_is_never_overwritten(path: Path) -> None:
    with create(path) as wallet:
        wallet.derive_holder_key()
    before = path.read_bytes()
    with pytest.raises(WalletError, match="expected no file"):
        create(path)
    assert path.read_bytes() == before
    load_keys(path)


def test_a_wrong_passphrase_is_refused_and_the_lock_given_back(path: Path) -> None:
    create(path).close()
    with pytest.raises(WalletError, match="a wrong passphrase or an altered file"):
        Wallet.load(path, Passphrase(b"wrong horse"))
    assert load_keys(path) == ()


@pytest.mark.parametrize(
    "position",
    [0, 12, 13, 14, 15, 16, 47, 48, HEAD_SIZE - 1, HEAD_SIZE, HEAD_SIZE + 1, HEAD_SIZE + 40, -17, -16, -1],
)
def test_a_flipped_bit_in_any_region_is_refused(path: Path, position: int) -> None:
    with create(path) as wallet:
        wallet.derive_holder_key()
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(WalletError, match="expected"):
        Wallet.load(path, PASSPHRASE)


@pytest.mark.parametrize("size", [0, 1, 13, HEAD_SIZE - 1, HEAD_SIZE, HEAD_SIZE + 15, HEAD_SIZE + 16, -1])
def test_a_cut_off_wallet_is_refused(path: Path, size: int) -> None:
    with create(path) as wallet:
        wallet.derive_holder_key()
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(WalletError, match="expected"):
        Wallet.load(path, PASSPHRASE)


def test_a_longer_wallet_is_refused(path: Path) -> None:
    create(path).close()
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(WalletError, match="altered"):
        Wallet.load(path, PASSPHRASE)


def test_a_file_past_the_largest_size_is_refused_before_it_is_read_whole(path: Path) -> None:
    create(path).close()
    with path.open("r+b") as file:
        file.truncate(WALLET_SIZE_MAX)
    with pytest.raises(WalletError, match="altered"):
        Wallet.load(path, PASSPHRASE)
    with path.open("r+b") as file:
        file.truncate(WALLET_SIZE_MAX + 1)
    with pytest.raises(WalletError, match=f"at most {WALLET_SIZE_MAX} bytes"):
        Wallet.load(path, PASSPHRASE)


@pytest.mark.parametrize("exponent", [0, COST_EXPONENT_MIN - 1, COST_EXPONENT_MAX + 1, 63, 255])
def test_a_cost_outside_its_bounds_is_refused_before_it_is_paid(path: Path, exponent: int) -> None:
    create(path).close()
    content = bytearray(path.read_bytes())
    assert content[15] == COST_EXPONENT_MIN
    content[15] = exponent
    path.write_bytes(content)
    with pytest.raises(WalletError, match=f"cost exponent from 14 to 18, found {exponent}"):
        Wallet.load(path, PASSPHRASE)


def test_a_wallet_of_the_usual_and_of_the_largest_cost_opens(tmp_path: Path) -> None:
    for exponent in (COST_EXPONENT, COST_EXPONENT_MAX):
        path = tmp_path / f"wallet{exponent}"
        Wallet.create(path, PASSPHRASE, cost_exponent=exponent).close()
        assert path.read_bytes()[15] == exponent
        Wallet.load(path, PASSPHRASE).close()


def test_a_cost_outside_its_bounds_makes_no_wallet(path: Path) -> None:
    with pytest.raises(WalletError, match="cost exponent"):
        Wallet.create(path, PASSPHRASE, cost_exponent=COST_EXPONENT_MIN - 1)
    assert not path.exists()


def test_another_version_is_named(path: Path) -> None:
    create(path).close()
    content = bytearray(path.read_bytes())
    content[14] = 3
    path.write_bytes(content)
    with pytest.raises(
        WalletError, match="expected wallet version 1 or 2, found 3; use the release that made it"
    ):
        Wallet.load(path, PASSPHRASE)


def test_a_missing_wallet_is_named_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(WalletError, match="expected a wallet file, found none"):
        Wallet.load(tmp_path / "mine.walet", PASSPHRASE)
    assert list(tmp_path.iterdir()) == []


# -- one writer -----------------------------------------------------------------------------------------


def test_a_second_process_waits_its_turn(path: Path) -> None:
    with create(path) as wallet:
        with pytest.raises(WalletLocked, match="another process"):
            Wallet.load(path, PASSPHRASE)
        wallet.derive_holder_key()
        with pytest.raises(WalletLocked):
            Wallet.load(path, PASSPHRASE)
    assert len(load_keys(path)) == 1


def test_a_closed_wallet_makes_no_keys(path: Path) -> None:
    wallet = create(path)
    public = wallet.derive_holder_key()
    wallet.close()
    before = path.read_bytes()
    for change in (wallet.derive_holder_key, wallet.new_consent_key, lambda: wallet.erase(public)):
        with pytest.raises(WalletError, match="found a closed one"):
            change()
    assert path.read_bytes() == before


# -- limits ---------------------------------------------------------------------------------------------


def test_a_wallet_holds_its_largest_number_of_keys_and_not_one_more(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with create(path) as wallet:
        keys = tuple(
            WalletKey(CONSENT, PrivateKey.from_seed(seed).public, seed, CONSENT_ID)
            for seed in (number.to_bytes(32, "big") for number in range(KEYS_MAX - 1))
        )
        wallet._save_keys(keys)
        wallet.derive_holder_key()
        with pytest.raises(WalletError, match=f"at most {KEYS_MAX} keys"):
            wallet.derive_holder_key()
    assert len(load_keys(path)) == KEYS_MAX


def test_a_wallet_with_one_key_twice_is_refused(path: Path) -> None:
    with create(path) as wallet:
        wallet.derive_holder_key()
        with pytest.raises(Exception, match="expected distinct keys, found one twice"):
            wallet._save_keys((*wallet.keys, *wallet.keys))


def test_a_wallet_whose_seed_is_not_its_keys_is_refused(path: Path) -> None:
    with create(path) as wallet:
        wallet._save_keys((WalletKey(HOLDER, PublicKey(1, b"k" * 32), bytes(32), None),))
    with pytest.raises(WalletError, match="expected the seed of"):
        Wallet.load(path, PASSPHRASE)


def test_a_key_does_not_show_its_seed(wallet: Wallet) -> None:
    wallet.derive_holder_key()
    assert wallet.keys[0].seed.hex() not in repr(wallet.keys)
    assert repr(wallet.keys[0].seed) not in repr(wallet.keys)


# -- the trusted root (node/client/wallet.py, rule 6) ----------------------------------------------------

# Written by the release before wallets kept roots: a holder key, and a consent key that has given a consent.
OLD_WALLET = bytes.fromhex(
    "4c554f48552d57414c4c45540a00010e7a64990cadaf3aa4b8c31992b51ded31d57d86653339d3216ff5128e099742e4"
    "9fbc9b026321ae976fa7b41264af5aeed0c9ac0b9cc96d092dfd1e47b49773ee739cd26e216fe8dada2ff0b96e2d9567"
    "1bff2bcff61b803f919ac8e42711ef7b185ae41f375c71c907536440d43285781013752fd6a8d857bf3c3b99d0e62e03"
    "aae38818d6d87547611d0d2cefe7c173eaaf8a15ddccd86c3b5812d9389d5d001366c1263d2e9760b5fc61d510de476a"
    "556293a3c555108c129dd8010088af2c9e1f31fb93da39c7f77d3dc2f9b85ddd0831571f102ebf922e6d3fdeea65ccca"
    "41c5b7dfec8908138134dd603dce0d8700b589e5af13795ed5b2c912089b"
)
OLD_KEYS = [
    (HOLDER, "ed25519:9629e4e1134b2f33b6a84a9365e18d616079374cff51e74fbdc29b9b804af350", None),
    (
        CONSENT,
        "ed25519:93b4f11b8dd03efed78d3a513a4d0af2cc2d47aefa7fc05285ee7a827ff08e2d",
        bytes(range(32)),
    ),
]
VERSION_AT = 14


def test_a_wallet_of_before_there_were_roots_is_read_and_can_keep_one(path: Path) -> None:
    path.write_bytes(OLD_WALLET)
    path.chmod(0o600)
    passphrase = Passphrase.from_text("a wallet's passphrase")
    with Wallet.load(path, passphrase) as wallet:
        assert [(key.kind, str(key.public), key.consent_id) for key in wallet.keys] == OLD_KEYS
        assert wallet.root is None
        wallet.new_consent_key()
        assert path.read_bytes()[VERSION_AT] == 1, "an older release reads it still"
        wallet.keep_root(ROOT)
        fresh = wallet.derive_holder_key()
    assert path.read_bytes()[VERSION_AT] == 2
    with Wallet.load(path, passphrase) as wallet:
        assert wallet.root == ROOT and wallet.keys[-1].public == fresh and len(wallet.keys) == 4
        wallet.erase(fresh)
        assert wallet.root == ROOT


def test_a_root_that_may_not_take_the_place_of_the_kept_one_changes_nothing(path: Path) -> None:
    other = TrustedRoot(1, make_genesis(replace(make_content(), network="another")), ())
    with create(path) as wallet:
        wallet.keep_root(ROOT)
        before = path.read_bytes()
        wallet.keep_root(ROOT)
        assert path.read_bytes() == before, "nothing is written for the same root"
        for refused in (other, replace(ROOT, genesis=replace(ROOT.genesis, signatures=()))):
            with pytest.raises(LedgerError):
                wallet.keep_root(refused)
            assert path.read_bytes() == before and wallet.root == ROOT


def test_a_wallet_whose_kept_root_is_not_sound_is_refused(path: Path) -> None:
    """Only who knows the passphrase could write one; a release with a fault might."""
    unsound = replace(ROOT, genesis=replace(ROOT.genesis, signatures=ROOT.genesis.signatures[:1]))
    with create(path) as wallet:
        wallet._save(RootedContent(wallet.keys, unsound))
    with pytest.raises(WalletError, match="use the release that made it"):
        Wallet.load(path, PASSPHRASE)


@pytest.mark.parametrize("loss", list(Loss))
def test_a_crash_while_a_root_is_kept_leaves_the_wallet_with_or_without_it(
    tmp_path: Path, loss: Loss
) -> None:
    for step in range(1, 20):
        path = tmp_path / f"wallet{step}"
        with create(path) as wallet:
            kept = wallet.derive_holder_key()
        is_cut = False
        with Wallet.load(path, PASSPHRASE, files=CrashingDisk(tmp_path, crash_at=step, loss=loss)) as wallet:
            try:
                wallet.keep_root(ROOT)
            except PowerCut:
                is_cut = True
        with Wallet.load(path, PASSPHRASE) as wallet:
            assert [key.public for key in wallet.keys] == [kept]
            assert wallet.root in ((None, ROOT) if is_cut else (ROOT,))
        if not is_cut:
            return
    pytest.fail("expected a save to end within 20 steps")
