"""Standing: what refuses an operation, the block that it is applied in, and who may send one.

Rule 1: a refusal has a stable code and says what was expected and what was found.
Rule 2: standing is read from the state as the operations before left it, never from what a sender claims.
"""

from dataclasses import dataclass

from ledger.errors import LedgerError
from ledger.rules.state import Member, Parameters, StateView, find, member_key


class Refused(LedgerError):
    """A transaction that does not apply to this state. The code says why."""

    def __init__(self, *, code: str, where: str, expected: str, found: str) -> None:
        super().__init__(code=code, where=where, expected=expected, found=found)


@dataclass(frozen=True, slots=True)
class BlockContext:
    """What a transaction may know about the block that records it."""

    chain_id: bytes
    height: int
    time_ms: int
    parameters: Parameters


def require_member(state: StateView, member_id: str) -> Member:
    """Return a member's record. Raises Refused."""
    member = find(state, Member, member_key(member_id))
    if member is None:
        raise Refused(code="unregistered", where="member", expected="a registered member", found=member_id)
    return member


def require_active(state: StateView, member_id: str, role: str | None) -> Member:
    """Return the record of a member that is not suspended and has the role, if one is named. Raises Refused."""
    member = require_member(state, member_id)
    if role is not None:
        require_role(member, role)
    if member.is_suspended:
        raise Refused(
            code="suspended",
            where=f"member {member_id}",
            expected="active",
            found=f"suspended at height {member.suspensions[-1].suspended_at}",
        )
    return member


def require_role(member: Member, role: str) -> None:
    """Check that a member has a role. Raises Refused."""
    if role not in member.roles:
        raise Refused(
            code="forbidden-role",
            where=f"member {member.id}",
            expected=f"the role {role}",
            found=", ".join(member.roles),
        )


def already_recorded(what: str, height: int) -> Refused:
    """Return the refusal of a member's own operation that was recorded before."""
    return Refused(
        code="already-recorded",
        where=what,
        expected=f"a {what} not yet recorded",
        found=f"one recorded at height {height}",
    )
