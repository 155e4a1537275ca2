"""`luohu key`: signing keys in encrypted files."""

import secrets
from pathlib import Path

import click

from cli.files import FILE, read_file, refuse_existing
from cli.output import fields, json_option, print_answer
from cli.passphrases import passphrase_for, passphrase_option
from ledger.keys import SEED_SIZE, PrivateKey
from ledger.operations import next_key_commitment
from node.keyfiles import KEY_FILE_SIZE_MAX, DevelopmentKey, Protection, create_key_file, load_key_file

_ENCRYPTED = b"ENCRYPTED PRIVATE KEY"


@click.group("key")
def key() -> None:
    """Make and show signing keys."""


@key.command("new")
@click.option("--out", type=FILE, required=True, help="Where to write the encrypted key; never overwritten.")
@passphrase_option
@json_option
def new(out: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Make a fresh signing key in an encrypted file, and show its public key.

    \b
    Example:
      luohu key new --out member-next.pem
    """
    refuse_existing(out)
    passphrase = passphrase_for(f"the new key {out}", passphrase_file, is_new=True)
    fresh = PrivateKey.from_seed(secrets.token_bytes(SEED_SIZE))
    create_key_file(out, fresh, passphrase)
    _print_key(f"wrote {out}, encrypted", fresh, as_json=as_json)


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


def _print_key(headline: str, private: PrivateKey, *, as_json: bool) -> None:
    commitment = next_key_commitment(private.public).hex()
    print_answer(
        as_json=as_json,
        value={"public_key": str(private.public), "next_key_commitment": commitment},
        lines=[headline, *fields([("public key", str(private.public)), ("as next key", commitment)])],
    )
