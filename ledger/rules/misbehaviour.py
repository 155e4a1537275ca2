"""Misbehaviour: two votes of one validator that exclude each other, on record (docs/governance.md, Misbehaviour).

Rule 1: two notarizes or two finalizes of different subjects, or a nullify and a finalize, in one view of one epoch
exclude each other. No validator that keeps its promises signs both, so two signatures are all the proof.
Rule 2: they are judged by the set of their epoch: the current one or the one before.
Rule 3: each validator is recorded once for an epoch; a second report is already recorded, whatever it shows.
Rule 4: nobody but the one whose signatures stand there is named.
"""

from ledger.rules.certificates import FINALIZE, NULLIFY, ValidatorSet, Vote
from ledger.rules.operations import ReportMisbehaviour
from ledger.rules.standing import BlockContext, Refused, already_recorded, require_active
from ledger.rules.state import (
    FORMER_VALIDATORS_KEY,
    LATEST_MISBEHAVIOUR_KEY,
    Changes,
    FormerValidators,
    LatestMisbehaviour,
    Misbehaviour,
    MisbehaviourPlace,
    StateView,
    find,
    misbehaviour_key,
    require_validators,
)


def exclude_each_other(first: Vote, second: Vote) -> bool:
    """Say whether no honest validator signs both of these votes."""
    one, other = first.subject, second.subject
    if (first.signer, one.epoch, one.view) != (second.signer, other.epoch, other.view):
        return False
    if one.kind == other.kind:
        return one != other
    return {one.kind, other.kind} == {NULLIFY, FINALIZE}


def misbehaviour_report(first: Vote, second: Vote, validators: ValidatorSet) -> ReportMisbehaviour:
    """Return the operation that reports two votes of a validator of this set, which exclude each other."""
    assert exclude_each_other(first, second), "evidence is two votes that exclude each other"
    return ReportMisbehaviour(validators.validators[first.signer].key, first, second)


def apply_report(operation: ReportMisbehaviour, sender: str, changes: Changes, context: BlockContext) -> None:
    """Record misbehaviour. Both signatures were verified under the operation's key. Raises Refused."""
    require_active(changes, sender, None)
    if require_validators(changes).current.index_of(sender) is None:
        raise Refused(
            code="not-validator", where="sender", expected="a validator of this epoch", found=sender
        )
    first, second = operation.first, operation.second
    if not exclude_each_other(first, second):
        expected = "two votes of one validator in one view that exclude each other"
        raise Refused(
            code="no-misbehaviour",
            where="votes",
            expected=expected,
            found=f"{first.subject.kind} and {second.subject.kind}",
        )
    epoch = first.subject.epoch
    validators = find_validators(changes, epoch)
    if validators is None:
        expected = f"epoch {require_validators(changes).epoch} or the one before"
        raise Refused(code="unknown-epoch", where="votes", expected=expected, found=f"epoch {epoch}")
    if first.signer >= len(validators) or validators.validators[first.signer].key != operation.key:
        expected = f"the key of validator {first.signer} of epoch {epoch}"
        raise Refused(code="unknown-validator", where="votes", expected=expected, found=f"{operation.key}")
    member = validators.validators[first.signer].member
    recorded = find(changes, Misbehaviour, misbehaviour_key(epoch, member))
    if recorded is not None:
        raise already_recorded("misbehaviour", recorded.height)
    before = find(changes, LatestMisbehaviour, LATEST_MISBEHAVIOUR_KEY)
    changes.put(
        Misbehaviour(
            epoch=epoch,
            member=member,
            key=operation.key,
            first=first,
            second=second,
            previous=None if before is None else before.latest,
            height=context.height,
            time_ms=context.time_ms,
        )
    )
    changes.put(LatestMisbehaviour(MisbehaviourPlace(epoch, member)))


def find_validators(state: StateView, epoch: int) -> ValidatorSet | None:
    """Return the set of an epoch whose misbehaviour can be reported, or None."""
    validators = require_validators(state)
    if epoch == validators.epoch:
        return validators.current
    former = find(state, FormerValidators, FORMER_VALIDATORS_KEY)
    return former.validators if former is not None and epoch == former.epoch else None
