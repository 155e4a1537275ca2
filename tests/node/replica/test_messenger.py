"""What a replica says to its peers, and for how long it does not listen to one that broke a rule."""

from dataclasses import dataclass, field

import pytest

from ledger.errors import LedgerError
from node.messages import Gossip, WantBlock, WantFinal, encode_peer_message
from node.peernames import unpinned
from node.replica.messenger import OFFENCE_S, REASON_SIZE_MAX, Messenger


@dataclass
class Wire:
    """A transport that notes what it is told."""

    sent: list[tuple[str, bytes]] = field(default_factory=list)
    refused: list[tuple[str, str, float]] = field(default_factory=list)

    def send(self, peer_id: str, data: bytes) -> bool:
        self.sent.append((peer_id, data))
        return peer_id != "absent"

    def broadcast(self, data: bytes) -> int:
        self.sent.append(("all", data))
        return 3

    def disconnect(self, peer_id: str, reason: str, seconds: float) -> None:
        self.refused.append((peer_id, reason, seconds))


def test_what_is_said_goes_out_encoded_and_to_whom_it_was_said() -> None:
    wire = Wire()
    messenger, message = Messenger(wire), WantBlock(bytes(32))
    assert messenger.send("hk-bureau", message)
    assert not messenger.send("absent", message)
    messenger.broadcast(Gossip((b"some",)))
    encoded = encode_peer_message(message)
    assert wire.sent[:2] == [("hk-bureau", encoded), ("absent", encoded)]
    assert wire.sent[2:] == [("all", encode_peer_message(Gossip((b"some",))))]


def test_from_a_stranger_we_fetch_and_tell_it_nothing_else() -> None:
    wire = Wire()
    messenger, stranger = Messenger(wire), unpinned("hk-bureau")
    assert messenger.send(stranger, WantFinal(1, 1))
    with pytest.raises(AssertionError, match="only fetch"):
        messenger.send(stranger, WantBlock(bytes(32)))
    assert len(wire.sent) == 1


def test_an_offence_costs_the_connection_for_a_time_and_says_why_in_short() -> None:
    wire = Wire()
    messenger = Messenger(wire)
    messenger.note_offence("hk-bureau", LedgerError(where="vote", expected="a vote", found="x" * 1_000))
    ((peer, reason, seconds),) = wire.refused
    assert (peer, len(reason), seconds) == ("hk-bureau", REASON_SIZE_MAX, OFFENCE_S)
    assert reason.startswith("vote")
