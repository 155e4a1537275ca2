"""Every change has its command: what it proposes, and what it says where a word of it is wrong."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import cli.governance
import cli.proposing
import cli.times
from cli.exits import FINE, INTERRUPTED, NO, UNREACHABLE, USAGE
from cli.program import run
from ledger.encoding.records import to_json
from ledger.rules.operations import next_key_commitment
from ledger.rules.proposals import (
    AddMember,
    AddPurpose,
    AddSchema,
    Change,
    ChangeNames,
    ChangeRoles,
    ChangeValidators,
    NodeRegistration,
    Registering,
    ReinstateMember,
    SetIssuers,
    SetMemberKeys,
    SetNode,
    SetNotices,
    SetParameters,
    SuspendMember,
    require_governance,
)
from ledger.rules.state import Suspension
from node.client.client import Client
from node.client.governor import read_proposal
from node.consent.scenarios import load_scenarios, scenarios_directory
from node.errors import BadAnswer
from node.files.keyfiles import DevelopmentKey, create_key_file
from node.home.home import Home, HomeKeys, format_genesis
from node.home.settings import HomeSettings
from node.network.tls import encode_certificate_pem, make_identity, registrable
from tests.support.consortium import (
    CHAIN_ID,
    PARAMETERS,
    VALIDATORS,
    hash_of,
    key_of,
    make_genesis,
    member_key_of,
)
from tests.support.governors import (
    UNSHOWN,
    member_of,
    possessing,
    proposal_of,
    proposing,
    register_validator,
    soon,
    suspend,
)
from tests.support.memory_node import MemoryNode, serve
from tests.support.terminal import Terminal

GOVERNOR = "hk-operator"
KEY, NEXT = key_of("some key").public, next_key_commitment(key_of("some next key").public)
NEXT_KEY = ("--next-key", NEXT.hex())
KEYS = ("--key", str(KEY), *NEXT_KEY)
NAMES = ("--name-zh-hans", "新名", "--name-zh-hant", "新名字", "--name-en", "New name")
IDENTITY = make_identity("hk-bank")
CERTIFICATE = registrable(IDENTITY.certificate, "hk-bank")
SCENARIOS = load_scenarios(scenarios_directory())
VALIDATING = ("--validator-key", str(KEY), "--next-validator-key", NEXT.hex())


class Desk:
    """A governor's home beside a node in memory."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.node = MemoryNode()
        register_validator(self.node.ledger, "hk-bank")
        self.node.extend()
        self._capsys = capsys
        self.home = directory / "home"
        self.certificate = directory / "tls.crt"
        self.certificate.write_bytes(encode_certificate_pem(IDENTITY))
        Home.create(
            self.home,
            genesis=make_genesis(),
            settings=HomeSettings(GOVERNOR, None),
            keys=HomeKeys(member_key_of(GOVERNOR), member_key_of(GOVERNOR, 1)),
            protection=DevelopmentKey(),
        )

    def call(self, *arguments: str, signs: bool = True, yes: bool = True) -> tuple[int, dict[str, Any]]:
        """Run a command against the node; return its exit code and what it printed as JSON."""
        if signs and yes:
            arguments = (*arguments, "--yes")

        async def served() -> int:
            async with serve(self.node) as url:
                home = ("--home", str(self.home)) if signs else ()
                return await asyncio.to_thread(run, [*arguments, *home, "--url", url, "--json"])

        code = asyncio.run(served())
        return code, self.printed()

    def printed(self) -> dict[str, Any]:
        """Return what was printed as JSON since the last look."""
        answer: dict[str, Any] = json.loads(self._capsys.readouterr().out)
        return answer


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk(tmp_path, capsys)
    for module in (cli.governance, cli.proposing, cli.times):
        monkeypatch.setattr(module, "now_ms", lambda: made.node.clock.now_ms + 1_000)
    return made


def signatures_of(change: Change) -> list[str]:
    """Return the options that hand over what shows that somebody has the keys."""
    if not isinstance(change, Registering):
        return []
    shown = change.possession
    named = (
        ("--key-signature", shown.key_signature),
        ("--validator-signature", shown.validator_key_signature),
    )
    return [word for name, signature in named if signature for word in (name, signature.hex())]


COMMANDS: list[tuple[tuple[str, ...], Change]] = [
    (("schema", "hk.land-record"), AddSchema("hk.land-record", 0, None)),
    (("schema", "hk.notice", "--bearer"), AddSchema("hk.notice", 1, None)),
    (
        ("schema", "hk.tax-statement", "--issuer", "mainland-bureau", "--issuer", "mainland-bureau"),
        AddSchema("hk.tax-statement", 0, ("mainland-bureau",)),
    ),
    (
        ("issuers", "cn.credit-report", "--add", "hk-bureau", "--remove", "mainland-bureau"),
        SetIssuers("cn.credit-report", ("hk-bureau",), ("mainland-bureau",)),
    ),
    (("purpose", "medical.referral"), AddPurpose("medical.referral", ())),
    (
        ("purpose", "medical.referral", "--notice", "02" * 32, "--notice", "01" * 32),
        AddPurpose("medical.referral", (b"\1" * 32, b"\2" * 32)),
    ),
    (
        ("notices", "consumer-credit.loan", "--add", "01" * 32, "--remove", hash_of("notice").hex()),
        SetNotices("consumer-credit.loan", (b"\1" * 32,), (hash_of("notice"),)),
    ),
    (("suspend", "hk-bank", "--distrust-from", "1"), SuspendMember("hk-bank", 1)),
    (("reinstate", "auditor"), ReinstateMember("auditor")),
    (("roles", "hk-bank", "recipient", "issuer"), ChangeRoles("hk-bank", ("issuer", "recipient"))),
    (("names", "hk-bank", *NAMES), ChangeNames("hk-bank", "新名", "新名字", "New name")),
    (("keys", "hk-bank", *KEYS), possessing(SetMemberKeys("hk-bank", KEY, NEXT, UNSHOWN))),
    (
        ("node", "hk-bank", "--tls", "CERTIFICATE"),
        SetNode("hk-bank", NodeRegistration("observer", None, None, CERTIFICATE), UNSHOWN),
    ),
    (
        ("node", "hk-bank", "--tls", "CERTIFICATE", *VALIDATING),
        possessing(SetNode("hk-bank", NodeRegistration("validator", KEY, NEXT, CERTIFICATE), UNSHOWN)),
    ),
    (
        ("member", "hk-clinic", "--side", "HK", "--role", "issuer", *KEYS, *NAMES),
        possessing(
            AddMember("hk-clinic", "新名", "新名字", "New name", "HK", ("issuer",), KEY, NEXT, None, UNSHOWN)
        ),
    ),
    (
        ("member", "cn-clinic", "--side", "CN", "--role", "issuer", *KEYS, *NAMES),
        possessing(
            AddMember("cn-clinic", "新名", "新名字", "New name", "CN", ("issuer",), KEY, NEXT, None, UNSHOWN)
        ),
    ),
    (
        ("validators", "sz-operator", "hk-bank", "hk-operator", "mainland-bank"),
        ChangeValidators(VALIDATORS, ("hk-bank", "hk-operator", "mainland-bank", "sz-operator")),
    ),
]


@pytest.mark.parametrize(("arguments", "change"), COMMANDS)
def test_a_command_proposes_its_change_and_votes_for_it(
    desk: Desk, arguments: tuple[str, ...], change: Change
) -> None:
    suspend(desk.node.ledger, "auditor")
    desk.node.extend()
    words = [str(desk.certificate) if word == "CERTIFICATE" else word for word in arguments]
    code, answer = desk.call("governance", "propose", *words, *signatures_of(change))
    assert code == FINE, answer
    assert answer["change"] == to_json(change)
    proposal = proposal_of(desk.node.ledger, bytes.fromhex(answer["proposal"]))
    assert proposal.change == change
    assert [ballot.governor for ballot in proposal.ballots] == [GOVERNOR]


POSSESSED: list[tuple[tuple[str, ...], Registering]] = [
    (
        ("keys", "hk-bank", "--key", "KEY", *NEXT_KEY),
        possessing(SetMemberKeys("hk-bank", KEY, NEXT, UNSHOWN)),
    ),
    (
        ("node", "hk-bank", "--tls", "CERTIFICATE", "--validator", "KEY", "--next-validator-key", NEXT.hex()),
        possessing(SetNode("hk-bank", NodeRegistration("validator", KEY, NEXT, CERTIFICATE), UNSHOWN)),
    ),
    (
        ("member", "hk-clinic", "--side", "HK", "--role", "issuer", "--key", "KEY", *NEXT_KEY, *NAMES),
        possessing(
            AddMember("hk-clinic", "新名", "新名字", "New name", "HK", ("issuer",), KEY, NEXT, None, UNSHOWN)
        ),
    ),
]


@pytest.mark.parametrize(("arguments", "change"), POSSESSED)
def test_a_newcomer_s_command_makes_the_signatures_that_the_governor_hands_in(
    desk: Desk, tmp_path: Path, arguments: tuple[str, ...], change: Registering
) -> None:
    create_key_file(tmp_path / "key.pem", key_of("some key"), DevelopmentKey())
    (tmp_path / "genesis.json").write_bytes(format_genesis(make_genesis()))
    files = {"CERTIFICATE": desk.certificate, "KEY": tmp_path / "key.pem"}
    words = [str(files.get(word, word)) for word in arguments]
    code = run(["governance", "possess", *words, "--genesis", str(tmp_path / "genesis.json"), "--json"])
    answer = desk.printed()
    assert code == FINE, answer
    made = [answer["key_signature"], answer["validator_signature"]]
    shown = change.possession
    assert made == [each and each.hex() for each in (shown.key_signature, shown.validator_key_signature)]
    assert (answer["network"], answer["use"]) == ("tests", "development")


def test_limits_are_changed_by_name(desk: Desk) -> None:
    code, answer = desk.call("governance", "propose", "parameters", "block_size_max=4096", "--without-vote")
    assert code == FINE
    proposal = proposal_of(desk.node.ledger, bytes.fromhex(answer["proposal"]))
    assert isinstance(proposal.change, SetParameters) and proposal.ballots == ()
    assert (proposal.change.current, proposal.change.parameters.block_size_max) == (PARAMETERS, 4096)


def test_a_proposal_about_its_proposer_is_made_without_its_vote(desk: Desk) -> None:
    code, answer = desk.call("governance", "propose", "names", GOVERNOR, *NAMES)
    assert code == FINE
    assert proposal_of(desk.node.ledger, bytes.fromhex(answer["proposal"])).ballots == ()


WRONG: list[tuple[tuple[str, ...], int, str]] = [
    (("schema", "Not A Code"), USAGE, "usage"),
    (("schema", "hk.credit-report"), NO, "already-registered"),
    (("schema", "hk.land-record", "--issuer", "hk-bank"), NO, "forbidden-role"),
    (("issuers", "no.such-schema", "--add", "hk-bureau"), NO, "unknown"),
    (("issuers", "cn.credit-report"), NO, "unchanged"),
    (("purpose", "medical.referral", "--notice", "01"), USAGE, "usage"),
    (("notices", "no.such-purpose", "--add", "01" * 32), NO, "unknown"),
    (("notices", "consumer-credit.loan", "--add", hash_of("notice").hex()), NO, "unchanged"),
    (("notices", "consumer-credit.loan", "--remove", "zz" * 32), USAGE, "usage"),
    (("issuers", "cn.credit-report", "--add", "Nobody"), USAGE, "usage"),
    (("suspend", "nobody", "--distrust-from", "1"), NO, "unknown"),
    (("suspend", "hk-bank", "--distrust-from", "-1"), USAGE, "usage"),
    (("suspend", "hk-bank", "--distrust-from", "99"), NO, "distrust-ahead"),
    (("roles", "hk-bank", "king"), USAGE, "usage"),
    (("keys", "hk-bank", "--key", "rsa:00", "--next-key", NEXT.hex()), USAGE, "usage"),
    (("keys", "hk-bank", "--key", str(KEY), "--next-key", "00"), USAGE, "usage"),
    (("node", "hk-operator", "--tls", "CERTIFICATE"), USAGE, "usage"),
    (("member", "mo-bank", "--side", "Macao", "--role", "issuer", *KEYS, *NAMES), USAGE, "usage"),
    (("validators", *VALIDATORS[:3]), USAGE, "usage"),
    (("validators", *VALIDATORS), NO, "unchanged"),
    (("keys", "hk-bank", *KEYS), NO, "possession"),
    (("keys", "hk-bank", *KEYS, "--key-signature", "00"), USAGE, "usage"),
    (("keys", "hk-bank", *KEYS, "--key-signature", "00" * 64), NO, "signature"),
    (("node", "hk-bank", "--tls", "CERTIFICATE", *VALIDATING), NO, "possession"),
    (("node", "hk-bank", "--tls", "CERTIFICATE", "--validator-signature", "00" * 64), NO, "possession"),
    (("parameters", "block_size_max=many"), USAGE, "usage"),
    (("parameters", "no_such=1"), USAGE, "usage"),
    (("schema", "hk.land-record", "--expires", "2039-01-01"), NO, "proposal-period"),
]


@pytest.mark.parametrize(("arguments", "code", "reason"), WRONG)
def test_what_cannot_be_proposed_is_refused_with_a_reason(
    desk: Desk, arguments: tuple[str, ...], code: int, reason: str
) -> None:
    words = [str(desk.certificate) if word == "CERTIFICATE" else word for word in arguments]
    before = require_governance(desk.node.ledger.tip.state)
    answered, answer = desk.call("governance", "propose", *words)
    assert (answered, answer["error"]["code"]) == (code, reason)
    assert require_governance(desk.node.ledger.tip.state) == before


def test_without_a_terminal_and_without_yes_nobody_votes(desk: Desk) -> None:
    before = require_governance(desk.node.ledger.tip.state)
    code, answer = desk.call("governance", "propose", "schema", "hk.land-record", yes=False)
    assert (code, answer["error"]["expected"]) == (USAGE, "--yes, or a terminal to ask at")
    assert require_governance(desk.node.ledger.tip.state) == before
    code, answer = desk.call("governance", "propose", "schema", "hk.land-record", "--without-vote", yes=False)
    assert code == FINE, "what only asks others binds nobody"
    identity = answer["proposal"]
    code, answer = desk.call("governance", "vote", identity, "yes", yes=False)
    assert (code, answer["error"]["code"]) == (USAGE, "usage")
    assert proposal_of(desk.node.ledger, bytes.fromhex(identity)).ballots == ()


@pytest.mark.parametrize(
    ("typed", "code", "votes"), [("y\n", FINE, 1), ("n\n", INTERRUPTED, 0), ("", INTERRUPTED, 0)]
)
def test_a_governor_is_shown_what_a_vote_changes_and_asked(
    desk: Desk,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
    code: int,
    votes: int,
) -> None:
    _, proposed = desk.call("governance", "propose", "schema", "hk.land-record", "--without-vote")
    monkeypatch.setattr("sys.stdin", Terminal(typed))

    async def vote() -> int:
        async with serve(desk.node) as url:
            words = [
                "governance",
                "vote",
                proposed["proposal"],
                "yes",
                "--home",
                str(desk.home),
                "--url",
                url,
            ]
            return await asyncio.to_thread(run, words)

    assert asyncio.run(vote()) == code
    shown = capsys.readouterr().err
    assert "add schema" in shown and "hk.land-record" in shown, "what it changes"
    assert len(proposal_of(desk.node.ledger, bytes.fromhex(proposed["proposal"])).ballots) == votes


def test_a_member_suspends_itself_and_is_told_what_shows_it(desk: Desk) -> None:
    code, answer = desk.call("governance", "suspend-self")
    assert code == FINE, answer
    member = member_of(desk.node.ledger, GOVERNOR)
    assert member.suspensions == (Suspension(answer["distrust_from"], answer["suspended_at"], None),)
    assert (answer["is_new"], answer["proven"], answer["distrust_from"]) == (
        True,
        True,
        answer["suspended_at"],
    )
    code, again = desk.call("governance", "suspend-self")
    assert (code, again["is_new"], again["suspended_at"]) == (FINE, False, answer["suspended_at"])
    assert member_of(desk.node.ledger, GOVERNOR) == member, "once"


def test_a_member_that_suspends_itself_says_from_when_on_it_is_not_to_be_trusted(desk: Desk) -> None:
    code, answer = desk.call("governance", "suspend-self", "--distrust-from", "0")
    assert (code, answer["distrust_from"]) == (FINE, 0)
    assert member_of(desk.node.ledger, GOVERNOR).distrusts(0)


def test_a_suspension_that_the_rules_refuse_is_not_made(desk: Desk) -> None:
    code, answer = desk.call("governance", "suspend-self", "--distrust-from", "99")
    assert (code, answer["error"]["code"]) == (NO, "distrust-ahead")
    code, answer = desk.call("governance", "suspend-self", yes=False)
    assert (code, answer["error"]["code"]) == (USAGE, "usage")
    suspend(desk.node.ledger, "hk-bureau")
    desk.node.extend()
    code, answer = desk.call("governance", "suspend-self")
    assert (code, answer["error"]["code"]) == (NO, "side-without-governor")
    assert not member_of(desk.node.ledger, GOVERNOR).is_suspended


def test_the_notices_here_are_listed_with_the_hashes_that_the_genesis_lists(desk: Desk) -> None:
    code = run(["governance", "notices", "--json"])
    answer = desk.printed()
    assert code == FINE and answer["notices"]
    purposes = {purpose.code: purpose.notices for purpose in SCENARIOS.purposes}
    assert {each["notice"] for each in answer["notices"]} == {
        n.hex() for all in purposes.values() for n in all
    }
    run(["governance", "notices", "--purpose", "consumer-credit.loan", "--json"])
    one = desk.printed()["notices"]
    assert {each["notice"] for each in one} == {notice.hex() for notice in purposes["consumer-credit.loan"]}


def test_a_node_that_is_away_is_said_to_be(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    home = ("--home", str(desk.home), "--url", "http://127.0.0.1:1", "--json")
    assert run(["governance", "propose", "purpose", "x.y", *home, "--yes"]) == UNREACHABLE
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "unreachable"


def test_lists_go_on_where_a_page_ends(desk: Desk) -> None:
    operations = [proposing(AddPurpose(f"purpose-{number}.x", ()))[0] for number in range(40)]
    assert desk.node.extend(soon(desk.node.ledger, GOVERNOR, *operations)) == []
    code, page = desk.call("governance", "list", signs=False)
    assert code == FINE and len(page["proposals"]) == 32
    _, everything = desk.call("governance", "list", "--all", signs=False)
    numbers = [each["proposal"]["number"] for each in everything["proposals"]]
    assert numbers == list(range(39, -1, -1))


def test_a_node_cannot_show_another_proposal_under_an_id(desk: Desk) -> None:
    (operation, identity), (other, _) = proposing(AddPurpose("a.b", ())), proposing(AddPurpose("c.d", ()))
    assert desk.node.extend(soon(desk.node.ledger, GOVERNOR, operation, other)) == []

    async def scenario() -> None:
        async with serve(desk.node) as url, Client.connect(url) as client:
            found, status = await read_proposal(client, identity, chain_id=CHAIN_ID)
            assert (found.change, status) == (AddPurpose("a.b", ()), "open")
            with pytest.raises(BadAnswer, match="Do not vote"):
                await read_proposal(client, identity, chain_id=bytes(32))

            async def lying(_proposal: bytes) -> object:
                return replace(proposal_of(desk.node.ledger, identity), change=AddPurpose("c.d", ())), "open"

            client.proposal = lying  # type: ignore[method-assign, assignment]
            with pytest.raises(BadAnswer, match="Do not vote"):
                await read_proposal(client, identity, chain_id=CHAIN_ID)

    asyncio.run(scenario())
