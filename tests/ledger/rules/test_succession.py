"""Succession: which validator set may follow another, and how governors choose one."""

from dataclasses import replace
from itertools import product

import pytest

from ledger.encoding.records import pack
from ledger.errors import EncodingError
from ledger.rules.certificates import Validator, ValidatorSet
from ledger.rules.operations import CastVote
from ledger.rules.standing import Refused
from ledger.rules.state import Node, Validators, find, node_key, require_validators
from ledger.rules.succession import check_succession
from tests.support.consortium import VALIDATORS, Ledger, key_of
from tests.support.governors import (
    GOVERNORS,
    changing,
    enact,
    propose,
    put,
    refusal,
    register_validator,
    soon,
    status_of,
    suspend,
    vote,
    vote_refusal,
)

OPERATOR, BANK, RELAY = GOVERNORS[1:]
REPLACED = changing(("hk-bank", "hk-operator", "mainland-bank", "sz-operator"))


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger.start()
    register_validator(ledger, "hk-bank")
    return ledger


def make_set(*names: str) -> ValidatorSet:
    """Return a set of validators named `member` or `member:key`."""
    members = [name.partition(":") for name in sorted(names)]
    return ValidatorSet(tuple(Validator(m, key_of(f"{m} {key or 0} votes").public) for m, _, key in members))


def test_a_change_that_passes_leaves_the_pending_set(ledger: Ledger) -> None:
    before = require_validators(ledger.tip.state)
    enact(ledger, REPLACED)
    after = require_validators(ledger.tip.state)
    assert after == Validators(
        0,
        before.current,
        ValidatorSet(tuple(Validator(m, key_of(f"{m} validator").public) for m in REPLACED.members)),
    )
    assert not ledger.tip.header.is_seal, "the next block is the seal"
    ledger.record()
    assert ledger.tip.header.is_seal
    assert require_validators(ledger.tip.state) == Validators(1, after.pending, None)


def test_a_second_change_does_not_apply_while_one_is_pending(ledger: Ledger) -> None:
    register_validator(ledger, "auditor")
    first = propose(ledger, REPLACED)
    second = propose(ledger, changing(("auditor", *REPLACED.members[1:])))
    for proposal in (first, second):
        vote(ledger, proposal, OPERATOR, BANK)
    deciding = [soon(ledger, RELAY, CastVote(proposal, "yes")) for proposal in (first, second)]
    executed, refused = ledger.build(*deciding)
    assert [error.code for _, error in refused] == ["pending-set"]
    ledger.tip = executed.tip()
    ledger.record()
    # The seal is made: the second expects validators that are no more.
    assert (status_of(ledger, first), status_of(ledger, second)) == ("passed", "open")
    assert vote_refusal(ledger, second, RELAY).code == "stale-version"


def test_a_change_expects_the_members_that_validate(ledger: Ledger) -> None:
    assert refusal(ledger, REPLACED, 0) == "stale-version"
    assert refusal(ledger, replace(REPLACED, current=REPLACED.members)) == "stale-version"


@pytest.mark.parametrize(
    ("members", "code"),
    [
        (VALIDATORS, "unchanged"),
        (("auditor", *VALIDATORS[1:]), "no-validator-key"),
        (("nobody", *VALIDATORS[1:]), "encoding"),
        (tuple(sorted(("nobody", *VALIDATORS[1:]))), "unregistered"),
        (VALIDATORS[:3], "encoding"),
        (tuple(sorted((*VALIDATORS, "hk-bank"))), None),
        (tuple(sorted((*VALIDATORS, "hk-bank", "mainland-bureau"))), "too-many-changes"),
        (tuple(sorted((*VALIDATORS[2:], "hk-bank", "mainland-bureau"))), "too-many-changes"),
    ],
)
def test_a_set_of_validators_that_cannot_follow_is_refused(
    ledger: Ledger, members: tuple[str, ...], code: str | None
) -> None:
    register_validator(ledger, "mainland-bureau")
    try:
        change = changing(members)
        pack(change)
    except EncodingError as error:
        assert error.code == code
        return
    if code is None:
        propose(ledger, change)
    else:
        assert refusal(ledger, change) == code


def test_a_suspended_member_is_in_no_set_that_governors_choose(ledger: Ledger) -> None:
    suspend(ledger, "hk-bank")
    assert refusal(ledger, REPLACED) == "suspended"
    # One that validates stays until a change leaves it out.
    suspend(ledger, "hk-bureau")
    register_validator(ledger, "auditor")
    five = changing(tuple(sorted((*VALIDATORS, "auditor"))))
    assert refusal(ledger, five) == "suspended"
    assert require_validators(ledger.tip.state).current.index_of("hk-bureau") is not None
    enact(ledger, changing(("auditor", *VALIDATORS[1:])))


def test_two_validators_never_share_a_key(ledger: Ledger) -> None:
    node = find(ledger.tip.state, Node, node_key("hk-bank"))
    assert node is not None
    put(ledger, replace(node, validator_key=key_of("sz-operator validator").public))
    assert refusal(ledger, REPLACED) == "validators"


SETS = [
    # What may follow four: one seat changes hands, is added, or gets another key.
    ("abcd", "abce", None),
    ("abcd", "abcde", None),
    ("abcd", "abcd1", None),
    ("abcd", "abcdef", "too-many-changes"),
    ("abcd", "abef", "too-many-changes"),
    ("abcd", "abc1e", "too-many-changes"),
    ("abcd", "abc1d1", "too-many-changes"),
    ("abcd", "abcd", "unchanged"),
    ("abcde", "abcd", None),
    ("abcdefg", "abcde", None),
    ("abcdefg", "abcdehi", None),
    ("abcdefg", "abcdefghi", None),
    ("abcdefg", "abcdef1h", None),
    ("abcdefg", "abcd", "too-many-changes"),
    ("abcdefg", "abcdhij", "too-many-changes"),
]


def parse(text: str) -> ValidatorSet:
    names: list[str] = []
    for character in text:
        if character.isdigit():
            names[-1] += f":{character}"
        else:
            names.append(character)
    return make_set(*names)


@pytest.mark.parametrize(("before", "after", "code"), SETS)
def test_which_sets_may_follow(before: str, after: str, code: str | None) -> None:
    if code is None:
        check_succession(parse(before), parse(after))
        return
    with pytest.raises(Refused) as refused:
        check_succession(parse(before), parse(after))
    assert refused.value.code == code


def test_whatever_may_follow_is_decided_by_the_validators_that_stay() -> None:
    """Walk every set size to thirteen: those who stay are always a quorum of both sets."""
    members = [chr(ord("a") + index) for index in range(26)]
    allowed = 0
    for count, removed, added, rekeyed in product(range(4, 14), range(5), range(5), range(5)):
        kept = count - removed
        if kept < rekeyed or kept + added < 4:
            continue
        before = make_set(*members[:count])
        after = make_set(
            *(f"{member}:1" for member in members[:rekeyed]),
            *members[rekeyed:kept],
            *members[count : count + added],
        )
        try:
            check_succession(before, after)
        except Refused:
            continue
        allowed += 1
        assert kept - rekeyed >= after.quorum and kept - rekeyed >= before.quorum
        assert max(removed, added) + rekeyed <= before.faulty_max
    assert allowed > 50
