"""The development consortium, and how a network of it is set up.

Rule 1: the development genesis follows from this page and `scenarios/` alone: the same bytes everywhere.
Rule 2: a network with fresh keys is a production chain, whose keys need a passphrase.
Rule 3: a network is written whole or not at all, and never over something that exists.

All institutions here are invented.
"""

import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.encoding.keys import SEED_SIZE, SUITE, PrivateKey
from ledger.genesis import (
    DEVELOPMENT,
    GENESIS_VERSION,
    PRODUCTION,
    Genesis,
    GenesisContent,
    GenesisMember,
    GenesisNode,
    sign_genesis,
)
from ledger.rules.operations import next_key_commitment
from ledger.rules.state import (
    AUDITOR,
    GOVERNOR,
    ISSUER,
    OBSERVER,
    PROTOCOL,
    RECIPIENT,
    VALIDATOR,
    Parameters,
)
from node.consensus.config import Config
from node.consent.scenarios import Scenarios
from node.consent.textbundle import PackedTexts
from node.files.configfile import ConfigError
from node.files.durablefile import POSIX_FILES, write_fresh
from node.files.keyfiles import DevelopmentKey, Passphrase, Protection
from node.home import development as published
from node.home.development import development_identity, development_key
from node.home.home import GENESIS_FILE, TEXTS, Home, HomeKeys, format_genesis, fresh_directory
from node.home.settings import PORT_MAX, Address, HomeSettings, NodeSettings
from node.network.tls import make_identity

LOOPBACK: Final = "127.0.0.1"
BASE_PORT_MIN: Final = 1_024
NETWORK_DEVELOPMENT: Final = "luohu-development"
NETWORK_PRODUCTION: Final = "luohu"
DEVELOPMENT_TIME_MS: Final = 1_767_225_600_000
"""2026-01-01T00:00:00Z."""

MAINLAND: Final = "CN"
HONG_KONG: Final = "HK"
PARAMETERS: Final = Parameters(
    block_size_max=2 * 1024 * 1024,
    block_operations_max=10_000,
    block_signatures_max=4_000,
    transaction_horizon_ms=3_600_000,
    consent_duration_max_ms=366 * 86_400_000,
    protocol=PROTOCOL,
    protocol_height=0,
)


@dataclass(frozen=True, slots=True)
class Founder:
    """A founding member: its names, side of the border, roles, and the kind of its node, if any."""

    id: str
    name_zh_hans: str
    name_zh_hant: str
    name_en: str
    jurisdiction: str
    roles: tuple[str, ...]
    node: str | None


FOUNDERS: Final = (
    Founder(
        "auditor",
        "分水岭样本审计（虚构）",
        "分水嶺樣本審計（虛構）",
        "Watershed Sample Auditors (fictitious)",
        HONG_KONG,
        (AUDITOR,),
        OBSERVER,
    ),
    Founder(
        "hk-bank",
        "洋紫荆湾样本银行（虚构）",
        "洋紫荊灣樣本銀行（虛構）",
        "Bauhinia Bay Sample Bank (fictitious)",
        HONG_KONG,
        (RECIPIENT,),
        None,
    ),
    Founder(
        "hk-bureau",
        "狮子石样本信贷资料（虚构）",
        "獅子石樣本信貸資料（虛構）",
        "Lion Stone Sample Credit Bureau (fictitious)",
        HONG_KONG,
        (GOVERNOR, ISSUER),
        VALIDATOR,
    ),
    Founder(
        "hk-operator",
        "维港样本数据运营（虚构）",
        "維港樣本數據營運（虛構）",
        "Harbour Sample Data Operations (fictitious)",
        HONG_KONG,
        (GOVERNOR,),
        VALIDATOR,
    ),
    Founder(
        "mainland-bank",
        "荔枝园样本银行（虚构）",
        "荔枝園樣本銀行（虛構）",
        "Lychee Garden Sample Bank (fictitious)",
        MAINLAND,
        (GOVERNOR, RECIPIENT),
        VALIDATOR,
    ),
    Founder(
        "mainland-bureau",
        "莲花坡样本征信（虚构）",
        "蓮花坡樣本徵信（虛構）",
        "Lotus Slope Sample Credit Reference (fictitious)",
        MAINLAND,
        (ISSUER,),
        None,
    ),
    Founder(
        "sz-operator",
        "梧桐样本数据运营（虚构）",
        "梧桐樣本數據營運（虛構）",
        "Wutong Sample Data Operations (fictitious)",
        MAINLAND,
        (GOVERNOR,),
        VALIDATOR,
    ),
)
"""The founding members in order of id."""

NODES_COUNT: Final = sum(founder.node is not None for founder in FOUNDERS)


@dataclass(frozen=True, slots=True)
class Network:
    """A network as written: its genesis and the opened homes by member id."""

    directory: Path
    genesis: Genesis
    homes: dict[str, Home]
    keys_are_in_the_clear: bool


def development_keys(founder: Founder) -> HomeKeys:
    """Return the published keys of a founder."""
    validates = founder.node == VALIDATOR
    return HomeKeys(
        member=development_key(founder.id, published.MEMBER),
        member_next=development_key(founder.id, published.MEMBER_NEXT),
        validator=development_key(founder.id, published.VALIDATOR) if validates else None,
        validator_next=development_key(founder.id, published.VALIDATOR_NEXT) if validates else None,
        tls=development_identity(founder.id) if founder.node is not None else None,
    )


def fresh_keys(founder: Founder, random: Callable[[int], bytes]) -> HomeKeys:
    """Return new keys for a founder. `random` gives that many secret random bytes."""
    validates = founder.node == VALIDATOR
    return HomeKeys(
        member=PrivateKey.from_seed(random(SEED_SIZE)),
        member_next=PrivateKey.from_seed(random(SEED_SIZE)),
        validator=PrivateKey.from_seed(random(SEED_SIZE)) if validates else None,
        validator_next=PrivateKey.from_seed(random(SEED_SIZE)) if validates else None,
        tls=make_identity(founder.id) if founder.node is not None else None,
    )


def development_genesis(scenarios: Scenarios) -> Genesis:
    """Return the genesis of the development consortium, the same on every machine."""
    keys = {founder.id: development_keys(founder) for founder in FOUNDERS}
    return found(keys, scenarios, network=NETWORK_DEVELOPMENT, use=DEVELOPMENT, time_ms=DEVELOPMENT_TIME_MS)


def found(
    keys: dict[str, HomeKeys], scenarios: Scenarios, *, network: str, use: str, time_ms: int
) -> Genesis:
    """Return the consortium's genesis with these keys, signed by all members."""
    content = GenesisContent(
        version=GENESIS_VERSION,
        suite=SUITE,
        network=network,
        use=use,
        jurisdictions=(MAINLAND, HONG_KONG),
        time_ms=time_ms,
        parameters=PARAMETERS,
        members=tuple(_member(founder, keys[founder.id]) for founder in FOUNDERS),
        schemas=scenarios.schemas,
        purposes=scenarios.purposes,
    )
    return sign_genesis(content, {member: each.member for member, each in keys.items()})


def new_network(
    directory: Path,
    *,
    development: bool,
    passphrase: Passphrase | None,
    base_port: int | None,
    random: Callable[[int], bytes],
    now_ms: int,
    scenarios: Scenarios,
    texts: PackedTexts | None = None,
    tuning: Config | None = None,
) -> Network:
    """Write `directory` with a genesis and a home for each member, all on loopback.

    Development: published keys, in the clear where there is no passphrase. Otherwise fresh keys on a
    production chain founded at `now_ms`. Without `base_port`, ports are chosen that are free now. Each home
    gets `texts` in a folder of its own. Raises ConfigError, KeyFileError or OSError; then nothing is left.
    """
    protection: Protection = DevelopmentKey() if passphrase is None else passphrase
    if passphrase is None and not development:
        cure = "give a passphrase, or make a development network"
        raise ConfigError(
            where=f"{directory}", expected="a passphrase for fresh keys", found="none", cure=cure
        )
    ports = free_ports(2 * NODES_COUNT) if base_port is None else _ports(base_port, 2 * NODES_COUNT)
    if development:
        keys = {founder.id: development_keys(founder) for founder in FOUNDERS}
        genesis = development_genesis(scenarios)
    else:
        keys = {founder.id: fresh_keys(founder, random) for founder in FOUNDERS}
        genesis = found(keys, scenarios, network=NETWORK_PRODUCTION, use=PRODUCTION, time_ms=now_ms)
    settings = _settings(ports, tuning or Config(), None if texts is None else TEXTS)
    with fresh_directory(directory) as fresh:
        write_fresh(POSIX_FILES, fresh / GENESIS_FILE, format_genesis(genesis))
        for member, each in keys.items():
            Home.create(
                fresh / member,
                genesis=genesis,
                settings=settings[member],
                keys=each,
                protection=protection,
                texts=texts,
            )
    homes = {founder.id: Home.open(directory / founder.id) for founder in FOUNDERS}
    return Network(directory, genesis, homes, keys_are_in_the_clear=passphrase is None)


def _member(founder: Founder, keys: HomeKeys) -> GenesisMember:
    node = None
    if founder.node is not None:
        assert keys.tls is not None, "every node has a TLS identity"
        node = GenesisNode(
            kind=founder.node,
            validator_key=keys.validator.public if keys.validator is not None else None,
            next_validator_key=(
                next_key_commitment(keys.validator_next.public) if keys.validator_next is not None else None
            ),
            tls_certificate=keys.tls.certificate,
        )
    return GenesisMember(
        id=founder.id,
        name_zh_hans=founder.name_zh_hans,
        name_zh_hant=founder.name_zh_hant,
        name_en=founder.name_en,
        jurisdiction=founder.jurisdiction,
        roles=founder.roles,
        key=keys.member.public,
        next_key=next_key_commitment(keys.member_next.public),
        node=node,
    )


def _settings(ports: tuple[int, ...], tuning: Config, texts: str | None) -> dict[str, HomeSettings]:
    nodes = [founder.id for founder in FOUNDERS if founder.node is not None]
    listen = {member: Address(LOOPBACK, ports[2 * index]) for index, member in enumerate(nodes)}
    api = {member: Address(LOOPBACK, ports[2 * index + 1]) for index, member in enumerate(nodes)}
    settings = {founder.id: HomeSettings(founder.id, None, texts) for founder in FOUNDERS}
    for member in nodes:
        peers = {other: address for other, address in listen.items() if other != member}
        node = NodeSettings(listen[member], api[member], peers, tuning)
        settings[member] = HomeSettings(member, node, texts)
    return settings


def _ports(base_port: int, count: int) -> tuple[int, ...]:
    last = PORT_MAX - count + 1
    if not BASE_PORT_MIN <= base_port <= last:
        expected = f"a port from {BASE_PORT_MIN} to {last}"
        raise ConfigError(where="base port", expected=expected, found=f"{base_port}", cure="choose another")
    return tuple(range(base_port, base_port + count))


def free_ports(count: int) -> tuple[int, ...]:
    """Return ports that were free at one moment, all held open until each is known."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket(socket.AF_INET)) for _ in range(count)]
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return tuple(int(each.getsockname()[1]) for each in sockets)
