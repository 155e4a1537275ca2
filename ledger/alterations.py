"""Why a document is not the one of its proof, where more can be said than that it is another.

Rule 1: a cause is told only where it is certain: what is left of the change has exactly the content of the proof.
Rule 2: the document is read once more, in constant memory: CAUSE_SIZE_MAX bytes at most, and for line ends
TEXT_SIZE_MAX. What is larger has no cause but that it was altered.
Rule 3: code and step stay those of the refusal. A cause never makes a document verified.
"""

from collections.abc import Iterable
from typing import Final

from ledger.commitments import Opening
from ledger.trees.merkle import ContentHasher, content_root
from ledger.verdicts import LINE_ENDS, LONGER, VerificationError

CAUSE_SIZE_MAX: Final = 1024**3
TEXT_SIZE_MAX: Final = 4 * 1024**2


def with_cause(error: VerificationError, pieces: Iterable[bytes], opening: Opening) -> VerificationError:
    """Return why a document was altered, with its cause where there is one; `pieces` are the document once more.

    Passes on what reading raises. `error` itself comes back where nothing more can be said.
    """
    if error.code != "document-altered" or opening.size > CAUSE_SIZE_MAX:
        return error
    first, text, size = ContentHasher(), bytearray(), 0
    for piece in pieces:
        first.update(piece[: max(0, opening.size - size)])
        size += len(piece)
        if size <= TEXT_SIZE_MAX:
            text += piece
        if size > max(opening.size, TEXT_SIZE_MAX):
            break
    if size > opening.size and first.finish().root == opening.content_root:
        return _caused(
            error, LONGER, f"{error.found}; the first {opening.size} are the document of the proof"
        )
    if size <= TEXT_SIZE_MAX:
        unix = bytes(text).replace(b"\r\n", b"\n")
        for changed, found in ((unix, "CRLF"), (unix.replace(b"\n", b"\r\n"), "LF")):
            if len(changed) == opening.size and content_root((changed,))[1] == opening.content_root:
                other = "LF" if found == "CRLF" else "CRLF"
                told = f"{error.found}; the same text, with {found} at its line ends in place of {other}"
                return _caused(error, LINE_ENDS, told)
    return error


def _caused(error: VerificationError, cause: str, found: str) -> VerificationError:
    return VerificationError(
        code=error.code, where=error.where, expected=error.expected, found=found, cause=cause
    )
