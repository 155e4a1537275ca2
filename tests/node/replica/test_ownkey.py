"""One validator key in two homes: each of the two learns it, and nobody who kept its key to itself ever does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.rules.certificates import (
    FINALIZE,
    NOTARIZE,
    NULLIFY,
    QuorumCertificate,
    SignedBy,
    Subject,
    Vote,
)
from node.condition import KEY_MISUSED
from node.consensus.journal import Amnesia, CertificateHeld, VoteCast
from node.consensus.startup import Participation
from node.replica.ownkey import CAST_VIEWS_MAX, OwnKey
from node.watch import Watch
from tests.support.node_world import START_MS, VALIDATORS, World, WorldNode, anchor_transaction

ME = 1
MEMBER = VALIDATORS[ME]


class Core:
    """What is looked at of a core."""

    def __init__(self, *, epoch: int = 0, standing: Participation = Participation.VOTING) -> None:
        self.epoch = epoch
        self.standing = standing
        self.current_view = 10
        self.amnesia: Amnesia | None = None
        self.records: tuple[object, ...] = ()

    def journal_snapshot(self) -> tuple[object, ...]:
        return self.records


def watching(core: Core, *, me: int | None = ME) -> OwnKey:
    key, any_core = OwnKey(), _as_core(core)
    key.begin(any_core, me)
    key.note_decided(any_core)
    return key


def _as_core(core: Core) -> Any:  # noqa: ANN401
    return core


def subject(view: int, kind: str = NOTARIZE, *, epoch: int = 0) -> Subject:
    block = None if kind == NULLIFY else view.to_bytes(32, "big")
    return Subject(kind, epoch, view, None if kind == NULLIFY else view - 1, block)


def certificate(of: Subject, *signers: int) -> CertificateHeld:
    return CertificateHeld(QuorumCertificate(of, tuple(SignedBy(each, bytes(64)) for each in signers)))


def test_a_vote_that_was_never_cast_here_shows_that_somebody_else_has_the_key() -> None:
    key = watching(Core())
    key.note_persisted([certificate(subject(12), 0, ME, 3)])
    assert key.misused_count == 1
    assert key.misused_how is not None and "view 12 of epoch 0" in key.misused_how


def test_votes_that_were_cast_here_show_nothing() -> None:
    key = watching(Core())
    for kind in (NOTARIZE, FINALIZE):
        key.note_persisted([VoteCast(Vote(subject(12, kind), ME, bytes(64)))])
        key.note_persisted([certificate(subject(12, kind), 0, ME, 3)])
    # In one batch, the certificate first.
    vote = VoteCast(Vote(subject(13, NULLIFY), ME, bytes(64)))
    key.note_persisted([certificate(subject(13, NULLIFY), 0, ME, 3), vote])
    assert key.misused_count == 0


def test_another_vote_of_the_same_view_shows_it() -> None:
    key = watching(Core())
    key.note_persisted([VoteCast(Vote(subject(12, NULLIFY), ME, bytes(64)))])
    key.note_persisted([certificate(subject(12, FINALIZE), 0, ME, 3)])
    assert key.misused_count == 1


def test_certificates_without_this_validator_show_nothing() -> None:
    key = watching(Core())
    key.note_persisted([certificate(subject(12), 0, 2, 3)])
    assert key.misused_count == 0


@pytest.mark.parametrize(("view", "count"), [(9, 0), (11, 0), (12, 1)])
def test_what_may_have_been_forgotten_shows_nothing(view: int, count: int) -> None:
    key = watching(Core())
    key.note_persisted([certificate(subject(view), 0, ME, 3)])
    assert key.misused_count == count


def test_what_the_log_remembers_was_cast_here() -> None:
    core = Core()
    core.records = (VoteCast(Vote(subject(12), ME, bytes(64))),)
    key = watching(core)
    key.note_persisted([certificate(subject(12), 0, ME, 3)])
    assert key.misused_count == 0


def test_before_the_question_is_answered_nothing_is_a_sign_and_amnesia_has_its_own_bound() -> None:
    core = Core(standing=Participation.ASKING)
    key = watching(core)
    key.note_persisted([certificate(subject(50), 0, ME, 3)])
    assert key.misused_count == 0
    core.standing, core.amnesia = Participation.OBSERVING, Amnesia(0, 60)
    key.note_decided(_as_core(core))
    key.note_persisted([certificate(subject(60), 0, ME, 3)])
    assert key.misused_count == 0
    key.note_persisted([certificate(subject(61), 0, ME, 3)])
    assert key.misused_count == 1


def test_an_observer_has_no_key_and_another_epoch_another_core() -> None:
    observer = watching(Core(), me=None)
    observer.note_persisted([certificate(subject(12), 0, ME, 3)])
    key = watching(Core(epoch=1))
    key.note_persisted([certificate(subject(12, epoch=0), 0, ME, 3)])
    assert observer.misused_count == key.misused_count == 0


def test_a_report_on_the_chain_shows_it_unless_it_is_of_what_may_have_been_forgotten() -> None:
    key = watching(Core())
    key.note_reported(Vote(subject(11, NULLIFY), ME, bytes(64)), Vote(subject(11, FINALIZE), ME, bytes(64)))
    assert key.misused_count == 0
    key.note_persisted([VoteCast(Vote(subject(12, NULLIFY), ME, bytes(64)))])
    key.note_reported(Vote(subject(12, NULLIFY), ME, bytes(64)), Vote(subject(12, FINALIZE), ME, bytes(64)))
    assert key.misused_count == 1


def test_what_is_remembered_is_bounded_and_what_is_older_shows_nothing() -> None:
    key = watching(Core())
    for view in range(20, 20 + CAST_VIEWS_MAX + 5):
        key.note_persisted([VoteCast(Vote(subject(view), ME, bytes(64)))])
    assert len(key._cast) == CAST_VIEWS_MAX
    key.note_persisted([certificate(subject(21), 0, ME, 3)])
    assert key.misused_count == 0


# -- two homes ------------------------------------------------------------------------------------------


class Elsewhere:
    """The same world, as a copy of a home lies elsewhere in it."""

    def __init__(self, world: World, directory: Path) -> None:
        self._world = world
        self.directory = directory

    def __getattr__(self, name: str) -> object:
        return getattr(self._world, name)


class Copy:
    """A second process with one member's key. It hears what that member is told, a little later, and speaks as it."""

    def __init__(self, world: World, directory: Path) -> None:
        self._world = world
        self._heard: list[tuple[int, str, bytes]] = []
        self.node = WorldNode(Elsewhere(world, directory), MEMBER)  # type: ignore[arg-type]
        world.meddle = self._overhear
        world.liars.add(MEMBER)
        self.node.driver.start()
        for other in world.nodes:
            if other != MEMBER:
                self.node.driver.peer_up(other)

    def _overhear(self, source: str, target: str, data: bytes) -> bytes:
        if target == MEMBER:
            self._heard.append((self._world.now_ms + 40, source, data))
        return data

    def run(self, milliseconds: int) -> None:
        for _ in range(milliseconds // 10):
            self._world.run(10)
            due = [each for each in self._heard if each[0] <= self._world.now_ms]
            self._heard = [each for each in self._heard if each[0] > self._world.now_ms]
            for _, source, data in due:
                self.node.driver.receive(source, data)
            if self.node.arm() <= self._world.now_ms:
                self.node.tick()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "world")
    for member in VALIDATORS:
        world.start(member)
    world.run(3_000)
    yield world
    world.close()


def test_both_homes_that_run_with_one_key_learn_it(world: World, tmp_path: Path) -> None:
    copy = Copy(world, tmp_path / "copy")
    watches = [
        Watch(member=node.member, driver=node.driver, clock=node)
        for node in (world.nodes[MEMBER], copy.node, world.nodes[VALIDATORS[0]])
    ]
    for number in range(200):
        world.nodes[VALIDATORS[0]].submit(anchor_transaction(world.genesis, number, START_MS + world.now_ms))
        copy.run(300)
        found = [watch.look().find(KEY_MISUSED) for watch in watches]
        if found[0] is not None and found[1] is not None:
            break
    assert found[0] is not None and found[1] is not None and found[2] is None
    assert found[0].is_error and "another process has the key" in found[0].found
    copy.node.close()
