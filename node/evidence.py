"""Evidence of documents from one version of the state: for one, or for many under one header.

Rule 1: all of an answer is read from one version of the state, the one whose header it names.
Rule 2: each part of an answer for many documents is what that document alone would be answered.
Rule 3: a question names at most DOCUMENTS_MAX documents, and an answer has at most DOCUMENTS_SIZE_MAX bytes of leaves
and hashes. What a proof needs twice is looked up once.
Rule 4: a document that is revoked has no evidence here, and takes none from the others. Whoever wants to know why asks
for it alone.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, TypeAlias

from ledger.chain.overlays import State
from ledger.encoding.digests import HASH_SIZE
from ledger.encoding.keys import PublicKey
from ledger.encoding.records import Hash, Height, Items, MemberId
from ledger.errors import EncodingError, LedgerError
from ledger.proofs import ConsentEvidence, Evidence, EvidenceRequest, ProvenLeaf
from ledger.rules.state import Consent, anchor_key, consent_key, find, member_key, revocation_key
from ledger.trees.statepages import prove
from ledger.trees.statetree import AbsenceProof, InclusionProof
from ledger.trust import FinalizedHeader, TrustPath

DOCUMENTS_MAX: Final = 1_024
DOCUMENTS_SIZE_MAX: Final = 4 * 1024 * 1024
PIECE_COUNT: Final = 32
"""How many documents are proven without a pause: some milliseconds."""

Turn: TypeAlias = Callable[[], AbstractAsyncContextManager[None]]
"""Waits until one short piece of work may be done."""

_FEWER: Final = "Ask for fewer documents at once."


class UnknownLeaf(LedgerError):
    """Evidence was asked for what the ledger does not hold."""

    code = "unknown"


class Revoked(LedgerError):
    """Evidence was asked for a document that its issuer revoked."""

    code = "revoked"


class TooLarge(LedgerError):
    """Evidence of so many documents takes more bytes than one answer has."""

    code = "too-large"


@dataclass(frozen=True, slots=True)
class AskedAnchor:
    """Documents of one anchor that are asked about, by their commitments."""

    issuer: MemberId
    root: Hash
    commitments: Annotated[tuple[Hash, ...], Items(DOCUMENTS_MAX, minimum=1)]


@dataclass(frozen=True, slots=True)
class DocumentsRequest:
    """What is sent to a node for evidence of many documents: no document, no opening, no content hash."""

    TAG: ClassVar[str] = "documents-request"

    anchors: Annotated[tuple[AskedAnchor, ...], Items(DOCUMENTS_MAX, minimum=1)]
    consent_key: PublicKey | None
    consent_id: Hash | None
    from_epoch: Height

    def __post_init__(self) -> None:
        count = sum(len(each.commitments) for each in self.anchors)
        if count > DOCUMENTS_MAX:
            expected = f"at most {DOCUMENTS_MAX} commitments in all"
            raise EncodingError(where="documents", expected=expected, found=f"{count}", cure=_FEWER)

    @property
    def issuers(self) -> tuple[str, ...]:
        """Each issuer once, in the order in which they are first named."""
        return tuple(dict.fromkeys(each.issuer for each in self.anchors))


@dataclass(frozen=True, slots=True)
class AnchorEvidence:
    """An anchor, and why each of its documents that was asked about, in order, is not revoked; None where it is."""

    anchor: ProvenLeaf
    unrevoked: Annotated[tuple[AbsenceProof | None, ...], Items(DOCUMENTS_MAX, minimum=1)]


@dataclass(frozen=True, slots=True)
class DocumentsEvidence:
    """What one version of the state says of many documents. Issuers and anchors are in the order of the question."""

    at: FinalizedHeader
    trust_path: TrustPath
    issuers: Annotated[tuple[ProvenLeaf, ...], Items(DOCUMENTS_MAX, minimum=1)]
    anchors: Annotated[tuple[AnchorEvidence, ...], Items(DOCUMENTS_MAX, minimum=1)]
    consent: ConsentEvidence | None

    def check_answers(self, request: DocumentsRequest) -> None:
        """Check that there is an answer for each part of a question. Raises LedgerError; nothing is verified."""
        expected = (len(request.issuers), *(len(each.commitments) for each in request.anchors))
        found = (len(self.issuers), *(len(each.unrevoked) for each in self.anchors))
        if found != expected:
            raise LedgerError(
                where="evidence",
                expected=f"{expected[0]} issuers, and {len(expected) - 1} anchors with what was asked of each",
                found=f"{found[0]} issuers, {len(found) - 1} anchors, or others",
            )

    def each(self, request: DocumentsRequest) -> Iterator[Evidence | None]:
        """Yield the evidence of each document that was asked about, in order; None where it is revoked."""
        issuers = dict(zip(request.issuers, self.issuers, strict=True))
        for asked, shown in zip(request.anchors, self.anchors, strict=True):
            issuer = issuers[asked.issuer]
            for unrevoked in shown.unrevoked:
                yield (
                    None
                    if unrevoked is None
                    else Evidence(
                        self.at.header,
                        self.at.certificate,
                        self.trust_path,
                        shown.anchor,
                        issuer,
                        unrevoked,
                        self.consent,
                    )
                )


class Prover:
    """Proves what one version of the state holds: `root` is that of its header (rule 1)."""

    def __init__(self, state: State, root: bytes) -> None:
        self._state = state
        self._root = root
        self._leaves: dict[bytes, ProvenLeaf] = {}
        self._size = 0

    def evidence(self, request: EvidenceRequest, at: FinalizedHeader, path: TrustPath) -> Evidence:
        """Return evidence for a proof. Raises LedgerError where one is not recorded, or it is revoked."""
        _check_both_or_neither(request.consent_key, request.consent_id)
        anchor = self._anchor(request.issuer, request.root)
        issuer = self._issuer(request.issuer)
        unrevoked = self._find_unrevoked(request.issuer, request.commitment)
        if unrevoked is None:
            raise Revoked(where="document", expected="not revoked", found="revoked by its issuer")
        consent = self._consent(request.consent_key, request.consent_id)
        return Evidence(at.header, at.certificate, path, anchor, issuer, unrevoked, consent)

    async def documents_evidence(
        self, request: DocumentsRequest, at: FinalizedHeader, path: TrustPath, *, turn: Turn
    ) -> DocumentsEvidence:
        """Return evidence of many documents, which are proven PIECE_COUNT in a turn. Raises LedgerError."""
        _check_both_or_neither(request.consent_key, request.consent_id)
        anchors: list[AnchorEvidence] = []
        for asked in request.anchors:
            unrevoked: list[AbsenceProof | None] = []
            for first in range(0, len(asked.commitments), PIECE_COUNT):
                async with turn():
                    anchor, _ = self._anchor(asked.issuer, asked.root), self._issuer(asked.issuer)
                    some = asked.commitments[first : first + PIECE_COUNT]
                    unrevoked += [self._find_unrevoked(asked.issuer, each) for each in some]
            anchors.append(AnchorEvidence(anchor, tuple(unrevoked)))
        async with turn():
            issuers = tuple(map(self._issuer, request.issuers))
            consent = self._consent(request.consent_key, request.consent_id)
        return DocumentsEvidence(at, path, issuers, tuple(anchors), consent)

    def _anchor(self, issuer: str, root: bytes) -> ProvenLeaf:
        return self._leaf(anchor_key(issuer, root), "anchor")

    def _issuer(self, issuer: str) -> ProvenLeaf:
        return self._leaf(member_key(issuer), "issuer")

    def _find_unrevoked(self, issuer: str, commitment: bytes) -> AbsenceProof | None:
        proof = prove(self._state, self._root, revocation_key(issuer, commitment))
        if isinstance(proof, InclusionProof):
            return None
        self._took(proof, b"" if proof.other is None else proof.other.key + proof.other.value_hash)
        return proof

    def _consent(self, key: PublicKey | None, consent_id: bytes | None) -> ConsentEvidence | None:
        if key is None or consent_id is None:
            return None
        place = consent_key(key, consent_id)
        proven = self._leaf(place, "consent")
        consent = find(self._state, Consent, place)
        if consent is None or consent.granted is None:
            raise UnknownLeaf(
                where="consent", expected="a granted consent", found="one withdrawn before it was granted"
            )
        recipient = self._leaf(member_key(consent.granted.terms.recipient), "recipient")
        return ConsentEvidence(recipient, proven)

    def _leaf(self, key: bytes, what: str) -> ProvenLeaf:
        known = self._leaves.get(key)
        if known is not None:
            return known
        proof, value = prove(self._state, self._root, key), self._state.find_value(key)
        if value is None or isinstance(proof, AbsenceProof):
            raise UnknownLeaf(where=what, expected=f"a recorded {what}", found="none under this key")
        self._took(proof, value)
        made = self._leaves[key] = ProvenLeaf(value, proof)
        return made

    def _took(self, proof: InclusionProof | AbsenceProof, value: bytes) -> None:
        """Take note of what goes into an answer. Raises TooLarge (rule 3)."""
        self._size += len(value) + HASH_SIZE * len(proof.siblings)
        if self._size > DOCUMENTS_SIZE_MAX:
            expected = f"evidence of at most {DOCUMENTS_SIZE_MAX} bytes"
            raise TooLarge(where="documents", expected=expected, found="more", cure=_FEWER)


def _check_both_or_neither(key: PublicKey | None, consent_id: bytes | None) -> None:
    if (key is None) != (consent_id is None):
        raise UnknownLeaf(where="consent", expected="consent key and id, or neither", found="one of them")
