"""`luohu texts`, and where other commands take the texts from that people are shown."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cli.exits import FINE, NO, UNREACHABLE, USAGE, CommandError
from cli.program import run
from cli.textsource import Origin, texts_of_request
from ledger.genesis import PRODUCTION
from ledger.receipts import parse_receipt
from ledger.requests import Request
from ledger.rules.state import Purpose, Schema
from ledger.trust import TrustedRoot
from node.client.ledgerclient import LedgerClient
from node.consent.scenarios import scenarios_directory
from node.consent.textbundle import PackedTexts
from node.consent.textfolder import HeldTexts, sample_texts
from node.files.keyfiles import DevelopmentKey
from node.home.home import TEXTS, Home, HomeKeys
from node.home.settings import HomeSettings
from tests.cli.test_registry import member_like
from tests.node.client.test_texts import Liar
from tests.support.consortium import make_content, make_genesis, member_key_of
from tests.support.memory_node import MemoryNode, serve
from tests.support.office import BANK, ISSUER, PASSPHRASE, Office, make_request, open_office, served
from tests.support.terminal import Terminal
from tests.support.texts import with_party

SAMPLES = sample_texts()
VERSION = SAMPLES.bundle.notices[0].version
CLINIC = "hk-clinic"
ROOT = TrustedRoot(1, make_genesis(), ())


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    with open_office(tmp_path) as opened:
        monkeypatch.setenv("LUOHU_PASSPHRASE", PASSPHRASE)
        for module in ("cli.consent", "cli.times"):
            monkeypatch.setattr(f"{module}.now_ms", lambda: opened.now_ms)
        yield opened


@dataclass(slots=True)
class Caller:
    """Calls commands, and returns how they ended with their one JSON value."""

    output: pytest.CaptureFixture[str]

    def __call__(self, *arguments: object) -> tuple[int, dict[str, Any]]:
        self.output.readouterr()
        code = run([*map(str, arguments), "--json"])
        return code, json.loads(self.output.readouterr().out)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Caller:
    return Caller(capsys)


# -- pack, show, check ----------------------------------------------------------------------------------


def test_packing_says_the_hash_by_which_everybody_knows_the_texts(call: Caller, tmp_path: Path) -> None:
    out = tmp_path / "samples.texts"
    code, answer = call("texts", "pack", scenarios_directory(), "--out", out)
    assert (code, answer["hash"], answer["size"]) == (FINE, SAMPLES.hash.hex(), len(SAMPLES.encoded))
    assert out.read_bytes() == SAMPLES.encoded
    assert [(each["kind"], each["name"], each["hash"]) for each in answer["texts"]] == [
        (each.kind, each.name, each.hash.hex()) for each in SAMPLES.bundle.text_hashes()
    ]
    code, answer = call("texts", "pack", scenarios_directory(), "--out", out)
    assert (code, answer["error"]["found"]) == (USAGE, "an existing file")


def test_packing_refuses_what_nobody_would_see_in_the_bundle(call: Caller, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(scenarios_directory(), tmp_path / "texts"))
    (folder / "draft.txt").write_text("no text")
    code, answer = call("texts", "pack", folder, "--out", tmp_path / "out")
    assert code == USAGE and answer["error"]["where"] == f"{folder / 'draft.txt'}"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("zh-Hans", "告知书: 向内地银行出示"),
        ("zh-Hant", "告知書: 向內地銀行出示"),
        ("en", "Notice: Showing your"),
    ],
)
def test_texts_are_shown_as_people_read_them(
    language: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["texts", "show", f"{scenarios_directory()}", "--language", language]) == FINE
    shown = capsys.readouterr().out
    assert said in shown and SAMPLES.hash.hex() in shown and VERSION.hex() in shown
    for notice in SAMPLES.bundle.notices:
        assert notice.use.in_language(language) in shown
    for party in SAMPLES.bundle.parties:
        assert party.address.in_language(language) in shown and party.contact in shown
    assert SAMPLES.bundle.receipt.refusal.in_language(language) in shown


def test_a_bundle_is_shown_by_its_hash_from_a_node(office: Office, call: Caller) -> None:
    office.node.texts = HeldTexts([SAMPLES])
    by_hash = ("--texts-hash", SAMPLES.hash.hex(), "--url", office.url)
    code, answer = call("texts", "show", *by_hash)
    assert code == FINE and answer["bundles"][0]["bundle"]["parties"][0]["member"] == "hk-bank"
    office.node.texts = Liar(with_party(SAMPLES, "hk-bank"))
    code, answer = call("texts", "show", *by_hash)
    assert (code, answer["error"]["code"]) == (UNREACHABLE, "bad-texts")
    # Nor does the folder of somebody else pass under it.
    office.path("other.texts").write_bytes(with_party(SAMPLES, "hk-bank").encoded)
    code, answer = call("texts", "show", office.path("other.texts"), "--texts-hash", SAMPLES.hash.hex())
    assert (code, answer["error"]["code"]) == (USAGE, "unknown-texts")


@pytest.mark.parametrize("more", [(), ("--texts-hash", "0" * 64), ("--texts-hash", "0" * 63), ("--url", "x")])
def test_texts_are_named_whole(more: tuple[str, ...], call: Caller) -> None:
    for command in ("show", "check"):
        code, answer = call("texts", command, *more)
        assert code == USAGE and answer["error"]["cure"]


def test_checking_names_what_the_ledger_does_not_know(office: Office, call: Caller) -> None:
    folder = scenarios_directory()
    code, answer = call("texts", "check", folder)
    assert (code, answer["is_compared"], answer["unregistered"]) == (FINE, False, [])
    asking = ("texts", "check", folder, "--url", office.url)
    code, answer = call(*asking, "--trust", office.path("trust.json"))
    missing = {(each["kind"], each["name"]) for each in answer["unregistered"]}
    assert code == NO and answer["proven"] is True
    assert ("schema", "hk.medical-summary") in missing and ("purpose", "medical-records.treatment") in missing
    assert ("schema", "hk.credit-report") not in missing and not [
        each for each in missing if each[0] == "party"
    ]
    for kind, name in missing:
        office.put(Schema(name, 0, None, 0) if kind == "schema" else Purpose(name, (), 0))
    code, answer = call(*asking)
    assert (code, answer["proven"], answer["unregistered"]) == (FINE, False, [])
    office.path("clinic.texts").write_bytes(with_party(SAMPLES, CLINIC).encoded)
    code, answer = call("texts", "check", office.path("clinic.texts"), "--url", office.url)
    assert (code, answer["unregistered"]) == (NO, [{"kind": "party", "name": CLINIC}])
    code, answer = call("texts", "check", folder, "--trust", office.path("trust.json"))
    assert code == USAGE


# -- requests -------------------------------------------------------------------------------------------


def make_home(office: Office, *, texts: PackedTexts | None = None) -> Path:
    path = office.path("home")
    Home.create(
        path,
        genesis=make_genesis(),
        settings=HomeSettings(BANK, None, None if texts is None else TEXTS),
        keys=HomeKeys(member_key_of(BANK), member_key_of(BANK, 1)),
        protection=DevelopmentKey(),
        texts=texts,
    )
    return path


ASK = ("--schema", "hk.credit-report", "--purpose", "consumer-credit.loan")


def request(office: Office, call: Caller, home: Path, *more: object) -> tuple[int, dict[str, Any]]:
    from cli.times import show_time

    until = ("--until", show_time(office.now_ms + 30 * 86_400_000)[:10])
    out = ("--home", home, "--out", office.path("asked"), "--issuer", ISSUER)
    return call("consent", "request", *ASK, *until, *out, *more)


def test_a_request_takes_the_texts_of_its_home_or_those_that_are_named(office: Office, call: Caller) -> None:
    own, other = (
        with_party(SAMPLES, "hk-bank", contact="own"),
        with_party(SAMPLES, "hk-bank", contact="other"),
    )
    home = make_home(office, texts=own)
    code, answer = request(office, call, home)
    assert (code, answer["texts_hash"]) == (FINE, own.hash.hex())
    office.path("other.texts").write_bytes(other.encoded)
    code, answer = request(office, call, home, "--texts", office.path("other.texts"))
    assert (code, answer["texts_hash"]) == (FINE, other.hash.hex())
    shutil.rmtree(home / TEXTS)
    code, answer = request(office, call, home)
    assert code == USAGE and answer["error"]["where"] == f"{home / TEXTS}"


def test_a_request_that_nobody_could_agree_to_is_said_where_it_is_made(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = SAMPLES.bundle
    others = tuple(each for each in bundle.parties if each.member != ISSUER)
    office.path("poor.texts").write_bytes(PackedTexts.pack(replace(bundle, parties=others)).encoded)
    until = ("--until", "2027-02-01", "--issuer", ISSUER, "--home", make_home(office))
    words = ("consent", "request", *ASK, *until, "--out", office.path("asked"))
    assert run([*map(str, words), "--texts", f"{office.path('poor.texts')}"]) == FINE
    assert f"no address and contact of {ISSUER}" in capsys.readouterr().err


# -- grants ---------------------------------------------------------------------------------------------


def grant(
    office: Office, call: Caller, *more: object, urls: tuple[str, ...] = ()
) -> tuple[int, dict[str, Any]]:
    named = [word for url in urls or (office.url,) for word in ("--url", url)]
    asked = ("--request", office.path("asked"), "--wallet", office.path("wallet"))
    return call(
        *("consent", "grant", *asked, "--trust", office.path("trust.json"), *named),
        *("--out", office.path("new"), "--language", "en", "--yes", *more),
    )


def ask(office: Office, **changes: object) -> Request:
    made = make_request(ROOT, office.now_ms, nonce=b"request nonce 02", **changes)
    office.path("asked").write_bytes(made.encode())
    return made


def told_to(office: Office) -> dict[str, str]:
    """Return the contacts that the receipt tells, by member."""
    receipt = parse_receipt(office.path("new.receipt.json").read_bytes()).receipt
    return {party.member: party.contact for party in receipt.parties}


def test_a_resident_agrees_with_texts_of_a_member_that_governors_added(office: Office, call: Caller) -> None:
    """The samples do not know it: its texts come from the node, for the notice that the request names."""
    office.put(member_like(CLINIC, ISSUER))
    ask(office, issuer=CLINIC)
    code, answer = grant(office, call)
    assert code == USAGE and f"address and contact of {CLINIC}" in answer["error"]["expected"]
    office.node.texts = HeldTexts([with_party(SAMPLES, CLINIC, contact="privacy@hk-clinic.example")])
    code, answer = grant(office, call)
    assert (code, answer["texts_from"]) == (FINE, "nodes")
    assert answer["texts_hash"] == office.node.texts.bundles[0].hash.hex()
    assert told_to(office)[CLINIC] == "privacy@hk-clinic.example"


def test_texts_that_are_named_are_the_only_ones(office: Office, call: Caller) -> None:
    ask(office)
    named, served_here = (
        with_party(SAMPLES, BANK, contact="named"),
        with_party(SAMPLES, BANK, contact="served"),
    )
    office.node.texts = HeldTexts([served_here, named])
    office.path("named.texts").write_bytes(named.encoded)
    assert grant(office, call, "--texts", office.path("named.texts"))[0] == FINE
    assert told_to(office)[BANK] == "named"


def test_texts_by_hash_are_never_anybody_elses(office: Office, call: Caller) -> None:
    ask(office)
    right = with_party(SAMPLES, BANK, contact="right")
    by_hash = ("--texts-hash", right.hash.hex())
    wallet = office.path("wallet").read_bytes()
    for served_here in (HeldTexts([SAMPLES]), Liar(SAMPLES), Liar(b"")):
        office.node.texts = served_here
        code, answer = grant(office, call, *by_hash)
        assert code in (NO, UNREACHABLE) and answer["error"]["cure"]
        assert office.path("wallet").read_bytes() == wallet and not office.path("new").exists()
    office.node.texts = HeldTexts([SAMPLES, right])
    assert grant(office, call, *by_hash)[0] == FINE
    assert told_to(office)[BANK] == "right"


def test_where_nodes_tell_different_texts_nothing_is_signed(office: Office, call: Caller) -> None:
    ask(office)
    liar = MemoryNode(texts=Liar(with_party(SAMPLES, BANK, contact="pay here")))
    office.node.texts = HeldTexts([SAMPLES])
    wallet = office.path("wallet").read_bytes()
    with ExitStack() as stack:
        other = stack.enter_context(served(liar))
        code, answer = grant(office, call, urls=(other, office.url))
        assert (code, answer["error"]["code"]) == (UNREACHABLE, "texts-differ")
        assert office.path("wallet").read_bytes() == wallet and not office.path("new").exists()
        assert grant(office, call, "--texts-hash", SAMPLES.hash.hex(), urls=(other, office.url))[0] == FINE
    assert told_to(office)[BANK] != "pay here"


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", "is as this node says"),
        ("zh-Hans", "其余文字只是节点的说法"),
        ("zh-Hant", "其餘文字只是節點的說法"),
    ],
)
def test_the_holder_is_shown_what_of_the_texts_is_a_nodes_word(
    office: Office,
    language: str,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ask(office)
    office.node.texts = HeldTexts([SAMPLES])
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    words = ("consent", "grant", "--request", office.path("asked"), "--wallet", office.path("wallet"))
    more = ("--url", office.url, "--out", office.path("new"), "--language", language)
    assert run([*map(str, words), *map(str, more)]) == 130
    shown = capsys.readouterr().err
    assert told in shown and SAMPLES.hash.hex() in shown


def test_a_forged_request_is_refused_as_such_whatever_texts_it_names(office: Office, call: Caller) -> None:
    made = ask(office, notice_version=bytes(32))
    forged = Request(made.body, bytes(64))
    office.path("asked").write_bytes(forged.encode())
    code, answer = grant(office, call)
    assert (code, answer["error"]["code"]) == (NO, "signature")


def find_texts(root: TrustedRoot | None, texts: HeldTexts) -> Origin:
    async def whole() -> Origin:
        node = MemoryNode(texts=texts)
        async with serve(node) as url, LedgerClient.connect([url], root, node.clock.wall_ms) as ledger:
            request = make_request(ROOT, node.clock.now_ms)
            return (await texts_of_request(ledger, request, None, None)).origin

    return asyncio.run(whole())


def test_samples_stand_in_on_no_production_chain() -> None:
    production = TrustedRoot(1, make_genesis(replace(make_content(), use=PRODUCTION)), ())
    assert find_texts(ROOT, HeldTexts()) is find_texts(None, HeldTexts()) is Origin.SAMPLES
    assert find_texts(ROOT, Liar(b"")) is Origin.SAMPLES
    with pytest.raises(CommandError, match="none at the nodes that were asked"):
        find_texts(production, HeldTexts())
    for root in (production, ROOT, None):
        assert find_texts(root, HeldTexts([SAMPLES])) is Origin.NODES
