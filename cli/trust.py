"""`luohu trust`: make and check the trusted root, the one file that a bank must get from a trusted hand.

Rule 1: a checkpoint is pinned only after its block was verified under genesis, whatever node handed it over.
Rule 2: a checkpoint holds at every time asked about: were it to start later, a retrospective question would
fall back to older validators, whose keys may have leaked.
Rule 3: a trusted root is never written over by an older one (ledger/trust.py, rule 8).
"""

import json
from pathlib import Path
from typing import Final

import click

from cli.exits import own_configuration, wrong_usage
from cli.files import FILE, read_file, read_genesis, read_trusted_root, write_file
from cli.output import fields, json_option, print_answer
from cli.times import now_ms, show_time
from ledger.encoding.records import Json
from ledger.errors import LedgerError
from ledger.genesis import genesis_block
from ledger.trust import (
    TRUST_FILE_SIZE_MAX,
    TRUST_VERSION,
    Checkpoint,
    TrustedRoot,
    check_replaces,
    parse_trusted_root,
    trusted_root_to_json,
)

HEIGHT_MAX: Final = 2**53 - 1


@click.group("trust")
def trust() -> None:
    """Make and check the trusted root: what a bank trusts before it verifies anything."""


@trust.command("export")
@click.option("--genesis", "genesis_path", type=FILE, required=True, help="The network's genesis.json.")
@click.option(
    "--checkpoint",
    type=click.IntRange(1, HEIGHT_MAX),
    metavar="HEIGHT",
    help="Also pin the block at this height.",
)
@click.option("--url", help="The node to fetch the checkpoint from; it is verified, not believed.")
@click.option("--out", type=FILE, required=True, help="Where to write trust.json.")
@json_option
def export(genesis_path: Path, checkpoint: int | None, url: str | None, out: Path, as_json: bool) -> None:
    """Write a trusted root from genesis, with a verified checkpoint if asked.

    \b
    Example:
      luohu trust export --genesis genesis.json --out trust.json
      luohu trust export --genesis genesis.json --checkpoint 812 --url http://127.0.0.1:7201 --out trust.json
    """
    if (checkpoint is None) != (url is None):
        raise wrong_usage(
            "luohu trust export",
            expected="--checkpoint HEIGHT together with --url URL, or neither",
            found="--url alone" if checkpoint is None else "--checkpoint alone",
            cure="Name both, or leave both out.",
        )
    root = TrustedRoot(TRUST_VERSION, read_genesis(genesis_path), ())
    if checkpoint is not None and url is not None:
        from cli.checkpoints import fetch_checkpoint

        root = TrustedRoot(TRUST_VERSION, root.genesis, (fetch_checkpoint(root, checkpoint, url),))
    with own_configuration():
        root.check()
        text = json.dumps(trusted_root_to_json(root), ensure_ascii=False, indent=2) + "\n"
    _check_replaces(root, out)
    write_file(out, text.encode())
    _print_root(root, f"wrote {out}", as_json=as_json)


def _check_replaces(root: TrustedRoot, out: Path) -> None:
    """Check that what stands at a path may be written over. Raises CommandError."""
    if not out.is_file():
        return
    try:
        current = parse_trusted_root(read_file(out, size_max=TRUST_FILE_SIZE_MAX))
    except LedgerError:
        # No trusted root: nothing that was trusted is lost.
        return
    with own_configuration(f"Name another --out; remove {out} first where it is not to be trusted any more."):
        check_replaces(root, current)


@trust.command("check")
@click.argument("trust_path", metavar="trust.json", type=FILE)
@json_option
def check(trust_path: Path, as_json: bool) -> None:
    """Check a trusted root and show what it pins. Compare the chain id with the operator by another way.

    \b
    Example:
      luohu trust check trust.json
    """
    _print_root(read_trusted_root(trust_path), f"{trust_path} is a sound trusted root", as_json=as_json)


def _print_root(root: TrustedRoot, headline: str, *, as_json: bool) -> None:
    content = root.genesis.content
    genesis_hash = genesis_block(content).block.hash
    checkpoints: list[Json] = [
        {"height": c.height, "block_hash": c.block_hash.hex(), "epoch": c.epoch} for c in root.checkpoints
    ]
    value: dict[str, Json] = {
        "chain_id": root.chain_id.hex(),
        "network": content.network,
        "use": content.use,
        "genesis_block_hash": genesis_hash.hex(),
        "signed_by": [signature.member for signature in root.genesis.signatures],
        "validators": [validator.member for validator in content.validators.validators],
        "checkpoints": checkpoints,
        "newest_pin_height": root.newest_pin(now_ms()).height,
    }
    rows = [
        ("chain id", root.chain_id.hex()),
        ("network", f"{content.network}, for {content.use}, from {show_time(content.time_ms)}"),
        ("signed by", ", ".join(signature.member for signature in root.genesis.signatures)),
        ("validators", ", ".join(validator.member for validator in content.validators.validators)),
        *_checkpoint_rows(root.checkpoints),
    ]
    print_answer(as_json=as_json, value=value, lines=[headline, *fields(rows)])


def _checkpoint_rows(checkpoints: tuple[Checkpoint, ...]) -> list[tuple[str, str]]:
    if not checkpoints:
        return [("pins", "genesis alone")]
    return [("pins", f"block {c.height} {c.block_hash.hex()}, epoch {c.epoch}") for c in checkpoints]
