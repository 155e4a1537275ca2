"""Claims about the command `luohu`: its names, its exit codes, and that it says why."""

import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import click
import pytest

from cli.exits import FINE, NO, UNREACHABLE, USAGE, CommandError
from cli.manifest import read_manifest
from cli.program import COMMANDS, program, run
from cli.times import DURATION_MAX_MS, now_ms, parse_duration, parse_time, show_duration, show_time
from ledger.proofs import PROOF_SIZE_MAX
from ledger.requests import REQUEST_SIZE_MAX, Request
from ledger.rules.state import consent_key
from ledger.trust import trusted_root_to_json
from ledger.verdicts import CAUSES, LINE_ENDS, LONGER, REFUSALS
from node.home.home import format_genesis
from node.storage.leveldb import plyvel
from tests.attacks.forge import honest_from_checkpoint
from tests.support.clocked import luohu_at
from tests.support.consortium import DAY_MS, LATER_MS
from tests.support.sources import ROOT
from tests.support.story import Story, make_request, tell

CONTRACT = {
    "demo": None,
    "network": {"new", "up", "status", "down"},
    "node": {"start", "status", "repair", "explain"},
    "key": {"new", "show", "rotate", "tls"},
    "wallet": {"new", "derive", "show"},
    "anchor": None,
    "revoke": None,
    "issued": {"list", "show", "proof", "correct", "retry", "drop"},
    "consent": {"receipt", "request", "grant", "withdraw", "show"},
    "texts": {"pack", "show", "check"},
    "proof": {"refresh", "present", "show"},
    "verify": None,
    "disclose": {"issue", "select", "show", "verify"},
    "set": {"select", "show"},
    "record": None,
    "erase": None,
    "trust": {"export", "check"},
    "governance": {"propose", "vote", "show", "list", "notices", "possess", "suspend-self"},
    "audit": None,
}


@dataclass(frozen=True, slots=True)
class Desk:
    """A bank clerk's folder: document, proof, request, trusted root, genesis."""

    story: Story
    folder: Path

    @property
    def document(self) -> Path:
        return self.folder / "report.pdf"

    @property
    def proof(self) -> Path:
        return self.folder / "report.pdf.proof"

    def arguments(self, *more: str) -> list[str]:
        """Return the arguments that verify the document for the bank's request, and more."""
        at = show_time(self.story.now_ms).replace(" UTC+8", "")
        return ["verify", str(self.document), "--trust", self.path("trust.json"), "--at", at, *more]

    def path(self, name: str) -> str:
        return str(self.folder / name)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return tell(tmp_path_factory.mktemp("story"))


@pytest.fixture
def desk(story: Story, tmp_path: Path) -> Desk:
    (tmp_path / "report.pdf").write_bytes(story.document)
    (tmp_path / "report.pdf.proof").write_bytes(story.proof.encode())
    (tmp_path / "request").write_bytes(story.request.encode())
    (tmp_path / "trust.json").write_text(json.dumps(trusted_root_to_json(story.trust)))
    (tmp_path / "genesis.json").write_bytes(format_genesis(story.world.genesis))
    return Desk(story, tmp_path)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command's clock stands after the story: `--at` asks about a past time."""
    monkeypatch.setattr("cli.verify.now_ms", lambda: LATER_MS)


def commands_of(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield name, command


def leaves_of(command: click.Command) -> Iterator[click.Command]:
    if not isinstance(command, click.Group):
        yield command
        return
    for _, member in commands_of(command):
        yield from leaves_of(member)


# -- names ----------------------------------------------------------------------------------------------


def test_help_lists_exactly_the_commands_of_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == FINE
    listed = capsys.readouterr().out.partition("Commands:")[2].partition("\n\n")[0]
    assert [line.split()[0] for line in listed.strip().splitlines()] == list(CONTRACT) == list(COMMANDS)


def test_every_command_has_an_example_and_takes_json() -> None:
    for name, command in commands_of(program):
        members = dict(commands_of(command)) if isinstance(command, click.Group) else None
        assert (None if members is None else set(members)) == CONTRACT[name]
        for leaf in leaves_of(command):
            assert "Example:" in (leaf.help or ""), (name, leaf.name)
            assert "--json" in [option for each in leaf.params for option in each.opts], (name, leaf.name)


def test_help_and_verification_import_neither_aiohttp_nor_plyvel() -> None:
    script = (
        "import sys; from cli.program import run; run(sys.argv[1:]);"
        "assert not {'aiohttp', 'plyvel', 'plyvel_next'} & sys.modules.keys(), 'loaded'"
    )
    for arguments in (
        ["--help"],
        ["verify", "--help"],
        ["trust", "check", "nothing"],
        ["proof", "show", "x"],
    ):
        command = [sys.executable, "-c", script, *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr


def test_without_the_extra_luohu_says_what_to_install() -> None:
    script = "import sys; sys.modules['click'] = None; from cli.main import main; main()"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == USAGE
    assert "pip install '.[node]'" in done.stderr and "its wheel" in done.stderr
    # By its name alone a package index would be asked, where anybody may have taken that name.
    assert "luohu-ledger" not in done.stderr
    assert "Traceback" not in done.stderr


# -- verify ---------------------------------------------------------------------------------------------


def test_a_presented_document_is_verified(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(desk.arguments("--request", desk.path("request"))) == FINE
    assert capsys.readouterr().out.splitlines()[0] == "VERIFIED"
    assert run(desk.arguments("--request", desk.path("request"), "--json")) == FINE
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["verdict"] == "verified"
    assert verdict["consent"]["recipient"] == "mainland-bank"


def test_anchor_only_says_in_its_first_line_what_was_not_checked(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(desk.arguments("--anchor-only")) == FINE
    assert "neither consent nor presentation was checked" in capsys.readouterr().out.splitlines()[0]
    desk.document.write_bytes(b"another document")
    assert run(desk.arguments("--anchor-only")) == NO
    first = capsys.readouterr().out.splitlines()[0]
    assert "REFUSED" in first
    assert "neither consent nor presentation was checked" in first


def test_a_refusal_names_code_and_step_in_three_languages(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    content = bytearray(desk.story.document)
    content[0] ^= 1
    desk.document.write_bytes(content)
    assert run(desk.arguments("--request", desk.path("request"))) == NO
    shown = capsys.readouterr().out
    refusal = REFUSALS["document-altered"]
    assert shown.startswith("REFUSED: document-altered\n")
    for said in (
        "step",
        "expected",
        "found",
        refusal.meaning.en,
        refusal.meaning.zh_hans,
        refusal.meaning.zh_hant,
    ):
        assert said in shown
    assert run(desk.arguments("--request", desk.path("request"), "--json")) == NO
    value = json.loads(capsys.readouterr().out)
    assert (value["verdict"], value["code"], value["step"]) == ("refused", "document-altered", "document")


def test_a_clerk_reads_durations_and_programs_milliseconds(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    later = show_time(desk.story.now_ms + 2 * 3_600_000).removesuffix(" UTC+8")
    arguments = desk.arguments("--request", desk.path("request"), "--max-age", "1s")
    arguments[arguments.index("--at") + 1] = later
    assert run(arguments) == NO
    shown = capsys.readouterr().out
    assert shown.startswith("REFUSED: stale-proof\n") and "at most 1 s" in shown and "found     2 h" in shown
    assert not re.search(r"[0-9] ms|[0-9]{13}", shown)
    assert "if a fresh one is too old as well, check this computer's clock" in shown
    assert run([*arguments, "--json"]) == NO
    assert json.loads(capsys.readouterr().out)["expected"] == "at most 1000 ms"


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda document: document + b"\n%%EOF", LONGER),
        (lambda document: document.replace(b"\n", b"\r\n"), LINE_ENDS),
    ],
)
def test_a_refusal_tells_a_certain_cause_and_what_was_checked(
    desk: Desk, capsys: pytest.CaptureFixture[str], change: Callable[[bytes], bytes], cause: str
) -> None:
    desk.document.write_bytes(change(desk.story.document))
    assert run(desk.arguments("--request", desk.path("request"))) == NO
    shown = capsys.readouterr().out
    assert shown.startswith("REFUSED: document-altered\n")
    assert CAUSES[cause].meaning.en in shown and CAUSES[cause].next_step.zh_hant in shown
    assert run(desk.arguments("--request", desk.path("request"), "--json")) == NO
    value = json.loads(capsys.readouterr().out)
    assert (value["code"], value["checked"]) == ("document-altered", ["trust", "document"])
    assert value["meaning"]["zh-Hans"] == CAUSES[cause].meaning.zh_hans


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"recipient": "hk-operator"}, "wrong-recipient"),
        ({"purpose": "another.purpose"}, "wrong-purpose"),
        ({"nonce": b"request nonce 02"}, "wrong-nonce"),
    ],
)
def test_another_request_is_refused_with_its_own_reason(
    desk: Desk, capsys: pytest.CaptureFixture[str], changes: dict[str, object], code: str
) -> None:
    other = make_request(desk.story.world, desk.story.trust, **changes)
    Path(desk.path("other")).write_bytes(other.encode())
    assert run(desk.arguments("--request", desk.path("other"))) == NO
    assert capsys.readouterr().out.startswith(f"REFUSED: {code}\n")


def test_the_present_is_asked_about_unless_a_past_time_is_named(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = desk.arguments("--request", desk.path("request"))
    place = arguments.index("--at")
    now = [*arguments[:place], *arguments[place + 2 :]]
    assert run(arguments) == FINE
    assert ", not the present" in capsys.readouterr().out
    monkeypatch.setattr("cli.verify.now_ms", lambda: desk.story.now_ms)
    assert run(now) == FINE
    assert "not the present" not in capsys.readouterr().out
    monkeypatch.setattr("cli.verify.now_ms", lambda: desk.story.now_ms - 24 * 3_600_000)
    assert run(now) == NO
    said = capsys.readouterr().out
    refusal = REFUSALS["clock-behind"]
    assert said.startswith("REFUSED: clock-behind\n")
    assert refusal.next_step.en in said and refusal.next_step.zh_hans in said
    assert refusal.next_step.zh_hant in said
    assert run(arguments) == USAGE, "by this clock it is a time to come"
    assert "Leave --at out" in capsys.readouterr().err


def test_a_stale_proof_is_refused_and_max_age_widens_what_is_fresh(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    later = show_time(desk.story.now_ms + 25 * 3_600_000).replace(" UTC+8", "")
    arguments = [
        "verify",
        str(desk.document),
        "--trust",
        desk.path("trust.json"),
        "--anchor-only",
        "--at",
        later,
    ]
    assert run(arguments) == NO
    assert "REFUSED: stale-proof" in capsys.readouterr().out
    assert run([*arguments, "--max-age", "2d"]) == FINE


def test_a_proof_that_cannot_be_decoded_is_an_answer_and_a_missing_one_is_usage(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = desk.story.proof.encode()
    bad = (
        b"",
        whole[:-1],
        whole + b"\0",
        b"%PDF-1.7",
        b"LUOHU-PROOF\x01" + whole[12:],
        bytes(PROOF_SIZE_MAX + 99),
    )
    for content in bad:
        desk.proof.write_bytes(content)
        assert run(desk.arguments("--anchor-only")) == NO
        assert "REFUSED: proof-malformed" in capsys.readouterr().out
        assert run(["proof", "show", str(desk.proof)]) == NO
        capsys.readouterr()
    desk.proof.unlink()
    assert run(desk.arguments("--anchor-only")) == USAGE


@pytest.mark.parametrize("name", ["report.pdf", "report.pdf.proof", "request", "trust.json"])
@pytest.mark.parametrize("kind", ["missing", "directory"])
def test_a_path_that_cannot_be_read_is_usage(
    desk: Desk, capsys: pytest.CaptureFixture[str], name: str, kind: str
) -> None:
    Path(desk.path(name)).unlink()
    if kind == "directory":
        Path(desk.path(name)).mkdir()
    assert run(desk.arguments("--request", desk.path("request"))) == USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    assert name in shown.err
    for part in ("expected:", "found:", "cure:"):
        assert part in shown.err


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"version": 2}',
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"a": 1, "a": 1}',
        b"0" * 3_000_000,
    ],
)
def test_a_bad_trusted_root_is_a_wrong_configuration(
    desk: Desk, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    Path(desk.path("trust.json")).write_bytes(content)
    assert run(desk.arguments("--anchor-only")) == USAGE
    assert run(["trust", "check", desk.path("trust.json")]) == USAGE
    assert "expected:" in capsys.readouterr().err


def test_a_trusted_root_with_a_changed_member_is_refused(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(desk.path("trust.json"))
    changed = path.read_text().replace("Bank", "Bunk", 1)
    if changed == path.read_text():
        changed = path.read_text().replace('"time_ms": 1', '"time_ms": 2', 1)
    assert changed != path.read_text()
    path.write_text(changed)
    assert run(["trust", "check", str(path)]) == USAGE
    assert "signature" in capsys.readouterr().err


def test_a_request_file_that_is_none_is_an_answer(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    whole = desk.story.request.encode()
    for content in (b"", whole[:-1], whole + b"\0", b"LUOHU-REQUEST\x01", bytes(REQUEST_SIZE_MAX * 2)):
        Path(desk.path("request")).write_bytes(content)
        assert run(desk.arguments("--request", desk.path("request"), "--json")) == NO
        assert json.loads(capsys.readouterr().out)["error"]["code"] == "encoding"


@pytest.mark.parametrize(
    "more",
    [
        ["--anchor-only", "--request", "request"],
        [],
        ["--anchor-only", "--no-such-option"],
        ["--anchor-only", "--at", "yesterday"],
        ["--anchor-only", "--max-age", "-1h"],
        ["--anchor-only", "another"],
    ],
)
def test_wrong_usage_is_said_and_with_json_it_parses(
    desk: Desk, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    assert run(desk.arguments(*more)) == USAGE
    assert "cure:" in capsys.readouterr().err
    assert run(desk.arguments(*more, "--json")) == USAGE
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["exit_code"] == USAGE
    assert error["expected"] and error["found"] and error["cure"]


def test_a_process_ends_with_the_exit_code_and_without_a_traceback(desk: Desk) -> None:
    for arguments, code in (
        (desk.arguments("--request", desk.path("request")), FINE),
        (desk.arguments("--anchor-only", "--max-age", "0s", "--proof", desk.path("genesis.json")), NO),
        (["verify", "nothing"], USAGE),
    ):
        command = luohu_at(LATER_MS, arguments)
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr


# -- proof show, trust ------------------------------------------------------------------------------------


def test_proof_show_says_that_nothing_was_verified(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["proof", "show", str(desk.proof)]) == FINE
    assert "only `luohu verify` says" in capsys.readouterr().out.splitlines()[0]
    assert run(["proof", "show", str(desk.proof), "--json"]) == FINE
    value = json.loads(capsys.readouterr().out)
    assert value["metadata"]["issuer"] == "hk-bureau"
    assert value["proof"]["presentation"]["nonce"] == desk.story.request.decoded().nonce.hex()


def test_an_exported_root_is_never_written_over_a_newer_one_or_one_of_another_chain(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = honest_from_checkpoint()
    out, genesis = Path(desk.path("kept.json")), desk.path("pinned-genesis.json")
    Path(genesis).write_bytes(format_genesis(shown.trust.genesis))
    newer = json.dumps(trusted_root_to_json(shown.trust))
    bare = json.dumps(trusted_root_to_json(desk.story.trust))
    for kept, words in ((newer, "block 6 or higher"), (bare, "one of chain")):
        out.write_text(kept)
        assert run(["trust", "export", "--genesis", genesis, "--out", str(out)]) == USAGE
        said = capsys.readouterr().err
        assert words in said and f"remove {out}" in said
        assert out.read_text() == kept
    for content in (
        "no trusted root",
        json.dumps(trusted_root_to_json(replace(shown.trust, checkpoints=()))),
    ):
        out.write_text(content)
        assert run(["trust", "export", "--genesis", genesis, "--out", str(out)]) == FINE


def test_a_root_with_contradictory_pins_is_told_with_the_checkpoint(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = honest_from_checkpoint()
    (pin,) = shown.trust.checkpoints
    wrong = replace(pin, valid_from_ms=pin.valid_until_ms + 1)
    path = Path(desk.path("wrong.json"))
    path.write_text(json.dumps(trusted_root_to_json(replace(shown.trust, checkpoints=(wrong,)))))
    arguments = desk.arguments("--anchor-only")
    arguments[arguments.index("--trust") + 1] = str(path)
    for command in (["trust", "check", str(path)], arguments):
        assert run([*command, "--json"]) == USAGE
        error = json.loads(capsys.readouterr().out)["error"]
        assert error["where"] == "trusted root, checkpoint 1 at height 6"
        assert error["expected"] == "a window that ends after it begins" and error["cure"]


def test_an_exported_trusted_root_checks_and_verifies(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    out = desk.path("exported.json")
    assert run(["trust", "export", "--genesis", desk.path("genesis.json"), "--out", out]) == FINE
    assert run(["trust", "check", out, "--json"]) == FINE
    shown = capsys.readouterr().out
    assert json.loads(shown[shown.index("{") :])["chain_id"] == desk.story.trust.chain_id.hex()
    Path(desk.path("trust.json")).write_bytes(Path(out).read_bytes())
    assert run(desk.arguments("--request", desk.path("request"))) == FINE


def test_a_checkpoint_without_a_url_is_usage(desk: Desk) -> None:
    arguments = ["trust", "export", "--genesis", desk.path("genesis.json"), "--out", desk.path("new.json")]
    assert run([*arguments, "--checkpoint", "3"]) == USAGE
    assert run([*arguments, "--url", "http://127.0.0.1:1"]) == USAGE
    assert not Path(desk.path("new.json")).exists()


# -- keys, wallets, homes -----------------------------------------------------------------------------------


@pytest.fixture
def passphrase(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("LUOHU_PASSPHRASE", "correct horse")
    return "correct horse"


def test_a_new_key_is_shown_again_and_never_overwritten(
    passphrase: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "key.pem")
    assert run(["key", "new", "--out", out, "--json"]) == FINE
    made = json.loads(capsys.readouterr().out)
    assert run(["key", "show", out, "--json"]) == FINE
    assert json.loads(capsys.readouterr().out) == made
    assert run(["key", "new", "--out", out]) == USAGE
    monkeypatch.setenv("LUOHU_PASSPHRASE", "another")
    assert run(["key", "show", out]) == USAGE
    assert "passphrase" in capsys.readouterr().err
    monkeypatch.delenv("LUOHU_PASSPHRASE")
    assert run(["key", "show", out]) == USAGE
    assert "--passphrase-file" in capsys.readouterr().err


def test_a_wallet_gives_a_fresh_holder_key_each_time(
    passphrase: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wallet = str(tmp_path / "wallet")
    assert run(["wallet", "new", "--out", wallet]) == FINE
    assert run(["wallet", "new", "--out", wallet]) == USAGE
    capsys.readouterr()
    keys = set()
    for _ in range(2):
        assert run(["wallet", "derive", "--wallet", wallet, "--json"]) == FINE
        keys.add(json.loads(capsys.readouterr().out)["holder_key"])
    assert len(keys) == 2
    (tmp_path / "garbage").write_bytes(b"garbage")
    (tmp_path / "garbage").chmod(0o600)
    assert run(["wallet", "derive", "--wallet", str(tmp_path / "garbage")]) == USAGE


def test_a_new_network_has_trust_genesis_and_a_home_for_each_member(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = tmp_path / "net"
    assert run(["network", "new", str(network), "--json"]) == FINE
    homes = json.loads(capsys.readouterr().out)["homes"]
    assert len(homes) == 7
    assert all((network / home["member"] / "genesis.json").is_file() for home in homes)
    assert run(["trust", "check", str(network / "trust.json")]) == FINE
    assert run(["network", "new", str(network)]) == USAGE
    assert run(["network", "status", str(network)]) == USAGE  # never up: no network.json
    out = str(tmp_path / "request")
    bank = [
        *("consent", "request", "--issuer", "hk-bureau", "--schema", "hk.credit-report"),
        *("--purpose", "consumer-credit.loan", "--home", str(network / "mainland-bank"), "--out", out),
    ]
    day = show_time(now_ms() + 300 * DAY_MS)[:10]
    assert run([*bank, "--until", "2020-01-01"]) == USAGE
    capsys.readouterr()
    assert run([*bank, "--until", show_time(now_ms() + 4 * 366 * DAY_MS)[:10]]) == USAGE
    said = capsys.readouterr().err
    assert "at the latest 20" in said and "consents of 366 d" in said and "give --url" in said
    assert run([*bank, "--until", day, "--uses", "0"]) == USAGE
    assert run([*bank, "--until", day, "--purpose", "marketing"]) == USAGE
    assert run([*bank, "--until", day, "--issuer", "nobody"]) == USAGE
    assert not Path(out).exists()
    # The same --out again: nothing was left behind, and a request may be made anew.
    assert run([*bank, "--until", day]) == FINE
    assert run([*bank, "--until", day, "--uses", "3"]) == FINE
    asked = Request.decode(Path(out).read_bytes()).decoded().decoded_asked()
    assert (asked.sources, asked.uses, asked.recipient) == (("HK",), 3, "mainland-bank")
    assert asked.until_ms == parse_time(day)


def test_an_audit_wants_one_source_and_one_that_exists(desk: Desk, tmp_path: Path) -> None:
    genesis = ["--genesis", desk.path("genesis.json")]
    assert run(["audit", *genesis]) == USAGE
    assert run(["audit", "--home", str(tmp_path), "--url", "http://127.0.0.1:1", *genesis]) == USAGE
    assert run(["audit", "--home", str(tmp_path), *genesis]) == USAGE
    assert not (tmp_path / "data").exists()


@pytest.fixture(scope="module")
def stopped_home(story: Story, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of one node's home, taken while the node was down."""
    home = tmp_path_factory.mktemp("stopped")
    story.world.kill("hk-operator")
    shutil.copytree(story.world.directory / "hk-operator", home / "data")
    story.world.start("hk-operator")
    return home


def test_an_audit_of_a_stopped_home_reports_who_did_what(
    desk: Desk, stopped_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["audit", "--home", str(stopped_home), "--genesis", desk.path("genesis.json")]
    assert run(arguments) == FINE
    shown = capsys.readouterr().out
    assert shown.startswith("CLEAN")
    assert "anchors: 1 over 5 documents" in shown
    assert run([*arguments, "--json"]) == FINE
    value = json.loads(capsys.readouterr().out)
    assert (value["verdict"], value["findings"], len(value["consents"])) == ("clean", [], 1)


def test_an_audit_names_top_pages_that_what_is_stored_does_not_lead_to(
    desk: Desk, stopped_home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.storage.store.read_top_pages", lambda *_tables: {b"\x00": b"another"})
    arguments = ["audit", "--home", str(stopped_home), "--genesis", desk.path("genesis.json"), "--json"]
    assert run(arguments) == NO
    assert "state page 00" in [each["record"] for each in json.loads(capsys.readouterr().out)["findings"]]


def test_an_audit_names_an_altered_record_and_its_block(
    desk: Desk, stopped_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    shutil.copytree(stopped_home, home)
    consent = consent_key(desk.story.consent_key.public, desk.story.consent.consent_id)
    database = plyvel.DB(str(home / "data" / "chain"))
    leaf = bytearray(database.get(b"V" + consent))
    leaf[-1] ^= 1
    database.put(b"V" + consent, bytes(leaf), sync=True)
    database.close()
    assert run(["audit", "--home", str(home), "--genesis", desk.path("genesis.json"), "--json"]) == NO
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert consent.hex() in finding["record"]
    assert finding["height"] > 0


def test_an_audit_of_a_store_that_does_not_open_is_a_finding(
    desk: Desk, stopped_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    shutil.copytree(stopped_home, home)
    database = plyvel.DB(str(home / "data" / "chain"))
    key = next(key for key, value in database if key.endswith(b"height"))
    database.put(key, b"nonsense", sync=True)
    database.close()
    arguments = ["audit", "--home", str(home), "--genesis", desk.path("genesis.json"), "--json"]
    assert run(arguments) == NO
    value = json.loads(capsys.readouterr().out)
    assert (value["verdict"], value["findings"][0]["record"]) == ("findings", "storage")
    for file in (home / "data" / "chain").glob("MANIFEST-*"):
        file.write_bytes(b"garbage")
    assert run(arguments) == NO
    assert json.loads(capsys.readouterr().out)["findings"][0]["found"]


def test_an_audit_refuses_the_home_of_a_running_node_and_names_the_url(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(desk.story.world.directory / "sz-operator")
    # In a process of its own: the lock of a database is held by process.
    command = [sys.executable, "-m", "cli.main", "audit", "--home", str(tmp_path)]
    command += ["--genesis", desk.path("genesis.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == USAGE
    assert "--url" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_node_that_does_not_answer_is_exit_code_3_and_a_bad_url_is_usage(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        silent = f"http://127.0.0.1:{held.getsockname()[1]}"
        genesis = ["--genesis", desk.path("genesis.json")]
        for arguments in (
            ["node", "status", "--url", silent],
            ["audit", "--url", silent, *genesis],
            [
                "trust",
                "export",
                *genesis,
                "--checkpoint",
                "1",
                "--url",
                silent,
                "--out",
                desk.path("new.json"),
            ],
            ["proof", "refresh", str(desk.proof), "--url", silent],
        ):
            assert run([*arguments, "--json"]) == UNREACHABLE
            assert json.loads(capsys.readouterr().out)["error"]["cure"]
    for url in ("nonsense", "file:///etc/passwd", "http://", "http://a/b?c"):
        assert run(["node", "status", "--url", url]) == USAGE
    assert desk.proof.read_bytes() == desk.story.proof.encode()


# -- manifests --------------------------------------------------------------------------------------------------


HOLDER = "ed25519:" + "ab" * 32


def test_a_manifest_names_file_holder_and_expiry_by_row(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(f'\ufeffa.pdf,{HOLDER},2026-12-31\n\n"b, c.pdf",,\r\n', encoding="utf-8")
    for name in ("a.pdf", "b, c.pdf"):
        (tmp_path / name).touch()
    first, second = read_manifest(manifest, expires_ms=7)
    assert (first.file, str(first.holder_key)) == (tmp_path / "a.pdf", HOLDER)
    assert first.expires_ms == parse_time("2026-12-31")
    assert (second.file, second.holder_key, second.expires_ms) == (tmp_path / "b, c.pdf", None, 7)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "at least one row"),
        (b"a.pdf\n", "line 1: expected 3 columns"),
        (f"a,{HOLDER},\na,{HOLDER},\n".encode(), "line 2: expected each file once"),
        (f'"a\nb",{HOLDER},\n\n"a\nb",{HOLDER},\n'.encode(), "line 5: expected each file once"),
        (b"a.pdf,ed25519:zz,\n", "line 1: expected ed25519:"),
        (f"a,{HOLDER},soon\n".encode(), "line 1: expected a date"),
        (f",{HOLDER},\n".encode(), "line 1: expected the name of a file"),
        (b"\xff\xfe", "at least one row"),
        (b"\xff", "line 1: expected CSV in UTF-8"),
        (b'"a.pdf,x,\n', "a row of CSV"),
        (b"a\0b,,\n", "expected"),
    ],
)
def test_a_wrong_manifest_is_refused_by_line(tmp_path: Path, content: bytes, named: str) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_bytes(content)
    with pytest.raises(CommandError, match=named) as caught:
        read_manifest(manifest, expires_ms=None)
    assert caught.value.exit_code == USAGE


def test_a_manifest_holds_up_to_its_limit_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.manifest.ROWS_MAX", 3)
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("".join(f"{n}.pdf,,\n" for n in range(3)))
    for n in range(4):
        (tmp_path / f"{n}.pdf").touch()
    assert len(read_manifest(manifest, expires_ms=None)) == 3
    manifest.write_text("".join(f"{n}.pdf,,\n" for n in range(4)))
    with pytest.raises(CommandError, match="at most 3 rows"):
        read_manifest(manifest, expires_ms=None)


# -- times ----------------------------------------------------------------------------------------------------


def test_a_date_is_the_end_of_its_day_in_hong_kong() -> None:
    assert parse_time("2026-12-31") == parse_time("2027-01-01T00:00:00+08:00") - 1
    assert parse_time("2026-12-31T18:00") == parse_time("2026-12-31T10:00Z")
    assert show_time(parse_time("2026-12-31")) == "2026-12-31 23:59:59 UTC+8"


@pytest.mark.parametrize("text", ["", "2026-13-01", "20261231", "now", "1969-01-01", "２０２６-12-31"])
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_time(text)


def test_durations_have_one_number_and_one_unit_and_a_limit() -> None:
    assert [parse_duration(text) for text in ("45s", "30m", "24h", "7d")] == [
        45_000,
        1_800_000,
        86_400_000,
        604_800_000,
    ]
    assert parse_duration("3660d") == DURATION_MAX_MS
    for text in ("3661d", "1w", "1.5h", "-1h", "h", "1h30m", ""):
        with pytest.raises(ValueError, match="expected"):
            parse_duration(text)
    assert [show_duration(ms) for ms in (5, 90_000, 86_400_000)] == ["5 ms", "90 s", "24 h"]
