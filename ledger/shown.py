"""What is shown of a document of which parts can be shown, as one hash (docs/formats.md, What is shown).

Rule 1: one choice has one hash, in whichever order its parts were chosen or stand: it is taken over the digests that
stand for them in the document, each once, in increasing order. The document itself is named by its commitment.
"""

from collections.abc import Iterable
from typing import Final

from ledger.encoding.digests import HASH_SIZE, tagged_digest

SHOWN_TAG: Final = "luohu/shown/1"


def shown_hash(digests: Iterable[bytes]) -> bytes:
    """Return the 32-byte hash of a choice: `digests` are those of its parts, 32 bytes each. No part is one too."""
    chosen = sorted({*digests})
    assert all(len(each) == HASH_SIZE for each in chosen), "they are joined: each has one size"
    return tagged_digest(SHOWN_TAG, b"".join(chosen))
