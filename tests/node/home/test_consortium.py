"""The development consortium: one genesis everywhere, and networks that are written whole or not at all."""

import os
import stat
from pathlib import Path

import pytest

from ledger.encoding.keys import PublicKey
from ledger.genesis import DEVELOPMENT, PRODUCTION, genesis_block, parse_genesis
from ledger.rules.operations import next_key_commitment
from ledger.rules.state import GOVERNOR, VALIDATOR
from node.consent.scenarios import load_scenarios, scenarios_directory
from node.consent.textfolder import load_texts, sample_texts
from node.files.configfile import ConfigError
from node.files.keyfiles import DevelopmentKey, KeyFileError, Passphrase
from node.home.consortium import (
    BASE_PORT_MIN,
    FOUNDERS,
    HONG_KONG,
    MAINLAND,
    NODES_COUNT,
    PARAMETERS,
    Network,
    development_genesis,
    new_network,
)
from node.home.development import (
    PUBLISHED_FOR,
    SIGNING_USES,
    development_identity,
    development_key,
    has_published_key,
    is_published,
)
from node.home.home import format_genesis
from node.home.settings import PORT_MAX
from node.network.tls import check_certificate, make_client_context, make_server_context
from tests.support.sources import ROOT

SCENARIOS = load_scenarios(scenarios_directory())
GENESIS_FILE = ROOT / "genesis.json"
NOW_MS = 1_790_000_000_000
PASSPHRASE = Passphrase.from_text("correct horse")


def make(
    directory: Path,
    *,
    development: bool = True,
    passphrase: Passphrase | None = None,
    base_port: int | None = None,
) -> Network:
    """Write a network."""
    return new_network(
        directory,
        development=development,
        passphrase=passphrase,
        base_port=base_port,
        random=os.urandom,
        now_ms=NOW_MS,
        scenarios=SCENARIOS,
    )


def test_the_published_genesis_is_what_the_consortium_gives_to_the_byte() -> None:
    # After a change to FOUNDERS, PARAMETERS or the codes in scenarios/: luohu network new DIR, copy its genesis.
    assert GENESIS_FILE.read_bytes() == format_genesis(development_genesis(SCENARIOS))


def test_the_published_genesis_is_signed_and_founds_a_development_chain() -> None:
    genesis = parse_genesis(GENESIS_FILE.read_bytes())
    assert genesis.content.use == DEVELOPMENT
    assert genesis.content.parameters == PARAMETERS
    assert genesis_block(genesis.content).block.header.chain_id == genesis.content.chain_id
    assert genesis.content.schemas == SCENARIOS.schemas
    assert genesis.content.purposes == SCENARIOS.purposes


def test_four_validators_govern_two_on_each_side_of_the_border() -> None:
    governors = {founder.id: founder.jurisdiction for founder in FOUNDERS if GOVERNOR in founder.roles}
    assert governors == {
        "sz-operator": MAINLAND,
        "mainland-bank": MAINLAND,
        "hk-operator": HONG_KONG,
        "hk-bureau": HONG_KONG,
    }
    assert {founder.id for founder in FOUNDERS if founder.node == VALIDATOR} == set(governors)


def test_every_name_says_that_it_is_invented() -> None:
    for founder in FOUNDERS:
        assert founder.name_zh_hans.endswith("（虚构）")
        assert founder.name_zh_hant.endswith("（虛構）")
        assert founder.name_en.endswith("(fictitious)")


def test_published_keys_are_known_as_such_and_others_are_not() -> None:
    assert tuple(founder.id for founder in FOUNDERS) == PUBLISHED_FOR
    for member in PUBLISHED_FOR:
        assert all(is_published(development_key(member, use).public, "someone") for use in SIGNING_USES)
    assert is_published(development_key("new-member", "member").public, "new-member")
    assert not is_published(PublicKey(1, bytes(32)), "sz-operator")


def test_the_published_tls_certificate_is_the_same_bytes_always_and_openssl_takes_it() -> None:
    identity = development_identity("sz-operator")
    assert identity == development_identity("sz-operator")
    assert identity != development_identity("hk-operator")
    check_certificate(identity.certificate)
    make_server_context(identity, [identity.certificate])
    make_client_context(identity, [identity.certificate])


def test_a_development_network_has_the_published_genesis_and_a_home_for_each_member(tmp_path: Path) -> None:
    network = make(tmp_path / "net")
    assert (tmp_path / "net" / "genesis.json").read_bytes() == GENESIS_FILE.read_bytes()
    assert set(network.homes) == {founder.id for founder in FOUNDERS}
    assert network.keys_are_in_the_clear
    for founder in FOUNDERS:
        home = network.homes[founder.id]
        assert home.member == founder.id and home.genesis == network.genesis
        assert (home.settings.node is None) == (founder.node is None)
        assert (home.path / "genesis.json").read_bytes() == GENESIS_FILE.read_bytes()


@pytest.mark.slow
def test_every_key_of_a_new_network_is_the_one_its_genesis_names(tmp_path: Path) -> None:
    network = make(tmp_path / "net", development=False, passphrase=PASSPHRASE)
    for member in network.genesis.content.members:
        home = network.homes[member.id]
        assert home.load_member_key(PASSPHRASE).public == member.key
        assert next_key_commitment(home.load_next_member_key(PASSPHRASE).public) == member.next_key
        if member.node is None:
            continue
        assert home.load_tls_identity(PASSPHRASE).certificate == member.node.tls_certificate
        if member.node.validator_key is not None:
            assert home.load_validator_key(PASSPHRASE).public == member.node.validator_key
            following = home.load_next_validator_key(PASSPHRASE).public
            assert next_key_commitment(following) == member.node.next_validator_key


def test_fresh_keys_found_a_production_chain_with_nothing_published(tmp_path: Path) -> None:
    network = make(tmp_path / "net", development=False, passphrase=PASSPHRASE)
    assert network.genesis.content.use == PRODUCTION
    assert network.genesis.content.time_ms == NOW_MS
    assert not has_published_key(network.genesis.content)
    assert has_published_key(development_genesis(SCENARIOS).content)
    assert not network.keys_are_in_the_clear


def test_fresh_keys_without_a_passphrase_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a passphrase for fresh keys, found none; give a passphrase"):
        make(tmp_path / "net", development=False)
    assert list(tmp_path.iterdir()) == []


def test_published_keys_can_have_a_passphrase_too(tmp_path: Path) -> None:
    home = make(tmp_path / "net", passphrase=PASSPHRASE).homes["hk-bank"]
    assert home.load_member_key(PASSPHRASE) == development_key("hk-bank", "member")
    with pytest.raises(KeyFileError, match="give its passphrase"):
        home.load_member_key(DevelopmentKey())


def test_keys_are_private_files_in_private_directories(tmp_path: Path) -> None:
    network = make(tmp_path / "net")
    for path in network.directory.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_every_node_listens_on_a_port_of_its_own_that_the_others_dial(tmp_path: Path) -> None:
    network = make(tmp_path / "net")
    nodes = {member: home.settings.node for member, home in network.homes.items() if home.settings.node}
    assert len(nodes) == NODES_COUNT == 5
    assert len({address for node in nodes.values() for address in (node.listen, node.api)}) == 2 * NODES_COUNT
    for member, node in nodes.items():
        assert node.peers == {other: nodes[other].listen for other in nodes if other != member}


def test_a_base_port_fixes_every_port(tmp_path: Path) -> None:
    network = make(tmp_path / "net", base_port=7_000)
    ports = [
        (home.settings.node.listen.port, home.settings.node.api.port)
        for home in network.homes.values()
        if home.settings.node is not None
    ]
    assert ports == [(7_000 + 2 * index, 7_001 + 2 * index) for index in range(NODES_COUNT)]


def test_the_first_and_last_base_port_are_accepted_and_their_neighbours_refused(tmp_path: Path) -> None:
    last = PORT_MAX - 2 * NODES_COUNT + 1
    make(tmp_path / "first", base_port=BASE_PORT_MIN)
    make(tmp_path / "last", base_port=last)
    for port in (BASE_PORT_MIN - 1, last + 1):
        with pytest.raises(ConfigError, match=f"base port: expected a port from {BASE_PORT_MIN} to {last}"):
            make(tmp_path / "refused", base_port=port)
        assert not (tmp_path / "refused").exists()


def test_a_network_is_never_written_over_something(tmp_path: Path) -> None:
    directory = tmp_path / "net"
    directory.mkdir()
    (directory / "mine").write_text("kept")
    with pytest.raises(ConfigError, match="nothing there yet"):
        make(directory)
    assert [path.name for path in directory.iterdir()] == ["mine"]


def test_a_network_that_cannot_be_finished_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("node.home.home.create_tls_files", full_disk)
    with pytest.raises(OSError, match="No space left"):
        make(tmp_path / "net")
    assert list(tmp_path.iterdir()) == []


def test_each_home_of_a_new_network_has_its_texts(tmp_path: Path) -> None:
    texts = sample_texts()
    network = new_network(
        tmp_path / "network",
        development=True,
        passphrase=None,
        base_port=None,
        random=os.urandom,
        now_ms=NOW_MS,
        scenarios=SCENARIOS,
        texts=texts,
    )
    for home in network.homes.values():
        assert home.texts is not None and load_texts(home.texts).bundles == (texts,)
    assert all(home.texts is None for home in make(tmp_path / "without").homes.values())
