"""`luohu key`: signing keys in encrypted files, and their rotation."""

import asyncio
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from cli.exits import wrong_usage
from cli.files import FILE, read_file, refuse_existing
from cli.output import fields, json_option, print_answer
from cli.passphrases import passphrase_for, passphrase_option, protection_for
from cli.roots import TRUST, URLS, root_of_home
from cli.times import now_ms
from ledger.encoding.keys import SEED_SIZE, PrivateKey
from ledger.rules.operations import next_key_commitment
from node.files.keyfiles import KEY_FILE_SIZE_MAX, DevelopmentKey, Protection, create_key_file, load_key_file

ROLES = ("member", "validator", "tls")
_ENCRYPTED = b"ENCRYPTED PRIVATE KEY"


F = TypeVar("F", bound=Callable[..., object])


def _home_option(command: F) -> F:
    help_text = "The home that it is for: it is protected as that one's keys are."
    return click.option("--home", "home_path", type=FILE, help=help_text)(command)


@click.group("key")
def key() -> None:
    """Make, show and rotate keys."""


@key.command("new")
@click.option("--out", type=FILE, required=True, help="Where to write the key; never overwritten.")
@_home_option
@passphrase_option
@json_option
def new(out: Path, home_path: Path | None, passphrase_file: Path | None, as_json: bool) -> None:
    """Make a fresh signing key in an encrypted file, and show its public key.

    \b
    Example:
      luohu key new --out member-next.pem
      luohu key new --home network/hk-bureau --out network/hk-bureau/keys/validator-9.pem
    """
    refuse_existing(out)
    protection = _new_protection(out, home_path, passphrase_file)
    fresh = PrivateKey.from_seed(secrets.token_bytes(SEED_SIZE))
    create_key_file(out, fresh, protection)
    _print_key(f"wrote {out}, {_how_kept(protection)}", fresh, as_json=as_json)


@key.command("tls")
@click.option("--member", required=True, metavar="MEMBER", help="The member whose node shows it.")
@click.option(
    "--out", type=FILE, required=True, metavar="tls.pem", help="Where to write the key; never overwritten."
)
@_home_option
@passphrase_option
@json_option
def tls(member: str, out: Path, home_path: Path | None, passphrase_file: Path | None, as_json: bool) -> None:
    """Make a TLS key in an encrypted file, and beside it the certificate (.crt) that governors register.

    \b
    Example:
      luohu key tls --member hk-bank --out tls.pem
      luohu governance propose node hk-bank --tls tls.crt --home ... --url ...
    """
    from node.home.settings import HomeSettings
    from node.home.tlsfiles import create_tls_files
    from node.network.tls import fingerprint, make_identity

    # An id that no member can have is refused here, and not only when governors register the certificate.
    HomeSettings(member, None)
    certificate = out.with_suffix(".crt")
    if out == certificate:
        raise wrong_usage(
            "--out", expected="a name that ends in .pem", found=out.name, cure="Name another file."
        )
    for path in (out, certificate):
        refuse_existing(path)
    protection = _new_protection(out, home_path, passphrase_file)
    identity = make_identity(member)
    create_tls_files(key=out, certificate=certificate, identity=identity, protection=protection)
    print_answer(
        as_json=as_json,
        value={
            "key": str(out),
            "certificate": str(certificate),
            "fingerprint": fingerprint(identity.certificate),
        },
        lines=[
            f"wrote {out}, {_how_kept(protection)}, and {certificate}",
            *fields([("fingerprint", fingerprint(identity.certificate))]),
        ],
    )


@key.command("show")
@click.argument("path", metavar="FILE", type=FILE)
@passphrase_option
@json_option
def show(path: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Show the public key of a key file, and the commitment by which governance registers it as a next key.

    \b
    Example:
      luohu key show member.pem
    """
    protection: Protection
    if _ENCRYPTED in read_file(path, size_max=KEY_FILE_SIZE_MAX):
        protection = passphrase_for(str(path), passphrase_file)
    else:
        # Only the public key is shown, so it does no harm that the private one lies in the clear.
        protection = DevelopmentKey()
    _print_key(str(path), load_key_file(path, protection, expected=None), as_json=as_json)


@key.command("rotate")
@click.option(
    "--role", type=click.Choice(ROLES), required=True, help="Which key: the member's, or its node's."
)
@click.option("--home", "home_path", type=FILE, required=True, help="The member's home.")
@TRUST
@URLS
@passphrase_option
@json_option
def rotate(
    role: str,
    home_path: Path,
    trust_path: Path | None,
    urls: tuple[str, ...],
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Replace a key by the next one, and commit to the one after, which is written to the home first.

    The member's key signs its operations, the validator's its node's votes (from the next epoch on), the TLS
    certificate is what its node shows to peers. A running node finds the new one in its home. No key moves before the
    ledger is shown to hold the new one. Back the home up afterwards. After a crash, call it again: a rotation that took
    effect is finished first.

    \b
    Example:
      luohu key rotate --role member --home network/hk-bureau --url http://127.0.0.1:7201
    """
    from cli.nodes import connect_ledger
    from node.client.rotation import Rotated, Rotation
    from node.home.home import Home

    home = Home.open(home_path)
    protection = protection_for(
        f"the keys of {home.member}", passphrase_file, is_development=home.is_development
    )

    root = root_of_home(trust_path, home.genesis)

    async def run() -> Rotated:
        async with connect_ledger(urls, root) as ledger:
            rotation = Rotation(ledger, home, protection, now_ms)
            if role == "member":
                return await rotation.rotate_member_key()
            if role == "validator":
                return await rotation.rotate_validator_key()
            return await rotation.rotate_tls_certificate()

    rotated = asyncio.run(run())
    said = "was recorded before" if rotated.height is None else f"recorded in block {rotated.height}"
    print_answer(
        as_json=as_json,
        value={"role": role, "sequence": rotated.sequence, "height": rotated.height},
        lines=[f"rotation {rotated.sequence} of the {role} key of {home.member}: {said}"],
    )


def _new_protection(out: Path, home_path: Path | None, passphrase_file: Path | None) -> Protection:
    if home_path is None:
        return passphrase_for(f"the new key {out}", passphrase_file, is_new=True)
    from node.home.home import Home

    home = Home.open(home_path)
    return protection_for(f"the keys of {home.member}", passphrase_file, is_development=home.is_development)


def _how_kept(protection: Protection) -> str:
    return "in the clear" if isinstance(protection, DevelopmentKey) else "encrypted"


def _print_key(headline: str, private: PrivateKey, *, as_json: bool) -> None:
    commitment = next_key_commitment(private.public).hex()
    print_answer(
        as_json=as_json,
        value={"public_key": str(private.public), "next_key_commitment": commitment},
        lines=[headline, *fields([("public key", str(private.public)), ("as next key", commitment)])],
    )
