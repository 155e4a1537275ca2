"""Governance: what governors decide and when it takes effect (docs/governance.md).

Rule 1: a proposal passes when more than two thirds of the governors active when a yes executes have voted yes,
at least one of each side that has active governors. Members that the change names are counted in neither.
Rule 2: votes are final. A proposal is rejected as soon as the governors active then can no longer pass it.
Rule 3: what passes takes effect in the same operation. Where it cannot, the vote is refused, with the reason,
and the proposal stays open: the same vote may be sent again.
Rule 4: a proposal is refused where its change would not take effect on the state that it meets.
"""

from dataclasses import dataclass, replace
from typing import Final

from ledger.rules.enactment import active_governors, enact
from ledger.rules.operations import CastVote, Propose
from ledger.rules.proposals import (
    BALLOTS_MAX,
    PASSED,
    REJECTED,
    YES,
    Ballot,
    Decision,
    Proposal,
    named_members,
    proposal_key,
    require_governance,
)
from ledger.rules.standing import BlockContext, Refused, already_recorded, require_active
from ledger.rules.state import GOVERNOR, Changes, StateView, find

PROPOSAL_DURATION_MAX_MS: Final = 90 * 86_400_000


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
        raise Refused(
            code="proposal-period",
            where="proposal expires_ms",
            expected=expected,
            found=f"{operation.expires_ms}",
        )
    enact(operation.change, operation.expected_version, Changes(changes), context)
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
        raise Refused(
            code="unknown-proposal",
            where="vote",
            expected="a recorded proposal",
            found=operation.proposal.hex(),
        )
    _check_may_vote(operation, sender, proposal, context)
    voted = replace(proposal, ballots=(*proposal.ballots, Ballot(sender, operation.choice, context.height)))
    tally = count_votes(voted, changes)
    if operation.choice == YES and tally.passes:
        enact(proposal.change, proposal.expected_version, changes, context)
        voted = replace(voted, decision=Decision(PASSED, context.height, context.time_ms))
    elif operation.choice != YES and not tally.may_pass:
        voted = replace(voted, decision=Decision(REJECTED, context.height, context.time_ms))
    changes.put(voted)


def _check_may_vote(operation: CastVote, sender: str, proposal: Proposal, context: BlockContext) -> None:
    ballot = proposal.find_ballot(sender)
    if ballot is not None and ballot.choice == operation.choice:
        raise already_recorded("vote", ballot.height)
    if ballot is not None:
        raise Refused(
            code="vote-is-final",
            where="vote",
            expected=f"the {ballot.choice} of height {ballot.height}",
            found="another",
        )
    if proposal.decision is not None:
        found = f"{proposal.decision.status} at height {proposal.decision.height}"
        raise Refused(code="proposal-decided", where="proposal", expected="one that is open", found=found)
    if context.time_ms > proposal.expires_ms:
        found = f"one that expired at {proposal.expires_ms}"
        raise Refused(
            code="expired",
            where="proposal",
            expected=f"one open at the block's time {context.time_ms}",
            found=found,
        )
    if sender in named_members(proposal.change):
        raise Refused(
            code="named-member",
            where="vote",
            expected="a governor that the proposal is not about",
            found=sender,
        )
    if len(proposal.ballots) == BALLOTS_MAX:
        raise Refused(
            code="too-many-votes", where="proposal", expected=f"at most {BALLOTS_MAX} votes", found="one more"
        )


@dataclass(frozen=True, slots=True)
class Tally:
    """The votes of the governors who are active now, without those that the change names.

    `sides` are those of all active governors. Where the change names all of one, that side is not heard, and it fails.
    """

    governors: dict[str, str]
    sides: frozenset[str]
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
        return 3 * len(supporters) > 2 * len(self.governors) and sides == self.sides


def count_votes(proposal: Proposal, state: StateView) -> Tally:
    """Return the votes on a proposal that count in this state."""
    named = named_members(proposal.change)
    active = active_governors(state)
    governors = {member.id: member.jurisdiction for member in active if member.id not in named}
    sides = frozenset(member.jurisdiction for member in active)
    cast = {ballot.governor: ballot.choice for ballot in proposal.ballots if ballot.governor in governors}
    yes = frozenset(governor for governor, choice in cast.items() if choice == YES)
    return Tally(governors, sides, yes, frozenset(cast) - yes)
