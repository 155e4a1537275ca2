"""A document and its proof in one plain ZIP file (docs/formats.md, Bundle).

Rule 1: nothing here says that a file is a bundle: who calls was asked for one by name (docs/verifying.md, One file
for both). What is verified is the document inside, which has a name of its own.
Rule 2: which of the two is the proof is told by its content, and the document's name does not claim to be one.
Rule 3: the two stand side by side, in the archive or in one folder of it, under names that every system reads alike
(ledger/filenames.py).
Rule 4: beside them stands only what macOS and `jar` add by themselves, each in its exact form. It is passed over.
Rule 5: every other byte is accounted for (ledger/archives.py).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from ledger.archives import BundleError, Entry, first_bytes, read_entries, refuse, unpack
from ledger.documents import require_archive
from ledger.filenames import find_fault, is_alike
from ledger.proofs import PROOF_FILE_SIZE_MAX, PROOF_MAGIC, PROOF_SUFFIX

__all__ = ("BUNDLE_SUFFIX", "Bundle", "BundleError", "is_bundle_name", "is_proof", "open_bundle")

BUNDLE_SUFFIX: Final = ".zip"
# What macOS keeps of a file beside its content. It takes as much on other disks.
APPLE_DOUBLE_SIZE_MAX: Final = 4_096
MANIFEST_SIZE_MAX: Final = 256

_PROOF_START: Final = PROOF_MAGIC[:-1]
_MAC_FOLDER: Final = "__MACOSX"
_JAR_FOLDER: Final = "META-INF"
_ADDED: Final = (_MAC_FOLDER, _JAR_FOLDER)
_JAR_MANIFEST: Final = f"{_JAR_FOLDER}/MANIFEST.MF"
_APPLE_DOUBLE_START: Final = bytes.fromhex("0005160700020000") + b"Mac OS X        "
_MANIFEST: Final = re.compile(
    rb"Manifest-Version: 1\.0\r\nCreated-By: [0-9A-Za-z ,./_+()-]{1,80}\r\n\r\n", re.ASCII
)
# What else is met beside the two, and what to do about it.
_OTHERS: Final = {
    ".DS_Store": "the Finder's; select the two files, not their folder, and compress these",
    "Thumbs.db": "Explorer's; select the two files, not their folder, and compress these",
    "desktop.ini": "Explorer's; select the two files, not their folder, and compress these",
    "[Content_Types].xml": "an office program's: this is a document, not a bundle",
    "AndroidManifest.xml": "an Android package's: this is a document, not a bundle",
}


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened archive: the proof's content, and the document, which is read from the file as it is iterated.

    `name` is the document's own in the archive, without a folder; `size` is in bytes.
    """

    name: str
    size: int
    proof: bytes
    _file: BinaryIO
    _document: Entry

    def document(self) -> Iterator[bytes]:
        """Yield the document in pieces. Raises BundleError where it is not what the archive says of it."""
        return unpack(self._file, self._document)


def is_proof(start: bytes) -> bool:
    """Say whether a file is a proof, by its first bytes."""
    return start.startswith(_PROOF_START)


def is_bundle_name(name: str) -> bool:
    """Say whether a file's own name asks for a bundle. One that may be read otherwise asks for nothing."""
    return name.lower().endswith(BUNDLE_SUFFIX) and find_fault(name) is None


def open_bundle(file: BinaryIO) -> Bundle:
    """Open an archive with a document and its proof. `file` can be sought in. Raises BundleError, or WrongCall."""
    require_archive(file)
    names, files = _find_files(file)
    proofs = [is_proof(first_bytes(file, entry, len(_PROOF_START))) for entry in files]
    if sum(proofs) != 1:
        found = "two" if all(proofs) else "none"
        refuse("archive", "one proof and one document", f"{found} that begin as a proof does")
    at = proofs.index(True)
    proof, document, name = files[at], files[1 - at], names[1 - at]
    if proof.size > PROOF_FILE_SIZE_MAX:
        refuse("proof", f"at most {PROOF_FILE_SIZE_MAX} bytes", f"{proof.size}")
    if name.lower().endswith(PROOF_SUFFIX):
        refuse("entry name", "a document that is not named as a proof", ascii(name)[:80])
    return Bundle(name, document.size, b"".join(unpack(file, proof)), file, document)


def _find_files(file: BinaryIO) -> tuple[list[str], list[Entry]]:
    """Return the names and entries of the two files. Everything beside them is checked, and passed over."""
    entries = read_entries(file)
    own = [entry for entry in entries if entry.path.partition("/")[0] not in _ADDED]
    files = [entry for entry in own if not entry.is_folder]
    for entry in files:
        _refuse_known(entry.path)
    if len(files) != 2:
        refuse("archive", "two entries that are files", f"{len(files)}")
    folder, _, _ = files[0].path.rpartition("/")
    inside = f"{folder}/" if folder else ""
    names = [entry.path.removeprefix(inside) for entry in files]
    beside = all(entry.path.startswith(inside) and "/" not in entry.path[len(inside) :] for entry in files)
    if not beside or any(entry.path != inside for entry in own if entry.is_folder):
        found = ", ".join(ascii(entry.path)[:60] for entry in own)
        refuse("entry name", "two files side by side, in at most one folder and no path", found)
    for name in [folder, *names] if folder else names:
        fault = "the name of a folder that archivers add" if name.upper() in _ADDED else find_fault(name)
        if fault is not None:
            expected = "a name that every system reads alike; rename it, and pack the two again"
            refuse("entry name", expected, f"{fault} in {ascii(name)[:80]}")
    if is_alike(*names):
        refuse("entry names", "two that nobody takes for one", ", ".join(ascii(name)[:60] for name in names))
    _check_companions(file, [entry for entry in entries if entry not in own], folder, names)
    return names, files


def _refuse_known(path: str) -> None:
    name = path.rpartition("/")[2]
    if name in _OTHERS:
        refuse("archive", "a document and its proof alone", f"{ascii(path)[:80]}, {_OTHERS[name]}")


def _check_companions(file: BinaryIO, entries: list[Entry], folder: str, names: list[str]) -> None:
    inner = f"{_MAC_FOLDER}/{folder}/" if folder else f"{_MAC_FOLDER}/"
    doubles = {f"{inner}._{name}" for name in names} | ({f"{_MAC_FOLDER}/._{folder}"} if folder else set())
    added_folders = {f"{_MAC_FOLDER}/", inner, f"{_JAR_FOLDER}/"}
    for entry in entries:
        shown = ascii(entry.path)[:80]
        if entry.path in doubles:
            if not _content(file, entry, APPLE_DOUBLE_SIZE_MAX).startswith(_APPLE_DOUBLE_START):
                refuse("archive", "what macOS keeps of a file, in its form", f"something else in {shown}")
        elif entry.path == _JAR_MANIFEST:
            if not _MANIFEST.fullmatch(_content(file, entry, MANIFEST_SIZE_MAX)):
                found = f"another {shown}; pack the two with `jar cMf`, or with zip"
                refuse("archive", "the manifest that jar writes by itself", found)
        elif entry.path not in added_folders:
            refuse("archive", "a document and its proof alone", f"{shown} too")


def _content(file: BinaryIO, entry: Entry, size_max: int) -> bytes:
    if entry.size > size_max:
        refuse("archive", f"at most {size_max} bytes in {ascii(entry.path)[:80]}", f"{entry.size}")
    return b"".join(unpack(file, entry))
