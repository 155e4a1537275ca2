"""Presentations: one list of documents that answers one request, signed once by each key (docs/presenting.md, A list).

Rule 1: one document is a list of one: there is no other form to fall back to.
Rule 2: a place of the list names the item that its document answers, its commitment, and what is shown of it.
Rule 3: the consent key signs the list, and every holder key that a listed document names: this list, its length, this
recipient, this consent, this request. It is the only tie between documents and consent.
Rule 4: a use is one answered request. Its tag is made of the list under the salt of the terms, which no ledger sees.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from ledger.encoding.codec import encode_checked
from ledger.encoding.digests import keyed_digest
from ledger.encoding.keys import PrivateKey, PublicKey
from ledger.encoding.records import Hash, Nonce, SignatureBytes, Uint, pack
from ledger.requests import ItemNumber
from ledger.trees.merkle import Tree, TreePath, root_of_path

PRESENTATION_TAG: Final = "luohu/presentation/2"
USE_TAG: Final = "luohu/use/1"
LIST_SIZE_MAX: Final = 1_024

ListSize = Annotated[int, Uint(LIST_SIZE_MAX, minimum=1)]


@dataclass(frozen=True, slots=True)
class Place:
    """One place of a list: the item that a document answers, its commitment, and the hash of what is shown of it.

    `shown` is None where the document is shown whole.
    """

    item: ItemNumber
    commitment: Hash
    shown: Hash | None


@dataclass(frozen=True, slots=True)
class Presentation:
    """Where a document stands in its list, what opens the consent's terms, and the signatures over the list.

    `holder_signature` is None where the document names no holder.
    """

    item: ItemNumber
    shown: Hash | None
    list_size: ListSize
    path: TreePath
    consent_key: PublicKey
    consent_id: Hash
    nonce: Nonce
    terms_salt: Hash
    receipt_hash: Hash | None
    holder_signature: SignatureBytes | None
    consent_signature: SignatureBytes

    def list_root(self, commitment: bytes) -> bytes:
        """Return the root of the list in which a commitment stands at this place. Raises ProofError."""
        leaf = pack(Place(self.item, commitment, self.shown))
        return root_of_path(leaf, self.path, size=self.list_size)


@dataclass(frozen=True, slots=True)
class ListToSign:
    """What is signed over a list: 32-byte hashes, the recipient's id, and the key of the consent."""

    chain_id: bytes
    root: bytes
    size: int
    recipient: str
    consent_key: PublicKey
    consent_id: bytes
    request_id: bytes

    def sign(self, key: PrivateKey) -> bytes:
        """Return a key's signature over the list."""
        return key.sign(PRESENTATION_TAG, self.body())

    def verify(self, key: PublicKey, signature: bytes) -> None:
        """Check a key's signature over the list. Raises SignatureError."""
        key.verify(PRESENTATION_TAG, self.body(), signature)

    def body(self) -> bytes:
        """Return what each key signs."""
        # Its parts come from records, which checked them.
        key = (self.consent_key.algorithm, self.consent_key.data)
        return encode_checked(
            (self.chain_id, self.root, self.size, self.recipient, key, self.consent_id, self.request_id)
        )


def list_tree(places: Sequence[Place]) -> Tree:
    """Return the tree over the places of a list, in the holder's order (RFC 9162, section 2.1)."""
    return Tree([pack(place) for place in places])


def use_tag(*, terms_salt: bytes, list_root: bytes, consent_id: bytes, slot: int) -> bytes:
    """Return the 32-byte tag of a recorded use: only who holds the salt of the terms can tell of which list it is."""
    return keyed_digest(terms_salt, USE_TAG, encode_checked((list_root, consent_id, slot)))
