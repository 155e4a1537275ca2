"""The exact certificate is the identity, and nothing else in TLS is."""

import ssl
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from node.network.tls import (
    CERTIFICATE_SIZE_MAX,
    PinMismatch,
    TlsIdentity,
    check_certificate,
    decode_identity_pem,
    encode_certificate_pem,
    encode_key_pem,
    fingerprint,
    make_client_context,
    make_identity,
    make_server_context,
    require_pinned,
)

SERVER = make_identity("hk-operator")
CLIENT = make_identity("sz-operator")


def certify(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    *,
    issuer: str,
    signer: ec.EllipticCurvePrivateKey,
    is_authority: bool,
    until: datetime = datetime(9999, 1, 1, tzinfo=UTC),
    padding: int = 0,
) -> bytes:
    """Issue a certificate as an attacker would: any name, any issuer, any date."""

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    builder = (
        x509.CertificateBuilder()
        .subject_name(named(subject))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(1970, 1, 1, tzinfo=UTC))
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if padding:
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), bytes(padding))
        builder = builder.add_extension(unknown, critical=False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def as_identity(certificate: bytes, key: ec.EllipticCurvePrivateKey) -> TlsIdentity:
    der = serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return TlsIdentity(certificate, key.private_bytes(*der))


def make_authority(name: str) -> tuple[TlsIdentity, ec.EllipticCurvePrivateKey]:
    """A self-signed certificate that is allowed to issue others."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = certify(name, key, issuer=name, signer=key, is_authority=True)
    return as_identity(certificate, key), key


def issue(authority: TlsIdentity, authority_key: ec.EllipticCurvePrivateKey, name: str) -> TlsIdentity:
    """A certificate issued by that authority, whose name it keeps as issuer."""
    issuer = x509.load_der_x509_certificate(authority.certificate).subject
    issuer_name = issuer.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    assert isinstance(issuer_name, str)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = certify(f"{name} issued", key, issuer=issuer_name, signer=authority_key, is_authority=False)
    return as_identity(certificate, key)


def shake_hands(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Complete a handshake in memory and return (server, client), or raise what either side raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server)
    waiting = [client, server]
    for _ in range(10):
        for side in tuple(waiting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)
        if not waiting:
            return server, client
    raise AssertionError("the handshake does not end")


def test_two_pinned_nodes_recognise_each_other_over_tls_1_3() -> None:
    server, client = shake_hands(
        make_server_context(SERVER, [CLIENT.certificate]), make_client_context(CLIENT, [SERVER.certificate])
    )
    assert server.version() == client.version() == "TLSv1.3"
    require_pinned(server, CLIENT.certificate)
    require_pinned(client, SERVER.certificate)


def test_another_pinned_certificate_is_not_the_expected_one() -> None:
    other = make_identity("bank")
    pinned = [CLIENT.certificate, other.certificate]
    server, _ = shake_hands(
        make_server_context(SERVER, pinned), make_client_context(other, [SERVER.certificate])
    )
    expected = f"expected {fingerprint(CLIENT.certificate)}, found {fingerprint(other.certificate)}"
    with pytest.raises(PinMismatch, match=expected):
        require_pinned(server, CLIENT.certificate)


def test_an_unpinned_certificate_fails_the_handshake() -> None:
    stranger = make_identity("sz-operator")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(
            make_server_context(SERVER, [CLIENT.certificate]),
            make_client_context(stranger, [SERVER.certificate]),
        )
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(
            make_server_context(stranger, [CLIENT.certificate]),
            make_client_context(CLIENT, [SERVER.certificate]),
        )


def test_without_pins_nobody_passes() -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(make_server_context(SERVER, []), make_client_context(CLIENT, [SERVER.certificate]))


def test_a_client_without_a_certificate_fails_the_handshake() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        shake_hands(make_server_context(SERVER, [CLIENT.certificate]), context)


def test_a_certificate_issued_by_a_pinned_one_passes_the_handshake_and_is_refused_by_its_der() -> None:
    authority, key = make_authority("sz-operator")
    issued = issue(authority, key, "sz-operator")
    server, client = shake_hands(
        make_server_context(SERVER, [authority.certificate]),
        make_client_context(issued, [SERVER.certificate]),
    )
    require_pinned(client, SERVER.certificate)
    with pytest.raises(PinMismatch):
        require_pinned(server, authority.certificate)


def test_our_own_certificates_cannot_issue_any() -> None:
    key = serialization.load_der_private_key(CLIENT.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    forged_key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.load_der_x509_certificate(CLIENT.certificate).subject
    forged = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "forged")]))
        .issuer_name(subject)
        .public_key(forged_key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(1970, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(9999, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(
            make_server_context(SERVER, [CLIENT.certificate]),
            make_client_context(as_identity(forged, forged_key), [SERVER.certificate]),
        )


def test_a_certificate_with_the_subject_of_another_locks_nobody_out() -> None:
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    twins = [
        as_identity(certify("same", key, issuer="same", signer=key, is_authority=False), key) for key in keys
    ]
    pinned = [twin.certificate for twin in twins]
    for twin in twins:
        server, client = shake_hands(
            make_server_context(SERVER, pinned), make_client_context(twin, [SERVER.certificate])
        )
        require_pinned(server, twin.certificate)
        server, client = shake_hands(
            make_server_context(twin, [CLIENT.certificate]), make_client_context(CLIENT, pinned)
        )
        require_pinned(client, twin.certificate)


def test_dates_are_not_checked() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    long_ago = datetime(1980, 1, 1, tzinfo=UTC)
    expired = as_identity(
        certify("old", key, issuer="old", signer=key, is_authority=False, until=long_ago), key
    )
    server, _ = shake_hands(
        make_server_context(SERVER, [expired.certificate]), make_client_context(expired, [SERVER.certificate])
    )
    require_pinned(server, expired.certificate)


@pytest.mark.parametrize("side", ["server", "client"])
def test_tls_1_2_is_refused_by_both_sides(side: str) -> None:
    server_context = make_server_context(SERVER, [CLIENT.certificate])
    client_context = make_client_context(CLIENT, [SERVER.certificate])
    old = server_context if side == "server" else client_context
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        shake_hands(server_context, client_context)


def test_no_session_is_resumed() -> None:
    server_context = make_server_context(SERVER, [CLIENT.certificate])
    client_context = make_client_context(CLIENT, [SERVER.certificate])
    assert server_context.num_tickets == 0
    server, client = shake_hands(server_context, client_context)
    server.write(b"x")
    assert client.read(1) == b"x"
    assert client.session is None or not client.session.has_ticket


def test_an_identity_survives_its_files() -> None:
    read = decode_identity_pem(
        certificate=encode_certificate_pem(CLIENT),
        key=encode_key_pem(CLIENT, b"passphrase"),
        passphrase=b"passphrase",
    )
    assert read == CLIENT
    assert b"ENCRYPTED" in encode_key_pem(CLIENT, b"passphrase")


def test_a_wrong_passphrase_a_plain_key_and_a_foreign_key_are_refused() -> None:
    certificate = encode_certificate_pem(CLIENT)
    sealed = encode_key_pem(CLIENT, b"passphrase")
    with pytest.raises(ValueError):
        decode_identity_pem(certificate=certificate, key=sealed, passphrase=b"guess")
    plain = serialization.load_der_private_key(CLIENT.key, None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(ValueError, match="expected a key encrypted under a passphrase"):
        decode_identity_pem(certificate=certificate, key=plain, passphrase=b"passphrase")
    with pytest.raises(ValueError, match="expected the key of the certificate"):
        decode_identity_pem(certificate=certificate, key=encode_key_pem(SERVER, b"p"), passphrase=b"p")
    ed25519_key = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(ValueError, match="expected P-256, found"):
        TlsIdentity(CLIENT.certificate, ed25519_key)


def test_an_identity_does_not_print_its_key() -> None:
    assert repr(CLIENT.key) not in repr(CLIENT)


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\x30\x00",
        b"not a certificate",
        CLIENT.certificate + b"\x00",
        CLIENT.certificate + SERVER.certificate,
        CLIENT.certificate[:-1],
    ],
)
def test_what_is_not_one_certificate_cannot_be_pinned(garbage: bytes) -> None:
    with pytest.raises(ValueError, match="certificate: expected"):
        check_certificate(garbage)


def test_a_certificate_is_bounded() -> None:
    key = ec.generate_private_key(ec.SECP256R1())

    def padded(padding: int) -> bytes:
        return certify("big", key, issuer="big", signer=key, is_authority=False, padding=padding)

    # Signatures in DER differ by a byte or two, so that the exact size takes a few attempts.
    room = CERTIFICATE_SIZE_MAX - len(padded(3000)) + 3000
    fitting = next(made for made in iter(lambda: padded(room), b"") if len(made) == CERTIFICATE_SIZE_MAX)
    check_certificate(fitting)
    too_big = next(
        made for made in iter(lambda: padded(room + 1), b"") if len(made) == CERTIFICATE_SIZE_MAX + 1
    )
    with pytest.raises(ValueError, match=f"at most {CERTIFICATE_SIZE_MAX} bytes"):
        check_certificate(too_big)
