"""A member's home: `genesis.json`, `node.toml`, `keys/` and `data/` in one directory.

Rule 1: a home is created whole or not at all, and never over something that exists. Directories have mode
0700, key files 0600.
Rule 2: a chain whose use is development, or that has a published development key, opens only with loopback
addresses; a published key is given out by such a home alone.
Rule 3: keys in the clear are written and read only for a development chain.
Rule 4: a member without a node has a home too: its genesis, its id and its member keys.
Rule 5: the next key is on disk before a rotation commits to it. Keys of validators and TLS are found by what the
chain registers, whatever their file's name; `member.pem` is always the member's current key.
Rule 6: a key file that is damaged stands in the way of no other: it is an error only where what is looked for is in
none of those that open.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from ledger.encoding.keys import PrivateKey, PublicKey
from ledger.errors import LedgerError
from ledger.genesis import (
    DEVELOPMENT,
    GENESIS_FILE_SIZE_MAX,
    Genesis,
    GenesisContent,
    genesis_to_json,
    parse_genesis,
)
from ledger.rules.operations import next_key_commitment
from node.consent.textbundle import PackedTexts
from node.consent.textfolder import bundle_name
from node.files.configfile import CONFIG_FILE_SIZE_MAX, ConfigError, read_file
from node.files.durablefile import POSIX_FILES, write_fresh
from node.files.folders import fresh_folder
from node.files.keyfiles import (
    DevelopmentKey,
    KeyFileError,
    Protection,
    check_key_mode,
    create_key_file,
    load_key_file,
)
from node.home.development import has_published_key, is_published
from node.home.settings import NODE_FILE, HomeSettings, NodeSettings, format_settings, parse_settings
from node.home.tlsfiles import create_tls_files, load_tls_files
from node.network.tls import TlsIdentity

GENESIS_FILE: Final = "genesis.json"
KEYS: Final = "keys"
DATA: Final = "data"
TEXTS: Final = "texts"
MEMBER_KEY: Final = "member.pem"
MEMBER_NEXT_KEY: Final = "member-next.pem"
MEMBER_AFTER_KEY: Final = "member-after.pem"
VALIDATOR_KEY: Final = "validator.pem"
VALIDATOR_NEXT_KEY: Final = "validator-next.pem"
TLS_KEY: Final = "tls.pem"
TLS_CERTIFICATE: Final = "tls.crt"
MEMBER_KEYS: Final = "member*.pem"
VALIDATOR_KEYS: Final = "validator*.pem"
TLS_CERTIFICATES: Final = "tls*.crt"
KEY_FILES: Final = "*.pem"

_GENESIS_CURE: Final = (
    "copy genesis.json from any other member: all have the same, and the stored chain is checked against it"
)
_SETTINGS_CURE: Final = (
    "put it back from a backup, or write it again as another home has it: member, [listen], [api] and [peers]"
)
_LOST_TLS_CURE: Final = (
    "put tls.pem and tls.crt back from a backup. If they are lost, replace them through another member's node: "
    "luohu key rotate --role tls. If the member's keys are lost as well, make new ones (luohu key new, luohu key tls) "
    "and have governors set them: luohu governance propose keys, propose node"
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HomeKeys:
    """The private keys that a new home starts with: validator keys for validators, TLS for every node."""

    member: PrivateKey
    member_next: PrivateKey
    validator: PrivateKey | None = None
    validator_next: PrivateKey | None = None
    tls: TlsIdentity | None = None

    def __post_init__(self) -> None:
        assert (self.validator is None) == (self.validator_next is None), "validator keys come in pairs"
        assert self.validator is None or self.tls is not None, "a validator needs a TLS identity"

    @property
    def files(self) -> tuple[tuple[str, PrivateKey], ...]:
        """The signing keys by file name."""
        named = (
            (MEMBER_KEY, self.member),
            (MEMBER_NEXT_KEY, self.member_next),
            (VALIDATOR_KEY, self.validator),
            (VALIDATOR_NEXT_KEY, self.validator_next),
        )
        return tuple((name, key) for name, key in named if key is not None)


@dataclass(frozen=True, slots=True)
class Home:
    """An opened home: its genesis is verified and its addresses are allowed."""

    path: Path
    genesis: Genesis
    settings: HomeSettings

    @classmethod
    def open(cls, path: Path) -> "Home":
        """Open a home. Raises ConfigError."""
        if not path.is_dir():
            found = "something else" if path.exists() else "nothing"
            raise ConfigError(
                where=f"{path}",
                expected="a home directory",
                found=found,
                cure="name one that network new wrote",
            )
        _require_file(path / GENESIS_FILE, _GENESIS_CURE)
        genesis = load_genesis(path / GENESIS_FILE)
        node_file = path / NODE_FILE
        _require_file(node_file, _SETTINGS_CURE)
        settings = parse_settings(read_file(node_file, size_max=CONFIG_FILE_SIZE_MAX), str(node_file))
        check_addresses(genesis.content, settings, where=str(node_file))
        return cls(path, genesis, settings)

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        genesis: Genesis,
        settings: HomeSettings,
        keys: HomeKeys,
        protection: Protection,
        texts: PackedTexts | None = None,
    ) -> "Home":
        """Write a new home and open it. Raises ConfigError, KeyFileError or OSError; then nothing is left.

        `texts` go into the folder TEXTS, which `settings` should name.
        """
        _check_protection(genesis.content, protection, where=str(path))
        check_addresses(genesis.content, settings, where=str(path / NODE_FILE))
        if (settings.node is None) != (keys.tls is None):
            expected = "a TLS identity exactly where there is a node"
            raise ConfigError(
                where=f"{path}", expected=expected, found="one without the other", cure="give both or neither"
            )
        with fresh_directory(path) as fresh:
            write_fresh(POSIX_FILES, fresh / GENESIS_FILE, format_genesis(genesis))
            write_fresh(POSIX_FILES, fresh / NODE_FILE, format_settings(settings))
            keys_directory = fresh / KEYS
            keys_directory.mkdir(mode=0o700)
            (fresh / DATA).mkdir(mode=0o700)
            if texts is not None:
                (fresh / TEXTS).mkdir()
                write_fresh(POSIX_FILES, fresh / TEXTS / bundle_name(texts), texts.encoded)
            for name, key in keys.files:
                create_key_file(keys_directory / name, key, protection)
            if keys.tls is not None:
                create_tls_files(
                    key=keys_directory / TLS_KEY,
                    certificate=keys_directory / TLS_CERTIFICATE,
                    identity=keys.tls,
                    protection=protection,
                )
        return cls.open(path)

    @property
    def member(self) -> str:
        """The id of the member whose home this is."""
        return self.settings.member

    @property
    def data(self) -> Path:
        """The directory of the node's storage."""
        return self.path / DATA

    @property
    def texts(self) -> Path | None:
        """The folder of texts that people are shown, where the home has one."""
        return None if self.settings.texts is None else self.path / self.settings.texts

    @property
    def is_development(self) -> bool:
        """Say whether the chain is for development only, so that its keys may lie in the clear."""
        return self.genesis.content.use == DEVELOPMENT

    def require_node(self) -> NodeSettings:
        """Return the node's settings. Raises ConfigError where this member runs none."""
        if self.settings.node is None:
            cure = "add [listen], [api] and [peers], or name the home of a member with a node"
            raise ConfigError(
                where=f"{self.path / NODE_FILE}",
                expected="a node",
                found=f"none for {self.member}",
                cure=cure,
            )
        return self.settings.node

    def load_member_key(self, protection: Protection, *, expected: PublicKey | None = None) -> PrivateKey:
        """Return the key that signs the member's transactions. Raises ConfigError or KeyFileError."""
        return self._load_key(MEMBER_KEY, protection, expected)

    def load_next_member_key(
        self, protection: Protection, *, expected: PublicKey | None = None
    ) -> PrivateKey:
        """Return the key that the next rotation reveals. Raises ConfigError or KeyFileError."""
        return self._load_key(MEMBER_NEXT_KEY, protection, expected)

    def load_validator_key(self, protection: Protection, *, expected: PublicKey | None = None) -> PrivateKey:
        """Return the key that signs votes. Raises ConfigError or KeyFileError."""
        return self._load_key(VALIDATOR_KEY, protection, expected)

    def load_next_validator_key(
        self, protection: Protection, *, expected: PublicKey | None = None
    ) -> PrivateKey:
        """Return the validator key that the next rotation reveals. Raises ConfigError or KeyFileError."""
        return self._load_key(VALIDATOR_NEXT_KEY, protection, expected)

    def find_member_key(self, protection: Protection, key: PublicKey) -> PrivateKey | None:
        """Return the private half of a member key, or None where this home does not have it."""
        return self._find_key(MEMBER_KEYS, protection, lambda found: found == key)

    def find_validator_key(self, protection: Protection, key: PublicKey) -> PrivateKey | None:
        """Return the private half of a validator key, or None where this home does not have it.

        Rotations add files and move none, so that a running node finds the key of every epoch. Raises
        ConfigError, or KeyFileError where it is in no file that opens, and there is one that does not.
        """
        return self._find_key(VALIDATOR_KEYS, protection, lambda found: found == key)

    def find_committed_key(self, protection: Protection, role: str, commitment: bytes) -> PrivateKey | None:
        """Return the key of a role that was committed to, or None where this home does not have it."""
        pattern = f"{role}*.pem"
        return self._find_key(pattern, protection, lambda found: next_key_commitment(found) == commitment)

    def require_fresh_key(self, name: str, protection: Protection, fresh: PrivateKey) -> PrivateKey:
        """Return the key in a file that is there already, or write `fresh` into it, durably, and return that."""
        path = self.path / KEYS / name
        if not path.exists():
            _check_protection(self.genesis.content, protection, where=str(path))
            create_key_file(path, fresh, protection)
        return self._load_key(name, protection, None)

    def promote_next_member_key(self, protection: Protection, registered: PublicKey, sequence: int) -> bool:
        """Make the registered key the one in `member.pem`; say whether anything was to be done.

        The replaced key stays as `member-retired-N.pem`. May be called again after a crash at any step.
        """
        keys = self.path / KEYS
        current, following, after = (keys / name for name in (MEMBER_KEY, MEMBER_NEXT_KEY, MEMBER_AFTER_KEY))
        is_moving = self._load_key(MEMBER_KEY, protection, None).public != registered
        if is_moving:
            self._load_key(MEMBER_NEXT_KEY, protection, registered)
            retired = keys / f"member-retired-{sequence - 1}.pem"
            if not retired.exists():
                POSIX_FILES.link(current, retired)
            POSIX_FILES.rename(following, current)
        if after.exists() and not following.exists():
            POSIX_FILES.rename(after, following)
            is_moving = True
        POSIX_FILES.sync_directory(keys)
        return is_moving

    def find_tls_identity(self, protection: Protection, certificate: bytes) -> TlsIdentity | None:
        """Return the identity with this TLS certificate (DER), or None where this home does not have it.

        Raises ConfigError, or KeyFileError where it is in no file that opens, and there is one that does not.
        """
        return _find(
            self._tls_certificates(),
            lambda path: self._load_tls(path.stem, protection),
            lambda found: found.certificate == certificate,
        )

    def other_tls_identities(
        self, protection: Protection, certificate: bytes, count_max: int
    ) -> tuple[TlsIdentity, ...]:
        """Return the newest identities of this home that open, up to that many, without the one with this certificate.

        Raises ConfigError.
        """
        others: list[TlsIdentity] = []
        for path in self._tls_certificates():
            if len(others) == count_max:
                break
            with suppress(KeyFileError):
                found = self._load_tls(path.stem, protection)
                if found.certificate != certificate:
                    others.append(found)
        return tuple(others)

    def tls_names(self) -> tuple[str, ...]:
        """Return the names of this home's TLS identities, newest first."""
        return tuple(path.stem for path in self._tls_certificates())

    def _tls_certificates(self) -> list[Path]:
        """Return the certificates whose key is there, newest first: tls-10 is newer than tls-9."""
        paths = [
            path for path in (self.path / KEYS).glob(TLS_CERTIFICATES) if path.with_suffix(".pem").exists()
        ]
        return sorted(paths, key=lambda path: (len(path.stem), path.stem), reverse=True)

    def require_fresh_tls_identity(
        self, name: str, protection: Protection, fresh: TlsIdentity
    ) -> TlsIdentity:
        """Return the identity in files that are there already, or write `fresh` into them, and return that."""
        key, certificate = self.path / KEYS / f"{name}.pem", self.path / KEYS / f"{name}.crt"
        if not certificate.exists():
            # A crash came between the two: a key whose certificate was never written was never shown.
            POSIX_FILES.remove(key)
            _check_protection(self.genesis.content, protection, where=str(key))
            create_tls_files(key=key, certificate=certificate, identity=fresh, protection=protection)
        return self._load_tls(name, protection)

    def load_tls_identity(self, protection: Protection) -> TlsIdentity:
        """Return the TLS key and certificate that the node began with, or the newest that opens where these are gone.

        Raises ConfigError, or KeyFileError where none opens.
        """
        first = self.path / KEYS / TLS_CERTIFICATE
        others = [path for path in self._tls_certificates() if path != first]
        try:
            found = _find(
                [first, *others], lambda path: self._load_tls(path.stem, protection), lambda _found: True
            )
        except KeyFileError as error:
            if first.exists() and first.with_suffix(".pem").exists():
                raise
            raise KeyFileError(
                where=error.where, expected=error.expected, found=error.found, cure=_LOST_TLS_CURE
            ) from error
        assert found is not None, "one opens, or the first says why not"
        return found

    def check_modes(self) -> None:
        """Check that nobody but the owner can use the private keys of this home. Raises KeyFileError."""
        for path in sorted((self.path / KEYS).glob(KEY_FILES)):
            check_key_mode(path)

    def _load_tls(self, name: str, protection: Protection) -> TlsIdentity:
        keys = self.path / KEYS
        _check_protection(self.genesis.content, protection, where=str(keys / f"{name}.pem"))
        return load_tls_files(
            key=keys / f"{name}.pem", certificate=keys / f"{name}.crt", protection=protection
        )

    def _find_key(
        self, pattern: str, protection: Protection, is_wanted: Callable[[PublicKey], bool]
    ) -> PrivateKey | None:
        # Newest first: what is looked for is seldom an old one, and each file costs the work of a passphrase.
        return _find(
            sorted((self.path / KEYS).glob(pattern), reverse=True),
            lambda path: self._load_key(path.name, protection, None),
            lambda found: is_wanted(found.public),
        )

    def _load_key(self, name: str, protection: Protection, expected: PublicKey | None) -> PrivateKey:
        path = self.path / KEYS / name
        _check_protection(self.genesis.content, protection, where=str(path))
        key = load_key_file(path, protection, expected=expected)
        # A key may have been put in place since genesis: rule 2 holds for it as well.
        if is_published(key.public, self.member):
            _check_loopback(self.settings, "a published development key", where=str(self.path / NODE_FILE))
        return key


def _find(paths: Iterable[Path], load: Callable[[Path], T], is_wanted: Callable[[T], bool]) -> T | None:
    """Return the first that is wanted. Raises KeyFileError where none is, and one did not open (rule 6)."""
    unreadable: KeyFileError | None = None
    for path in paths:
        try:
            found = load(path)
        except KeyFileError as error:
            unreadable = unreadable or error
            continue
        if is_wanted(found):
            return found
    if unreadable is not None:
        raise unreadable
    return None


def _require_file(path: Path, cure: str) -> None:
    if not os.path.lexists(path):
        raise ConfigError(where=f"{path}", expected="a file", found="nothing", cure=cure)


def load_genesis(path: Path) -> Genesis:
    """Return the verified genesis in a file. Raises ConfigError."""
    content = read_file(path, size_max=GENESIS_FILE_SIZE_MAX)
    try:
        return parse_genesis(content)
    except LedgerError as error:
        cure = "use the genesis.json that all members signed"
        raise ConfigError(
            where=f"{path}: {error.where}", expected=error.expected, found=error.found, cure=cure
        ) from error


def format_genesis(genesis: Genesis) -> bytes:
    """Return the content of a genesis.json: indented JSON in UTF-8 with a newline at its end."""
    return (json.dumps(genesis_to_json(genesis), ensure_ascii=False, indent=2) + "\n").encode()


def check_addresses(genesis: GenesisContent, settings: HomeSettings, *, where: str) -> None:
    """Check that a development chain stays on loopback (rule 2). Raises ConfigError."""
    if genesis.use == DEVELOPMENT:
        _check_loopback(settings, "a development chain", where=where)
    elif has_published_key(genesis):
        _check_loopback(settings, "a chain with a published development key", where=where)


@contextmanager
def fresh_directory(path: Path) -> Iterator[Path]:
    """Give a directory to fill, which takes the name `path` once all went well. Raises ConfigError.

    One that a killed process left half filled is removed by the next call for the same name.
    """
    if os.path.lexists(path):
        raise ConfigError(
            where=f"{path}",
            expected="nothing there yet",
            found="something",
            cure="choose another name or move it away",
        )
    if not path.parent.is_dir():
        raise ConfigError(
            where=f"{path.parent}", expected="a directory", found="none", cure="create it first"
        )
    with fresh_folder(path.parent, prefix=f".{path.name}.", suffix=".new") as fresh:
        yield fresh
        POSIX_FILES.sync_directory(fresh)
        POSIX_FILES.rename(fresh, path)
    POSIX_FILES.sync_directory(path.parent)


def _check_loopback(settings: HomeSettings, what: str, *, where: str) -> None:
    if settings.node is None:
        return
    for name, address in settings.node.addresses:
        if not address.is_loopback:
            expected = f"a loopback address, this being {what}"
            cure = "use 127.0.0.1, or found a chain with keys of its own: luohu network new"
            raise ConfigError(where=f"{where}: {name}", expected=expected, found=str(address), cure=cure)


def _check_protection(genesis: GenesisContent, protection: Protection, *, where: str) -> None:
    if isinstance(protection, DevelopmentKey) and genesis.use != DEVELOPMENT:
        expected = "a passphrase, this chain not being for development"
        raise ConfigError(where=where, expected=expected, found="none", cure="give one")
