"""A resident's wallet: the private keys that hold documents and give consent, in one encrypted file.

Rule 1: every key is made from randomness of its own. Nothing derives one from another, so destroying one key
makes what it held unusable for ever and harms no other.
Rule 2: a new key is on the disk before its public key is returned: nobody gets a document or a consent for a
key that a crash could lose.
Rule 3: the file is encrypted and authenticated, header included (ChaCha20-Poly1305 under scrypt, r = 8), and
every other byte sequence is refused. The cost of scrypt is read from the file and bounded before it is paid.
Rule 4: the file is replaced whole, with mode 0600; a crash leaves the old wallet or the new one.
Rule 5: one process writes a wallet, from opening to closing it.
Rule 6: a wallet keeps the trusted root that its owner named. Another takes its place only where it is of the same chain
and as new or newer (ledger/trust.py, rule 7). A wallet without one is written as it was before there were any.
"""

import secrets
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Annotated, Final, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from ledger.encoding.keys import SEED_SIZE, PrivateKey, PublicKey
from ledger.encoding.records import Code, Hash, Items, Octets, pack, unpack
from ledger.errors import EncodingError, LedgerError
from ledger.selftest import require_fit
from ledger.trust import TrustedRoot, check_replaces
from node.errors import SetupError
from node.files.durablefile import (
    POSIX_FILES,
    Access,
    FileLock,
    FileLocked,
    FileOperations,
    PrivateFileError,
    create_file,
    read_private,
    replace_file,
)
from node.files.keyfiles import Passphrase
from node.files.reading import UnfitFile

HOLDER: Final = "holder"
CONSENT: Final = "consent"

KEYS_MAX: Final = 10_000
WALLET_SIZE_MAX: Final = 4 * 1024 * 1024

COST_EXPONENT_MIN: Final = 14
COST_EXPONENT_MAX: Final = 18
COST_EXPONENT: Final = 17

VERSION: Final = 1
VERSION_WITH_ROOT: Final = 2

_MAGIC: Final = b"LUOHU-WALLET\n"
_HEAD: Final = struct.Struct(">13sHB32s12s")
_BLOCK_SIZE: Final = 8
_SALT_SIZE: Final = 32
_NONCE_SIZE: Final = 12
_TAG_SIZE: Final = 16


class WalletError(SetupError):
    """A wallet cannot be used as asked."""


class WalletLocked(WalletError):
    """Another process has this wallet open."""


class UnknownWalletKey(WalletError):
    """A key that this wallet does not hold, or holds no longer."""


@dataclass(frozen=True, slots=True)
class WalletKey:
    """One key. `consent_id` names the consent that a consent key has given, once it is known."""

    kind: Annotated[str, Code((HOLDER, CONSENT))]
    public: PublicKey
    seed: Annotated[bytes, Octets(SEED_SIZE, SEED_SIZE)] = field(repr=False)
    consent_id: Hash | None

    def __post_init__(self) -> None:
        if self.kind == HOLDER and self.consent_id is not None:
            raise EncodingError(where="wallet key", expected="no consent on a holder key", found="one")


@dataclass(frozen=True, slots=True)
class WalletContent:
    """What is encrypted in version 1: the keys, oldest first."""

    keys: Annotated[tuple[WalletKey, ...], Items(KEYS_MAX)]

    def __post_init__(self) -> None:
        _check_distinct(self.keys)


@dataclass(frozen=True, slots=True)
class RootedContent:
    """What is encrypted in version 2: the keys, oldest first, and the trusted root that their owner named."""

    keys: Annotated[tuple[WalletKey, ...], Items(KEYS_MAX)]
    root: TrustedRoot

    def __post_init__(self) -> None:
        _check_distinct(self.keys)


Content: TypeAlias = WalletContent | RootedContent


@dataclass(frozen=True, slots=True)
class _Seal:
    """How the file is encrypted; derived from the passphrase once, kept while the wallet is open."""

    cost_exponent: int
    salt: bytes
    key: bytes = field(repr=False)


class Wallet:
    """An open wallet; use it in a `with` statement, or close it."""

    __slots__ = ("_content", "_files", "_lock", "_path", "_seal")

    def __init__(
        self, files: FileOperations, path: Path, lock: FileLock, seal: _Seal, content: Content
    ) -> None:
        """Use `Wallet.create` or `Wallet.load`."""
        self._files = files
        self._path = path
        self._lock = lock
        self._seal = seal
        self._content = content

    @classmethod
    def create(
        cls,
        path: Path,
        passphrase: Passphrase,
        *,
        cost_exponent: int = COST_EXPONENT,
        files: FileOperations = POSIX_FILES,
    ) -> "Wallet":
        """Make an empty wallet in a new file, durably, and open it. Raises WalletError or UnfitEnvironment.

        `cost_exponent` is log2 of scrypt's N; each step doubles time and memory (17: 128 MiB).
        """
        require_fit()
        lock = _take_lock(path)
        try:
            salt = secrets.token_bytes(_SALT_SIZE)
            seal = _derive_seal(path, passphrase, cost_exponent, salt)
            content = WalletContent(())
            create_file(files, path, _encrypt(seal, content))
        except FileExistsError as error:
            lock.release()
            raise WalletError(
                where=path, expected="no file", found="one that exists", cure="choose another name"
            ) from error
        except OSError as error:
            lock.release()
            raise WalletError(
                where=path, expected="a writable place", found=_reason(error), cure="check the disk"
            ) from error
        except BaseException:
            lock.release()
            raise
        return cls(files, path, lock, seal, content)

    @classmethod
    def load(cls, path: Path, passphrase: Passphrase, *, files: FileOperations = POSIX_FILES) -> "Wallet":
        """Open a wallet. Raises WalletError, or UnfitEnvironment where libraries here err."""
        require_fit()
        # Checked before the lock, which would leave a file beside a mistyped name.
        if _find(files, path) is None:
            raise WalletError(
                where=path,
                expected="a wallet file",
                found="none",
                cure="check the path, or make one with: luohu wallet new",
            )
        lock = _take_lock(path)
        try:
            data = read_private(path, size_max=WALLET_SIZE_MAX)
            seal, content = _decrypt(path, data, passphrase)
        except PrivateFileError as error:
            lock.release()
            raise WalletError(
                where=path, expected=error.expected, found=error.found, cure=error.cure
            ) from error
        except BaseException:
            lock.release()
            raise
        return cls(files, path, lock, seal, content)

    @property
    def keys(self) -> tuple[WalletKey, ...]:
        """The keys, oldest first."""
        return self._content.keys

    @property
    def root(self) -> TrustedRoot | None:
        """The trusted root that this wallet keeps, or None."""
        return self._content.root if isinstance(self._content, RootedContent) else None

    def keep_root(self, root: TrustedRoot) -> None:
        """Keep a trusted root, durably, in place of an earlier one (rule 6). Raises TrustError or WalletError."""
        root.check()
        kept = self.root
        if kept == root:
            return
        if kept is not None:
            check_replaces(root, kept)
        self._save(RootedContent(self.keys, root))

    def derive_holder_key(self) -> PublicKey:
        """Make a fresh holder key and return its public key once it is durable. Raises WalletError."""
        return self._add_key(HOLDER)

    def new_consent_key(self) -> PublicKey:
        """Make a fresh consent key and return its public key once it is durable. Raises WalletError."""
        return self._add_key(CONSENT)

    def attach_consent(self, public_key: PublicKey, consent_id: bytes) -> None:
        """Note, durably, which consent a consent key has given; a key gives one. Raises WalletError."""
        key = self._require(public_key)
        if key.kind != CONSENT:
            raise WalletError(
                where=self._path,
                expected="a consent key",
                found=f"the {key.kind} key {public_key}",
                cure="name another key",
            )
        if key.consent_id == consent_id:
            return
        if key.consent_id is not None:
            found = f"consent {key.consent_id.hex()}"
            raise WalletError(
                where=self._path,
                expected=f"no consent on {public_key}",
                found=found,
                cure="make a new consent key",
            )
        named = replace(key, consent_id=consent_id)
        self._save_keys(tuple(named if other is key else other for other in self.keys))

    def find_consent_key(self, consent_id: bytes) -> PublicKey | None:
        """Return the key that gave a consent, or None."""
        return next((key.public for key in self.keys if key.consent_id == consent_id), None)

    def signer_for(self, public_key: PublicKey) -> PrivateKey:
        """Return the private key of a public key. Raises UnknownWalletKey."""
        return PrivateKey.from_seed(self._require(public_key).seed)

    def erase(self, public_key: PublicKey) -> None:
        """Destroy one key, durably, and overwrite the file that held it. Raises WalletError.

        Not promised: copies elsewhere. Backups, file system snapshots and the spare cells of flash memory may
        still hold the old file; it opens only with the passphrase.
        """
        erased = self._require(public_key)
        try:
            old = self._files.open(self._path)
        except OSError as error:
            raise self._unwritten(error) from error
        try:
            self._save_keys(tuple(key for key in self.keys if key is not erased))
            self._files.write_at(old, bytes(self._files.size(old)), 0)
            self._files.sync(old)
        except OSError as error:
            cure = "the key is gone from the wallet; erase the disk's free space to be sure"
            raise WalletError(
                where=self._path, expected="the old file overwritten", found=_reason(error), cure=cure
            ) from error
        finally:
            self._files.close(old)

    def close(self) -> None:
        """Release the lock; everything is durable already."""
        self._lock.release()

    def __enter__(self) -> "Wallet":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _add_key(self, kind: str) -> PublicKey:
        if len(self.keys) == KEYS_MAX:
            raise WalletError(
                where=self._path,
                expected=f"at most {KEYS_MAX} keys",
                found="no room",
                cure="make another wallet",
            )
        seed = secrets.token_bytes(SEED_SIZE)
        public = PrivateKey.from_seed(seed).public
        self._save_keys((*self.keys, WalletKey(kind, public, seed, None)))
        return public

    def _require(self, public_key: PublicKey) -> WalletKey:
        for key in self.keys:
            if key.public == public_key:
                return key
        raise UnknownWalletKey(
            where=self._path,
            expected=f"the key {public_key}",
            found="no such key",
            cure="use the wallet that made it",
        )

    def _save_keys(self, keys: tuple[WalletKey, ...]) -> None:
        self._save(WalletContent(keys) if self.root is None else RootedContent(keys, self.root))

    def _save(self, content: Content) -> None:
        if not self._lock.is_held:
            raise WalletError(
                where=self._path, expected="an open wallet", found="a closed one", cure="load it again"
            )
        try:
            encrypted = _encrypt(self._seal, content)
        except EncodingError as error:
            raise WalletError(
                where=self._path, expected=error.expected, found=error.found, cure="correct the value"
            ) from error
        try:
            replace_file(self._files, self._path, encrypted)
        except OSError as error:
            raise self._unwritten(error) from error
        self._content = content

    def _unwritten(self, error: OSError) -> WalletError:
        return WalletError(
            where=self._path,
            expected="a durable write",
            found=_reason(error),
            cure="nothing was issued; check the disk",
        )


def is_wallet(content: bytes) -> bool:
    """Say whether a file that begins so is a wallet, of whatever version."""
    return content.startswith(_MAGIC)


def _check_distinct(keys: tuple[WalletKey, ...]) -> None:
    if len({key.public for key in keys}) != len(keys):
        raise EncodingError(where="wallet", expected="distinct keys", found="one twice")


def _find(files: FileOperations, path: Path) -> Access | None:
    try:
        return files.find_access(path)
    except OSError as error:
        cure = error.cure if isinstance(error, UnfitFile) else "check the path"
        raise WalletError(where=path, expected="a wallet file", found=_reason(error), cure=cure) from error


def _take_lock(path: Path) -> FileLock:
    try:
        return FileLock(path.with_name(path.name + ".lock"))
    except FileLocked as error:
        cure = "wait until it has finished"
        raise WalletLocked(
            where=path, expected="to be the only user", found="another process using it", cure=cure
        ) from error
    except OSError as error:
        raise WalletError(
            where=path, expected="a writable place", found=_reason(error), cure="check the directory"
        ) from error


def _derive_seal(path: Path, passphrase: Passphrase, cost_exponent: int, salt: bytes) -> _Seal:
    if not COST_EXPONENT_MIN <= cost_exponent <= COST_EXPONENT_MAX:
        expected = f"a scrypt cost exponent from {COST_EXPONENT_MIN} to {COST_EXPONENT_MAX}"
        raise WalletError(
            where=path, expected=expected, found=f"{cost_exponent}", cure="restore the file from a backup"
        )
    key = Scrypt(salt=salt, length=32, n=2**cost_exponent, r=_BLOCK_SIZE, p=1).derive(passphrase.secret)
    return _Seal(cost_exponent, salt, key)


def _encrypt(seal: _Seal, content: Content) -> bytes:
    # One derived key, a random nonce at each save: fine far beyond the thousands of saves a wallet sees.
    nonce = secrets.token_bytes(_NONCE_SIZE)
    version = VERSION if isinstance(content, WalletContent) else VERSION_WITH_ROOT
    head = _HEAD.pack(_MAGIC, version, seal.cost_exponent, seal.salt, nonce)
    encrypted = head + ChaCha20Poly1305(seal.key).encrypt(nonce, pack(content), head)
    assert len(encrypted) <= WALLET_SIZE_MAX, (
        "KEYS_MAX keys and a trusted root fit the size that is read back"
    )
    return encrypted


def _decrypt(path: Path, data: bytes, passphrase: Passphrase) -> tuple[_Seal, Content]:
    if len(data) < _HEAD.size + _TAG_SIZE or not data.startswith(_MAGIC):
        raise WalletError(
            where=path,
            expected="a Luohu wallet",
            found="something else or a cut-off file",
            cure="name a wallet file",
        )
    _, version, cost_exponent, salt, nonce = _HEAD.unpack_from(data)
    if version not in (VERSION, VERSION_WITH_ROOT):
        raise WalletError(
            where=path,
            expected=f"wallet version {VERSION} or {VERSION_WITH_ROOT}",
            found=f"{version}",
            cure="use the release that made it",
        )
    seal = _derive_seal(path, passphrase, cost_exponent, salt)
    head, encrypted = data[: _HEAD.size], data[_HEAD.size :]
    try:
        opened = ChaCha20Poly1305(seal.key).decrypt(nonce, encrypted, head)
        content = _decode(opened, has_root=version == VERSION_WITH_ROOT)
    except InvalidTag as error:
        cure = "try again; if the passphrase is right, restore the file from a backup"
        raise WalletError(
            where=path,
            expected="a wallet that opens",
            found="a wrong passphrase or an altered file",
            cure=cure,
        ) from error
    except LedgerError as error:
        cure = "use the release that made it"
        raise WalletError(where=path, expected=error.expected, found=error.found, cure=cure) from error
    for key in content.keys:
        if PrivateKey.from_seed(key.seed).public != key.public:
            raise WalletError(
                where=path,
                expected=f"the seed of {key.public}",
                found="another seed",
                cure="restore it from a backup",
            )
    return seal, content


def _decode(opened: bytes, *, has_root: bool) -> Content:
    if not has_root:
        return unpack(WalletContent, opened, size_max=WALLET_SIZE_MAX)
    content = unpack(RootedContent, opened, size_max=WALLET_SIZE_MAX)
    content.root.check()
    return content


def _reason(error: OSError) -> str:
    return error.strerror or "an error"
