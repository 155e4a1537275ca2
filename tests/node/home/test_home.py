"""Homes: strict configuration, loopback for development, and keys that are private."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding.keys import PrivateKey
from ledger.genesis import DEVELOPMENT, PRODUCTION, Genesis
from node.consensus.config import Config
from node.consent.scenarios import load_scenarios, scenarios_directory
from node.consent.textfolder import sample_texts
from node.files.configfile import CONFIG_FILE_SIZE_MAX, TABLE_ITEMS_MAX, ConfigError, Table, parse_table
from node.files.keyfiles import DevelopmentKey, KeyFileError, Passphrase, load_key_file
from node.home.consortium import FOUNDERS, development_keys, fresh_keys
from node.home.consortium import found as found_chain
from node.home.home import TEXTS, Home, HomeKeys, format_genesis
from node.home.settings import (
    PEERS_MAX,
    PORT_MAX,
    TUNING_MS_MAX,
    Address,
    HomeSettings,
    NodeSettings,
    format_settings,
    parse_settings,
)
from node.network.tls import make_identity
from node.run import load_parts

SCENARIOS = load_scenarios(scenarios_directory())
PASSPHRASE = Passphrase.from_text("correct horse")
PLAIN = DevelopmentKey()
OUTSIDE = "192.0.2.7"
VALIDATOR_FILES = ("validator.pem", "validator-next.pem")
FILE = """member = "sz-operator"

[listen]
host = "127.0.0.1"
port = 7000

[api]
host = "127.0.0.1"
port = 7001

[peers]
hk-operator = "127.0.0.1:7002"
"""


class Counted:
    """Gives different bytes each time, the same ones in each test."""

    def __init__(self) -> None:
        self.given = 0

    def __call__(self, size: int) -> bytes:
        self.given += 1
        return self.given.to_bytes(size, "big")


def consortium(use: str, published: tuple[str, ...] = ()) -> tuple[Genesis, dict[str, HomeKeys]]:
    """Return a genesis with fresh keys, except those of the members named, and the keys."""
    random = Counted()
    keys = {
        founder.id: development_keys(founder) if founder.id in published else fresh_keys(founder, random)
        for founder in FOUNDERS
    }
    return found_chain(keys, SCENARIOS, network="test", use=use, time_ms=1), keys


def settings(
    member: str = "sz-operator", *, listen: str = "127.0.0.1", peer: str = "127.0.0.1"
) -> HomeSettings:
    """Return the settings of a node with one peer."""
    peers = {"hk-operator": Address(peer, 7002)}
    return HomeSettings(
        member, NodeSettings(Address(listen, 7000), Address("127.0.0.1", 7001), peers, Config())
    )


def create(
    path: Path,
    *,
    use: str = PRODUCTION,
    published: tuple[str, ...] = (),
    of: HomeSettings | None = None,
    plain: bool = False,
) -> Home:
    """Create the home of sz-operator."""
    genesis, keys = consortium(use, published)
    protection = PLAIN if plain else PASSPHRASE
    return Home.create(
        path, genesis=genesis, settings=of or settings(), keys=keys["sz-operator"], protection=protection
    )


# -- node.toml --------------------------------------------------------------------------------------------


def test_settings_are_read_as_written() -> None:
    read = parse_settings(FILE.encode())
    assert read == settings()
    assert parse_settings(format_settings(read)) == read
    assert parse_settings(b'member = "hk-bank"') == HomeSettings("hk-bank", None)
    assert parse_settings(format_settings(HomeSettings("hk-bank", None))) == HomeSettings("hk-bank", None)


def test_the_folder_of_texts_is_read_as_written_from_the_home_on(tmp_path: Path) -> None:
    with_texts = replace(settings(), texts="../our texts")
    assert parse_settings(format_settings(with_texts)) == with_texts
    assert parse_settings(b'member = "hk-bank"\ntexts = "texts"') == HomeSettings("hk-bank", None, "texts")
    assert parse_settings(format_settings(HomeSettings("hk-bank", None, "t"))).texts == "t"
    for wrong in (b"texts = 1", b'texts = ""'):
        with pytest.raises(ConfigError, match=r"texts: expected a text"):
            parse_settings(b'member = "hk-bank"\n' + wrong)
    assert create(tmp_path / "home").texts is None
    assert create(tmp_path / "other", of=with_texts).texts == tmp_path / "other" / "../our texts"


def test_a_node_serves_the_texts_of_its_home_and_says_what_is_wrong_with_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    genesis, keys = consortium(PRODUCTION, ())
    texts = sample_texts()
    home = Home.create(
        tmp_path / "home",
        genesis=genesis,
        settings=replace(settings(), texts=TEXTS),
        keys=keys["sz-operator"],
        protection=PASSPHRASE,
        texts=texts,
    )
    assert load_parts(home, PASSPHRASE).texts.find(texts.hash) == texts
    assert f"texts.served hash={texts.hash.hex()}" in caplog.text and "texts.unusable" not in caplog.text
    (home.path / TEXTS / "damaged.texts").write_bytes(texts.encoded[:-1])
    assert load_parts(home, PASSPHRASE).texts.find(texts.hash) == texts
    assert "texts.unusable" in caplog.text and "damaged.texts" in caplog.text
    shutil.rmtree(home.path / TEXTS)
    assert load_parts(home, PASSPHRASE).texts.bundles == (), "texts keep no validator from its work"


def test_tuning_is_read_as_written_and_only_what_differs_is_written() -> None:
    tuned = parse_settings((FILE + "[tuning]\nleader_timeout_ms = 900\n").encode())
    assert tuned.node is not None and tuned.node.tuning == replace(Config(), leader_timeout_ms=900)
    assert parse_settings(format_settings(tuned)) == tuned
    assert format_settings(tuned).count(b"_ms") == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('member = "sz-operator"\n', "", "node.toml: member: expected a text, found nothing; add it"),
        ('"sz-operator"', '"SZ"', "expected a member id of 1 to 32 characters, found 'SZ'"),
        ('"sz-operator"', '"' + "a" * 33 + '"', "expected a member id"),
        ('"sz-operator"', '"hk-operator"', "peers: expected other members, found hk-operator itself"),
        ('member = "sz-operator"', 'membre = "sz-operator"', "member: expected a text, found nothing"),
        (
            "[listen]",
            "colour = 1\n[listen]",
            "only the keys api, listen, member, peers, texts, tuning, found unknown",
        ),
        (
            "port = 7000",
            "port = 7000\ntls = true",
            "listen: expected only the keys host, port, found unknown",
        ),
        ("port = 7000", "port = 0", "listen.port: expected an integer from 1 to 65535, found 0"),
        ("port = 7000", f"port = {PORT_MAX + 1}", "listen.port: expected an integer from 1 to 65535"),
        ("port = 7000", "port = true", "listen.port: expected an integer from 1 to 65535, found True"),
        ("port = 7000", 'port = "7000"', "listen.port: expected an integer from 1 to 65535, found '7000'"),
        ("port = 7001", "port = 7000", "api.port: expected another port than"),
        ('host = "127.0.0.1"\nport = 7000', 'host = "localhost"\nport = 7000', "listen.host: expected an IP"),
        (
            'host = "127.0.0.1"\nport = 7000',
            'host = "a b"\nport = 7000',
            "expected an IP address or host name",
        ),
        ('"127.0.0.1:7002"', '"127.0.0.1"', "peers.hk-operator: expected host:port, found '127.0.0.1'"),
        ('"127.0.0.1:7002"', '"::1:7002"', "peers.hk-operator: expected host:port"),
        ('"127.0.0.1:7002"', '"127.0.0.1:070"', "peers.hk-operator: expected host:port"),
        ('"127.0.0.1:7002"', '"u@h:7002"', "peers.hk-operator: expected an IP address or host name"),
        ("hk-operator =", '"HK operator" =', "expected a member id"),
        ("[peers]\n", "[others]\n", "found unknown 'others'"),
        ('[peers]\nhk-operator = "127.0.0.1:7002"', "", r"no \[peers\]; add it"),
        ("[peers]", "[tuning]\nspeed = 1\n[peers]", "tuning: expected only the keys advance_timeout_ms"),
        ("[peers]", "[tuning]\nfetch_delay_ms = 0\n[peers]", "tuning.fetch_delay_ms: expected an integer"),
        ("[peers]", "[tuning]\nleader_timeout_ms = 5000\n[peers]", "restore the order of the timers"),
        ("[api]", "[api", "expected a TOML file in UTF-8"),
        ("[api]", "[listen]", "expected a TOML file in UTF-8"),
    ],
)
def test_a_wrong_entry_is_refused_with_file_key_expected_and_found(old: str, new: str, message: str) -> None:
    assert old in FILE
    with pytest.raises(ConfigError, match=message) as caught:
        parse_settings(FILE.replace(old, new, 1).encode())
    assert str(caught.value).startswith("node.toml")
    assert caught.value.cure in str(caught.value)


def test_an_api_beyond_loopback_is_refused_with_a_cure() -> None:
    for host in (OUTSIDE, "0.0.0.0", "::"):
        text = FILE.replace('"127.0.0.1"\nport = 7001', f'"{host}"\nport = 7001')
        with pytest.raises(
            ConfigError, match=r"api.host: expected a loopback address.*client authentication"
        ):
            parse_settings(text.encode())


def test_a_file_may_have_the_largest_size_and_not_one_byte_more() -> None:
    padding = "#" * (CONFIG_FILE_SIZE_MAX - len(FILE))
    assert parse_settings((FILE + padding).encode()) == settings()
    with pytest.raises(ConfigError, match=f"at most {CONFIG_FILE_SIZE_MAX} bytes"):
        parse_settings((FILE + padding + "#").encode())


def test_a_table_may_have_the_most_keys_and_not_one_more() -> None:
    values: dict[str, object] = {f"k{index}": 1 for index in range(TABLE_ITEMS_MAX)}
    assert len(Table(values, "x").keys()) == TABLE_ITEMS_MAX
    with pytest.raises(ConfigError, match=f"at most {TABLE_ITEMS_MAX} keys"):
        Table({**values, "one": 1}, "x")


def test_there_may_be_the_most_peers_and_not_one_more() -> None:
    def node(count: int) -> NodeSettings:
        peers = {f"m{index}": Address("127.0.0.1", 7002) for index in range(count)}
        return NodeSettings(Address("127.0.0.1", 7000), Address("127.0.0.1", 7001), peers, Config())

    assert len(node(PEERS_MAX).peers) == PEERS_MAX
    with pytest.raises(ConfigError, match=f"peers: expected at most {PEERS_MAX}"):
        node(PEERS_MAX + 1)


def test_a_timer_may_have_the_largest_value_and_not_one_more() -> None:
    text = FILE + "[tuning]\nheartbeat_interval_ms = "
    read = parse_settings(f"{text}{TUNING_MS_MAX}\n".encode())
    assert read.node is not None and read.node.tuning.heartbeat_interval_ms == TUNING_MS_MAX
    with pytest.raises(ConfigError, match=f"from 1 to {TUNING_MS_MAX}"):
        parse_settings(f"{text}{TUNING_MS_MAX + 1}\n".encode())


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_arbitrary_bytes_are_refused_as_configuration_and_nothing_else(content: bytes) -> None:
    try:
        parse_settings(content)
    except ConfigError:
        return
    assert b"member" in content


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a TOML file in UTF-8"):
        parse_table(b"a = " + b"[" * 20_000, "deep.toml")


@pytest.mark.parametrize("text", ["127.0.0.1:1", "[::1]:7000", f"node.example:{PORT_MAX}"])
def test_an_address_is_written_as_it_was_read(text: str) -> None:
    assert str(Address.from_text(text)) == text


def test_only_loopback_addresses_are_loopback_and_no_name_is() -> None:
    assert Address("127.3.2.1", 1).is_loopback and Address("::1", 1).is_loopback
    assert not any(Address(host, 1).is_loopback for host in (OUTSIDE, "0.0.0.0", "::", "localhost"))


# -- homes ------------------------------------------------------------------------------------------------


def test_a_home_opens_as_it_was_created(tmp_path: Path) -> None:
    home = create(tmp_path / "home")
    assert Home.open(tmp_path / "home") == home
    assert home.member == "sz-operator" and not home.is_development
    assert home.require_node().listen == Address("127.0.0.1", 7000)
    assert home.data.is_dir()


def test_a_home_is_never_written_over_something(tmp_path: Path) -> None:
    create(tmp_path / "home")
    before = (tmp_path / "home" / "genesis.json").read_bytes()
    with pytest.raises(ConfigError, match="expected nothing there yet, found something"):
        create(tmp_path / "home", use=DEVELOPMENT)
    assert (tmp_path / "home" / "genesis.json").read_bytes() == before
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="nothing there yet"):
        create(tmp_path / "dangling")


def test_a_home_needs_a_directory_to_lie_in(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a directory, found none; create it first"):
        create(tmp_path / "nowhere" / "home")


def test_a_member_without_a_node_has_a_home_and_no_node(tmp_path: Path) -> None:
    genesis, keys = consortium(PRODUCTION)
    home = Home.create(
        tmp_path / "home",
        genesis=genesis,
        settings=HomeSettings("hk-bank", None),
        keys=keys["hk-bank"],
        protection=PASSPHRASE,
    )
    assert home.load_member_key(PASSPHRASE) == keys["hk-bank"].member
    with pytest.raises(ConfigError, match="expected a node, found none for hk-bank"):
        home.require_node()
    assert {path.name for path in (home.path / "keys").iterdir()} == {"member.pem", "member-next.pem"}


def test_a_node_and_its_tls_identity_come_together(tmp_path: Path) -> None:
    genesis, keys = consortium(PRODUCTION)
    with pytest.raises(ConfigError, match="a TLS identity exactly where there is a node"):
        Home.create(
            tmp_path / "home",
            genesis=genesis,
            settings=HomeSettings("sz-operator", None),
            keys=keys["sz-operator"],
            protection=PASSPHRASE,
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["listen", "peer"])
def test_a_production_chain_may_leave_loopback_and_a_development_chain_may_not(
    tmp_path: Path, place: str
) -> None:
    outside = settings(listen=OUTSIDE) if place == "listen" else settings(peer=OUTSIDE)
    create(tmp_path / "production", of=outside)
    with pytest.raises(ConfigError, match="expected a loopback address, this being a development chain"):
        create(tmp_path / "development", use=DEVELOPMENT, of=outside)
    assert not (tmp_path / "development").exists()


def test_one_published_key_in_a_production_genesis_keeps_it_on_loopback(tmp_path: Path) -> None:
    create(tmp_path / "loopback", published=("hk-bank",))
    with pytest.raises(ConfigError, match="a chain with a published development key"):
        create(tmp_path / "outside", published=("hk-bank",), of=settings(listen=OUTSIDE))


def test_addresses_are_checked_again_when_a_home_is_opened(tmp_path: Path) -> None:
    home = create(tmp_path / "home", use=DEVELOPMENT)
    (home.path / "node.toml").write_bytes(format_settings(settings(listen=OUTSIDE)))
    with pytest.raises(ConfigError, match=r"node.toml: listen: expected a loopback address"):
        Home.open(home.path)


def test_a_published_key_put_in_place_later_is_given_out_on_loopback_only(tmp_path: Path) -> None:
    published = development_keys(FOUNDERS[-1])
    genesis, keys = consortium(PRODUCTION)
    for name, of in (("inside", settings()), ("outside", settings(listen=OUTSIDE))):
        Home.create(
            tmp_path / name,
            genesis=genesis,
            settings=of,
            keys=replace(keys["sz-operator"], member=published.member),
            protection=PASSPHRASE,
        )
    assert Home.open(tmp_path / "inside").load_member_key(PASSPHRASE) == published.member
    with pytest.raises(ConfigError, match="this being a published development key"):
        Home.open(tmp_path / "outside").load_member_key(PASSPHRASE)


def test_keys_in_the_clear_are_for_development_chains_alone(tmp_path: Path) -> None:
    home = create(tmp_path / "development", use=DEVELOPMENT, plain=True)
    assert home.load_member_key(PLAIN).public == home.genesis.content.members[-1].key
    with pytest.raises(ConfigError, match="expected a passphrase, this chain not being for development"):
        create(tmp_path / "production", plain=True)
    assert not (tmp_path / "production").exists()
    encrypted = create(tmp_path / "encrypted")
    with pytest.raises(ConfigError, match="expected a passphrase"):
        encrypted.load_tls_identity(PLAIN)


def test_the_key_in_a_file_must_be_the_one_expected(tmp_path: Path) -> None:
    home = create(tmp_path / "home")
    expected = home.genesis.content.members[-1].key
    assert home.load_member_key(PASSPHRASE, expected=expected).public == expected
    with pytest.raises(KeyFileError, match="expected the key"):
        home.load_next_member_key(PASSPHRASE, expected=expected)


def test_a_wrong_passphrase_opens_nothing(tmp_path: Path) -> None:
    home = create(tmp_path / "home")
    wrong = Passphrase.from_text("wrong horse")
    with pytest.raises(KeyFileError, match="wrong passphrase"):
        home.load_validator_key(wrong)
    with pytest.raises(KeyFileError, match="TLS key that opens"):
        home.load_tls_identity(wrong)


@pytest.mark.parametrize("name", ["member.pem", "tls.pem"])
def test_a_key_that_others_can_read_is_refused_with_its_cure(tmp_path: Path, name: str) -> None:
    home = create(tmp_path / "home")
    (home.path / "keys" / name).chmod(0o644)
    load = home.load_member_key if name == "member.pem" else home.load_tls_identity
    with pytest.raises(KeyFileError, match="found mode 0644; chmod 600"):
        load(PASSPHRASE)


def test_a_tls_key_and_the_certificate_of_another_are_refused(tmp_path: Path) -> None:
    first, second = create(tmp_path / "first"), create(tmp_path / "second")
    certificate = (second.path / "keys" / "tls.crt").read_bytes()
    (first.path / "keys" / "tls.crt").write_bytes(certificate)
    with pytest.raises(KeyFileError, match="fits its certificate"):
        first.load_tls_identity(PASSPHRASE)
    assert PrivateKey.from_seed(bytes(32)) != first.load_member_key(PASSPHRASE)


def test_a_place_that_is_no_home_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a home directory, found nothing"):
        Home.open(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"genesis.json: expected a file, found nothing"):
        Home.open(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-100], "one well-formed JSON value"),
        (lambda text: text.replace(b'"test"', b'"tess"'), "signature that verifies"),
        (lambda text: b'{"a":' * 5_000, "JSON"),
        (lambda text: json.dumps({**json.loads(text), "more": 1}).encode(), "unknown"),
        (lambda text: text + b" " * (1024 * 1024), "at most 1048576 bytes"),
    ],
    ids=["truncated", "altered", "nested", "unknown key", "oversized"],
)
def test_a_wrong_genesis_is_refused(tmp_path: Path, change: object, message: str) -> None:
    home = create(tmp_path / "home")
    path = home.path / "genesis.json"
    assert callable(change)
    path.write_bytes(change(format_genesis(home.genesis)))
    with pytest.raises(ConfigError, match=message) as caught:
        Home.open(home.path)
    assert str(path) in str(caught.value)


# -- what is damaged stands in the way of nothing else ----------------------------------------------------


@pytest.mark.parametrize("name", ["validator.pem", "validator-next.pem"])
def test_a_damaged_key_file_hides_no_other_key(tmp_path: Path, name: str) -> None:
    home = create(tmp_path / "home")
    keys = {
        each: load_key_file(home.path / "keys" / each, PASSPHRASE, expected=None) for each in VALIDATOR_FILES
    }
    (home.path / "keys" / name).write_bytes(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n")
    for each, key in keys.items():
        if each == name:
            # It may be in the file that does not open: the error names that one.
            with pytest.raises(KeyFileError, match=name):
                home.find_validator_key(PASSPHRASE, key.public)
        else:
            assert home.find_validator_key(PASSPHRASE, key.public) == key
    (home.path / "keys" / name).unlink()
    assert home.find_validator_key(PASSPHRASE, keys[name].public) is None


def test_the_tls_identity_is_the_first_that_opens(tmp_path: Path) -> None:
    home = create(tmp_path / "home")
    first = home.load_tls_identity(PASSPHRASE)
    later = home.require_fresh_tls_identity("tls-2", PASSPHRASE, make_identity("sz-operator"))
    assert home.load_tls_identity(PASSPHRASE) == first
    (home.path / "keys" / "tls.pem").write_bytes(b"junk")
    assert home.load_tls_identity(PASSPHRASE) == later
    assert home.find_tls_identity(PASSPHRASE, later.certificate) == later
    assert home.other_tls_identities(PASSPHRASE, b"", 2) == (later,)
    (home.path / "keys" / "tls.crt").unlink()
    assert home.load_tls_identity(PASSPHRASE) == later
    (home.path / "keys" / "tls-2.crt").unlink()
    with pytest.raises(KeyFileError, match="luohu key rotate --role tls"):
        home.load_tls_identity(PASSPHRASE)


def test_a_passphrase_that_opens_none_is_wrong_and_not_a_loss(tmp_path: Path) -> None:
    home = create(tmp_path / "home")
    wrong = Passphrase.from_text("wrong horse")
    with pytest.raises(KeyFileError, match="check the passphrase"):
        load_parts(home, wrong)
    (home.path / "keys" / "member.pem").unlink()
    with pytest.raises(KeyFileError, match="check the passphrase"):
        load_parts(home, wrong)
    assert load_parts(home, PASSPHRASE).member == "sz-operator"


@pytest.mark.parametrize(
    ("name", "cure"),
    [("genesis.json", "copy genesis.json from any other member"), ("node.toml", "write it again")],
)
def test_a_file_that_nobody_can_fetch_is_refused_with_where_it_comes_from(
    tmp_path: Path, name: str, cure: str
) -> None:
    home = create(tmp_path / "home")
    (home.path / name).unlink()
    with pytest.raises(ConfigError, match=cure):
        Home.open(home.path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_refused_with_what_to_do(encoding: str) -> None:
    assert parse_table(b"a = 1\n", "node.toml")
    with pytest.raises(ConfigError, match="save the file as UTF-8 without a byte-order mark"):
        parse_table("a = 1\n".encode(encoding), "node.toml")
