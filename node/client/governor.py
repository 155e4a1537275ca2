"""What a governor does: propose a change, read proposals, and vote; and what any member does: suspend itself.

Rule 1: a proposal names what it expects of the record that it changes, as the node shows it just before.
Rule 2: a vote is cast for an id, and an id is a hash of all that is proposed: what a node shows under it is
recomputed, so that no node can have a governor vote for something else than was read.
Rule 3: all of it may be repeated after any crash: what is recorded is recorded once.
"""

from typing import Final

from ledger.encoding.keys import PrivateKey
from ledger.rules.operations import CastVote, Operation, Propose, SuspendSelf
from ledger.rules.proposals import YES, Change, MemberChange, Proposal, SetIssuers, SetNotices, named_members
from ledger.rules.state import Member, member_key
from node.client.answers import Proven, Recorded
from node.client.client import Client, Result
from node.client.ledgerclient import LedgerClient
from node.client.submission import sign_operations, submit_once, submit_operations
from node.errors import BadAnswer

PROPOSAL_MS: Final = 14 * 86_400_000


async def expected_version(client: Client, change: Change) -> int | None:
    """Return what a proposal of this change expects now: the version of the record that it changes, or none."""
    if isinstance(change, SetIssuers):
        return (await client.schema(change.code)).version
    if isinstance(change, SetNotices):
        return (await client.purpose(change.code)).version
    if isinstance(change, MemberChange):
        return (await client.member(change.member)).version
    return None


async def propose(
    client: Client,
    change: Change,
    *,
    chain_id: bytes,
    member: str,
    key: PrivateKey,
    expires_ms: int,
    now_ms: int,
    is_voting: bool = True,
) -> tuple[bytes, Result | None]:
    """Propose a change and vote for it, unless said otherwise or not asked; return its id.

    The result is None where it was proposed before. Raises Refused or Unreachable.
    """
    operation = Propose(change, await expected_version(client, change), expires_ms)
    identity = operation.proposal_id(chain_id=chain_id, proposer=member)
    operations: tuple[Operation, ...] = (operation,)
    if is_voting and member not in named_members(change):
        operations = (operation, CastVote(identity, YES))
    result = await submit_operations(
        client, *operations, chain_id=chain_id, member=member, key=key, now_ms=now_ms
    )
    return identity, result


async def cast_vote(
    client: Client,
    proposal: bytes,
    choice: str,
    *,
    chain_id: bytes,
    member: str,
    key: PrivateKey,
    now_ms: int,
) -> Result | None:
    """Vote on a proposal; None where this vote was recorded before. Raises Refused or Unreachable."""
    vote = CastVote(proposal, choice)
    return await submit_operations(client, vote, chain_id=chain_id, member=member, key=key, now_ms=now_ms)


async def suspend_self(
    ledger: LedgerClient,
    *,
    member: str,
    key: PrivateKey,
    chain_id: bytes,
    distrust_from: int | None,
    now_ms: int,
) -> Recorded[Member]:
    """Have a member suspend itself, unless it is suspended; return what shows it.

    `distrust_from` is the first height whose anchors are to be distrusted; None: from what is proven now on. Raises
    RefusedByNode, Unproven or Unreachable.
    """
    found = await ledger.member(member)
    if found.value.is_suspended:
        return Recorded(found, frozenset())
    number = len(found.value.suspensions)
    if distrust_from is None:
        # Blocks above the proven one exist, but which of their anchors are the member's own nobody here knows.
        distrust_from = found.height + 1 if isinstance(found, Proven) else 0
    signed = sign_operations(
        chain_id=chain_id,
        member=member,
        key=key,
        now_ms=now_ms,
        operations=(SuspendSelf(number, distrust_from),),
    )
    return await ledger.act(
        lambda client: submit_once(client, signed),
        Member,
        member_key(member),
        lambda record: len(record.suspensions) > number,
        what=f"the suspension of {member}",
    )


async def read_proposal(client: Client, proposal: bytes, *, chain_id: bytes) -> tuple[Proposal, str]:
    """Return a proposal that is checked to be what its id names, and what has become of it."""
    found, status = await client.proposal(proposal)
    check_identity(found, proposal, chain_id=chain_id)
    return found, status


def check_identity(found: Proposal, proposal: bytes, *, chain_id: bytes) -> None:
    """Check that a proposal is what its id names. Raises BadAnswer."""
    operation = Propose(found.change, found.expected_version, found.expires_ms)
    computed = operation.proposal_id(chain_id=chain_id, proposer=found.proposer)
    if proposal != computed or found.id != computed:
        cure = "Do not vote by this node: what it shows is not what the id names. Ask another node."
        expected, other = f"the proposal {proposal.hex()}", computed.hex()
        raise BadAnswer(code="bad-answer", where="proposal", expected=expected, found=other, cure=cure)
