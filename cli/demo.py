"""`luohu demo`: the whole story on this machine, with real processes, TLS, disks and signatures.

Rule 1: every step goes through the commands and routes that members and holders use; nothing is simulated.
Rule 2: a step that does not end as the story says stops the demo and says what was expected and found.
Rule 3: no process and no file is left behind, however it ends: its commands and nodes hang on its lifeline, and its
folder is a passing one (node/lifeline.py, node/files/folders.py). `--keep` says what it leaves.
"""

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Final

import click

from cli.exits import INTERRUPTED, NO, CommandError, require_posix, unreadable
from cli.files import FILE, read_file, read_proof, read_trusted_root, write_file
from cli.output import json_option, print_answer, print_lines
from cli.processes import (
    ListedNode,
    find_node,
    find_nodes,
    read_network_file,
    send_signal,
    stop_node,
    stop_process,
)
from cli.receipt import receipt_path_of, write_receipt
from cli.times import now_ms
from ledger.consents import ConsentFile
from ledger.encoding.keys import PrivateKey
from ledger.encoding.records import Json, pack
from ledger.proofs import Proof
from ledger.receipts import ReceiptFile, check_receipt_of
from ledger.requests import (
    ANSWER_WITHIN_MS,
    HOLDER_CARRIED,
    SELF,
    Asked,
    Basis,
    Item,
    Request,
    RequestBody,
)
from ledger.rules.state import Verification, anchor_key
from ledger.trust import TrustedRoot
from ledger.verdicts import VerificationError
from ledger.verifier import Verifier
from node.client.answers import Recorded
from node.client.client import Client
from node.client.holder import (
    grant,
    make_consent_with_receipt,
    present,
    refresh,
    sign_presentation,
    withdraw,
)
from node.client.issuing.draft import draft_of_file, proof_path_of
from node.client.issuing.outbox import Outbox
from node.client.issuing.place import register_of_home
from node.client.issuing.register import Batch, Register
from node.client.ledgerclient import LedgerClient
from node.client.recipient import fresh_nonce, record_verification
from node.client.texts import fetch_texts_of_notice
from node.client.wallet import Wallet
from node.clock import SystemClock
from node.consent.receipts import require_notice_for
from node.consent.scenarios import SAMPLE_SIZE_MAX, scenarios_directory
from node.consent.textbundle import PackedTexts, TextBundle
from node.consent.textfolder import sample_texts
from node.errors import Unreachable
from node.files.durablefile import POSIX_FILES
from node.files.folders import copy_file, passing_folder, passing_parent, remove_folder
from node.files.keyfiles import DevelopmentKey, Passphrase
from node.files.reading import DOCUMENT_SIZE_MAX, open_named
from node.home.home import Home
from node.lifeline import VARIABLE, Lifeline

DAY_MS: Final = 86_400_000
CATCH_UP_S: Final = 30.0
COMMAND_S: Final = 60
END_S: Final = 30
STALE_MS: Final = 2 * DAY_MS
KILLED: Final = "hk-operator"


@dataclass(frozen=True, slots=True)
class Case:
    """One direction of the story: who issues, who asks, for what."""

    issuer: str
    bank: str
    schema: str
    source: str
    destination: str


NORTHBOUND: Final = Case("hk-bureau", "mainland-bank", "hk.credit-report", "HK", "CN")
SOUTHBOUND: Final = Case("mainland-bureau", "hk-bank", "cn.credit-report", "CN", "HK")
PURPOSE: Final = "consumer-credit.loan"


@dataclass(slots=True)
class Stage:
    """Where the demo plays, and what it measured."""

    directory: Path
    texts: TextBundle
    lifeline: Lifeline
    is_quiet: bool
    step: int = 0
    times: dict[str, float] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)

    @property
    def network(self) -> Path:
        return self.directory / "network"

    @property
    def trust(self) -> TrustedRoot:
        return read_trusted_root(self.network / "trust.json")

    def say(self, text: str) -> None:
        """Tell the next step of the story."""
        self.step += 1
        if not self.is_quiet:
            print_lines([f"{self.step:>2}. {text}"])

    def add(self, text: str) -> None:
        """Tell a detail of this step."""
        if not self.is_quiet:
            print_lines([f"    {text}"])

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Remember how long something took."""
        start = time.monotonic()
        yield
        self.times[name] = time.monotonic() - start

    def key(self, member: str) -> PrivateKey:
        return Home.open(self.network / member).load_member_key(DevelopmentKey())

    def nodes(self) -> dict[str, ListedNode]:
        return {node.member: node for node in read_network_file(self.network).nodes}

    def luohu(self, *arguments: str | Path, codes: tuple[int, ...] = (0,)) -> dict[str, Json]:
        """Run a command of this program, which ends with the demo, and so do nodes that it starts."""
        return _run(arguments, codes, stdin=self.lifeline.descriptor, env=self.lifeline.environment)

    def luohu_to_stay(self, *arguments: str | Path) -> dict[str, Json]:
        """Run a command of this program whose nodes go on without the demo."""
        own = {name: value for name, value in os.environ.items() if name != VARIABLE}
        return _run(arguments, (0,), stdin=subprocess.DEVNULL, env=own)


def _run(
    arguments: Sequence[str | Path], codes: tuple[int, ...], *, stdin: int, env: dict[str, str]
) -> dict[str, Json]:
    """Run a command of this program; return its JSON answer."""
    command = [sys.executable, "-m", "cli.main", *map(str, arguments), "--json"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=stdin, stdout=pipe, stderr=pipe, env=env) as running:
        try:
            output, errors = running.communicate(timeout=COMMAND_S)
        except BaseException:
            # It may have started nodes, and takes them down with it where it is asked to end.
            _end(running)
            raise
    shown = output.decode(errors="replace")
    if running.returncode not in codes:
        found = f"{running.returncode}: {(shown + errors.decode(errors='replace'))[-500:]}"
        raise unexpected("luohu " + " ".join(map(str, arguments)), f"exit code {codes}", found)
    answer: dict[str, Json] = json.loads(shown)
    return answer


def unexpected(where: str, expected: str, found: str) -> CommandError:
    """Return the error of a story that goes another way."""
    cure = "This is a fault of Luohu: please report it with this output."
    return CommandError(exit_code=NO, where=where, expected=expected, found=found, cure=cure, code="demo")


@click.command("demo")
@click.option("--file", "files", type=FILE, multiple=True, help="Anchor this file too; it stays here.")
@click.option("--keep", is_flag=True, help="Leave the network running, and say what to try.")
@json_option
def demo(files: tuple[Path, ...], keep: bool, as_json: bool) -> None:
    """Play the whole story: four institutions, one resident, one bank, and everybody who tries to cheat.

    \b
    Example:
      luohu demo
      luohu demo --file my-report.pdf --keep
    """
    require_posix("luohu demo")
    for path in files:
        _check_file(path)
    # SIGINT as well: a shell starts what runs in its background with that one ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    is_kept = False
    with passing_folder(None, prefix="luohu-demo-") as directory, Lifeline.inherited() as lifeline:
        stage = Stage(directory, sample_texts().bundle, lifeline, is_quiet=as_json)
        try:
            with stage.timed("the whole story"):
                asyncio.run(play(stage, files))
            if keep:
                _keep(stage)
                is_kept = True
        finally:
            if not is_kept:
                # Whoever is impatient and interrupts again must not stop the cleaning up.
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    signal.signal(number, signal.SIG_IGN)
                _clean_up(stage)
    value: dict[str, Json] = {
        "verdict": "the story held",
        "seconds": {name: round(seconds, 3) for name, seconds in stage.times.items()},
        "refusals": dict(stage.refusals),
    }
    print_answer(as_json=as_json, value=value, lines=_summary(stage))


def _check_file(path: Path) -> None:
    """Check that a file can be anchored, before anything is started for it. Raises CommandError."""
    try:
        open_named(path, size_max=DOCUMENT_SIZE_MAX).close()
    except OSError as error:
        raise unreadable(str(path), error) from error


async def play(stage: Stage, files: tuple[Path, ...]) -> None:
    """Play the story. Raises CommandError where it goes another way."""
    start_network(stage)
    url = stage.nodes()["sz-operator"].url
    async with LedgerClient.connect([url], stage.trust, now_ms) as ledger:
        passphrase = Passphrase.from_text(secrets.token_hex(16))
        with Wallet.create(stage.directory / "wallet", passphrase) as wallet:
            story = await tell_northbound(stage, ledger, wallet, files)
            refuse_cheats(stage, wallet, story)
            await tell_southbound(stage, ledger, wallet)
            await kill_and_return(stage, ledger, story)
            await tell_withdrawal(stage, ledger, story)
    audit_and_tamper(stage, story)


@dataclass(frozen=True, slots=True)
class Story:
    """One document on its way: everything that bank and holder hold."""

    case: Case
    document: Path
    proof: Proof
    request: Request
    consent: ConsentFile
    receipt: ReceiptFile
    anchored: Batch

    @property
    def content(self) -> bytes:
        """The document's bytes."""
        return read_file(self.document, size_max=SAMPLE_SIZE_MAX)

    def with_request(self, request: Request) -> "Story":
        return replace(self, request=request)


def start_network(stage: Stage) -> None:
    """Start four validators as processes and show that they agree."""
    with stage.timed("four validators up"):
        stage.luohu("network", "new", stage.network)
        stage.luohu("network", "up", stage.network)
    stage.say("Four institutions start a validator each: their own process, TLS certificate, keys and disk.")
    answer = stage.luohu("network", "status", stage.network)
    nodes = answer["nodes"]
    assert isinstance(nodes, list), "the status lists nodes"
    heights = sorted({str(node["height"]) for node in nodes if isinstance(node, dict)})
    stage.add(f"All {len(nodes)} are ready and agree, at block {' to '.join(heights)}.")


async def tell_northbound(
    stage: Stage, ledger: LedgerClient, wallet: Wallet, files: tuple[Path, ...]
) -> Story:
    """The bank asks, the bureau anchors, the resident consents and presents, the bank verifies and records."""
    case = NORTHBOUND
    request = make_request(stage, case)
    stage.say(
        f"A mainland bank asks for a Hong Kong credit report: a signed request of {len(request.encode())} bytes"
    )
    stage.add("(one QR code): this bank, this purpose, until when, and a fresh nonce.")
    documents = [stage.directory / "hk-credit-report.pdf", stage.directory / "hk-credit-report.json"]
    _write_samples(stage, documents)
    for path in files:
        copy = stage.directory / f"your-{path.name}"
        with open_named(path, size_max=DOCUMENT_SIZE_MAX) as file:
            copy_file(file, copy)
        documents.append(copy)
    anchored = await anchor(stage, ledger, case, wallet, documents)
    stage.say(
        f"The bureau anchors {len(documents)} files in one transaction, final at block {anchored.height} "
        f"after {stage.times['anchor final']:.2f} s."
    )
    stage.add("On chain: one hash. Beside each file: its proof. The files themselves go nowhere.")
    story = await consent_and_present(stage, ledger, case, wallet, documents[0], request, anchored)
    stage.say(
        f"The resident consents (final after {stage.times['consent final']:.2f} s), refreshes the proof and "
        "presents it; the withdrawal is signed already, for later."
    )
    check_receipt_of(story.receipt, story.consent)
    told = story.receipt.receipt
    stage.add(
        f"The consent receipt, {receipt_path_of(story.document).name}, says in three languages what for:"
    )
    stage.add(
        f"{told.purpose.title.in_language('en')}; and by whom, where and how long, and how to withdraw."
    )
    stage.add("On chain: one commitment to its every character, that only its holders can open.")
    verdict = Verifier(stage.trust).verify(
        story.content, story.proof.encode(), request=story.request, now_ms=now_ms()
    )
    with stage.timed("verification offline"):
        Verifier(stage.trust).verify(
            story.content, story.proof.encode(), request=story.request, now_ms=now_ms()
        )
    stage.say(
        f"The bank verifies offline, from two files and its trusted root, in "
        f"{1000 * stage.times['verification offline']:.0f} ms:"
    )
    stage.add(
        f"issued by {verdict.issuer.name_en} ({verdict.issuer.member}), anchored at block "
        f"{verdict.anchored.height}, not revoked as of block {verdict.status.height},"
    )
    stage.add(
        f"presented by the holder, consent for {verdict.consent.purpose} at {verdict.consent.recipient}."
    )
    with stage.timed("record final"):
        await record(stage, ledger, story)
    stage.say(
        f"The bank records that it verified, under which consent, without revealing the document "
        f"(final after {stage.times['record final']:.2f} s)."
    )
    return story


def refuse_cheats(stage: Stage, wallet: Wallet, story: Story) -> None:
    """Every cheat is refused, each for its own reason."""
    stage.say("Now everybody who cheats, each refused for its own reason:")
    document, proof = story.content, story.proof.encode()
    flipped = bytes([document[0] ^ 1]) + document[1:]
    middle = len(proof) // 2
    damaged = proof[:middle] + bytes([proof[middle] ^ 1]) + proof[middle + 1 :]
    other_bank = make_request(stage, replace(story.case, bank="hk-bank"))
    other_purpose = make_request(stage, story.case, purpose="corporate-account.opening")
    # The same terms once more, with a nonce of its own: what the consent was given to.
    again = Request.sign(replace(story.request.decoded(), nonce=fresh_nonce()), stage.key(story.case.bank))
    thief = PrivateKey.from_seed(secrets.token_bytes(32))
    consent_key = wallet.signer_for(story.consent.consent_key)
    stolen = sign_presentation(story.proof, again, story.consent, thief, consent_key, item=0)
    trials: list[tuple[str, bytes, bytes, Request, int, tuple[str, ...]]] = [
        ("one bit of the file", flipped, proof, story.request, 0, ("document-altered",)),
        ("one bit of the proof", document, damaged, story.request, 0, ()),
        ("another bank", document, proof, other_bank, 0, ("wrong-recipient",)),
        ("another purpose", document, proof, other_purpose, 0, ("wrong-purpose",)),
        ("without the holder's key", document, stolen.encode(), again, 0, ("holder-signature",)),
        ("a stale proof", document, proof, story.request, STALE_MS, ("stale-proof",)),
    ]
    for name, shown, shown_proof, request, later_ms, codes in trials:
        error = must_refuse(stage, name, shown, shown_proof, request, later_ms=later_ms)
        if codes and error.code not in codes:
            raise unexpected(name, f"a refusal as {codes}", error.code)
        stage.add(f"{name:<26}{error.code}: {error.refusal.meaning.en}")


def must_refuse(
    stage: Stage, name: str, document: bytes, proof: bytes, request: Request, *, later_ms: int = 0
) -> VerificationError:
    """Return the refusal of a verification. Raises CommandError where it is not refused."""
    try:
        Verifier(stage.trust).verify(document, proof, request=request, now_ms=now_ms() + later_ms)
    except VerificationError as error:
        stage.refusals[name] = error.code
        return error
    raise unexpected(name, "a refusal", "a verdict")


async def tell_southbound(stage: Stage, ledger: LedgerClient, wallet: Wallet) -> None:
    """The same in the other direction: a mainland document at a Hong Kong bank."""
    case = SOUTHBOUND
    request = make_request(stage, case)
    document = stage.directory / "cn-credit-report.json"
    _write_samples(stage, [document])
    anchored = await anchor(stage, ledger, case, wallet, [document])
    story = await consent_and_present(stage, ledger, case, wallet, document, request, anchored)
    Verifier(stage.trust).verify(story.content, story.proof.encode(), request=request, now_ms=now_ms())
    stage.say("Southbound as well: a mainland credit report, verified by a Hong Kong bank, the same way.")


async def kill_and_return(stage: Stage, ledger: LedgerClient, story: Story) -> None:
    """One validator is killed, the network goes on, and it catches up on return."""
    killed = stage.nodes()[KILLED]
    _kill(stage.network / KILLED)
    with stage.timed("final with one validator dead"):
        await record(stage, ledger, story)
    stage.say(
        f"The {KILLED} validator is killed. The network goes on: a transaction is final after "
        f"{stage.times['final with one validator dead']:.2f} s."
    )
    height = (await ledger.nodes.ask(Client.status)).height
    with stage.timed("caught up after restart"):
        stage.luohu("network", "up", stage.network)
        async with Client.connect(killed.url) as returned:
            await _wait_for_height(returned, height)
            status = await returned.status()
    stage.add(
        f"It starts again and catches up to block {status.height} in "
        f"{stage.times['caught up after restart']:.1f} s."
    )


async def tell_withdrawal(stage: Stage, ledger: LedgerClient, story: Story) -> None:
    """The resident withdraws with the withdrawal prepared earlier; the bank's next check is refused."""
    with stage.timed("withdrawal final"):
        await withdraw(ledger, story.consent)
    refreshed = (await refresh(ledger, story.proof, story.consent)).value
    error = must_refuse(stage, "after withdrawal", story.content, refreshed.encode(), story.request)
    if error.code != "consent-ended":
        raise unexpected("after withdrawal", "consent-ended", error.code)
    stage.say(
        "The resident withdraws, without the wallet (final after "
        f"{stage.times['withdrawal final']:.2f} s); the bank's next check: {error.code}."
    )


def audit_and_tamper(stage: Stage, story: Story) -> None:
    """The auditor replays: clean. Then a stored record is altered on one node, and the audit names it."""
    genesis = stage.network / "genesis.json"
    with stage.timed("audit over the network"):
        report = stage.luohu("audit", "--url", stage.nodes()["mainland-bank"].url, "--genesis", genesis)
    stage.say(
        f"The auditor replays all {report['height']} blocks from genesis, checking every signature and root: "
        f"{report['verdict']}."
    )
    stop_node(stage.network / KILLED)
    record_key = _alter_a_record(stage.network / KILLED, story)
    found = stage.luohu("audit", "--home", stage.network / KILLED, "--genesis", genesis, codes=(NO,))
    findings = found["findings"]
    named = [
        finding
        for finding in (findings if isinstance(findings, list) else [])
        if isinstance(finding, dict) and record_key.hex() in str(finding["record"])
    ]
    if not named:
        raise unexpected("audit", f"a finding about {record_key.hex()}", f"{findings}")
    stage.say(
        f"An insider alters one stored record of the stopped {KILLED}, checksums and all. The audit names it: "
        f"block {named[0]['height']}, {str(named[0]['record'])[:30]}…"
    )


def _alter_a_record(home: Path, story: Story) -> bytes:
    """Rewrite the story's anchor in a stopped node's database, as an insider would; return its state key."""
    from node.storage.database import WriteBatch as Changes
    from node.storage.leveldb import LevelDatabase

    key = anchor_key(story.case.issuer, story.proof.anchor_root)
    with closing(LevelDatabase.open(home / "data" / "chain")) as database:
        value = database.get(b"V" + key)
        if value is None:
            raise unexpected("stored record", "the anchor", "nothing")
        changes = Changes()
        changes.put(b"V" + key, value.replace(story.case.schema.encode(), b"cn.credit-report"))
        database.write(changes, is_synced=True)
    return key


async def anchor(
    stage: Stage, ledger: LedgerClient, case: Case, wallet: Wallet, documents: list[Path]
) -> Batch:
    """Have the issuer anchor documents of one holder in one transaction."""
    holder_key = wallet.derive_holder_key()
    drafts = [
        draft_of_file(path, schema=case.schema, holder_key=holder_key, expires_ms=now_ms() + 30 * DAY_MS)
        for path in documents
    ]
    home = Home.open(stage.network / case.issuer)
    path = register_of_home(home.path)
    with Register.open(path, chain_id=stage.trust.chain_id, issuer=case.issuer) as register:
        register.collect(drafts, now_ms=now_ms())
        outbox = Outbox(
            register, ledger.nodes, key=stage.key(case.issuer), trust=stage.trust, clock=SystemClock()
        )
        with stage.timed("anchor final"):
            settled = await outbox.settle()
    return settled.anchored[0]


async def consent_and_present(
    stage: Stage,
    ledger: LedgerClient,
    case: Case,
    wallet: Wallet,
    document: Path,
    request: Request,
    anchored: Batch,
) -> Story:
    """Have the holder grant, refresh and present."""
    texts = await fetch_texts_of_notice(ledger.nodes, request.decoded().decoded_asked().notice_version)
    consent, receipt = await make_consent_with_receipt(
        ledger,
        request,
        wallet,
        texts.bundle,
        language="en",
        now_ms=now_ms(),
        ask=lambda _told, _who: None,  # the story's resident agrees
    )
    write_receipt(receipt_path_of(document), receipt)
    with stage.timed("consent final"):
        await grant(ledger, consent)
    proof = Proof.decode(read_proof(proof_path_of(document)))
    presented = present((await refresh(ledger, proof, consent)).value, request, consent, wallet)
    return Story(case, document, presented, request, consent, receipt, anchored)


async def record(stage: Stage, ledger: LedgerClient, story: Story) -> Recorded[Verification]:
    """Have the bank record a verification."""
    recorded = await record_verification(
        ledger,
        story.proof,
        member=story.case.bank,
        key=stage.key(story.case.bank),
        outcome="verified",
        now_ms=now_ms(),
        is_another=True,
    )
    if not recorded.is_new(recorded.shown.value.height):
        raise unexpected("record", "a fresh record", "one recorded before")
    return recorded


def make_request(stage: Stage, case: Case, *, purpose: str = PURPOSE) -> Request:
    """Sign a bank's request with its member key, under the notice of the scenario."""
    notice = require_notice_for(
        stage.texts,
        schemas=(case.schema,),
        purpose=PURPOSE,
        sources=(case.source,),
        destination=case.destination,
    )
    asked = Asked(
        recipient=case.bank,
        items=(Item((case.issuer,), (case.schema,), count=1, needed=1, bound=1, covers=None),),
        sources=notice.sources,
        purpose=purpose,
        category_mask=notice.category_mask,
        basis=Basis(HOLDER_CARRIED, None, None, SELF, notice.kept),
        flags=notice.flags,
        notice_version=notice.version,
        until_ms=now_ms() + 30 * DAY_MS,
        uses=5,
    )
    body = RequestBody(
        asked=pack(asked),
        chain_id=stage.trust.chain_id,
        nonce=fresh_nonce(),
        answer_by_ms=now_ms() + ANSWER_WITHIN_MS,
        pin=stage.trust.newest_pin(now_ms()),
        texts=PackedTexts.pack(stage.texts).hash,
    )
    return Request.sign(body, stage.key(case.bank))


def _write_samples(stage: Stage, paths: list[Path]) -> None:
    samples = scenarios_directory() / "consumer-credit" / "samples"
    for path in paths:
        source = samples / path.name
        if source.exists():
            with open_named(source) as file:
                copy_file(file, path)
        else:
            text = {"sample": True, "kind": "credit report", "person": "invented", "score": 712}
            write_file(path, (json.dumps(text, indent=2) + "\n").encode())


async def _wait_for_height(client: Client, height: int) -> None:
    deadline = time.monotonic() + CATCH_UP_S
    while time.monotonic() < deadline:
        try:
            if (await client.status()).height >= height:
                return
        except Unreachable:
            # It is still starting.
            await asyncio.sleep(0.1)
            continue
        await asyncio.sleep(0.05)
    raise unexpected("catching up", f"block {height} within {CATCH_UP_S:.0f} s", "less")


def _kill(home: Path) -> None:
    process = find_node(home)
    if process is None:
        raise unexpected("a running node", f"that of {home.name}", "none")
    send_signal(process, signal.SIGKILL)


def _end(running: "subprocess.Popen[bytes]") -> None:
    running.send_signal(signal.SIGINT)
    try:
        running.communicate(timeout=END_S)
    except subprocess.TimeoutExpired:
        running.kill()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    # As in cli/main.py, rule 3.
    raise SystemExit(INTERRUPTED)


def _clean_up(stage: Stage) -> None:
    """Stop every node of this demo, listed or not, and remove its directory."""
    for process in find_nodes(stage.network):
        stop_process(process)
    remove_folder(stage.directory)


def _keep(stage: Stage) -> None:
    """Move the network out of the folder that passes, start it to stay, and say what to try."""
    # The insider's record would stop its node again as soon as it is read.
    stage.luohu("node", "repair", "--home", stage.network / KILLED)
    stage.luohu("network", "down", stage.network)
    kept = passing_parent() / f"luohu-kept-{secrets.token_hex(8)}"
    POSIX_FILES.rename(stage.directory, kept)
    stage.directory = kept
    stage.luohu_to_stay("network", "up", stage.network)
    stage.add(f"Kept in {stage.directory}, running. Try:")
    stage.add(f"  luohu network status {stage.network}")
    stage.add(
        f"  luohu audit --url {stage.nodes()['sz-operator'].url} --genesis {stage.network / 'genesis.json'}"
    )
    stage.add(f"  luohu network down {stage.network}")


def _summary(stage: Stage) -> list[str]:
    rows = [f"    {name:<32}{seconds:8.3f} s" for name, seconds in stage.times.items()]
    return [
        "",
        "Proved: the file is real and unchanged, from its issuer, not revoked; shown by its holder, to this bank,",
        "for this purpose, with a consent that ends when the resident says so; all of it without moving the file.",
        "",
        "Times:",
        *rows,
    ]
