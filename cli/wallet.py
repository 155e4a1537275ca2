"""`luohu wallet`: the resident's keys."""

from pathlib import Path

import click

from cli.files import FILE, refuse_existing
from cli.output import fields, json_option, print_answer
from cli.passphrases import passphrase_for, passphrase_option
from node.client.wallet import Wallet


@click.group("wallet")
def wallet() -> None:
    """A resident's wallet: one encrypted file with holder keys and consent keys."""


@wallet.command("new")
@click.option("--out", type=FILE, required=True, help="Where to write the wallet; never overwritten.")
@passphrase_option
@json_option
def new(out: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Make an empty wallet.

    \b
    Example:
      luohu wallet new --out mine.wallet
    """
    refuse_existing(out)
    passphrase = passphrase_for(f"the new wallet {out}", passphrase_file, is_new=True)
    with Wallet.create(out, passphrase):
        print_answer(as_json=as_json, value={"wallet": str(out)}, lines=[f"wrote {out}, encrypted"])


@wallet.command("derive")
@click.option("--wallet", "path", type=FILE, required=True, help="The wallet.")
@passphrase_option
@json_option
def derive(path: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Make a fresh holder key to give to an issuer. Use a new one for each document.

    \b
    Example:
      luohu wallet derive --wallet mine.wallet
    """
    with Wallet.load(path, passphrase_for(f"the wallet {path}", passphrase_file)) as opened:
        fresh = opened.derive_holder_key()
    print_answer(
        as_json=as_json,
        value={"holder_key": str(fresh)},
        lines=["Give this holder key to the issuer:", *fields([("holder key", str(fresh))])],
    )
