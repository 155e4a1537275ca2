"""Commitments: what the ledger holds of a document (docs/formats.md, Commitments).

Rule 1: a commitment is an HMAC under a fresh random salt of exactly 32 bytes. Without the salt it says
nothing of the document; destroying the salt is erasure.
Rule 2: it covers media type, size, the root over the document's 1 MiB chunks and the hash of the metadata
bytes: these exact bytes, no canonical form of them.
Rule 3: the holder key stands in the metadata, so that only the holder can present the document.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from ledger.encoding.digests import keyed_digest, tagged_digest
from ledger.encoding.keys import PublicKey
from ledger.encoding.records import (
    Hash,
    Identifier,
    Integer,
    MemberId,
    Milliseconds,
    Octets,
    SchemaCode,
    pack,
    unpack,
)

COMMITMENT_TAG: Final = "luohu/commitment/1"
METADATA_TAG: Final = "luohu/metadata/1"
METADATA_SIZE_MAX: Final = 512
DAY_MS: Final = 86_400_000

MediaType = Annotated[str, Identifier("media type", 127, r"[a-z0-9]+/[a-z0-9][a-z0-9.+-]*")]


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the issuer says of a document. Times in milliseconds of the Unix epoch; None: no expiry."""

    TAG: ClassVar[str] = "metadata"

    issuer: MemberId
    schema: SchemaCode
    holder_key: PublicKey | None
    issued_ms: Milliseconds
    expires_ms: Milliseconds | None


def day_of(now_ms: int) -> int:
    """Return the start of a moment's UTC day: the time of issue that every document of that day bears."""
    return now_ms - now_ms % DAY_MS


@dataclass(frozen=True, slots=True)
class Opening:
    """Everything that a commitment commits to, and the salt. It never leaves the carried proof file."""

    media_type: MediaType
    size: Integer
    content_root: Hash
    salt: Hash
    metadata: Annotated[bytes, Octets(1, METADATA_SIZE_MAX)]

    def decoded_metadata(self) -> Metadata:
        """Return the decoded metadata. Raises EncodingError."""
        return unpack(Metadata, self.metadata, size_max=METADATA_SIZE_MAX)

    def commitment(self) -> bytes:
        """Return the 32-byte commitment."""
        committed = _Committed(
            self.media_type, self.size, self.content_root, tagged_digest(METADATA_TAG, self.metadata)
        )
        return keyed_digest(self.salt, COMMITMENT_TAG, pack(committed))


@dataclass(frozen=True, slots=True)
class _Committed:
    media_type: MediaType
    size: Integer
    content_root: Hash
    metadata_hash: Hash
