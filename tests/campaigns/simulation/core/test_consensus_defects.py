"""Deliberate defects, each of which the simulator must find: a checker that never fails shows nothing."""

from collections.abc import Callable, Sequence

import pytest

from ledger.rules.certificates import NULLIFY, QuorumCertificate
from node.consensus import core, restore, voter
from node.consensus.effects import Broadcast, Effect, Persist
from node.consensus.emission import Emission
from node.consensus.journal import Floor, JournalRecord
from node.consensus.pacemaker import Pacemaker
from node.consensus.rounds import Rounds
from node.consensus.viewstates import Certification
from node.consensus.votebook import VoteBook
from tests.campaigns.simulation.core.byzantine import TEMPERS
from tests.campaigns.simulation.core.network import Weather
from tests.campaigns.simulation.core.node import SimulatedNode
from tests.campaigns.simulation.core.oracle import Violation
from tests.campaigns.simulation.core.scenario import Cluster, run_seed

SEEDS_MAX = 40


def hunt(run: Callable[[int], object]) -> str:
    """Run seeds until one fails, and return the violated claim."""
    for seed in range(SEEDS_MAX):
        try:
            run(seed)
        except (Violation, AssertionError) as error:
            return str(error)
    pytest.fail(f"{SEEDS_MAX} seeds did not find the defect")


def test_votes_forgotten_in_a_restart_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore, "_restore_vote", lambda rounds, vote: None)
    assert "I7" in (claim := hunt(run_seed)) or "forgot" in claim


def test_a_vote_that_is_not_persisted_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voter, "VoteCast", lambda vote: Floor(3, 0))
    assert "I10" in hunt(run_seed)


def test_sending_before_persisting_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    drain = Emission.drain

    def send_first(self: Emission) -> list[Effect]:
        effects = drain(self)
        sends = [effect for effect in effects if isinstance(effect, Broadcast)]
        return sends + [effect for effect in effects if not isinstance(effect, Broadcast)]

    monkeypatch.setattr(Emission, "drain", send_first)
    assert "I10" in hunt(run_seed)


def test_a_quorum_that_is_one_too_small_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    find_quorum = VoteBook.find_quorum

    def too_small(self: VoteBook, kind: str, quorum: int) -> QuorumCertificate | None:
        return find_quorum(self, kind, quorum - 1)

    monkeypatch.setattr(VoteBook, "find_quorum", too_small)
    assert "I6" in hunt(run_seed)


def test_building_over_views_that_nobody_skipped_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rounds, "find_first_gap", lambda self, after, before: None)
    usurper = [temper.__name__ for temper in TEMPERS].index("Usurper")

    def run(seed: int) -> None:
        cluster = Cluster(seed, weather=Weather(2, 60), byzantine={2: usurper})
        cluster.start()
        for _ in range(500):
            cluster.submit(cluster.nodes[0])
            cluster.run(20)
        cluster.check()

    assert "I5" in hunt(run)


def test_finalizing_what_was_nullified_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    settle = voter.Voter._settle

    def careless(self: voter.Voter, view: int, now_ms: int) -> None:
        found = self._rounds.at(view)
        is_certified = found.certification is Certification.VALID
        hidden = found.own.pop(NULLIFY, None) if is_certified else None
        settle(self, view, now_ms)
        if hidden is not None:
            found.own[NULLIFY] = hidden

    monkeypatch.setattr(voter.Voter, "_settle", careless)
    assert "I7" in hunt(run_seed)


def test_never_saying_anything_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "standstill_messages", lambda rounds, *, from_view: ([], 0))
    monkeypatch.setattr(core, "catch_up_messages", lambda rounds, **views: [])
    monkeypatch.setattr(core, "own_votes_above_finality", lambda rounds: [])
    monkeypatch.setattr(voter, "stuck_messages", lambda rounds: [])
    assert "L1" in hunt(run_seed)


def test_a_leader_that_ignores_others_work_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pacemaker, "_is_obliged", Pacemaker.has_own_reason)

    def run(seed: int) -> None:
        cluster = Cluster(seed)
        cluster.start()
        cluster.run(1_500)
        cluster.submit(cluster.nodes[seed % 4], is_gossiped=False)
        cluster.run(4_000)
        nullified = [name for name in cluster.world.sometimes if name.startswith("nullify")]
        assert not nullified, "an honest leader was given up"

    assert "given up" in hunt(run)


def test_a_node_that_loses_synced_records_is_found() -> None:
    class Careless(SimulatedNode):
        def make_core(self, journal: Sequence[JournalRecord]) -> core.Simplex:
            return super().make_core(journal[: len(journal) * 9 // 10])

    assert hunt(lambda seed: run_seed(seed, node_class=Careless))


def test_persist_is_never_performed_like_any_other_effect() -> None:
    node = Cluster(1).nodes[0]
    with pytest.raises(AssertionError, match="Persist stands first"):
        node.perform(Persist(()))
