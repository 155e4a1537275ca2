"""The hello has one encoding, and registered peers are what they seem."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.network.hello import (
    CHAIN_ID_SIZE,
    HELLO_SIZE_MAX,
    INCARNATION_SIZE,
    Hello,
    HelloRefused,
    check_chain,
    decode_hello,
    encode_hello,
)
from node.network.registry import (
    NODE_ID_SIZE_MAX,
    PEERS_COUNT_MAX,
    Peer,
    PeerKind,
    PeerRegistry,
    check_node_id,
    split_address,
)
from tests.support.network_world import CHAIN, IDENTITIES, OTHER_CHAIN, unlisted

HELLO = Hello(CHAIN, b"run no 1", "hk-operator")


def test_the_bytes_of_a_hello_are_fixed() -> None:
    assert encode_hello(HELLO) == b"luohu-peer" + b"\x00\x01" + CHAIN + b"run no 1" + b"hk-operator"


@given(
    st.binary(min_size=CHAIN_ID_SIZE, max_size=CHAIN_ID_SIZE),
    st.binary(min_size=INCARNATION_SIZE, max_size=INCARNATION_SIZE),
    st.from_regex(r"\A[a-z0-9]{1,64}\Z"),
)
def test_a_hello_survives_its_encoding(chain_id: bytes, incarnation: bytes, node_id: str) -> None:
    hello = Hello(chain_id, incarnation, node_id)
    assert decode_hello(encode_hello(hello)) == hello


@given(
    st.binary(max_size=2 * HELLO_SIZE_MAX) | st.binary(max_size=120).map(lambda b: b"luohu-peer\x00\x01" + b)
)
def test_any_bytes_are_a_hello_or_refused_as_one(data: bytes) -> None:
    try:
        hello = decode_hello(data)
    except HelloRefused:
        return
    assert encode_hello(hello) == data


def test_the_longest_hello_is_read_and_one_past_it_is_not() -> None:
    longest = encode_hello(Hello(CHAIN, b"run no 1", "n" * NODE_ID_SIZE_MAX))
    assert len(longest) == HELLO_SIZE_MAX
    assert decode_hello(longest).node_id == "n" * NODE_ID_SIZE_MAX
    with pytest.raises(HelloRefused, match=f"to {HELLO_SIZE_MAX} bytes, found {HELLO_SIZE_MAX + 1}"):
        decode_hello(longest + b"n")


def test_another_version_is_named() -> None:
    other = encode_hello(HELLO).replace(b"\x00\x01", b"\x01\x02", 1)
    with pytest.raises(HelloRefused, match="protocol version: expected 1, found 258"):
        decode_hello(other)


def test_another_chain_is_named() -> None:
    check_chain(HELLO, CHAIN)
    with pytest.raises(HelloRefused, match=f"expected {OTHER_CHAIN[:8].hex()}, found {CHAIN[:8].hex()}"):
        check_chain(HELLO, OTHER_CHAIN)


@pytest.mark.parametrize("wrong", [{"chain_id": b"c" * 31}, {"incarnation": b"r" * 9}, {"node_id": "Bank"}])
def test_a_hello_that_exists_is_valid(wrong: dict[str, object]) -> None:
    fields: dict[str, object] = {"chain_id": CHAIN, "incarnation": b"run no 1", "node_id": "bank"}
    with pytest.raises(ValueError, match="expected"):
        Hello(**(fields | wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize("node_id", ["a", "hk-operator", "sz.operator_2", "n" * NODE_ID_SIZE_MAX])
def test_identifiers_are_node_ids(node_id: str) -> None:
    check_node_id(node_id)


@pytest.mark.parametrize(
    "node_id", ["", "Bank", "-bank", "bank-", "b--k", "bank\n", "罗湖", "a b", "n" * (NODE_ID_SIZE_MAX + 1)]
)
def test_other_text_is_no_node_id(node_id: str) -> None:
    with pytest.raises(ValueError, match="node id: expected"):
        check_node_id(node_id)


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("127.0.0.1:7000", ("127.0.0.1", 7000)),
        ("node.example:1", ("node.example", 1)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_an_address_is_a_host_and_a_port(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts


@pytest.mark.parametrize(
    "address",
    [
        "",
        "host",
        ":1",
        "host:",
        "host:0",
        "host:65536",
        "host:-1",
        "host:1e3",
        "::1:7000",
        "a@b:1",
        "a/b:1",
        "h:٣",
    ],
)
def test_other_text_is_no_address(address: str) -> None:
    with pytest.raises(ValueError, match="address: expected"):
        Peer(IDENTITIES["bank"].certificate, address, PeerKind.OBSERVER)


def test_a_peer_cannot_be_registered_without_a_certificate() -> None:
    with pytest.raises(ValueError, match="certificate: expected"):
        Peer(b"none", None, PeerKind.VALIDATOR)


def test_a_registry_holds_its_maximum_and_no_more() -> None:
    peer = unlisted("bank")["bank"]
    PeerRegistry({f"n{index}": peer for index in range(PEERS_COUNT_MAX)})
    with pytest.raises(ValueError, match=f"at most {PEERS_COUNT_MAX}, found {PEERS_COUNT_MAX + 1}"):
        PeerRegistry({f"n{index}": peer for index in range(PEERS_COUNT_MAX + 1)})
