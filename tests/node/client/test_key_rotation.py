"""Rotations from a home: what a crash at any step leaves is used or finished by the next try."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.rules.operations import next_key_commitment
from ledger.rules.state import Member, Node, find, member_key, node_key
from ledger.trust import TrustedRoot
from node.client.client import Client
from node.client.ledgerclient import LedgerClient
from node.client.nodes import Nodes
from node.client.rotation import Rotated, Rotation
from node.consensus.config import Config
from node.errors import RefusedByNode, Unproven, Unreachable
from node.files.keyfiles import DevelopmentKey, KeyFileError
from node.home.home import Home, HomeKeys
from node.home.settings import Address, HomeSettings, NodeSettings
from node.network.tls import TlsIdentity, make_identity
from node.registered import Registered
from node.storage.store import Store
from tests.support.consortium import START_MS, key_of, make_genesis, member_key_of
from tests.support.lying_relay import Lie, lying, say_unknown, throw_away
from tests.support.memory_node import MemoryNode, serve

MEMBER = "hk-bureau"
PLAIN = DevelopmentKey()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.create(
        tmp_path / "home",
        genesis=make_genesis(),
        settings=HomeSettings(
            MEMBER, NodeSettings(Address("127.0.0.1", 1), Address("127.0.0.1", 2), {}, tuning=Config())
        ),
        keys=HomeKeys(
            member=member_key_of(MEMBER),
            member_next=member_key_of(MEMBER, 1),
            validator=key_of(f"{MEMBER} validator"),
            validator_next=key_of(f"{MEMBER} next validator"),
            tls=make_identity(MEMBER),
        ),
        protection=PLAIN,
    )


class Crash(Exception):
    """What a test raises in place of a crash."""


class CrashingClient(Client):
    """Ends the process, as it were, before or after a transaction was submitted."""

    crashes_before = False

    async def submit(self, transactions, *, wait_ms=10_000):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        if not self.crashes_before:
            await super().submit(transactions, wait_ms=wait_ms)
        raise Crash


Scenario = Callable[[MemoryNode, Rotation, CrashingClient], Awaitable[None]]


def play(home: Home, scenario: Scenario) -> None:
    async def run() -> None:
        node = MemoryNode()
        node.extend()
        async with serve(node) as url, Client.connect(url) as client, CrashingClient.connect(url) as crashing:
            assert isinstance(crashing, CrashingClient)
            rotation = Rotation(under_root(client), home, PLAIN, lambda: START_MS + 60_000)
            await scenario(node, rotation, crashing)

    asyncio.run(run())


def under_root(client: Client) -> LedgerClient:
    return LedgerClient(Nodes([client]), TrustedRoot(1, make_genesis(), ()), lambda: START_MS + 60_000)


def member_of(node: MemoryNode) -> Member:
    found = find(node.ledger.tip.state, Member, member_key(MEMBER))
    assert found is not None
    return found


def node_of(node: MemoryNode) -> Node:
    found = find(node.ledger.tip.state, Node, node_key(MEMBER))
    assert found is not None
    return found


def interrupted(rotation: Rotation, client: CrashingClient, *, before: bool) -> Rotation:
    client.crashes_before = before
    return Rotation(under_root(client), rotation.home, rotation.protection, rotation.now_ms)


def check_member_home(home: Home, node: MemoryNode) -> None:
    """Check that the home's keys are the registered ones."""
    member = member_of(node)
    assert home.load_member_key(PLAIN).public == member.key
    assert next_key_commitment(home.load_next_member_key(PLAIN).public) == member.next_key


def test_a_member_key_moves_on_and_the_old_one_is_kept(home: Home) -> None:
    async def scenario(node: MemoryNode, rotation: Rotation, _: CrashingClient) -> None:
        first = await rotation.rotate_member_key()
        assert (first.sequence, first.height) == (1, 2)
        check_member_home(home, node)
        assert (home.path / "keys" / "member-retired-0.pem").exists()
        assert not (home.path / "keys" / "member-after.pem").exists()
        assert (await rotation.rotate_member_key()).sequence == 2
        check_member_home(home, node)

    play(home, scenario)


@pytest.mark.parametrize("before", [True, False])
def test_a_member_rotation_survives_a_crash_around_its_submission(home: Home, before: bool) -> None:
    async def scenario(node: MemoryNode, rotation: Rotation, client: CrashingClient) -> None:
        with pytest.raises(Crash):
            await interrupted(rotation, client, before=before).rotate_member_key()
        prepared = (home.path / "keys" / "member-after.pem").read_bytes()
        again = await rotation.rotate_member_key()
        assert again == Rotated("member", 1, 2 if before else None)
        check_member_home(home, node)
        assert (home.path / "keys" / "member-next.pem").read_bytes() == prepared

    play(home, scenario)


@pytest.mark.parametrize("step", ["retired", "moved"])
def test_a_member_rotation_survives_a_crash_between_its_files(home: Home, step: str) -> None:
    async def scenario(node: MemoryNode, rotation: Rotation, client: CrashingClient) -> None:
        with pytest.raises(Crash):
            await interrupted(rotation, client, before=False).rotate_member_key()
        keys = home.path / "keys"
        (keys / "member-retired-0.pem").hardlink_to(keys / "member.pem")
        if step == "moved":
            (keys / "member-next.pem").replace(keys / "member.pem")
        assert (await rotation.rotate_member_key()).sequence == 1
        check_member_home(home, node)
        assert (await rotation.rotate_member_key()).sequence == 2
        check_member_home(home, node)

    play(home, scenario)


def test_a_home_without_the_registered_keys_rotates_nothing(home: Home) -> None:
    async def scenario(node: MemoryNode, rotation: Rotation, _: CrashingClient) -> None:
        (home.path / "keys" / "member-next.pem").unlink()
        with pytest.raises(RefusedByNode, match="committed to as"):
            await rotation.rotate_member_key()
        (home.path / "keys" / "validator-next.pem").unlink()
        with pytest.raises(RefusedByNode, match="governance sets other keys"):
            await rotation.rotate_validator_key()
        assert member_of(node).key_sequence == 0

    play(home, scenario)


def test_a_foreign_member_key_in_the_home_is_refused(home: Home) -> None:
    async def scenario(_node: MemoryNode, rotation: Rotation, _: CrashingClient) -> None:
        keys = home.path / "keys"
        (keys / "validator.pem").replace(keys / "member.pem")
        with pytest.raises(KeyFileError):
            await rotation.rotate_member_key()

    play(home, scenario)


@pytest.mark.parametrize("before", [True, False])
def test_a_validator_key_is_found_by_what_is_registered_whatever_crashed(home: Home, before: bool) -> None:
    async def scenario(node: MemoryNode, rotation: Rotation, client: CrashingClient) -> None:
        old = node_of(node).validator_key
        with pytest.raises(Crash):
            await interrupted(rotation, client, before=before).rotate_validator_key()
        assert (home.path / "keys" / "validator-2.pem").exists()
        if before:
            assert (await rotation.rotate_validator_key()).sequence == 1
        registered = node_of(node)
        assert registered.validator_key_sequence == 1
        for key in (old, registered.validator_key):
            assert key is not None
            found = home.find_validator_key(PLAIN, key)
            assert found is not None and found.public == key
        assert registered.next_validator_key is not None
        assert home.find_committed_key(PLAIN, "validator", registered.next_validator_key) is not None
        node.extend()
        assert (await rotation.rotate_validator_key()).sequence == 2

    play(home, scenario)


@pytest.mark.parametrize("before", [True, False])
def test_a_tls_identity_is_found_by_what_is_registered_whatever_crashed(home: Home, before: bool) -> None:
    async def scenario(node: MemoryNode, rotation: Rotation, client: CrashingClient) -> None:
        with pytest.raises(Crash):
            await interrupted(rotation, client, before=before).rotate_tls_certificate()
        if before:
            assert (await rotation.rotate_tls_certificate()).sequence == 1
        registered = node_of(node)
        found = home.find_tls_identity(PLAIN, registered.tls_certificate)
        assert isinstance(found, TlsIdentity) and registered.tls_sequence == 1
        first = home.load_tls_identity(PLAIN)
        assert home.find_tls_identity(PLAIN, first.certificate) == first
        assert home.find_tls_identity(PLAIN, make_identity(MEMBER).certificate) is None

    play(home, scenario)


def test_a_tls_key_whose_certificate_was_never_written_is_made_anew(home: Home) -> None:
    async def scenario(node: MemoryNode, rotation: Rotation, _: CrashingClient) -> None:
        keys = home.path / "keys"
        (keys / "tls-1.pem").write_bytes((keys / "tls.pem").read_bytes())
        (keys / "tls-1.pem").chmod(0o600)
        assert (await rotation.rotate_tls_certificate()).sequence == 1
        assert home.find_tls_identity(PLAIN, node_of(node).tls_certificate) is not None

    play(home, scenario)


def test_a_tls_rotation_uses_a_member_key_that_was_rotated_before(home: Home) -> None:
    async def scenario(node: MemoryNode, rotation: Rotation, client: CrashingClient) -> None:
        with pytest.raises(Crash):
            await interrupted(rotation, client, before=False).rotate_member_key()
        await rotation.rotate_tls_certificate()
        check_member_home(home, node)

    play(home, scenario)


def test_a_node_that_is_not_ready_rotates_nothing(home: Home) -> None:
    async def run() -> None:
        node = MemoryNode()
        async with serve(node) as url, Client.connect(url) as client:
            with pytest.raises(Unreachable):
                await Rotation(under_root(client), home, PLAIN, lambda: START_MS).rotate_member_key()
        assert not (home.path / "keys" / "member-after.pem").exists()

    asyncio.run(run())


def test_the_other_identities_of_a_home_are_its_newest(home: Home) -> None:
    first = home.load_tls_identity(PLAIN)
    assert home.other_tls_identities(PLAIN, first.certificate, 2) == ()
    made = {
        number: home.require_fresh_tls_identity(f"tls-{number}", PLAIN, make_identity(MEMBER))
        for number in (1, 2, 9, 10)
    }
    assert home.other_tls_identities(PLAIN, first.certificate, 2) == (made[10], made[9])
    assert home.other_tls_identities(PLAIN, made[10].certificate, 2) == (made[9], made[2])
    assert home.other_tls_identities(PLAIN, made[10].certificate, 9)[-1] == first
    assert home.other_tls_identities(PLAIN, made[10].certificate, 0) == ()


def test_an_identity_that_came_while_the_node_runs_is_one_of_the_others(home: Home) -> None:
    opened: list[bytes] = []

    def find_others(certificate: bytes, count_max: int) -> Sequence[TlsIdentity]:
        opened.append(certificate)
        return home.other_tls_identities(PLAIN, certificate, count_max)

    first = home.load_tls_identity(PLAIN)
    store = Store.open(home.path.parent / "chain", home.genesis)
    store.close()
    registered = Registered(
        store,
        member=MEMBER,
        addresses={},
        first_identity=first,
        find_identity=lambda certificate: home.find_tls_identity(PLAIN, certificate),
        list_identities=home.tls_names,
        find_other_identities=find_others,
        find_member_key=lambda _key: None,
    )
    assert registered.other_identities() == ()
    second = home.require_fresh_tls_identity("tls-1", PLAIN, make_identity(MEMBER))
    assert registered.other_identities() == (second,)
    third = home.require_fresh_tls_identity("tls-2", PLAIN, make_identity(MEMBER))
    assert [registered.other_identities() for _ in range(3)] == [(third, second)] * 3
    assert opened == [first.certificate] * 3, "keys are opened once for each rotation"


@pytest.mark.parametrize("lie", [throw_away, say_unknown], ids=["says final", "says nothing"])
def test_no_key_moves_for_a_rotation_that_a_node_threw_away(home: Home, lie: Lie) -> None:
    async def run() -> None:
        node = MemoryNode()
        node.extend()
        async with serve(node) as url, AsyncExitStack() as stack:
            liar = await stack.enter_async_context(Client.connect(stack.enter_context(lying(url, lie))))
            honest = await stack.enter_async_context(Client.connect(url))
            before = sorted((path.name, path.read_bytes()) for path in (home.path / "keys").glob("member*"))
            rotation = Rotation(under_root(liar), home, PLAIN, lambda: START_MS + 60_000)
            with pytest.raises(Unproven):
                await rotation.rotate_member_key()
            kept = {path.name: path.read_bytes() for path in (home.path / "keys").glob("member*")}
            assert all(kept[name] == content for name, content in before)
            assert member_of(node).key_sequence == 0
            # The liar has seen the next key now. It still cannot have the home believe that it is registered.
            ledger = LedgerClient(Nodes([liar, honest]), under_root(honest).root, lambda: START_MS + 60_000)
            assert (await replace(rotation, ledger=ledger).rotate_member_key()).sequence == 1
            check_member_home(home, node)

    asyncio.run(run())
