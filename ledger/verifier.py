"""The verifier: what a bank calls, offline, with a document, its proof and a trusted root.

    verdict = Verifier(trust).verify(document, proof, request=request, now_ms=now_ms)

Rule 1: every step must hold, in this order: files, trust, document, anchor, issuer, status, consent,
presentation, age. The first that does not raises a VerificationError with its code: of two reasons the one that
less can mend is told (docs/formats.md, Verification).
Rule 2: consent, recipient, purpose and nonce are compared with the bank's own request. Whoever wants less
calls `verify_anchor`, by that name.
Rule 3: the library has no clock, and the present is not a past time. `verify` takes the present, `now_ms`: it is no
earlier than the newest header that the proof shows, and a clock that is further behind than CLOCK_SKEW_MS is refused.
All that the header shows counts then. `verify_as_of` takes a past time, `at_ms`: where it is before the header,
recorded times are compared. A revocation counts at all times. Age is limited where the time is after the header.
Rule 4: the verifier remembers nothing of what was presented. The bank accepts each request's nonce once.
Rule 5: a header that was trusted is trusted again for the same bytes, certificate, path and pins in force, and for
nothing else: many proofs of a day stand under one header.
Rule 6: a call with an argument of another kind raises WrongCall before anything is looked at.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final, TypeAlias, TypeVar

from ledger.commitments import Metadata
from ledger.consents import terms_commitment
from ledger.documents import Document as Document
from ledger.documents import content_of, open_document
from ledger.encoding.arguments import (
    describe,
    require_bytes,
    require_duration,
    require_instance,
    require_time,
)
from ledger.errors import LedgerError, WrongCall
from ledger.lists import Listed, ListRefused, ListVerdict, check_items, check_list, count_contents, gravest
from ledger.presentation import LIST_SIZE_MAX, ListToSign, Presentation
from ledger.proofs import Evidence, Proof, ProvenLeaf
from ledger.requests import Asked, Item, Request, RequestBody
from ledger.rules.certificates import QuorumCertificate
from ledger.rules.state import (
    Anchor,
    Consent,
    ConsentTerms,
    Granted,
    Leaf,
    Member,
    anchor_key,
    consent_key,
    decode_leaf,
    member_key,
    revocation_key,
)
from ledger.selftest import require_fit
from ledger.trees.merkle import Content, verify_inclusion
from ledger.trees.statetree import verify_absent, verify_present
from ledger.trust import OlderEpochError, Pins, TrustedHeader, TrustedRoot, TrustPath, verify_header
from ledger.verdicts import (
    OLDER_EPOCH,
    Anchored,
    AnchorVerdict,
    ConsentStanding,
    Integrity,
    IssuerStanding,
    Presented,
    Status,
    TrustAnchor,
    Verdict,
    VerificationError,
)

MAX_AGE_MS: Final = 24 * 3_600_000
CLOCK_SKEW_MS: Final = 60_000
"""How far the clock of a bank may be behind that of the network, or of a holder."""
HEADERS_REMEMBERED_MAX: Final = 64
HANDOVERS_REMEMBERED_MAX: Final = 16
LEAVES_REMEMBERED_MAX: Final = 256

# What stands on the ledger of what the holder agreed to, beside the commitment to all of it.
_TERMS_ASKED: Final = ("sources", "flags", "notice_version", "until_ms", "uses")

_Trusting: TypeAlias = tuple[bytes, QuorumCertificate | None, TrustPath, tuple[int, ...]]
"""What a header was trusted by: its bytes, certificate and path, and the heights of the pins in force."""

L = TypeVar("L", bound=Leaf)


class SuspendedIssuer(Enum):
    """What to do with a document of an issuer that is suspended as of the proof's header."""

    REFUSE = "refuse"
    ACCEPT_ANCHORS_BEFORE_DISTRUST = "accept-anchors-before-distrust"


@dataclass(frozen=True, slots=True)
class _When:
    """The time asked about: the present by the caller's clock, or a past one; and how old a proof may be then."""

    time_ms: int
    is_present: bool
    max_age_ms: int


@dataclass(frozen=True, slots=True)
class _Question:
    """The bank's own request: what it signed, what it asks, and the request's id."""

    body: RequestBody
    asked: Asked
    id: bytes


@dataclass(frozen=True, slots=True)
class _Handed:
    """What was handed over, of the right kinds: the document as it will be read, and the proof file's content."""

    document: Content | Iterator[object]
    proof: bytes


@dataclass(frozen=True, slots=True)
class _Facts:
    header: TrustedHeader
    at_ms: int
    metadata: Metadata
    anchor: Anchor
    issuer: Member
    commitment: bytes


class Verifier:
    """Verifies documents against one trusted root.

    Threads may share it, and coroutines call it. A call takes about a millisecond of one core and 1 s for each GiB of
    document, and holds 1 MiB of it. Hash what arrives slowly with a ContentHasher, and pass the Content that it makes.
    It reads no clock and opens no file; all that it remembers is headers that it trusted.
    """

    def __init__(
        self, trust: TrustedRoot, *, suspended_issuer: SuspendedIssuer = SuspendedIssuer.REFUSE
    ) -> None:
        """Take a trusted root. Raises LedgerError where it is not one, UnfitEnvironment where libraries here err."""
        require_instance(
            "trust", trust, TrustedRoot, cure="Give parse_trusted_root(Path(path).read_bytes())."
        )
        cure = "Give SuspendedIssuer.REFUSE, or SuspendedIssuer.ACCEPT_ANCHORS_BEFORE_DISTRUST."
        require_instance("suspended_issuer", suspended_issuer, SuspendedIssuer, cure=cure)
        require_fit()
        trust.check()
        self._pins = Pins(trust)
        self._suspended_issuer = suspended_issuer
        # Only what was verified gets in; a thread that looks while another writes verifies once more.
        self._trusted: OrderedDict[_Trusting, TrustedHeader] = OrderedDict()

    def verify(
        self,
        document: Document,
        proof: bytes,
        *,
        request: Request,
        now_ms: int,
        max_age_ms: int = MAX_AGE_MS,
    ) -> Verdict:
        """Return what holds now of a document that was presented for the bank's own `request`.

        `document` is read once, to its end. `proof` is the content of the proof file, at most 1 MiB; `now_ms` the
        present by the caller's clock, in milliseconds of the Unix epoch, UTC; `max_age_ms` how much older than that
        the proof's header may be. In the verdict sizes are in bytes, times in milliseconds of the Unix epoch, hashes
        32 bytes.

        Raises VerificationError and nothing else for any document and proof; what reading a document raises passes
        through. Raises WrongCall for arguments of other kinds, LedgerError for a request that does not decode.

        The request's own signature is not checked: it tells the holder who asks, while the bank knows its own file,
        whose key may have rotated since.
        """
        when = _When(require_time("now_ms", now_ms), True, require_duration("max_age_ms", max_age_ms))
        return self._verify_alone(_take(document, proof), _question_of(request), when)

    def verify_as_of(
        self,
        document: Document,
        proof: bytes,
        *,
        request: Request,
        at_ms: int,
        max_age_ms: int = MAX_AGE_MS,
    ) -> Verdict:
        """Return what held at a past time, `at_ms`, as far as the proof shows it. Otherwise like `verify`.

        A consent that ended or was used up later than that held then, where the header is later than the end. Where
        the header is older than `at_ms`, it shows nothing of the time between: it may be `max_age_ms` older. Whoever
        has a clock refuses a time to come before it asks, as `luohu verify --at` does.
        """
        when = _When(require_time("at_ms", at_ms), False, require_duration("max_age_ms", max_age_ms))
        return self._verify_alone(_take(document, proof), _question_of(request), when)

    def verify_list(
        self,
        documents: Sequence[tuple[Document, bytes]],
        *,
        request: Request,
        now_ms: int,
        max_age_ms: int = MAX_AGE_MS,
    ) -> ListVerdict:
        """Return what holds now of documents that were presented together, each given with its proof.

        At most 1,024, in any order, each read once, one after the other. A document alone is a list of one: `verify`.
        Raises ListRefused where one of them, or the list, is refused; otherwise what `verify` raises.
        """
        when = _When(require_time("now_ms", now_ms), True, require_duration("max_age_ms", max_age_ms))
        return self._verify_list(documents, _question_of(request), when)

    def verify_list_as_of(
        self,
        documents: Sequence[tuple[Document, bytes]],
        *,
        request: Request,
        at_ms: int,
        max_age_ms: int = MAX_AGE_MS,
    ) -> ListVerdict:
        """Return what held of documents that were presented together at a past time, as `verify_as_of` does."""
        when = _When(require_time("at_ms", at_ms), False, require_duration("max_age_ms", max_age_ms))
        return self._verify_list(documents, _question_of(request), when)

    def verify_anchor(
        self, document: Document, proof: bytes, *, now_ms: int, max_age_ms: int = MAX_AGE_MS
    ) -> AnchorVerdict:
        """Return what holds now of a document and its anchor alone: neither consent nor presentation is checked.

        Raises what `verify` raises.
        """
        when = _When(require_time("now_ms", now_ms), True, require_duration("max_age_ms", max_age_ms))
        return self._verify_anchor_alone(_take(document, proof), when)

    def verify_anchor_as_of(
        self, document: Document, proof: bytes, *, at_ms: int, max_age_ms: int = MAX_AGE_MS
    ) -> AnchorVerdict:
        """Return what held of a document and its anchor alone at a past time, as `verify_as_of` does."""
        when = _When(require_time("at_ms", at_ms), False, require_duration("max_age_ms", max_age_ms))
        return self._verify_anchor_alone(_take(document, proof), when)

    def _verify_alone(self, handed: _Handed, question: _Question, when: _When) -> Verdict:
        return self._verify_listed(handed, question, when, is_alone=True).verdict

    def _verify_list(
        self, documents: Sequence[tuple[Document, bytes]], question: _Question, when: _When
    ) -> ListVerdict:
        outcomes: list[Listed | VerificationError] = []
        for document, proof in _take_list(documents):
            try:
                handed = _take(document, proof)
                outcomes.append(self._verify_listed(handed, question, when, is_alone=False))
            except VerificationError as error:
                outcomes.append(error)
        shown = [each.verdict if isinstance(each, Listed) else each for each in outcomes]
        found = gravest(outcomes)
        if found is not None:
            number, reason = found
            raise ListRefused(reason=reason, outcomes=shown, number=number) from reason
        listed = [each for each in outcomes if isinstance(each, Listed)]
        try:
            check_list(listed)
            answered = check_items(count_contents(listed, question.asked), question.asked)
        except VerificationError as error:
            raise ListRefused(reason=error, outcomes=shown, number=None) from error
        return ListVerdict(tuple(each.verdict for each in listed), answered)

    def _verify_listed(self, handed: _Handed, question: _Question, when: _When, *, is_alone: bool) -> Listed:
        """Return what holds of a document that was presented alone, or with others, before they are compared."""
        decoded = _decode_proof(handed.proof)
        facts = self._verify_anchor(handed.document, decoded, when)
        presentation = _require_presentation(decoded, facts, question)
        consent = _verify_consent(decoded.evidence, facts, question, presentation)
        presented = _verify_presentation(facts, question, presentation)
        if is_alone:
            _check_single(presented, question.asked)
        anchored = self._anchor_verdict(decoded, facts, when.max_age_ms)
        verdict = Verdict(
            integrity=anchored.integrity,
            issuer=anchored.issuer,
            anchored=anchored.anchored,
            status=anchored.status,
            consent=consent,
            presented=presented,
            trust=anchored.trust,
        )
        opening = decoded.opening
        return Listed(
            verdict,
            presentation.path.index,
            opening.size,
            opening.content_root,
            presentation.consent_signature,
        )

    def _verify_anchor_alone(self, handed: _Handed, when: _When) -> AnchorVerdict:
        decoded = _decode_proof(handed.proof)
        facts = self._verify_anchor(handed.document, decoded, when)
        return self._anchor_verdict(decoded, facts, when.max_age_ms)

    def _verify_anchor(self, document: Content | Iterator[object], proof: Proof, when: _When) -> _Facts:
        header = self._verify_trust(proof, when.time_ms)
        metadata = _verify_document(document, proof)
        commitment = proof.opening.commitment()
        anchor = _verify_anchored(proof, header, metadata, commitment)
        issuer = _require_leaf(
            proof.evidence.issuer, Member, member_key(metadata.issuer), header, "issuer-unproven"
        )
        self._check_issuer(issuer, anchor)
        _check_status(proof, header, anchor, commitment)
        at_ms = _judged_at(when, header)
        _check_times(metadata, anchor, at_ms)
        return _Facts(header, at_ms, metadata, anchor, issuer, commitment)

    def _verify_trust(self, proof: Proof, at_ms: int) -> TrustedHeader:
        evidence = proof.evidence
        if proof.chain_id != self._pins.chain_id:
            raise VerificationError(
                code="untrusted-header",
                where="proof chain",
                expected=self._pins.chain_id.hex(),
                found=proof.chain_id.hex(),
            )
        in_force = tuple(pin.height for pin in self._pins.at(at_ms))
        trusting = (evidence.header, evidence.certificate, evidence.trust_path, in_force)
        known = self._trusted.get(trusting)
        if known is not None:
            return known
        try:
            trusted = verify_header(
                self._pins, evidence.header, evidence.certificate, evidence.trust_path, at_ms=at_ms
            )
        except OlderEpochError as error:
            raise _refused("untrusted-header", error, cause=OLDER_EPOCH) from error
        except LedgerError as error:
            raise _refused("untrusted-header", error) from error
        if len(evidence.trust_path.handovers) <= HANDOVERS_REMEMBERED_MAX:
            self._trusted[trusting] = trusted
            if len(self._trusted) > HEADERS_REMEMBERED_MAX:
                self._trusted.popitem(last=False)
        return trusted

    def _check_issuer(self, issuer: Member, anchor: Anchor) -> None:
        if issuer.distrusts(anchor.height):
            raise VerificationError(
                code="anchor-distrusted",
                where="anchor height",
                expected="outside every interval in which the issuer is distrusted",
                found=f"{anchor.height}",
            )
        if issuer.is_suspended and self._suspended_issuer is SuspendedIssuer.REFUSE:
            suspended_at = issuer.suspensions[-1].suspended_at
            raise VerificationError(
                code="issuer-suspended",
                where=f"issuer {issuer.id}",
                expected="active",
                found=f"suspended at height {suspended_at}",
            )

    def _anchor_verdict(self, proof: Proof, facts: _Facts, max_age_ms: int) -> AnchorVerdict:
        header = facts.header.encoded_header.header
        age_ms = max(0, facts.at_ms - header.time_ms)
        if age_ms > max_age_ms:
            raise VerificationError(
                code="stale-proof",
                where="proof age",
                expected=f"at most {max_age_ms} ms",
                found=f"{age_ms} ms (block {header.height})",
            )
        return AnchorVerdict(
            integrity=Integrity(proof.opening.media_type, proof.opening.size, facts.commitment),
            issuer=IssuerStanding(
                facts.issuer.id,
                facts.issuer.name_zh_hans,
                facts.issuer.name_zh_hant,
                facts.issuer.name_en,
                facts.issuer.is_suspended,
            ),
            anchored=Anchored(
                root=facts.anchor.root,
                schema=facts.anchor.schema,
                height=facts.anchor.height,
                time_ms=facts.anchor.time_ms,
                issued_ms=facts.metadata.issued_ms,
                expires_ms=facts.metadata.expires_ms,
            ),
            status=Status(header.height, header.time_ms, age_ms),
            trust=TrustAnchor(self._pins.chain_id, facts.header.pin.epoch, facts.header.pin.height),
        )


def _take(document: object, proof: object) -> _Handed:
    cure = "Give the content of the proof file: Path(path).read_bytes(), or proof.encode()."
    return _Handed(open_document(document), require_bytes("proof", proof, cure=cure))


def _take_list(documents: object) -> Iterator[tuple[object, object]]:
    """Yield the documents of a list with their proofs. Raises WrongCall for what is no list of at least one."""
    expected, cure = "documents, each with its proof", "Give [(Path(path).read_bytes(), proof), ...]."
    # What else can be gone through may fail on the way, by another error than ours.
    if not isinstance(documents, list | tuple):
        raise WrongCall(where="documents", expected=expected, found=describe(documents), cure=cure)
    count = 0
    for each in documents:
        if not (isinstance(each, tuple) and len(each) == 2):
            raise WrongCall(where="documents", expected=expected, found=describe(each), cure=cure)
        count += 1
        if count > LIST_SIZE_MAX:
            expected = f"at most {LIST_SIZE_MAX}, as many as a list has"
            raise WrongCall(where="documents", expected=expected, found="more", cure=cure)
        yield each
    if not count:
        raise WrongCall(where="documents", expected="at least one", found="none", cure=cure)


def _question_of(request: object) -> _Question:
    cure = "Give Request.decode(Path(path).read_bytes()); verify_anchor asks for less, without a request."
    given = require_instance("request", request, Request, cure=cure)
    body = given.decoded()
    return _Question(body, body.decoded_asked(), given.id)


def _decode_proof(proof: bytes) -> Proof:
    try:
        return Proof.decode(proof)
    except LedgerError as error:
        raise _refused("proof-malformed", error) from error


def _refused(code: str, error: LedgerError, *, cause: str = "") -> VerificationError:
    return VerificationError(
        code=code, where=error.where, expected=error.expected, found=error.found, cause=cause
    )


def _verify_document(document: Content | Iterator[object], proof: Proof) -> Metadata:
    content = content_of(document)
    opening = proof.opening
    if content.size != opening.size:
        found = f"{content.size} bytes"
        raise VerificationError(
            code="document-altered", where="document size", expected=f"{opening.size} bytes", found=found
        )
    if content.root != opening.content_root:
        raise VerificationError(
            code="document-altered",
            where="document content",
            expected=opening.content_root.hex(),
            found=content.root.hex(),
        )
    try:
        return opening.decoded_metadata()
    except LedgerError as error:
        raise _refused("proof-malformed", error) from error


def _verify_anchored(proof: Proof, header: TrustedHeader, metadata: Metadata, commitment: bytes) -> Anchor:
    batch = proof.batch
    try:
        verify_inclusion(commitment, batch.path, size=batch.leaf_count, root=proof.anchor_root)
    except LedgerError as error:
        raise _refused("not-in-anchor", error) from error
    key = anchor_key(metadata.issuer, proof.anchor_root)
    anchor = _require_leaf(proof.evidence.anchor, Anchor, key, header, "anchor-unproven")
    if anchor.leaf_count != batch.leaf_count:
        raise VerificationError(
            code="not-in-anchor",
            where="batch leaf count",
            expected=f"{anchor.leaf_count}",
            found=f"{batch.leaf_count}",
        )
    if anchor.schema != metadata.schema:
        raise VerificationError(
            code="metadata-mismatch", where="schema", expected=anchor.schema, found=metadata.schema
        )
    latest = anchor.expires_ms
    if latest is not None and (metadata.expires_ms is None or metadata.expires_ms > latest):
        raise VerificationError(
            code="metadata-mismatch",
            where="expiry",
            expected=f"at most {latest}",
            found=f"{metadata.expires_ms}",
        )
    if metadata.holder_key is None and not anchor.bearer:
        raise VerificationError(
            code="no-holder", where="holder key", expected=f"one, for schema {anchor.schema}", found="none"
        )
    return anchor


# Issuer, recipient and anchor are the same for many documents under one header. Only what verified is remembered, by
# all that was verified; a refusal is found anew each time.
_verify_present = lru_cache(LEAVES_REMEMBERED_MAX)(verify_present)


def _require_leaf(proven: ProvenLeaf, shape: type[L], key: bytes, header: TrustedHeader, code: str) -> L:
    try:
        _verify_present(header.encoded_header.header.state_root, key, proven.value, proven.proof)
        return decode_leaf(shape, key, proven.value)
    except LedgerError as error:
        raise _refused(code, error) from error


def _check_status(proof: Proof, header: TrustedHeader, anchor: Anchor, commitment: bytes) -> None:
    if anchor.revoked is not None:
        revoked = anchor.revoked
        raise VerificationError(
            code="revoked",
            where="anchor",
            expected="not revoked",
            found=f"revoked at height {revoked.height}: {revoked.reason}",
        )
    key = revocation_key(anchor.issuer, commitment)
    try:
        verify_absent(header.encoded_header.header.state_root, key, proof.evidence.unrevoked)
    except LedgerError as error:
        raise _refused("revocation-unproven", error) from error


def _judged_at(when: _When, header: TrustedHeader) -> int:
    """Return the time that all is judged by. The present is no earlier than the newest header (rule 3)."""
    if not when.is_present:
        return when.time_ms
    behind_ms = header.newest_ms - when.time_ms
    if behind_ms > CLOCK_SKEW_MS:
        raise VerificationError(
            code="clock-behind",
            where="clock",
            expected=f"at least {header.newest_ms - CLOCK_SKEW_MS}, a minute before the newest header of the proof",
            found=f"{when.time_ms}, {behind_ms} ms before that header",
        )
    return max(when.time_ms, header.newest_ms)


def _check_times(metadata: Metadata, anchor: Anchor, at_ms: int) -> None:
    if at_ms < anchor.time_ms or at_ms < metadata.issued_ms:
        expected = f"a time from {max(anchor.time_ms, metadata.issued_ms)}"
        raise VerificationError(
            code="not-yet-anchored", where="time asked about", expected=expected, found=f"{at_ms}"
        )
    if metadata.expires_ms is not None and at_ms > metadata.expires_ms:
        raise VerificationError(
            code="document-expired",
            where="document expiry",
            expected=f"at least {at_ms}",
            found=f"{metadata.expires_ms}",
        )


def _require_presentation(proof: Proof, facts: _Facts, question: _Question) -> Presentation:
    """Return the presentation of a document that the bank asked for, in time."""
    chain_id = facts.header.encoded_header.header.chain_id
    if question.body.chain_id != chain_id:
        raise _mismatch("request chain", chain_id.hex(), question.body.chain_id.hex())
    if facts.at_ms > question.body.answer_by_ms:
        raise VerificationError(
            code="answer-late",
            where="time asked about",
            expected=f"at most {question.body.answer_by_ms}, by which the request is to be answered",
            found=f"{facts.at_ms}",
        )
    presentation = proof.presentation
    if presentation is None:
        raise VerificationError(
            code="not-presented", where="proof", expected="a presentation by the holder", found="none"
        )
    items = question.asked.items
    if presentation.item >= len(items):
        raise _mismatch("item", f"one of {len(items)}, counted from 0", f"{presentation.item}")
    _check_item(items[presentation.item], facts)
    if facts.issuer.jurisdiction not in question.asked.sources:
        raise _mismatch("document source", ", ".join(question.asked.sources), facts.issuer.jurisdiction)
    return presentation


def _check_item(item: Item, facts: _Facts) -> None:
    metadata = facts.metadata
    if item.issuers and metadata.issuer not in item.issuers:
        raise _mismatch("document issuer", ", ".join(item.issuers), metadata.issuer)
    if not item.issuers and not facts.anchor.listed:
        found = f"{metadata.issuer}, when the schema named no issuers"
        raise _mismatch("document issuer", "one that the schema listed when it anchored", found)
    if metadata.schema not in item.schemas:
        raise _mismatch("document schema", ", ".join(item.schemas), metadata.schema)
    if item.covers is not None:
        # No document names its days yet: what nothing shows is not taken for answered.
        days = f"days {item.covers.first} to {item.covers.last}"
        raise _mismatch("document days", days, "none: documents name no days")
    if item.bound and metadata.holder_key is None:
        raise _mismatch("document holder", "one: the request asks for documents that name a holder", "none")


def _mismatch(where: str, expected: str, found: str) -> VerificationError:
    return VerificationError(code="request-mismatch", where=where, expected=expected, found=found)


def _verify_consent(
    evidence: Evidence, facts: _Facts, question: _Question, presentation: Presentation
) -> ConsentStanding:
    if evidence.consent is None:
        raise VerificationError(
            code="consent-missing", where="proof", expected="evidence of a consent", found="none"
        )
    key = consent_key(presentation.consent_key, presentation.consent_id)
    consent = _require_leaf(evidence.consent.consent, Consent, key, facts.header, "consent-unproven")
    if consent.granted is None:
        raise VerificationError(
            code="consent-ended", where="consent", expected="granted", found="withdrawn before it was granted"
        )
    _check_terms(consent.granted.terms, question, presentation)
    recipient_key = member_key(question.asked.recipient)
    recipient = _require_leaf(
        evidence.consent.recipient, Member, recipient_key, facts.header, "consent-unproven"
    )
    if "recipient" not in recipient.roles:
        found = ", ".join(recipient.roles)
        raise VerificationError(
            code="not-a-recipient",
            where=f"recipient {recipient.id}",
            expected="the role recipient",
            found=found,
        )
    if recipient.is_suspended:
        raise VerificationError(
            code="recipient-suspended",
            where=f"recipient {recipient.id}",
            expected="active",
            found="suspended",
        )
    _check_active(consent, consent.granted, facts)
    terms = consent.granted.terms
    return ConsentStanding(
        consent_id=consent.consent_id,
        recipient=terms.recipient,
        purpose=terms.purpose,
        until_ms=terms.until_ms,
        used=consent.used,
        uses=terms.uses,
    )


def _check_terms(terms: ConsentTerms, question: _Question, presentation: Presentation) -> None:
    """Check that the consent is to what the bank asks: what the ledger shows of it, then all of it."""
    asked = question.asked
    if terms.recipient != asked.recipient:
        raise VerificationError(
            code="wrong-recipient",
            where="consent recipient",
            expected=asked.recipient,
            found=terms.recipient,
        )
    if terms.purpose != asked.purpose:
        raise VerificationError(
            code="wrong-purpose", where="consent purpose", expected=asked.purpose, found=terms.purpose
        )
    for name in _TERMS_ASKED:
        wanted, agreed = getattr(asked, name), getattr(terms, name)
        if wanted != agreed:
            where = f"consent {name.replace('_', ' ')}"
            raise VerificationError(
                code="wrong-terms", where=where, expected=_show(wanted), found=_show(agreed)
            )
    opened = terms_commitment(
        question.body.asked, salt=presentation.terms_salt, receipt_hash=presentation.receipt_hash
    )
    if terms.terms_commitment != opened:
        raise VerificationError(
            code="wrong-terms",
            where="consent terms commitment",
            expected=f"{opened.hex()}, of what this request asks",
            found=terms.terms_commitment.hex(),
        )


def _show(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value)
    return value.hex() if isinstance(value, bytes) else f"{value}"


def _check_active(consent: Consent, granted: Granted, facts: _Facts) -> None:
    header, at_ms = facts.header.encoded_header.header, facts.at_ms
    terms = granted.terms
    retrospective = at_ms < header.time_ms
    ended = consent.ended
    if ended is not None and not (retrospective and at_ms < ended.time_ms):
        raise VerificationError(
            code="consent-ended",
            where="consent",
            expected="active",
            found=f"ended by the {ended.by} at height {ended.height}",
        )
    earliest = max(terms.from_ms, granted.time_ms)
    if not earliest <= at_ms <= terms.until_ms:
        expected = f"a time from {earliest} to {terms.until_ms}"
        raise VerificationError(
            code="consent-period", where="time asked about", expected=expected, found=f"{at_ms}"
        )
    if not retrospective and consent.used >= terms.uses:
        raise VerificationError(
            code="consent-used-up",
            where="consent uses",
            expected=f"fewer than {terms.uses}",
            found=f"{consent.used}",
        )


def _verify_presentation(facts: _Facts, question: _Question, presentation: Presentation) -> Presented:
    if presentation.nonce != question.body.nonce:
        raise VerificationError(
            code="wrong-nonce",
            where="presentation nonce",
            expected=question.body.nonce.hex(),
            found=presentation.nonce.hex(),
        )
    try:
        signed = _signed_list(facts, question, presentation)
        signed.verify(presentation.consent_key, presentation.consent_signature)
    except LedgerError as error:
        raise _refused("consent-signature", error) from error
    holder_key, signature = facts.metadata.holder_key, presentation.holder_signature
    if (holder_key is None) != (signature is None):
        expected = "a holder's signature exactly where the document names a holder key"
        raise VerificationError(
            code="holder-signature", where="presentation", expected=expected, found="the opposite"
        )
    if holder_key is not None:
        assert signature is not None, "there is one where there is a holder key"
        try:
            signed.verify(holder_key, signature)
        except LedgerError as error:
            raise _refused("holder-signature", error) from error
    return Presented(
        nonce=presentation.nonce,
        holder_key=None if holder_key is None else str(holder_key),
        item=presentation.item,
        shown=presentation.shown,
        list_size=presentation.list_size,
        list_root=signed.root,
    )


def _signed_list(facts: _Facts, question: _Question, presentation: Presentation) -> ListToSign:
    return ListToSign(
        chain_id=facts.header.encoded_header.header.chain_id,
        root=presentation.list_root(facts.commitment),
        size=presentation.list_size,
        recipient=question.asked.recipient,
        consent_key=presentation.consent_key,
        consent_id=presentation.consent_id,
        request_id=question.id,
    )


def _check_single(presented: Presented, asked: Asked) -> None:
    """Check that a list of one answers the request."""
    if presented.list_size != 1:
        raise VerificationError(
            code="one-of-many",
            where="list",
            expected="a list of this document alone",
            found=f"one of {presented.list_size} documents that were presented together",
        )
    check_items([int(number == presented.item) for number in range(len(asked.items))], asked)
