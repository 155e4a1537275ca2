"""Drafts: documents that are to be anchored, named by the bureau's own reference.

Rule 1: a draft holds no bytes of the document: its size, the root over its chunks, and what the metadata will say.
Rule 2: times in metadata are coarse: the issue time is the start of a UTC day, so that it is everybody's of that day.
Rule 3: a document's proof lies beside it under the name by which it was named. Where that name is a link, the proof
lies beside the link: there it is looked for with the document.
Rule 4: media types come from Python's own table: what a machine adds to it would make commitments differ. Where a name
says nothing, DICOM is told by its four bytes. Whoever issues may name another.
Rule 5: the media type of a set is given to a manifest that was made here, and to nothing else: no file becomes a set by
its name, by what it holds, or by a word on the command line.
"""

import mimetypes
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from ledger.commitments import Metadata, Opening, day_of
from ledger.encoding.arguments import describe, require_bytes, require_instance, require_time
from ledger.encoding.keys import PublicKey
from ledger.encoding.records import pack
from ledger.errors import WrongCall
from ledger.proofs import PROOF_SUFFIX
from ledger.sets import SET_MEDIA_TYPE, SetFile, UnfitSet, require_media_type
from ledger.trees.merkle import CHUNK_SIZE, Content, ContentHasher, content_root
from node.files.reading import DOCUMENT_SIZE_MAX, open_listed, open_named

REFERENCE_SIZE_MAX: Final = 256
SALT_SIZE: Final = 32

_MEDIA_TYPES: Final = mimetypes.MimeTypes()
_UNKNOWN: Final = "application/octet-stream"
_DICOM: Final = "application/dicom"
# A preamble of any 128 bytes, then these four (DICOM PS3.10, section 7.1).
_DICOM_MAGIC: Final = b"DICM"
_DICOM_START: Final = 128


@dataclass(frozen=True, slots=True)
class Draft:
    """A document to anchor.

    `reference` is the bureau's own name for this copy, of up to 256 characters, or None where it will never ask
    by name; it stays in the register. `expires_ms` is in milliseconds of the Unix epoch, None: no expiry.
    `holder_key` is None for bearer documents only. The proof is also written to `proof_path`, where one is given.
    """

    reference: str | None
    schema: str
    media_type: str
    content: Content
    holder_key: PublicKey | None
    expires_ms: int | None = None
    proof_path: Path | None = None

    def __post_init__(self) -> None:
        for where, given, kind, cure in (
            ("reference", self.reference, str | None, "Give the bureau's own name for this copy, or None."),
            ("schema", self.schema, str, "Give the code of a schema, like hk.credit-report."),
            ("media_type", self.media_type, str, "Give a media type, like application/pdf."),
            (
                "content",
                self.content,
                Content,
                "Let draft_of_bytes, draft_of_file or a ContentHasher make it.",
            ),
            ("holder_key", self.holder_key, PublicKey | None, "Give PublicKey.from_text(text), or None."),
            ("proof_path", self.proof_path, Path | None, "Give Path(path), or None."),
        ):
            if not isinstance(given, kind):
                expected = getattr(kind, "__name__", f"{kind}")
                raise WrongCall(where=where, expected=expected, found=describe(given), cure=cure)
        if self.expires_ms is not None:
            require_time("expires_ms", self.expires_ms)
        if self.reference is not None and not 1 <= len(self.reference) <= REFERENCE_SIZE_MAX:
            raise ValueError(
                f"reference: expected 1 to {REFERENCE_SIZE_MAX} characters, found {len(self.reference)}"
            )

    def opened(self, issuer: str, *, now_ms: int) -> Opening:
        """Return the opening of a commitment to this document, under a fresh salt. Raises LedgerError."""
        metadata = Metadata(issuer, self.schema, self.holder_key, day_of(now_ms), self.expires_ms)
        salt = secrets.token_bytes(SALT_SIZE)
        return Opening(self.media_type, self.content.size, self.content.root, salt, pack(metadata))

    def is_of(self, opening: Opening) -> bool:
        """Say whether an opening is of this very document, holder, expiry and kind."""
        metadata = opening.decoded_metadata()
        said = (metadata.schema, metadata.holder_key, metadata.expires_ms, opening.media_type)
        content = Content(opening.size, opening.content_root)
        return said == (self.schema, self.holder_key, self.expires_ms, self.media_type) and (
            content == self.content
        )


def draft_of_bytes(
    document: bytes,
    *,
    media_type: str,
    schema: str,
    holder_key: PublicKey | None,
    reference: str | None = None,
    expires_ms: int | None = None,
) -> Draft:
    """Return the draft of a document in memory."""
    cure = "Give the document's bytes; draft_of_file takes a path."
    document = require_bytes("document", document, cure=cure)
    if isinstance(media_type, str):
        refuse_reserved(media_type)
    return Draft(
        reference, schema, media_type, Content(*content_root((document,))), holder_key, expires_ms, None
    )


def draft_of_file(
    path: Path,
    *,
    schema: str,
    holder_key: PublicKey | None,
    reference: str | None = None,
    expires_ms: int | None = None,
    folder: Path | None = None,
    media_type: str | None = None,
) -> Draft:
    """Return the draft of a file, whose proof will be written beside it. Raises OSError. Reads all of it.

    `media_type` is told by name and content where it is None. `folder` is that of a list which names the file, if one
    does: below it no link is followed. A file has at most DOCUMENT_SIZE_MAX bytes (64 GiB), and is no pipe.
    """
    require_instance("path", path, Path, cure="Give Path(path); draft_of_bytes takes the bytes.")
    if media_type is not None:
        refuse_reserved(media_type)
    with (
        open_named(path, size_max=DOCUMENT_SIZE_MAX)
        if folder is None
        else open_listed(path, folder=folder, size_max=DOCUMENT_SIZE_MAX)
    ) as file:
        found = read_content(file, path.name, media_type=media_type)
    proof_path = proof_path_of(path)
    return Draft(reference, schema, found.media_type, found.content, holder_key, expires_ms, proof_path)


def draft_of_manifest(
    path: Path, manifest: bytes, *, schema: str, holder_key: PublicKey | None, expires_ms: int | None = None
) -> Draft:
    """Return the draft of the manifest of a set that `issue_set` made; its proof will be written beside `path`."""
    content = Content(*content_root((manifest,)))
    return Draft(None, schema, SET_MEDIA_TYPE, content, holder_key, expires_ms, proof_path_of(path))


def read_content(file: BinaryIO, name: str, *, media_type: str | None = None) -> SetFile:
    """Return what a file comes to, with its media type. Reads all of it, in pieces. Raises OSError."""
    hasher, start = ContentHasher(), b""
    while piece := file.read(CHUNK_SIZE):
        start = start or piece[: _DICOM_START + len(_DICOM_MAGIC)]
        hasher.update(piece)
    return SetFile(name, media_type or media_type_of(Path(name), start), hasher.finish())


def proof_path_of(document: Path) -> Path:
    """Return where a document's proof goes, as an absolute path: beside it, by the name that it was given."""
    return document.parent.resolve() / f"{document.name}{PROOF_SUFFIX}"


def media_type_of(document: Path, start: bytes = b"") -> str:
    """Return a document's media type by its name; where that says nothing, by its first 132 bytes."""
    named = _MEDIA_TYPES.guess_type(document.name)[0] or _UNKNOWN
    return _DICOM if named == _UNKNOWN and start[_DICOM_START:] == _DICOM_MAGIC else named


def refuse_reserved(media_type: str) -> None:
    """Check a media type that somebody names (rule 5). Raises UnfitSet for that of a set, EncodingError for none."""
    require_media_type(media_type)
    if media_type == SET_MEDIA_TYPE:
        raise UnfitSet(
            code="reserved-media-type",
            where="media type",
            expected="one of a file; that of a set is kept for the manifests of sets",
            found=media_type,
            cure="To anchor a set, name its folder: `luohu anchor --set DIR`.",
        )
