"""A running node's TLS certificate is replaced: as governance has it, on the chain, or wrongly, on the disk.

Rule 1: a rotation goes through `luohu key rotate`, as an operator does it, under load; a call that failed is repeated.
Rule 2: a rotation is recorded while its node runs, is killed right after, or is down: then the node's own state still
names the replaced certificate. In every case the node must be connected with all the others again.
Rule 3: a node whose registered certificate is not in its home says which one it misses, and has no peers, or does not
start where no other one opens. Its peers hang up on whoever shows another one under its name, and take the registered
one at the same address at the same time.
Rule 4: with the right files back, the node is as it was.
"""

import asyncio
import json
import random
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from node.client.client import Client
from node.errors import ClientError
from node.files.keyfiles import DevelopmentKey
from node.home.home import KEYS, TLS_CERTIFICATES, Home
from node.home.tlsfiles import create_tls_files
from node.network.dialer import DialFailed, dial_unpinned, make_session
from node.network.hello import INCARNATION_SIZE, Hello
from node.network.limits import Timing
from node.network.registry import Peer, PeerKind
from node.network.tls import TlsIdentity, decode_certificate_pem, make_fetching_context, make_identity
from tests.campaigns.chaos.faults import World
from tests.campaigns.chaos.history import Rotated
from tests.campaigns.chaos.nodes import LOG_SHOWN_MAX, Stuck

ROTATION_S = 60.0
PAUSE_S = 0.3
ANSWER_S = 5.0
WELCOME_S = 30.0
AMONG_RUNNING, KILLED_AFTER, WHILE_DOWN = "while it runs", "and is killed after", "while it is down"
OWN_NODE = "through its own node"
STRANGER, OTHER_MEMBER, CERTIFICATE_ALONE, KEY_ALONE = (
    "a stranger's",
    "another member's",
    "certificate",
    "key",
)
NAMED = re.compile(r"registered for|whose certificate this is|a TLS key that opens and fits its certificate")


async def rotate_certificate(world: World, member: str, source: random.Random) -> str:
    """A node's certificate is replaced on the chain."""
    how = source.choice((OWN_NODE, AMONG_RUNNING, KILLED_AFTER, WHILE_DOWN))
    if how == WHILE_DOWN:
        world.nodes.kill(member)
    rotated = await _rotate(world, member, source, is_own_asked=how == OWN_NODE)
    world.rotations.append(rotated)
    if how == KILLED_AFTER:
        world.nodes.kill(member)
    if how in (KILLED_AFTER, WHILE_DOWN):
        await asyncio.sleep(world.pace * source.uniform(0, 1))
        world.nodes.start(member)
    return f"number {rotated.sequence} at height {rotated.height}, {how}"


async def _rotate(world: World, member: str, source: random.Random, *, is_own_asked: bool) -> Rotated:
    command = ("-m", "cli.main", "key", "rotate", "--role", "tls", "--json", "--home")
    began = time.monotonic()
    while True:
        # Another fault may have taken whom the last call asked.
        asked = member if is_own_asked else source.choice(_running_others(world, member))
        where = (str(world.nodes.home(member)), "--url", world.consortium.url(asked))
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, *where, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        output, log = await process.communicate()
        if process.returncode == 0:
            answer = json.loads(output)
            return Rotated(member, answer["sequence"], answer["height"])
        said = (output + log).decode(errors="replace")
        if process.returncode not in (1, 3) or time.monotonic() - began > ROTATION_S:
            raise Stuck(f"the certificate of {member} is not rotated: {said[-LOG_SHOWN_MAX:]}")
        await asyncio.sleep(PAUSE_S)


def _running_others(world: World, member: str) -> list[str]:
    return [other for other in world.nodes.running() if other != member]


async def swap_certificate(world: World, member: str, source: random.Random) -> str:
    """A node's certificate on disk is not its own any more: it must say so, and peers must not take it for the node."""
    what = source.choice((STRANGER, OTHER_MEMBER, CERTIFICATE_ALONE, KEY_ALONE))
    home = world.consortium.homes[member]
    wrong = make_identity(member)
    if what == OTHER_MEMBER:
        other = source.choice([other for other in world.members if other != member])
        wrong = await _registered_identity(world, other, member)
    right = await _registered_identity(world, member, member)
    with _swapped(home, right, wrong, what):
        # What it has in memory is right: nothing happens before it starts anew.
        await asyncio.sleep(world.pace * source.uniform(0.1, 1))
        if world.nodes.has_ended(member):
            raise Stuck(f"{member} ended as the files of its certificate were swapped")
        world.nodes.kill(member)
        await _check_peers_hang_up(world, member, right=right, wrong=wrong)
        world.nodes.start(member)
        if await world.nodes.wait_until_answering(member):
            await _check_without_peers(world, member, what)
            log = world.nodes.log_since_start(member)
            world.nodes.kill(member)
        else:
            log = world.nodes.log_since_start(member)
            world.nodes.forget(member)
        if NAMED.search(log) is None:
            raise Stuck(f"{member} does not say that its certificate is wrong: {log[-LOG_SHOWN_MAX:]}")
    world.nodes.start(member)
    said = " ".join(log[log.index("expected") :].split())[:160]
    return f"{what}; it said: {said}"


async def _check_without_peers(world: World, member: str, what: str) -> None:
    await asyncio.sleep(world.pace)
    async with asyncio.timeout(ANSWER_S), Client.connect(world.consortium.url(member)) as client:
        connected = (await client.status()).peers_connected
    if connected:
        raise Stuck(f"{member} has peers {connected} though its home has {what} in place of its certificate")


async def _registered_identity(world: World, member: str, asked: str) -> TlsIdentity:
    """Return what is registered for a member, from its home, as a node that has caught up says. Raises Stuck."""
    began = time.monotonic()
    while time.monotonic() - began < ROTATION_S:
        try:
            async with asyncio.timeout(ANSWER_S), Client.connect(world.consortium.url(asked)) as client:
                registered = (await client.node(member)).tls_certificate
        except (ClientError, TimeoutError):
            await asyncio.sleep(PAUSE_S)
            continue
        found = world.consortium.homes[member].find_tls_identity(DevelopmentKey(), registered)
        assert found is not None, "a home has what was registered from it"
        return found
    raise Stuck(f"{asked} does not say what is registered for {member}")


@contextmanager
def _swapped(home: Home, right: TlsIdentity, wrong: TlsIdentity, what: str) -> Iterator[None]:
    """Have another certificate, another key, or both, in the place of the registered ones."""
    keys = home.path / KEYS
    certificate = _file_of(home, right)
    key = certificate.with_suffix(".pem")
    aside = home.path / "aside"
    shutil.copytree(keys, aside)
    key.unlink()
    certificate.unlink()
    create_tls_files(key=key, certificate=certificate, identity=wrong, protection=DevelopmentKey())
    if what == CERTIFICATE_ALONE:
        _copy(aside / key.name, key)
    if what == KEY_ALONE:
        _copy(aside / certificate.name, certificate)
    try:
        yield
    finally:
        for path in (key, certificate):
            _copy(aside / path.name, path)
        shutil.rmtree(aside)


def _copy(kept: Path, path: Path) -> None:
    path.unlink()
    shutil.copy2(kept, path)


def _file_of(home: Home, identity: TlsIdentity) -> Path:
    paths = (home.path / KEYS).glob(TLS_CERTIFICATES)
    return next(path for path in paths if decode_certificate_pem(path.read_bytes()) == identity.certificate)


async def _check_peers_hang_up(world: World, member: str, *, right: TlsIdentity, wrong: TlsIdentity) -> None:
    for other in _running_others(world, member):
        if await _is_welcome(world, member, other, wrong):
            raise Stuck(f"{other} takes another certificate for that of {member}")
        began = time.monotonic()
        # Another fault may hold that node back meanwhile.
        while other in world.nodes.running() and not await _is_welcome(world, member, other, right):
            if time.monotonic() - began > WELCOME_S:
                raise Stuck(f"{other} hangs up on the registered certificate of {member}")
            await asyncio.sleep(PAUSE_S)


async def _is_welcome(world: World, member: str, other: str, shown: TlsIdentity) -> bool:
    """Say whether a node exchanges hellos with whoever shows this under that member's name."""
    content = world.consortium.genesis.content
    peer = Peer(
        shown.certificate, str(world.consortium.homes[other].require_node().listen), PeerKind.VALIDATOR
    )
    session = make_session()
    try:
        socket, _ = await dial_unpinned(
            session,
            other,
            peer,
            hello=Hello(content.chain_id, bytes(INCARNATION_SIZE), member),
            context=make_fetching_context(shown),
            timing=Timing(),
        )
        await socket.close()
    except DialFailed:
        return False
    finally:
        await session.close()
    return True
