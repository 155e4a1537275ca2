"""`luohu wallet`: the resident's keys, and the trusted root that the wallet keeps (cli/roots.py, rule 2)."""

from pathlib import Path

import click

from cli.files import FILE, refuse_existing
from cli.output import fields, json_option, print_answer
from cli.passphrases import passphrase_for, passphrase_option
from cli.roots import keep_root, named_root
from cli.times import show_time
from ledger.encoding.records import Json
from ledger.trust import TrustedRoot
from node.client.wallet import Wallet


@click.group("wallet")
def wallet() -> None:
    """A resident's wallet: one encrypted file with holder keys and consent keys."""


@wallet.command("new")
@click.option("--out", type=FILE, required=True, help="Where to write the wallet; never overwritten.")
@click.option(
    "--trust",
    "trust_path",
    type=FILE,
    metavar="trust.json",
    help="The trusted root for the wallet to keep; otherwise the first that you name to a command.",
)
@passphrase_option
@json_option
def new(out: Path, trust_path: Path | None, passphrase_file: Path | None, as_json: bool) -> None:
    """Make an empty wallet.

    \b
    Example:
      luohu wallet new --out mine.wallet --trust trust.json
    """
    refuse_existing(out)
    root = named_root(trust_path, None)
    passphrase = passphrase_for(f"the new wallet {out}", passphrase_file, is_new=True)
    with Wallet.create(out, passphrase) as made:
        keep_root(made, root)
        print_answer(
            as_json=as_json,
            value={"wallet": str(out), "root": _root_json(root)},
            lines=[f"wrote {out}, encrypted", *fields(_root_rows(root))],
        )


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


@wallet.command("show")
@click.option("--wallet", "path", type=FILE, required=True, help="The wallet.")
@passphrase_option
@json_option
def show(path: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Show the trusted root that a wallet keeps, and its public keys. No private key is shown.

    A newer root takes its place when you name it to a command with --trust.

    \b
    Example:
      luohu wallet show --wallet mine.wallet
    """
    with Wallet.load(path, passphrase_for(f"the wallet {path}", passphrase_file)) as opened:
        root, keys = opened.root, opened.keys
    listed: list[Json] = [
        {
            "kind": key.kind,
            "public_key": str(key.public),
            "consent_id": None if key.consent_id is None else key.consent_id.hex(),
        }
        for key in keys
    ]
    rows = [
        (
            f"{key.kind} key",
            f"{key.public}" + ("" if key.consent_id is None else f" of {key.consent_id.hex()}"),
        )
        for key in keys
    ]
    print_answer(
        as_json=as_json,
        value={"wallet": str(path), "root": _root_json(root), "keys": listed},
        lines=[f"{path} holds {len(keys)} keys", *fields([*_root_rows(root), *rows])],
    )


def _root_json(root: TrustedRoot | None) -> dict[str, Json] | None:
    if root is None:
        return None
    newest = root.checkpoints[-1] if root.checkpoints else None
    return {
        "chain_id": root.chain_id.hex(),
        "network": root.genesis.content.network,
        "use": root.genesis.content.use,
        "newest_pin_height": 0 if newest is None else newest.height,
    }


def _root_rows(root: TrustedRoot | None) -> list[tuple[str, str]]:
    if root is None:
        return [("trusted root", "none: name yours with --trust, and the wallet keeps it")]
    content = root.genesis.content
    pin = "genesis alone"
    if root.checkpoints:
        newest = root.checkpoints[-1]
        pin = f"block {newest.height} {newest.block_hash.hex()}, epoch {newest.epoch}"
    return [
        ("trusted root", f"chain {root.chain_id.hex()}"),
        ("network", f"{content.network}, for {content.use}, from {show_time(content.time_ms)}"),
        ("newest pin", pin),
    ]
