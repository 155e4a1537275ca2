"""Governance: what governors may decide and when it takes effect (docs/governance.md).

Rule 1: a proposal passes when more than two thirds of the governors active when a yes executes have voted yes,
at least one of each side. A member that the change names is counted in neither.
Rule 2: votes are final. A proposal is rejected as soon as the governors active then can no longer pass it.
Rule 3: what passes takes effect in the same operation. Where it cannot, the vote is refused, with the reason,
and the proposal stays open: the same vote may be sent again.
Rule 4: a proposal is refused where its change would not take effect on the state that it meets.
Rule 5: no change leaves a side of the border without an active governor.
"""

from dataclasses import dataclass, replace
from typing import Final, assert_never

from ledger.operations import CastVote, Propose
from ledger.proposals import (
    BALLOTS_MAX,
    GOVERNORS_MAX,
    PASSED,
    REJECTED,
    YES,
    AddPurpose,
    AddSchema,
    Ballot,
    Change,
    ChangeNames,
    ChangeRoles,
    ChangeValidators,
    Decision,
    Proposal,
    ReinstateMember,
    SetMemberKeys,
    SetParameters,
    SuspendMember,
    named_member,
    proposal_key,
    require_governance,
)
from ledger.standing import BlockContext, Refused, already_recorded, require_active, require_member
from ledger.state import (
    GOVERNOR,
    HONG_KONG,
    MAINLAND,
    Changes,
    Member,
    Purpose,
    Schema,
    StateView,
    Suspension,
    find,
    purpose_key,
    require_parameters,
    require_validators,
    schema_key,
)
from ledger.succession import change_validators

PROPOSAL_DURATION_MAX_MS: Final = 90 * 86_400_000
SUSPENSIONS_MAX: Final = 64


def apply_propose(operation: Propose, sender: str, changes: Changes, context: BlockContext) -> None:
    """Record a proposal whose change would take effect as things stand. Raises Refused."""
    require_active(changes, sender, GOVERNOR)
    identity = operation.proposal_id(chain_id=context.chain_id, proposer=sender)
    recorded = find(changes, Proposal, proposal_key(identity))
    if recorded is not None:
        raise already_recorded("proposal", recorded.height)
    latest = context.time_ms + PROPOSAL_DURATION_MAX_MS
    if not context.time_ms < operation.expires_ms <= latest:
        expected = f"after the block's time {context.time_ms} and at most {latest}"
        raise Refused("proposal-period", "proposal expires_ms", expected, f"{operation.expires_ms}")
    _apply_change(operation.change, operation.expected_version, Changes(changes), context)
    governance = require_governance(changes)
    number = governance.proposals_count
    changes.put(
        Proposal(
            id=identity,
            number=number,
            previous=governance.latest_proposal,
            proposer=sender,
            change=operation.change,
            expected_version=operation.expected_version,
            expires_ms=operation.expires_ms,
            height=context.height,
            time_ms=context.time_ms,
            ballots=(),
            decision=None,
        )
    )
    changes.put(replace(governance, proposals_count=number + 1, latest_proposal=identity))


def apply_vote(operation: CastVote, sender: str, changes: Changes, context: BlockContext) -> None:
    """Count a vote, and do what its proposal asks where that passes it. Raises Refused."""
    require_active(changes, sender, GOVERNOR)
    proposal = find(changes, Proposal, proposal_key(operation.proposal))
    if proposal is None:
        raise Refused("unknown-proposal", "vote", "a recorded proposal", operation.proposal.hex())
    _check_may_vote(operation, sender, proposal, context)
    voted = replace(proposal, ballots=(*proposal.ballots, Ballot(sender, operation.choice, context.height)))
    tally = count_votes(voted, changes)
    if operation.choice == YES and tally.passes:
        _apply_change(proposal.change, proposal.expected_version, changes, context)
        voted = replace(voted, decision=Decision(PASSED, context.height, context.time_ms))
    elif operation.choice != YES and not tally.may_pass:
        voted = replace(voted, decision=Decision(REJECTED, context.height, context.time_ms))
    changes.put(voted)


def _check_may_vote(operation: CastVote, sender: str, proposal: Proposal, context: BlockContext) -> None:
    ballot = proposal.find_ballot(sender)
    if ballot is not None and ballot.choice == operation.choice:
        raise already_recorded("vote", ballot.height)
    if ballot is not None:
        raise Refused("vote-is-final", "vote", f"the {ballot.choice} of height {ballot.height}", "another")
    if proposal.decision is not None:
        found = f"{proposal.decision.status} at height {proposal.decision.height}"
        raise Refused("proposal-decided", "proposal", "one that is open", found)
    if context.time_ms > proposal.expires_ms:
        found = f"one that expired at {proposal.expires_ms}"
        raise Refused("expired", "proposal", f"one open at the block's time {context.time_ms}", found)
    if named_member(proposal.change) == sender:
        raise Refused("named-member", "vote", "a governor that the proposal is not about", sender)
    if len(proposal.ballots) == BALLOTS_MAX:
        raise Refused("too-many-votes", "proposal", f"at most {BALLOTS_MAX} votes", "one more")


@dataclass(frozen=True, slots=True)
class Tally:
    """The votes of the governors who are active now, without the one that the change names."""

    governors: dict[str, str]
    yes: frozenset[str]
    no: frozenset[str]

    @property
    def passes(self) -> bool:
        """Say whether more than two thirds, and at least one of each side, said yes."""
        return self._would_pass(self.yes)

    @property
    def may_pass(self) -> bool:
        """Say whether it would pass if everybody who has not voted said yes."""
        return self._would_pass(self.governors.keys() - self.no)

    def _would_pass(self, supporters: frozenset[str] | set[str]) -> bool:
        sides = {self.governors[governor] for governor in supporters}
        return 3 * len(supporters) > 2 * len(self.governors) and sides == {MAINLAND, HONG_KONG}


def count_votes(proposal: Proposal, state: StateView) -> Tally:
    """Return the votes on a proposal that count in this state."""
    named = named_member(proposal.change)
    governors = {member.id: member.jurisdiction for member in _active_governors(state) if member.id != named}
    cast = {ballot.governor: ballot.choice for ballot in proposal.ballots if ballot.governor in governors}
    yes = frozenset(governor for governor, choice in cast.items() if choice == YES)
    return Tally(governors, yes, frozenset(cast) - yes)


def _active_governors(state: StateView) -> list[Member]:
    members = (require_member(state, governor) for governor in require_governance(state).governors)
    return [member for member in members if not member.is_suspended]


def _apply_change(change: Change, version: int | None, changes: Changes, context: BlockContext) -> None:
    match change:
        case SuspendMember() | ReinstateMember() | ChangeRoles() | ChangeNames() | SetMemberKeys():
            member = require_member(changes, change.member)
            _check_version(f"member {member.id}", member.version, version)
            changed = _changed_member(change, member, context)
            changes.put(replace(changed, version=member.version + 1))
            _list_governor(changed, changes)
            _check_sides(changes)
        case AddSchema():
            _check_new(find(changes, Schema, schema_key(change.code)), f"schema {change.code}", version)
            changes.put(Schema(change.code, change.bearer, 0))
        case AddPurpose():
            _check_new(find(changes, Purpose, purpose_key(change.code)), f"purpose {change.code}", version)
            changes.put(Purpose(change.code, 0))
        case SetParameters():
            _set_parameters(change, version, changes)
        case ChangeValidators():
            _check_version("validators", require_validators(changes).epoch, version)
            change_validators(change.members, changes)
        case _:
            assert_never(change)


def _changed_member(
    change: SuspendMember | ReinstateMember | ChangeRoles | ChangeNames | SetMemberKeys,
    member: Member,
    context: BlockContext,
) -> Member:
    match change:
        case SuspendMember():
            return replace(member, suspensions=_suspended(change, member, context))
        case ReinstateMember():
            return replace(member, suspensions=_reinstated(member, context))
        case ChangeRoles():
            changed = replace(member, roles=change.roles)
        case ChangeNames():
            changed = replace(
                member,
                name_zh_hans=change.name_zh_hans,
                name_zh_hant=change.name_zh_hant,
                name_en=change.name_en,
            )
        case SetMemberKeys():
            change.key.check_prime_order()
            return replace(
                member, key=change.key, next_key=change.next_key, key_sequence=member.key_sequence + 1
            )
        case _:
            assert_never(change)
    if changed == member:
        raise _unchanged(f"member {member.id}")
    return changed


def _suspended(change: SuspendMember, member: Member, context: BlockContext) -> tuple[Suspension, ...]:
    if change.distrust_from > context.height:
        expected = f"at most the current height {context.height}"
        raise Refused("distrust-ahead", "distrust_from", expected, f"{change.distrust_from}")
    if not member.is_suspended:
        return (*member.suspensions, Suspension(change.distrust_from, context.height, None))
    *earlier, last = member.suspensions
    if change.distrust_from >= last.distrust_from:
        expected = f"less than {last.distrust_from}, since a suspension can only be widened"
        raise Refused("not-wider", "distrust_from", expected, f"{change.distrust_from}")
    return (*earlier, replace(last, distrust_from=change.distrust_from))


def _reinstated(member: Member, context: BlockContext) -> tuple[Suspension, ...]:
    if not member.is_suspended:
        raise Refused("not-suspended", f"member {member.id}", "suspended", "active")
    if len(member.suspensions) == SUSPENSIONS_MAX:
        # One that could never be suspended again must not become active.
        expected = f"fewer than {SUSPENSIONS_MAX} suspensions"
        raise Refused("too-many-suspensions", f"member {member.id}", expected, f"{SUSPENSIONS_MAX}")
    *earlier, last = member.suspensions
    return (*earlier, replace(last, reinstated_at=context.height))


def _list_governor(member: Member, changes: Changes) -> None:
    """Keep the list of governors in step with a member's roles."""
    governance = require_governance(changes)
    others = set(governance.governors) - {member.id}
    governors = tuple(sorted(others | {member.id})) if GOVERNOR in member.roles else tuple(sorted(others))
    if len(governors) > GOVERNORS_MAX:
        raise Refused("too-many-governors", "governors", f"at most {GOVERNORS_MAX}", f"{len(governors)}")
    if governors != governance.governors:
        changes.put(replace(governance, governors=governors))


def _check_sides(state: StateView) -> None:
    sides = {member.jurisdiction for member in _active_governors(state)}
    for side in (MAINLAND, HONG_KONG):
        if side not in sides:
            raise Refused("side-without-governor", f"side {side}", "an active governor", "none left")


def _set_parameters(change: SetParameters, version: int | None, changes: Changes) -> None:
    if version is not None or require_parameters(changes) != change.current:
        raise Refused("stale-version", "parameters", "the current parameters, and no version", "others")
    if change.parameters == change.current:
        raise _unchanged("parameters")
    changes.put(change.parameters)


def _check_new(found: object, what: str, version: int | None) -> None:
    if found is not None:
        raise Refused("already-registered", what, "a new one", "one that is registered")
    if version is not None:
        raise Refused("stale-version", what, "no version, there being no record", f"version {version}")


def _check_version(what: str, version: int, expected_version: int | None) -> None:
    if version != expected_version:
        raise Refused("stale-version", what, f"version {version}", f"version {expected_version}")


def _unchanged(what: str) -> Refused:
    return Refused("unchanged", what, "a change", "what stands already")
