"""TLS between nodes: exact certificate bytes decide who is at the other end (docs/decisions/0009).

Rule 1: TLS 1.3 only, and both sides show a certificate.
Rule 2: a peer's identity is the exact DER of the certificate that the registry holds for it. Names, dates
and issuers in it mean nothing.
Rule 3: a context's trust anchors are exactly the pinned certificates, so that a stranger fails within the
handshake. A certificate *issued by* a pinned one passes the handshake; `require_pinned` refuses it.
Rule 4: nothing is resumed: session tickets are off, so each connection proves possession of the key anew.

The key is P-256, not Ed25519: every TLS library and hardware module has it, and a TLS key is then of another
type than the keys that sign transactions and votes, so that one can never stand in for the other.
"""

import os
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from secrets import token_hex

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ledger.encoding.digests import digest
from ledger.encoding.records import pack
from ledger.errors import LuohuError
from ledger.rules.tlscertificates import SERIAL_SIZE, TlsCertificate
from node.files.durablefile import POSIX_FILES, write_fresh
from node.files.folders import passing_folder
from node.files.pkcs8 import encrypt_pem

CERTIFICATE_SIZE_MAX = 4096
"""The largest certificate accepted, in bytes of DER. Ours have about 500."""

_VALID_FROM = datetime(1970, 1, 1, tzinfo=UTC)
_VALID_UNTIL = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which the ssl module does not name."""
_PARTIAL_CHAIN = 0x80000
"""OpenSSL's X509_V_FLAG_PARTIAL_CHAIN (named by the ssl module): a pinned certificate is trusted as it is.

Without it OpenSSL looks for the issuer of a self-signed certificate by *name*. A member could then register a
certificate with another member's subject and so lock that one out; with it, the exact match is found.
"""


class PinMismatch(LuohuError):
    """The certificate shown is not the one that the registry holds."""


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """A node's own TLS certificate (DER) and its private key (PKCS#8 DER, in memory only)."""

    certificate: bytes
    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        shown = _decode_certificate(self.certificate).public_key()
        held = _decode_key(self.key).public_key()
        if shown != held:
            raise ValueError("TLS identity: expected the key of the certificate, found the key of another")


def make_identity(node_id: str) -> TlsIdentity:
    """Make a fresh key and its self-signed certificate. The name in it is for readers of packet captures."""
    key = ec.generate_private_key(ec.SECP256R1())
    # The random serial number in the name keeps the certificates of one node apart for OpenSSL, too.
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, node_id),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, token_hex(16)),
        ]
    )
    return sign_own(key, name, x509.random_serial_number())


def sign_own(
    key: ec.EllipticCurvePrivateKey, name: x509.Name, serial: int, *, is_deterministic: bool = False
) -> TlsIdentity:
    """Return a key with the certificate that it signs for itself, the same bytes always (RFC 6979) where asked."""
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    both_sides = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(_VALID_FROM)
        .not_valid_after(_VALID_UNTIL)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(both_sides, critical=False)
        .sign(key, hashes.SHA256(), ecdsa_deterministic=is_deterministic)
    )
    return TlsIdentity(certificate.public_bytes(serialization.Encoding.DER), _encode_key(key))


def registrable(certificate: bytes, node_id: str) -> TlsCertificate:
    """Return the parts of a certificate that an operation registers. Raises ValueError where it is not ours."""
    try:
        parts = _parts(_decode_certificate(certificate))
    except (ValueError, OverflowError, UnsupportedAlgorithm) as error:
        raise ValueError("certificate: expected one that `luohu` made, found one of another form") from error
    if parts.der(node_id) != certificate:
        raise ValueError(f"certificate: expected one that `luohu` made for {node_id}, found another")
    return parts


def _parts(certificate: x509.Certificate) -> TlsCertificate:
    key = certificate.public_key()
    names = certificate.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
    if not isinstance(key, ec.EllipticCurvePublicKey) or len(names) != 1:
        raise ValueError("certificate: expected a P-256 key and one number in the name, found others")
    point, (r, s) = key.public_numbers(), decode_dss_signature(certificate.signature)
    parts = TlsCertificate(
        serial=certificate.serial_number.to_bytes(SERIAL_SIZE, "big"),
        name_number=bytes.fromhex(str(names[0].value)),
        point=point.x.to_bytes(32, "big") + point.y.to_bytes(32, "big"),
        signature=r.to_bytes(32, "big") + s.to_bytes(32, "big"),
    )
    pack(parts)
    return parts


def encode_certificate_pem(identity: TlsIdentity) -> bytes:
    """Return the certificate as PEM."""
    return _decode_certificate(identity.certificate).public_bytes(serialization.Encoding.PEM)


def encode_key_pem(identity: TlsIdentity, passphrase: bytes) -> bytes:
    """Return the private key as PKCS#8 PEM, encrypted under the passphrase."""
    der = _decode_key(identity.key).private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return encrypt_pem(der, passphrase)


def decode_certificate_pem(certificate: bytes) -> bytes:
    """Return the DER of a certificate in PEM. Raises ValueError."""
    return x509.load_pem_x509_certificate(certificate).public_bytes(serialization.Encoding.DER)


def decode_identity_pem(*, certificate: bytes, key: bytes, passphrase: bytes) -> TlsIdentity:
    """Read back what the two encoders wrote. Raises ValueError for anything else or a wrong passphrase."""
    der = x509.load_pem_x509_certificate(certificate).public_bytes(serialization.Encoding.DER)
    try:
        loaded = serialization.load_pem_private_key(key, passphrase)
    except TypeError as error:
        raise ValueError("TLS key: expected a key encrypted under a passphrase, found a plain one") from error
    return TlsIdentity(der, _encode_key(_require_p256(loaded)))


def check_certificate(certificate: bytes) -> None:
    """Raise ValueError unless these bytes are one certificate that OpenSSL can pin."""
    if len(certificate) > CERTIFICATE_SIZE_MAX:
        found = len(certificate)
        raise ValueError(f"certificate: expected at most {CERTIFICATE_SIZE_MAX} bytes, found {found}")
    # Two parsers must agree: cryptography refuses trailing bytes, OpenSSL is the one that will be asked.
    _decode_certificate(certificate)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificate)
    except ssl.SSLError as error:
        raise ValueError(f"certificate: expected one that OpenSSL reads, found {error.reason}") from error


def make_server_context(identity: TlsIdentity, pinned: Iterable[bytes]) -> ssl.SSLContext:
    """Return the context of the listening side: asks for a certificate and trusts the pinned ones alone."""
    context = _make_context(ssl.PROTOCOL_TLS_SERVER, identity, pinned)
    context.num_tickets = 0
    return context


def make_client_context(identity: TlsIdentity, pinned: Iterable[bytes]) -> ssl.SSLContext:
    """Return the context of the dialling side: shows our certificate and trusts the pinned ones alone."""
    return _make_context(ssl.PROTOCOL_TLS_CLIENT, identity, pinned)


def make_fetching_context(identity: TlsIdentity) -> ssl.SSLContext:
    """Return the context of `node.network.fetching`: it shows our certificate, and learns nothing of theirs."""
    context = _make_context(ssl.PROTOCOL_TLS_CLIENT, identity, ())
    context.verify_mode = ssl.CERT_NONE
    return context


def require_pinned(tls: ssl.SSLObject | ssl.SSLSocket, expected: bytes) -> None:
    """Raise PinMismatch unless the peer of this finished handshake showed exactly the expected DER."""
    found = tls.getpeercert(binary_form=True)
    if found != expected:
        shown = "none" if found is None else fingerprint(found)
        raise PinMismatch(where="TLS certificate", expected=fingerprint(expected), found=shown)


def fingerprint(certificate: bytes) -> str:
    """Return the first 16 hex digits of the certificate's hash, for people."""
    return digest(certificate)[:8].hex()


def _make_context(protocol: ssl._SSLMethod, identity: TlsIdentity, pinned: Iterable[bytes]) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.maximum_version = ssl.TLSVersion.TLSv1_3
    # Rule 2: the name in a certificate proves nothing here, the pin does.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= _NO_CHECK_TIME | _PARTIAL_CHAIN
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION
    for certificate in sorted(set(pinned)):
        context.load_verify_locations(cadata=certificate)
    _load_identity(context, identity)
    return context


def _load_identity(context: ssl.SSLContext, identity: TlsIdentity) -> None:
    # The ssl module reads keys from files only. Where there are files in memory it is one of those: nothing is on
    # a disk, and nothing stays behind when the process is ended in between.
    if hasattr(os, "memfd_create"):
        plain = serialization.load_der_private_key(identity.key, None).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        with os.fdopen(os.memfd_create("tls-identity"), "wb") as file:
            file.write(encode_certificate_pem(identity) + plain)
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
        return
    # Elsewhere it exists for a moment, readable by us alone, and holds the key encrypted under a passphrase that
    # never leaves this function.
    passphrase = token_hex(32).encode()
    with passing_folder(None, prefix="luohu-tls-") as folder:
        chain = folder / "identity.pem"
        content = encode_certificate_pem(identity) + encode_key_pem(identity, passphrase)
        write_fresh(POSIX_FILES, chain, content)
        context.load_cert_chain(chain, password=passphrase)


def _decode_certificate(certificate: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(certificate)
    except ValueError as error:
        raise ValueError(
            f"certificate: expected X.509 in DER, found {len(certificate)} other bytes"
        ) from error


def _decode_key(key: bytes) -> ec.EllipticCurvePrivateKey:
    return _require_p256(serialization.load_der_private_key(key, None))


def _require_p256(key: object) -> ec.EllipticCurvePrivateKey:
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise ValueError(f"TLS key: expected P-256, found {type(key).__name__}")


def _encode_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
