"""`luohu erase`: destroy what opens a document, and say what remains on the ledger.

Rule 1: nothing is erased without `--yes` or a typed confirmation, and nothing if one thing stands against it.
Rule 2: a consent's withdrawal is destroyed only where evidence under a trusted root shows that the consent is over for
good: no node's word destroys anything. Erasing comes last, after all that could speak against it.
Rule 3: the answer lists what remains on the ledger, which nothing here can remove, and why it says nothing now.
"""

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.agreement import require_yes
from cli.exits import NO, CommandError, require_posix, wrong_usage
from cli.files import FILE, read_consent, read_proof
from cli.output import fields, json_option, print_answer
from cli.passphrases import passphrase_for, passphrase_option
from cli.receipt import receipt_path_of
from cli.roots import TRUST, keep_root, named_root
from cli.times import show_time
from ledger.consents import ConsentFile
from ledger.encoding.records import Json, unpack
from ledger.proofs import Proof
from ledger.rules.state import LEAF_SIZE_MAX, Anchor, Consent
from ledger.trust import TrustedRoot

if TYPE_CHECKING:
    from node.client.answers import Proven
    from node.client.issuing.register import Register
    from node.client.wallet import Wallet

OPENS_NOTHING = "without the salt the commitment is 32 bytes that match every document as well as any other"


@dataclass(frozen=True, slots=True)
class _Named:
    """What the command names."""

    proof_path: Path
    document: Path | None
    consent: Path | None
    also: tuple[Path, ...]

    def files(self) -> list[Path]:
        """Return the files to erase: the consent brings its receipt with it."""
        files = [] if self.document is None else [self.document]
        if self.consent is not None:
            files.append(self.consent)
            receipt = receipt_path_of(self.consent)
            files += [receipt] if receipt.exists() else []
        # The proof last: it names what is to be erased, so a call that was cut short can be given again.
        return [*files, *self.also, self.proof_path]


@click.command("erase")
@click.argument("proof_path", metavar="FILE.proof", type=FILE)
@click.option("--document", type=FILE, metavar="FILE", help="Erase the document too.")
@click.option(
    "--also",
    multiple=True,
    type=FILE,
    metavar="FILE",
    help="A copy, page or receipt to erase; may be repeated.",
)
@click.option("--home", "home_path", type=FILE, help="Issuer: your home.")
@click.option(
    "--wallet", "wallet_path", type=FILE, help="Resident: your wallet, whose keys for it are destroyed."
)
@click.option("--consent", "consent_path", type=FILE, help="Resident: the consent that it was shown under.")
@TRUST
@click.option(
    "--url",
    "urls",
    multiple=True,
    help="A node's API, for evidence that the consent has ended; may be repeated.",
)
@click.option("--yes", is_flag=True, help="Erase without asking.")
@passphrase_option
@json_option
def erase(
    proof_path: Path,
    document: Path | None,
    also: tuple[Path, ...],
    home_path: Path | None,
    wallet_path: Path | None,
    consent_path: Path | None,
    trust_path: Path | None,
    urls: tuple[str, ...],
    yes: bool,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Destroy the salt, the receipt and the keys of a document, and show what remains on the ledger.

    Files are overwritten before they are removed. What others were given, and copies of your own in backups,
    this cannot reach. It cannot be undone.

    A consent is erased once it is proven to be over, under the trusted root that your wallet keeps or --trust names.

    \b
    Example:
      luohu erase report.pdf.proof --document report.pdf --home network/hk-bureau
      luohu erase report.pdf.proof --wallet mine.wallet --consent consent.luohu --trust trust.json \\
        --url http://127.0.0.1:7201
    """
    from node.client.erasure import erase as erase_all
    from node.client.erasure import plan_holder_erasure, plan_issuer_erasure

    # Elsewhere the old file of a wallet cannot be overwritten, once the new one has its name.
    require_posix("luohu erase")
    if (home_path is None) == (wallet_path is None) or (consent_path is not None and wallet_path is None):
        raise wrong_usage(
            "luohu erase",
            expected="either --home HOME of the issuer, or --wallet WALLET of the resident",
            found="neither" if home_path is None and wallet_path is None else "both",
            cure="Say whose copy is erased; --consent belongs to the wallet.",
        )
    proof = Proof.decode(read_proof(proof_path))
    named = _Named(proof_path, document, consent_path, also)
    consent = None if consent_path is None else read_consent(consent_path)
    with ExitStack() as stack:
        wallet: Wallet | None = None
        register: Register | None = None
        if wallet_path is not None:
            wallet = stack.enter_context(_open_wallet(wallet_path, passphrase_file))
            root = named_root(trust_path, wallet.root)
            over = None if consent is None else _require_over(consent, root, urls)
            plan = plan_holder_erasure(proof, consent, named.files(), wallet, over=over)
            if over is not None:
                keep_root(wallet, root)
        else:
            assert home_path is not None, "one of the two is given"
            plan = plan_issuer_erasure(proof, named.files())
            register = _open_register(stack, home_path)
        if not yes:
            require_yes(
                "Destroy these? It cannot be undone.",
                yes=yes,
                command="luohu erase",
                shown=[f"  {each}" for each in (*plan.files, *plan.keys)],
            )
        remains = _remains(proof, consent)
        was_registered = erase_all(plan, wallet, register)
    value: dict[str, Json] = {
        "erased": {
            "files": [str(path) for path in plan.files],
            "keys": [str(key) for key in plan.keys],
            "register": was_registered,
        },
        "remains_on_ledger": dict(remains),
        "opens": OPENS_NOTHING,
    }
    rows = [
        *(("erased", str(path)) for path in plan.files),
        *(("key destroyed", str(key)) for key in plan.keys),
    ]
    if was_registered:
        rows.append(("erased", "reference, salt and opening in the register of what was issued"))
    rows += [(f"remains: {name}", text) for name, text in remains]
    rows.append(("opens", OPENS_NOTHING))
    lines = [f"erased {len(plan.files)} files and {len(plan.keys)} keys", *fields(rows)]
    print_answer(as_json=as_json, value=value, lines=lines)


def _open_wallet(path: Path, passphrase_file: Path | None) -> "Wallet":
    from node.client.wallet import Wallet

    return Wallet.load(path, passphrase_for(f"the wallet {path}", passphrase_file))


def _open_register(stack: ExitStack, home_path: Path) -> "Register | None":
    """Return the issuer's register, if it has one."""
    from node.client.issuing.place import register_of_home
    from node.client.issuing.register import Register
    from node.home.home import Home

    home = Home.open(home_path)
    path = register_of_home(home.path)
    if not path.exists():
        return None
    chain_id = home.genesis.content.chain_id
    return stack.enter_context(Register.open(path, chain_id=chain_id, issuer=home.member))


def _require_over(
    consent: ConsentFile, root: TrustedRoot | None, urls: tuple[str, ...]
) -> "Proven[Consent | None]":
    """Return the proof that a consent is over for good. Raises CommandError, or ClientError where no node shows it."""
    if root is None or not urls:
        raise CommandError(
            exit_code=NO,
            where="consent",
            expected="evidence that it is over: a trusted root, and a node that shows it",
            found="no trusted root: what a node says destroys nothing" if root is None else "no --url",
            cure="Name the root with --trust and a node with --url. If the consent stands, withdraw it first.",
            code="erasure",
        )
    from cli.nodes import connect_ledger
    from node.client.erasure import require_over

    async def ask() -> "Proven[Consent | None]":
        async with connect_ledger(urls, root) as ledger:
            return await require_over(ledger, consent)

    return asyncio.run(ask())


def _remains(proof: Proof, consent: ConsentFile | None) -> list[tuple[str, str]]:
    """Return what the ledger holds of the document, as the proof and the consent show it."""
    anchor = unpack(Anchor, proof.evidence.anchor.value, size_max=LEAF_SIZE_MAX)
    rows = [
        (
            "anchor",
            f"root {anchor.root.hex()} of {anchor.leaf_count} commitments by {anchor.issuer}, {anchor.schema}, "
            f"block {anchor.height}, {show_time(anchor.time_ms)}",
        ),
    ]
    if consent is not None:
        terms = consent.grant.decoded().terms
        rows += [
            (
                "consent",
                f"{consent.consent_id.hex()}: {'+'.join(terms.sources)} to {terms.recipient} for {terms.purpose}",
            ),
            ("terms", f"commitment {terms.terms_commitment.hex()}, which nothing opens without its salt"),
            ("uses", "a tag for each one recorded, which nothing opens without the salt of the terms"),
        ]
    return rows
