"""Whatever stands at a path that a command is given: it ends, says what it found and what to do, and writes nothing.

Every option and argument that takes a path is found in the commands themselves, and has its place in WAYS: one that is
new and not tried here fails `test_every_path_that_a_command_takes_is_tried`.
"""

import csv
import json
import os
import shutil
import socket
import stat
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from cli import consent, disclose
from cli.exits import FINE, NO, USAGE
from cli.program import program, run
from cli.serve import serve
from cli.times import now_ms, show_time
from node.consent.scenarios import scenarios_directory
from node.network.tls import encode_certificate_pem, make_identity
from tests.attacks.shownsets import whole
from tests.ledger.test_bundles import archive
from tests.support.command_runner import Ended, run_all
from tests.support.consortium import REPORT
from tests.support.office import BANK, DAY_MS, ISSUER, PASSPHRASE, Office, open_office

pytestmark = pytest.mark.slow

TEBIBYTE = 1024**4

READS, FOLDER, HOME, NEW, REPLACES, SECRET = "reads", "folder", "home", "new", "replaces", "secret"

# Each path of a command, by the name of its parameter: what the command does with it.
WAYS: dict[str, dict[str, str]] = {
    "demo": {"files": READS},
    "network down": {"directory": FOLDER},
    "network new": {"directory": NEW, "passphrase_file": SECRET},
    "network status": {"directory": FOLDER},
    "network up": {"directory": FOLDER, "passphrase_file": SECRET},
    "node explain": {"path": HOME},
    "node repair": {"path": HOME, "passphrase_file": SECRET},
    "node start": {"path": HOME, "passphrase_file": SECRET},
    "key new": {"out": NEW, "home_path": HOME, "passphrase_file": SECRET},
    "key tls": {"out": NEW, "home_path": HOME, "passphrase_file": SECRET},
    "key rotate": {"home_path": HOME, "passphrase_file": SECRET},
    "key show": {"path": READS, "passphrase_file": SECRET},
    "wallet derive": {"path": READS, "passphrase_file": SECRET},
    "wallet show": {"path": READS, "passphrase_file": SECRET},
    "wallet new": {"out": NEW, "passphrase_file": SECRET},
    "anchor": {
        "files": READS,
        "manifest": READS,
        "set_folder": FOLDER,
        "home_path": HOME,
        "passphrase_file": SECRET,
    },
    "revoke": {"proof_path": READS, "home_path": HOME, "passphrase_file": SECRET},
    "issued list": {"home_path": HOME},
    "issued show": {"home_path": HOME},
    "issued proof": {"out": NEW, "home_path": HOME, "passphrase_file": SECRET},
    "issued correct": {"file": READS, "home_path": HOME, "passphrase_file": SECRET},
    "issued retry": {"home_path": HOME, "passphrase_file": SECRET},
    "issued drop": {"home_path": HOME},
    "consent grant": {
        "request_path": READS,
        "wallet_path": READS,
        "texts_path": READS,
        "out": NEW,
        "passphrase_file": SECRET,
    },
    "consent receipt check": {"receipt_path": READS, "consent_path": READS, "request_path": READS},
    "consent receipt show": {"receipt_path": READS, "html_path": REPLACES},
    "consent request": {
        "trust_path": READS,
        "texts_path": READS,
        "home_path": HOME,
        "out": REPLACES,
        "passphrase_file": SECRET,
    },
    "consent show": {"consent_path": READS},
    "consent withdraw": {"consent_path": READS},
    "proof present": {
        "proof_path": READS,
        "request_path": READS,
        "consent_path": READS,
        "wallet_path": READS,
        "shown_path": READS,
        "passphrase_file": SECRET,
    },
    "proof refresh": {"proof_path": READS, "consent_path": READS},
    "proof show": {"proof_path": READS},
    "verify": {
        "document": READS,
        "proof_path": READS,
        "trust_path": READS,
        "request_path": READS,
        "manifest": READS,
        "out": NEW,
        "extract": NEW,
        "set_folder": FOLDER,
    },
    "verify serve": {"trust_path": READS, "requests": FOLDER, "texts_path": READS},
    "texts pack": {"directory": FOLDER, "out": NEW},
    "texts show": {"texts_path": READS},
    "texts check": {"texts_path": READS, "trust_path": READS},
    "set select": {"holder_path": READS, "out": NEW},
    "set show": {"file": READS},
    "disclose issue": {"report_path": READS, "home_path": HOME, "out": NEW, "passphrase_file": SECRET},
    "disclose select": {
        "holder_path": READS,
        "request_path": READS,
        "wallet_path": READS,
        "out": REPLACES,
        "passphrase_file": SECRET,
    },
    "disclose show": {"file": READS},
    "disclose verify": {
        "shown_path": READS,
        "proof_path": READS,
        "trust_path": READS,
        "request_path": READS,
        "texts_path": READS,
    },
    "record": {"proof_path": READS, "request_path": READS, "home_path": HOME, "passphrase_file": SECRET},
    "erase": {
        "proof_path": READS,
        "document": READS,
        "also": READS,
        "home_path": HOME,
        "wallet_path": READS,
        "consent_path": READS,
        "passphrase_file": SECRET,
    },
    "trust check": {"trust_path": READS},
    "trust export": {"genesis_path": READS, "out": REPLACES},
    "governance propose member": {"tls": READS, "home_path": HOME, "passphrase_file": SECRET},
    "governance propose node": {"tls": READS, "home_path": HOME, "passphrase_file": SECRET},
    "governance possess keys": {"genesis_path": READS, "key_path": READS, "passphrase_file": SECRET},
    "governance possess member": {
        "genesis_path": READS,
        "key_path": READS,
        "validator_path": READS,
        "tls": READS,
        "passphrase_file": SECRET,
    },
    "governance possess node": {
        "genesis_path": READS,
        "validator_path": READS,
        "tls": READS,
        "passphrase_file": SECRET,
    },
    **{
        f"governance propose {change}": {"home_path": HOME, "passphrase_file": SECRET}
        for change in (
            *(
                "issuers",
                "keys",
                "names",
                "notices",
                "parameters",
                "purpose",
                "reinstate",
                "roles",
                "schema",
                "suspend",
            ),
            "validators",
        )
    },
    "governance suspend-self": {"home_path": HOME, "passphrase_file": SECRET},
    "governance vote": {"home_path": HOME, "passphrase_file": SECRET},
    "audit": {"home": HOME, "genesis_path": READS},
}

# A trusted root, and the wallet that keeps one, are named alike by all who ask nodes.
for _command in (
    *(
        "anchor",
        "audit",
        "consent grant",
        "consent receipt check",
        "consent show",
        "consent withdraw",
        "erase",
    ),
    *("issued correct", "issued proof", "issued retry", "key rotate", "proof refresh", "record", "revoke"),
    *("governance suspend-self", "wallet new"),
):
    WAYS[_command]["trust_path"] = READS
for _command in ("consent show", "consent withdraw", "proof refresh"):
    WAYS[_command] |= {"wallet_path": READS, "passphrase_file": SECRET}

# How a command is called with good files; a path that is tried takes the place of its good one.
NAMES = ["--name-zh-hans", "一", "--name-zh-hant", "一", "--name-en", "One"]
URL = ["--url", "{url}"]
SIGNING = ["--home", "{home}", *URL]
PROPOSING = ["--home", "{home_path}", *URL, "--yes"]
CALLS: dict[str, list[str]] = {
    "demo": ["--file", "{files}"],
    "network down": ["{directory}"],
    "network new": ["{directory}"],
    "network status": ["{directory}"],
    "network up": ["{directory}"],
    "node explain": ["--home", "{path}"],
    "node repair": ["--home", "{path}"],
    "node start": ["--home", "{path}"],
    "key new": ["--out", "{out}"],
    "key rotate": ["--role", "member", "--home", "{home_path}", *URL],
    "key tls": ["--member", BANK, "--out", "{out}"],
    "key show": ["{path}"],
    "wallet derive": ["--wallet", "{path}"],
    "wallet show": ["--wallet", "{path}"],
    "wallet new": ["--out", "{out}"],
    "anchor": ["{files}", "--holder", "{holder}", "--schema", REPORT, "--home", "{home_path}", *URL],
    "revoke": ["--proof", "{proof_path}", "--reason", "error", "--home", "{home_path}", *URL],
    "issued list": ["--home", "{home_path}"],
    "issued show": ["1", "--home", "{home_path}"],
    "issued proof": ["1", "--out", "{out}", "--home", "{home_path}", *URL],
    "issued correct": ["1", "{file}", "--home", "{home_path}", *URL],
    "issued retry": ["--home", "{home_path}", *URL],
    "issued drop": ["1", "--yes", "--home", "{home_path}"],
    "consent grant": [
        *("--request", "{request_path}", "--wallet", "{wallet_path}", "--out", "{out}", "--yes", *URL)
    ],
    "consent receipt check": ["{receipt_path}", "--consent", "{consent_path}"],
    "consent receipt show": ["{receipt_path}", "--html", "{html_path}"],
    "consent request": [
        *(
            "--issuer",
            ISSUER,
            "--schema",
            REPORT,
            "--purpose",
            "consumer-credit.loan",
            "--until",
            show_time(now_ms() + 300 * DAY_MS)[:10],
        ),
        *("--home", "{home_path}", "--out", "{out}"),
    ],
    "consent show": ["{consent_path}", *URL],
    "consent withdraw": ["--consent", "{consent_path}", *URL],
    "proof present": [
        *("{proof_path}", "--request", "{request_path}", "--consent", "{consent_path}"),
        *("--wallet", "{wallet_path}"),
    ],
    "proof refresh": ["{proof_path}", "--consent", "{consent_path}", *URL],
    "proof show": ["{proof_path}"],
    "verify": [
        *("{document}", "--proof", "{proof_path}", "--trust", "{trust_path}", "--request", "{request_path}"),
        *("--at", "{at}"),
    ],
    "verify serve": ["--trust", "{trust_path}", "--requests", "{requests}", "--port", "0"],
    "texts pack": ["{directory}", "--out", "{out}"],
    "texts show": ["{texts_path}"],
    "texts check": ["{texts_path}", *URL],
    "set select": ["{holder_path}", "--all", "--out", "{out}"],
    "set show": ["{file}"],
    "disclose issue": [
        *("{report_path}", "--holder", "{holder}", "--schema", REPORT, "--home", "{home_path}"),
        *("--out", "{out}"),
    ],
    "disclose select": [
        *("{holder_path}", "--field", "subject", "--request", "{request_path}", "--wallet", "{wallet_path}"),
        *("--out", "{out}"),
    ],
    "disclose show": ["{file}"],
    "disclose verify": [
        *(
            "{shown_path}",
            "--proof",
            "{proof_path}",
            "--trust",
            "{trust_path}",
            "--request",
            "{request_path}",
        ),
    ],
    "record": [
        *("{proof_path}", "--request", "{request_path}", "--outcome", "verified", "--home", "{home_path}"),
        *URL,
    ],
    "erase": ["{proof_path}", "--yes", "--wallet", "{wallet_path}"],
    "trust check": ["{trust_path}"],
    "trust export": ["--genesis", "{genesis_path}", "--out", "{out}"],
    "governance possess keys": [
        *(ISSUER, "--key", "{key_path}", "--next-key", "0" * 64, "--genesis", "{genesis_path}")
    ],
    "governance possess member": [
        *("hk-clinic", "--side", "HK", "--role", "issuer", "--key", "{key_path}", "--next-key", "0" * 64),
        *("--genesis", "{genesis_path}", *NAMES),
    ],
    "governance possess node": [BANK, "--tls", "{tls}", "--genesis", "{genesis_path}"],
    "governance propose issuers": ["hk.credit-report", "--add", "mainland-bureau", *PROPOSING],
    "governance propose keys": [ISSUER, "--key", "{holder}", "--next-key", "0" * 64, *PROPOSING],
    "governance propose member": [
        *("hk-clinic", "--side", "HK", "--role", "issuer", "--key", "{holder}", "--next-key", "0" * 64),
        *(*NAMES, *PROPOSING),
    ],
    "governance propose names": [ISSUER, *NAMES, *PROPOSING],
    "governance propose node": [BANK, "--tls", "{tls}", *PROPOSING],
    "governance propose notices": ["consumer-credit.loan", "--add", "0" * 64, *PROPOSING],
    "governance propose parameters": ["block_size_max=1048576", *PROPOSING],
    "governance propose purpose": ["some.purpose", *PROPOSING],
    "governance propose reinstate": [ISSUER, *PROPOSING],
    "governance propose roles": [ISSUER, "issuer", *PROPOSING],
    "governance propose schema": ["some.schema", *PROPOSING],
    "governance propose suspend": [ISSUER, "--distrust-from", "1", *PROPOSING],
    "governance propose validators": ["hk-bank", "hk-operator", "mainland-bank", "sz-operator", *PROPOSING],
    "governance suspend-self": [*PROPOSING],
    "governance vote": ["0" * 64, "yes", *PROPOSING],
    "audit": ["--genesis", "{genesis_path}", "--home", "{home}"],
}
# Paths for which a call looks otherwise.
OTHER_CALLS: dict[tuple[str, str], list[str]] = {
    ("anchor", "manifest"): ["--manifest", "{manifest}", "--schema", REPORT, *SIGNING],
    ("anchor", "set_folder"): ["--set", "{set_folder}", "--schema", REPORT, *SIGNING],
    ("verify", "set_folder"): [
        *("{shown_set}", "--set", "{set_folder}", "--proof", "{proof_path}", "--trust", "{trust_path}"),
        *("--request", "{request_path}", "--at", "{at}"),
    ],
    ("consent receipt check", "request_path"): ["{receipt_path}", "--request", "{request_path}", *URL],
    ("consent receipt check", "trust_path"): [
        *("{receipt_path}", "--request", "{request_path}", "--trust", "{trust_path}", *URL)
    ],
    ("consent request", "trust_path"): [*CALLS["consent request"], "--trust", "{trust_path}"],
    ("verify", "manifest"): [
        *("--manifest", "{manifest}", "--out", "{fresh}", "--trust", "{trust_path}", "--request"),
        *("{request_path}", "--jobs", "1"),
    ],
    ("verify", "out"): [
        *("--manifest", "{manifest}", "--out", "{out}", "--trust", "{trust_path}", "--request"),
        *("{request_path}", "--jobs", "1"),
    ],
    ("verify", "extract"): [
        *("{bundle}", "--bundle", "--extract", "{extract}", "--trust", "{trust_path}"),
        *("--request", "{request_path}", "--at", "{at}"),
    ],
    ("proof present", "shown_path"): [*CALLS["proof present"], "--shown", "{shown_path}"],
    ("network new", "passphrase_file"): ["{directory}", "--fresh-keys"],
    ("erase", "document"): ["{proof_path}", "--yes", "--home", "{home_path}", "--document", "{document}"],
    ("erase", "also"): ["{proof_path}", "--yes", "--home", "{home_path}", "--also", "{also}"],
    ("erase", "home_path"): ["{proof_path}", "--yes", "--home", "{home_path}"],
    ("erase", "consent_path"): [*CALLS["erase"], "--consent", "{consent_path}"],
    ("audit", "home"): ["--genesis", "{genesis_path}", "--home", "{home}"],
    ("audit", "genesis_path"): ["--genesis", "{genesis_path}", *URL],
    ("governance propose member", "tls"): [*CALLS["governance propose member"], "--tls", "{tls}"],
    **{
        ("governance possess member", name): [
            *CALLS["governance possess member"],
            *("--validator", "{validator_path}", "--next-validator-key", "0" * 64, "--tls", "{tls}"),
        ]
        for name in ("validator_path", "tls")
    },
    **{
        ("governance possess node", name): [
            *CALLS["governance possess node"],
            *("--validator", "{validator_path}", "--next-validator-key", "0" * 64),
        ]
        for name in ("validator_path", "passphrase_file")
    },
}

GOOD: dict[str, str] = {
    "files": "other.pdf",
    "manifest": "manifest.csv",
    "directory": "network",
    "path": "network/mainland-bank",
    "home_path": "network/mainland-bank",
    "home": "network/mainland-bank",
    "out": "fresh",
    "html_path": "fresh",
    "fresh": "fresh",
    "proof_path": "report.pdf.proof",
    "document": "report.pdf",
    "bundle": "both.zip",
    "extract": "fresh",
    "request_path": "request",
    "consent_path": "consent",
    "wallet_path": "wallet",
    "receipt_path": "given.receipt.json",
    "trust_path": "trust.json",
    "genesis_path": "genesis.json",
    "key_path": "key.pem",
    "validator_path": "key.pem",
    "tls": "tls.crt",
    "report_path": "report.json",
    "holder_path": "report.sdjwt",
    "file": "report.sdjwt",
    "shown_path": "report.shown",
    "shown_set": "pictures.set",
    "set_folder": "pictures",
    "requests": "requests",
    "passphrase_file": "passphrase",
    "texts_path": "samples.texts",
}
OTHER_GOOD: dict[tuple[str, str], str] = {
    ("key show", "path"): "key.pem",
    ("proof present", "shown_path"): "pictures.set",
    ("wallet derive", "path"): "wallet",
    ("wallet show", "path"): "wallet",
    ("network new", "directory"): "fresh",
    ("texts pack", "directory"): "texts",
    ("set select", "holder_path"): "pictures.set",
    ("set show", "file"): "pictures.set",
    ("disclose issue", "home_path"): f"network/{ISSUER}",
    ("anchor", "home_path"): f"network/{ISSUER}",
    ("verify", "manifest"): "asked.csv",
}

KINDS: dict[str, Callable[[Path], None]] = {
    "a pipe": os.mkfifo,
    "a directory": Path.mkdir,
    "an endless device": lambda path: path.symlink_to("/dev/zero"),
    "a socket": lambda path: bind_socket(path),
    "a dangling link": lambda path: path.symlink_to("nowhere"),
    "a link to a pipe": lambda path: make_link_to_pipe(path),
    "a circle of links": lambda path: path.symlink_to(path.name),
    "a tebibyte": lambda path: make_sparse(path),
    "nothing": lambda path: None,
}

# What is not tried, and why.
WITHOUT_FORM: dict[tuple[str, str], str] = {
    **{
        (
            "node repair passphrase_file",
            kind,
        ): "it is read where peers are asked, for a home with damage alone"
        for kind in KINDS
    },
    ("verify serve requests", "a directory"): "it would serve",
    ("erase document", "a tebibyte"): "it is a file like another, and would be overwritten",
    ("erase also", "a tebibyte"): "as the document",
    ("network new directory", "nothing"): "that is where a network is made",
    **{
        (f"{command} {name}", "nothing"): "that is where a file is written"
        for command, ways in WAYS.items()
        for name, way in ways.items()
        if way in (NEW, REPLACES) and (command, name) != ("network new", "directory")
    },
    **{
        (f"{command} {name}", "a tebibyte"): "it is a file like another, and is replaced"
        for command, ways in WAYS.items()
        for name, way in ways.items()
        if way == REPLACES
    },
}
# Where the answer is no, not a call that is wrong: bytes from outside are refused, or what was to be destroyed is.
MAY_BE_NO = frozenset(("erase document", "erase also"))


def bind_socket(path: Path) -> None:
    """Leave a socket at a path. Its name is short from where it is bound."""
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(before)


def make_link_to_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("the pipe"))
    path.symlink_to("the pipe")


def make_sparse(path: Path) -> None:
    path.touch(mode=0o600)
    os.truncate(path, TEBIBYTE)


def walk(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            inner = command.get_command(click.Context(command), name)
            assert inner is not None
            yield from walk(inner, (*path, name))
    else:
        yield " ".join(path), command


def paths_of_commands() -> dict[str, set[str]]:
    """Return every command that takes a path, with the names of the parameters that do."""
    found = {
        name: {each.name for each in command.params if each.name and isinstance(each.type, click.Path)}
        for name, command in (*walk(program, ()), ("verify serve", serve))
    }
    return {name: parameters for name, parameters in found.items() if parameters}


def test_every_path_that_a_command_takes_is_tried() -> None:
    assert paths_of_commands() == {command: set(ways) for command, ways in WAYS.items()}
    assert set(CALLS) == set(WAYS)


@dataclass(frozen=True, slots=True)
class Trial:
    """One command with one thing at one of its paths."""

    command: str
    name: str
    kind: str
    path: Path
    arguments: list[str]

    @property
    def place(self) -> str:
        return f"{self.command} {self.name}"


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """An office with a good file for every path of every command."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LUOHU_PASSPHRASE", PASSPHRASE)
        with open_office(tmp_path_factory.mktemp("office"), has_homes=True) as opened:
            for module in (consent, disclose):
                patch.setattr(module, "now_ms", lambda: opened.now_ms)
            patch.setattr("cli.verify.now_ms", lambda: opened.now_ms)
            furnish(opened)
            yield opened


def furnish(office: Office) -> None:
    """Add what the office has not by itself: receipt, report with fields, manifest of a recipient, passphrase."""
    folder = office.folder
    (folder / "passphrase").write_text(PASSPHRASE)
    (folder / "passphrase").chmod(0o600)
    (folder / "requests").mkdir()
    inside = [(name, office.path(name).read_bytes()) for name in ("report.pdf", "report.pdf.proof")]
    (folder / "both.zip").write_bytes(archive(*inside))
    (folder / "pictures.set").write_bytes(whole().encode())
    (folder / "tls.crt").write_bytes(encode_certificate_pem(make_identity(BANK)))
    (folder / "asked.csv").write_text("report.pdf\n")
    shutil.copytree(scenarios_directory(), folder / "texts")
    (folder / "report.json").write_text('{"subject": {"name": "SAMPLE of a person who does not exist"}}')
    for command, name, call in (
        ("consent grant", "out", {"out": "given"}),
        ("disclose issue", "out", {"out": "report.sdjwt"}),
        ("disclose select", "out", {"out": "report.shown"}),
    ):
        arguments = call_of(office, command, name, {key: folder / value for key, value in call.items()})
        arguments = [word for word in arguments if word not in ("--field", "subject")]
        assert run(arguments) == FINE, arguments


def call_of(office: Office, command: str, name: str, paths: dict[str, Path]) -> list[str]:
    """Return the words of a command with good files, but for the paths that are given."""
    words = OTHER_CALLS.get((command, name), CALLS[command])
    if name == "trust_path" and "{trust_path}" not in words:
        words = [*words, "--trust", "{trust_path}"]
    with_wallet = command in ("consent show", "consent withdraw", "proof refresh")
    if with_wallet and name in ("wallet_path", "passphrase_file"):
        words = [*words, "--wallet", "{wallet_path}"]
    if command in ("key new", "key tls") and name == "home_path":
        words = [*words, "--home", "{home_path}"]
    if name == "passphrase_file":
        words = [*words, "--passphrase-file", "{passphrase_file}"]
    if name == "texts_path" and "{texts_path}" not in words:
        words = [*words, "--texts", "{texts_path}"]
    good = {key: office.folder / OTHER_GOOD.get((command, key), value) for key, value in GOOD.items()}
    places = {"url": office.url, "holder": office.holder, "at": office.at, **good, **paths}
    return [*command.split(), *(word.format(**places) for word in words)]


def trials_of(group: str, folder: Path, office: Office) -> list[Trial]:
    """Return every trial of a command, or of a group of them, each with a folder of its own."""
    found: list[Trial] = []
    for command, ways in WAYS.items():
        if command.split()[0] != group:
            continue
        for name in ways:
            for kind in KINDS:
                if (f"{command} {name}", kind) in WITHOUT_FORM:
                    continue
                place = folder / f"{len(found)}"
                place.mkdir()
                path = place / "named"
                KINDS[kind](path)
                arguments = call_of(office, command, name, {name: path})
                found.append(Trial(command, name, kind, path, [*arguments, "--json"]))
    return found


def names_in(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return what lies below a folder: kind and mode, size, and when it was last changed."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        is_file = stat.S_ISREG(status.st_mode)
        found[str(path.relative_to(folder))] = (
            status.st_mode,
            status.st_size if is_file else 0,
            status.st_mtime_ns if is_file else 0,
        )
    return found


def check_refused(trial: Trial, ended: Ended) -> list[str]:
    """Return what is wrong with how a trial ended."""
    wrong = []
    codes = {USAGE, NO} if trial.place in MAY_BE_NO or trial.kind == "a tebibyte" else {USAGE}
    if ended.code not in codes:
        wrong.append(f"exit code {ended.code}")
    if "Traceback" in ended.out + ended.err:
        wrong.append("a traceback")
    try:
        answer: dict[str, Any] = json.loads(ended.out)
    except ValueError:
        return [*wrong, f"no answer: {ended.out[:200]}{ended.err[:200]}"]
    said = answer.get("error", answer)
    cure = said.get("cure") or said.get("next_step", {}).get("en")
    if not all((said.get("code"), said.get("where"), said.get("expected"), said.get("found"), cure)):
        wrong.append(f"an incomplete reason: {answer}")
    if trial.kind != "a tebibyte" and str(trial.path) not in f"{said.get('where')} {said.get('found')}":
        wrong.append(f"not about the path: {answer}")
    return wrong


GROUPS = sorted({command.split()[0] for command in WAYS})


@pytest.mark.parametrize("group", GROUPS)
def test_whatever_stands_at_a_path_the_command_ends_says_so_and_writes_nothing(
    group: str, office: Office, tmp_path: Path
) -> None:
    trials = trials_of(group, tmp_path, office)
    assert trials
    before, around = names_in(tmp_path), names_in(office.folder)
    commands = [trial.arguments for trial in trials]
    ended = run_all(commands, office.folder, now_ms=office.now_ms, LUOHU_PASSPHRASE=PASSPHRASE)
    wrong = defaultdict(list)
    for trial, each in zip(trials, ended, strict=True):
        for what in check_refused(trial, each):
            wrong[f"{trial.place}: {trial.kind}"].append(what)
    assert not wrong, json.dumps(wrong, indent=1)
    assert changes(before, names_in(tmp_path)) == set()
    assert changes(around, names_in(office.folder)) == set()


def changes(before: dict[str, tuple[int, int, int]], after: dict[str, tuple[int, int, int]]) -> set[str]:
    """Return what appeared, went or changed. A lock is a file that stays; one is taken beside a regular file alone."""
    found = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    return {name for name in found if not (name.endswith(".lock") and is_regular(after.get(name[:-5])))}


def is_regular(known: tuple[int, int, int] | None) -> bool:
    return known is not None and stat.S_ISREG(known[0])


# -- what is written ------------------------------------------------------------------------------------

WRITES = [
    (command, name) for command, ways in WAYS.items() for name, way in ways.items() if way in (NEW, REPLACES)
]
# A proof is read and then replaced.
REPLACING = [
    *((command, name) for command, ways in WAYS.items() for name, way in ways.items() if way == REPLACES),
    ("proof refresh", "proof_path"),
    ("proof present", "proof_path"),
]
LINKED = {"proof refresh": "report.pdf.proof", "proof present": "report.pdf.proof"}


def is_of(command: str, name: str) -> str:
    return f"{command} {name}"


@pytest.mark.parametrize(
    ("command", "name"),
    [*WRITES, *REPLACING[-2:]],
    ids=[is_of(*each) for each in [*WRITES, *REPLACING[-2:]]],
)
def test_nothing_is_written_through_a_link(command: str, name: str, office: Office, tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes((office.folder / LINKED.get(command, "trust.json")).read_bytes())
    link.symlink_to("target")
    before, around = names_in(tmp_path), names_in(office.folder)
    content = target.read_bytes()
    # A consent goes on where an earlier call wrote it: what is there is read first, and is none.
    assert run(call_of(office, command, name, {name: link})) == (NO if command == "consent grant" else USAGE)
    assert target.read_bytes() == content and names_in(tmp_path) == before
    assert changes(around, names_in(office.folder)) == set()


# A proof is made again from a register that holds its document: test_issued_commands.py.
WRITES_HERE = [each for each in WRITES if each != ("issued proof", "out")]


@pytest.mark.parametrize(("command", "name"), WRITES_HERE, ids=[is_of(*each) for each in WRITES_HERE])
def test_where_nothing_can_be_written_the_command_says_so(
    command: str, name: str, office: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    # Root may write where it likes, but for where no file can be.
    path = (Path("/proc") if os.geteuid() == 0 else closed) / "luohu-test"
    capsys.readouterr()
    assert run([*call_of(office, command, name, {name: path}), "--json"]) == USAGE
    error = json.loads(capsys.readouterr().out)["error"]
    assert all(error[part] for part in ("code", "where", "expected", "found", "cure"))
    assert "/proc" in error["where"] or str(closed) in error["where"]
    assert not path.exists() and [*closed.iterdir()] == []


@pytest.mark.parametrize("mode", [0o600, 0o640])
@pytest.mark.parametrize(("command", "name"), REPLACING, ids=[is_of(*each) for each in REPLACING])
def test_what_is_replaced_keeps_its_mode_owner_and_group(
    command: str, name: str, mode: int, office: Office, tmp_path: Path
) -> None:
    path = tmp_path / "existing"
    path.write_bytes((office.folder / "report.pdf.proof").read_bytes())
    path.chmod(mode)
    if os.geteuid() == 0:
        os.chown(path, 11, 12)
    before = path.stat()
    assert run(call_of(office, command, name, {name: path})) == FINE
    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino and [*tmp_path.iterdir()] == [path]


# -- who named it ---------------------------------------------------------------------------------------


def verified(office: Office, *arguments: object) -> int:
    words = ["--trust", office.path("trust.json"), "--request", office.path("request"), "--at", office.at]
    return run(["verify", *map(str, [*arguments, *words])])


def test_a_link_to_a_document_is_followed_and_its_proof_stands_beside_the_link(
    office: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    link, proof = tmp_path / "mine.pdf", tmp_path / "mine.pdf.proof"
    link.symlink_to(office.path("report.pdf"))
    assert verified(office, link) == USAGE, (
        "no proof beside the link, whatever stands beside what it leads to"
    )
    proof.symlink_to(office.path("report.pdf.proof"))
    capsys.readouterr()
    assert verified(office, link) == USAGE
    assert "found: a link" in " ".join(capsys.readouterr().err.split())
    # The user names that very file: it may be a link.
    assert verified(office, link, "--proof", proof) == FINE
    proof.unlink()
    proof.write_bytes(office.path("report.pdf.proof").read_bytes())
    assert verified(office, link) == FINE


@pytest.mark.parametrize(
    "row",
    [
        "linked.pdf,report.pdf.proof",
        "report.pdf,linked.proof",
        "beside.pdf",
        "folder/report.pdf,report.pdf.proof",
        "report.pdf,folder/report.pdf.proof",
        "report.pdf,report.pdf.proof,linked request",
        "{f}/linked.pdf,report.pdf.proof",
        "inner/../linked.pdf,report.pdf.proof",
        "pipe,report.pdf.proof",
        "report.pdf,pipe",
        "report.pdf,report.pdf.proof,pipe",
        "zero,report.pdf.proof",
        "/dev/zero,report.pdf.proof",
        "/dev/stdin,report.pdf.proof",
        "report.pdf,/dev/fd/0",
        "inner,report.pdf.proof",
        "endless.pdf,report.pdf.proof",
    ],
)
def test_a_row_of_a_manifest_opens_regular_files_and_no_link(
    row: str, office: Office, tmp_path: Path
) -> None:
    others_fill(tmp_path, office)
    (tmp_path / "in.csv").write_text(f"{row.format(f=tmp_path)}\nreport.pdf\n")
    manifest = ["--manifest", tmp_path / "in.csv", "--out", tmp_path / "out.csv", "--jobs", "1"]
    assert verified(office, *manifest) == NO
    with (tmp_path / "out.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["verdict"], first["code"]) == ("unreadable", "path"), first
    assert second["verdict"] == "verified"


def others_fill(folder: Path, office: Office) -> None:
    """Put into a folder what others may put there."""
    for name in ("report.pdf", "report.pdf.proof", "request"):
        (folder / name).write_bytes(office.path(name).read_bytes())
    (folder / "inner").mkdir()
    (folder / "folder").symlink_to(office.folder)
    (folder / "linked.pdf").symlink_to("report.pdf")
    (folder / "linked.proof").symlink_to("report.pdf.proof")
    (folder / "linked request").symlink_to("request")
    (folder / "beside.pdf").write_bytes(office.path("report.pdf").read_bytes())
    (folder / "beside.pdf.proof").symlink_to("report.pdf.proof")
    (folder / "zero").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe")
    make_sparse(folder / "endless.pdf")


def test_the_request_that_the_user_named_for_all_rows_may_be_a_link(office: Office, tmp_path: Path) -> None:
    others_fill(tmp_path, office)
    (tmp_path / "in.csv").write_text("report.pdf\n")
    words = ["--manifest", tmp_path / "in.csv", "--out", tmp_path / "out.csv", "--jobs", "1"]
    words += ["--trust", office.path("trust.json"), "--at", office.at]
    assert run(["verify", *map(str, [*words, "--request", tmp_path / "linked request"])]) == FINE


@pytest.mark.parametrize("name", ["linked.pdf", "folder/other.pdf", "pipe", "zero", "inner", "endless.pdf"])
def test_a_row_of_an_issuers_manifest_is_refused_before_anything_is_recorded(
    name: str, office: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others_fill(tmp_path, office)
    height = office.node.ledger.tip.header.height
    (tmp_path / "in.csv").write_text(f"report.pdf,,\n{name},,\n")
    home = office.path("network") / ISSUER
    words = ["--manifest", tmp_path / "in.csv", "--schema", REPORT, "--home", home, "--url", office.url]
    assert run(["anchor", *map(str, words)]) == USAGE
    assert name in capsys.readouterr().err
    assert office.node.ledger.tip.header.height == height
    assert not (home / "issued" / "issued.sqlite").exists()
