"""Private keys on disk, and the passphrases that protect them (docs/decisions/0001).

Rule 1: a key file is PKCS#8 in PEM, encrypted with a passphrase. A key in the clear is written or read only
where the caller says `DevelopmentKey`, which no address but loopback accepts.
Rule 2: a key file is created whole, with mode 0600, and never overwritten. A crash leaves it or nothing.
Rule 3: a key or passphrase file that others can read is refused; the error says how to cure it. A key is not read
through a link.
Rule 4: the caller names the public key it expects, where it knows it: PKCS#8 encryption hides a key but does
not authenticate it, so a damaged file can decrypt to another key.
"""

import stat
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias, assert_never

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.encoding.jsonform import find_mark
from ledger.encoding.keys import SEED_SIZE, PrivateKey, PublicKey
from node.errors import SetupError
from node.files.durablefile import (
    EXPOSED_BITS,
    POSIX_FILES,
    FileOperations,
    PrivateFileError,
    create_file,
    read_private,
    read_private_named,
)
from node.files.pkcs8 import encrypt_pem
from node.files.system import has_owners

KEY_FILE_SIZE_MAX: Final = 16 * 1024
PASSPHRASE_SIZE_MAX: Final = 1023
PASSPHRASE_VARIABLE: Final = "LUOHU_PASSPHRASE"

_ENCRYPTED: Final = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"
_UNENCRYPTED: Final = b"-----BEGIN PRIVATE KEY-----"


class KeyFileError(SetupError):
    """A key or passphrase cannot be had."""


@dataclass(frozen=True, slots=True)
class Passphrase:
    """A passphrase as bytes: UTF-8 in NFC, since the same characters typed elsewhere must open the file."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.secret) <= PASSPHRASE_SIZE_MAX:
            found = f"{len(self.secret)} bytes"
            raise KeyFileError(
                where="passphrase",
                expected=f"1 to {PASSPHRASE_SIZE_MAX} bytes",
                found=found,
                cure="choose another",
            )

    @classmethod
    def from_text(cls, text: str) -> "Passphrase":
        """Return the passphrase of one line of text. Raises KeyFileError."""
        if any(unicodedata.category(character) == "Cc" for character in text):
            raise KeyFileError(
                where="passphrase", expected="one line of text", found="a control character", cure="remove it"
            )
        try:
            return cls(unicodedata.normalize("NFC", text).encode())
        except UnicodeEncodeError as error:
            raise KeyFileError(
                where="passphrase", expected="UTF-8 text", found="undecodable bytes", cure="type it again"
            ) from error


@dataclass(frozen=True, slots=True)
class DevelopmentKey:
    """Says by name that this key may lie in the clear: published or throw-away keys of a development network.

    A node with such a key refuses every address but loopback; that check is the node's, not made here.
    """


Protection: TypeAlias = Passphrase | DevelopmentKey


def create_key_file(
    path: Path, key: PrivateKey, protection: Protection, *, files: FileOperations = POSIX_FILES
) -> None:
    """Write a key file that does not exist yet, durably. Raises KeyFileError."""
    private = Ed25519PrivateKey.from_private_bytes(key.seed)
    clear = serialization.NoEncryption()
    match protection:
        case Passphrase(secret):
            der = private.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, clear)
            content = encrypt_pem(der, secret)
        case DevelopmentKey():
            content = private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, clear
            )
        case _:
            assert_never(protection)
    try:
        create_file(files, path, content)
    except FileExistsError as error:
        cure = "choose another name, or move the old key away"
        raise KeyFileError(where=path, expected="no file", found="one that exists", cure=cure) from error
    except OSError as error:
        found = error.strerror or "an error"
        raise KeyFileError(
            where=path, expected="a writable place", found=found, cure="check the directory and the disk"
        ) from error


def load_key_file(path: Path, protection: Protection, *, expected: PublicKey | None) -> PrivateKey:
    """Return the key in a file. Raises KeyFileError.

    `expected` is the registered public key; None where any key will do, such as when showing it.
    """
    content = _read(path, KEY_FILE_SIZE_MAX, read_private)
    key = _parse(path, content, _password_for(path, content, protection))
    if expected is not None and key.public != expected:
        cure = "name the right key file, or restore it from a backup"
        raise KeyFileError(where=path, expected=f"the key {expected}", found=str(key.public), cure=cure)
    return key


def check_key_mode(path: Path) -> None:
    """Check that nobody but its owner can use a key file, where there is one. Raises KeyFileError."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return
    if has_owners() and mode & EXPOSED_BITS:
        raise KeyFileError(
            where=path,
            expected="a file that only its owner can use (mode 0600)",
            found=f"mode {mode:04o}",
            cure=f"chmod 600 {path}",
        )


def _password_for(path: Path, content: bytes, protection: Protection) -> bytes | None:
    is_encrypted = _ENCRYPTED in content
    if not is_encrypted and _UNENCRYPTED not in content:
        raise KeyFileError(
            where=path, expected="a PKCS#8 private key in PEM", found="something else", cure="name a key file"
        )
    match protection:
        case Passphrase(secret):
            if not is_encrypted:
                cure = "encrypt it: openssl pkcs8 -topk8 -v2 aes256 -iter 1000000 -in OLD -out NEW"
                raise KeyFileError(
                    where=path, expected="an encrypted key", found="a key in the clear", cure=cure
                )
            return secret
        case DevelopmentKey():
            if is_encrypted:
                raise KeyFileError(
                    where=path,
                    expected="a development key in the clear",
                    found="an encrypted key",
                    cure="give its passphrase",
                )
            return None
        case _:
            assert_never(protection)


def _parse(path: Path, content: bytes, password: bytes | None) -> PrivateKey:
    try:
        loaded = serialization.load_pem_private_key(content, password)
    # InternalError: what cryptography raises where a damaged file decrypts to a seed of another size.
    except (ValueError, TypeError, UnsupportedAlgorithm, InternalError) as error:
        if password is None:
            cure = "restore it from a backup"
            raise KeyFileError(
                where=path, expected="a private key", found="one that cannot be decoded", cure=cure
            ) from error
        cure = "try again; if the passphrase is right, restore the file from a backup"
        raise KeyFileError(
            where=path, expected="a key that opens", found="a wrong passphrase or a damaged file", cure=cure
        ) from error
    if not isinstance(loaded, Ed25519PrivateKey):
        found = type(loaded).__name__.removesuffix("PrivateKey").lstrip("_")
        raise KeyFileError(
            where=path, expected="an Ed25519 private key", found=f"{found}", cure="name the right key file"
        )
    seed = loaded.private_bytes(
        serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
    )
    assert len(seed) == SEED_SIZE, "an Ed25519 key is its 32-byte seed"
    return PrivateKey.from_seed(seed)


def resolve_passphrase(
    *,
    purpose: str,
    passphrase_file: Path | None,
    environment: Mapping[str, str],
    prompt: Callable[[str], str] | None,
) -> Passphrase:
    """Return the passphrase for `purpose`, from the first source there is. Raises KeyFileError.

    In order: the file that was named, LUOHU_PASSPHRASE, the prompt (None where nobody can be asked). A source
    that is there but wrong is an error, never a reason to try the next.
    """
    if passphrase_file is not None:
        return _read_passphrase(passphrase_file)
    if PASSPHRASE_VARIABLE in environment:
        return Passphrase.from_text(environment[PASSPHRASE_VARIABLE])
    if prompt is not None:
        return Passphrase.from_text(prompt(f"Passphrase for {purpose}"))
    cure = f"give --passphrase-file FILE or set {PASSPHRASE_VARIABLE}"
    raise KeyFileError(where=purpose, expected="a passphrase", found="none, and nobody to ask", cure=cure)


def _read_passphrase(path: Path) -> Passphrase:
    content = _read(path, PASSPHRASE_SIZE_MAX + 2, read_private_named)
    mark = find_mark(content)
    if mark is not None:
        # It is not seen, and would be part of the passphrase here, but not where the same is typed.
        raise KeyFileError(
            where=path,
            expected="a passphrase in UTF-8, and nothing before it",
            found=mark,
            cure="save the file without it; if the key was made with it, give this file's content in "
            f"{PASSPHRASE_VARIABLE}, and make the key anew",
        )
    line = content.removesuffix(b"\n").removesuffix(b"\r")
    try:
        return Passphrase.from_text(line.decode())
    except UnicodeDecodeError as error:
        raise KeyFileError(
            where=path, expected="UTF-8 text", found="other bytes", cure="save the passphrase as UTF-8"
        ) from error
    except KeyFileError as error:
        raise KeyFileError(
            where=path, expected=f"a passphrase: {error.expected}", found=error.found, cure=error.cure
        ) from error


def _read(path: Path, size_max: int, read: Callable[..., bytes]) -> bytes:
    try:
        return read(path, size_max=size_max)
    except PrivateFileError as error:
        raise KeyFileError(where=path, expected=error.expected, found=error.found, cure=error.cure) from error
