"""`luohu erase`: destroy what opens a document, and say what remains on the ledger.

Rule 1: nothing is erased without `--yes` or a typed confirmation, and nothing if one thing stands against it.
Rule 2: the answer lists what remains on the ledger, which nothing here can remove, and why it says nothing now.
"""

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.agreement import require_yes
from cli.exits import wrong_usage
from cli.files import FILE, read_consent, read_proof
from cli.output import fields, json_option, print_answer
from cli.passphrases import passphrase_for, passphrase_option
from cli.receipt import receipt_path_of
from cli.times import now_ms, show_time
from ledger.encoding.records import Json, unpack
from ledger.presentation import ConsentFile
from ledger.proofs import Proof
from ledger.rules.state import LEAF_SIZE_MAX, Anchor, Consent

if TYPE_CHECKING:
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
@click.option("--url", help="A node's API, to learn that the consent has ended.")
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
    url: str | None,
    yes: bool,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Destroy the salt, the receipt and the keys of a document, and show what remains on the ledger.

    Files are overwritten before they are removed. What others were given, and copies of your own in backups,
    this cannot reach. It cannot be undone.

    \b
    Example:
      luohu erase report.pdf.proof --document report.pdf --home network/hk-bureau
      luohu erase report.pdf.proof --wallet mine.wallet --consent consent.luohu --url http://127.0.0.1:7201
    """
    from node.client.erasure import erase as erase_all
    from node.client.erasure import plan_holder_erasure, plan_issuer_erasure

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
            is_over = consent is not None and _is_over(consent, url)
            plan = plan_holder_erasure(proof, consent, named.files(), wallet, is_consent_over=is_over)
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
    from node.client.issuing.register import REGISTER, Register
    from node.home.home import Home

    home = Home.open(home_path)
    path = home.data / REGISTER
    if not path.exists():
        return None
    chain_id = home.genesis.content.chain_id
    return stack.enter_context(Register.open(path, chain_id=chain_id, issuer=home.member))


def _is_over(consent: ConsentFile, url: str | None) -> bool:
    if now_ms() > consent.grant.decoded().terms.until_ms:
        return True
    if url is None:
        return False
    from cli.nodes import connect

    async def ask() -> Consent:
        async with connect(url) as client:
            return await client.consent(consent.consent_key, consent.consent_id)

    return asyncio.run(ask()).ended is not None


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
                f"{consent.consent_id.hex()}: {terms.issuer} to {terms.recipient} for {terms.purpose}",
            ),
            ("terms", f"commitment {terms.terms_commitment.hex()}, which nothing opens without its salt"),
            ("verifications", "a tag for each one recorded, which nothing opens without the document's salt"),
        ]
    return rows
