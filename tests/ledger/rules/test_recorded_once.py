"""Recorded once, for ever: whatever governors undo, what was recorded is refused when it comes again.

Each operation is recorded; governors undo what they can; then the same bytes come again, in the same transaction, in a
fresh one, and by whoever else may send them. Each is refused because it was recorded, and changes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from ledger.encoding.keys import PrivateKey
from ledger.errors import LedgerError
from ledger.rules.operations import (
    OPERATION_CLASSES,
    CastVote,
    Operation,
    ReportMisbehaviour,
    RevokeAnchor,
    RevokeDocument,
    SuspendSelf,
    next_key_commitment,
)
from ledger.rules.proposals import (
    AddSchema,
    Change,
    ChangeRoles,
    NodeRegistration,
    ReinstateMember,
    SetMemberKeys,
    SetNode,
    SuspendMember,
)
from ledger.rules.state import Node, find, node_key, require_validators
from tests.ledger.rules.test_registration import CERTIFICATE, registration
from tests.ledger.rules.test_rotations import certificate_of, rotating, rotating_tls
from tests.support.consortium import (
    Ledger,
    hash_of,
    key_of,
    make_anchor,
    make_closing,
    make_grant,
    make_record,
    make_rotation,
    make_transaction,
    make_withdrawal,
    member_key_of,
)
from tests.support.governors import UNSHOWN, enact, member_of, propose, proposing, soon, vote
from tests.vectors.make_records import make_report

ISSUER, RECIPIENT, RELAY, OTHER_RELAY = "hk-bureau", "mainland-bank", "sz-operator", "hk-bureau"

# What refuses an operation because it was recorded: that says so itself; a holder's, that changes nothing; a rotation
# before the latest; and a report whose epoch is past. No other code will do: each of these lasts.
RECORDED_CODES = {"already-recorded", "no-change", "wrong-sequence", "unknown-epoch"}


@dataclass(frozen=True, slots=True)
class Scene:
    """An operation that the ledger can record now, and who else may send the very same one."""

    sender: str
    operation: Operation
    others: tuple[str, ...] = ()


def anchoring(ledger: Ledger) -> Scene:
    return Scene(ISSUER, make_anchor())


def revoking_a_document(ledger: Ledger) -> Scene:
    return Scene(ISSUER, RevokeDocument(hash_of("document"), "error"))


def revoking_an_anchor(ledger: Ledger) -> Scene:
    ledger.record(make_transaction(ISSUER, make_anchor()))
    return Scene(ISSUER, RevokeAnchor(make_anchor().root, "fraud"))


def granting(ledger: Ledger) -> Scene:
    return Scene(RELAY, make_grant(), (OTHER_RELAY, RECIPIENT))


def withdrawing(ledger: Ledger) -> Scene:
    ledger.record(make_transaction(RELAY, make_grant()))
    return Scene(RELAY, make_withdrawal(make_grant()), (OTHER_RELAY, RECIPIENT))


def withdrawing_first(ledger: Ledger) -> Scene:
    return Scene(RELAY, make_withdrawal(make_grant()), (OTHER_RELAY, RECIPIENT))


def closing(ledger: Ledger) -> Scene:
    ledger.record(make_transaction(RELAY, make_grant()))
    return Scene(RECIPIENT, make_closing(make_grant()))


def recording(ledger: Ledger) -> Scene:
    ledger.record(make_transaction(RELAY, make_grant()))
    return Scene(RECIPIENT, make_record(make_grant(), 0))


def rotating_a_member_key(ledger: Ledger) -> Scene:
    return Scene("auditor", make_rotation("auditor"))


def rotating_a_validator_key(ledger: Ledger) -> Scene:
    return Scene(RELAY, rotating(RELAY))


def rotating_a_certificate(ledger: Ledger) -> Scene:
    return Scene(RELAY, rotating_tls(RELAY))


def suspending_itself(ledger: Ledger) -> Scene:
    return Scene("hk-bank", SuspendSelf(0, 1))


def proposing_a_schema(ledger: Ledger) -> Scene:
    return Scene(RELAY, proposing(AddSchema("hk.tax-statement", 0, None), by=RELAY)[0])


def voting(ledger: Ledger) -> Scene:
    return Scene(RELAY, CastVote(propose(ledger, AddSchema("hk.tax-statement", 0, None)), "yes"))


def reporting(ledger: Ledger) -> Scene:
    return Scene(RELAY, make_report(), (RECIPIENT,))


SCENES: tuple[Callable[[Ledger], Scene], ...] = (
    anchoring,
    revoking_a_document,
    revoking_an_anchor,
    granting,
    withdrawing,
    withdrawing_first,
    closing,
    recording,
    rotating_a_member_key,
    rotating_a_validator_key,
    rotating_a_certificate,
    suspending_itself,
    proposing_a_schema,
    voting,
    reporting,
)


# What governors can do to a member, and undo.


def decide(ledger: Ledger, change: Change) -> None:
    """Have governors decide a change of a member, and begin the next epoch where it ends this one."""
    enact(ledger, change, member_of(ledger, change.member).version)  # type: ignore[union-attr]
    settle(ledger)


def settle(ledger: Ledger) -> None:
    if require_validators(ledger.tip.state).pending is not None:
        ledger.record()


def nothing(ledger: Ledger, member: str) -> None:
    pass


def suspending(ledger: Ledger, member: str) -> None:
    if not member_of(ledger, member).is_suspended:
        decide(ledger, SuspendMember(member, 0))


def taking_roles(ledger: Ledger, member: str) -> None:
    roles = member_of(ledger, member).roles
    decide(ledger, ChangeRoles(member, ("auditor", "issuer")))
    decide(ledger, ChangeRoles(member, roles))


def setting_keys(ledger: Ledger, member: str) -> None:
    """Set other keys, and then those that stood there before."""
    before = member_of(ledger, member)
    other = key_of(f"{member} member replaced").public
    decide(ledger, SetMemberKeys(member, other, next_key_commitment(other), UNSHOWN))
    decide(ledger, SetMemberKeys(member, before.key, before.next_key, UNSHOWN))


def setting_node(ledger: Ledger, member: str) -> None:
    """Register other keys and another certificate for a node, and then those that stood there before."""
    before = find(ledger.tip.state, Node, node_key(member))
    if before is None or before.validator_key is None:
        return
    rotated = certificate_of(1)
    certificate = rotated if before.tls_certificate == rotated.der(member) else CERTIFICATE
    other = replace(registration(member, "replaced"), certificate=certificate_of(9))
    decide(ledger, SetNode(member, other, UNSHOWN))
    again = NodeRegistration("validator", before.validator_key, before.next_validator_key, certificate)
    decide(ledger, SetNode(member, again, UNSHOWN))


def deciding(ledger: Ledger, member: str) -> None:
    """Decide each proposal that is open: it can be voted on no longer."""
    identity = proposing(AddSchema("hk.tax-statement", 0, None), by=member)[1]
    for governor in ("hk-bureau", "hk-operator", "mainland-bank"):
        for proposal in (identity, proposing(AddSchema("hk.tax-statement", 0, None))[1]):
            _, refused = ledger.build(soon(ledger, governor, CastVote(proposal, "no")))
            if not refused:
                vote(ledger, proposal, governor, choice="no")


UNDOINGS: tuple[Callable[[Ledger, str], None], ...] = (
    nothing,
    suspending,
    taking_roles,
    setting_keys,
    setting_node,
    deciding,
)


def restore(ledger: Ledger, member: str) -> None:
    """Reinstate a member that is suspended, whoever suspended it."""
    if member_of(ledger, member).is_suspended:
        decide(ledger, ReinstateMember(member))


def key_now(ledger: Ledger, member: str) -> PrivateKey:
    """Return the key that a member signs with now."""
    current = member_of(ledger, member).key
    keys = (member_key_of(member, sequence) for sequence in range(3))
    return next(key for key in keys if key.public == current)


def fresh_refusal(ledger: Ledger, sender: str, *operations: Operation) -> LedgerError:
    """Return why a fresh transaction is refused, having checked that refusing it changed nothing."""
    until = ledger.tip.header.time_ms + 90_000
    key = key_now(ledger, sender)
    return ledger.refusal(make_transaction(sender, *operations, valid_until_ms=until, key=key))


def check_recorded_once(build: Callable[[Ledger], Scene], undo: Callable[[Ledger, str], None]) -> None:
    """Record a scene's operation, undo what can be undone, and check that it is not recorded again."""
    ledger = Ledger.start()
    scene = build(ledger)
    transaction = make_transaction(scene.sender, scene.operation)
    ledger.record(transaction)
    settle(ledger)
    for member in (scene.sender, *scene.others):
        undo(ledger, member)
        restore(ledger, member)
    ledger.refusal(transaction)
    assert fresh_refusal(ledger, scene.sender, scene.operation).code in RECORDED_CODES
    for other in scene.others:
        assert fresh_refusal(ledger, other, scene.operation).code in RECORDED_CODES


@pytest.mark.parametrize("undo", UNDOINGS)
@pytest.mark.parametrize("scene", SCENES)
def test_what_was_recorded_is_not_recorded_again_whatever_governors_undo(
    scene: Callable[[Ledger], Scene], undo: Callable[[Ledger, str], None]
) -> None:
    check_recorded_once(scene, undo)


def test_every_operation_has_a_scene() -> None:
    assert {type(scene(Ledger.start()).operation) for scene in SCENES} == set(OPERATION_CLASSES)


@pytest.mark.parametrize("scene", SCENES)
def test_what_stands_twice_in_a_transaction_changes_no_more_than_once(
    scene: Callable[[Ledger], Scene],
) -> None:
    once, twice = Ledger.start(), Ledger.start()
    shown = scene(once)
    scene(twice)
    once.record(make_transaction(shown.sender, shown.operation))
    executed, refused = twice.build(make_transaction(shown.sender, shown.operation, shown.operation))
    if refused:
        assert refused[0][1].code in RECORDED_CODES
    else:
        assert executed.block.header.state_root == once.tip.header.state_root


def test_the_check_notices_an_operation_that_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that forgets what it recorded is caught: the rule would not hold of nothing."""
    monkeypatch.setattr("ledger.rules.misbehaviour.find", lambda *_: None)
    with pytest.raises(AssertionError, match="the transaction applies"):
        check_recorded_once(reporting, nothing)
    assert isinstance(reporting(Ledger.start()).operation, ReportMisbehaviour)
