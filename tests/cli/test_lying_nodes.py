"""Commands before nodes that lie: nothing that is not so is told as proven, and nothing is destroyed for a lie."""

import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli.exits import FINE, NO, UNREACHABLE, USAGE
from cli.homes import SigningMember
from cli.program import run
from ledger.consents import ConsentFile, grant_consent
from ledger.encoding.records import pack, to_json
from ledger.requests import REQUEST_TAG, Request
from ledger.rules.blocks import EncodedHeader
from ledger.rules.certificates import FINALIZE, VOTE_TAGS, QuorumCertificate, SignedBy, Subject
from ledger.rules.state import (
    RECIPIENT,
    Consent,
    Member,
    Revocation,
    Verification,
    consent_key,
    find,
    member_key,
    verification_key,
)
from ledger.trust import Checkpoint, FinalizedHeader, TrustedRoot, trusted_root_to_json
from node.client import client as client_module
from node.client.issuing.register import REGISTER, Register
from node.client.wallet import Wallet
from node.files.keyfiles import Passphrase
from tests.support.asking import body_with
from tests.support.consortium import (
    MINUTE_MS,
    hash_of,
    key_of,
    make_content,
    make_genesis,
    make_rotation,
    make_transaction,
    member_key_of,
)
from tests.support.lying_relay import (
    Asked,
    Lie,
    Replay,
    Said,
    alter_evidence,
    alter_leaf,
    drop_certificate,
    drop_evidence,
    drop_vote,
    fail,
    invent_leaves,
    lying,
    redirect,
    refuse_as,
    say_active,
    say_another_block,
    say_ended,
    say_null,
    say_unknown,
    send_garbage,
    send_html,
    show_key,
    show_nothing,
    throw_away,
)
from tests.support.memory_node import ManualClock, MemoryNode
from tests.support.office import (
    BANK,
    DAY_MS,
    ISSUER,
    PASSPHRASE,
    RELAY,
    Office,
    make_request,
    open_office,
    served,
)
from tests.support.terminal import Terminal

TRUST = TrustedRoot(1, make_genesis(), ())
CLOCKED = ("cli.times", "cli.consent", "cli.record", "cli.anchor", "cli.receipt")


@dataclass(slots=True)
class Scene:
    """An office, what its people type, and what they read."""

    office: Office
    capsys: pytest.CaptureFixture[str]
    wallet: bytes
    said: str = ""
    errors: str = ""

    def path(self, name: str) -> str:
        return str(self.office.path(name))

    @property
    def proof(self) -> Path:
        return self.office.path("report.pdf.proof")

    def arguments(self, command: str) -> list[str]:
        """Return a command as its user types it, all but the nodes' URLs and the trusted root."""
        consent, wallet = self.path("consent"), self.path("wallet")
        proof = str(self.proof)
        return {
            "grant": [
                *("consent", "grant", "--request", self.path("asked"), "--wallet", wallet),
                *("--out", self.path("new"), "--language", "en", "--yes"),
            ],
            "withdraw": ["consent", "withdraw", "--consent", consent],
            "show": ["consent", "show", consent],
            "erase": ["erase", proof, "--wallet", wallet, "--consent", consent, "--yes"],
            "refresh": ["proof", "refresh", proof, "--consent", consent],
            "revoke": ["revoke", "--proof", proof, "--reason", "error", "--home", self.path("issuer")],
            "record": [
                *("record", proof, "--request", self.path("request")),
                *("--outcome", "accepted", "--home", self.path("bank")),
            ],
        }[command]

    def run(
        self, command: str, *urls: str, trust: str | None = "trust.json", more: Sequence[str] = ()
    ) -> int:
        """Run a command at some nodes, and keep what it says."""
        arguments = [*self.arguments(command), *more]
        arguments += [] if trust is None else ["--trust", self.path(trust)]
        for url in urls:
            arguments += ["--url", url]
        self.capsys.readouterr()
        code = run(arguments)
        self.said, self.errors = self.capsys.readouterr()
        return code

    def kept(self) -> dict[str, bytes]:
        """Return what nobody may destroy for a lie: proof, consent, wallet's keys."""
        files = {name: self.office.path(name).read_bytes() for name in ("report.pdf.proof", "consent")}
        if self.office.path("wallet").read_bytes() == self.wallet:
            return files
        with Wallet.load(self.office.path("wallet"), Passphrase.from_text(PASSPHRASE)) as wallet:
            # A key more, as a consent given brings one, is no harm.
            keys = {key.public for key in wallet.keys}
        assert {self.office.holder, self.office.consent_key.public} <= keys
        return files

    def consent_leaf(self, consent: ConsentFile) -> Consent | None:
        place = consent_key(consent.consent_key, consent.consent_id)
        return find(self.office.node.ledger.tip.state, Consent, place)

    def is_done(self, command: str) -> bool:
        """Say whether the ledger holds what a command is to bring about."""
        state = self.office.node.ledger.tip.state
        if command == "grant":
            path = self.office.path("new")
            return path.exists() and self.consent_leaf(ConsentFile.decode(path.read_bytes())) is not None
        if command == "withdraw":
            found = self.consent_leaf(self.office.consent)
            return found is not None and found.ended is not None
        if command == "revoke":
            commitment = self.office.proof.opening.commitment()
            key = Revocation(ISSUER, commitment, "error", 1, 1).state_key()
            return find(state, Revocation, key) is not None
        if command == "record":
            key = verification_key(self.office.consent_key.public, self.office.consent.consent_id, 0)
            return find(state, Verification, key) is not None
        raise AssertionError(command)

    def is_noted_as_revoked(self) -> bool:
        path = self.office.path("issuer") / "issued" / REGISTER
        if not path.exists():
            return False
        with Register.open(path, chain_id=TRUST.chain_id, issuer=ISSUER) as register:
            return register.is_revoked(self.office.proof.opening.commitment())


@pytest.fixture
def scene(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Scene]:
    with open_office(tmp_path) as office:
        monkeypatch.setenv("LUOHU_PASSPHRASE", PASSPHRASE)
        for module in CLOCKED:
            monkeypatch.setattr(f"{module}.now_ms", office.node.clock.wall_ms, raising=False)
        monkeypatch.setattr("cli.anchor.SystemClock", lambda: office.node.clock)

        def open_member(path: Path, _passphrase_file: Path | None) -> SigningMember:
            member = {"issuer": ISSUER, "bank": BANK}[path.name]
            home: Any = SimpleNamespace(member=member, genesis=make_genesis(), path=path)
            return SigningMember(home, member_key_of(member))

        monkeypatch.setattr("cli.anchor.open_member", open_member)
        monkeypatch.setattr("cli.homes.open_member", open_member)
        own = office.path("issuer") / "issued" / REGISTER
        with Register.open(own, chain_id=TRUST.chain_id, issuer=ISSUER):
            pass
        asked = make_request(TRUST, office.now_ms, nonce=b"request nonce 02")
        office.path("asked").write_bytes(asked.encode())
        yield Scene(office, capsys, office.path("wallet").read_bytes())


def tip_of(office: Office) -> FinalizedHeader:
    return FinalizedHeader(office.node.ledger.tip.encoded_header.encoded, office.node.certificates[-1])


# -- every lie before every command -----------------------------------------------------------------------


def raise_time(at: FinalizedHeader) -> FinalizedHeader:
    """Return a header of a later time, under the old certificate."""
    header = EncodedHeader.decode(at.header).header
    return replace(at, header=pack(replace(header, time_ms=header.time_ms + 1)))


def sign_by_others(at: FinalizedHeader) -> FinalizedHeader:
    """Return a header under a certificate of keys that are no validators'."""
    header = EncodedHeader.decode(at.header)
    view = header.header.view
    subject = Subject(FINALIZE, header.header.epoch, view, view - 1, header.hash)
    body = subject.body(header.header.chain_id)
    signed = tuple(
        SignedBy(index, key_of(f"liar {index}").sign(VOTE_TAGS[FINALIZE], body)) for index in range(3)
    )
    return FinalizedHeader(at.header, QuorumCertificate(subject, signed))


def add_epoch(asked: Asked) -> Said:
    """Throw away what is submitted, and lead to every header through an epoch that nobody sealed."""
    said = throw_away(asked)
    if not asked.is_state or said.status != 200:
        return said
    value = said.json
    seal = value["at"]
    handover = {"seal": seal, "next_validators": to_json(make_content().validators)}
    value["trust_path"]["handovers"] = [handover]
    return said.with_json(value)


def swap_names(asked: Asked) -> Said:
    """Throw away what is submitted, and give every member another one's names."""
    return alter_leaf(Member, lambda found: replace(found, name_en="Your Tax Office"))(asked)


LIES: dict[str, Lie] = {
    "says final, sends nothing on": throw_away,
    "says ended": say_ended,
    "says active": say_active,
    "shows absence of another key": show_nothing,
    "says null": say_null,
    "leaves a vote out": drop_vote,
    "leaves the certificate out": drop_certificate,
    "leaves the evidence out": drop_evidence,
    "a later header under an old certificate": alter_evidence(raise_time),
    "a certificate of other keys": alter_evidence(sign_by_others),
    "an epoch that nobody sealed": add_epoch,
    "names swapped": swap_names,
    "404": say_unknown,
    "HTML": send_html,
    "garbage": send_garbage,
    "502": fail,
    "a redirection": redirect,
    "refuses as suspended": refuse_as("suspended"),
    "refuses as recorded": refuse_as("no-change"),
}
ACTS = ("grant", "withdraw", "revoke", "record")
# What a lie says of other questions leaves this one's answer honest.
HONEST = {
    "show": ("says final, sends nothing on", "says active", "names swapped", "refuses as suspended"),
    "refresh": (
        "says final, sends nothing on",
        "says ended",
        "says active",
        "shows absence of another key",
        "says null",
        "an epoch that nobody sealed",
        "names swapped",
        "refuses as suspended",
        "refuses as recorded",
    ),
}
HONEST["show"] += ("refuses as recorded",)


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("command", ACTS)
def test_no_lie_ends_an_act_and_an_honest_node_beside_it_does(scene: Scene, command: str, lie: str) -> None:
    kept = scene.kept()
    with lying(scene.office.url, LIES[lie]) as url:
        assert scene.run(command, url) in (NO, UNREACHABLE), scene.said
        assert scene.said == "" and "block 999" not in scene.said
        assert scene.kept() == kept and not scene.is_noted_as_revoked()
        # The liar first: what one answer lacks the next has.
        assert scene.run(command, url, scene.office.url) == FINE, scene.errors
    assert scene.is_done(command)
    assert "under your trusted root" in scene.said and "block 999" not in scene.said
    assert command != "revoke" or scene.is_noted_as_revoked()


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("command", ["show", "refresh"])
def test_no_lie_is_shown_as_proven(scene: Scene, command: str, lie: str) -> None:
    kept = scene.kept()
    with lying(scene.office.url, LIES[lie]) as url:
        code = scene.run(command, url)
        if lie in HONEST[command]:
            assert code == FINE and "under your trusted root" in scene.said, scene.errors
        else:
            assert code in (NO, UNREACHABLE) and scene.said == ""
            assert scene.kept() == kept
        assert "block 999" not in scene.said
        assert scene.run(command, url, scene.office.url) == FINE, scene.errors
    assert "under your trusted root" in scene.said and "active" in scene.said + "active" * (command != "show")


@pytest.mark.parametrize("lie", LIES)
def test_no_lie_destroys_what_withdraws_a_consent_that_stands(scene: Scene, lie: str) -> None:
    kept = scene.kept()
    with lying(scene.office.url, LIES[lie]) as url:
        for urls in ([url], [url, scene.office.url]):
            assert scene.run("erase", *urls) in (NO, UNREACHABLE)
            assert scene.kept() == kept and scene.said == ""
        assert scene.run("erase", url, trust=None) == NO
        assert "no trusted root" in scene.errors and scene.kept() == kept
        assert scene.run("withdraw", scene.office.url) == FINE
        assert scene.run("erase", url, scene.office.url) == FINE, scene.errors
    assert not scene.proof.exists() and not scene.office.path("consent").exists()


def test_the_heights_that_are_told_are_those_of_the_ledger(scene: Scene) -> None:
    with lying(scene.office.url, say_another_block) as url:
        for command in ACTS:
            if command == "withdraw":
                continue
            assert scene.run(command, url) == FINE, scene.errors
            assert "block 999" not in scene.said and scene.is_done(command)
        assert scene.run("withdraw", url) == FINE
        assert "block 999" not in scene.said and scene.is_done("withdraw")


def test_a_node_that_never_answers_is_given_up_and_the_next_is_asked(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def be_silent(_asked: Asked) -> Said:
        released.wait(60)
        return Said(500, b"")

    monkeypatch.setattr(client_module, "ANSWER_S", 0.5)
    with lying(scene.office.url, be_silent) as url:
        try:
            kept = scene.kept()
            assert scene.run("show", url) == UNREACHABLE
            assert scene.run("erase", url) == UNREACHABLE and scene.kept() == kept
            assert scene.run("show", url, scene.office.url) == FINE
        finally:
            released.set()


# -- old evidence ------------------------------------------------------------------------------------------


def test_old_evidence_of_a_consent_is_not_taken_for_its_present_state(scene: Scene) -> None:
    relay = Replay()
    with lying(scene.office.url, relay) as url:
        assert scene.run("show", url) == FINE and "active" in scene.said
        assert scene.run("refresh", url) == FINE
        relay.begin()
        assert scene.run("withdraw", scene.office.url) == FINE
        kept = scene.kept()
        # A liar's window: within it a passing fact may have passed. Nothing is destroyed by it.
        scene.office.node.clock.now_ms += 6 * MINUTE_MS
        assert scene.run("show", url) == UNREACHABLE and "clock" in scene.errors
        assert scene.run("refresh", url) == UNREACHABLE and "clock" in scene.errors
        assert scene.run("withdraw", url) == UNREACHABLE
        assert scene.run("erase", url) == UNREACHABLE
        assert scene.kept() == kept
        scene.office.node.extend()
        assert scene.run("show", url, scene.office.url) == FINE and "ended by the holder" in scene.said
        assert scene.run("erase", url, scene.office.url) == FINE


def test_of_several_nodes_the_newest_answer_counts_for_what_passes(scene: Scene) -> None:
    """Evidence of a minute ago is fresh. Beside it stands newer evidence, whichever node is named first."""
    relay = Replay()
    with lying(scene.office.url, relay) as url:
        assert scene.run("show", url) == FINE and "active" in scene.said
        relay.begin()
        assert scene.run("withdraw", scene.office.url) == FINE
        for urls in ([url, scene.office.url], [scene.office.url, url]):
            assert scene.run("show", *urls) == FINE and "ended by the holder" in scene.said
        # A lone liar has its window; what is told is told with its block and time, and destroys nothing.
        assert scene.run("show", url) == FINE and "block 2" in scene.said
        assert scene.run("erase", url) == NO and scene.proof.exists()


def test_a_grant_that_no_node_shows_says_until_when_it_may_still_be_recorded(scene: Scene) -> None:
    with lying(scene.office.url, throw_away) as url:
        assert scene.run("grant", url) == UNREACHABLE
    assert "may still be recorded until" in scene.errors and "withdraw it" in scene.errors
    withdraw = ["consent", "withdraw", "--consent", scene.path("new"), "--trust", scene.path("trust.json")]
    assert run([*withdraw, "--url", scene.office.url]) == FINE
    assert scene.run("grant", scene.office.url) == NO, "a withdrawal that comes first blocks the grant"


def test_a_proof_is_never_given_older_evidence(scene: Scene) -> None:
    relay = Replay()
    with lying(scene.office.url, relay) as url:
        assert scene.run("refresh", url) == FINE
        relay.begin()
        scene.office.node.extend()
        assert scene.run("refresh", scene.office.url) == FINE
        newer = scene.proof.read_bytes()
        assert scene.run("refresh", url) == UNREACHABLE and "older" in scene.errors
        assert scene.proof.read_bytes() == newer


def test_an_end_that_old_evidence_shows_is_as_good_as_new(scene: Scene) -> None:
    relay = Replay()
    with lying(scene.office.url, relay) as url:
        assert scene.run("withdraw", url) == FINE
        assert scene.run("show", url) == FINE
        relay.begin()
        scene.office.node.clock.now_ms += 400 * DAY_MS
        assert scene.run("show", url) == FINE and "ended by the holder" in scene.said
        assert scene.run("withdraw", url) == FINE and "before" in scene.said
        assert scene.run("erase", url) == FINE


def test_a_grant_of_before_the_withdrawal_does_not_stand_again(scene: Scene) -> None:
    relay = Replay()
    with lying(scene.office.url, relay) as url:
        assert scene.run("grant", url) == FINE
        consent = scene.path("new")
        relay.begin()
        withdraw = ["consent", "withdraw", "--consent", consent, "--trust", scene.path("trust.json")]
        assert run([*withdraw, "--url", scene.office.url]) == FINE
        scene.office.node.clock.now_ms += 6 * MINUTE_MS
        assert scene.run("grant", url) == UNREACHABLE
        scene.office.node.extend()
        assert scene.run("grant", url, scene.office.url) in (NO, UNREACHABLE)
        assert scene.run("grant", scene.office.url) == NO and "ended by the holder" in scene.errors


# -- the clock here ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("error_ms", [-2 * MINUTE_MS, 6 * MINUTE_MS], ids=["slow", "fast"])
def test_a_wrong_clock_is_named_where_something_passing_is_asked(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, error_ms: int
) -> None:
    for module in CLOCKED:
        monkeypatch.setattr(f"{module}.now_ms", lambda: scene.office.now_ms + error_ms, raising=False)
    assert scene.run("show", scene.office.url) == UNREACHABLE
    assert "clock" in scene.errors and ("slow" in scene.errors) == (error_ms < 0)
    assert scene.run("grant", scene.office.url) == UNREACHABLE and not scene.office.path("new").exists()
    assert scene.run("withdraw", scene.office.url) == FINE, "what lasts needs no clock"


def test_the_clock_here_ends_no_consent(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock a year ahead does not make a consent past its end: the chain's time does."""
    kept = scene.kept()
    monkeypatch.setattr("cli.times.now_ms", lambda: scene.office.now_ms + 365 * DAY_MS)
    assert scene.run("erase", scene.office.url) == UNREACHABLE
    assert scene.kept() == kept
    scene.office.node.clock.now_ms += 2 * DAY_MS
    scene.office.node.extend()
    assert scene.run("erase", scene.office.url) == FINE, scene.errors


@pytest.mark.parametrize("is_late", [False, True])
def test_a_consent_that_was_never_recorded_is_erased_once_it_is_too_late_for_it(
    scene: Scene, is_late: bool
) -> None:
    office = scene.office
    never = grant_consent(
        office.request,
        office.consent_key,
        nonce=bytes(range(16)),
        terms_salt=bytes(32),
        from_ms=office.now_ms,
        submit_by_ms=office.now_ms + MINUTE_MS,
    )
    office.path("consent").write_bytes(never.encode())
    if is_late:
        office.node.clock.now_ms += 2 * MINUTE_MS
        office.node.extend()
    assert scene.run("erase", office.url) == (FINE if is_late else NO)
    assert office.path("consent").exists() != is_late


# -- who asks ----------------------------------------------------------------------------------------------


def forged(office: Office, recipient: str) -> tuple[Request, Member]:
    """Return a request that a relay signed in a recipient's name, and the record by which it would verify."""
    key = key_of("relay's own key")
    body = body_with(office.request.decoded(), recipient=recipient, nonce=b"request nonce 03")
    encoded = pack(body)
    member = find(office.node.ledger.tip.state, Member, member_key(BANK))
    assert member is not None
    office_of_taxes = replace(
        member,
        id=recipient,
        name_zh_hans="您的税务局",
        name_zh_hant="您的稅務局",
        name_en="Your Tax Office",
        roles=(RECIPIENT,),
        key=key.public,
    )
    return Request(encoded, key.sign(REQUEST_TAG, encoded)), office_of_taxes


@pytest.mark.parametrize("recipient", [BANK, "tax-office"])
def test_a_forged_request_is_refused_under_the_root_and_is_a_nodes_word_without(
    scene: Scene, recipient: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, member = forged(scene.office, recipient)
    scene.office.path("asked").write_bytes(request.encode())
    keys_before = len(keys_of(scene))
    with lying(scene.office.url, invent_leaves(member)) as url:
        assert scene.run("grant", url) == UNREACHABLE
        assert scene.run("grant", url, scene.office.url) == NO
        assert ("signature" if recipient == BANK else "unknown") in scene.errors
        assert scene.run("grant", scene.office.url) == NO
        assert len(keys_of(scene)) == keys_before and not scene.office.path("new").exists()
        # Nobody can ask for more than a node's word here; that it is one is said first.
        monkeypatch.setattr("sys.stdin", Terminal("n\n"))
        arguments = [each for each in scene.arguments("grant") if each != "--yes"]
        scene.capsys.readouterr()
        run([*arguments, "--url", url])
        shown = scene.capsys.readouterr().err
    if "Your Tax Office" in shown:
        assert "as this node says" in shown.split("Your Tax Office")[0]
        assert str(member.key) in shown
    assert len(keys_of(scene)) == keys_before


def keys_of(scene: Scene) -> tuple[object, ...]:
    with Wallet.load(scene.office.path("wallet"), Passphrase.from_text(PASSPHRASE)) as wallet:
        return wallet.keys


def test_who_asks_is_shown_from_the_proven_record(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    for language, proven in (("en", "yes, under your trusted root"), ("zh-Hant", "是，依據您的信任根")):
        monkeypatch.setattr("sys.stdin", Terminal("n\n"))
        arguments = [each for each in scene.arguments("grant") if each != "--yes"]
        arguments[arguments.index("en")] = language
        scene.capsys.readouterr()
        assert run([*arguments, "--trust", scene.path("trust.json"), "--url", scene.office.url]) == 130
        shown = scene.capsys.readouterr().err
        assert proven in shown
        for known in (
            f"Test member {BANK}",
            f"测试成员 {BANK}",
            str(member_key_of(BANK).public),
            "recipient",
        ):
            assert known in shown, known


def test_a_request_by_a_key_that_was_rotated_away_is_refused_and_old_evidence_of_it_is_stale(
    scene: Scene,
) -> None:
    relay = Replay()
    trust = ["--trust", scene.path("trust.json")]
    with lying(scene.office.url, relay) as url:
        arguments = scene.arguments("grant")
        assert run([*arguments[:-1], *trust, "--url", url]) == USAGE, "shown, and nobody agreed"
        relay.begin()
        rotation = make_rotation(BANK, 1)
        assert not scene.office.node.extend(make_transaction(BANK, rotation))
        assert scene.run("grant", scene.office.url) == NO and "new request" in scene.errors
        scene.office.node.clock.now_ms += 6 * MINUTE_MS
        assert scene.run("grant", url) == UNREACHABLE and not scene.office.path("new").exists()


# -- records -----------------------------------------------------------------------------------------------


def test_a_record_that_a_node_invents_is_not_on_record(scene: Scene) -> None:
    consent = scene.office.consent
    place = (scene.office.consent_key.public, consent.consent_id)
    leaf = scene.consent_leaf(consent)
    assert leaf is not None
    invented = Verification(*place, 0, BANK, hash_of("a tag"), "accepted", 999, 1)
    with lying(scene.office.url, invent_leaves(replace(leaf, used=1), invented)) as url:
        assert scene.run("record", url) == UNREACHABLE and scene.said == ""
        assert scene.run("record", url, scene.office.url) == FINE and scene.is_done("record")
    assert scene.run("record", scene.office.url) == FINE and "recorded before" in scene.said


def test_evidence_of_another_consent_is_no_evidence_of_this_one(scene: Scene) -> None:
    office = scene.office
    other = grant_consent(
        office.request,
        key_of("another consent"),
        nonce=bytes(16),
        terms_salt=bytes(32),
        from_ms=office.now_ms,
        submit_by_ms=office.now_ms + DAY_MS,
    )
    assert not office.node.extend(make_transaction(RELAY, other.grant))
    assert not office.node.extend(make_transaction(RELAY, other.withdrawal))
    kept = scene.kept()
    with lying(office.url, show_key(consent_key(other.consent_key, other.consent_id))) as url:
        for command in ("withdraw", "show", "erase", "record"):
            assert scene.run(command, url) == UNREACHABLE and scene.said == "", command
    assert scene.kept() == kept


def test_two_histories_that_both_verify_end_all_belief(scene: Scene) -> None:
    """More than f validators sign two blocks of one height: whoever sees both says so, and believes neither."""
    office = scene.office
    twin = MemoryNode(clock=ManualClock(office.node.clock.now_ms))
    for executed in office.node.ledger.blocks[:-1]:
        twin.extend(*executed.block.transactions)
    twin.extend()
    assert twin.ledger.tip.header.height == office.node.ledger.tip.header.height
    assert scene.run("show", office.url) == FINE
    with served(twin) as url:
        # The twin shows no end of the consent, so the other is asked too, which shows another block of this height.
        assert scene.run("erase", url, office.url) == NO
    assert "two-histories" in scene.errors and "Believe no node" in scene.errors


# -- without a root ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["grant", "withdraw", "show", "refresh"])
def test_without_a_root_the_first_line_says_whose_word_it_is(scene: Scene, command: str) -> None:
    assert scene.run(command, scene.office.url, trust=None) == FINE
    assert scene.said.startswith("as this node says: ")
    assert scene.run(command, scene.office.url, trust=None, more=["--json"]) == FINE
    told = json.loads(scene.said)
    assert told["proven"] is False and told["as_of_height"] is None


@pytest.mark.parametrize("command", ["grant", "withdraw", "show", "refresh", "revoke", "record"])
def test_with_a_root_the_answer_says_by_which_block_it_is_proven(scene: Scene, command: str) -> None:
    assert scene.run(command, scene.office.url, more=["--json"]) == FINE
    told = json.loads(scene.said)
    tip = scene.office.node.ledger.tip.header
    assert (told["proven"], told["as_of_height"], told["as_of_ms"]) == (True, tip.height, tip.time_ms)


def test_the_lie_of_a_relay_is_told_as_its_word_and_nothing_is_destroyed_by_it(scene: Scene) -> None:
    kept = scene.kept()
    with lying(scene.office.url, say_ended) as url:
        assert scene.run("withdraw", url, trust=None) == FINE
        assert scene.said.startswith("as this node says: ")
        assert scene.run("erase", url, trust=None) == NO
    assert scene.kept() == kept


def test_members_have_the_genesis_of_their_home_for_a_root(scene: Scene) -> None:
    with lying(scene.office.url, throw_away) as url:
        for command in ("record", "revoke"):
            assert scene.run(command, url, trust=None) == UNREACHABLE
            assert not scene.is_noted_as_revoked() and not scene.is_done(command)
            assert scene.run(command, scene.office.url, trust=None) == FINE
            assert "under your trusted root" in scene.said


# -- what is erased ----------------------------------------------------------------------------------------


def test_no_other_withdrawal_is_erased_under_whatever_name(scene: Scene) -> None:
    office = scene.office
    assert scene.run("grant", office.url) == FINE
    assert scene.run("withdraw", office.url) == FINE
    office.path("holiday.jpg").write_bytes(office.path("new").read_bytes())
    office.path("cut").write_bytes(office.path("new").read_bytes()[:-1])
    kept = scene.kept()
    for name, why in (
        ("new", "that of consent"),
        ("holiday.jpg", "that of consent"),
        ("cut", "cannot be read"),
    ):
        for option in ("--also", "--document"):
            assert scene.run("erase", office.url, more=[option, scene.path(name)]) == NO
            assert why in scene.errors and scene.kept() == kept and office.path(name).exists()
    assert scene.run("erase", office.url, more=["--also", scene.path("wallet")]) == NO
    assert "a wallet" in scene.errors and scene.kept() == kept
    office.path("copy").write_bytes(office.path("consent").read_bytes())
    assert scene.run("erase", office.url, more=["--also", scene.path("copy")]) == FINE, "a copy of the same"


def test_an_issuers_erasure_takes_no_withdrawal_along(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.erase._open_register", lambda *_: None)
    command = ["erase", str(scene.proof), "--home", scene.path("issuer"), "--yes"]
    assert run([*command, "--also", scene.path("consent")]) == NO
    assert scene.proof.exists() and scene.office.path("consent").exists()
    assert run(command) == FINE and not scene.proof.exists()


# -- the root that a wallet keeps --------------------------------------------------------------------------


def write_root(scene: Scene, name: str, root: TrustedRoot) -> str:
    scene.office.path(name).write_text(json.dumps(trusted_root_to_json(root)))
    return name


def pinned(office: Office, *heights: int) -> TrustedRoot:
    """Return a root that pins these blocks of the office's chain."""
    validators = make_content().validators
    return replace(
        TRUST,
        checkpoints=tuple(
            Checkpoint(height, office.node.ledger.blocks[height - 1].block.hash, 0, validators, 0, 2**53 - 1)
            for height in heights
        ),
    )


def test_a_wallet_keeps_the_first_root_and_every_later_command_believes_by_it(scene: Scene) -> None:
    wallet = ["--wallet", scene.path("wallet")]
    assert scene.run("grant", scene.office.url) == FINE
    for command in ("withdraw", "show", "refresh"):
        assert scene.run(command, scene.office.url, trust=None, more=wallet) == FINE
        assert "under your trusted root" in scene.said
    assert scene.run("erase", scene.office.url, trust=None) == FINE
    scene.capsys.readouterr()
    assert run(["wallet", "show", *wallet]) == FINE
    said = scene.capsys.readouterr().out
    assert TRUST.chain_id.hex() in said and "genesis alone" in said
    assert run(["wallet", "show", *wallet, "--json"]) == FINE
    assert json.loads(scene.capsys.readouterr().out)["root"]["chain_id"] == TRUST.chain_id.hex()


def test_a_root_under_which_nothing_was_proven_is_not_kept(scene: Scene) -> None:
    other = TrustedRoot(1, make_genesis(replace(make_content(), network="another")), ())
    name = write_root(scene, "other.json", other)
    assert scene.run("grant", scene.office.url, trust=name) == NO
    with lying(scene.office.url, drop_vote) as url:
        assert scene.run("grant", url) == UNREACHABLE
    assert kept_root(scene) is None
    assert scene.run("grant", scene.office.url) == FINE and kept_root(scene) == TRUST


def test_a_newer_root_takes_its_place_and_no_other(scene: Scene) -> None:
    office = scene.office
    office.node.extend()
    height = office.node.ledger.tip.header.height
    wallet = ["--wallet", scene.path("wallet")]
    other = TrustedRoot(1, make_genesis(replace(make_content(), network="another")), ())
    newer, newest = pinned(office, height - 1), pinned(office, height)
    wrong = replace(newest, checkpoints=(replace(newest.checkpoints[0], block_hash=hash_of("no block")),))
    for root, code in (
        (newer, FINE),
        (TRUST, USAGE),
        (other, USAGE),
        (newest, FINE),
        (newer, USAGE),
        (wrong, USAGE),
    ):
        before = kept_root(scene)
        name = write_root(scene, "named.json", root)
        assert scene.run("show", office.url, trust=name, more=wallet) == code
        assert kept_root(scene) == (root if code == FINE else before)
        assert code == FINE or "wallet show" in scene.errors


def kept_root(scene: Scene) -> TrustedRoot | None:
    with Wallet.load(scene.office.path("wallet"), Passphrase.from_text(PASSPHRASE)) as wallet:
        return wallet.root


def test_a_new_wallet_keeps_the_root_that_it_is_made_with(scene: Scene) -> None:
    out = scene.path("fresh.wallet")
    assert run(["wallet", "new", "--out", out, "--trust", scene.path("trust.json")]) == FINE
    with Wallet.load(Path(out), Passphrase.from_text(PASSPHRASE)) as wallet:
        assert wallet.root == TRUST


def test_a_consent_of_another_chain_than_the_root_is_refused_before_anything_is_asked(scene: Scene) -> None:
    other = TrustedRoot(1, make_genesis(replace(make_content(), network="another")), ())
    name = write_root(scene, "other.json", other)
    for command in ("withdraw", "show", "refresh", "erase", "grant"):
        assert scene.run(command, "http://127.0.0.1:1", trust=name) == NO, command
        assert "wrong-chain" in scene.errors
