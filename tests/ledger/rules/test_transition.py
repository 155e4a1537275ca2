"""The transition: each operation obeyed and broken. `Ledger.refusal` checks that a refusal changes nothing."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.chain.overlays import Overlay
from ledger.encoding.records import pack
from ledger.errors import LedgerError, SignatureError
from ledger.rules.operations import Grant, Operation, RevokeAnchor, RevokeDocument, next_key_commitment
from ledger.rules.state import (
    Anchor,
    Consent,
    Ended,
    Granted,
    Leaf,
    Member,
    Revocation,
    Revoked,
    Suspension,
    Verification,
    anchor_key,
    consent_key,
    find,
    member_key,
    revocation_key,
    verification_key,
)
from ledger.rules.transactions import VerifiedTransactions
from ledger.rules.transition import BlockContext, apply_transaction, verify_transaction
from ledger.trees.statepages import update
from ledger.trees.statetree import value_hash
from tests.support.consortium import (
    CHAIN_ID,
    DAY_MS,
    MAINLAND_REPORT,
    MINUTE_MS,
    NOTICE,
    PARAMETERS,
    START_MS,
    Ledger,
    hash_of,
    key_of,
    make_anchor,
    make_closing,
    make_grant,
    make_record,
    make_rotation,
    make_terms,
    make_transaction,
    make_withdrawal,
    member_key_of,
)

RELAY = "sz-operator"
BANK = "mainland-bank"
BUREAU = "hk-bureau"
COMMITMENT = hash_of("commitment")
DOCUMENT_REVOCATION = RevokeDocument(COMMITMENT, "error")
ANCHOR_REVOCATION = RevokeAnchor(make_anchor().root, "fraud")


@pytest.fixture
def ledger() -> Ledger:
    return Ledger.start()


def granted(ledger: Ledger, **terms: object) -> Grant:
    grant = make_grant(terms=make_terms(**terms))
    ledger.record(make_transaction(RELAY, grant))
    return grant


def consent_of(ledger: Ledger, grant: Grant) -> Consent:
    found = find(ledger.tip.state, Consent, consent_key(grant.decoded().consent_key, grant.consent_id))
    assert found is not None
    return found


def member_of(ledger: Ledger, member: str) -> Member:
    found = find(ledger.tip.state, Member, member_key(member))
    assert found is not None
    return found


def put(ledger: Ledger, leaf: Leaf) -> None:
    """Put a leaf into the tip's state, as governance will."""
    key, value = leaf.state_key(), pack(leaf)
    tip = ledger.tip
    tree = update(tip.state, tip.header.state_root, [(key, value_hash(value))])
    encoded_header = replace(tip.encoded_header, header=replace(tip.header, state_root=tree.root))
    ledger.tip = replace(
        tip, encoded_header=encoded_header, state=Overlay({key: value}, tree.pages, tip.state)
    )


def suspend(ledger: Ledger, member: str, *, reinstated_at: int | None = None) -> None:
    put(ledger, replace(member_of(ledger, member), suspensions=(Suspension(1, 2, reinstated_at),)))


def refusal_code(ledger: Ledger, sender: str, *operations: Operation, now_ms: int | None = None) -> str:
    latest = START_MS if now_ms is None else now_ms
    transaction = make_transaction(sender, *operations, valid_until_ms=latest + 10 * MINUTE_MS)
    return ledger.refusal(transaction, now_ms=now_ms).code


# Anchors and revocations


def test_an_anchor_holds_what_its_block_knows(ledger: Ledger) -> None:
    ledger.record(make_transaction(BUREAU, make_anchor(schema=NOTICE, expires_ms=START_MS + DAY_MS)))
    root = make_anchor().root
    assert find(ledger.tip.state, Anchor, anchor_key(BUREAU, root)) == Anchor(
        issuer=BUREAU,
        root=root,
        leaf_count=3,
        schema=NOTICE,
        bearer=1,
        schema_version=0,
        listed=0,
        expires_ms=START_MS + DAY_MS,
        height=1,
        time_ms=START_MS + 1_000,
        issuer_version=0,
        key_sequence=0,
        revoked=None,
    )


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        (make_anchor(schema="no.such-schema"), "unknown-schema"),
        (make_anchor(expires_ms=START_MS), "expired"),
        (make_anchor(expires_ms=START_MS + 1_000), "expired"),
        (ANCHOR_REVOCATION, "unknown-anchor"),
    ],
)
def test_an_issuers_operation_that_does_not_apply_is_refused(
    ledger: Ledger, operation: Operation, code: str
) -> None:
    assert refusal_code(ledger, BUREAU, operation) == code


def test_an_anchor_may_expire_just_after_its_block(ledger: Ledger) -> None:
    ledger.record(make_transaction(BUREAU, make_anchor(expires_ms=START_MS + 1_001)))


def test_two_issuers_may_anchor_one_root_and_revoke_only_their_own(ledger: Ledger) -> None:
    ledger.record(make_transaction(BUREAU, make_anchor()))
    assert refusal_code(ledger, "mainland-bureau", ANCHOR_REVOCATION) == "unknown-anchor"
    ledger.record(make_transaction("mainland-bureau", make_anchor(schema=MAINLAND_REPORT)))
    ledger.record(make_transaction("mainland-bureau", ANCHOR_REVOCATION))
    own = find(ledger.tip.state, Anchor, anchor_key("mainland-bureau", make_anchor().root))
    other = find(ledger.tip.state, Anchor, anchor_key(BUREAU, make_anchor().root))
    assert own is not None and own.revoked == Revoked("fraud", 3, START_MS + 3_000)
    assert other is not None and other.revoked is None


def test_a_revoked_document_has_a_leaf_of_its_own(ledger: Ledger) -> None:
    ledger.record(make_transaction(BUREAU, DOCUMENT_REVOCATION))
    found = find(ledger.tip.state, Revocation, revocation_key(BUREAU, COMMITMENT))
    assert found == Revocation(BUREAU, COMMITMENT, "error", 1, START_MS + 1_000)
    assert find(ledger.tip.state, Revocation, revocation_key("mainland-bureau", COMMITMENT)) is None


@pytest.mark.parametrize("operation", [make_anchor(), DOCUMENT_REVOCATION, ANCHOR_REVOCATION])
def test_a_members_own_operation_sent_again_is_already_recorded(ledger: Ledger, operation: Operation) -> None:
    if operation is ANCHOR_REVOCATION:
        ledger.record(make_transaction(BUREAU, make_anchor()))
    transaction = make_transaction(BUREAU, operation)
    ledger.record(transaction)
    error = ledger.refusal(transaction)
    assert error.code == "already-recorded"
    assert f"height {ledger.tip.header.height}" in error.found
    assert refusal_code(ledger, BUREAU, make_anchor(7), operation) == "already-recorded"


# Roles and standing


@pytest.mark.parametrize(
    ("sender", "operation"),
    [
        (BANK, make_anchor()),
        ("auditor", make_anchor()),
        (RELAY, DOCUMENT_REVOCATION),
        (BANK, ANCHOR_REVOCATION),
        (BUREAU, make_record(make_grant(), 0)),
        ("auditor", make_record(make_grant(), 0)),
    ],
)
def test_an_operation_without_its_role_is_refused(ledger: Ledger, sender: str, operation: Operation) -> None:
    granted(ledger)
    assert refusal_code(ledger, sender, operation) == "forbidden-role"


def test_a_stranger_is_refused(ledger: Ledger) -> None:
    transaction = make_transaction("stranger", make_anchor(), key=key_of("stranger"))
    assert ledger.refusal(transaction).code == "unregistered"


def test_another_members_signature_is_refused(ledger: Ledger) -> None:
    transaction = make_transaction(BUREAU, make_anchor(), key=member_key_of("mainland-bureau"))
    assert isinstance(ledger.refusal(transaction), SignatureError)


@pytest.mark.parametrize("operation", [make_anchor(), DOCUMENT_REVOCATION, make_rotation(BUREAU)])
def test_suspension_stops_a_members_own_operations(ledger: Ledger, operation: Operation) -> None:
    suspend(ledger, BUREAU)
    assert refusal_code(ledger, BUREAU, operation) == "suspended"


def test_a_reinstated_member_goes_on(ledger: Ledger) -> None:
    suspend(ledger, BUREAU, reinstated_at=3)
    ledger.record(make_transaction(BUREAU, make_anchor()))


def test_a_suspended_recipient_records_no_verification_but_may_close(ledger: Ledger) -> None:
    grant = granted(ledger)
    suspend(ledger, BANK)
    assert refusal_code(ledger, BANK, make_record(grant, 0)) == "suspended"
    ledger.record(make_transaction(BANK, make_closing(grant)))


def test_a_grant_that_names_a_suspended_member_is_refused(ledger: Ledger) -> None:
    suspend(ledger, BANK)
    assert refusal_code(ledger, RELAY, make_grant()) == "suspended"


def test_a_grant_names_no_issuer_so_none_that_is_suspended(ledger: Ledger) -> None:
    suspend(ledger, BUREAU)
    ledger.record(make_transaction(RELAY, make_grant()))


@pytest.mark.parametrize("member", [BUREAU, BANK, RELAY])
def test_a_withdrawal_always_works_whoever_is_suspended(ledger: Ledger, member: str) -> None:
    grant = granted(ledger)
    suspend(ledger, member)
    ledger.record(make_transaction(RELAY, make_withdrawal(grant)))
    assert consent_of(ledger, grant).ended == Ended("holder", 2, START_MS + 2_000)


# Validity and chain


def test_a_transaction_is_valid_until_its_time_and_no_longer(ledger: Ledger) -> None:
    until = START_MS + MINUTE_MS
    transaction = make_transaction(BUREAU, make_anchor(), valid_until_ms=until)
    assert ledger.refusal(transaction, now_ms=until + 1).code == "expired"
    ledger.record(transaction, now_ms=until)
    assert ledger.refusal(transaction, now_ms=until + 1).code == "expired"


def test_a_transaction_reaches_to_the_horizon_and_no_further(ledger: Ledger) -> None:
    now_ms = START_MS + 1_000
    latest = now_ms + PARAMETERS.transaction_horizon_ms
    beyond = make_transaction(BUREAU, make_anchor(), valid_until_ms=latest + 1)
    assert ledger.refusal(beyond, now_ms=now_ms).code == "beyond-horizon"
    ledger.record(make_transaction(BUREAU, make_anchor(), valid_until_ms=latest), now_ms=now_ms)


def test_what_was_signed_for_another_chain_is_refused(ledger: Ledger) -> None:
    other = hash_of("another chain")
    grant = make_grant()
    for transaction in (
        make_transaction(BUREAU, make_anchor(), chain_id=other),
        make_transaction(RELAY, make_grant(chain_id=other)),
        make_transaction(RELAY, make_withdrawal(grant, chain_id=other)),
    ):
        assert ledger.refusal(transaction).code == "wrong-chain"
    rotation = make_transaction(BUREAU, make_rotation(BUREAU, chain_id=other))
    assert isinstance(ledger.refusal(rotation), SignatureError)


# Grants


def test_a_grant_is_recorded_with_its_terms(ledger: Ledger) -> None:
    grant = granted(ledger)
    assert consent_of(ledger, grant) == Consent(
        key_of("holder").public,
        grant.consent_id,
        Granted(make_terms(), 1, START_MS + 1_000),
        None,
        0,
    )


@pytest.mark.parametrize(
    ("terms", "code"),
    [
        (make_terms(recipient="nobody"), "unregistered"),
        (make_terms(recipient="hk-bureau"), "forbidden-role"),
        (make_terms(sources=("HK", "CN")), "encoding"),
        (make_terms(sources=()), "encoding"),
        (make_terms(purpose="no.such-purpose"), "unknown-purpose"),
        (make_terms(notice_version=hash_of("another notice")), "unknown-notice"),
        (make_terms(sources=("CN",)), "direction"),
        (make_terms(flags=1), "direction"),
        (make_terms(recipient="hk-bank"), "direction"),
        (make_terms(recipient="hk-bank", sources=("CN", "HK"), flags=1), "direction"),
        (make_terms(until_ms=START_MS + 1_000), "consent-period"),
        (make_terms(from_ms=START_MS + DAY_MS, until_ms=START_MS + DAY_MS), "consent-period"),
        (make_terms(until_ms=START_MS + 1_001 + PARAMETERS.consent_duration_max_ms), "consent-period"),
    ],
)
def test_a_grant_on_terms_that_cannot_stand_is_refused(ledger: Ledger, terms: object, code: str) -> None:
    try:
        grant = make_grant(terms=terms)  # type: ignore[arg-type]
    except LedgerError as error:
        assert error.code == code
        return
    assert refusal_code(ledger, RELAY, grant) == code


def test_a_consent_lasts_to_the_limit(ledger: Ledger) -> None:
    granted(ledger, until_ms=START_MS + 1_000 + PARAMETERS.consent_duration_max_ms)
    later = make_terms(
        from_ms=START_MS + DAY_MS, until_ms=START_MS + DAY_MS + PARAMETERS.consent_duration_max_ms
    )
    ledger.record(make_transaction(RELAY, make_grant(terms=later)))


def test_both_directions_and_one_side_alone_can_be_granted(ledger: Ledger) -> None:
    cases = [
        ("hk-bank", ("CN",), 5),
        (BANK, ("CN",), 1),
        ("hk-bank", ("HK",), 1),
        ("hk-bank", ("CN", "HK"), 5),
    ]
    for recipient, sources, flags in cases:
        terms = make_terms(recipient=recipient, sources=sources, flags=flags)
        ledger.record(make_transaction(RELAY, make_grant(terms=terms)))


def test_a_grant_is_recorded_until_its_deadline_and_not_after(ledger: Ledger) -> None:
    deadline = START_MS + MINUTE_MS
    grant = make_grant(submit_by_ms=deadline)
    assert refusal_code(ledger, RELAY, grant, now_ms=deadline + 1) == "expired"
    ledger.record(make_transaction(RELAY, grant), now_ms=deadline)


def test_a_copied_grant_changes_nothing_and_spoils_nothing_whatever_its_deadline(ledger: Ledger) -> None:
    grant, second = make_grant(), make_grant(nonce=bytes([1]) * 16, submit_by_ms=START_MS + DAY_MS)
    ledger.record(make_transaction("hk-operator", grant))
    before = consent_of(ledger, grant)
    late = grant.decoded().submit_by_ms + 1
    batch = make_transaction(RELAY, grant, second, valid_until_ms=late)
    ledger.record(batch, now_ms=late)
    assert consent_of(ledger, grant) == before
    assert consent_of(ledger, second).granted is not None


def test_a_transaction_that_only_repeats_is_refused(ledger: Ledger) -> None:
    grant = granted(ledger)
    assert refusal_code(ledger, RELAY, grant) == "no-change"
    assert refusal_code(ledger, "hk-operator", grant) == "no-change"
    ledger.record(make_transaction(RELAY, make_withdrawal(grant)))
    assert refusal_code(ledger, RELAY, grant, make_withdrawal(grant)) == "no-change"


# Withdrawing and closing


def test_a_withdrawal_that_arrives_first_blocks_its_grant(ledger: Ledger) -> None:
    grant = make_grant()
    ledger.record(make_transaction(RELAY, make_withdrawal(grant)))
    assert consent_of(ledger, grant).granted is None
    assert refusal_code(ledger, RELAY, grant) == "withdrawn"
    assert refusal_code(ledger, BANK, make_record(grant, 0)) == "unknown-consent"
    assert refusal_code(ledger, BANK, make_closing(grant)) == "unknown-consent"


def test_another_keys_withdrawal_does_not_touch_a_consent(ledger: Ledger) -> None:
    grant = granted(ledger)
    ledger.record(make_transaction(RELAY, make_withdrawal(grant, "another holder")))
    assert consent_of(ledger, grant).ended is None
    ledger.record(make_transaction(BANK, make_record(grant, 0)))


def test_a_withdrawal_needs_no_deadline_and_ends_a_consent_for_good(ledger: Ledger) -> None:
    grant = granted(ledger)
    withdrawal = make_withdrawal(grant)
    late = START_MS + 4_000 * DAY_MS
    ledger.record(make_transaction(RELAY, withdrawal, valid_until_ms=late), now_ms=late)
    assert refusal_code(ledger, BANK, make_record(grant, 0), now_ms=late + 1) == "consent-ended"
    assert refusal_code(ledger, BANK, make_closing(grant), now_ms=late + 1) == "already-recorded"
    assert refusal_code(ledger, RELAY, grant, now_ms=late + 1) == "no-change"


def test_the_recipient_closes_a_consent_that_names_it(ledger: Ledger) -> None:
    grant = granted(ledger)
    ledger.record(make_transaction(BANK, make_closing(grant)))
    assert consent_of(ledger, grant).ended == Ended("recipient", 2, START_MS + 2_000)
    assert refusal_code(ledger, BANK, make_closing(grant)) == "already-recorded"
    assert refusal_code(ledger, RELAY, make_withdrawal(grant)) == "no-change"


def test_nobody_else_closes_a_consent(ledger: Ledger) -> None:
    grant = granted(ledger)
    for sender in ("hk-bank", BUREAU, RELAY):
        assert refusal_code(ledger, sender, make_closing(grant)) == "forbidden"
    assert refusal_code(ledger, BANK, make_closing(make_grant("another holder"))) == "unknown-consent"


# Recording verifications


def test_slots_are_used_in_order_and_no_more_than_were_granted(ledger: Ledger) -> None:
    grant = granted(ledger, uses=2)
    assert refusal_code(ledger, BANK, make_record(grant, 1)) == "wrong-slot"
    ledger.record(make_transaction(BANK, make_record(grant, 0), make_record(grant, 1, "declined")))
    assert consent_of(ledger, grant).used == 2
    assert refusal_code(ledger, BANK, make_record(grant, 2)) == "consent-used-up"
    key = verification_key(key_of("holder").public, grant.consent_id, 1)
    assert find(ledger.tip.state, Verification, key) == Verification(
        consent_key=key_of("holder").public,
        consent_id=grant.consent_id,
        slot=1,
        recipient=BANK,
        use_tag=hash_of("use tag 1"),
        outcome="declined",
        height=2,
        time_ms=START_MS + 2_000,
    )


def test_a_record_sent_again_is_already_recorded_and_uses_nothing(ledger: Ledger) -> None:
    grant = granted(ledger)
    ledger.record(make_transaction(BANK, make_record(grant, 0)))
    assert refusal_code(ledger, BANK, make_record(grant, 0)) == "already-recorded"
    ledger.record(make_transaction(BANK, make_closing(grant)))
    assert refusal_code(ledger, BANK, make_record(grant, 0)) == "already-recorded"


@pytest.mark.parametrize("change", [{"use_tag": hash_of("another list")}, {"outcome": "refused"}])
def test_another_record_under_a_taken_slot_is_never_called_recorded(
    ledger: Ledger, change: dict[str, object]
) -> None:
    grant = granted(ledger)
    record = make_record(grant, 0)
    ledger.record(make_transaction(BANK, record))
    assert refusal_code(ledger, BANK, replace(record, **change)) == "wrong-slot"  # type: ignore[arg-type]


def test_only_the_named_recipient_records(ledger: Ledger) -> None:
    grant = granted(ledger)
    assert refusal_code(ledger, "hk-bank", make_record(grant, 0)) == "forbidden"
    assert refusal_code(ledger, BANK, make_record(make_grant("another holder"), 0)) == "unknown-consent"


def test_a_verification_is_recorded_within_the_consents_period_only(ledger: Ledger) -> None:
    start, end = START_MS + DAY_MS, START_MS + 2 * DAY_MS
    grant = granted(ledger, from_ms=start, until_ms=end, uses=9)
    assert refusal_code(ledger, BANK, make_record(grant, 0), now_ms=start - 1) == "consent-period"
    for slot, now_ms in enumerate((start, end)):
        transaction = make_transaction(BANK, make_record(grant, slot), valid_until_ms=now_ms)
        ledger.record(transaction, now_ms=now_ms)
    assert refusal_code(ledger, BANK, make_record(grant, 2), now_ms=end + 1) == "consent-period"


# Rotation


def test_a_rotation_moves_to_the_key_committed_before(ledger: Ledger) -> None:
    ledger.record(make_transaction(BUREAU, make_rotation(BUREAU)))
    member = member_of(ledger, BUREAU)
    assert member.key == member_key_of(BUREAU, 1).public
    assert (member.key_sequence, member.version) == (1, 0)
    assert member.next_key == next_key_commitment(member_key_of(BUREAU, 2).public)
    ledger.record(make_transaction(BUREAU, make_anchor(), key=member_key_of(BUREAU, 1)))
    anchor = find(ledger.tip.state, Anchor, anchor_key(BUREAU, make_anchor().root))
    assert anchor is not None and (anchor.issuer_version, anchor.key_sequence) == (0, 1)
    assert isinstance(ledger.refusal(make_transaction(BUREAU, make_anchor(1))), SignatureError)


def test_a_thief_of_the_current_key_cannot_rotate(ledger: Ledger) -> None:
    own = key_of("thief")
    assert refusal_code(ledger, BUREAU, make_rotation(BUREAU, key=own)) == "unexpected-key"
    unsigned = replace(make_rotation(BUREAU), signature=make_rotation(BUREAU, key=own).signature)
    assert isinstance(ledger.refusal(make_transaction(BUREAU, unsigned)), SignatureError)
    redirected = replace(make_rotation(BUREAU), next_key=next_key_commitment(own.public))
    assert isinstance(ledger.refusal(make_transaction(BUREAU, redirected)), SignatureError)


def test_a_thief_of_the_next_key_cannot_rotate(ledger: Ledger) -> None:
    stolen = member_key_of(BUREAU, 1)
    assert isinstance(
        ledger.refusal(make_transaction(BUREAU, make_rotation(BUREAU), key=stolen)), SignatureError
    )
    assert isinstance(ledger.refusal(make_transaction(RELAY, make_rotation(BUREAU))), SignatureError), (
        "another member carried the rotation"
    )


@pytest.mark.parametrize("sequence", [0, 2])
def test_a_rotation_names_the_next_sequence(ledger: Ledger, sequence: int) -> None:
    rotation = make_rotation(BUREAU, sequence, key=member_key_of(BUREAU, 1))
    assert refusal_code(ledger, BUREAU, rotation) == "wrong-sequence"


def test_keys_are_read_from_the_parents_state(ledger: Ledger) -> None:
    rotation = make_transaction(BUREAU, make_rotation(BUREAU))
    old, new = (make_transaction(BUREAU, make_anchor(n), key=member_key_of(BUREAU, n)) for n in (0, 1))
    executed, refused = ledger.build(rotation, old, new)
    assert executed.block.transactions == (rotation, old)
    assert [(transaction, type(error)) for transaction, error in refused] == [(new, SignatureError)]


def test_a_rotation_repeated_in_its_block_is_already_recorded(ledger: Ledger) -> None:
    again = make_transaction(BUREAU, make_rotation(BUREAU), make_anchor())
    _, refused = ledger.build(make_transaction(BUREAU, make_rotation(BUREAU)), again)
    assert [error.code for _, error in refused] == ["already-recorded"]


# All or none


def test_a_transaction_applies_whole_or_not_at_all(ledger: Ledger) -> None:
    grant = make_grant()
    assert refusal_code(ledger, BUREAU, make_anchor(), make_anchor(1), make_anchor()) == "already-recorded"
    assert refusal_code(ledger, BUREAU, make_anchor(), make_anchor(1, schema="none")) == "unknown-schema"
    bad = make_grant(nonce=bytes([1]) * 16, terms=make_terms(purpose="none"))
    assert refusal_code(ledger, RELAY, grant, bad) == "unknown-purpose"
    ledger.record(make_transaction(BUREAU, make_anchor(), make_anchor(1)))


def test_later_operations_see_earlier_ones(ledger: Ledger) -> None:
    grant = make_grant()
    ledger.record(
        make_transaction(RELAY, grant),
        make_transaction(BANK, make_record(grant, 0)),
        make_transaction(BUREAU, make_anchor(), ANCHOR_REVOCATION),
    )
    assert consent_of(ledger, grant).used == 1
    other = make_grant("another holder")
    ledger.record(make_transaction(RELAY, other, make_withdrawal(other, "another holder")))
    assert consent_of(ledger, other).ended is not None


def test_applying_touches_nothing_but_what_it_returns(ledger: Ledger) -> None:
    transaction = make_transaction(BUREAU, make_anchor())
    state = ledger.tip.state
    context = BlockContext(CHAIN_ID, 1, START_MS + 1, PARAMETERS)
    verify_transaction(transaction, state, CHAIN_ID, VerifiedTransactions())
    changed = apply_transaction(transaction, state, context)
    assert list(changed) == [anchor_key(BUREAU, make_anchor().root)]
    assert state.find_value(anchor_key(BUREAU, make_anchor().root)) is None


FIRST, SECOND = make_grant(terms=make_terms(uses=2)), make_grant("another holder")
STEPS: list[tuple[str, Callable[[], Operation]]] = [
    (RELAY, lambda: FIRST),
    (RELAY, lambda: SECOND),
    ("hk-operator", lambda: make_withdrawal(FIRST)),
    (BANK, lambda: make_closing(SECOND)),
    (BANK, lambda: make_record(FIRST, 0)),
    (BANK, lambda: make_record(FIRST, 1)),
    (BUREAU, lambda: make_anchor()),
    (BUREAU, lambda: ANCHOR_REVOCATION),
    (BUREAU, lambda: make_rotation(BUREAU)),
]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, len(STEPS) - 1), max_size=14))
def test_in_whatever_order_operations_come_no_record_is_undone(order: list[int]) -> None:
    ledger = Ledger.start()
    for index in order:
        sender, make = STEPS[index]
        before = {grant.consent_id: find_consent(ledger, grant) for grant in (FIRST, SECOND)}
        executed, _ = ledger.build(make_transaction(sender, make()))
        ledger.tip = executed.tip()
        for grant in (FIRST, SECOND):
            was, now = before[grant.consent_id], find_consent(ledger, grant)
            if was is None or now is None:
                assert was is None, "a consent was lost"
                continue
            assert now.ended == was.ended or was.ended is None, "an end was changed"
            assert now.granted == was.granted or was.granted is None, "terms were changed"
            assert was.used <= now.used <= 2 and (was.ended is None or now.used == was.used)
            assert now.used == 0 or now.granted is not None


def find_consent(ledger: Ledger, grant: Grant) -> Consent | None:
    return find(ledger.tip.state, Consent, consent_key(grant.decoded().consent_key, grant.consent_id))
