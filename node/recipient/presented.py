"""Which file is the document and which is the proof, for every way in which they are presented.

Rule 1: the proof is the file that was named so. Where none was, it stands beside the document, as NAME.proof.
Rule 2: a ZIP is taken for a bundle of both only where no proof was named and nothing stands beside it: a document may
be a ZIP itself, as those of office programs are.
Rule 3: two files that were named the wrong way round are exchanged where their content tells: the named document
begins as a proof does, and the named proof does not.
Rule 4: in a form the names of the parts decide: document and proof, or pair. A document that is a ZIP is a document.
"""

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from ledger.bundles import is_archive, is_proof, open_bundle
from ledger.proofs import PROOF_MAGIC, PROOF_SIZE_MAX, PROOF_SUFFIX
from ledger.verifier import Document

PROOF_FILE_SIZE_MAX: Final = len(PROOF_MAGIC) + PROOF_SIZE_MAX
FIRST_SIZE: Final = 64

DOCUMENT_PART: Final = "document"
PROOF_PART: Final = "proof"
BUNDLE_PART: Final = "pair"
EITHER: Final = ((DOCUMENT_PART, PROOF_PART), (BUNDLE_PART,))
"""The parts of a form, of which one group comes whole and the others not at all."""

Open = Callable[[Path], BinaryIO]


class PartsError(ValueError):
    """A form whose parts are neither document and proof nor a bundle of both: what it has of them."""


@dataclass(frozen=True, slots=True)
class PresentedFiles:
    """A document and its proof: two files, or one archive with both (`proof` is None)."""

    document: Path
    proof: Path | None

    @contextmanager
    def opened(self, open_file: Open) -> Iterator[tuple[Document, bytes]]:
        """Give the document, to be read once, and the proof, cut one byte past its limit: its decoder refuses it then.

        Raises OSError, or BundleError.
        """
        if self.proof is None:
            with open_file(self.document) as archive:
                bundle = open_bundle(archive)
                yield bundle.document(), bundle.proof
            return
        with open_file(self.proof) as file:
            proof = file.read(PROOF_FILE_SIZE_MAX + 1)
        with open_file(self.document) as document:
            yield document, proof


def tell_files(document: Path, proof: Path | None) -> PresentedFiles:
    """Say which files are document and proof. `proof` is None where none was named."""
    if proof is None:
        beside = proof_beside(document)
        if is_archive(_first_bytes(document)) and not os.path.lexists(beside):
            return PresentedFiles(document, None)
        return PresentedFiles(document, beside)
    if is_proof(_first_bytes(document)) and not is_proof(_first_bytes(proof)):
        return PresentedFiles(proof, document)
    return PresentedFiles(document, proof)


def tell_parts(names: Collection[str]) -> bool:
    """Say whether a form with these parts has document and proof in one. Raises PartsError."""
    found = {*names} & {name for group in EITHER for name in group}
    if found not in [{*group} for group in EITHER]:
        raise PartsError(", ".join(sorted(found)) or "none of them")
    return BUNDLE_PART in found


def proof_beside(document: Path) -> Path:
    """Return where a document's proof is looked for when none was named."""
    return document.with_name(document.name + PROOF_SUFFIX) if document.name else document


def _first_bytes(path: Path) -> bytes:
    """Return how a regular file begins. What comes through a pipe can be read once: it is what it was named as."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(FIRST_SIZE)
    except (OSError, ValueError):
        # Who reads it says what is wrong with it.
        return b""
