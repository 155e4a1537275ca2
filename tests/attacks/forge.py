"""What the forgeries start from: a chain of three epochs, documents on it, and a proof that verifies.

Blocks are built directly from leaves, so that a chain can hold whatever an attack needs: suspended members,
ended consents, revoked anchors. Keys, times and bytes are the same in every run.

Rule 1: a forgery is a change of something that verifies, and nothing else.
Rule 2: it is shown only with keys that its attacker could have.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any, Final

import msgpack
import pytest

from ledger.chain.overlays import Overlay, Tip
from ledger.commitments import Metadata, Opening
from ledger.consents import terms_commitment
from ledger.encoding.keys import PrivateKey
from ledger.encoding.records import pack
from ledger.genesis import Genesis, genesis_tip
from ledger.presentation import ListToSign, Place, Presentation, list_tree
from ledger.proofs import PROOF_MAGIC, BatchPath, ConsentEvidence, Evidence, Proof, ProvenLeaf
from ledger.requests import Request
from ledger.rules.blocks import EncodedHeader, transactions_root
from ledger.rules.certificates import (
    FINALIZE,
    VOTE_TAGS,
    QuorumCertificate,
    SignedBy,
    Subject,
    Validator,
    ValidatorSet,
)
from ledger.rules.leaders import leader_index
from ledger.rules.state import (
    Anchor,
    Changes,
    Consent,
    Ended,
    Granted,
    Leaf,
    Member,
    Revocation,
    Suspension,
    anchor_key,
    consent_key,
    decode_leaf,
    find,
    member_key,
    revocation_key,
)
from ledger.trees.merkle import Tree, content_root, inclusion_path
from ledger.trees.statepages import prove, update
from ledger.trees.statetree import AbsenceProof, InclusionProof, OtherLeaf, value_hash
from ledger.trust import Checkpoint, FinalizedHeader, Handover, History, TrustedRoot, TrustPath
from ledger.verdicts import AnchorVerdict, Verdict, VerificationError
from ledger.verifier import MAX_AGE_MS, SuspendedIssuer, Verifier
from tests.support.asking import request_with
from tests.support.consortium import (
    CHAIN_ID,
    DAY_MS,
    MINUTE_MS,
    NOTICE,
    REPORT,
    START_MS,
    hash_of,
    key_of,
    make_content,
    make_genesis,
    make_terms,
)
from tests.support.forging import with_fields

ISSUER: Final = "hk-bureau"
BANK: Final = "mainland-bank"
OTHER_BANK: Final = "hk-bank"
TERMS_SALT: Final = hash_of("salt of the terms")
UNBOUND: Final = hash_of("terms")
NOW_MS: Final = START_MS + 10 * MINUTE_MS

HOLDER: Final = key_of("holder")
CONSENT_KEY: Final = key_of("consent")
OTHER_CONSENT_KEY: Final = key_of("another holder's consent")

DOCUMENT: Final = b"SAMPLE credit report of a person who does not exist\n" * 4
BATCH: Final = (DOCUMENT, *(b"SAMPLE report %d\n" % number for number in range(1, 7)))

# Heights of the chain that forgeries start from.
RECORDED: Final = 1
PLAIN: Final = 2
FIRST_SEAL: Final = 3
MIDDLE: Final = 4
SECOND_SEAL: Final = 5
PINNED: Final = 6
TIP: Final = 7


# The order of Ed25519's prime subgroup (RFC 8032, section 5.1).
GROUP_ORDER: Final = 2**252 + 27742317777372353535851937790883648493


def validator_name(member: str, generation: int = 0) -> str:
    """Return the name of a validator's key."""
    return f"{member} validator" + (f" {generation}" if generation else "")


def _set_of(*names: tuple[str, int]) -> ValidatorSet:
    return ValidatorSet(
        tuple(Validator(member, key_of(validator_name(member, n)).public) for member, n in names)
    )


SETS: Final = (
    _set_of(("hk-bureau", 0), ("hk-operator", 0), ("mainland-bank", 0), ("sz-operator", 0)),
    _set_of(("auditor", 0), ("hk-bureau", 0), ("mainland-bank", 0), ("sz-operator", 0)),
    _set_of(("auditor", 0), ("hk-bureau", 0), ("mainland-bank", 0), ("sz-operator", 1)),
)
STRANGERS: Final = _set_of(("auditor", 7), ("hk-bank", 7), ("hk-operator", 7), ("mainland-bureau", 7))
_PRIVATE: Final = {
    key_of(validator_name(member, generation)).public: key_of(validator_name(member, generation))
    for member in (
        "auditor",
        "hk-bank",
        "hk-bureau",
        "hk-operator",
        "mainland-bank",
        "mainland-bureau",
        "sz-operator",
    )
    for generation in (0, 1, 7)
}


def certify(
    encoded_header: EncodedHeader,
    validators: ValidatorSet,
    *,
    signers: Sequence[int] = (0, 1, 2),
    kind: str = FINALIZE,
    view: int | None = None,
    epoch: int | None = None,
    block_hash: bytes | None = None,
    chain_id: bytes | None = None,
) -> QuorumCertificate:
    """Return a certificate over a header, with genuine signatures over whatever is asked."""
    header = encoded_header.header
    voted_view = header.view if view is None else view
    subject = Subject(
        kind,
        header.epoch if epoch is None else epoch,
        voted_view,
        max(0, voted_view - 1),
        block_hash or encoded_header.hash,
    )
    return QuorumCertificate(subject, sign_subject(subject, validators, signers, chain_id or header.chain_id))


def sign_subject(
    subject: Subject, validators: ValidatorSet, signers: Sequence[int], chain_id: bytes
) -> tuple[SignedBy, ...]:
    """Return the validators' genuine signatures over a subject."""
    tag, body = VOTE_TAGS[subject.kind], subject.body(chain_id)
    return tuple(
        SignedBy(index, _PRIVATE[validators.validators[index].key].sign(tag, body)) for index in signers
    )


@dataclass(slots=True)
class Chain:
    """Blocks and the state after each, built from leaves."""

    genesis: Genesis
    tips: list[Tip]

    @classmethod
    def start(cls, genesis: Genesis) -> "Chain":
        """Return the chain at its genesis."""
        return cls(genesis, [genesis_tip(genesis.content)])

    @property
    def chain_id(self) -> bytes:
        """The 32-byte chain id."""
        return self.tips[0].header.chain_id

    def block(self, *leaves: Leaf, next_validators: ValidatorSet | None = None) -> None:
        """Add a block that writes leaves; with a next set, the epoch's seal."""
        parent = self.tips[-1]
        above = parent.header
        epoch, view = (above.epoch + 1, 1) if above.is_seal else (above.epoch, above.view + 1)
        changes = Changes(parent.state)
        for leaf in leaves:
            changes.put(leaf)
        ordered = [(key, value_hash(value)) for key, value in sorted(changes.values.items())]
        tree = update(parent.state, above.state_root, ordered)
        validators = SETS[epoch]
        leader = leader_index(epoch=epoch, view=view, validators_count=len(validators))
        header = replace(
            above,
            epoch=epoch,
            view=view,
            height=above.height + 1,
            time_ms=above.time_ms + MINUTE_MS,
            parent_hash=parent.encoded_header.hash,
            transactions_root=transactions_root(()),
            state_root=tree.root,
            history_root=parent.history.root(),
            validators_hash=validators.digest(),
            next_validators_hash=None if next_validators is None else next_validators.digest(),
            proposer=validators.validators[leader].member,
        )
        encoded_header = EncodedHeader.encode(header)
        history, _ = parent.history.append(encoded_header.hash)
        self.tips.append(Tip(encoded_header, Overlay(changes.values, tree.pages, parent.state), history))

    def certified(self, height: int) -> FinalizedHeader:
        """Return a header with the certificate that finalizes it."""
        encoded_header = self.tips[height].encoded_header
        return FinalizedHeader(
            encoded_header.encoded, certify(encoded_header, SETS[encoded_header.header.epoch])
        )

    def prove(self, height: int, key: bytes) -> ProvenLeaf:
        """Return a leaf of the state after a block."""
        state = self.tips[height].state
        value, proof = state.find_value(key), prove(state, self.tips[height].header.state_root, key)
        assert value is not None and isinstance(proof, InclusionProof), "the chain holds this leaf"
        return ProvenLeaf(value, proof)

    def prove_absent(self, height: int, key: bytes) -> AbsenceProof:
        """Return why the state after a block has no such leaf."""
        proof = prove(self.tips[height].state, self.tips[height].header.state_root, key)
        assert isinstance(proof, AbsenceProof), "the chain holds no such leaf"
        return proof

    def absence_of(self, height: int, issuer: str, commitment: bytes) -> AbsenceProof:
        """Return why a document is not revoked in the state after a block."""
        return self.prove_absent(height, revocation_key(issuer, commitment))

    def handovers(self, from_epoch: int, to_epoch: int) -> tuple[Handover, ...]:
        """Return the handovers of the seals between two epochs."""
        seals = {tip.header.epoch: tip.header.height for tip in self.tips if tip.header.is_seal}
        return tuple(
            Handover(self.certified(seals[epoch]), SETS[epoch + 1]) for epoch in range(from_epoch, to_epoch)
        )

    def history(self, height: int, newer: int) -> History:
        """Return why a block is below a newer one."""
        hashes = [tip.encoded_header.hash for tip in self.tips[:newer]]
        return History(self.certified(newer), inclusion_path(hashes, height))

    def checkpoint(self, height: int) -> Checkpoint:
        """Return a pin of a block, valid from ten minutes before the tests' now until a day after it."""
        encoded_header = self.tips[height].encoded_header
        epoch = encoded_header.header.epoch
        return Checkpoint(height, encoded_header.hash, epoch, SETS[epoch], START_MS, NOW_MS + DAY_MS)

    def member(self, member: str) -> Member:
        """Return a member as the tip holds it."""
        found = find(self.tips[-1].state, Member, member_key(member))
        assert found is not None
        return found


@dataclass(frozen=True, slots=True)
class Shown:
    """What a bank is handed, what it asks, and how. `raw` stands for bytes that no Proof encodes to.

    `at_ms` is a past time asked about, or the present by the bank's clock where the question `is_present`.
    """

    chain: Chain
    trust: TrustedRoot
    document: bytes
    proof: Proof
    request: Request
    at_ms: int = NOW_MS
    is_present: bool = False
    max_age_ms: int = MAX_AGE_MS
    suspended_issuer: SuspendedIssuer = SuspendedIssuer.REFUSE
    raw: bytes | None = None

    @property
    def proof_bytes(self) -> bytes:
        """The content of the proof file."""
        return self.proof.encode() if self.raw is None else self.raw

    @property
    def verifier(self) -> Verifier:
        """The bank's verifier: one for each trusted root and mode, as a bank would keep it."""
        return _verifier(self.trust, self.suspended_issuer)

    def verify(self) -> Verdict:
        """Return the verdict, or raise."""
        document, proof, request, time_ms = self.document, self.proof_bytes, self.request, self.at_ms
        max_age_ms = self.max_age_ms
        if self.is_present:
            return self.verifier.verify(
                document, proof, request=request, now_ms=time_ms, max_age_ms=max_age_ms
            )
        return self.verifier.verify_as_of(
            document, proof, request=request, at_ms=time_ms, max_age_ms=max_age_ms
        )

    def verify_anchor(self) -> AnchorVerdict:
        """Return the verdict on the anchor alone, or raise."""
        document, proof, time_ms, max_age_ms = self.document, self.proof_bytes, self.at_ms, self.max_age_ms
        if self.is_present:
            return self.verifier.verify_anchor(document, proof, now_ms=time_ms, max_age_ms=max_age_ms)
        return self.verifier.verify_anchor_as_of(document, proof, at_ms=time_ms, max_age_ms=max_age_ms)

    def proof_with(self, **changes: object) -> "Shown":
        """Change fields of the proof."""
        return replace(self, proof=with_fields(self.proof, **changes))

    def evidence_with(self, **changes: object) -> "Shown":
        """Change fields of the evidence."""
        return self.proof_with(evidence=with_fields(self.proof.evidence, **changes))

    def path_with(self, **changes: object) -> "Shown":
        """Change fields of the trust path."""
        return self.evidence_with(trust_path=with_fields(self.proof.evidence.trust_path, **changes))

    def opening_with(self, **changes: object) -> "Shown":
        """Change fields of the opening."""
        return self.proof_with(opening=with_fields(self.proof.opening, **changes))

    def metadata_with(self, **changes: object) -> "Shown":
        """Change fields of the metadata inside the opening."""
        metadata = with_fields(self.proof.opening.decoded_metadata(), **changes)
        return self.opening_with(metadata=pack(metadata))

    def consent_with(self, **changes: object) -> "Shown":
        """Change fields of the consent's evidence."""
        consent = self.proof.evidence.consent
        assert consent is not None
        return self.evidence_with(consent=with_fields(consent, **changes))

    def presentation_with(self, **changes: object) -> "Shown":
        """Change fields of the presentation."""
        presentation = self.proof.presentation
        assert presentation is not None
        return self.proof_with(presentation=with_fields(presentation, **changes))

    def value_with(self, edit: Callable[[list[Any]], object]) -> "Shown":
        """Edit the decoded proof as plain lists: what no record would encode. Items follow docs/formats.md."""
        lists = msgpack.unpackb(self.proof_bytes[len(PROOF_MAGIC) :], raw=False)
        edit(lists)
        return replace(self, raw=PROOF_MAGIC + msgpack.packb(lists, use_bin_type=True))

    def present(
        self,
        *,
        holder: PrivateKey | None = HOLDER,
        consent: PrivateKey = CONSENT_KEY,
        consent_id: bytes | None = None,
        **changes: object,
    ) -> "Shown":
        """Sign the presentation anew, for a body in which some fields are changed."""
        presentation = present(
            self.proof, self.request, holder=holder, consent=consent, consent_id=consent_id, **changes
        )
        return self.proof_with(presentation=presentation)


@lru_cache(maxsize=32)
def _verifier(trust: TrustedRoot, suspended_issuer: SuspendedIssuer) -> Verifier:
    return Verifier(trust, suspended_issuer=suspended_issuer)


def present(
    proof: Proof,
    request: Request,
    *,
    holder: PrivateKey | None = HOLDER,
    consent: PrivateKey = CONSENT_KEY,
    consent_id: bytes | None = None,
    **changes: Any,  # noqa: ANN401
) -> Presentation:
    """Return the presentation of a proof for a request. `changes` alter what is signed, not what is shown."""
    shown_id = consent_id or hash_of("consent id")
    commitment = changes.pop("commitment", proof.opening.commitment())
    item, part = changes.pop("item", 0), changes.pop("shown", None)
    tree = list_tree([Place(item, commitment, part)])
    fields: dict[str, Any] = {
        "chain_id": proof.chain_id,
        "root": tree.root(),
        "size": tree.size,
        "recipient": request.decoded().decoded_asked().recipient,
        "consent_key": consent.public,
        "consent_id": shown_id,
        "request_id": request.id,
    }
    signed = ListToSign(**{**fields, **changes})
    return Presentation(
        item=item,
        shown=part,
        list_size=tree.size,
        path=tree.path(0),
        consent_key=consent.public,
        consent_id=shown_id,
        nonce=request.decoded().nonce,
        terms_salt=TERMS_SALT,
        receipt_hash=None,
        holder_signature=None if holder is None else signed.sign(holder),
        consent_signature=signed.sign(consent),
    )


def make_request(trust: TrustedRoot, **changes: Any) -> Request:  # noqa: ANN401
    """Return the bank's request, with some of it changed."""
    return request_with(**{"chain_id": trust.chain_id, **changes})


def bound_to(consent: Consent, request: Request) -> Consent:
    """Return a consent as it is recorded when it answers a request; one to other terms stays as it is."""
    granted = consent.granted
    if granted is None or granted.terms.terms_commitment != UNBOUND:
        return consent
    opened = terms_commitment(request.decoded().asked, salt=TERMS_SALT, receipt_hash=None)
    return replace(consent, granted=replace(granted, terms=replace(granted.terms, terms_commitment=opened)))


def agreed_to(**changes: Any) -> Shown:  # noqa: ANN401
    """Return a proof presented for the bank's request, with a consent that was given to another one."""
    shown = show(make_scene(), agreed=changes)
    return replace(shown, request=make_request(shown.trust)).present()


def make_consent(
    *,
    key: PrivateKey = CONSENT_KEY,
    consent_id: bytes | None = None,
    granted: bool = True,
    used: int = 0,
    ended: Ended | None = None,
    **terms: object,
) -> Consent:
    """Return a consent as the ledger holds it: the one of the story, or one that differs in some terms."""
    recorded = Granted(make_terms(**terms), RECORDED, START_MS + MINUTE_MS) if granted else None
    return Consent(key.public, consent_id or hash_of("consent id"), recorded, ended, used)


def make_opening(document: bytes, **changes: object) -> Opening:
    """Return the opening of a document of the batch; `changes` alter its metadata."""
    size, root = content_root([document])
    fields: dict[str, Any] = {
        "issuer": ISSUER,
        "schema": REPORT,
        "holder_key": HOLDER.public,
        "issued_ms": START_MS,
        "expires_ms": START_MS + 30 * DAY_MS,
    }
    metadata = Metadata(**{**fields, **changes})
    salt = hash_of(f"salt of {document!r}")
    return Opening("application/pdf", size, root, salt, pack(metadata))


@dataclass(frozen=True, slots=True)
class Scene:
    """What the ledger holds in one forgery's world: `others` beside these leaves, `later` in the next block."""

    anchor: dict[str, Any]
    metadata: dict[str, Any]
    consent: Consent
    suspensions: tuple[Suspension, ...] = ()
    recipient_suspensions: tuple[Suspension, ...] = ()
    recipient_roles: tuple[str, ...] | None = None
    others: tuple[Leaf, ...] = ()
    later: tuple[Leaf, ...] = ()
    batch: tuple[bytes, ...] = BATCH
    media_type: str = "application/pdf"

    @property
    def openings(self) -> list[Opening]:
        """The openings of the batch, the document's first."""
        made = [make_opening(document, **self.metadata) for document in self.batch]
        return [replace(opening, media_type=self.media_type) for opening in made]

    def chain(self) -> Chain:
        """Return the chain of this scene: three epochs, seven blocks after genesis."""
        chain = Chain.start(make_genesis(make_content()))
        tree = Tree([opening.commitment() for opening in self.openings])
        fields: dict[str, Any] = {
            "issuer": ISSUER,
            "root": tree.root(),
            "leaf_count": tree.size,
            "schema": REPORT,
            "bearer": 0,
            "schema_version": 0,
            "listed": 0,
            "expires_ms": START_MS + 30 * DAY_MS,
            "height": RECORDED,
            "time_ms": START_MS + MINUTE_MS,
            "issuer_version": 0,
            "key_sequence": 0,
            "revoked": None,
        }
        sibling = self.openings[-4 % tree.size].commitment() if tree.size > 3 else hash_of("another batch")
        issuer = replace(chain.member(ISSUER), suspensions=self.suspensions)
        bank = chain.member(BANK)
        roles = bank.roles if self.recipient_roles is None else self.recipient_roles
        recipient = replace(bank, suspensions=self.recipient_suspensions, roles=roles)
        chain.block(
            Anchor(**{**fields, **self.anchor}),
            Revocation(ISSUER, sibling, "error", RECORDED, START_MS + MINUTE_MS),
            self.consent,
            issuer,
            recipient,
            *self.others,
        )
        chain.block(*self.later)
        chain.block(next_validators=SETS[1])
        chain.block()
        chain.block(next_validators=SETS[2])
        chain.block()
        chain.block()
        return chain


def evidence_of(
    chain: Chain, height: int, proof: Proof, *, consent: Consent, recipient: str = BANK, path: TrustPath
) -> Evidence:
    """Return the evidence for a proof as of a height, as an honest node makes it."""
    metadata = proof.opening.decoded_metadata()
    encoded_header = chain.certified(height)
    return Evidence(
        encoded_header.header,
        encoded_header.certificate if path.history is None else None,
        path,
        chain.prove(height, anchor_key(metadata.issuer, proof.anchor_root)),
        chain.prove(height, member_key(metadata.issuer)),
        chain.prove_absent(height, revocation_key(metadata.issuer, proof.opening.commitment())),
        ConsentEvidence(
            chain.prove(height, member_key(recipient)),
            chain.prove(height, consent_key(consent.consent_key, consent.consent_id)),
        ),
    )


def show(
    scene: Scene,
    height: int = PLAIN,
    *,
    from_epoch: int = 0,
    pinned: bool = False,
    agreed: Mapping[str, Any] | None = None,
) -> Shown:
    """Return the honest proof of a scene, as of a height, on genesis or on a pinned checkpoint as well.

    `agreed` is what is other in the request that the consent answers.
    """
    openings = scene.openings
    asked: dict[str, Any] = {"schemas": (openings[0].decoded_metadata().schema,)}
    if (granted := scene.consent.granted) is not None:
        # How long and how often is asked as it was agreed: a test of what is over names one time for both.
        asked |= {"until_ms": granted.terms.until_ms, "uses": granted.terms.uses}
    request = request_with(chain_id=CHAIN_ID, **{**asked, **(agreed or {})})
    scene = replace(scene, consent=bound_to(scene.consent, request))
    chain = scene.chain()
    trust = TrustedRoot(1, chain.genesis, (chain.checkpoint(PINNED),) if pinned else ())
    tree = Tree([opening.commitment() for opening in openings])
    placeholder: Any = None
    proof = Proof(
        chain.chain_id, openings[0], BatchPath(tree.size, tree.path(0)), tree.root(), placeholder, None
    )
    epoch = chain.tips[height].header.epoch
    path = TrustPath(from_epoch, chain.handovers(from_epoch, epoch), None)
    if pinned and height < PINNED:
        path = TrustPath(from_epoch, chain.handovers(from_epoch, 2), chain.history(height, TIP))
    proof = replace(proof, evidence=evidence_of(chain, height, proof, consent=scene.consent, path=path))
    holder = HOLDER if openings[0].decoded_metadata().holder_key is not None else None
    signed = present(
        proof,
        request,
        holder=holder,
        consent_id=scene.consent.consent_id,
    )
    return Shown(chain, trust, scene.batch[0], replace(proof, presentation=signed), request)


def make_scene(**changes: object) -> Scene:
    """Return the scene of the story, with some of it changed."""
    fields: dict[str, Any] = {"anchor": {}, "metadata": {}, "consent": make_consent()}
    return Scene(**{**fields, **changes})


@cache
def honest() -> Shown:
    """Return the story's proof, on genesis, in epoch 0."""
    return show(make_scene())


@cache
def honest_after_handovers() -> Shown:
    """Return the proof as of the tip, on genesis, through two handovers."""
    return show(make_scene(), TIP)


@cache
def honest_from_checkpoint() -> Shown:
    """Return the proof as of the tip, on a checkpoint of its epoch."""
    return show(make_scene(), TIP, from_epoch=2, pinned=True)


@cache
def honest_under_history() -> Shown:
    """Return the old proof of epoch 0 on a checkpoint of epoch 2, by its place in the history."""
    return show(make_scene(), PLAIN, from_epoch=2, pinned=True)


@cache
def honest_bearer() -> Shown:
    """Return the proof of a bearer document, which names no holder."""
    scene = make_scene(
        anchor={"schema": NOTICE, "bearer": 1},
        metadata={"schema": NOTICE, "holder_key": None},
    )
    return show(scene)


@cache
def honest_of_suspended_issuer() -> Shown:
    """Return the proof of a document of an issuer suspended later, in the mode that accepts it."""
    scene = make_scene(suspensions=(Suspension(PLAIN, PLAIN, None),))
    return replace(show(scene), suspended_issuer=SuspendedIssuer.ACCEPT_ANCHORS_BEFORE_DISTRUST)


def moved(shown: Shown, height: int, *, keep: Sequence[str]) -> Shown:
    """Return the proof with header, certificate and evidence of another height, but for what is kept."""
    before, proof, chain = shown.proof.evidence, shown.proof, shown.chain
    certified = chain.certified(height)
    forged: dict[str, Any] = {"header": certified.header, "certificate": certified.certificate}
    metadata = proof.opening.decoded_metadata()
    presentation = proof.presentation
    assert presentation is not None
    consent = consent_key(presentation.consent_key, presentation.consent_id)
    proven: dict[str, Callable[[], object]] = {
        "anchor": lambda: chain.prove(height, anchor_key(metadata.issuer, proof.anchor_root)),
        "issuer": lambda: chain.prove(height, member_key(metadata.issuer)),
        "unrevoked": lambda: chain.prove_absent(
            height, revocation_key(metadata.issuer, proof.opening.commitment())
        ),
        "consent": lambda: ConsentEvidence(
            chain.prove(height, member_key(BANK)), chain.prove(height, consent)
        ),
    }
    forged.update({name: make() for name, make in proven.items() if name not in keep})
    return shown.proof_with(evidence=replace(before, **forged))


def revoked_with(shown: Shown, other: Callable[[bytes, ProvenLeaf], OtherLeaf | None]) -> Shown:
    """Return the batch's revoked document, with an absence made of the proof that its revocation is present."""
    tree = Tree([make_opening(document).commitment() for document in BATCH])
    opening = make_opening(BATCH[3])
    key = revocation_key(ISSUER, opening.commitment())
    proven = shown.chain.prove(PLAIN, key)
    inclusion = proven.proof
    absence = AbsenceProof(inclusion.depth, inclusion.bitmap, inclusion.siblings, other(key, proven))
    revoked = shown.proof_with(opening=opening, batch=BatchPath(tree.size, tree.path(3)))
    return replace(revoked.evidence_with(unrevoked=absence), document=BATCH[3]).present()


def decode_anchor(shown: Shown) -> Anchor:
    """Return the anchor that the proof shows."""
    return decode_leaf(Anchor, anchor_key(ISSUER, shown.proof.anchor_root), shown.proof.evidence.anchor.value)


def signatures_of(shown: Shown) -> dict[str, bytes | None]:
    """Return the two signatures of a presentation."""
    presentation = shown.proof.presentation
    assert presentation is not None
    return {
        "holder_signature": presentation.holder_signature,
        "consent_signature": presentation.consent_signature,
    }


def presented_body(shown: Shown) -> bytes:
    """Return what holder key and consent key sign."""
    presentation = shown.proof.presentation
    assert presentation is not None
    return ListToSign(
        chain_id=shown.proof.chain_id,
        root=presentation.list_root(shown.proof.opening.commitment()),
        size=presentation.list_size,
        recipient=shown.request.decoded().decoded_asked().recipient,
        consent_key=presentation.consent_key,
        consent_id=presentation.consent_id,
        request_id=shown.request.id,
    ).body()


def header_with(encoded_header: EncodedHeader, **changes: object) -> EncodedHeader:
    """Return a header of which some fields are forged."""
    return EncodedHeader.encode(with_fields(encoded_header.header, **changes))


def flipped(data: bytes, place: int = 0) -> bytes:
    """Return bytes of which one bit is changed."""
    altered = bytearray(data)
    altered[place] ^= 1
    return bytes(altered)


@dataclass(frozen=True, slots=True)
class Forgery:
    """A change of something that verifies, and the step and code that must refuse it."""

    honest: Callable[[], Shown]
    forge: Callable[[Shown], Shown]
    step: str
    code: str

    def check(self) -> None:
        """Show the honest proof, which verifies, then the forged one, which is refused as it must be."""
        shown = self.honest()
        assert _verdict_of(self.honest).integrity.size == len(shown.document)
        forged = self.forge(shown)
        assert _asked(forged) != _asked(shown), "a forgery changes something"
        with pytest.raises(VerificationError) as refused:
            forged.verify()
        assert (refused.value.step, refused.value.code) == (self.step, self.code), str(refused.value)
        assert refused.value.expected and refused.value.found


@cache
def _verdict_of(honest_proof: Callable[[], Shown]) -> Verdict:
    """Return the verdict on an honest proof, which forgeries start from."""
    return honest_proof().verify()


def _asked(shown: Shown) -> tuple[object, ...]:
    inputs = (shown.document, shown.proof_bytes, shown.request, shown.trust)
    return (*inputs, shown.at_ms, shown.is_present, shown.max_age_ms, shown.suspended_issuer)
