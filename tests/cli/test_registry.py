"""What governance adds can be used: every command asks the ledger for what genesis lacks, and believes proof alone."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cli.exits import FINE, NO, UNREACHABLE, USAGE
from cli.program import run
from cli.times import show_time
from ledger.encoding.keys import PublicKey
from ledger.proofs import Proof
from ledger.requests import Request
from ledger.rules.operations import next_key_commitment
from ledger.rules.state import Member, Purpose, Schema, Suspension, find, member_key
from ledger.trust import TrustedRoot
from node.files.keyfiles import DevelopmentKey
from node.home.home import Home, HomeKeys
from node.home.settings import HomeSettings
from tests.support.consortium import REPORT, genesis_member, key_of, make_genesis, member_key_of, named
from tests.support.lying_relay import invent_leaves, lying
from tests.support.office import BANK, DAY_MS, ISSUER, PASSPHRASE, Office, make_request, open_office

RECORD, REFERRAL = "hk.medical-summary", "medical-records.treatment"
LOAN = "consumer-credit.loan"
CLINIC, NEW_BANK = "hk-clinic", "cn-new-bank"


@dataclass(slots=True)
class Counter:
    """An office with the homes of an issuer, a recipient, and members that genesis does not have."""

    office: Office
    output: pytest.CaptureFixture[str]

    def home(self, member: str) -> Path:
        path = self.office.folder / member
        if not path.exists():
            Home.create(
                path,
                genesis=make_genesis(),
                settings=HomeSettings(member, None),
                keys=HomeKeys(member_key_of(member), member_key_of(member, 1)),
                protection=DevelopmentKey(),
            )
        return path

    def add_member(self, member: str, *, like: str) -> None:
        """Register a member, as governance would, with the side and roles of another."""
        self.office.put(member_like(member, like))

    def call(self, *arguments: object) -> tuple[int, dict[str, Any]]:
        self.output.readouterr()
        code = run([*map(str, arguments), "--json"])
        return code, json.loads(self.output.readouterr().out)

    def anchor(
        self, schema: str, *more: object, home: str = ISSUER, url: str | None = None
    ) -> tuple[int, Any]:
        document = self.office.path(f"{schema}.pdf")
        document.write_bytes(f"SAMPLE {schema}".encode())
        return self.call(
            *(
                "anchor",
                document,
                "--holder",
                self.office.holder,
                "--schema",
                schema,
                "--home",
                self.home(home),
            ),
            *("--url", url or self.office.url, "--new-register", *more),
        )

    def request(
        self, *more: object, issuer: str = ISSUER, schema: str = REPORT, purpose: str = LOAN, home: str = BANK
    ) -> tuple[int, Any]:
        until = show_time(self.office.now_ms + 30 * DAY_MS)[:10]
        return self.call(
            *("consent", "request", "--issuer", issuer, "--schema", schema, "--purpose", purpose),
            *("--until", until, "--home", self.home(home), "--out", self.office.path("asked"), *more),
        )

    @property
    def asking(self) -> tuple[str, str]:
        return "--url", self.office.url


def member_like(member: str, like: str) -> Member:
    found = named(genesis_member(like), member)
    return Member(
        id=member,
        name_zh_hans=found.name_zh_hans,
        name_zh_hant=found.name_zh_hant,
        name_en=found.name_en,
        jurisdiction=found.jurisdiction,
        roles=found.roles,
        key=member_key_of(member).public,
        key_sequence=0,
        next_key=next_key_commitment(member_key_of(member, 1).public),
        version=0,
        suspensions=(),
    )


@pytest.fixture
def counter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Counter]:
    with open_office(tmp_path) as office:
        monkeypatch.setenv("LUOHU_PASSPHRASE", PASSPHRASE)
        for module in ("cli.anchor", "cli.consent", "cli.times"):
            monkeypatch.setattr(f"{module}.now_ms", lambda: office.now_ms)
        monkeypatch.setattr("cli.anchor.SystemClock", lambda: office.node.clock)
        yield Counter(office, capsys)


def error_of(answer: tuple[int, dict[str, Any]], code: int = USAGE) -> dict[str, str]:
    assert answer[0] == code, answer[1]
    error: dict[str, str] = answer[1]["error"]
    assert error["expected"] and error["found"] and error["cure"]
    return error


# -- issuers --------------------------------------------------------------------------------------------


def test_documents_of_a_kind_that_governors_added_are_anchored(counter: Counter) -> None:
    error = error_of(counter.anchor("hk.land-record"))
    assert (error["code"], error["where"]) == ("unknown-schema", "--schema")
    assert "'hk.land-record': none as of block" in error["found"]
    counter.office.put(Schema("hk.land-record", 0, None, 0))
    assert counter.anchor("hk.land-record")[0] == FINE
    proof = Proof.decode(counter.office.path("hk.land-record.pdf.proof").read_bytes())
    assert proof.opening.decoded_metadata().schema == "hk.land-record"


def test_a_kind_that_never_existed_is_refused_before_anything_is_collected(counter: Counter) -> None:
    error_of(counter.anchor("hk.land-record"))
    home = counter.home(ISSUER)
    assert not (home / "issued").exists(), "no register was begun for it"
    error = error_of(counter.anchor("No Code"))
    assert error["where"] == "--schema" and "No Code" in error["found"]


def test_a_member_that_governors_added_anchors(counter: Counter) -> None:
    counter.add_member(CLINIC, like=ISSUER)
    assert counter.anchor(REPORT, home=CLINIC)[0] == FINE


def test_a_liars_kind_is_not_believed(counter: Counter) -> None:
    with lying(counter.office.url, invent_leaves(Schema("hk.land-record", 0, None, 0))) as url:
        error_of(counter.anchor("hk.land-record", url=url), UNREACHABLE)
        assert error_of(counter.anchor("hk.land-record", "--url", counter.office.url, url=url))["code"] == (
            "unknown-schema"
        )


# -- recipients -----------------------------------------------------------------------------------------


def asked_for(counter: Counter) -> Request:
    return Request.decode(counter.office.path("asked").read_bytes())


def test_an_issuer_that_governors_added_can_be_asked_for(counter: Counter) -> None:
    error = error_of(counter.request(issuer=CLINIC))
    assert (error["code"], error["where"]) == ("not-in-genesis", "--issuer")
    assert CLINIC in error["found"] and ISSUER in error["found"] and "--url" in error["cure"]
    error = error_of(counter.request(*counter.asking, issuer=CLINIC))
    assert (error["code"], error["where"]) == ("unregistered", "--issuer")
    counter.add_member(CLINIC, like=ISSUER)
    assert counter.request(*counter.asking, issuer=CLINIC)[0] == FINE
    asked = asked_for(counter).decoded().decoded_asked()
    assert (asked.issuers, asked.sources) == ((CLINIC,), ("HK",))


def test_a_recipient_that_governors_added_asks(counter: Counter) -> None:
    error = error_of(counter.request(home=NEW_BANK))
    assert (error["code"], error["where"]) == ("not-in-genesis", "--home")
    error_of(counter.request(*counter.asking, home=NEW_BANK))
    counter.add_member(NEW_BANK, like=BANK)
    assert counter.request(*counter.asking, home=NEW_BANK)[0] == FINE
    request = asked_for(counter)
    request.verify(member_key_of(NEW_BANK).public)
    assert request.decoded().decoded_asked().recipient == NEW_BANK


def test_a_kind_and_a_purpose_that_governors_added_are_asked_for(counter: Counter) -> None:
    texts = {"schema": RECORD, "purpose": REFERRAL}
    for missing in ("--schema", "--purpose"):
        error = error_of(counter.request(**texts))
        assert (error["code"], error["where"]) == ("not-in-genesis", "--schema")
        assert error_of(counter.request(*counter.asking, **texts))["where"] == missing
        counter.office.put(Schema(RECORD, 0, None, 0))
    counter.office.put(Purpose(REFERRAL, (), 0))
    assert counter.request(*counter.asking, **texts)[0] == FINE
    assert asked_for(counter).decoded().decoded_asked().purpose == REFERRAL


def test_what_genesis_has_needs_no_node(counter: Counter) -> None:
    assert counter.request()[0] == FINE
    assert error_of(counter.request(purpose="no.such"))["where"] == "--purpose"


@pytest.mark.parametrize("end", ["suspended", "without its role"])
@pytest.mark.parametrize(("member", "where"), [(ISSUER, "--issuer"), (BANK, "--home")])
def test_a_member_that_is_no_longer_what_genesis_says_is_refused(
    counter: Counter, member: str, where: str, end: str
) -> None:
    record = find(counter.office.node.ledger.tip.state, Member, member_key(member))
    assert record is not None
    if end == "suspended":
        counter.office.suspend(member)
    else:
        counter.office.put(replace(record, roles=("auditor",)))
    error = error_of(counter.request(*counter.asking))
    assert error["where"] == where
    assert error["code"] == ("suspended" if end == "suspended" else "forbidden-role")
    assert not counter.office.path("asked").exists()


def test_a_reinstated_member_is_asked_for_again(counter: Counter) -> None:
    record = find(counter.office.node.ledger.tip.state, Member, member_key(ISSUER))
    assert record is not None
    counter.office.put(replace(record, suspensions=(Suspension(1, 1, 2),)))
    assert counter.request(*counter.asking)[0] == FINE


def test_a_home_whose_key_the_ledger_no_longer_has_signs_no_request(counter: Counter) -> None:
    record = find(counter.office.node.ledger.tip.state, Member, member_key(BANK))
    assert record is not None
    newer: PublicKey = key_of("a rotated key").public
    counter.office.put(replace(record, key=newer, key_sequence=1))
    error = error_of(counter.request(*counter.asking))
    assert (error["where"], error["code"]) == ("--home", "signature") and str(newer) in error["expected"]


# -- holders --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"schemas": ("hk.land-record",)}, "unknown-schema"),
        ({"purpose": "no.such"}, "unknown-purpose"),
        ({"issuer": CLINIC}, "unknown"),
        ({"issuer": "hk-operator"}, "forbidden-role"),
    ],
)
def test_a_holder_signs_nothing_for_what_the_ledger_does_not_know(
    counter: Counter, changes: dict[str, Any], code: str
) -> None:
    office = counter.office
    wallet = office.path("wallet").read_bytes()
    asked = make_request(TrustedRoot(1, make_genesis(), ()), office.now_ms, **changes)
    office.path("asked").write_bytes(asked.encode())
    answer = counter.call(
        *("consent", "grant", "--request", office.path("asked"), "--wallet", office.path("wallet")),
        *("--trust", office.path("trust.json"), *counter.asking, "--out", office.path("new"), "--yes"),
    )
    assert error_of(answer, NO)["code"] == code
    assert office.path("wallet").read_bytes() == wallet and not office.path("new").exists()
