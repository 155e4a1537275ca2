"""Misbehaviour on record: what excludes what, who may report it, and that nobody else can be accused."""

from dataclasses import replace
from itertools import combinations, product

import pytest

from ledger.audit import Audit, MisbehaviourFound
from ledger.encoding.keys import PrivateKey
from ledger.encoding.records import from_json, to_json
from ledger.rules.certificates import FINALIZE, NOTARIZE, NULLIFY, VOTE_TAGS, Subject, Vote
from ledger.rules.misbehaviour import exclude_each_other, misbehaviour_report
from ledger.rules.operations import ReportMisbehaviour
from ledger.rules.state import (
    LATEST_MISBEHAVIOUR_KEY,
    LatestMisbehaviour,
    Misbehaviour,
    MisbehaviourPlace,
    find,
    misbehaviour_key,
    require_validators,
)
from tests.support.consortium import (
    CHAIN_ID,
    START_MS,
    VALIDATORS,
    Ledger,
    certify,
    hash_of,
    key_of,
    make_content,
    make_genesis,
    make_transaction,
)
from tests.support.governors import changing, enact, register_validator, soon, suspend

REPORTER, CULPRIT = "hk-operator", "mainland-bank"
SIGNER = VALIDATORS.index(CULPRIT)
SET = make_content().validators


@pytest.fixture
def ledger() -> Ledger:
    return Ledger.start()


def make_vote(
    kind: str,
    block: str = "block",
    *,
    epoch: int = 0,
    view: int = 7,
    parent_view: int = 6,
    signer: int = SIGNER,
    key: PrivateKey | None = None,
    chain_id: bytes = CHAIN_ID,
) -> Vote:
    """Return a vote, by default the culprit's."""
    named = (None, None) if kind == NULLIFY else (parent_view, hash_of(block))
    subject = Subject(kind, epoch, view, *named)
    signing = key or key_of(f"{VALIDATORS[signer]} validator")
    return Vote(subject, signer, signing.sign(VOTE_TAGS[kind], subject.body(chain_id)))


def reporting(first: Vote, second: Vote) -> ReportMisbehaviour:
    return ReportMisbehaviour(key_of(f"{CULPRIT} validator").public, first, second)


PAIR = (make_vote(NOTARIZE, "one"), make_vote(NOTARIZE, "other"))
EXCLUSIVE = [
    PAIR,
    (make_vote(NOTARIZE), make_vote(NOTARIZE, parent_view=5)),
    (make_vote(FINALIZE, "one"), make_vote(FINALIZE, "other")),
    (make_vote(NULLIFY), make_vote(FINALIZE)),
    (make_vote(FINALIZE), make_vote(NULLIFY)),
]
COMPATIBLE = [
    (make_vote(NOTARIZE), make_vote(NOTARIZE)),
    (make_vote(NULLIFY), make_vote(NULLIFY)),
    (make_vote(NOTARIZE), make_vote(NULLIFY)),
    (make_vote(NOTARIZE), make_vote(FINALIZE)),
    (make_vote(NOTARIZE, "one"), make_vote(FINALIZE, "other")),
    (make_vote(NOTARIZE, "one"), make_vote(NOTARIZE, "other", view=8)),
    (make_vote(NOTARIZE, "one"), make_vote(NOTARIZE, "other", epoch=1)),
    (make_vote(NULLIFY), make_vote(FINALIZE, view=8)),
    (make_vote(NOTARIZE, "one"), make_vote(NOTARIZE, "other", signer=0)),
]


@pytest.mark.parametrize(("first", "second"), EXCLUSIVE)
def test_votes_that_exclude_each_other_are_recorded(ledger: Ledger, first: Vote, second: Vote) -> None:
    ledger.record(make_transaction(REPORTER, misbehaviour_report(first, second, SET)))
    recorded = find(ledger.tip.state, Misbehaviour, misbehaviour_key(0, CULPRIT))
    key = key_of(f"{CULPRIT} validator").public
    assert recorded == Misbehaviour(0, CULPRIT, key, first, second, None, 1, START_MS + 1_000)
    for vote in (recorded.first, recorded.second):
        vote.verify(CHAIN_ID, SET)


@pytest.mark.parametrize(("first", "second"), COMPATIBLE)
def test_what_an_honest_validator_may_sign_is_no_misbehaviour(
    ledger: Ledger, first: Vote, second: Vote
) -> None:
    if second.signer == SIGNER:
        assert ledger.refusal(make_transaction(REPORTER, reporting(first, second))).code == "no-misbehaviour"
    else:
        assert ledger.refusal(make_transaction(REPORTER, reporting(first, second))).code == "signature"


def test_exclusion_is_the_same_from_both_sides() -> None:
    kinds = (NOTARIZE, NULLIFY, FINALIZE)
    votes = [make_vote(kind, block, view=view) for kind, block, view in product(kinds, "ab", (1, 2))]
    for first, second in combinations(votes, 2):
        assert exclude_each_other(first, second) == exclude_each_other(second, first)
    assert not any(exclude_each_other(vote, vote) for vote in votes)


def test_a_validator_is_recorded_once_for_an_epoch(ledger: Ledger) -> None:
    ledger.record(make_transaction(REPORTER, reporting(*PAIR)))
    for again in (
        reporting(*PAIR),
        reporting(*reversed(PAIR)),
        reporting(make_vote(NULLIFY, view=9), make_vote(FINALIZE, view=9)),
    ):
        for reporter in (REPORTER, "sz-operator"):
            assert ledger.refusal(soon(ledger, reporter, again)).code == "already-recorded"


def test_every_record_is_reached_from_the_latest(ledger: Ledger) -> None:
    ledger.record(make_transaction(REPORTER, reporting(*PAIR)))
    first, second = (make_vote(NOTARIZE, block, signer=0) for block in ("one", "other"))
    ledger.record(make_transaction(REPORTER, misbehaviour_report(first, second, SET)))
    latest = find(ledger.tip.state, LatestMisbehaviour, LATEST_MISBEHAVIOUR_KEY)
    assert latest is not None and latest.latest == MisbehaviourPlace(0, VALIDATORS[0])
    record = find(ledger.tip.state, Misbehaviour, misbehaviour_key(0, VALIDATORS[0]))
    assert record is not None and record.previous == MisbehaviourPlace(0, CULPRIT)


@pytest.mark.parametrize("sender", ["hk-bank", "auditor", "mainland-bureau"])
def test_only_a_validator_reports(ledger: Ledger, sender: str) -> None:
    assert ledger.refusal(make_transaction(sender, reporting(*PAIR))).code == "not-validator"


def test_a_suspended_validator_reports_nothing(ledger: Ledger) -> None:
    suspend(ledger, REPORTER)
    assert ledger.refusal(make_transaction(REPORTER, reporting(*PAIR))).code == "suspended"


def test_nobody_can_be_accused_with_signatures_that_are_not_its_own(ledger: Ledger) -> None:
    forged = make_vote(NOTARIZE, "other", key=key_of("forger"))
    own_key = replace(reporting(PAIR[0], forged), key=key_of("forger").public)
    both = [make_vote(NOTARIZE, block, key=key_of("forger")) for block in ("one", "other")]
    foreign = make_vote(NOTARIZE, "other", chain_id=hash_of("another chain"))
    moved = replace(PAIR[1], signer=0)
    for operation, code in (
        (reporting(PAIR[0], forged), "signature"),
        (own_key, "signature"),
        (replace(reporting(*both), key=key_of("forger").public), "unknown-validator"),
        (reporting(PAIR[0], foreign), "signature"),
        (reporting(PAIR[0], moved), "no-misbehaviour"),
        (reporting(*(replace(vote, signer=0) for vote in PAIR)), "unknown-validator"),
        (reporting(*(replace(vote, signer=9) for vote in PAIR)), "unknown-validator"),
    ):
        assert ledger.refusal(make_transaction(REPORTER, operation)).code == code


def test_the_epoch_before_can_be_reported_and_none_older(ledger: Ledger) -> None:
    register_validator(ledger, "hk-bank")
    enact(ledger, changing(("hk-bank", *VALIDATORS[1:])))
    ledger.record()
    assert require_validators(ledger.tip.state).epoch == 1
    # Of the set of epoch 0, in which the indices were others.
    first, second = (make_vote(NOTARIZE, block, signer=0) for block in ("one", "other"))
    former = misbehaviour_report(first, second, SET)
    ledger.record(soon(ledger, REPORTER, former))
    assert find(ledger.tip.state, Misbehaviour, misbehaviour_key(0, VALIDATORS[0])) is not None
    assert ledger.refusal(soon(ledger, VALIDATORS[0], reporting(*PAIR))).code == "not-validator"
    later = reporting(*(make_vote(NOTARIZE, block, epoch=2) for block in ("one", "other")))
    assert ledger.refusal(soon(ledger, REPORTER, later)).code == "unknown-epoch"
    current = reporting(*(make_vote(NOTARIZE, block, epoch=1) for block in ("one", "other")))
    ledger.record(soon(ledger, REPORTER, current))
    enact(ledger, changing(VALIDATORS, ("hk-bank", *VALIDATORS[1:])))
    ledger.record()
    assert ledger.refusal(soon(ledger, REPORTER, reporting(*PAIR))).code == "unknown-epoch"


def test_an_epoch_that_has_not_begun_cannot_be_reported(ledger: Ledger) -> None:
    later = reporting(*(make_vote(NOTARIZE, block, epoch=1) for block in ("one", "other")))
    assert ledger.refusal(make_transaction(REPORTER, later)).code == "unknown-epoch"


def test_a_report_counts_its_two_signatures(ledger: Ledger) -> None:
    assert make_transaction(REPORTER, reporting(*PAIR)).signature_count == 3


def test_a_report_is_one_record_in_json(ledger: Ledger) -> None:
    operation = reporting(*PAIR)
    assert from_json(ReportMisbehaviour, to_json(operation)) == operation


def test_the_audit_names_the_culprit_alone(ledger: Ledger) -> None:
    executed = ledger.record(make_transaction(REPORTER, reporting(*PAIR)))
    audit = Audit(make_genesis())
    assert audit.replay(executed.block, certify(executed))
    report = audit.finish()
    assert report.is_clean
    assert report.misbehaviour == [MisbehaviourFound(CULPRIT, 0, 7, 1)]
