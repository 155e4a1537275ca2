"""BlockRequests go to one peer at a time, first to the one that is sure to know."""

from node.messages import PeerMessage, WantBlock
from node.replica.blockrequests import ASK_AGAIN_MS, QUESTIONS_MAX, BlockRequests

PEERS = ("a", "b", "c")
KEY, OTHER = b"k" * 32, b"o" * 32
QUESTION = WantBlock(KEY)


class World:
    """A clock that is moved, and what was asked of whom."""

    def __init__(self, *connected: str) -> None:
        self.now_ms = 1_000
        self.asked: list[str] = []
        self.connected = set(connected)
        self.questions = BlockRequests(self.send, self.connected, self)

    def send(self, peer: str, _message: PeerMessage) -> None:
        self.asked.append(peer)

    def monotonic_ms(self) -> int:
        return self.now_ms

    def wall_ms(self) -> int:
        return self.now_ms

    def ask(self, key: bytes = KEY, *, first: str | None = None) -> None:
        self.questions.ask(key, QUESTION, PEERS, first=first)


def test_who_is_sure_to_know_is_asked_first_whatever_was_asked_before() -> None:
    for number in range(2 * len(PEERS)):
        world = World(*PEERS)
        for each in range(number):
            world.ask(bytes([each]) * 32)
        world.asked.clear()
        world.ask(first="b")
        assert world.asked == ["b"]


def test_everybody_is_asked_in_turn_where_no_answer_comes() -> None:
    world = World(*PEERS)
    for _ in range(1 + len(PEERS)):
        world.ask(first="b")
        world.now_ms += ASK_AGAIN_MS
    assert world.asked[0] == "b"
    assert sorted(world.asked[1:]) == list(PEERS)


def test_a_question_is_not_put_again_before_its_time_unless_it_was_answered() -> None:
    world = World(*PEERS)
    world.ask(first="b")
    world.now_ms += ASK_AGAIN_MS - 1
    world.ask(first="b")
    assert world.asked == ["b"]
    assert world.questions.is_asked(KEY)
    world.questions.answered(KEY)
    assert not world.questions.is_asked(KEY)
    world.ask(first="b")
    assert world.asked == ["b", "b"]


def test_who_is_not_connected_is_not_asked() -> None:
    world = World("c")
    world.ask(first="b")
    assert world.asked == ["c"]
    nobody = World()
    nobody.ask(first="b")
    assert nobody.asked == []
    assert not nobody.questions.is_asked(KEY)


def test_questions_that_may_be_put_again_are_forgotten_where_there_are_too_many() -> None:
    world = World(*PEERS)
    for number in range(QUESTIONS_MAX):
        world.ask(number.to_bytes(32, "big"))
    world.now_ms += ASK_AGAIN_MS
    world.ask(OTHER)
    assert world.questions.is_asked(OTHER)
    assert not world.questions.is_asked(bytes(32))
