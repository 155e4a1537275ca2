"""In whose words: a purpose lists the notices that governors passed, and a grant names one of them."""

from dataclasses import replace

import pytest

from ledger.encoding.records import pack
from ledger.errors import EncodingError
from ledger.genesis import GenesisError, GenesisPurpose, genesis_block
from ledger.rules.operations import Grant
from ledger.rules.proposals import AddPurpose, SetNotices
from ledger.rules.state import NOTICES_MAX, Purpose, find, purpose_key
from tests.support.consortium import (
    LOAN,
    Ledger,
    hash_of,
    make_content,
    make_grant,
    make_record,
    make_terms,
    make_transaction,
)
from tests.support.governors import enact, propose, put, refusal, soon, vote, vote_refusal

RELAY, BANK = "sz-operator", "mainland-bank"
PASSED, OTHER = hash_of("notice"), hash_of("another notice")
CODE = "medical.referral"


@pytest.fixture
def ledger() -> Ledger:
    return Ledger.start()


def purpose_of(ledger: Ledger, code: str) -> Purpose:
    found = find(ledger.tip.state, Purpose, purpose_key(code))
    assert found is not None
    return found


def grant_to(notice: bytes, *, purpose: str = LOAN, holder: str = "holder") -> Grant:
    return make_grant(holder, terms=make_terms(notice_version=notice, purpose=purpose))


def grant_refusal(ledger: Ledger, grant: Grant) -> str:
    return ledger.refusal(soon(ledger, RELAY, grant)).code


def hashes(count: int) -> tuple[bytes, ...]:
    return tuple(sorted(hash_of(f"notice {number}") for number in range(count)))


# Granting


def test_a_grant_to_a_notice_that_was_passed_is_recorded(ledger: Ledger) -> None:
    ledger.record(make_transaction(RELAY, grant_to(PASSED)))


def test_a_grant_to_a_notice_that_was_not_passed_is_refused(ledger: Ledger) -> None:
    assert grant_refusal(ledger, grant_to(OTHER)) == "unknown-notice"


def test_the_notice_of_another_purpose_is_none_of_this_one(ledger: Ledger) -> None:
    enact(ledger, AddPurpose(CODE, (OTHER,)))
    assert grant_refusal(ledger, grant_to(OTHER)) == "unknown-notice"
    assert grant_refusal(ledger, grant_to(PASSED, purpose=CODE)) == "unknown-notice"
    ledger.record(soon(ledger, RELAY, grant_to(OTHER, purpose=CODE)))


def test_a_purpose_without_notices_takes_no_grant(ledger: Ledger) -> None:
    assert purpose_of(ledger, "corporate.account").notices == ()
    assert grant_refusal(ledger, grant_to(PASSED, purpose="corporate.account")) == "unknown-notice"


def test_a_consent_stands_though_its_notice_is_taken_off(ledger: Ledger) -> None:
    grant = grant_to(PASSED)
    ledger.record(make_transaction(RELAY, grant))
    enact(ledger, SetNotices(LOAN, (OTHER,), (PASSED,)), 0)
    assert purpose_of(ledger, LOAN) == Purpose(LOAN, (OTHER,), 1)
    ledger.record(soon(ledger, BANK, make_record(grant, 0)))
    assert grant_refusal(ledger, grant) == "no-change", "it is recorded, and stays so"
    assert grant_refusal(ledger, grant_to(PASSED, holder="another holder")) == "unknown-notice"
    ledger.record(soon(ledger, RELAY, grant_to(OTHER, holder="another holder")))


# Deciding


def test_a_new_purpose_has_the_notices_that_it_names(ledger: Ledger) -> None:
    enact(ledger, AddPurpose(CODE, tuple(sorted((PASSED, OTHER)))))
    assert purpose_of(ledger, CODE) == Purpose(CODE, tuple(sorted((PASSED, OTHER))), 0)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (SetNotices("no.such-purpose", (OTHER,), ()), "unknown-purpose"),
        (SetNotices(LOAN, (), ()), "unchanged"),
        (SetNotices(LOAN, (PASSED,), ()), "unchanged"),
        (SetNotices(LOAN, (), (OTHER,)), "unchanged"),
        (SetNotices(LOAN, (OTHER,), (OTHER,)), "unchanged"),
    ],
)
def test_a_change_of_notices_that_cannot_be_is_refused(ledger: Ledger, change: SetNotices, code: str) -> None:
    assert refusal(ledger, change, 0) == code


@pytest.mark.parametrize("version", [None, 1])
def test_notices_that_changed_since_are_stale(ledger: Ledger, version: int | None) -> None:
    assert refusal(ledger, SetNotices(LOAN, (OTHER,), ()), version) == "stale-version"


def test_of_two_changes_of_one_version_the_second_is_stale(ledger: Ledger) -> None:
    first = SetNotices(LOAN, (OTHER,), ())
    stale = propose(ledger, SetNotices(LOAN, (), (PASSED,)), 0)
    enact(ledger, first, 0)
    vote(ledger, stale, "hk-bureau", "hk-operator")
    assert vote_refusal(ledger, stale, BANK).code == "stale-version"


def test_a_purpose_has_as_many_notices_as_the_limit_and_no_more(ledger: Ledger) -> None:
    full = hashes(NOTICES_MAX)
    put(ledger, Purpose(CODE, full[:-1], 0))
    propose(ledger, SetNotices(CODE, (full[-1],), ()), 0)
    put(ledger, Purpose(CODE, full, 0))
    assert refusal(ledger, SetNotices(CODE, (PASSED,), ()), 0) == "too-many-notices"
    more = tuple(sorted((*full, PASSED)))
    for oversized in (AddPurpose(CODE, more), SetNotices(CODE, more, ()), Purpose(CODE, more, 0)):
        with pytest.raises(EncodingError, match=r"at most|0 to 64"):
            pack(oversized)


# Genesis


def test_a_genesis_lists_notices_each_once() -> None:
    content = make_content()
    listed = replace(content, purposes=(GenesisPurpose(CODE, hashes(2)),))
    assert find(genesis_block(listed).overlay, Purpose, purpose_key(CODE)) == Purpose(CODE, hashes(2), 0)
    with pytest.raises(EncodingError, match="increasing"):
        pack(replace(content, purposes=(GenesisPurpose(CODE, hashes(2)[::-1]),)))
    for purposes in (content.purposes[::-1], (content.purposes[0],) * 2):
        with pytest.raises(GenesisError, match="purposes"):
            replace(content, purposes=purposes)
