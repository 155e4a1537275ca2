"""The ledger by several nodes: what counts as proven, when one answer is too few, and what nobody believes."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pytest

from ledger.consents import ConsentFile, grant_consent
from ledger.errors import LedgerError
from ledger.proofs import require_leaf, verify_leaf
from ledger.requests import REQUEST_TAG, Request
from ledger.rules.blocks import EncodedHeader
from ledger.rules.operations import VALIDATOR_KEY, RotateKey, next_key_commitment
from ledger.rules.state import Consent, Member, Node, consent_key, find, member_key, node_key
from ledger.trust import Checkpoint, Pins, TrustedRoot
from node.client import ledgerclient
from node.client.answers import Proven, Recorded, Told
from node.client.erasure import ErasureRefused, require_over
from node.client.holder import RequestRefused, find_consent, grant, who_asks, why_over, withdraw
from node.client.ledgerclient import AHEAD_MS, FRESH_MS, LedgerClient, TwoHistories
from node.client.nodes import Nodes
from node.errors import BadAnswer, RefusedByNode, Unproven, Unreachable
from tests.support.asking import body_with
from tests.support.consortium import (
    CHAIN_ID,
    PARAMETERS,
    START_MS,
    hash_of,
    key_of,
    make_content,
    make_genesis,
    make_transaction,
    member_key_of,
)
from tests.support.lying_relay import Lie, lying, say_ended, say_unknown, throw_away
from tests.support.memory_node import MemoryNode, serve
from tests.support.office import BANK, DAY_MS, ISSUER, make_node, make_request
from tests.support.running_network import key_of as development_key_of
from tests.support.running_network import now_ms, run_network

ROOT = TrustedRoot(1, make_genesis(), ())
NOWHERE = "http://127.0.0.1:1"

T = TypeVar("T")


@dataclass(slots=True)
class Town:
    """Two honest nodes of one chain, of which the second may stay behind, and a holder's consent."""

    node: MemoryNode
    behind: MemoryNode
    consent: ConsentFile

    @property
    def place(self) -> bytes:
        return consent_key(self.consent.consent_key, self.consent.consent_id)

    def extend(self) -> None:
        """Make a block on both."""
        self.node.extend()
        self.behind.extend()


def make_town() -> Town:
    node, behind = make_node(), make_node()
    town = Town(node, behind, make_consent(node.clock.now_ms))
    town.extend()
    return town


def make_consent(at_ms: int, *, chain_id: bytes = CHAIN_ID) -> ConsentFile:
    return grant_consent(
        make_request(ROOT, at_ms, chain_id=chain_id),
        key_of("a consent"),
        nonce=bytes(16),
        terms_salt=bytes(32),
        from_ms=START_MS,
        submit_by_ms=at_ms + DAY_MS // 2,
    )


def ask(
    question: Callable[[LedgerClient], Awaitable[T]],
    *nodes: MemoryNode | str | tuple[MemoryNode, Lie],
    root: TrustedRoot | None = ROOT,
    at_ms: int | None = None,
) -> T:
    """Ask nodes, unreachable ones and liars about the ledger."""

    async def run() -> T:
        async with AsyncExitStack() as stack:
            urls = []
            for node in nodes:
                if isinstance(node, str):
                    urls.append(node)
                elif isinstance(node, tuple):
                    url = await stack.enter_async_context(serve(node[0]))
                    urls.append(stack.enter_context(lying(url, node[1])))
                else:
                    urls.append(await stack.enter_async_context(serve(node)))
            first = next(each for each in nodes if not isinstance(each, str))
            honest = first[0] if isinstance(first, tuple) else first
            clock = honest.clock.wall_ms if at_ms is None else lambda: at_ms
            async with LedgerClient.connect(urls, root, clock) as ledger:
                return await question(ledger)

    return asyncio.run(run())


# -- which answers count ---------------------------------------------------------------------------------


def test_what_is_asked_under_a_root_is_proven_and_without_one_it_is_told() -> None:
    town = make_town()
    proven = ask(lambda ledger: ledger.member(BANK), town.node)
    tip = town.node.ledger.tip
    assert isinstance(proven, Proven) and proven.value.id == BANK
    assert (proven.height, proven.time_ms) == (tip.header.height, tip.header.time_ms)
    assert proven.block_hash == tip.encoded_header.hash and proven.key == member_key(BANK)
    told = ask(lambda ledger: ledger.member(BANK), town.node, root=None)
    assert isinstance(told, Told) and told.value == proven.value


def test_that_there_is_nothing_is_proven_too() -> None:
    town = make_town()
    found = ask(lambda ledger: find_consent(ledger, town.consent), town.node)
    assert isinstance(found, Proven) and found.value is None
    with pytest.raises(RefusedByNode, match="member nobody"):
        ask(lambda ledger: ledger.member("nobody"), town.node)
    with pytest.raises(RefusedByNode, match="node of nobody"):
        ask(lambda ledger: ledger.node("nobody"), town.node)
    with pytest.raises(Unproven, match="a refusal"):
        ask(lambda ledger: find_consent(ledger, town.consent), (town.node, say_unknown))


@pytest.mark.parametrize(("limit_ms", "sign"), [(FRESH_MS, 1), (AHEAD_MS, -1)])
def test_a_passing_fact_counts_up_to_the_last_millisecond_of_fresh(limit_ms: int, sign: int) -> None:
    town = make_town()
    time_ms = town.node.ledger.tip.header.time_ms
    at_the_limit = time_ms + sign * limit_ms
    ask(lambda ledger: ledger.member(BANK), town.node, at_ms=at_the_limit)
    with pytest.raises(Unproven, match="clock here") as stale:
        ask(lambda ledger: ledger.member(BANK), town.node, at_ms=at_the_limit + sign)
    assert "clock of this computer" in stale.value.cure
    assert ("slow" in stale.value.found) == (sign < 0)


def test_a_lasting_fact_counts_under_any_header() -> None:
    town = make_town()
    town.node.extend(make_transaction("hk-operator", town.consent.grant, town.consent.withdrawal))
    for at_ms in (START_MS - DAY_MS, START_MS + 999 * DAY_MS):
        found = ask(lambda ledger: find_consent(ledger, town.consent), town.node, at_ms=at_ms)
        assert isinstance(found, Proven) and found.value is not None and found.value.ended is not None


def test_another_chains_evidence_is_none() -> None:
    content = replace(make_content(), network="another")
    other = TrustedRoot(1, make_genesis(content), ())
    with pytest.raises(Unproven, match="expected chain"):
        ask(lambda ledger: ledger.member(BANK), make_town().node, root=other)
    with pytest.raises(LedgerError) as unsound:
        ask(
            lambda ledger: ledger.member(BANK),
            make_town().node,
            root=replace(ROOT, genesis=replace(ROOT.genesis, signatures=())),
        )
    assert unsound.value.code == "genesis"


def rotate_validator(node: MemoryNode, member: str) -> None:
    """Have a validator's key replaced, which ends the epoch."""
    revealed, after = key_of(f"{member} next validator"), key_of(f"{member} validator after")
    unsigned = RotateKey(VALIDATOR_KEY, 1, revealed.public, next_key_commitment(after.public), bytes(64))
    body = unsigned.signed_body(chain_id=CHAIN_ID, member=member)
    rotation = replace(unsigned, signature=revealed.sign("luohu/rotation/1", body))
    assert not node.extend(make_transaction(member, rotation))


def test_evidence_leads_through_epochs_and_past_pins() -> None:
    node = MemoryNode()
    node.extend()
    rotate_validator(node, "hk-bureau")
    node.extend()
    node.extend()
    assert node.ledger.tip.header.epoch == 1
    found = ask(lambda ledger: ledger.node("hk-bureau"), node)
    assert isinstance(found, Proven) and found.value.validator_key_sequence == 1
    tip = node.ledger.tip.encoded_header
    pin = Checkpoint(tip.header.height, tip.hash, 1, node._validators(), 0, 2**53 - 1)
    node.extend()
    assert isinstance(
        ask(lambda ledger: ledger.node("hk-bureau"), node, root=replace(ROOT, checkpoints=(pin,))), Proven
    )
    forged = replace(pin, validators=make_content().validators)
    with pytest.raises(Unproven, match="the pinned validator set"):
        ask(lambda ledger: ledger.node("hk-bureau"), node, root=replace(ROOT, checkpoints=(forged,)))


def test_a_leaf_counts_under_the_key_that_was_asked_for_alone() -> None:
    node = make_town().node
    proven, pins = node.prove(member_key(BANK)), Pins(ROOT)
    assert proven.present is not None
    at_ms = node.clock.now_ms

    def verify(key: bytes, shape: type[Member] | type[Node]) -> None:
        assert proven.present is not None
        verify_leaf(pins, proven.at, proven.trust_path, proven.present, shape, key, at_ms=at_ms)

    verify(member_key(BANK), Member)
    for key, shape in ((member_key(ISSUER), Member), (node_key(BANK), Node), (member_key(BANK), Node)):
        with pytest.raises(LedgerError):
            verify(key, shape)
    header = EncodedHeader.decode(proven.at.header)
    other = EncodedHeader.encode(replace(header.header, state_root=bytes(32)))
    with pytest.raises(LedgerError):
        require_leaf(proven.present, Member, member_key(BANK), other)


# -- when one answer is too few ------------------------------------------------------------------------------


def test_a_node_that_is_away_lies_or_is_behind_is_passed_over() -> None:
    town = make_town()
    town.node.extend(make_transaction("hk-operator", town.consent.grant, town.consent.withdrawal))
    for first in (NOWHERE, (town.behind, throw_away), town.behind, (town.node, say_ended)):
        at_ms = town.node.clock.now_ms
        withdrawn = ask(lambda ledger: withdraw(ledger, town.consent), first, town.node, at_ms=at_ms)
        assert isinstance(withdrawn.shown, Proven) and withdrawn.shown.value.ended is not None


def test_the_node_that_settled_a_question_is_asked_first_from_then_on() -> None:
    town = make_town()

    async def twice(ledger: LedgerClient) -> list[str]:
        await ledger.member(BANK)
        return [client.url for client in ledger.nodes.clients]

    urls = ask(twice, NOWHERE, town.node)
    assert urls[-1] == NOWHERE and len(urls) == 2


def test_where_nobody_settles_it_each_answer_is_told_with_its_node() -> None:
    town = make_town()
    with pytest.raises(Unproven) as unshown:
        ask(
            lambda ledger: require_over(ledger, town.consent),
            (town.node, say_unknown),
            (town.behind, say_unknown),
        )
    assert unshown.value.code == "unproven"
    town.node.extend(make_transaction("hk-operator", town.consent.grant))
    with pytest.raises(ErasureRefused, match="withdraw it first"):
        ask(lambda ledger: require_over(ledger, town.consent), NOWHERE, town.node)


def test_silence_is_unreachable_and_a_refusal_of_an_act_is_the_nodes_word() -> None:
    town = make_town()
    with pytest.raises(Unreachable):
        asyncio.run(ask_nowhere())
    expired = make_consent(START_MS - DAY_MS)
    with pytest.raises(RefusedByNode) as refused:
        ask(lambda ledger: grant(ledger, expired), town.node)
    assert refused.value.code == "expired" and "says" in refused.value.where


async def ask_nowhere() -> None:
    async with LedgerClient.connect([NOWHERE], ROOT, lambda: START_MS) as ledger:
        await ledger.member(BANK)


def test_two_blocks_of_one_height_end_all_belief() -> None:
    town = make_town()
    town.behind.clock.now_ms += 1
    town.behind.extend()
    town.node.extend()

    async def both(ledger: LedgerClient) -> None:
        for client in ledger.nodes.clients:
            alone = Nodes([client])
            ledger.nodes = alone
            await ledger.member(BANK)

    with pytest.raises(TwoHistories, match="verifies too"):
        ask(both, town.node, town.behind)


def test_what_is_remembered_of_headers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgerclient, "HEADERS_REMEMBERED_MAX", 3)
    town = make_town()

    async def often(ledger: LedgerClient) -> list[int]:
        for _ in range(5):
            town.node.extend()
            await ledger.member(BANK)
        return list(ledger._hashes)

    height = town.node.ledger.tip.header.height
    assert ask(often, town.node, at_ms=town.node.clock.now_ms) == [height + 3, height + 4, height + 5]


# -- consents ---------------------------------------------------------------------------------------------------


def test_a_consent_is_over_by_what_lasts_and_by_nothing_else() -> None:
    consent = make_consent(START_MS)
    body = consent.grant.decoded()
    place = consent_key(consent.consent_key, consent.consent_id)
    town = make_town()
    town.node.extend(make_transaction("hk-operator", consent.grant))
    standing = find(town.node.ledger.tip.state, Consent, place)
    town.node.extend(make_transaction("hk-operator", consent.withdrawal))
    ended = find(town.node.ledger.tip.state, Consent, place)
    until_ms, deadline_ms = body.terms.until_ms, body.submit_by_ms

    def shown(value: Consent | None, time_ms: int, key: bytes = place) -> Proven[Consent | None]:
        return Proven(value, key, 9, time_ms, bytes(32))

    for over in (shown(ended, 0), shown(standing, until_ms + 1), shown(None, deadline_ms + 1)):
        assert why_over(consent, over)
    for standing_still in (
        shown(standing, until_ms),
        shown(None, deadline_ms),
        shown(ended, 0, hash_of("another consent")),
        shown(None, until_ms + 1, hash_of("another consent")),
    ):
        assert why_over(consent, standing_still) is None


def test_a_consent_of_another_chain_is_refused_before_a_node_is_asked() -> None:
    foreign = make_consent(START_MS, chain_id=hash_of("another chain"))

    async def run() -> None:
        async with LedgerClient.connect([NOWHERE], ROOT, lambda: START_MS) as ledger:
            for act in (grant, withdraw, find_consent, require_over):
                with pytest.raises(LedgerError) as refused:
                    await act(ledger, foreign)
                assert refused.value.code == "wrong-chain"

    asyncio.run(run())


def test_without_a_root_nothing_is_proven_to_be_over() -> None:
    town = make_town()
    town.node.extend(make_transaction("hk-operator", town.consent.grant, town.consent.withdrawal))
    with pytest.raises(ErasureRefused, match="no trusted root"):
        ask(lambda ledger: require_over(ledger, town.consent), town.node, root=None)


def test_who_asks_is_known_before_anything_is_signed() -> None:
    town = make_town()
    request = town.consent.request
    who = ask(lambda ledger: who_asks(ledger, request, now_ms=START_MS), town.node)
    assert isinstance(who.recipient, Proven) and all(isinstance(each, Proven) for each in who.issuers)
    assert (who.recipient.value.id, *(each.value.id for each in who.issuers)) == (BANK, ISSUER)
    forged = Request(request.body, key_of("a liar").sign(REQUEST_TAG, request.body))
    with pytest.raises(RequestRefused, match="forged, or older than this key"):
        ask(lambda ledger: who_asks(ledger, forged, now_ms=START_MS), town.node)


def test_a_request_that_asks_for_too_long_is_refused_in_dates_before_anything_is_signed() -> None:
    town = make_town()
    limit_ms = PARAMETERS.consent_duration_max_ms
    body = town.consent.request.decoded()

    def who(until_ms: int) -> None:
        request = Request.sign(body_with(body, until_ms=until_ms), member_key_of(BANK))
        ask(lambda ledger: who_asks(ledger, request, now_ms=START_MS), town.node)

    who(START_MS + limit_ms)
    with pytest.raises(RequestRefused, match=r"at the latest 20\d\d-") as caught:
        who(START_MS + limit_ms + 1)
    assert (caught.value.code, f"{START_MS}" in f"{caught.value}") == ("consent-period", False)
    assert caught.value.cure is not None and "Ask the bank for a new request" in caught.value.cure
    with pytest.raises(RequestRefused, match="which is over") as caught:
        who(START_MS)
    assert caught.value.cure is not None and "set this device's clock" in caught.value.cure


def test_the_errors_rank_by_how_much_they_say() -> None:
    def error(
        kind: type[RefusedByNode | BadAnswer | Unreachable], code: str = "x"
    ) -> RefusedByNode | BadAnswer | Unreachable:
        return kind(code=code, where="w", expected="e", found="f", cure="c")

    refused, busy = error(RefusedByNode), error(RefusedByNode, "mempool-full")
    unproven, bad, away = error(Unproven), error(BadAnswer), error(Unreachable)
    order = [refused, unproven, bad, busy, away]
    for place, most in enumerate(order):
        found = ledgerclient._most_telling(list(reversed(order[place:])))
        assert found is most or (most is busy and isinstance(found, Unreachable) and found.code == busy.code)


# -- a real network --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_holder_before_a_liar_and_an_honest_node_of_a_real_network(tmp_path: Path) -> None:
    async def live() -> None:
        async with run_network(tmp_path / "network") as running:
            for process in running.processes.values():
                await process.node.wait_for_height(1)
            root = TrustedRoot(1, running.genesis, ())
            body = body_with(
                make_request(ROOT, now_ms()).decoded(),
                chain_id=root.chain_id,
                until_ms=now_ms() + DAY_MS,
                pin=root.newest_pin(now_ms()),
            )
            request = Request.sign(body, development_key_of(BANK))
            consent = grant_consent(
                request,
                key_of("a consent"),
                nonce=bytes(16),
                terms_salt=bytes(32),
                from_ms=now_ms() // DAY_MS * DAY_MS,
                submit_by_ms=now_ms() + 60_000,
            )
            honest = running.url("sz-operator")
            with lying(running.url("hk-operator"), throw_away) as liar:
                async with LedgerClient.connect([liar], root, now_ms) as ledger:
                    await who_asks(ledger, request, now_ms=now_ms())
                    with pytest.raises(Unproven):
                        await grant(ledger, consent)
                async with LedgerClient.connect([liar, honest], root, now_ms) as ledger:
                    granted = await grant(ledger, consent)
                    assert isinstance(granted.shown, Proven)
                    with pytest.raises(ErasureRefused):
                        await require_over(ledger, consent)
                    withdrawn: Recorded[Consent] = await withdraw(ledger, consent)
                    ended = withdrawn.shown.value.ended
                    assert ended is not None and withdrawn.is_new(ended.height)
                    over = await require_over(ledger, consent)
                    assert why_over(consent, over) is not None

    asyncio.run(live())
