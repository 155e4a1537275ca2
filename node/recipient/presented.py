"""Which file is the document and which is the proof, for every way in which they are presented.

Rule 1: a file is what it was named as. No content makes it another: what a program shows of the named file is what was
verified, or nothing was.
Rule 2: the proof is the file that was named so. Where none was, it stands beside the document, as NAME.proof.
Rule 3: a bundle is asked for by name: by a word of the caller, or by a file whose own name ends in .zip while no proof
was named and none stands beside it. Then the document is the one inside, which has a name and a digest of its own.
Rule 4: two files that look exchanged are refused, with a word that says so. They are never exchanged here.
Rule 5: in a form the names of the parts decide: document and proof, or pair. A document that is a ZIP is a document.
"""

import hashlib
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from ledger.alterations import with_cause
from ledger.bundles import Bundle, BundleError, is_bundle_name, is_proof, open_bundle
from ledger.encoding.records import Json
from ledger.proofs import PROOF_FILE_SIZE_MAX, PROOF_MAGIC, PROOF_SUFFIX, Proof
from ledger.trees.merkle import CHUNK_SIZE
from ledger.verdicts import STEP_FILES, Refusal, Sentence, VerificationError

DOCUMENT_PART: Final = "document"
PROOF_PART: Final = "proof"
BUNDLE_PART: Final = "pair"
EITHER: Final = ((DOCUMENT_PART, PROOF_PART), (BUNDLE_PART,))
"""The parts of a form, of which one group comes whole and the others not at all."""

Open = Callable[[Path], BinaryIO]

FILES_REFUSALS: Final[dict[str, Refusal]] = {
    "files-exchanged": Refusal(
        STEP_FILES,
        Sentence(
            "The file named as the document is a proof, and the one named as the proof is not.",
            "所指定的文件是一份证明，而所指定的证明并非证明。",
            "所指定的文件是一份證明，而所指定的證明並非證明。",
        ),
        Sentence(
            "Look at both names, and give document and proof the other way round.",
            "请核对两个文件名，并将文件与证明对调后重试。",
            "請核對兩個檔案名稱，並將文件與證明對調後重試。",
        ),
    ),
}


class FilesExchanged(VerificationError):
    """A document and a proof that look as if each were named as the other."""

    @staticmethod
    def _refusals() -> dict[str, Refusal]:
        return FILES_REFUSALS


class PartsError(ValueError):
    """A form whose parts are neither document and proof nor a bundle of both: what it has of them."""


class InsideDocument:
    """The document inside a bundle: its name and size in bytes there, and its SHA-256 once it was read."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._sha256: bytes | None = None

    @property
    def name(self) -> str:
        """The document's own name in the bundle, which every system reads alike."""
        return self._bundle.name

    @property
    def size(self) -> int:
        """Its size in bytes, as the bundle says; reading holds it to that."""
        return self._bundle.size

    @property
    def sha256(self) -> bytes | None:
        """The SHA-256 of all that was read, 32 bytes; None where reading has not come to the end."""
        return self._sha256

    def to_json(self) -> dict[str, Json]:
        """Return its JSON form: `sha256` is None where it was not read to its end."""
        digest = None if self._sha256 is None else self._sha256.hex()
        return {"name": self.name, "size": self.size, "sha256": digest}

    def pieces(self) -> Iterator[bytes]:
        """Yield the document in pieces. Raises BundleError."""
        digest = hashlib.sha256()
        for piece in self._bundle.document():
            digest.update(piece)
            yield piece
        self._sha256 = digest.digest()

    def again(self) -> Iterator[bytes]:
        """Yield once more what was read. Raises BundleError in the end where it was something else this time."""
        digest = hashlib.sha256()
        for piece in self._bundle.document():
            digest.update(piece)
            yield piece
        if digest.digest() != self._sha256:
            raise BundleError(
                code="pair-malformed", where="archive", expected="the document as it was", found="another"
            )


@dataclass(frozen=True, slots=True)
class OpenedFiles:
    """A document and its proof. `inside` where the document is the one in a bundle, which is then the file."""

    file: BinaryIO
    proof: bytes
    inside: InsideDocument | None

    def pieces(self) -> Iterator[bytes]:
        """Yield the document in pieces of at most CHUNK_SIZE bytes, once. Raises OSError, or BundleError."""
        return iter(lambda: self.file.read(CHUNK_SIZE), b"") if self.inside is None else self.inside.pieces()

    def explained(self, error: VerificationError) -> VerificationError:
        """Return a refusal with what can be said of its cause. Raises OSError, or BundleError."""
        if error.code != "document-altered" or (self.inside is None and not self.file.seekable()):
            return error
        if self.inside is None:
            self.file.seek(0)
        pieces = self.pieces() if self.inside is None else self.inside.again()
        return with_cause(error, pieces, Proof.decode(self.proof).opening)


@dataclass(frozen=True, slots=True)
class PresentedFiles:
    """A document and its proof: two files, or one archive with both (`proof` is None)."""

    document: Path
    proof: Path | None

    @contextmanager
    def opened(self, open_file: Open) -> Iterator[OpenedFiles]:
        """Open both. The proof is cut one byte past its limit: its decoder refuses it then.

        Raises OSError, or VerificationError.
        """
        if self.proof is None:
            with open_file(self.document) as archive:
                bundle = open_bundle(archive)
                yield OpenedFiles(archive, bundle.proof, InsideDocument(bundle))
            return
        with open_file(self.proof) as file:
            proof = file.read(PROOF_FILE_SIZE_MAX + 1)
        with open_file(self.document) as document:
            if not is_proof(proof):
                _refuse_exchanged(document)
            yield OpenedFiles(document, proof, None)


def tell_files(document: Path, proof: Path | None, *, as_bundle: bool = False) -> PresentedFiles:
    """Say which files are document and proof. `proof` is None where none was named, as it is with `as_bundle`."""
    if proof is not None:
        return PresentedFiles(document, proof)
    beside = proof_beside(document)
    if as_bundle or (is_bundle_name(document.name) and not os.path.lexists(beside)):
        return PresentedFiles(document, None)
    return PresentedFiles(document, beside)


def tell_parts(names: Collection[str]) -> bool:
    """Say whether a form with these parts has document and proof in one. Raises PartsError."""
    found = {*names} & {name for group in EITHER for name in group}
    if found not in [{*group} for group in EITHER]:
        raise PartsError(", ".join(sorted(found)) or "none of them")
    return BUNDLE_PART in found


def proof_beside(document: Path) -> Path:
    """Return where a document's proof is looked for when none was named."""
    return document.with_name(document.name + PROOF_SUFFIX) if document.name else document


def _refuse_exchanged(document: BinaryIO) -> None:
    """Refuse a document that is a proof, beside a proof that is none. What comes through a pipe can be read once."""
    if document.seekable():
        start = document.read(len(PROOF_MAGIC))
        document.seek(0)
        if is_proof(start):
            raise FilesExchanged(
                code="files-exchanged",
                where="files",
                expected="the proof named as the proof, and the document as the document",
                found="each named as the other, as it seems",
            )
