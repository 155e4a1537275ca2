"""A document as a caller hands it over, read once into what the verifier compares: its size and its root.

Rule 1: a document is its bytes, a binary file, its pieces in order, or the Content that a ContentHasher made of them.
What is none of these is refused before a byte is read, with the words to write instead: a path, a text, a file in
text mode, something that must be awaited, a collection without an order.
Rule 2: nothing is believed of what a file or a list will give: each piece is looked at as it comes.
Rule 3: what a file raises while it is read passes through. It is the caller's file.
Rule 4: an archive is read by place, so it is a binary file in which one can seek.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import BinaryIO, Final, NoReturn, TypeAlias

from ledger.encoding.arguments import describe, find_view
from ledger.errors import WrongCall
from ledger.trees.merkle import CHUNK_SIZE, Content, ContentHasher

Document: TypeAlias = bytes | bytearray | memoryview | BinaryIO | Iterable[bytes] | Content
"""A document: its bytes, a binary file open at its start, or its pieces in order. Read once, in pieces.

Or the Content that a ContentHasher made of its bytes as they came, for callers that receive them piece by piece.
"""

_EXPECTED: Final = "its bytes, a binary file, or its pieces in order"
_OPEN: Final = "Open it: with open(path, 'rb') as document."
_ARRIVING: Final = "Feed a ContentHasher as it arrives, and pass what its finish() returns."


def open_document(document: object) -> Content | Iterator[object]:
    """Return the Content of a document, or its pieces, of which none was read yet (rule 1). Raises WrongCall."""
    if isinstance(document, Content):
        return document
    if isinstance(document, str):
        _refuse(document, f"{_OPEN} Where the text is the document: text.encode().")
    if hasattr(type(document), "__fspath__"):
        _refuse(document, _OPEN)
    if isinstance(document, ContentHasher):
        _refuse(document, "Pass what its finish() returns.")
    if isinstance(document, AbstractSet | Mapping):
        _refuse(document, "Give the pieces as a list, in their order.")
    if isinstance(document, type):
        _refuse(document, _OPEN)
    if hasattr(type(document), "__aiter__") or hasattr(type(document), "__await__"):
        _refuse(document, _ARRIVING)
    view = find_view("document", document)
    if view is not None:
        return iter((view,))
    read = getattr(document, "read", None)
    if callable(read):
        return _read_pieces(read, _read_nothing(document, read))
    if not isinstance(document, Iterable):
        _refuse(document, f"{_OPEN} Or read it: path.read_bytes().")
    return iter(document)


def content_of(opened: Content | Iterator[object]) -> Content:
    """Return what an opened document comes to. Raises WrongCall (rule 2), and what reading it raises."""
    if isinstance(opened, Content):
        return opened
    hasher = ContentHasher()
    for piece in opened:
        hasher.update(_require_piece(piece))
    return hasher.finish()


def require_archive(file: object) -> None:
    """Check that something is a binary file in which one can seek. Raises WrongCall."""
    read, seek = getattr(file, "read", None), getattr(file, "seek", None)
    if isinstance(file, type) or not callable(read) or not callable(seek):
        cure = "Open it: with open(path, 'rb') as file. Bytes are io.BytesIO(content)."
        raise WrongCall(where="file", expected="a binary file", found=describe(file), cure=cure)
    _read_nothing(file, read)


def _read_nothing(document: object, read: Callable[[int], object]) -> object:
    """Return what a file gives for no bytes: it tells a file in text mode before a byte of it is read."""
    try:
        nothing = read(0)
    except TypeError as error:
        cure = "Give a file whose read takes a number of bytes, or a list of pieces."
        raise WrongCall(where="document", expected=_EXPECTED, found=describe(document), cure=cure) from error
    if hasattr(type(nothing), "__await__"):
        # Whoever left it unawaited would be told of that, and not of this.
        close = getattr(nothing, "close", None)
        if callable(close):
            close()
        _refuse(document, _ARRIVING)
    return _require_piece(nothing)


def _read_pieces(read: Callable[[int], object], first: object) -> Iterator[object]:
    yield first
    while len(piece := _require_piece(read(CHUNK_SIZE))):
        yield piece


def _require_piece(piece: object) -> memoryview:
    if isinstance(piece, str):
        cure = "Open the file with open(path, 'rb'), not in text mode; a text is text.encode()."
        raise WrongCall(where="document", expected="pieces of bytes", found="a piece of text", cure=cure)
    view = find_view("a piece of the document", piece)
    if view is None:
        cure = "Give bytes, a binary file that waits for its bytes, or a list of bytes."
        raise WrongCall(where="document", expected="pieces of bytes", found=describe(piece), cure=cure)
    return view


def _refuse(document: object, cure: str) -> NoReturn:
    raise WrongCall(where="document", expected=_EXPECTED, found=describe(document), cure=cure)
