"""`luohu governance`: what governors propose, how they vote, and what came of it.

Rule 1: a proposal is shown as its id names it: what a node shows under an id is recomputed, not believed.
Rule 2: nothing is proposed or voted twice: what is recorded already is said, and counts as done.
"""

import asyncio
from pathlib import Path
from typing import Final

import click

from cli.agreement import require_yes
from cli.changes import change_rows, change_title
from cli.exits import wrong_usage
from cli.files import FILE
from cli.homes import SigningMember, open_member
from cli.nodes import connect
from cli.output import fields, json_option, print_answer
from cli.passphrases import passphrase_option
from cli.possessing import possess
from cli.proposing import propose
from cli.roots import TRUST, URLS, headline, root_of_home, shown_json, shown_rows
from cli.times import now_ms, show_time
from ledger.encoding.records import Json, to_json
from ledger.rules.proposals import NO, YES, Proposal, named_members
from ledger.rules.state import Member
from node.client.answers import Recorded

ID_DIGITS: Final = 64


@click.group("governance")
def governance() -> None:
    """Propose changes to the network, vote on them, and see what came of it."""


governance.add_command(propose)
governance.add_command(possess)


@governance.command("vote")
@click.argument("proposal", metavar="ID")
@click.argument("choice", metavar="yes|no", type=click.Choice((YES, NO)))
@click.option("--home", "home_path", type=FILE, required=True, help="The home of the governor, who signs.")
@click.option("--url", required=True, help="A node's API, like http://127.0.0.1:7201.")
@click.option("--yes", is_flag=True, help="You know what the proposal changes: do not ask.")
@passphrase_option
@json_option
def vote(
    proposal: str,
    choice: str,
    home_path: Path,
    url: str,
    yes: bool,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Vote on a proposal, after you were shown what it changes. A vote is final.

    The vote that passes a proposal also puts it into force. Without a terminal to ask at, say --yes.

    \b
    Example:
      luohu governance vote 5e0c...91 yes --home network/hk-bureau --url http://127.0.0.1:7201
    """
    from node.client.client import Result
    from node.client.governor import cast_vote, read_proposal

    identity = parse_id(proposal)
    member = open_member(home_path, passphrase_file)

    async def submit(member: SigningMember) -> tuple[Result | None, Proposal, str]:
        async with connect(url) as client:
            before = await read_proposal(client, identity, chain_id=member.chain_id)
            require_yes(
                f"Vote {choice} as {member.id}? A vote is final.",
                yes=yes,
                command="luohu governance vote",
                shown=proposal_lines(*before),
            )
            result = await cast_vote(
                client,
                identity,
                choice,
                chain_id=member.chain_id,
                member=member.id,
                key=member.key,
                now_ms=now_ms(),
            )
            return result, *await read_proposal(client, identity, chain_id=member.chain_id)

    result, found, status = asyncio.run(submit(member))
    said = "recorded before" if result is None else f"recorded in block {result.height}"
    print_answer(
        as_json=as_json,
        value={
            "vote": choice,
            "height": None if result is None else result.height,
            **proposal_json(found, status),
        },
        lines=[f"{said}: {choice} by {member.id}", *proposal_lines(found, status)],
    )


@governance.command("show")
@click.argument("proposal", metavar="ID")
@click.option("--url", required=True, help="A node's API, like http://127.0.0.1:7201.")
@json_option
def show(proposal: str, url: str, as_json: bool) -> None:
    """Show a proposal: what it changes, who voted how, and what came of it.

    \b
    Example:
      luohu governance show 5e0c...91 --url http://127.0.0.1:7201
    """
    from node.client.governor import read_proposal

    identity = parse_id(proposal)

    async def ask() -> tuple[Proposal, str]:
        async with connect(url) as client:
            chain_id = bytes.fromhex((await client.status()).chain_id)
            return await read_proposal(client, identity, chain_id=chain_id)

    found, status = asyncio.run(ask())
    print_answer(as_json=as_json, value=proposal_json(found, status), lines=proposal_lines(found, status))


@governance.command("list")
@click.option("--all", "is_all", is_flag=True, help="All that there ever were.  [default: the latest]")
@click.option("--url", required=True, help="A node's API, like http://127.0.0.1:7201.")
@json_option
def list_proposals(is_all: bool, url: str, as_json: bool) -> None:
    """List proposals, newest first.

    \b
    Example:
      luohu governance list --url http://127.0.0.1:7201
    """

    async def ask() -> list[tuple[Proposal, str]]:
        async with connect(url) as client:
            found, following = await client.proposals()
            while is_all and following is not None:
                more, following = await client.proposals(following)
                found += more
            return found

    found = asyncio.run(ask())
    listed: list[Json] = [proposal_json(*each) for each in found]
    lines = [f"{len(found)} proposals"]
    for proposal, status in found:
        lines.append(f"  {proposal.id.hex()}  {status:<8}  {_headline(proposal)}")
    print_answer(as_json=as_json, value={"proposals": listed}, lines=lines)


@governance.command("suspend-self")
@click.option("--home", "home_path", type=FILE, required=True, help="The home of your member, which signs.")
@click.option(
    "--distrust-from",
    type=int,
    metavar="HEIGHT",
    help="Your anchors from this block on never verify.  [default: those after the block that is proven now]",
)
@click.option("--yes", is_flag=True, help="You know what it ends: do not ask.")
@TRUST
@URLS
@passphrase_option
@json_option
def suspend_self(
    home_path: Path,
    distrust_from: int | None,
    yes: bool,
    trust_path: Path | None,
    urls: tuple[str, ...],
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Suspend your own member at once, on its own key, where that key may be in other hands.

    The command ends when the ledger is shown to hold the suspension. Governors alone end that: `luohu governance
    propose reinstate`.

    \b
    Example:
      luohu governance suspend-self --home network/hk-bureau --distrust-from 8120 --url http://127.0.0.1:7201
    """
    from cli.nodes import connect_ledger
    from node.client.governor import suspend_self as submit

    member = open_member(home_path, passphrase_file)
    root = root_of_home(trust_path, member.home.genesis)
    since = "those to come" if distrust_from is None else f"all from block {distrust_from} on"
    require_yes(
        f"Suspend {member.id}? Only governors can end it.",
        yes=yes,
        command="luohu governance suspend-self",
        shown=[
            f"{member.id} anchors, records and rotates nothing more; of its anchors, {since} are distrusted"
        ],
    )

    async def run() -> Recorded[Member]:
        async with connect_ledger(urls, root) as ledger:
            return await submit(
                ledger,
                member=member.id,
                key=member.key,
                chain_id=member.chain_id,
                distrust_from=distrust_from,
                now_ms=now_ms(),
            )

    recorded = asyncio.run(run())
    suspension = recorded.shown.value.suspensions[-1]
    is_new = recorded.is_new(suspension.suspended_at)
    said = f"{member.id} is suspended since block {suspension.suspended_at}" + (
        "" if is_new else ", as before"
    )
    print_answer(
        as_json=as_json,
        value={
            "member": member.id,
            "suspended_at": suspension.suspended_at,
            "distrust_from": suspension.distrust_from,
            "is_new": is_new,
            **shown_json(recorded.shown),
        },
        lines=[
            headline(recorded.shown, said),
            *fields([("distrusted", f"anchors from block {suspension.distrust_from} on")]),
            *fields(shown_rows(recorded.shown)),
            f"  governors end it: luohu governance propose reinstate {member.id} --home HOME --url URL",
        ],
    )


@governance.command("notices")
@click.option("--purpose", metavar="CODE", help="Only those of one purpose.")
@json_option
def notices(purpose: str | None, as_json: bool) -> None:
    """List the notices of the scenarios here, each with the hash that governors pass.

    \b
    Example:
      luohu governance notices --purpose consumer-credit.loan
    """
    from node.consent.scenarios import load_scenarios, scenarios_directory

    found = [
        notice
        for scenario in load_scenarios(scenarios_directory()).scenarios
        for notice in scenario.notices
        if purpose in (None, notice.purpose)
    ]
    listed: list[Json] = [
        {
            "notice": notice.version.hex(),
            "purpose": notice.purpose,
            "direction": notice.direction,
            "schemas": [*notice.schemas],
            "title": {
                "zh-Hans": notice.title.zh_hans,
                "zh-Hant": notice.title.zh_hant,
                "en": notice.title.en,
            },
        }
        for notice in found
    ]
    shown = [f"  {n.version.hex()}  {n.purpose}  {n.direction}  {n.title.en}" for n in found]
    print_answer(as_json=as_json, value={"notices": listed}, lines=[f"{len(found)} notices", *shown])


def parse_id(text: str) -> bytes:
    """Return a proposal's id. Raises CommandError: a part of one could be that of another."""
    try:
        identity = bytes.fromhex(text) if len(text) == ID_DIGITS else b""
    except ValueError:
        identity = b""
    if not identity:
        raise wrong_usage(
            "proposal",
            expected=f"an id of {ID_DIGITS} hexadecimal digits, whole",
            found=ascii(text)[:80],
            cure="`luohu governance list --url URL` shows the ids.",
        )
    return identity


def proposal_json(proposal: Proposal, status: str) -> dict[str, Json]:
    """Return the JSON form of a proposal and what has become of it."""
    return {"proposal": to_json(proposal), "status": status}


def proposal_lines(proposal: Proposal, status: str) -> list[str]:
    """Return a proposal in words."""
    rows = [
        ("id", proposal.id.hex()),
        ("status", status),
        ("proposed", f"by {proposal.proposer} in block {proposal.height}, {show_time(proposal.time_ms)}"),
        ("open until", show_time(proposal.expires_ms)),
    ]
    named = named_members(proposal.change)
    if proposal.expected_version is not None:
        rows.append(("expects", f"version {proposal.expected_version}"))
    if named:
        rows.append(("about", f"{', '.join(sorted(named))}, without a vote on it"))
    rows += change_rows(proposal.change)
    rows += [
        ("vote", f"{each.choice} by {each.governor} in block {each.height}") for each in proposal.ballots
    ]
    if proposal.decision is not None:
        rows.append((proposal.decision.status, f"in block {proposal.decision.height}"))
    return [change_title(proposal.change), *fields(rows)]


def _headline(proposal: Proposal) -> str:
    change = proposal.change
    named = next((getattr(change, name) for name in ("member", "code", "id") if hasattr(change, name)), "")
    return f"{change_title(change)} {named}".strip() + f", {len(proposal.ballots)} votes"
