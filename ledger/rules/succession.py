"""Succession: which validator set may follow the current one (docs/governance.md, Validators).

Rule 1: there is one pending set at a time; what would make a second does not apply.
Rule 2: every member of a set that governors chose is active and has a validator key registered; a set has at
least four.
Rule 3: at most f seats change hands, f being what the current set tolerates: a seat is a member that leaves with
the member that takes its place, either alone, or a validator whose key changes.
A rotation is such a change too, of the member's own seat, whoever else is suspended.
Rule 4: the validators that stay as they are form a quorum of the next set, so that it decides without the others.
"""

from collections.abc import Sequence
from dataclasses import replace

from ledger.encoding.keys import PublicKey
from ledger.rules.certificates import CertificateError, Validator, ValidatorSet
from ledger.rules.proposals import VALIDATORS_MIN
from ledger.rules.standing import Refused, require_active
from ledger.rules.state import (
    Changes,
    FormerValidators,
    Node,
    StateView,
    Validators,
    find,
    node_key,
    require_validators,
)


def change_validators(members: Sequence[str], changes: Changes) -> None:
    """Make the registered validators of these members the pending set. Raises Refused."""
    pend(tuple(_require_validator(changes, member) for member in members), changes)


def replace_key(member: str, key: PublicKey, changes: Changes) -> None:
    """Make a set pending in which a member that validates votes with another key. Raises Refused.

    One that does not validate changes its key freely, but not while a set is pending.
    """
    validators = require_validators(changes)
    if validators.pending is not None:
        raise _pending(validators)
    if validators.current.index_of(member) is None:
        return
    pend(
        tuple(
            replace(validator, key=key) if validator.member == member else validator
            for validator in validators.current.validators
        ),
        changes,
    )


def pend(chosen: Sequence[Validator], changes: Changes) -> None:
    """Make validators, in order of member id, the pending set. Raises Refused."""
    validators = require_validators(changes)
    if validators.pending is not None:
        raise _pending(validators)
    if len(chosen) < VALIDATORS_MIN:
        raise Refused(
            code="too-few-validators",
            where="validators",
            expected=f"at least {VALIDATORS_MIN}",
            found=f"{len(chosen)}",
        )
    try:
        pending = ValidatorSet(tuple(chosen))
    except CertificateError as error:
        raise Refused(
            code="validators", where=error.where, expected=error.expected, found=error.found
        ) from error
    check_succession(validators.current, pending)
    changes.put(Validators(validators.epoch, validators.current, pending))
    # The epoch ends with the next block, and its misbehaviour may come to light after it.
    changes.put(FormerValidators(validators.epoch, validators.current))


def check_succession(current: ValidatorSet, pending: ValidatorSet) -> None:
    """Check that a set may follow another. Raises Refused."""
    before = {validator.member: validator.key for validator in current.validators}
    after = {validator.member: validator.key for validator in pending.validators}
    kept = before.keys() & after.keys()
    rekeyed = sum(before[member] != after[member] for member in kept)
    moved = max(len(before) - len(kept), len(after) - len(kept))
    if moved + rekeyed == 0:
        raise Refused(code="unchanged", where="validators", expected="a change", found="the current set")
    if moved + rekeyed > current.faulty_max:
        expected = f"at most {current.faulty_max} changed seats of {len(current)}"
        raise Refused(
            code="too-many-changes", where="validators", expected=expected, found=f"{moved + rekeyed}"
        )
    unchanged = len(kept) - rekeyed
    if unchanged < pending.quorum:
        expected = f"at least {pending.quorum} of {len(pending)} that stay as they are"
        raise Refused(code="quorum-lost", where="validators", expected=expected, found=f"{unchanged}")


def _pending(validators: Validators) -> Refused:
    return Refused(
        code="pending-set",
        where="validators",
        expected="no pending set",
        found=f"one in epoch {validators.epoch}",
    )


def _require_validator(state: StateView, member_id: str) -> Validator:
    member = require_active(state, member_id, None)
    node = find(state, Node, node_key(member.id))
    if node is None or node.validator_key is None:
        raise Refused(
            code="no-validator-key",
            where=f"member {member.id}",
            expected="a registered validator key",
            found="none",
        )
    return Validator(member.id, node.validator_key)
