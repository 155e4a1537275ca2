"""The proof file: everything that shows what the ledger says of one document (docs/formats.md, Proof file).

Rule 1: magic, version, then one canonical encoding; no byte of it is ignored.
Rule 2: evidence is all of one version of the state: its header, its certificate, its trust path.
Rule 3: key and value of each leaf are rebuilt from what is proven, never taken from the prover's word.
Rule 4: what one key holds is proven alike for everybody: the trusted root reaches the header, the header's state root
the value, and the value decodes under the key that was asked for.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, TypeVar

from ledger.commitments import Opening
from ledger.encoding.keys import PublicKey
from ledger.encoding.records import Hash, Height, MemberId, Octets, pack, unpack
from ledger.magics import without_magic
from ledger.presentation import Presentation
from ledger.rules.blocks import HEADER_SIZE_MAX, EncodedHeader
from ledger.rules.certificates import QuorumCertificate
from ledger.rules.state import LEAF_SIZE_MAX, Leaf, LeafCount, decode_leaf
from ledger.trees.merkle import TreePath
from ledger.trees.statetree import AbsenceProof, InclusionProof, verify_absent, verify_present
from ledger.trust import FinalizedHeader, Pins, TrustPath, verify_header

PROOF_MAGIC: Final = b"LUOHU-PROOF\x02"
PROOF_SIZE_MAX: Final = 1024 * 1024
PROOF_FILE_SIZE_MAX: Final = len(PROOF_MAGIC) + PROOF_SIZE_MAX
PROOF_SUFFIX: Final = ".proof"
EVIDENCE_SIZE_MAX: Final = 1024 * 1024

L = TypeVar("L", bound=Leaf)


@dataclass(frozen=True, slots=True)
class ProvenLeaf:
    """A state value and why it is in the state."""

    value: Annotated[bytes, Octets(1, LEAF_SIZE_MAX)]
    proof: InclusionProof


@dataclass(frozen=True, slots=True)
class BatchPath:
    """Where the commitment stands in its anchored batch."""

    leaf_count: LeafCount
    path: TreePath


@dataclass(frozen=True, slots=True)
class ConsentEvidence:
    """The consent and the recipient that it names."""

    recipient: ProvenLeaf
    consent: ProvenLeaf


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one version of the state says of a commitment, its issuer and a consent."""

    TAG: ClassVar[str] = "evidence"

    header: Annotated[bytes, Octets(1, HEADER_SIZE_MAX)]
    certificate: QuorumCertificate | None
    trust_path: TrustPath
    anchor: ProvenLeaf
    issuer: ProvenLeaf
    unrevoked: AbsenceProof
    consent: ConsentEvidence | None


@dataclass(frozen=True, slots=True)
class EvidenceRequest:
    """What is sent to a node for evidence: no document, no opening, no content hash."""

    TAG: ClassVar[str] = "evidence-request"

    issuer: MemberId
    root: Hash
    commitment: Hash
    consent_key: PublicKey | None
    consent_id: Hash | None
    from_epoch: Height


@dataclass(frozen=True, slots=True)
class Proof:
    """The content of `NAME.proof`. Without a consent and a presentation it proves the anchor alone."""

    TAG: ClassVar[str] = "proof"

    chain_id: Hash
    opening: Opening
    batch: BatchPath
    anchor_root: Hash
    evidence: Evidence
    presentation: Presentation | None

    @classmethod
    def decode(cls, data: bytes) -> "Proof":
        """Decode the content of a proof file. Raises LedgerError."""
        return unpack(cls, without_magic(data, PROOF_MAGIC, "proof file"), size_max=PROOF_SIZE_MAX)

    def encode(self) -> bytes:
        """Return the content of a proof file."""
        return PROOF_MAGIC + pack(self)


def require_leaf(proven: ProvenLeaf, shape: type[L], key: bytes, header: EncodedHeader) -> L:
    """Return the leaf that a header's state holds under a key. Raises LedgerError.

    Whether the header is to be trusted is another question: see `verify_leaf`.
    """
    verify_present(header.header.state_root, key, proven.value, proven.proof)
    return decode_leaf(shape, key, proven.value)


def verify_leaf(
    pins: Pins,
    at: FinalizedHeader,
    path: TrustPath,
    evidence: ProvenLeaf | AbsenceProof,
    shape: type[L],
    key: bytes,
    *,
    at_ms: int,
) -> tuple[L | None, EncodedHeader]:
    """Return what the state holds under a 32-byte key, None where it holds nothing, and the header that says so.

    `at` and `path` lead from the pins to the header; `at_ms` says which pins are in force, in milliseconds of the Unix
    epoch. How old the header may be is the caller's question. Raises LedgerError.
    """
    header = verify_header(pins, at.header, at.certificate, path, at_ms=at_ms).encoded_header
    if isinstance(evidence, AbsenceProof):
        verify_absent(header.header.state_root, key, evidence)
        return None, header
    return require_leaf(evidence, shape, key, header), header
