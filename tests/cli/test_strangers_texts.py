"""No command prints a control, a hidden character or a line that a stranger chose: not of an argument, file or node.

Every command of the tree is called with strangers' texts in the place of each of its parameters. So a new command is
tested before anybody thinks of it.
"""

import csv
import json
import os
import re
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import click
import pytest

from cli.agreement import require_yes
from cli.bulk import JOURNAL_SUFFIX
from cli.csvfile import csv_pieces, from_cell
from cli.output import print_fault
from cli.program import COMMANDS, program, run
from cli.serve import serve
from ledger.encoding.records import Json
from tests.node.client.test_client_answers import ANSWERS, answer, refusal
from tests.support.office import PASSPHRASE, Office, open_office
from tests.support.sources import ROOT
from tests.support.strangers import (
    BACKWARDS,
    COLOUR,
    EIGHT_BIT,
    FORGED_LINE,
    FORMULA,
    LONG,
    MARKUP,
    TEXTS,
    TITLE,
    UNSEEN,
    forged_in,
    raw_in,
    raw_in_output,
)
from tests.support.terminal import Terminal

# As names of files, which hold no slash and have at most 255 bytes.
NAMES = (
    f"{TITLE}{COLOUR}{EIGHT_BIT}",
    f"{BACKWARDS}{UNSEEN}",
    FORGED_LINE.replace("/", "-"),
    FORMULA.replace("/", "-"),
)
SHORT = f"{TITLE}{EIGHT_BIT}\u202e\u200b\n  VERIFIED\n{FORMULA}".replace("/", "-")
EVERYTHING = "".join(TEXTS.values())
# `luohu demo` takes files only after it has started a network; tests/cli/test_demo.py plays it.
NOT_CALLED = {"demo"}


def leaves(group: click.Group, *names: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command that does something, with its words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, *names, name)
        else:
            yield (*names, name), command


LEAVES = {
    " ".join(words): (words, command)
    for words, command in (*leaves(program), (("verify", "serve"), serve))
    if words[0] not in NOT_CALLED
}


def benign(parameter: click.Parameter) -> list[str]:
    """Return words that give a parameter some value."""
    kind = parameter.type
    value = (
        kind.choices[0]
        if isinstance(kind, click.Choice)
        else "1"
        if isinstance(kind, click.IntRange)
        else "x"
    )
    return [f"{value}"] if isinstance(parameter, click.Argument) else [parameter.opts[0], f"{value}"]


def calls_with(command: click.Command, text: str) -> Iterator[list[str]]:
    """Yield the arguments of a call for each parameter, with the text in its place."""
    for chosen in command.params:
        if isinstance(chosen, click.Option) and chosen.is_flag:
            continue
        others = [each for each in command.params if each is not chosen and each.required]
        given = [text] if isinstance(chosen, click.Argument) else [chosen.opts[0], text]
        # Arguments keep their order among each other: what begins with a dash is one too, behind `--`.
        options = [word for each in others if isinstance(each, click.Option) for word in benign(each)]
        words = [
            word
            for each in command.params
            if isinstance(each, click.Argument)
            for word in (given if each is chosen else benign(each) if each in others else [])
        ]
        yield [*options, *([] if isinstance(chosen, click.Argument) else given), *words]
    yield [text]
    yield [f"--{text}", text]


def check_harmless(capfd: pytest.CaptureFixture[str], what: object) -> str:
    """Check what was printed, and return it."""
    out, err = capfd.readouterr()
    for stream in (out, err):
        assert raw_in_output(stream) == [], what
        assert forged_in(stream.split("\n")) == [], what
    assert "Traceback" not in err and "fault of its own" not in err, (what, err)
    return out + err


def test_the_tree_is_walked_to_its_leaves() -> None:
    assert {words[0] for words, _ in LEAVES.values()} == COMMANDS.keys() - NOT_CALLED
    assert {"verify", "verify serve", "governance propose member", "node explain"} <= LEAVES.keys()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a command makes of such a path, it makes it in a folder of the test; nobody is there to be asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LUOHU_PASSPHRASE", PASSPHRASE)
    with Path(os.devnull).open(encoding="utf-8") as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        yield


@pytest.mark.slow
@pytest.mark.parametrize("name", LEAVES)
def test_every_command_shows_its_arguments_harmlessly(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    words, command = LEAVES[name]
    shown = ""
    for text in (SHORT, EVERYTHING):
        for arguments in calls_with(command, text):
            for more in ([], ["--json"]):
                assert run([*words, *more, *arguments]) in (0, 1, 2, 3)
                shown += check_harmless(capfd, (words, more, arguments))
    assert shown


def test_a_command_that_is_none_is_shown_harmlessly(capfd: pytest.CaptureFixture[str]) -> None:
    for text in NAMES:
        for arguments in ([text], ["node", text], ["verify", "--max-age", text], ["consent", f"--{text}"]):
            assert run(arguments) == 2
            check_harmless(capfd, arguments)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with open_office(tmp_path_factory.mktemp("office"), has_homes=True) as opened:
        yield opened


ASKING = (
    "node status --url {url}",
    "governance list --url {url}",
    "governance list --all --url {url}",
    "governance show " + "00" * 32 + " --url {url}",
    "governance vote " + "00" * 32 + " yes --yes --home {home} --url {url}",
    "consent show {f}/consent --url {url}",
    "consent withdraw --consent {f}/consent --url {url}",
    "consent grant --yes --request {f}/request --wallet {f}/wallet --url {url} --out {f}/granted",
    "proof refresh {f}/report.pdf.proof --consent {f}/consent --url {url}",
    "audit --url {url} --genesis {f}/genesis.json",
    "record {f}/report.pdf.proof --request {f}/request --home {home} --url {url}",
    "anchor {f}/other.pdf --schema hk.credit-report --home {issuer} --url {url}",
    "revoke {f}/report.pdf.proof --reason superseded --home {issuer} --url {url}",
    "key rotate --role member --home {home} --url {url}",
    "erase {f}/report.pdf.proof --wallet {f}/wallet --consent {f}/consent --yes --url {url}",
    "trust export --genesis {f}/genesis.json --out {f}/newer --url {url}",
)


@contextmanager
def lying_node(data: bytes) -> Iterator[str]:
    """Serve these bytes to whoever asks anything, from a thread."""

    class Answer(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline() not in (b"\r\n", b""):
                pass
            self.wfile.write(data)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


STATUS: dict[str, Json] = {
    "member": EVERYTHING,
    "version": EVERYTHING,
    "kind": EVERYTHING,
    "chain_id": EVERYTHING,
    "epoch": 1,
    "height": 1,
    "view": 1,
    "time_ms": 1,
    "block_hash": EVERYTHING,
    "state_root": EVERYTHING,
    "is_voting": True,
    "peers_connected": [EVERYTHING],
    "ready": True,
}
LIES = {
    "refusal": answer(
        refusal(**dict.fromkeys(("code", "where", "expected", "found", "cure"), EVERYTHING)), 400
    ),
    "not ready": answer(refusal(code="not-ready", found=EVERYTHING), 503),
    "failure": answer(refusal(found=EVERYTHING), 500),
    "status": answer(STATUS),
    "keys": answer({EVERYTHING: EVERYTHING}),
    "a value": answer(
        {"value": EVERYTHING, "proposals": EVERYTHING, "members": [EVERYTHING], "results": [EVERYTHING]}
    ),
    "reason phrase": b"HTTP/1.1 400 \x1b]0;x\x07\r\nContent-Length: 2\r\n\r\n{}",
    "header": b"HTTP/1.1 200 X\r\nContent-Type: \x1b]0;x\x07\r\n\x1b[2J: x\r\nContent-Length: 2\r\n\r\n{}",
    "no HTTP": b"\x1b]0;x\x07\r\n\x9b2J\r\n\r\n",
    "elsewhere": b"HTTP/1.1 302 X\r\nLocation: http://\x1b]0;x\x07/\r\nContent-Length: 0\r\n\r\n",
    **{f"as a client meets it: {name}": data for name, data in ANSWERS.items() if "stream" not in name},
}


@pytest.mark.slow
@pytest.mark.parametrize("lie", LIES)
def test_what_a_node_says_is_shown_harmlessly(
    office: Office, capfd: pytest.CaptureFixture[str], lie: str
) -> None:
    places = {
        "f": office.folder,
        "home": office.path("network") / "mainland-bank",
        "issuer": office.path("network") / "hk-bureau",
    }
    before = {name: office.path(name).read_bytes() for name in ("report.pdf.proof", "consent", "wallet")}
    with lying_node(LIES[lie]) as url:
        for command in ASKING:
            for more in ([], ["--json"]):
                # None of these answers is a node's, so nothing can have succeeded but asking for a status.
                code = run([*(word.format(url=url, **places) for word in command.split()), *more])
                assert code in (1, 2, 3) or command.startswith(("node status", "trust export")), (
                    command,
                    lie,
                )
                check_harmless(capfd, (command, lie))
    for name, content in before.items():
        office.path(name).write_bytes(content)


@pytest.mark.parametrize("name", NAMES, ids=["steers", "hides", "line", "formula"])
def test_erasing_shows_each_path_harmlessly(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    with _furnished(tmp_path) as office:
        proof, document = office.path(f"{name}.proof"), office.path(name)
        proof.write_bytes(office.path("report.pdf.proof").read_bytes())
        document.write_bytes(b"%PDF")
        home = office.path("network") / "hk-bureau"
        assert run(["erase", str(proof), "--document", str(document), "--home", str(home), "--yes"]) == 0
        shown = check_harmless(capfd, name)
        assert "erased" in shown and not proof.exists() and not document.exists()


@contextmanager
def _furnished(folder: Path) -> Iterator[Office]:
    (folder / "office").mkdir()
    with open_office(folder / "office", has_homes=True) as office:
        yield office


@pytest.mark.parametrize("name", NAMES, ids=["steers", "hides", "line", "formula"])
def test_answers_to_a_manifest_hold_no_formula_and_lead_back_to_the_files(
    office: Office,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setattr("cli.verify.now_ms", lambda: office.now_ms)
    (tmp_path / name).write_bytes(office.path("report.pdf").read_bytes())
    (tmp_path / f"{name}.proof").write_bytes(office.path("report.pdf.proof").read_bytes())
    (tmp_path / "in.csv").write_bytes(b"".join(csv_pieces([[name, "", ""]])))
    call = ["verify", "--trust", str(office.path("trust.json")), "--at", office.at, "--jobs", "1"]
    call += ["--request", str(office.path("request"))]

    def answered(manifest: str, out: str) -> dict[str, str]:
        assert run([*call, "--manifest", manifest, "--out", out]) == 0
        check_harmless(capfd, name)
        content = (tmp_path / out).read_bytes().decode()
        assert raw_in_output(content.replace("\r\n", "\n")) == []
        (row,) = csv.DictReader(content.splitlines(keepends=True))
        assert not row["file"].startswith(tuple("=+-@\t\r"))
        return row

    row = answered("in.csv", "out.csv")
    assert from_cell(row["file"]) == name and row["verdict"] == "verified"
    # What was answered is a manifest in its turn: the name is read as it was written.
    (tmp_path / "again.csv").write_text(
        f'"{row["file"].replace(chr(34), 2 * chr(34))}",,\n', encoding="utf-8"
    )
    again = answered("again.csv", "again-out.csv")
    assert again["file"] == row["file"]
    assert not (tmp_path / f"out.csv{JOURNAL_SUFFIX}").exists()


@pytest.mark.parametrize("name", NAMES, ids=["steers", "hides", "line", "formula"])
def test_files_of_strange_names_and_contents_are_shown_harmlessly(
    office: Office, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    contents = {
        "keys": json.dumps({EVERYTHING: EVERYTHING}).encode(),
        "raw": json.dumps({"a": EVERYTHING}, ensure_ascii=False).encode("utf-8", "surrogatepass"),
        "text": EVERYTHING.encode("utf-8", "surrogatepass"),
        "trust": office.path("trust.json")
        .read_text()
        .replace('"version"', json.dumps(EVERYTHING), 1)
        .encode(),
        "genesis": office.path("genesis.json").read_text().replace("hk-bureau", "hk\\u001b[2J", 1).encode(),
        "zip": b"PK\x03\x04" + EVERYTHING.encode("utf-8", "surrogatepass"),
        "toml": f"member = {json.dumps(EVERYTHING)}\n".encode(),
        "receipt": json.dumps({"receipt": {"title": MARKUP, "language": EVERYTHING}}).encode(),
        "csv": f'"{EVERYTHING.replace(chr(34), 2 * chr(34))}",{LONG}\n{FORMULA}'.encode(
            "utf-8", "surrogatepass"
        ),
    }
    good = {"trust": office.path("trust.json"), "request": office.path("request")}
    for kind, content in contents.items():
        path = tmp_path / f"{kind}{name}"[:120]
        path.write_bytes(content)
        home = tmp_path / f"home {kind} {name}"[:120]
        home.mkdir()
        (home / "node.toml").write_bytes(content)
        (home / "genesis.json").write_bytes(content)
        (home / "network.json").write_bytes(content)
        calls = (
            ["verify", path, "--proof", path, "--trust", good["trust"], "--request", good["request"]],
            ["verify", path, "--trust", path, "--anchor-only"],
            ["verify", path, "--trust", good["trust"], "--request", path],
            [
                "verify",
                "--manifest",
                path,
                "--out",
                tmp_path / "answers",
                "--trust",
                good["trust"],
                "--anchor-only",
            ],
            [
                "anchor",
                "--manifest",
                path,
                "--schema",
                "hk.credit-report",
                "--home",
                home,
                "--url",
                office.url,
            ],
            ["trust", "check", path],
            ["trust", "export", "--genesis", path, "--out", tmp_path / "new"],
            ["audit", "--url", office.url, "--genesis", path],
            ["proof", "show", path],
            ["consent", "show", path, "--url", office.url],
            ["consent", "receipt", "show", path],
            ["disclose", "show", path],
            [
                "disclose",
                "verify",
                path,
                "--proof",
                path,
                "--trust",
                good["trust"],
                "--request",
                good["request"],
            ],
            ["key", "show", path],
            ["wallet", "derive", "--wallet", path],
            ["node", "start", "--home", home],
            ["node", "repair", "--home", home],
            ["node", "explain", "--home", home],
            ["network", "status", home],
            ["network", "down", home],
        )
        for call in calls:
            assert run([f"{word}" for word in call]) in (1, 2, 3), (kind, call)
            check_harmless(capfd, (kind, call))
            (tmp_path / "answers").unlink(missing_ok=True)
        for path in tmp_path.glob("answers*"):
            path.unlink()


def test_questions_are_asked_harmlessly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.delenv("LUOHU_PASSPHRASE")

    def answer_to(text: str, **_: object) -> str:
        asked.append(text)
        return PASSPHRASE

    monkeypatch.setattr(click, "prompt", answer_to)
    monkeypatch.setattr(click, "confirm", answer_to)
    assert run(["wallet", "new", "--out", str(tmp_path / SHORT)]) == 0
    require_yes(f"Destroy {EVERYTHING}?", yes=False, command="luohu erase", shown=[EVERYTHING, FORGED_LINE])
    assert len(asked) == 2 and all(raw_in(text) == [] for text in asked)
    check_harmless(capfd, asked)


def test_a_fault_of_ours_is_told_harmlessly(capfd: pytest.CaptureFixture[str]) -> None:
    kind, error, trace = _raised(EVERYTHING)
    print_fault(kind, error, trace)
    out, err = capfd.readouterr()
    assert out == "" and raw_in_output(err) == [] and forged_in(err.split("\n")) == []
    assert "ValueError" in err


def _raised(text: str) -> tuple[type[BaseException], BaseException, TracebackType | None]:
    try:
        raise ValueError(text)
    except ValueError as error:
        return type(error), error, error.__traceback__


@pytest.mark.slow
def test_the_process_itself_tells_faults_and_warnings_harmlessly() -> None:
    source = f"""
import logging, sys
from cli import main, program
def fail(_):
    logging.getLogger("asyncio").error({EVERYTHING!r})
    raise RuntimeError({EVERYTHING!r})
program.run = fail
main.main()
"""
    ended = subprocess.run(
        [sys.executable, "-c", source],
        cwd=ROOT,
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    err = ended.stderr.decode()
    assert ended.returncode == 1 and ended.stdout == b""
    assert raw_in_output(err) == [] and forged_in(err.split("\n")) == []
    assert "fault of its own" in err and len(re.findall(" asyncio ", err)) == 1
