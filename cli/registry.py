"""What is registered: kinds of documents, purposes and members, as the ledger has them now.

Rule 1: genesis is only the start. What it lacks is asked of the ledger, under the caller's trusted root.
Rule 2: a code that is registered stays so, so a code of genesis needs no question. A member may be suspended, or have
other roles, so it is asked for wherever a node is named.
Rule 3: what is not registered is refused with what was given, and where that is shown.
"""

from cli.exits import CommandError, wrong_usage
from cli.times import show_time
from ledger.encoding.records import Record, pack
from ledger.errors import LedgerError
from ledger.rules.state import Member, Purpose, Schema
from ledger.trust import TrustedRoot
from node.client.answers import Answer, Proven
from node.client.ledgerclient import LedgerClient
from node.errors import RefusedByNode


async def require_schema(ledger: LedgerClient, code: str, *, where: str) -> None:
    """Check that a kind of document is registered. Raises CommandError, and ClientError where no node shows it."""
    _check_code(Schema(code, 0, None, 0), where, code)
    if ledger.root is not None and code in schemas_of_genesis(ledger.root):
        return
    answer = await ledger.schema(code)
    if answer.value is None:
        raise unregistered(
            "kind of document", code, where=where, said=_shown_by(answer), code="unknown-schema"
        )


async def require_purpose(ledger: LedgerClient, code: str, *, where: str) -> None:
    """Check that a purpose is registered. Raises CommandError, and ClientError where no node shows it."""
    _check_code(Purpose(code, (), 0), where, code)
    if ledger.root is not None and code in purposes_of_genesis(ledger.root):
        return
    answer = await ledger.purpose(code)
    if answer.value is None:
        raise unregistered("purpose", code, where=where, said=_shown_by(answer), code="unknown-purpose")


async def require_member(ledger: LedgerClient, member: str, role: str, *, where: str) -> Member:
    """Return an active member that has a role now. Raises CommandError, and ClientError where no node shows it."""
    try:
        found = (await ledger.member(member)).value
    except RefusedByNode as error:
        if error.code != "unknown":
            raise
        raise unregistered(
            "member", member, where=where, said="the ledger has none", code="unregistered"
        ) from error
    check_member(found.id, found.roles, role, where=where)
    if found.is_suspended:
        raise wrong_usage(
            where,
            expected=f"an active {role}",
            found=f"{found.id}, which is suspended",
            cure="Name another member; `luohu governance list --url URL` shows what governors decided.",
            code="suspended",
        )
    return found


def check_member(member: str, roles: tuple[str, ...], role: str, *, where: str) -> None:
    """Check that a member has a role. Raises CommandError."""
    if role not in roles:
        raise wrong_usage(
            where,
            expected=f"a member with the role {role}",
            found=f"{member}, which has {', '.join(roles)}",
            cure="Name another member, or have governors change its roles.",
            code="forbidden-role",
        )


def schemas_of_genesis(root: TrustedRoot) -> list[str]:
    """Return the kinds of documents that the chain began with."""
    return [each.code for each in root.genesis.content.schemas]


def purposes_of_genesis(root: TrustedRoot) -> list[str]:
    """Return the purposes that the chain began with."""
    return [each.code for each in root.genesis.content.purposes]


def unregistered(what: str, given: str, *, where: str, said: str, code: str) -> CommandError:
    """Return the refusal of what is not registered; `said` tells who says so."""
    return wrong_usage(
        where,
        expected=f"a registered {what}",
        found=f"{ascii(given)[:80]}: {said}",
        cure=f"Name a registered {what}. Governors register one with `luohu governance propose`.",
        code=code,
    )


def _check_code(record: Record, where: str, code: str) -> None:
    try:
        pack(record)
    except LedgerError as error:
        cure = "Write the code as governors registered it."
        raise wrong_usage(where, expected=error.expected, found=ascii(code)[:80], cure=cure) from error


def _shown_by(answer: Answer[object]) -> str:
    if isinstance(answer, Proven):
        return f"none as of block {answer.height}, {show_time(answer.time_ms)}"
    return f"none, as {answer.url} says"
