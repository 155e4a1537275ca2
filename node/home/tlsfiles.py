"""A node's TLS key and certificate on disk: `tls.pem` and `tls.crt`.

Rule 1: the key is protected as key files are (node.files.keyfiles): a passphrase and mode 0600, or in the clear
where the caller says `DevelopmentKey`.
Rule 2: neither file is ever overwritten here.
"""

import os
from pathlib import Path
from typing import Final, assert_never

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from node.files.durablefile import POSIX_FILES, PrivateFileError, read_private, write_fresh
from node.files.keyfiles import DevelopmentKey, KeyFileError, Passphrase, Protection
from node.network.tls import TlsIdentity, decode_identity_pem, encode_certificate_pem, encode_key_pem

TLS_FILE_SIZE_MAX: Final = 16 * 1024


def create_tls_files(*, key: Path, certificate: Path, identity: TlsIdentity, protection: Protection) -> None:
    """Write both files into a directory that nobody else writes to. Raises KeyFileError."""
    match protection:
        case Passphrase(secret):
            pem = encode_key_pem(identity, secret)
        case DevelopmentKey():
            pem = serialization.load_der_private_key(identity.key, None).private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        case _:
            assert_never(protection)
    for path, content in ((key, pem), (certificate, encode_certificate_pem(identity))):
        if os.path.lexists(path):
            raise KeyFileError(
                where=path, expected="no file", found="one that exists", cure="move the old one away"
            )
        write_fresh(POSIX_FILES, path, content)
    for directory in {key.parent, certificate.parent}:
        POSIX_FILES.sync_directory(directory)


def load_tls_files(*, key: Path, certificate: Path, protection: Protection) -> TlsIdentity:
    """Return the identity in both files. Raises KeyFileError."""
    try:
        key_pem = read_private(key, size_max=TLS_FILE_SIZE_MAX)
        certificate_pem = read_private(certificate, size_max=TLS_FILE_SIZE_MAX)
    except PrivateFileError as error:
        raise KeyFileError(
            where=f"{key} and .crt", expected=error.expected, found=error.found, cure=error.cure
        ) from error
    match protection:
        case Passphrase(secret):
            password: bytes | None = secret
        case DevelopmentKey():
            password = None
        case _:
            assert_never(protection)
    try:
        if password is not None:
            return decode_identity_pem(certificate=certificate_pem, key=key_pem, passphrase=password)
        return _decode_plain(certificate_pem, key_pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        cure = "check the passphrase; if it is right, restore both files from a backup"
        raise KeyFileError(
            where=key,
            expected="a TLS key that opens and fits its certificate",
            found=str(error)[:160],
            cure=cure,
        ) from error


def _decode_plain(certificate_pem: bytes, key_pem: bytes) -> TlsIdentity:
    private = serialization.load_pem_private_key(key_pem, None)
    der = private.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    return TlsIdentity(certificate.public_bytes(serialization.Encoding.DER), der)
