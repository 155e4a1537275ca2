"""The trusted root under which a command believes what nodes answer, and how an answer says whether it is proven.

Rule 1: a root comes from a file that the user names, or from the wallet that keeps such a one. What a node offers is
never one.
Rule 2: a wallet keeps a root once something was proven under it. A root that is named later takes its place where it
is of the same chain and as new or newer; an older one, or one of another chain, is refused before anything is asked.
Rule 3: what no root proves is told: the first line says so, and `--json` has `proven`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from cli.exits import own_configuration
from cli.files import FILE, read_trusted_root
from cli.passphrases import passphrase_for
from cli.times import show_time
from ledger.encoding.records import Json
from ledger.genesis import Genesis
from ledger.trust import TRUST_VERSION, TrustedRoot, check_replaces
from node.client.answers import Answer, Proven

if TYPE_CHECKING:
    from node.client.wallet import Wallet

AS_TOLD: Final = "as this node says"
REPLACE_CURE: Final = (
    "Use the operators' present trust.json; `luohu wallet show` shows what the wallet keeps."
)

TRUST: Final = click.option(
    "--trust",
    "trust_path",
    type=FILE,
    metavar="trust.json",
    help="Your trusted root: believe only what is proven under it.",
)
URLS: Final = click.option(
    "--url",
    "urls",
    required=True,
    multiple=True,
    help="A node's API, like http://127.0.0.1:7201; may be repeated: the next is asked where one answer is too few.",
)
ROOT_OF_WALLET: Final = click.option(
    "--wallet", "wallet_path", type=FILE, help="Your wallet, which keeps a trusted root; instead of --trust."
)


def named_root(trust_path: Path | None, kept: TrustedRoot | None) -> TrustedRoot | None:
    """Return the root to believe by: the one that is named, else the kept one. Raises CommandError (rule 2)."""
    if trust_path is None:
        return kept
    named = read_trusted_root(trust_path)
    if kept is not None:
        with own_configuration(REPLACE_CURE):
            check_replaces(named, kept)
    return named


def root_of_home(trust_path: Path | None, genesis: Genesis) -> TrustedRoot:
    """Return the root that a member believes by: the one that is named, else its home's genesis.

    Raises CommandError.
    """
    own = TrustedRoot(TRUST_VERSION, genesis, ())
    named = named_root(trust_path, own)
    assert named is not None, "a home has its genesis"
    return named


@contextmanager
def kept_root(
    trust_path: Path | None, wallet_path: Path | None, passphrase_file: Path | None
) -> Iterator[TrustedRoot | None]:
    """Lend the root that is named, or that a named wallet keeps; the wallet keeps it when the block succeeds."""
    if wallet_path is None:
        yield named_root(trust_path, None)
        return
    # Only who names a wallet needs what opens one.
    from node.client.wallet import Wallet

    with Wallet.load(wallet_path, passphrase_for(f"the wallet {wallet_path}", passphrase_file)) as wallet:
        root = named_root(trust_path, wallet.root)
        yield root
        keep_root(wallet, root)


def keep_root(wallet: "Wallet", root: TrustedRoot | None) -> None:
    """Have a wallet keep the root under which something was proven. Raises CommandError or WalletError."""
    if root is not None:
        with own_configuration(REPLACE_CURE):
            wallet.keep_root(root)


def headline(answer: Answer[object], said: str) -> str:
    """Return a first line: what is said, and that a node says so where nothing proves it (rule 3)."""
    return said if isinstance(answer, Proven) else f"{AS_TOLD}: {said}"


def shown_rows(answer: Answer[object]) -> list[tuple[str, str]]:
    """Return the line that says what an answer rests on."""
    if isinstance(answer, Proven):
        return [
            ("proven", f"by block {answer.height} of {show_time(answer.time_ms)}, under your trusted root")
        ]
    return [("proven", "no: this is what a node says; name your trusted root with --trust")]


def shown_json(answer: Answer[object]) -> dict[str, Json]:
    """Return what an answer rests on, as keys of a JSON answer."""
    if isinstance(answer, Proven):
        return {"proven": True, "as_of_height": answer.height, "as_of_ms": answer.time_ms}
    return {"proven": False, "as_of_height": None, "as_of_ms": None}
