"""The transition: the only place where state changes (docs/formats.md, Effects of operations).

Rule 1: keys that verify signatures are read from the parent block's state, standing and records in sequence
within the block.
Rule 2: a transaction applies whole or not at all; one that changes nothing does not apply.
Rule 3: a record is created once. A member's own operation sent again is refused as already recorded; a
holder's operation sent again, by whomever, changes nothing and does not fail its transaction.
Rule 4: suspension stops a member's own operations and grants that name it, and never a withdrawal.
Rule 5: a consent ends for good: a withdrawal that arrives before its grant blocks it.
Rule 6: a schema that lists its issuers is theirs alone; the anchor keeps what the schema said then.
Rule 7: a grant names a notice that its purpose lists: no bank chooses what a holder is told.
Rule 8: a member ends its own operations at once, and nobody but governors lets it begin again.
"""

from dataclasses import replace
from typing import assert_never

from ledger.encoding.keys import PublicKey
from ledger.rules.enactment import check_sides, governing_sides
from ledger.rules.governance import apply_propose, apply_vote
from ledger.rules.misbehaviour import apply_report
from ledger.rules.operations import (
    AnchorBatch,
    CastVote,
    CloseConsent,
    Grant,
    GrantBody,
    Operation,
    Propose,
    RecordVerification,
    ReportMisbehaviour,
    RevokeAnchor,
    RevokeDocument,
    RotateKey,
    RotateTls,
    SuspendSelf,
    Withdraw,
    check_chain,
)
from ledger.rules.rotations import check_not_recorded, rotate_key, rotate_tls
from ledger.rules.standing import BlockContext as BlockContext
from ledger.rules.standing import Refused, already_recorded, require_active, require_member
from ledger.rules.state import (
    BY_HOLDER,
    BY_RECIPIENT,
    CROSS_BORDER,
    ISSUER,
    NETWORK_KEY,
    RECIPIENT,
    Anchor,
    Changes,
    Consent,
    ConsentTerms,
    Ended,
    Granted,
    Member,
    Network,
    Purpose,
    Revocation,
    Revoked,
    Schema,
    StateView,
    Suspension,
    Verification,
    anchor_key,
    consent_key,
    find,
    member_key,
    purpose_key,
    revocation_key,
    schema_key,
    verification_key,
)
from ledger.rules.transactions import Transaction, VerifiedTransactions


def verify_transaction(
    transaction: Transaction, parent: StateView, chain_id: bytes, verified: VerifiedTransactions
) -> None:
    """Check chain and all signatures against the parent's state. Raises LedgerError."""
    check_chain(chain_id, transaction.body.chain_id, "transaction")
    sender = find(parent, Member, member_key(transaction.body.sender))
    if sender is None:
        raise Refused(
            code="unregistered",
            where="transaction sender",
            expected="a registered member",
            found=transaction.body.sender,
        )
    check_not_recorded(transaction.body, sender)
    verified.verify(transaction, sender.key)


def apply_transaction(
    transaction: Transaction, state: StateView, context: BlockContext
) -> dict[bytes, bytes]:
    """Return the leaves that a transaction, whose signatures were verified, changes. Raises Refused."""
    _check_valid_until(transaction.body.valid_until_ms, context)
    changes = Changes(state)
    for operation in transaction.body.operations:
        _apply(operation, transaction.body.sender, changes, context)
    if not changes.values:
        raise Refused(
            code="no-change",
            where="transaction",
            expected="at least one operation that changes something",
            found="none",
        )
    return changes.values


def _check_valid_until(valid_until_ms: int, context: BlockContext) -> None:
    horizon_ms = context.parameters.transaction_horizon_ms
    if valid_until_ms < context.time_ms:
        raise Refused(
            code="expired",
            where="valid_until_ms",
            expected=f"at least the block's time {context.time_ms}",
            found=f"{valid_until_ms}",
        )
    if valid_until_ms > context.time_ms + horizon_ms:
        raise Refused(
            code="beyond-horizon",
            where="valid_until_ms",
            expected=f"at most {horizon_ms} ms after the block's time {context.time_ms}",
            found=f"{valid_until_ms}",
        )


def _apply(operation: Operation, sender: str, changes: Changes, context: BlockContext) -> None:
    match operation:
        case AnchorBatch():
            _anchor(operation, require_active(changes, sender, ISSUER), changes, context)
        case RevokeDocument():
            _revoke_document(operation, require_active(changes, sender, ISSUER), changes, context)
        case RevokeAnchor():
            _revoke_anchor(operation, require_active(changes, sender, ISSUER), changes, context)
        case Grant():
            _grant(operation, changes, context)
        case Withdraw():
            _withdraw(operation, changes, context)
        case CloseConsent():
            _close_consent(operation, require_member(changes, sender), changes, context)
        case RecordVerification():
            _record_verification(operation, require_active(changes, sender, RECIPIENT), changes, context)
        case RotateKey():
            rotate_key(operation, require_active(changes, sender, None), changes)
        case RotateTls():
            rotate_tls(operation, require_active(changes, sender, None), changes)
        case SuspendSelf():
            _suspend_self(operation, require_member(changes, sender), changes, context)
        case Propose():
            apply_propose(operation, sender, changes, context)
        case CastVote():
            apply_vote(operation, sender, changes, context)
        case ReportMisbehaviour():
            apply_report(operation, sender, changes, context)
        case _:
            assert_never(operation)


def _anchor(operation: AnchorBatch, issuer: Member, changes: Changes, context: BlockContext) -> None:
    schema = find(changes, Schema, schema_key(operation.schema))
    if schema is None:
        raise Refused(
            code="unknown-schema", where="schema", expected="a registered schema", found=operation.schema
        )
    recorded = find(changes, Anchor, anchor_key(issuer.id, operation.root))
    if recorded is not None:
        raise already_recorded("anchor", recorded.height)
    if schema.issuers is not None and issuer.id not in schema.issuers:
        raise Refused(
            code="issuer-not-listed",
            where=f"schema {schema.code}",
            expected="an issuer that it lists",
            found=issuer.id,
        )
    if operation.expires_ms is not None and operation.expires_ms <= context.time_ms:
        raise Refused(
            code="expired",
            where="expires_ms",
            expected=f"after the block's time {context.time_ms}",
            found=f"{operation.expires_ms}",
        )
    changes.put(
        Anchor(
            issuer=issuer.id,
            root=operation.root,
            leaf_count=operation.leaf_count,
            schema=schema.code,
            bearer=schema.bearer,
            schema_version=schema.version,
            listed=int(schema.issuers is not None),
            expires_ms=operation.expires_ms,
            height=context.height,
            time_ms=context.time_ms,
            issuer_version=issuer.version,
            key_sequence=issuer.key_sequence,
            revoked=None,
        )
    )


def _revoke_document(
    operation: RevokeDocument, issuer: Member, changes: Changes, context: BlockContext
) -> None:
    recorded = find(changes, Revocation, revocation_key(issuer.id, operation.commitment))
    if recorded is not None:
        raise already_recorded("revocation", recorded.height)
    changes.put(
        Revocation(issuer.id, operation.commitment, operation.reason, context.height, context.time_ms)
    )


def _revoke_anchor(operation: RevokeAnchor, issuer: Member, changes: Changes, context: BlockContext) -> None:
    anchor = find(changes, Anchor, anchor_key(issuer.id, operation.root))
    if anchor is None:
        raise Refused(
            code="unknown-anchor",
            where="anchor",
            expected=f"an anchor of {issuer.id}",
            found=operation.root.hex(),
        )
    if anchor.revoked is not None:
        raise already_recorded("revocation", anchor.revoked.height)
    changes.put(replace(anchor, revoked=Revoked(operation.reason, context.height, context.time_ms)))


def _grant(operation: Grant, changes: Changes, context: BlockContext) -> None:
    body = operation.decoded()
    check_chain(context.chain_id, body.chain_id, "grant")
    recorded = find(changes, Consent, consent_key(body.consent_key, operation.consent_id))
    if recorded is not None and recorded.granted is not None:
        return
    if recorded is not None and recorded.ended is not None:
        raise Refused(
            code="withdrawn",
            where="grant",
            expected="a consent that was not withdrawn",
            found=f"at height {recorded.ended.height}",
        )
    _check_grant(body, changes, context)
    granted = Granted(body.terms, context.height, context.time_ms)
    changes.put(Consent(body.consent_key, operation.consent_id, granted, None, 0))


def _check_grant(body: GrantBody, state: StateView, context: BlockContext) -> None:
    terms, now = body.terms, context.time_ms
    if body.submit_by_ms < now:
        raise Refused(
            code="expired",
            where="grant submit_by_ms",
            expected=f"at least the block's time {now}",
            found=f"{body.submit_by_ms}",
        )
    latest = max(now, terms.from_ms) + context.parameters.consent_duration_max_ms
    if not max(now, terms.from_ms) < terms.until_ms <= latest:
        expected = f"after {max(now, terms.from_ms)} and at most {latest}"
        raise Refused(
            code="consent-period", where="grant until_ms", expected=expected, found=f"{terms.until_ms}"
        )
    recipient = require_active(state, terms.recipient, RECIPIENT)
    _check_purpose(terms, state)
    network = find(state, Network, NETWORK_KEY)
    assert network is not None, "genesis says what the network is"
    unknown = sorted(set(terms.sources) - set(network.jurisdictions))
    if unknown:
        expected = f"of {', '.join(network.jurisdictions)}"
        raise Refused(code="direction", where="grant sources", expected=expected, found=", ".join(unknown))
    crosses = terms.sources != (recipient.jurisdiction,)
    if bool(terms.flags & CROSS_BORDER) != crosses:
        direction = f"from {', '.join(terms.sources)} to {recipient.jurisdiction}"
        expected = f"cross-border flag {'set' if crosses else 'clear'} {direction}"
        raise Refused(code="direction", where="grant flags", expected=expected, found=f"{terms.flags}")


def _check_purpose(terms: ConsentTerms, state: StateView) -> None:
    purpose = find(state, Purpose, purpose_key(terms.purpose))
    if purpose is None:
        raise Refused(
            code="unknown-purpose",
            where="grant purpose",
            expected="a registered purpose",
            found=terms.purpose,
        )
    if terms.notice_version not in purpose.notices:
        raise Refused(
            code="unknown-notice",
            where="grant notice",
            expected=f"a notice that governors passed for {purpose.code}",
            found=terms.notice_version.hex(),
        )


def _withdraw(operation: Withdraw, changes: Changes, context: BlockContext) -> None:
    body = operation.decoded()
    check_chain(context.chain_id, body.chain_id, "withdrawal")
    recorded = find(changes, Consent, consent_key(body.consent_key, body.consent_id))
    if recorded is None:
        recorded = Consent(body.consent_key, body.consent_id, None, None, 0)
    if recorded.ended is None:
        changes.put(replace(recorded, ended=Ended(BY_HOLDER, context.height, context.time_ms)))


def _close_consent(operation: CloseConsent, sender: Member, changes: Changes, context: BlockContext) -> None:
    consent = _require_consent(operation.consent_key, operation.consent_id, sender, changes)
    if consent.ended is not None:
        raise already_recorded("end of the consent", consent.ended.height)
    changes.put(replace(consent, ended=Ended(BY_RECIPIENT, context.height, context.time_ms)))


def _record_verification(
    operation: RecordVerification, recipient: Member, changes: Changes, context: BlockContext
) -> None:
    key = verification_key(operation.consent_key, operation.consent_id, operation.slot)
    recorded = find(changes, Verification, key)
    if recorded is not None and _is_same(recorded, operation, recipient):
        raise already_recorded("verification", recorded.height)
    consent = _require_consent(operation.consent_key, operation.consent_id, recipient, changes)
    assert consent.granted is not None, "a required consent was granted"
    terms = consent.granted.terms
    if consent.ended is not None:
        raise Refused(
            code="consent-ended", where="consent", expected="active", found=f"ended by the {consent.ended.by}"
        )
    if not terms.from_ms <= context.time_ms <= terms.until_ms:
        expected = f"a block time from {terms.from_ms} to {terms.until_ms}"
        raise Refused(code="consent-period", where="consent", expected=expected, found=f"{context.time_ms}")
    if consent.used >= terms.uses:
        raise Refused(
            code="consent-used-up",
            where="consent",
            expected=f"at most {terms.uses} verifications",
            found=f"{consent.used} made",
        )
    if operation.slot != consent.used:
        raise Refused(
            code="wrong-slot",
            where="verification slot",
            expected=f"{consent.used}",
            found=f"{operation.slot}",
        )
    changes.put(replace(consent, used=consent.used + 1))
    changes.put(
        Verification(
            consent_key=operation.consent_key,
            consent_id=operation.consent_id,
            slot=operation.slot,
            recipient=recipient.id,
            use_tag=operation.use_tag,
            outcome=operation.outcome,
            height=context.height,
            time_ms=context.time_ms,
        )
    )


def _suspend_self(operation: SuspendSelf, member: Member, changes: Changes, context: BlockContext) -> None:
    before, number = member.suspensions, operation.number
    if number < len(before) and before[number].distrust_from == operation.distrust_from:
        raise already_recorded("suspension", before[number].suspended_at)
    require_active(changes, member.id, None)
    if number != len(before):
        raise Refused(
            code="wrong-sequence", where="suspension", expected=f"number {len(before)}", found=f"{number}"
        )
    if operation.distrust_from > context.height:
        expected = f"at most the current height {context.height}"
        found = f"{operation.distrust_from}"
        raise Refused(code="distrust-ahead", where="distrust_from", expected=expected, found=found)
    sides = governing_sides(changes)
    suspension = Suspension(operation.distrust_from, context.height, None)
    changes.put(replace(member, suspensions=(*before, suspension)))
    check_sides(sides, changes)


def _is_same(recorded: Verification, operation: RecordVerification, recipient: Member) -> bool:
    # Another answer under a slot that is taken was not recorded: its sender must not be told that it was.
    return (recorded.recipient, recorded.use_tag, recorded.outcome) == (
        recipient.id,
        operation.use_tag,
        operation.outcome,
    )


def _require_consent(key: PublicKey, consent_id: bytes, recipient: Member, state: StateView) -> Consent:
    consent = find(state, Consent, consent_key(key, consent_id))
    if consent is None or consent.granted is None:
        raise Refused(
            code="unknown-consent", where="consent", expected="a recorded consent", found=consent_id.hex()
        )
    if consent.granted.terms.recipient != recipient.id:
        raise Refused(
            code="forbidden",
            where="consent recipient",
            expected=consent.granted.terms.recipient,
            found=recipient.id,
        )
    return consent
