"""The matrix of readers and faults: each reader meets each fault with a clear refusal, and nothing is left or changed.

A cell is a test of this file, a test of another that it names, or the reason why the fault has no form at that reader.
Nothing may be silently absent: `test_the_matrix_has_no_empty_cell`.
"""

import ast
import base64
import functools
import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, cast

import pytest

from cli.exits import NO, USAGE, CommandError
from cli.manifest import MANIFEST_SIZE_MAX, read_manifest
from cli.program import run
from cli.times import now_ms, show_time
from ledger.consents import CONSENT_FILE_SIZE_MAX, CONSENT_MAGIC, ConsentFile, grant_consent
from ledger.encoding.codec import decode, encode
from ledger.encoding.keys import PrivateKey
from ledger.encoding.records import pack
from ledger.errors import LedgerError
from ledger.genesis import GENESIS_FILE_SIZE_MAX, parse_genesis
from ledger.proofs import PROOF_MAGIC, PROOF_SIZE_MAX, Proof
from ledger.requests import REQUEST_MAGIC, REQUEST_SIZE_MAX, Request
from ledger.rules.transactions import Transaction
from ledger.trust import TRUST_FILE_SIZE_MAX, TrustedRoot, parse_trusted_root
from node.client import wallet
from node.client.wallet import WALLET_SIZE_MAX, Wallet, WalletError
from node.consent.textbundle import TEXTS_MAGIC, TEXTS_SIZE_MAX, PackedTexts
from node.files.configfile import CONFIG_FILE_SIZE_MAX, ConfigError
from node.files.keyfiles import KEY_FILE_SIZE_MAX, KeyFileError, Passphrase, load_key_file
from node.home.home import Home
from tests.support.consortium import (
    LATER_MS,
    MINUTE_MS,
    PARAMETERS,
    key_of,
    make_anchor,
    make_genesis,
    make_transaction,
    member_key_of,
)
from tests.support.office import BANK, DAY_MS, ISSUER, PASSPHRASE, Office, make_request, open_office, present
from tests.support.sources import ROOT

HERE = ROOT / "tests"
OTHER_CHAIN = bytes(range(32))
SECONDS_MAX = 60.0
SPARSE_SIZE = 2**30

READERS = (
    "api",
    "peer port",
    "proof",
    "request",
    "consent",
    "wallet",
    "key file",
    "trusted root",
    "genesis",
    "node.toml",
    "manifest",
    "text bundle",
)
FAULTS = (
    "malformed",
    "oversized",
    "truncated",
    "nested",
    "wrong version",
    "unknown keys",
    "wrong chain",
    "expired",
    "replayed",
    "unregistered sender",
    "suspended sender",
    "forbidden role",
)

COVERED: dict[tuple[str, str], str] = {}
"""Cells with the test that fills each: of this file, or `file::test`."""

WITHOUT_FORM: dict[tuple[str, str], str] = {
    ("api", "wrong version"): "the version is the path's /v1; any other path is unknown",
    (
        "wallet",
        "nested",
    ): "what is nested is encrypted and authenticated: only the wallet's owner could write it",
    ("wallet", "unknown keys"): "as nested; a record inside has exactly its items, by test_records.py",
    ("wallet", "wrong chain"): "holder keys and consent keys belong to no chain",
    ("wallet", "expired"): "keys have no end; what they sign has",
    ("wallet", "replayed"): "an older copy is a good wallet that lacks newer keys, and says so for each",
    ("wallet", "unregistered sender"): "holders are not registered",
    ("wallet", "suspended sender"): "holders are not registered",
    ("wallet", "forbidden role"): "holders have no role",
    (
        "key file",
        "unknown keys",
    ): "PKCS#8 has places for attributes; what stands there is not read as anything",
    ("key file", "wrong chain"): "a key belongs to no chain; what it signs does",
    ("key file", "expired"): "keys have no end",
    ("key file", "replayed"): "an older key is another key than the registered one: see unregistered sender",
    ("key file", "suspended sender"): "standing is the ledger's, not the file's: see the API",
    ("key file", "forbidden role"): "roles are the ledger's, not the file's: see the API",
    ("trusted root", "wrong chain"): "it is what says which chain; a proof of another is refused by it",
    ("trusted root", "replayed"): "an older one is good for as long as its windows say",
    (
        "trusted root",
        "unregistered sender",
    ): "whoever hands it over does not count; its members' signatures do",
    ("trusted root", "suspended sender"): "as unregistered sender",
    (
        "trusted root",
        "forbidden role",
    ): "as unregistered sender; every member signs, whatever its role: see test_genesis.py",
    ("genesis", "wrong chain"): "it is what founds the chain; a store of another is refused by it",
    ("genesis", "expired"): "a genesis has no end",
    ("genesis", "replayed"): "the same genesis is the same chain",
    ("genesis", "suspended sender"): "nobody is suspended before the first block",
    ("node.toml", "wrong version"): "it has none: its keys are exact, so another form has unknown ones",
    ("node.toml", "wrong chain"): "it names no chain; the genesis beside it does",
    ("node.toml", "expired"): "settings have no end",
    ("node.toml", "replayed"): "settings are the operator's own",
    (
        "node.toml",
        "suspended sender",
    ): "a suspended member's node goes on; its operations are refused: see the API",
    ("node.toml", "forbidden role"): "it names a member; what that member may do, the ledger says",
    ("manifest", "nested"): "rows of CSV do not nest; a quote without end is malformed",
    ("manifest", "wrong version"): "it has none: a row has exactly three columns",
    ("manifest", "wrong chain"): "it names no chain; the home does",
    ("manifest", "replayed"): "what is anchored is not anchored again: test_issuing_commands.py",
    ("manifest", "unregistered sender"): "the home says who sends: see the API",
    ("manifest", "suspended sender"): "as unregistered sender",
    ("manifest", "forbidden role"): "as unregistered sender",
    ("text bundle", "wrong chain"): "it names no chain: the same texts may serve several",
    ("text bundle", "expired"): "texts have no end; a request that names a notice has",
    ("text bundle", "replayed"): "the same hash is the same texts",
    ("text bundle", "unregistered sender"): "whoever hands it over does not count: its hash does",
    ("text bundle", "suspended sender"): "as unregistered sender",
    ("text bundle", "forbidden role"): "as unregistered sender",
    (
        "consent",
        "expired",
    ): "a withdrawal has no deadline; of a grant past its own, see the API and the request",
    ("consent", "forbidden role"): "holders have no role; the recipient's is checked when it is granted",
    ("proof", "forbidden role"): "roles are checked when the anchor is recorded: see the API",
    (
        "peer port",
        "suspended sender",
    ): "its node stays connected until a validator change; what it submits meets "
    "the same admission as at the API",
}

ELSEWHERE: dict[tuple[str, str], str] = {
    ("api", "malformed"): "node/api/test_api.py::test_a_body_that_is_wrong_anywhere_is_refused_with_a_reason",
    ("api", "oversized"): "node/api/test_api.py::test_a_body_that_is_wrong_anywhere_is_refused_with_a_reason",
    ("api", "nested"): "node/api/test_api.py::test_a_body_that_is_wrong_anywhere_is_refused_with_a_reason",
    (
        "api",
        "unknown keys",
    ): "node/api/test_api.py::test_a_body_that_is_wrong_anywhere_is_refused_with_a_reason",
    (
        "peer port",
        "malformed",
    ): "node/network/test_peer_garbage.py::test_garbage_of_a_registered_peer_costs_it_the_connection",
    (
        "peer port",
        "nested",
    ): "node/network/test_peer_garbage.py::test_garbage_of_a_registered_peer_costs_it_the_connection",
    (
        "peer port",
        "unknown keys",
    ): "node/network/test_peer_garbage.py::test_garbage_of_a_registered_peer_costs_it_the_connection",
    ("peer port", "oversized"): "node/network/test_network_attacks.py::"
    "test_a_frame_that_announces_too_much_is_refused_before_its_bytes_come",
    (
        "peer port",
        "truncated",
    ): "node/network/test_peer_garbage.py::test_a_message_cut_at_any_length_is_an_offence",
    (
        "peer port",
        "wrong version",
    ): "node/network/test_network_attacks.py::test_another_hello_is_refused_with_its_reason",
    ("peer port", "wrong chain"): "node/test_running_attacks.py::"
    "test_what_is_signed_for_another_chain_is_refused_at_every_route",
    (
        "peer port",
        "expired",
    ): "node/test_running_attacks.py::test_a_replay_after_expiry_is_refused_and_changes_nothing",
    (
        "peer port",
        "replayed",
    ): "node/test_running_attacks.py::test_a_replay_after_expiry_is_refused_and_changes_nothing",
    (
        "peer port",
        "unregistered sender",
    ): "node/network/test_network_attacks.py::test_a_stranger_does_not_pass_the_handshake",
    ("peer port", "forbidden role"): "node/test_running_attacks.py::"
    "test_a_role_that_may_not_and_a_sender_that_nobody_knows_have_codes_of_their_own",
    ("trusted root", "expired"): "ledger/test_verifier.py::test_a_trusted_root_survives_its_json_form",
    ("genesis", "unregistered sender"): "ledger/test_genesis.py::test_every_member_signs_and_nobody_else",
    ("genesis", "forbidden role"): "ledger/test_genesis.py::test_every_member_signs_and_nobody_else",
    (
        "key file",
        "unregistered sender",
    ): "node/files/test_keyfiles.py::test_another_key_than_the_one_expected_is_refused",
}


def fills(*cells: tuple[str, str]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Note which cells a test fills."""

    def note(test: Callable[..., None]) -> Callable[..., None]:
        COVERED.update(dict.fromkeys(cells, test.__name__))
        return test

    return note


def test_the_matrix_has_no_empty_cell() -> None:
    filled = {**COVERED, **ELSEWHERE}
    assert set(COVERED) & set(ELSEWHERE) == set()
    assert set(filled) & set(WITHOUT_FORM) == set(), "what has a test has a form"
    assert set(filled) | set(WITHOUT_FORM) == set(product(READERS, FAULTS))
    for where in ELSEWHERE.values():
        file, _, name = where.partition("::")
        defined = [
            each.name
            for each in ast.parse((HERE / file).read_text()).body
            if isinstance(each, ast.FunctionDef)
        ]
        assert name in defined, where


# -- files -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FileReader:
    """A kind of file: where a good one lies, who reads it, how it is read, and how a refusal exits."""

    name: str
    file: str
    exit_code: int
    read: Callable[[Path, bytes], object]
    faults: Callable[[str, bytes], dict[str, bytes]]
    commands: tuple[str, ...]
    survives_a_cut: Callable[[object], bool] = lambda _read: False


VERIFY = "verify {f}/report.pdf --proof {f}/report.pdf.proof --trust {f}/trust.json --request {f}/request --at {at}"
PRESENT = "proof present {f}/report.pdf.proof --request {f}/request --consent {f}/consent --wallet {f}/wallet"
RECORD = "record {f}/report.pdf.proof --request {f}/request --outcome verified --home {home} --url {url}"
GRANT = "consent grant --request {f}/request --wallet {f}/wallet --url {url} --out {f}/new --yes"
# Within what the network allows from now on, whenever that is.
UNTIL = show_time(now_ms() + 300 * DAY_MS)[:10]
ASK = (
    "consent request --issuer hk-bureau --schema hk.credit-report --purpose consumer-credit.loan "
    f"--until {UNTIL} --home {{home}} --out {{f}}/new"
)


def binary(magic: bytes, size_max: int) -> Callable[[str, bytes], dict[str, bytes]]:
    """Return the faults of a file of magic, version and one canonical record."""

    def faults(fault: str, good: bytes) -> dict[str, bytes]:
        inner = good[len(magic) :]
        value = decode(inner)
        assert isinstance(value, tuple)
        return {
            "malformed": {
                "nothing": b"",
                "zeros": bytes(100),
                "a PDF": b"%PDF-1.7\n",
                "JSON": b"{}",
                "only the magic": magic,
                "without the magic": inner,
                "what no encoding starts with": magic + b"\xc1",
                "a byte too many": good + b"\0",
                "a boolean": magic + inner[:1] + b"\xc3" + inner[2:],
                "a longer spelling": magic + b"\xdc\x00" + bytes([inner[0] & 15]) + inner[1:],
                "a map": magic + b"\x81\xa1a\x01",
            },
            "oversized": {
                "past the limit": magic + bytes(size_max + 1),
                "a string that claims 4 GiB": magic + b"\xc6\xff\xff\xff\xff" + bytes(64),
                "an array that claims 4 Gi items": magic + b"\xdd\xff\xff\xff\xff" + bytes(64),
            },
            "nested": {
                "to the limit": magic + b"\x91" * (size_max - len(magic)),
                "a little": magic + b"\x91" * 40 + b"\xc0",
            },
            "wrong version": {
                f"version {version}": magic[:-1] + bytes([version]) + inner
                for version in {0, 1, 2, 3, 49, 255} - {magic[-1]}
            },
            "unknown keys": {
                "an item more": magic + encode((*value, None)),
                "an item less": magic + encode(value[:-1]),
                "another tag": magic + encode(("another", *value[1:])),
            },
        }[fault]

    return faults


def json_file(size_max: int) -> Callable[[str, bytes], dict[str, bytes]]:
    """Return the faults of a file of strict JSON."""

    def faults(fault: str, good: bytes) -> dict[str, bytes]:
        value = json.loads(good)
        number = value.get("content", value)["version"]
        version = b'"version": %d' % number
        return {
            "malformed": {
                "nothing": b"",
                "a brace": b"{",
                "null": b"null",
                "a list": b"[]",
                "UTF-16": good.decode().encode("utf-16"),
                "a byte order mark": b"\xef\xbb\xbf" + good,
                "not UTF-8": b"\xff" + good,
                "not a number": good.replace(version, b'"version": NaN', 1),
                "a number without end": good.replace(version, b'"version": ' + b"9" * 9_999, 1),
                "a key twice": good.replace(version, version + b", " + version, 1),
                "a boolean": good.replace(version, b'"version": true', 1),
            },
            "oversized": {"past the limit": good + b" " * (size_max + 1 - len(good))},
            "nested": {"lists": b"[" * 100_000, "objects": b'{"a":' * 100_000},
            "wrong version": {
                "the next": good.replace(version, b'"version": %d' % (number + 1)),
                "version 0": good.replace(version, b'"version": 0'),
            },
            "unknown keys": {
                where: json.dumps(changed).encode() for where, changed in with_unknown_keys(value, value)
            },
        }[fault]

    return faults


def with_unknown_keys(root: object, value: object, where: str = "top") -> Iterator[tuple[str, object]]:
    """Yield a JSON value with one key more in one of its objects at a time."""
    if isinstance(value, dict):
        value["surprise"] = 1
        yield where, root
        del value["surprise"]
        for key, inner in value.items():
            yield from with_unknown_keys(root, inner, f"{where}.{key}")
    if isinstance(value, list) and value:
        # One member, one signature is enough: they are read alike.
        yield from with_unknown_keys(root, value[0], f"{where}[0]")


def toml_faults(fault: str, good: bytes) -> dict[str, bytes]:
    """Return the faults of node.toml."""
    return {
        "malformed": {
            "nothing": b"",
            "not UTF-8": b"\xff" + good,
            "a byte order mark": b"\xef\xbb\xbf" + good,
            "no TOML": b"member",
            "a number for a name": good.replace(b'"mainland-bank"', b"1", 1),
            "a port past the last": good.replace(b"port = ", b"port = 9", 1),
            "a key twice": good + good,
            "zeros": bytes(100),
        },
        "oversized": {"past the limit": good + b"#" * (CONFIG_FILE_SIZE_MAX + 1 - len(good))},
        "nested": {"lists": b"a = " + b"[" * 20_000, "tables": b"[" + b"a." * 20_000 + b"a]"},
        "unknown keys": {
            "at the top": b"surprise = 1\n" + good,
            "in a table": good.replace(b"[listen]", b"[listen]\nsurprise = 1"),
            "a table more": good + b"\n[surprise]\n",
        },
    }[fault]


def manifest_faults(fault: str, good: bytes) -> dict[str, bytes]:
    """Return the faults of a manifest."""
    return {
        "malformed": {
            "nothing": b"",
            "one column": b"other.pdf\n",
            "a quote without end": good + b'"' + b"x" * 200_000,
            "not UTF-8": b"\xff\xfe" + good,
            "a file twice": good + good,
            "no name": good.replace(b"other.pdf", b"", 1),
            "a zero byte": good.replace(b"other", b"ot\0er", 1),
            "no key": good.replace(b"ed25519:", b"rsa:", 1),
        },
        "oversized": {"past the limit": good + b"\n" * (MANIFEST_SIZE_MAX + 1)},
        "unknown keys": {"a column more": good.replace(b"\n", b",more\n", 1)},
        "expired": {"no date": good.replace(b"2027-12-31", b"soon", 1)},
    }[fault]


def wallet_faults(fault: str, good: bytes) -> dict[str, bytes]:
    """Return the faults of a wallet."""
    return {
        "malformed": {
            "nothing": b"",
            "zeros": bytes(200),
            "another magic": b"x" + good[1:],
            "a bit of what is encrypted": good[:-1] + bytes([good[-1] ^ 1]),
            "a byte too many": good + b"\0",
        },
        "oversized": {"past the limit": good + bytes(WALLET_SIZE_MAX)},
        "wrong version": {"version 3": good[:14] + b"\x03" + good[15:]},
    }[fault]


def key_faults(fault: str, good: bytes) -> dict[str, bytes]:
    """Return the faults of a key file."""

    def pem(content: bytes) -> bytes:
        body = base64.encodebytes(content)
        return b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n" + body + b"-----END ENCRYPTED PRIVATE KEY-----\n"

    der = base64.b64decode(b"".join(good.splitlines()[1:-1]))
    return {
        "malformed": {
            "nothing": b"",
            "zeros": bytes(200),
            "no key": b"-----BEGIN CERTIFICATE-----\n",
            "no base64": good.replace(b"\nM", b"\n!", 1),
            "junk": pem(bytes(100)),
            "a bit of what is encrypted": pem(der[:-1] + bytes([der[-1] ^ 1])),
        },
        "oversized": {"past the limit": good + b"\n" * KEY_FILE_SIZE_MAX},
        "nested": {
            "sequences": pem(b"\x30\x80" * 2_000),
            "definite ones": pem(b"\x30\x84\x7f\xff\xff\xff" * 500),
        },
        "wrong version": {
            "of the parameters": pem(der.replace(b"\x06\x09\x2a\x86\x48", b"\x06\x09\x2a\x86\x49", 1))
        },
    }[fault]


def open_wallet(path: Path) -> object:
    with Wallet.load(path, Passphrase.from_text(PASSPHRASE)) as opened:
        return opened.keys


def written(read: Callable[[Path], object]) -> Callable[[Path, bytes], object]:
    """Return a reader of content by way of its file."""

    def write_and_read(path: Path, content: bytes) -> object:
        path.write_bytes(content)
        return read(path)

    return write_and_read


def is_fewer_settings(read: object) -> bool:
    """Say whether what a cut-off node.toml gave is a member's home: a line less is another good file."""
    return isinstance(read, Home) and BANK.startswith(read.member)


FILE_READERS = (
    FileReader(
        "proof",
        "report.pdf.proof",
        NO,
        lambda _path, content: Proof.decode(content),
        binary(PROOF_MAGIC, PROOF_SIZE_MAX),
        (
            VERIFY,
            "proof show {f}/report.pdf.proof",
            "proof refresh {f}/report.pdf.proof --url {url}",
            PRESENT,
            RECORD,
            "revoke --proof {f}/report.pdf.proof --reason error --home {home} --url {url}",
        ),
    ),
    FileReader(
        "request",
        "request",
        NO,
        lambda _path, content: Request.decode(content),
        binary(REQUEST_MAGIC, REQUEST_SIZE_MAX),
        (VERIFY, PRESENT, RECORD, GRANT),
    ),
    FileReader(
        "consent",
        "consent",
        NO,
        lambda _path, content: ConsentFile.decode(content),
        binary(CONSENT_MAGIC, CONSENT_FILE_SIZE_MAX),
        (
            "consent withdraw --consent {f}/consent --url {url}",
            "consent show {f}/consent --url {url}",
            "proof refresh {f}/report.pdf.proof --consent {f}/consent --url {url}",
            PRESENT,
        ),
    ),
    FileReader(
        "wallet",
        "wallet",
        USAGE,
        written(open_wallet),
        wallet_faults,
        ("wallet derive --wallet {f}/wallet", PRESENT, GRANT),
    ),
    FileReader(
        "key file",
        "key.pem",
        USAGE,
        written(lambda path: load_key_file(path, Passphrase.from_text(PASSPHRASE), expected=None)),
        key_faults,
        ("key show {f}/key.pem",),
        lambda read: isinstance(read, PrivateKey) and read.public == key_of("some key").public,
    ),
    FileReader(
        "trusted root",
        "trust.json",
        USAGE,
        lambda _path, content: parse_trusted_root(content),
        json_file(TRUST_FILE_SIZE_MAX),
        (VERIFY, "trust check {f}/trust.json", ASK + " --trust {f}/trust.json"),
    ),
    FileReader(
        "genesis",
        "genesis.json",
        USAGE,
        lambda _path, content: parse_genesis(content),
        json_file(GENESIS_FILE_SIZE_MAX),
        (
            "trust export --genesis {f}/genesis.json --out {f}/new",
            "audit --url {url} --genesis {f}/genesis.json",
        ),
        lambda read: read == make_genesis(),
    ),
    FileReader(
        "node.toml",
        "network/mainland-bank/node.toml",
        USAGE,
        written(lambda path: Home.open(path.parent)),
        toml_faults,
        (ASK, "node start --home {home}", RECORD),
        is_fewer_settings,
    ),
    FileReader(
        "manifest",
        "manifest.csv",
        USAGE,
        written(lambda path: read_manifest(path, expires_ms=None)),
        manifest_faults,
        ("anchor --manifest {f}/manifest.csv --schema hk.credit-report --home {home} --url {url}",),
        lambda read: isinstance(read, tuple) and len(read) == 1 and read[0].file.name == "other.pdf",
    ),
    FileReader(
        "text bundle",
        "samples.texts",
        USAGE,
        lambda _path, content: PackedTexts.decode(content),
        binary(TEXTS_MAGIC, TEXTS_SIZE_MAX),
        (
            "texts show {f}/samples.texts",
            "texts check {f}/samples.texts",
            ASK + " --texts {f}/samples.texts",
        ),
    ),
)
BYTE_FAULTS = [
    (reader, fault)
    for reader in FILE_READERS
    for fault in FAULTS
    if fault not in ("truncated", "wrong chain")
    and (reader.name, fault) not in WITHOUT_FORM
    and (fault in FAULTS[:6] or (reader.name, fault) == ("manifest", "expired"))
]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """An office whose files each test puts back."""
    with open_office(tmp_path_factory.mktemp("desk"), has_homes=True) as office:
        yield office


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """An office of one's own, whose node may be changed."""
    with open_office(tmp_path) as opened:
        yield opened


@pytest.fixture(autouse=True)
def passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUOHU_PASSPHRASE", PASSPHRASE)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command's clock stands after the story: `--at` asks about a past time."""
    monkeypatch.setattr("cli.verify.now_ms", lambda: LATER_MS)


def arguments(office: Office, command: str) -> list[str]:
    places = {"f": office.folder, "url": office.url, "home": office.path("network") / BANK}
    # The time has a space in it, so it is filled in after the words are told apart.
    return [word.format(at=office.at, **places) for word in command.split()]


def answer_of(office: Office, capsys: pytest.CaptureFixture[str], command: str) -> tuple[int, dict[str, Any]]:
    """Run a command; return its exit code and its JSON answer, or what it refused with."""
    capsys.readouterr()
    started = time.monotonic()
    code = run([*arguments(office, command), "--json"])
    assert time.monotonic() - started < SECONDS_MAX, f"{command} hangs"
    shown = capsys.readouterr()
    assert "Traceback" not in shown.out + shown.err
    answer = json.loads(shown.out)
    if code != 0:
        said = answer.get("error", answer)
        cure = said.get("cure") or said["next_step"]["en"]
        assert all((said["code"], said["expected"], said["found"], cure)), answer
        assert len(shown.out) < 8_000, "what is repeated of the input is bounded"
        return code, said
    return code, answer


def check_refused(office: Office, capsys: pytest.CaptureFixture[str], reader: FileReader, label: str) -> None:
    """Check that every command that reads the file refuses it, and leaves everything as it was."""
    before = office.snapshot()
    for command in reader.commands:
        code, said = answer_of(office, capsys, command)
        assert code == reader.exit_code, (label, command, said)
    assert office.snapshot() == before, f"{label}: a refusal left or changed a file"


@fills(*((reader.name, fault) for reader, fault in BYTE_FAULTS))
@pytest.mark.parametrize(
    ("reader", "fault"), BYTE_FAULTS, ids=[f"{reader.name}-{fault}" for reader, fault in BYTE_FAULTS]
)
def test_a_faulty_file_is_refused_by_every_command_and_nothing_changes(
    desk: Office, capsys: pytest.CaptureFixture[str], reader: FileReader, fault: str
) -> None:
    path = desk.path(reader.file)
    good = path.read_bytes()
    try:
        for label, content in reader.faults(fault, good).items():
            assert content != good, label
            path.write_bytes(content)
            check_refused(desk, capsys, reader, label)
        if fault == "oversized":
            # A file of a gigabyte, of which no more than the limit is ever read.
            os.truncate(path, SPARSE_SIZE)
            check_refused(desk, capsys, reader, "a gigabyte")
    finally:
        path.write_bytes(good)


@fills(*((reader.name, "truncated") for reader in FILE_READERS))
@pytest.mark.parametrize("reader", FILE_READERS, ids=[reader.name for reader in FILE_READERS])
def test_a_file_cut_at_any_length_is_refused(
    desk: Office, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, reader: FileReader
) -> None:
    # The head of a wallet is the same at each length, and so is the key that scrypt derives from it.
    monkeypatch.setattr(wallet, "_derive_seal", functools.cache(wallet._derive_seal))
    path = desk.path(reader.file)
    good = path.read_bytes()
    errors = (LedgerError, CommandError, WalletError, KeyFileError, ConfigError)
    refused: list[int] = []
    try:
        for size in range(len(good)):
            try:
                read = reader.read(path, good[:size])
            except errors:
                refused.append(size)
                continue
            # Without a checksum in the format, a cut at the end of a line can be another good file.
            assert reader.survives_a_cut(read), size
        for size in refused[:: max(1, len(refused) // 5)]:
            path.write_bytes(good[:size])
            check_refused(desk, capsys, reader, f"{size} bytes")
    finally:
        path.write_bytes(good)
    assert len(refused) > len(good) // 2


@pytest.mark.parametrize("reader", FILE_READERS, ids=[reader.name for reader in FILE_READERS])
def test_the_good_file_is_read(desk: Office, reader: FileReader) -> None:
    path = desk.path(reader.file)
    assert reader.read(path, path.read_bytes())


# -- what a file says at the wrong time, on the wrong chain, of the wrong member ------------------------------


def verdict_of(office: Office, capsys: pytest.CaptureFixture[str], proof: Proof, at_ms: int = 0) -> str:
    """Return the code with which the bank refuses a proof; its file is put back."""
    path = office.path("report.pdf.proof")
    good = path.read_bytes()
    path.write_bytes(proof.encode())
    before = office.snapshot()
    command = VERIFY.replace("{at}", f"{at_ms}") if at_ms else VERIFY
    code, said = answer_of(office, capsys, command)
    assert code == NO
    assert office.snapshot() == before
    path.write_bytes(good)
    return str(said["code"])


def later(office: Office, milliseconds: int) -> Callable[[], int]:
    return lambda: office.now_ms + milliseconds


@fills(
    ("proof", "wrong chain"), ("proof", "expired"), ("proof", "replayed"), ("proof", "unregistered sender")
)
def test_a_proof_of_another_chain_time_request_or_issuer_is_refused(
    office: Office, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, verdict = answer_of(office, capsys, VERIFY)
    assert (code, verdict["verdict"]) == (0, "verified")
    proof = office.proof
    assert verdict_of(office, capsys, replace(proof, chain_id=OTHER_CHAIN)) == "untrusted-header"
    other = make_request(TrustedRoot(1, make_genesis(), ()), office.now_ms, nonce=bytes(16))
    with Wallet.load(office.path("wallet"), Passphrase.from_text(PASSPHRASE)) as opened:
        holder = opened.signer_for(office.holder)
    shown_before = present(proof, other, office.consent, holder, office.consent_key)
    assert verdict_of(office, capsys, shown_before) == "wrong-nonce"
    evidence = replace(proof.evidence, issuer=proof.evidence.consent.recipient)  # type: ignore[union-attr]
    assert verdict_of(office, capsys, replace(proof, evidence=evidence)) == "issuer-unproven"
    office.node.clock.now_ms += 2 * DAY_MS
    assert verdict_of(office, capsys, proof) == "answer-late"
    office.node.clock.now_ms += 60 * DAY_MS
    assert verdict_of(office, capsys, proof) == "document-expired"


@fills(("proof", "suspended sender"))
@pytest.mark.parametrize(("member", "code"), [(ISSUER, "issuer-suspended"), (BANK, "recipient-suspended")])
def test_a_proof_that_needs_a_suspended_member_is_refused(
    office: Office, capsys: pytest.CaptureFixture[str], member: str, code: str
) -> None:
    office.suspend(member)
    assert verdict_of(office, capsys, office.evidence(office.proof)) == code


def grant_refusal(office: Office, capsys: pytest.CaptureFixture[str], **changes: object) -> tuple[int, str]:
    """Return exit code and code with which granting a changed request ends; no file may be left."""
    trust = TrustedRoot(1, make_genesis(), ())
    office.path("request").write_bytes(make_request(trust, office.now_ms, **changes).encode())
    before = office.snapshot()
    code, said = answer_of(office, capsys, GRANT)
    assert office.snapshot() == before
    return code, str(said.get("code"))


@fills(
    ("request", "wrong chain"),
    ("request", "expired"),
    ("request", "unregistered sender"),
    ("request", "forbidden role"),
    ("request", "suspended sender"),
)
def test_a_request_that_no_consent_can_answer_is_refused_before_a_key_is_made(
    office: Office, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.consent.now_ms", later(office, 0))
    assert grant_refusal(office, capsys, chain_id=OTHER_CHAIN) == (NO, "wrong-chain")
    assert grant_refusal(office, capsys, until_ms=office.now_ms) == (NO, "consent-period")
    too_long = office.now_ms + PARAMETERS.consent_duration_max_ms + DAY_MS
    assert grant_refusal(office, capsys, until_ms=too_long) == (NO, "consent-period")
    assert grant_refusal(office, capsys, recipient="nobody") == (NO, "unknown")
    assert grant_refusal(office, capsys, recipient="auditor") == (NO, "forbidden-role")
    office.suspend(BANK)
    assert grant_refusal(office, capsys) == (NO, "suspended")


@fills(("request", "replayed"), ("consent", "replayed"))
def test_a_request_answered_again_and_a_withdrawal_sent_again_change_nothing(
    office: Office, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.consent.now_ms", later(office, 0))
    assert answer_of(office, capsys, GRANT)[0] == 0
    before, height = office.snapshot(), office.node.ledger.tip.header.height
    assert answer_of(office, capsys, GRANT)[0] == 0
    assert office.snapshot() == before
    withdraw = "consent withdraw --consent {f}/consent --url {url}"
    _, first = answer_of(office, capsys, withdraw)
    _, again = answer_of(office, capsys, withdraw)
    assert first["height"] > height and again["height"] is None


@fills(("consent", "wrong chain"), ("consent", "unregistered sender"), ("consent", "suspended sender"))
def test_a_consent_of_another_chain_is_refused_and_a_withdrawal_works_whoever_is_suspended(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    good = office.path("consent").read_bytes()
    trust = TrustedRoot(1, make_genesis(), ())
    for chain_id, code in ((OTHER_CHAIN, "wrong-chain"), (trust.chain_id, "unknown")):
        foreign = grant_consent(
            make_request(trust, office.now_ms, chain_id=chain_id, nonce=bytes(16)),
            key_of("another holder"),
            nonce=bytes(16),
            terms_salt=bytes(32),
            from_ms=office.now_ms,
            submit_by_ms=office.now_ms + DAY_MS,
        )
        office.path("consent").write_bytes(foreign.encode())
        before = office.snapshot()
        # Nobody granted either: a stranger's consent is unknown, one of another chain cannot be withdrawn here.
        for command in (
            "consent show {f}/consent --url {url}",
            "consent withdraw --consent {f}/consent --url {url}",
        ):
            if code == "unknown" and "withdraw" in command:
                continue
            exit_code, said = answer_of(office, capsys, command)
            assert (exit_code, said["code"]) in ((NO, code), (NO, "unknown"))
        assert office.snapshot() == before
    office.path("consent").write_bytes(good)
    office.suspend(BANK)
    office.suspend(ISSUER)
    assert answer_of(office, capsys, "consent withdraw --consent {f}/consent --url {url}")[0] == 0


@fills(("node.toml", "unregistered sender"))
def test_a_home_of_a_member_that_the_genesis_does_not_know_is_refused(
    desk: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    reader = next(each for each in FILE_READERS if each.name == "node.toml")
    path = desk.path(reader.file)
    good = path.read_bytes()
    try:
        path.write_bytes(good.replace(BANK.encode(), b"nobody", 1))
        before = desk.snapshot()
        for command, exit_code in ((ASK, USAGE), (RECORD, NO)):
            assert answer_of(desk, capsys, command)[0] == exit_code, command
        assert desk.snapshot() == before
        # A node learns from its chain who is registered, so this one opens its store before it refuses.
        assert answer_of(desk, capsys, "node start --home {home}")[0] == USAGE
        shutil.rmtree(path.parent / "data")
        (path.parent / "data").mkdir(mode=0o700)
    finally:
        path.write_bytes(good)


# -- the API -------------------------------------------------------------------------------------------------


def post(office: Office, path: str, body: object) -> tuple[int, dict[str, Any]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(office.url + path, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS_MAX) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def submitted(office: Office, *transactions: Transaction) -> list[str | None]:
    """Return the code of each transaction's refusal; None where it became final."""
    body = {"transactions": [each.encoded.hex() for each in transactions], "wait_ms": 0}
    status, answer = post(office, "/v1/transactions", body)
    assert status == 200
    for result in answer["results"]:
        assert result["error"] is None or all(result["error"].values())
    return [None if each["error"] is None else each["error"]["code"] for each in answer["results"]]


@fills(("api", "truncated"))
def test_a_body_and_a_transaction_cut_at_any_length_are_refused(office: Office) -> None:
    valid_until_ms = office.now_ms + MINUTE_MS
    good = make_transaction(ISSUER, make_anchor(7), valid_until_ms=valid_until_ms).encoded
    height = office.node.ledger.tip.header.height
    body = json.dumps({"transactions": [good.hex()], "wait_ms": 0}).encode()
    for size in range(len(body)):
        status, answer = post(office, "/v1/transactions", body[:size] or b" ")
        assert (status, answer["error"]["code"]) == (400, "encoding")
    cut = {"transactions": [good[:size].hex() for size in range(len(good))], "wait_ms": 0}
    status, answer = post(office, "/v1/transactions", cut)
    assert status == 200 and len(answer["results"]) == len(good)
    assert {each["error"]["code"] for each in answer["results"]} == {"encoding"}
    grant = pack(office.consent.grant)
    for size in range(0, len(grant), 7):
        relayed = {"operations": [grant[:size].hex()], "wait_ms": 0}
        status, answer = post(office, "/v1/relay", relayed)
        assert (status, answer["error"]["code"]) == (400, "encoding")
    assert office.node.ledger.tip.header.height == height


@fills(
    ("api", "wrong chain"),
    ("api", "expired"),
    ("api", "replayed"),
    ("api", "unregistered sender"),
    ("api", "suspended sender"),
    ("api", "forbidden role"),
)
def test_a_transaction_that_may_not_be_recorded_has_a_code_of_its_own(office: Office) -> None:
    until = office.now_ms + 10 * MINUTE_MS

    def anchor(number: int, sender: str = ISSUER, **changes: object) -> Transaction:
        return make_transaction(
            sender, make_anchor(number), **cast(Any, {"valid_until_ms": until, **changes})
        )

    recorded = anchor(1)
    assert submitted(office, recorded) == [None]
    root = office.node.ledger.tip.header.state_root
    assert submitted(office, anchor(2, chain_id=OTHER_CHAIN)) == ["wrong-chain"]
    assert submitted(office, anchor(2, valid_until_ms=office.now_ms)) == ["expired"]
    assert submitted(office, anchor(1, valid_until_ms=until + 1)) == ["already-recorded"]
    assert submitted(office, recorded) == [None], "the very same bytes are the transaction that is recorded"
    assert submitted(office, anchor(2, "nobody")) == ["unregistered"]
    assert submitted(office, anchor(2, BANK)) == ["forbidden-role"]
    assert submitted(office, anchor(2, key=member_key_of(BANK))) == ["signature"]
    assert office.node.ledger.tip.header.state_root == root
    office.suspend(ISSUER)
    assert submitted(office, anchor(2, valid_until_ms=office.now_ms + MINUTE_MS)) == ["suspended"]


def test_the_files_of_an_office_are_what_they_are_named(office: Office) -> None:
    assert ConsentFile.decode(office.path("consent").read_bytes()) == office.consent
