"""`luohu governance propose`: one command for each change that governors may decide.

Rule 1: what is proposed is checked by the rules before governors vote: a change that would not take effect now
is refused, with the reason.
Rule 2: who proposes votes for it in the same transaction, unless told not to or where the change names the
proposer.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final, TypeVar, cast

import click

from cli.agreement import require_yes
from cli.changes import change_rows, change_title
from cli.exits import wrong_usage
from cli.files import FILE, read_file
from cli.homes import open_member
from cli.nodes import connect
from cli.output import fields as rows_of
from cli.output import json_option, print_answer
from cli.passphrases import passphrase_option
from cli.times import end_of_day, now_ms, show_time, to_moment
from ledger.encoding.keys import PublicKey
from ledger.encoding.records import pack, to_json
from ledger.errors import LedgerError
from ledger.rules.proposals import (
    AddMember,
    AddPurpose,
    AddSchema,
    Change,
    ChangeNames,
    ChangeRoles,
    ChangeValidators,
    NodeRegistration,
    Possession,
    ReinstateMember,
    SetIssuers,
    SetMemberKeys,
    SetNode,
    SetNotices,
    SetParameters,
    SuspendMember,
)
from ledger.rules.state import OBSERVER, ROLES, VALIDATOR, Parameters
from node.home.home import Home

CERTIFICATE_SIZE_MAX: Final = 16 * 1024
HASH_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64

F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Proposing:
    """How a change is proposed: by whom, over which node, until when."""

    home: Path
    url: str
    expires_ms: int | None
    is_voting: bool
    yes: bool
    passphrase_file: Path | None
    as_json: bool


@click.group("propose")
def propose() -> None:
    """Propose a change: a member, its keys or node, a code, the limits, the validators."""


def _options(command: F) -> F:
    """Add the options that all proposals take, as one argument `how`."""

    def collected(
        home_path: Path,
        url: str,
        expires: int | None,
        without_vote: bool,
        yes: bool,
        passphrase_file: Path | None,
        as_json: bool,
        **arguments: object,
    ) -> object:
        how = Proposing(home_path, url, expires, not without_vote, yes, passphrase_file, as_json)
        return command(how=how, **arguments)

    collected.__doc__ = command.__doc__
    collected.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    result = cast(F, collected)
    for option in (
        json_option,
        passphrase_option,
        click.option("--yes", is_flag=True, help="You know what it changes and vote for it: do not ask."),
        click.option("--without-vote", is_flag=True, help="Propose only; do not vote for it."),
        click.option(
            "--expires", type=to_moment, metavar="DATE", help="Until when votes count.  [default: 14 days]"
        ),
        click.option("--url", required=True, help="A node's API, like http://127.0.0.1:7201."),
        click.option(
            "--home", "home_path", type=FILE, required=True, help="The home of the governor, who signs."
        ),
    ):
        result = option(result)
    return result


@propose.command("schema")
@click.argument("code", metavar="CODE")
@click.option("--bearer", is_flag=True, help="Documents of it need no holder key.")
@click.option(
    "--issuer",
    "issuers",
    multiple=True,
    metavar="MEMBER",
    help="Who may issue it; may be repeated.  [default: any issuer]",
)
@_options
def schema(how: Proposing, code: str, bearer: bool, issuers: tuple[str, ...]) -> None:
    """Register a kind of document, for the issuers that are named or for any.

    \b
    Example:
      luohu governance propose schema hk.medical-record --home network/hk-operator --url http://127.0.0.1:7201
      luohu governance propose schema hk.medical-record --issuer hk-clinic --home ... --url ...
    """
    listed = tuple(sorted(set(issuers))) if issuers else None
    _propose(how, AddSchema(code, int(bearer), listed))


@propose.command("issuers")
@click.argument("code", metavar="CODE")
@click.option(
    "--add", "added", multiple=True, metavar="MEMBER", help="Who may issue it too; may be repeated."
)
@click.option(
    "--remove", "removed", multiple=True, metavar="MEMBER", help="Who may issue it no more; may be repeated."
)
@_options
def issuers(how: Proposing, code: str, added: tuple[str, ...], removed: tuple[str, ...]) -> None:
    """List issuers of a kind of document, and take others off its list. None of them votes on it.

    A kind that any issuer may issue gets a list by its first change.

    \b
    Example:
      luohu governance propose issuers hk.medical-record --add hk-clinic --home ... --url ...
    """
    _propose(how, SetIssuers(code, tuple(sorted(set(added))), tuple(sorted(set(removed)))))


@propose.command("purpose")
@click.argument("code", metavar="CODE")
@click.option(
    "--notice",
    "notices",
    multiple=True,
    metavar="HASH",
    help="A notice that holders are told by, as `luohu governance notices` prints it; may be repeated.",
)
@_options
def purpose(how: Proposing, code: str, notices: tuple[str, ...]) -> None:
    """Register what a recipient may use a document for, and what holders are told.

    \b
    Example:
      luohu governance propose purpose medical.referral --notice 7f31... --home ... --url ...
    """
    _propose(how, AddPurpose(code, _notices(notices)))


@propose.command("notices")
@click.argument("code", metavar="CODE")
@click.option("--add", "added", multiple=True, metavar="HASH", help="A notice to list; may be repeated.")
@click.option(
    "--remove", "removed", multiple=True, metavar="HASH", help="One to take off the list; may be repeated."
)
@_options
def notices(how: Proposing, code: str, added: tuple[str, ...], removed: tuple[str, ...]) -> None:
    """List notices of a purpose, and take others off its list. Consents that were given stand.

    `luohu governance notices` prints the hashes of the notices here: read what a hash stands for before you vote.

    \b
    Example:
      luohu governance propose notices medical.referral --add 7f31... --remove 5e0c... --home ... --url ...
    """
    _propose(how, SetNotices(code, _notices(added), _notices(removed)))


@propose.command("suspend")
@click.argument("member", metavar="MEMBER")
@click.option(
    "--distrust-from",
    type=int,
    required=True,
    metavar="HEIGHT",
    help="Anchors from this block on never verify.",
)
@_options
def suspend(how: Proposing, member: str, distrust_from: int) -> None:
    """End a member's operations; repeated with an earlier height, distrust more of its anchors.

    \b
    Example:
      luohu governance propose suspend hk-bureau --distrust-from 8120 --home ... --url ...
    """
    _propose(how, SuspendMember(member, distrust_from))


@propose.command("reinstate")
@click.argument("member", metavar="MEMBER")
@_options
def reinstate(how: Proposing, member: str) -> None:
    """End a member's suspension. What was distrusted stays so.

    \b
    Example:
      luohu governance propose reinstate hk-bureau --home ... --url ...
    """
    _propose(how, ReinstateMember(member))


@propose.command("roles")
@click.argument("member", metavar="MEMBER")
@click.argument("roles", metavar="ROLE...", nargs=-1, required=True, type=click.Choice(ROLES))
@_options
def roles(how: Proposing, member: str, roles: tuple[str, ...]) -> None:
    """Replace a member's roles.

    \b
    Example:
      luohu governance propose roles hk-bureau governor issuer --home ... --url ...
    """
    _propose(how, ChangeRoles(member, tuple(sorted(set(roles)))))


def _names(command: F) -> F:
    result = command
    for name, language in (
        ("en", "English"),
        ("zh-hant", "traditional Chinese"),
        ("zh-hans", "simplified Chinese"),
    ):
        option = click.option(
            f"--name-{name}", required=True, metavar="NAME", help=f"The legal name in {language}."
        )
        result = option(result)
    return result


@propose.command("names")
@click.argument("member", metavar="MEMBER")
@_names
@_options
def names(how: Proposing, member: str, name_zh_hans: str, name_zh_hant: str, name_en: str) -> None:
    """Replace a member's legal names.

    \b
    Example:
      luohu governance propose names hk-bureau --name-zh-hans ... --name-zh-hant ... \\
        --name-en "Hong Kong Credit Bureau" --home ... --url ...
    """
    _propose(how, ChangeNames(member, name_zh_hans, name_zh_hant, name_en))


def _possession(command: F) -> F:
    result = command
    for option in (
        click.option(
            "--validator-signature",
            metavar="HEX",
            help="By the validator key, from `luohu governance possess`.",
        ),
        click.option("--key-signature", metavar="HEX", help="By the key, from `luohu governance possess`."),
    ):
        result = option(result)
    return result


def _keys(command: F) -> F:
    next_key = click.option(
        "--next-key", required=True, metavar="HASH", help="The commitment, as `luohu key show` prints it."
    )
    key = click.option(
        "--key", required=True, metavar="KEY", help="The public key, as `luohu key show` prints it."
    )
    return key(next_key(command))


@propose.command("keys")
@click.argument("member", metavar="MEMBER")
@_keys
@_possession
@_options
def keys(
    how: Proposing,
    member: str,
    key: str,
    next_key: str,
    key_signature: str | None,
    validator_signature: str | None,
) -> None:
    """Replace the keys of a member that lost its key or its next one.

    \b
    Example:
      luohu governance propose keys hk-bureau --key ed25519:... --next-key 7f31... --home ... --url ...
    """
    shown = _shown(how, key_signature, validator_signature)
    _propose(how, SetMemberKeys(member, _key(key), hash_of_text(next_key), shown))


def _node(command: F) -> F:
    result = command
    for option in (
        click.option(
            "--next-validator-key", metavar="HASH", help="The commitment to its next validator key."
        ),
        click.option("--validator-key", metavar="KEY", help="Its validator key; none for an observer."),
    ):
        result = option(result)
    return result


@propose.command("node")
@click.argument("member", metavar="MEMBER")
@click.option(
    "--tls", type=FILE, required=True, metavar="tls.crt", help="Its TLS certificate, as its home has it."
)
@_node
@_possession
@_options
def node(
    how: Proposing,
    member: str,
    tls: Path,
    validator_key: str | None,
    next_validator_key: str | None,
    key_signature: str | None,
    validator_signature: str | None,
) -> None:
    """Register a member's node, or replace its certificate and keys.

    \b
    Example:
      luohu governance propose node hk-bank --tls tls.crt --home ... --url ...
      luohu governance propose node hk-bank --tls tls.crt --validator-key ed25519:... \\
        --next-validator-key 7f31... --home ... --url ...
    """
    registration = registration_of(member, tls, validator_key, next_validator_key)
    _propose(how, SetNode(member, registration, _shown(how, key_signature, validator_signature)))


@propose.command("member")
@click.argument("member", metavar="MEMBER")
@click.option("--side", required=True, metavar="CODE", help="Its jurisdiction, one of the network's: CN, HK…")
@click.option(
    "--role", "roles", required=True, multiple=True, type=click.Choice(ROLES), help="May be repeated."
)
@click.option("--tls", type=FILE, metavar="tls.crt", help="Its node's TLS certificate; none without a node.")
@_node
@_keys
@_possession
@_names
@_options
def member(
    how: Proposing,
    member: str,
    side: str,
    roles: tuple[str, ...],
    tls: Path | None,
    validator_key: str | None,
    next_validator_key: str | None,
    key: str,
    next_key: str,
    key_signature: str | None,
    validator_signature: str | None,
    name_zh_hans: str,
    name_zh_hant: str,
    name_en: str,
) -> None:
    """Register a member, with its node or without one.

    \b
    Example:
      luohu governance propose member hk-clinic --side HK --role issuer --key ed25519:... \\
        --next-key 7f31... --name-zh-hans ... --name-zh-hant ... --name-en "A clinic" --home ... --url ...
    """
    registration = None if tls is None else registration_of(member, tls, validator_key, next_validator_key)
    _propose(
        how,
        AddMember(
            id=member,
            name_zh_hans=name_zh_hans,
            name_zh_hant=name_zh_hant,
            name_en=name_en,
            jurisdiction=side,
            roles=tuple(sorted(set(roles))),
            key=_key(key),
            next_key=hash_of_text(next_key),
            node=registration,
            possession=_shown(how, key_signature, validator_signature),
        ),
    )


@propose.command("validators")
@click.argument("members", metavar="MEMBER...", nargs=-1, required=True)
@_options
def validators(how: Proposing, members: tuple[str, ...]) -> None:
    """Let exactly these members validate, from the next epoch on.

    \b
    Example:
      luohu governance propose validators hk-bank hk-operator mainland-bank sz-operator --home ... --url ...
    """

    async def current() -> tuple[str, ...]:
        async with connect(how.url) as client:
            found = await client.validators()
            return tuple(validator.member for validator in found.current.validators)

    _propose(how, ChangeValidators(asyncio.run(current()), tuple(sorted(set(members)))))


@propose.command("parameters")
@click.argument("values", metavar="NAME=NUMBER...", nargs=-1, required=True)
@_options
def parameters(how: Proposing, values: tuple[str, ...]) -> None:
    """Change limits that bind every block.

    \b
    Example:
      luohu governance propose parameters block_size_max=1048576 --home ... --url ...
    """

    async def current() -> Parameters:
        async with connect(how.url) as client:
            return await client.parameters()

    known = [field.name for field in fields(Parameters)]
    changed: dict[str, int] = {}
    for value in values:
        name, _, number = value.partition("=")
        if name not in known or not (number.isascii() and number.isdigit()):
            expected = f"NAME=NUMBER with a name of {', '.join(known)}"
            raise _wrong("parameters", expected, value)
        changed[name] = int(number)
    before = asyncio.run(current())
    _propose(how, SetParameters(before, replace(before, **changed)))


def _shown(how: Proposing, key_signature: str | None, validator_signature: str | None) -> Possession:
    """Return the signatures that were handed over, for the network of the governor's home."""
    content = Home.open(how.home).genesis.content
    signatures = (
        None if each is None else _digits("signature", each, "luohu governance possess", SIGNATURE_SIZE)
        for each in (key_signature, validator_signature)
    )
    return Possession(content.network, content.use, *signatures)


def _propose(how: Proposing, change: Change) -> None:
    from node.client.client import Result
    from node.client.governor import PROPOSAL_MS
    from node.client.governor import propose as submit

    try:
        pack(change)
    except LedgerError as error:
        raise _wrong(error.where, error.expected, error.found) from error
    member = open_member(how.home, how.passphrase_file)
    expires_ms = how.expires_ms or end_of_day(now_ms() + PROPOSAL_MS)
    if how.is_voting:
        require_yes(
            f"Propose this and vote for it as {member.id}? A vote is final.",
            yes=how.yes,
            command="luohu governance propose",
            shown=[change_title(change), *rows_of(change_rows(change))],
        )

    async def run() -> tuple[bytes, Result | None]:
        async with connect(how.url) as client:
            return await submit(
                client,
                change,
                chain_id=member.chain_id,
                member=member.id,
                key=member.key,
                expires_ms=expires_ms,
                now_ms=now_ms(),
                is_voting=how.is_voting,
            )

    identity, result = asyncio.run(run())
    height = None if result is None else result.height
    said = "proposed before" if result is None else f"proposed in block {height}"
    print_answer(
        as_json=how.as_json,
        value={
            "proposal": identity.hex(),
            "height": height,
            "expires_ms": expires_ms,
            "change": to_json(change),
        },
        lines=[
            f"{said}: {change_title(change)}",
            *rows_of([("id", identity.hex()), ("open until", show_time(expires_ms))]),
            f"  others vote: luohu governance vote {identity.hex()} yes --home HOME --url URL",
        ],
    )


def registration_of(
    member: str, tls: Path, validator_key: str | None, next_validator_key: str | None
) -> NodeRegistration:
    """Return what is registered of a node, from its certificate's file and its keys. Raises CommandError."""
    from node.network.tls import decode_certificate_pem, registrable

    try:
        certificate = registrable(
            decode_certificate_pem(read_file(tls, size_max=CERTIFICATE_SIZE_MAX)), member
        )
    except ValueError as error:
        found = str(error)[:160]
        raise _wrong(str(tls), f"the TLS certificate that `luohu` made for {member}", found) from error
    return NodeRegistration(
        kind=OBSERVER if validator_key is None else VALIDATOR,
        validator_key=None if validator_key is None else _key(validator_key),
        next_validator_key=None if next_validator_key is None else hash_of_text(next_validator_key),
        certificate=certificate,
    )


def _key(text: str) -> PublicKey:
    try:
        return PublicKey.from_text(text)
    except LedgerError as error:
        raise _wrong("key", error.expected, error.found) from error


def hash_of_text(text: str) -> bytes:
    """Return the commitment to a next key. Raises CommandError."""
    return _digits("next key", text, "luohu key show")


def _notices(texts: Sequence[str]) -> tuple[bytes, ...]:
    return tuple(sorted({_digits("notice", text, "luohu governance notices") for text in texts}))


def _digits(where: str, text: str, command: str, size: int = HASH_SIZE) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != size:
        raise _wrong(where, f"{2 * size} hexadecimal digits, as `{command}` prints", ascii(text)[:80])
    return found


def _wrong(where: str, expected: str, found: str) -> Exception:
    cure = "Correct it; `--help` on the command shows an example."
    return wrong_usage(where or "change", expected=expected, found=found, cure=cure)
