"""Places: nobody who comes is refused one, whoever waits for us keeps it, and the furthest behind goes."""

import asyncio
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from node.api import places
from node.api.places import CONNECTIONS, REQUESTS, SPARED_ROUNDS, SPARED_S, UNREAD, Places
from node.api.route import Route, RouteError


async def answer(_request: web.Request) -> web.StreamResponse:
    raise AssertionError("nobody asks")


ONE, OTHER = (Route("GET", path, "", answer) for path in ("/one", "/other"))
KEPT = Route("GET", "/kept", "", answer, is_kept=True)


@dataclass(eq=False)
class Client:
    """A client that is so far behind; None where it waits for us."""

    behind: float | None = SPARED_S
    unread_size: int = 0
    is_cut_off: bool = False

    def behind_s(self, now_s: float) -> float | None:
        return self.behind

    def cut_off(self) -> None:
        self.is_cut_off = True


@dataclass
class World:
    """Places, and who lost one in which pool."""

    count_max: int = 3
    displaced: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.places = Places(count_max=self.count_max, on_displaced=self.displaced.append)

    def take(self, *behind: float | None) -> list[Client]:
        clients = [Client(each) for each in behind]
        for client in clients:
            self.places.take(client)
        return clients

    def go_round(self, count: int = SPARED_ROUNDS) -> None:
        for _ in range(count):
            self.places.went_round()


def run(scenario: object) -> None:
    """Run a function where a loop tells the time."""

    async def whole() -> None:
        assert callable(scenario)
        scenario()

    asyncio.run(whole())


def test_the_furthest_behind_gives_its_place_and_whoever_waits_for_us_does_not() -> None:
    def scenario() -> None:
        world = World()
        waiting, behind, less = world.take(None, 9.0, 8.0)
        world.go_round()
        assert world.places.has_room()
        (newcomer,) = world.take(0.0)
        assert [each.is_cut_off for each in (waiting, behind, less, newcomer)] == [False, True, False, False]
        assert (world.places.count, world.displaced) == (3, [CONNECTIONS])

    run(scenario)


def test_nobody_is_taken_in_where_all_wait_for_us_or_have_just_come() -> None:
    def scenario() -> None:
        for behind in (None, SPARED_S / 2):
            world = World()
            clients = world.take(behind, behind, behind)
            world.go_round()
            assert not world.places.has_room()
            clients[1].behind = SPARED_S
            assert world.places.has_room()
            clients[1].behind = behind
            world.places.leave(clients[0])
            assert world.places.has_room()

    run(scenario)


def test_the_loop_goes_round_before_anybody_who_came_can_go() -> None:
    def scenario() -> None:
        world = World()
        world.take(9.0, 9.0, 9.0)
        world.go_round(SPARED_ROUNDS - 1)
        assert not world.places.has_room()
        world.go_round(1)
        assert world.places.has_room()

    run(scenario)


def test_who_was_listed_and_answered_since_is_passed_over() -> None:
    def scenario() -> None:
        world = World()
        first, second, third = world.take(9.0, 8.0, 7.0)
        world.go_round()
        assert world.places.has_room()
        first.behind = 0.0
        world.places.leave(second)
        (fourth,) = world.take(0.0)
        assert not third.is_cut_off, "there was room"
        world.take(0.0)
        assert third.is_cut_off and not first.is_cut_off and not fourth.is_cut_off

    run(scenario)


def test_where_what_it_holds_is_needed_even_one_that_has_just_come_goes() -> None:
    def scenario() -> None:
        world = World()
        (client,) = world.take(0.0)
        world.places.free_one()
        assert client.is_cut_off and world.places.count == 0
        world.places.free_one()

    run(scenario)


def test_requests_are_bounded_in_all_and_for_each_route(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "REQUESTS_MAX", 3)
    monkeypatch.setattr(places, "REQUESTS_PER_ROUTE_MAX", 2)

    def scenario() -> None:
        world = World(count_max=9)
        clients = world.take(*[None] * 6)
        with world.places.request(clients[0], ONE), world.places.request(clients[1], ONE):
            with pytest.raises(RouteError, match="GET /one"), world.places.request(clients[2], ONE):
                pass
            with world.places.request(clients[2], OTHER):
                refused = pytest.raises(RouteError, match="at most 3 requests")
                with refused, world.places.request(clients[3], OTHER):
                    pass
                with world.places.request(clients[3], KEPT):
                    assert world.places.requests_count == 3
                # The one that is slow with its body goes, and no other.
                clients[1].behind = 0.0
                with world.places.request(clients[4], OTHER):
                    assert clients[1].is_cut_off and world.displaced == [REQUESTS]
        assert world.places.requests_count == 0
        assert not any(client.is_cut_off for client in (clients[0], *clients[2:]))

    run(scenario)


def test_a_request_that_is_kept_waiting_gives_its_place_and_takes_one_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(places, "REQUESTS_MAX", 1)

    def scenario() -> None:
        world = World(count_max=9)
        first, second = world.take(None, None)
        with world.places.request(first, ONE):
            with world.places.kept_waiting(first), world.places.request(second, ONE):
                assert world.places.requests_count == 1
            assert world.places.requests_count == 1
            other = world.places.request(second, ONE)
            with pytest.raises(RouteError), world.places.kept_waiting(first):
                other.__enter__()
            assert world.places.requests_count == 1
            world.places.set_aside(second)
            assert world.places.requests_count == 0

    run(scenario)


def test_the_slowest_readers_go_until_the_rest_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "UNREAD_SIZE_MAX", 100)

    def scenario() -> None:
        world = World(count_max=9)
        clients = world.take(3.0, 2.0, 1.0, None, 9.0)
        for client, size in zip(clients, (60, 60, 40, 0, 0), strict=True):
            client.unread_size = size
        world.places.bound_unread()
        assert [client.is_cut_off for client in clients] == [True, False, False, False, False]
        assert world.displaced == [UNREAD]
        world.places.bound_unread()
        assert world.displaced == [UNREAD], "100 fit"

    run(scenario)
