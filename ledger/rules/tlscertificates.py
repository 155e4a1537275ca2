"""TLS certificates as operations carry them: the parts that differ, all of fixed size.

Rule 1: a certificate that an operation registers is of one form (docs/formats.md, TLS certificates): a
self-signed one whose name is the member's id and a random number. What stands in it beside these parts is
fixed here, so that nobody can write into one.
Rule 2: it is a pin, compared as bytes. The rules verify neither its signature nor its key: who holds the key is
proven in each handshake, and a wrong one only keeps peers from that node.
"""

from dataclasses import dataclass
from typing import Annotated, Final

from ledger.encoding.records import Octets

SERIAL_SIZE: Final = 20

_ECDSA_WITH_SHA256: Final = bytes.fromhex("300a06082a8648ce3d040302")
_P256_KEY: Final = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
_VERSION_3: Final = bytes.fromhex("a003020102")
# 1970-01-01 to 9999-12-31: nobody checks the dates, the pin decides.
_ALL_TIMES: Final = b"\x30\x20\x17\x0d700101000000Z\x18\x0f99991231235959Z"
# No authority; signs only; for servers and clients.
_EXTENSIONS: Final = bytes.fromhex(
    "a33f303d300c0603551d130101ff04023000300e0603551d0f0101ff040403020780"
    "301d0603551d250416301406082b0601050507030106082b06010505070302"
)
_COMMON_NAME: Final = bytes.fromhex("0603550403")
_SERIAL_NUMBER: Final = bytes.fromhex("0603550405")
_SEQUENCE, _SET, _INTEGER, _BIT_STRING, _UTF8, _PRINTABLE = 0x30, 0x31, 0x02, 0x03, 0x0C, 0x13


@dataclass(frozen=True, slots=True)
class TlsCertificate:
    """The parts of a member's TLS certificate: numbers, the P-256 point x ‖ y, the signature r ‖ s."""

    serial: Annotated[bytes, Octets(SERIAL_SIZE, SERIAL_SIZE)]
    name_number: Annotated[bytes, Octets(16, 16)]
    point: Annotated[bytes, Octets(64, 64)]
    signature: Annotated[bytes, Octets(64, 64)]

    def der(self, member: str) -> bytes:
        """Return the certificate of a member that these parts make, in DER."""
        name = _part(
            _SEQUENCE,
            _attribute(_COMMON_NAME, _UTF8, member),
            _attribute(_SERIAL_NUMBER, _PRINTABLE, self.name_number.hex()),
        )
        signed = _part(
            _SEQUENCE,
            _VERSION_3,
            _integer(self.serial),
            _ECDSA_WITH_SHA256,
            name,
            _ALL_TIMES,
            name,
            _P256_KEY + self.point,
            _EXTENSIONS,
        )
        signature = _part(_SEQUENCE, _integer(self.signature[:32]), _integer(self.signature[32:]))
        return _part(_SEQUENCE, signed, _ECDSA_WITH_SHA256, _part(_BIT_STRING, b"\x00", signature))


def _attribute(kind: bytes, text: int, value: str) -> bytes:
    return _part(_SET, _part(_SEQUENCE, kind, _part(text, value.encode("ascii"))))


def _integer(value: bytes) -> bytes:
    number = value.lstrip(b"\x00") or b"\x00"
    # A first bit that is set would make it negative.
    return _part(_INTEGER, b"\x00" if number[0] & 0x80 else b"", number)


def _part(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content
