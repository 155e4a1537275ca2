"""Files that begin with a magic: a name, and one byte that says which version of the format follows."""

from ledger.encoding.arguments import require_bytes
from ledger.errors import EncodingError


def without_magic(given: object, magic: bytes, what: str) -> bytes:
    """Return what follows the magic of a file's content. Raises EncodingError for another file or version."""
    data = require_bytes(what, given, cure="Give the content of the file: Path(path).read_bytes().")
    if not data.startswith(magic[:-1]):
        raise EncodingError(
            where=what, expected=f"a file that starts with {magic[:-1].decode()}", found=f"{data[:16]!a}"
        )
    if data[: len(magic)] != magic:
        raise EncodingError(
            where=what,
            expected=f"version {magic[-1]}",
            found=f"version {data[len(magic) - 1 : len(magic)]!a}",
        )
    return data[len(magic) :]
