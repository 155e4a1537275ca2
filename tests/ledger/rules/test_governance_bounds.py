"""Governance at its limits: the largest records fit the state, the least parameters still let governors act."""

import pytest

from ledger.encoding.keys import PublicKey
from ledger.encoding.records import pack
from ledger.rules.certificates import FINALIZE, Subject, Vote
from ledger.rules.operations import CastVote, Propose
from ledger.rules.proposals import (
    BALLOTS_MAX,
    GOVERNORS_MAX,
    AddMember,
    Ballot,
    Change,
    ChangeValidators,
    Decision,
    Governance,
    NodeRegistration,
    Possession,
    Proposal,
    SetParameters,
)
from ledger.rules.state import (
    LEAF_SIZE_MAX,
    MEMBERS_MAX,
    Members,
    Misbehaviour,
    MisbehaviourPlace,
    Parameters,
    require_parameters,
)
from ledger.rules.tlscertificates import TlsCertificate
from tests.support.consortium import PARAMETERS, Ledger, make_transaction
from tests.support.governors import enact, proposing

LATEST = 2**53 - 1
KEY = PublicKey(1, bytes([255]) * 32)
LEAST = Parameters(1_024, 1, 1, 1_000, 1_000, 1, 0)
CERTIFICATE = TlsCertificate(bytes([255]) * 20, bytes(16), bytes([255]) * 64, bytes([255]) * 64)


def ids(count: int) -> tuple[str, ...]:
    return tuple(f"{number:03}".rjust(32, "m") for number in range(count))


MANY = ChangeValidators(ids(64), ids(64))
NAME = "名" * 66 + "aa"
LARGEST_MEMBER = AddMember(
    "m" * 32,
    NAME,
    NAME,
    NAME,
    "HK",
    ("auditor", "governor", "issuer", "recipient"),
    KEY,
    bytes(32),
    NodeRegistration("validator", KEY, bytes(32), CERTIFICATE),
    Possession("n" * 32, "development", bytes(64), bytes(64)),
)


@pytest.mark.parametrize("change", [MANY, LARGEST_MEMBER])
def test_the_largest_proposal_fits_a_leaf(change: Change) -> None:
    ballots = tuple(Ballot(member, "yes", LATEST) for member in ids(BALLOTS_MAX))
    decision = Decision("rejected", LATEST, LATEST)
    largest = Proposal(
        bytes(32),
        2**64 - 1,
        bytes(32),
        "m" * 32,
        change,
        2**64 - 1,
        LATEST,
        LATEST,
        LATEST,
        ballots,
        decision,
    )
    assert len(pack(largest)) <= LEAF_SIZE_MAX


def test_the_other_largest_leaves_fit() -> None:
    subject = Subject(FINALIZE, LATEST, LATEST, LATEST, bytes(32))
    one = Vote(subject, 63, bytes(64))
    for leaf in (
        Members(ids(MEMBERS_MAX)),
        Governance(ids(GOVERNORS_MAX), 2**64 - 1, bytes(32)),
        Misbehaviour(LATEST, "m" * 32, KEY, one, one, MisbehaviourPlace(LATEST, "m" * 32), LATEST, LATEST),
    ):
        assert len(pack(leaf)) <= LEAF_SIZE_MAX


def test_the_least_parameters_still_hold_what_raises_them() -> None:
    raising = Propose(
        SetParameters(
            LEAST, Parameters(2**22, 100_000, 100_000, 604_800_000, 316_224_000_000, 65_535, LATEST)
        ),
        None,
        LATEST,
    )
    sent = [
        make_transaction("mainland-bank", operation, valid_until_ms=LATEST)
        for operation in (raising, CastVote(bytes(32), "yes"))
    ]
    assert all(len(transaction.encoded) <= LEAST.block_size_max for transaction in sent)
    assert all(transaction.signature_count == 1 for transaction in sent)


def test_a_chain_at_the_least_parameters_is_raised_again() -> None:
    ledger = Ledger.start()
    enact(ledger, SetParameters(PARAMETERS, LEAST))
    # Within the shortest horizon, a transaction is valid for a second.
    operation, identity = proposing(SetParameters(LEAST, Parameters(4_096, 10, 10, 60_000, 60_000, 1, 0)))
    send_soon(ledger, "hk-operator", operation)
    for governor in ("hk-operator", "mainland-bank", "sz-operator"):
        send_soon(ledger, governor, CastVote(identity, "yes"))
    assert require_parameters(ledger.tip.state).block_size_max == 4_096


def send_soon(ledger: Ledger, sender: str, operation: Propose | CastVote) -> None:
    now_ms = ledger.tip.header.time_ms + 1
    ledger.record(make_transaction(sender, operation, valid_until_ms=now_ms + 1_000), now_ms=now_ms)
