"""The consortium that is put under chaos: four to seven validators on both sides of the border, on one machine.

Every member is governor, issuer and recipient, so that any can do anything. Ports lie below those that the
system gives to outgoing connections: a node that is down for a while finds its own port free again.
"""

import random
import socket
from dataclasses import dataclass
from pathlib import Path

from ledger.encoding.keys import SUITE, PrivateKey
from ledger.genesis import (
    DEVELOPMENT,
    GENESIS_VERSION,
    Genesis,
    GenesisContent,
    GenesisMember,
    GenesisNode,
    GenesisPurpose,
    GenesisSchema,
    sign_genesis,
)
from ledger.rules.operations import next_key_commitment
from ledger.rules.state import GOVERNOR, ISSUER, OBSERVER, RECIPIENT, VALIDATOR
from node.consensus.config import Config
from node.files.keyfiles import DevelopmentKey
from node.home import development as published
from node.home.consortium import DEVELOPMENT_TIME_MS, HONG_KONG, MAINLAND, PARAMETERS
from node.home.development import development_identity, development_key
from node.home.home import Home, HomeKeys
from node.home.settings import Address, HomeSettings, NodeSettings
from tests.campaigns.chaos.links import LOOPBACK, Links

MEMBERS_MIN, MEMBERS_MAX = 4, 7
PORT_MIN, PORT_MAX = 20_000, 32_000
SCHEMA, PURPOSE = "chaos.report", "chaos.loan"


@dataclass(frozen=True, slots=True)
class Consortium:
    """The members in order of id, their homes and their links."""

    genesis: Genesis
    homes: dict[str, Home]
    links: Links

    @property
    def members(self) -> tuple[str, ...]:
        """Every member; each runs a validator."""
        return tuple(self.homes)

    @property
    def faulty_max(self) -> int:
        """How many may fail at once."""
        return (len(self.homes) - 1) // 3

    def url(self, member: str) -> str:
        """Return where a member's API is."""
        return f"http://{self.homes[member].require_node().api}"


def member_key(member: str) -> PrivateKey:
    """Return the key that signs a member's transactions."""
    return development_key(member, published.MEMBER)


def jurisdiction(member: str) -> str:
    """Return a member's side of the border: they alternate."""
    return HONG_KONG if int(member[-1]) % 2 else MAINLAND


def found(
    directory: Path, members_count: int, source: random.Random, *, observer: str | None = None
) -> Consortium:
    """Write a home for each member and open the links between them; an observer's node does not vote."""
    assert MEMBERS_MIN <= members_count <= MEMBERS_MAX, f"{MEMBERS_MIN} to {MEMBERS_MAX} members"
    members = [f"member-{number}" for number in range(1, members_count + 1)]
    members += [observer] if observer is not None else []
    ports = free_ports(2 * len(members))
    listen = dict(zip(members, ports[: len(members)], strict=True))
    api = dict(zip(members, ports[len(members) :], strict=True))
    links = Links(listen, source)
    links.open()
    genesis = make_genesis(members, observer)
    homes = {}
    directory.mkdir(parents=True)
    for member in members:
        peers = {
            other: Address(LOOPBACK, links.addresses[member, other]) for other in members if other != member
        }
        node = NodeSettings(
            Address(LOOPBACK, listen[member]), Address(LOOPBACK, api[member]), peers, Config()
        )
        homes[member] = Home.create(
            directory / member,
            genesis=genesis,
            settings=HomeSettings(member, node),
            keys=make_keys(member, votes=member != observer),
            protection=DevelopmentKey(),
        )
    return Consortium(genesis, homes, links)


def make_genesis(members: list[str], observer: str | None = None) -> Genesis:
    """Return the genesis of these members, signed by all of them."""
    content = GenesisContent(
        version=GENESIS_VERSION,
        suite=SUITE,
        network="luohu-chaos",
        use=DEVELOPMENT,
        jurisdictions=("CN", "HK"),
        time_ms=DEVELOPMENT_TIME_MS,
        parameters=PARAMETERS,
        members=tuple(_member(member, votes=member != observer) for member in members),
        schemas=(GenesisSchema(SCHEMA, 0, None),),
        purposes=(GenesisPurpose(PURPOSE, (bytes(32),)),),
    )
    return sign_genesis(content, {member: member_key(member) for member in members})


def make_keys(member: str, *, votes: bool) -> HomeKeys:
    """Return a member's published keys."""
    return HomeKeys(
        member=member_key(member),
        member_next=development_key(member, published.MEMBER_NEXT),
        validator=development_key(member, published.VALIDATOR) if votes else None,
        validator_next=development_key(member, published.VALIDATOR_NEXT) if votes else None,
        tls=development_identity(member),
    )


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now."""
    found: list[int] = []
    for port in random.SystemRandom().sample(range(PORT_MIN, PORT_MAX), 50 * count):
        with socket.socket(socket.AF_INET) as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"expected {count} free ports from {PORT_MIN} to {PORT_MAX}, found {len(found)}")


def _member(member: str, *, votes: bool) -> GenesisMember:
    keys = make_keys(member, votes=votes)
    assert keys.tls is not None, "every member here runs a node"
    return GenesisMember(
        id=member,
        name_zh_hans=f"样本 {member}",
        name_zh_hant=f"樣本 {member}",
        name_en=f"Sample {member}",
        jurisdiction=jurisdiction(member),
        roles=(GOVERNOR, ISSUER, RECIPIENT),
        key=keys.member.public,
        next_key=next_key_commitment(keys.member_next.public),
        node=GenesisNode(
            kind=VALIDATOR if votes else OBSERVER,
            validator_key=None if keys.validator is None else keys.validator.public,
            next_validator_key=(
                None if keys.validator_next is None else next_key_commitment(keys.validator_next.public)
            ),
            tls_certificate=keys.tls.certificate,
        ),
    )
