"""`luohu governance possess`: what shows governors that whoever registers keys has them.

Rule 1: what is signed is the whole change, with the network: under another id, with other keys or for another network
the signatures are worth nothing.
Rule 2: private keys stay where they are: what is printed goes to the governor who proposes the change.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import click

from cli.files import FILE, read_file
from cli.output import fields, json_option, print_answer
from cli.passphrases import passphrase_for, passphrase_option
from cli.proposing import hash_of_text, registration_of
from ledger.encoding.keys import PrivateKey
from ledger.genesis import GENESIS_FILE_SIZE_MAX, parse_genesis
from ledger.rules.proposals import (
    POSSESSION_TAG,
    AddMember,
    Possession,
    Registering,
    SetMemberKeys,
    SetNode,
    possession_body,
)
from ledger.rules.state import ROLES
from node.files.keyfiles import KEY_FILE_SIZE_MAX, DevelopmentKey, Protection, load_key_file

_ENCRYPTED: Final = b"ENCRYPTED PRIVATE KEY"
F = TypeVar("F", bound=Callable[..., object])


def _options(*options: Callable[[F], F]) -> Callable[[F], F]:
    def added(command: F) -> F:
        result = command
        for option in reversed(options):
            result = option(result)
        return result

    return added


_GENESIS: Final = click.option(
    "--genesis", "genesis_path", type=FILE, required=True, help="The genesis of the network that is joined."
)
_KEY: Final = click.option("--key", "key_path", type=FILE, required=True, help="The file of the member key.")
_NEXT: Final = click.option(
    "--next-key", required=True, metavar="HASH", help="The commitment, as `luohu key show` prints it."
)
_VALIDATOR: Final = click.option(
    "--validator", "validator_path", type=FILE, help="The file of the validator key; none for an observer."
)
_NEXT_VALIDATOR: Final = click.option(
    "--next-validator-key", metavar="HASH", help="The commitment to its next validator key."
)


@click.group("possess")
def possess() -> None:
    """Sign with new keys what governors register, to show that you have them."""


@possess.command("keys")
@click.argument("member", metavar="MEMBER")
@_options(_GENESIS, _KEY, _NEXT, passphrase_option, json_option)
def keys(
    member: str,
    genesis_path: Path,
    key_path: Path,
    next_key: str,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Show that you have the key that replaces a lost one.

    \b
    Example:
      luohu governance possess keys hk-bureau --genesis genesis.json --key member.pem --next-key 7f31...
    """
    key = _open_key(key_path, passphrase_file)
    change = SetMemberKeys(member, key.public, hash_of_text(next_key), _network(genesis_path))
    _print(change, key, None, as_json=as_json)


@possess.command("node")
@click.argument("member", metavar="MEMBER")
@click.option("--tls", type=FILE, required=True, metavar="tls.crt", help="The node's TLS certificate.")
@_options(_GENESIS, _VALIDATOR, _NEXT_VALIDATOR, passphrase_option, json_option)
def node(
    member: str,
    tls: Path,
    genesis_path: Path,
    validator_path: Path | None,
    next_validator_key: str | None,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Show that you have the validator key that is registered for your node.

    \b
    Example:
      luohu governance possess node hk-bank --genesis genesis.json --tls tls.crt --validator validator.pem \\
        --next-validator-key 7f31...
    """
    validator = None if validator_path is None else _open_key(validator_path, passphrase_file)
    public = None if validator is None else str(validator.public)
    registration = registration_of(member, tls, public, next_validator_key)
    _print(SetNode(member, registration, _network(genesis_path)), None, validator, as_json=as_json)


@possess.command("member")
@click.argument("member", metavar="MEMBER")
@click.option("--side", required=True, metavar="CODE", help="Its jurisdiction, one of the network's: CN, HK…")
@click.option(
    "--role", "roles", required=True, multiple=True, type=click.Choice(ROLES), help="May be repeated."
)
@click.option("--tls", type=FILE, metavar="tls.crt", help="Its node's TLS certificate; none without a node.")
@click.option("--name-zh-hans", required=True, metavar="NAME", help="The legal name in simplified Chinese.")
@click.option("--name-zh-hant", required=True, metavar="NAME", help="The legal name in traditional Chinese.")
@click.option("--name-en", required=True, metavar="NAME", help="The legal name in English.")
@_options(_GENESIS, _KEY, _NEXT, _VALIDATOR, _NEXT_VALIDATOR, passphrase_option, json_option)
def member(
    member: str,
    side: str,
    roles: tuple[str, ...],
    tls: Path | None,
    name_zh_hans: str,
    name_zh_hant: str,
    name_en: str,
    genesis_path: Path,
    key_path: Path,
    next_key: str,
    validator_path: Path | None,
    next_validator_key: str | None,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Show that you have the keys under which you join. Say everything as the governor will propose it.

    \b
    Example:
      luohu governance possess member hk-clinic --side HK --role issuer --genesis genesis.json --key member.pem \\
        --next-key 7f31... --name-zh-hans ... --name-zh-hant ... --name-en "A clinic"
    """
    key = _open_key(key_path, passphrase_file)
    validator = None if validator_path is None else _open_key(validator_path, passphrase_file)
    public = None if validator is None else str(validator.public)
    change = AddMember(
        id=member,
        name_zh_hans=name_zh_hans,
        name_zh_hant=name_zh_hant,
        name_en=name_en,
        jurisdiction=side,
        roles=tuple(sorted(set(roles))),
        key=key.public,
        next_key=hash_of_text(next_key),
        node=None if tls is None else registration_of(member, tls, public, next_validator_key),
        possession=_network(genesis_path),
    )
    _print(change, key, validator if tls is not None else None, as_json=as_json)


def _network(genesis_path: Path) -> Possession:
    content = parse_genesis(read_file(genesis_path, size_max=GENESIS_FILE_SIZE_MAX)).content
    return Possession(content.network, content.use, None, None)


def _open_key(path: Path, passphrase_file: Path | None) -> PrivateKey:
    protection: Protection = DevelopmentKey()
    if _ENCRYPTED in read_file(path, size_max=KEY_FILE_SIZE_MAX):
        protection = passphrase_for(str(path), passphrase_file)
    return load_key_file(path, protection, expected=None)


def _print(
    change: Registering, key: PrivateKey | None, validator: PrivateKey | None, *, as_json: bool
) -> None:
    body = possession_body(change)
    signed = {
        name: (f"{private.public}", private.sign(POSSESSION_TAG, body).hex())
        for name, private in (("key", key), ("validator", validator))
        if private is not None
    }
    shown = change.possession
    print_answer(
        as_json=as_json,
        value={
            "network": shown.network,
            "use": shown.use,
            "key_signature": signed["key"][1] if "key" in signed else None,
            "validator_signature": signed["validator"][1] if "validator" in signed else None,
        },
        lines=[
            f"for {shown.network}, {shown.use}: give the governor who proposes it",
            *fields((f"--{name}-signature", signature) for name, (_, signature) in signed.items()),
        ],
    )
