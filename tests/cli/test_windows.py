"""The commands of residents and of banks' counters as on Windows, against a network of nodes that run as ever."""

import ast
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mypy
import pytest

from cli.exits import FINE, INTERRUPTED, NO, USAGE
from ledger.trust import TRUST_VERSION, TrustedRoot, trusted_root_to_json
from tests.support.running_network import make_network
from tests.support.sources import ROOT
from tests.support.windows import lacking

WINDOWS = ROOT / "tests" / "support" / "windows"
TYPESHED = Path(mypy.__file__).parent / "typeshed" / "stdlib"
PATIENCE_S = 120.0
BANK, ISSUER, SCHEMA = "mainland-bank", "hk-bureau", "hk.credit-report"


def environment(place: Path, *, is_windows: bool) -> dict[str, str]:
    path = [str(ROOT), *([str(WINDOWS)] if is_windows else [])][::-1]
    made = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "XDG_STATE_HOME": str(place / "state")}
    return {name: value for name, value in made.items() if name != "LUOHU_PASSPHRASE"}


def run_python(place: Path, *arguments: str, is_windows: bool = True) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=place,
        env=environment(place, is_windows=is_windows),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


class Counter:
    """A folder in which commands are given, as on Windows or as ever; each answers in JSON."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def luohu(self, *arguments: str, code: int = FINE, is_windows: bool = True) -> dict[str, Any]:
        done = run_python(self.place, "-m", "cli.main", *arguments, "--json", is_windows=is_windows)
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Counter]:
    made = Counter(tmp_path)
    network = make_network(tmp_path / "net")
    root = TrustedRoot(TRUST_VERSION, network.genesis, ())
    (tmp_path / "trust.json").write_text(json.dumps(trusted_root_to_json(root)))
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.7 a report\n" * 50)
    # There files have no modes that mean something: this one says that everybody may read it.
    (tmp_path / "passphrase").write_text("correct horse\n")
    (tmp_path / "passphrase").chmod(0o644)
    yield made
    made.luohu("network", "down", "net", is_windows=False)


@pytest.mark.slow
def test_wallet_grant_present_verify_manifest_and_withdrawal_run_on_windows(counter: Counter) -> None:
    place = counter.place
    nodes = counter.luohu("network", "up", "net", is_windows=False)["nodes"]
    url = next(node["url"] for node in nodes if node["member"] == "hk-operator")
    secret = ("--passphrase-file", "passphrase")
    wallet = ("--wallet", "mine.wallet", *secret)
    root = ("--trust", "trust.json")

    counter.luohu("wallet", "new", "--out", "mine.wallet", *root, *secret)
    holder = counter.luohu("wallet", "derive", *wallet)["holder_key"]
    anchoring = ("anchor", "report.pdf", "--holder", holder, "--schema", SCHEMA, "--expires", "2027-12-31")
    counter.luohu(*anchoring, "--home", f"net/{ISSUER}", "--url", url, is_windows=False)
    asked = ("--issuer", ISSUER, "--schema", SCHEMA, "--purpose", "consumer-credit.loan")
    until = ("--until", "2026-12-31", "--home", f"net/{BANK}", "--out", "request.luohu")
    counter.luohu("consent", "request", *asked, *until, is_windows=False)

    granting = ("--request", "request.luohu", *wallet, "--url", url, "--out", "consent.luohu", "--yes")
    assert counter.luohu("consent", "grant", *granting)["proven"]
    refreshing = ("proof", "refresh", "report.pdf.proof", "--consent", "consent.luohu", *root, "--url", url)
    counter.luohu(*refreshing)
    named = ("--request", "request.luohu", "--consent", "consent.luohu")
    counter.luohu("proof", "present", "report.pdf.proof", *named, *wallet)
    counter.luohu("proof", "show", "report.pdf.proof")

    asking = ("verify", "report.pdf", *root, "--request", "request.luohu")
    assert counter.luohu(*asking)["verdict"] == "verified"
    (place / "altered.pdf").write_bytes(b"%PDF-1.7 another\n")
    (place / "today.csv").write_text(
        "report.pdf,,request.luohu\n" * 40 + "altered.pdf,report.pdf.proof,request.luohu\n"
    )
    manifest = ("verify", "--manifest", "today.csv", *root, "--out", "answers.csv", "--jobs", "2")
    summary = counter.luohu(*manifest, code=NO)
    assert summary["verdicts"] == {"verified": 40, "refused": 1}
    assert not (place / "answers.csv.partial").exists() and (place / "answers.csv").exists()

    shown = ("--consent", "consent.luohu", *root, "--url", url)
    assert counter.luohu("consent", "withdraw", *shown)["proven"]
    counter.luohu("consent", "show", "consent.luohu", *root, "--url", url)
    # What was presented before the withdrawal is refreshed after it, and says that the consent has ended.
    counter.luohu(*refreshing)
    assert counter.luohu(*asking, code=NO)["code"] == "consent-ended"


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("node", "start", "--home", "net/hk-operator"),
        ("node", "repair", "--home", "net/hk-operator"),
        ("node", "explain", "--home", "net/hk-operator"),
        ("network", "new", "other"),
        ("network", "up", "net"),
        ("network", "down", "net"),
        ("audit", "--home", "net/hk-operator", "--genesis", "net/genesis.json"),
        ("erase", "report.pdf.proof", "--wallet", "mine.wallet"),
        ("demo",),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_what_needs_more_than_windows_has_says_so_and_does_nothing(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    error = Counter(tmp_path).luohu(*arguments, code=USAGE)["error"]
    assert (error["code"], error["expected"]) == ("system-unfit", "Linux or macOS")
    assert [path.name for path in tmp_path.iterdir()] == []


@pytest.mark.slow
def test_the_service_of_a_recipient_serves_there_until_it_is_interrupted(counter: Counter) -> None:
    counter.luohu("network", "status", "net", code=USAGE, is_windows=False)  # `up` never ran
    (counter.place / "net" / "network.json").write_text('{"nodes": []}')
    command = (sys.executable, "-m", "cli.main", "verify", "serve", "--trust", "trust.json", "--port", "0")
    with subprocess.Popen(
        command,
        cwd=counter.place,
        env=environment(counter.place, is_windows=True),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("verifying at http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=PATIENCE_S)[1]
        assert process.returncode == INTERRUPTED, told


LOCKING = """
from pathlib import Path
from node.files.durablefile import FileLock, FileLocked, POSIX_FILES, replace_file, write_file, create_file
path = Path("a.lock")
first = FileLock(path)
try:
    FileLock(path)
except FileLocked:
    pass
else:
    raise AssertionError("two hold one lock")
first.release()
FileLock(path).release()
target = Path("a")
for content in (b"one", b"another and longer", b""):
    write_file(POSIX_FILES, target, content)
    assert target.read_bytes() == content
replace_file(POSIX_FILES, target, b"replaced")
try:
    create_file(POSIX_FILES, target, b"")
except FileExistsError:
    pass
else:
    raise AssertionError("what is there was made anew")
assert target.read_bytes() == b"replaced"
descriptor = POSIX_FILES.open(target)
POSIX_FILES.write_at(descriptor, b"RE", 0)
assert POSIX_FILES.read_at(descriptor, 4, 1) == b"Epla"
POSIX_FILES.close(descriptor)
assert sorted(each.name for each in Path().iterdir()) == ["a", "a.lock"]
"""


def test_files_are_locked_replaced_and_written_in_place_there(tmp_path: Path) -> None:
    done = run_python(tmp_path, "-c", LOCKING)
    assert (done.returncode, done.stderr) == (0, "")


# -- what is taken away -----------------------------------------------------------------------------


def test_nothing_that_windows_lacks_is_left_to_a_command(tmp_path: Path) -> None:
    script = f"""
import os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from tests.support.windows import lacking
left = [name for name in lacking.OF_OS if hasattr(os, name)]
left += [name for name in lacking.OF_SIGNAL if hasattr(signal, name)]
for name in lacking.MODULES:
    try:
        __import__(name)
    except ImportError:
        continue
    left.append(name)
from multiprocessing import get_context
print(left, get_context("spawn").Pool is not None, hasattr(os, "open"), hasattr(signal, "SIGTERM"))
"""
    done = run_python(tmp_path, "-c", script)
    assert (done.stdout, done.stderr) == ("[] True True True\n", "")


def names_in(body: list[ast.stmt], platform: str) -> set[str]:
    """Return the public names that a stub declares for a platform, under this Python."""
    facts = {"sys": type("sys", (), {"platform": platform, "version_info": sys.version_info})}
    found: set[str] = set()
    for node in body:
        match node:
            case ast.If(test=test, body=then, orelse=otherwise):
                holds = eval(compile(ast.Expression(test), "stub", "eval"), facts)
                found |= names_in(then if holds else otherwise, platform)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                found.add(name)
            case _:
                pass
    return {name for name in found if not name.startswith("_")}


@pytest.mark.parametrize(
    ("stub", "listed"), [("os/__init__.pyi", lacking.OF_OS), ("signal.pyi", lacking.OF_SIGNAL)]
)
def test_what_is_taken_away_is_all_that_the_stubs_declare_elsewhere_alone(
    stub: str, listed: frozenset[str]
) -> None:
    body = ast.parse((TYPESHED / stub).read_text("utf-8")).body
    here = names_in(body, "linux") | names_in(body, "darwin")
    assert here - names_in(body, "win32") - listed == set()
    assert listed & names_in(body, "win32") == set()
