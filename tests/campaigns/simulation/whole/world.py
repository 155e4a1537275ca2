"""One schedule, one history: a storm, then a quorum that is healed alone, then everybody.

Rule 1: in the storm faults strike as the schedule says, and clients submit. The oracle judges every event.
Rule 2: then a random quorum of honest machines is healed: they run, their disks work, their clocks are right
and the links among them are whole. All other faults stay as they are: what is down stays down, what is cut
stays cut. Within CORE_BOUND_MS the quorum must make HEIGHTS_WANTED new blocks final, and all that clients want.
Rule 3: then everybody is healed. Within CONVERGENCE_BOUND_MS all honest machines hold the same blocks.
Rule 4: then, in every third world, clients fall silent. The network goes on by heartbeats alone, and where nobody
is Byzantine it does nothing else.
"""

import gc
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial

from ledger.rules.state import require_validators
from ledger.rules.transactions import Transaction
from tests.campaigns.simulation.whole.byzantine import ACTORS
from tests.campaigns.simulation.whole.certificates import certificate_in
from tests.campaigns.simulation.whole.clients import make_transaction
from tests.campaigns.simulation.whole.consortium import SPARE, Consortium
from tests.campaigns.simulation.whole.disk import ANY_STEP, VOTES
from tests.campaigns.simulation.whole.events import Timeline
from tests.campaigns.simulation.whole.governors import GOVERNING, SET_CHANGES, ask_for
from tests.campaigns.simulation.whole.keys import signatures
from tests.campaigns.simulation.whole.links import Links
from tests.campaigns.simulation.whole.machine import Machine
from tests.campaigns.simulation.whole.oracle import Oracle, Violation
from tests.campaigns.simulation.whole.schedule import Fault, Schedule, Weather

CORE_BOUND_MS = 60_000
CONVERGENCE_BOUND_MS = 60_000
SETTLING_MS = 15_000
QUIET_MS = 30_000
QUIET_BLOCKS = (2, 4)
HEIGHTS_WANTED = 10
HEIGHTS_MIN = 40
TRANSACTIONS_MIN = 200
FAULTS_MIN = 20
LIVE_PACE_MS = 250
LIVE_BATCH = 3
RETRY_MS = 500
LOSS_WAIT_MS = 5_000
NO_FAULTS = ("heal", "weather", *GOVERNING)
"""What strikes and is no fault: it does not count as one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a history gave."""

    seed: int
    validators_count: int
    actors: tuple[str, ...]
    heights: int
    transactions: int
    faults: int
    first_finality_ms: int
    healed_ms: int
    converged_ms: int
    events_count: int
    trace_hash: str
    sometimes: Counter[str]


@lru_cache(16)
def consortium_of(count: int, *, are_real: bool) -> Consortium:
    """Return the consortium of a size. Its genesis is signed in the way of the world."""
    return Consortium.of(count)


class World:
    """The machines of one schedule, their network and clients."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.timeline = Timeline()
        self.links = Links(self.timeline, schedule.seed)
        are_real = schedule.are_signatures_real
        self.consortium = consortium_of(schedule.validators_count, are_real=are_real)
        self.oracle = Oracle(self.timeline, self.consortium)
        self.faults_count = 0
        self._submitted_count = 0
        self._core: set[int] = set()
        self._set_changes: set[bytes] = set()
        self._is_feeding = True
        self._is_silent = False
        self._make_machines()

    def _make_machines(self) -> None:
        actors = dict(self.schedule.byzantine)
        for number, member in enumerate(self.consortium.members):
            kind = ACTORS[actors[number]] if number in actors else Machine
            self._add(kind, number, member)
        self._add(Machine, len(self.consortium.members), SPARE)
        for number, name in self.schedule.byzantine:
            self.oracle.faulty.add(self.consortium.members[number])
            if name == "twins":
                self._add(ACTORS[name], len(self.links.machines), self.consortium.members[number])

    def _add(self, kind: type[Machine], number: int, member: str) -> None:
        machine = kind(number, member, self.consortium, self.links, self.oracle)
        self.links.machines[number] = machine

    @property
    def machines(self) -> list[Machine]:
        """All machines, twins too."""
        return [machine for machine in self.links.machines.values() if isinstance(machine, Machine)]

    @property
    def honest(self) -> list[Machine]:
        """The machines whose members keep the rules and remember their votes."""
        return [machine for machine in self.machines if self.oracle.is_honest(machine)]

    # The storm.

    def storm(self) -> None:
        """Start everybody, and let the faults strike."""
        self._turn_weather(self.schedule.weather)
        for machine in self.machines:
            machine.start()
        storm_ms = self.schedule.storm_ms
        for fault in self.schedule.faults:
            if fault.at_ms < storm_ms:
                self.timeline.at(fault.at_ms, partial(self._strike, fault))
        self.timeline.at(200, self._feed)
        self.timeline.at(200, self._retry)
        self.timeline.run_until(storm_ms)
        for fault in self.schedule.faults:
            if fault.at_ms >= storm_ms and self.faults_count < FAULTS_MIN:
                self.timeline.run_until(fault.at_ms)
                self._strike(fault)

    def _feed(self) -> None:
        schedule, timeline = self.schedule, self.timeline
        if self._submitted_count >= schedule.transactions_count and not self._core:
            return
        place = self._submitted_count
        batch = [self._next_transaction() for _ in range(LIVE_BATCH if self._core else 1)]
        self._clients_submit(place, batch)
        if place % 4 == 1:
            # Another client hands in the same at the same time.
            self._clients_submit(place + 1, batch)
        if self._is_feeding:
            timeline.after(LIVE_PACE_MS if self._core else schedule.pace_ms, self._feed)

    def _next_transaction(self) -> Transaction:
        schedule, timeline = self.schedule, self.timeline
        number = self._submitted_count
        self._submitted_count += 1
        transaction, is_wanted = make_transaction(
            self.consortium, number, are_real=schedule.are_signatures_real
        )
        self.oracle.clients.take(transaction, timeline.now_ms, is_wanted=is_wanted)
        return transaction

    def _retry(self) -> None:
        due = self.oracle.clients.due(self.timeline.now_ms)
        if due and not self._is_silent:
            self._clients_submit(self.timeline.now_ms // RETRY_MS, due)
        self.timeline.after(RETRY_MS, self._retry)

    def _clients_submit(self, place: int, transactions: list[Transaction]) -> None:
        among = sorted(self._core) or [machine.number for machine in self.machines]
        machine = self.links.machines[among[place % len(among)]]
        assert isinstance(machine, Machine)
        machine.submit(transactions)

    # Faults.

    def _strike(self, fault: Fault) -> None:
        machines = [self.links.machines[number] for number in fault.targets]
        if self._apply(fault, machines):  # type: ignore[arg-type]
            self.faults_count += fault.kind not in NO_FAULTS
            self.timeline.sometimes[f"fault: {fault.kind}"] += 1
            self.timeline.trace(f"fault {fault.kind} {fault.targets}")

    def _apply(self, fault: Fault, targets: list[Machine]) -> bool:
        timeline, numbers = self.timeline, fault.numbers
        everybody = list(self.links.machines)
        if fault.kind == "weather":
            return self._turn_weather(Weather(*numbers))
        if fault.kind == "heal":
            had_cuts = bool(self.links.cut)
            self.links.heal()
            return had_cuts
        first = targets[0]
        match fault.kind:
            case "crash":
                return first.is_up and self._stop(first, salt=numbers[0], restart_ms=numbers[1])
            case "crash-at":
                first.disk.steps_left = numbers[0] if first.is_up else None
                first.disk.cut_among = numbers[1] if len(numbers) > 1 else ANY_STEP
                return first.is_up
            case "kill":
                return first.is_up and self._stop(first, salt=None, restart_ms=numbers[0])
            case "pause":
                first.pause(numbers[0])
                return first.is_up
            case "isolate" | "split":
                rest = [number for number in everybody if number not in fault.targets]
                self.links.cut_between(fault.targets, rest)
            case "ring":
                self.links.ring(list(fault.targets))
            case "one-way":
                rest = [number for number in everybody if number not in fault.targets]
                ways = (fault.targets, rest) if numbers[0] else (rest, fault.targets)
                self.links.cut_between(*ways, is_one_way=True)
            case "clog":
                self.links.clog(fault.targets[0], fault.targets[1], timeline.now_ms + numbers[0])
            case "slow-disk":
                first.disk.latency_ms = numbers[0]
                timeline.after(2_000, partial(_quicken, first))
            case "full-disk":
                first.disk.is_full = True
                timeline.after(numbers[0], partial(_empty, first))
            case "rot-database":
                return first.disk.records.rot(random.Random(numbers[0]))
            case "flip-read":
                first.disk.records.reads_until_flip = numbers[0]
            case "rot-log-copy":
                return self._rot_log_copy(first, numbers[0])
            case "lose-database":
                self._lose_database(first, numbers[0], until_ms=timeline.now_ms + LOSS_WAIT_MS)
            case "clock-step":
                first.clock_offset_ms += numbers[0]
            case "clock-drift":
                first.clock_drift_permille = numbers[0]
            case "outage":
                for machine in self.machines:
                    if machine.is_up:
                        self._stop(machine, salt=numbers[0], restart_ms=200 + 90 * machine.number)
            case kind if kind in GOVERNING:
                return self._change_validators(kind, first)
            case "forget-votes":
                self._forget_votes(first, *numbers)
            case _:
                raise AssertionError(f"an unknown fault: {fault.kind}")
        return True

    @staticmethod
    def _rot_log_copy(machine: Machine, salt: int) -> bool:
        """Damage one copy of a group whose other one is whole: both, in two faults, is to forget votes.

        A power cut may have torn the other copy, and the next start has not mended it yet.
        """
        if machine.is_log_rotten or not machine.is_up or machine.disk.files.has_unsynced(VOTES):
            return False
        machine.is_log_rotten = machine.disk.rot_log(VOTES, salt, copies_count=1)
        return machine.is_log_rotten

    def _turn_weather(self, weather: Weather) -> bool:
        now = self.links.weather
        now.loss_permille, now.duplicate_permille = weather.loss_permille, weather.duplicate_permille
        now.straggler_permille, now.delay_max_ms = weather.straggler_permille, weather.delay_max_ms
        return True

    def _stop(self, machine: Machine, *, salt: int | None, restart_ms: int) -> bool:
        machine.stop(salt=salt, restart_ms=restart_ms)
        return True

    def _lose_database(self, machine: Machine, salt: int, *, until_ms: int) -> None:
        """Take a database away, as soon as no block depends on it that more than f members would have lost."""
        if self.oracle.may_lose_database(machine):
            self._stop(machine, salt=salt, restart_ms=400)
            machine.lose_database()
            self.timeline.sometimes["database lost"] += 1
        elif self.timeline.now_ms < until_ms and not self._core:
            self.timeline.after(50, partial(self._lose_database, machine, salt, until_ms=until_ms))

    def _change_validators(self, kind: str, machine: Machine) -> bool:
        """Let the governors ask for a change of the validator set."""
        clients = self.oracle.clients
        asked = ask_for(self.consortium, self.oracle.ledger.state, kind, machine.member)
        for place, transaction in enumerate(asked):
            clients.take(transaction, self.timeline.now_ms, is_wanted=False)
            clients.governing.add(transaction.id)
            if kind in SET_CHANGES:
                self._set_changes.add(transaction.id)
            self._keep_certificate(transaction)
            self._clients_submit(place, [transaction])
        return bool(asked)

    def _keep_certificate(self, transaction: Transaction) -> None:
        made = certificate_in(transaction.body.operations[0], transaction.body.sender)
        for machine in self.machines:
            if made is not None and machine.member == made[0]:
                machine.certificates.add(made[1])

    def _forget_votes(self, machine: Machine, way: int, salt: int) -> None:
        """From here on this member counts as faulty."""
        self.oracle.faulty.add(machine.member)
        self._stop(machine, salt=salt, restart_ms=600)
        if way == 0:
            machine.disk.lose_log()
        elif way == 1:
            machine.disk.rot_log(VOTES, salt, copies_count=2)
        else:
            machine.disk.lose_log()
            machine.lose_database()

    # The quorum alone.

    def heal_core(self) -> None:
        """Choose a quorum of honest machines, heal it, and require that it goes on."""
        oracle = self.oracle
        validators = [member for member, _ in oracle.sets[max(oracle.sets)]]
        quorum = len(validators) - (len(validators) - 1) // 3
        candidates = [machine.number for machine in self.honest if machine.member in validators]
        random.Random(self.schedule.core_salt).shuffle(candidates)
        # A change under way may put the spare into the set, or a member back, a Byzantine one too: of whatever set it
        # leads to, a quorum must be there.
        if self._is_set_changing():
            self.timeline.sometimes["all healed for a change of validators under way"] += 1
            quorum = len(candidates)
        others = [machine.number for machine in self.honest if machine.member not in validators]
        self._core = {*candidates[:quorum], *others}
        self._heal(self._core)
        self.links.calm = set(self._core)
        self.links.heal(among=self._core)

    def _is_set_changing(self) -> bool:
        is_pending = require_validators(self.oracle.ledger.state).pending is not None
        return is_pending or not self._set_changes.isdisjoint(self.oracle.clients.waiting)

    def _heal(self, numbers: Iterable[int]) -> None:
        for number in sorted(numbers):
            machine = self.links.machines[number]
            assert isinstance(machine, Machine)
            machine.disk.is_full = False
            machine.disk.latency_ms = 1
            machine.disk.steps_left = None
            machine.disk.records.reads_until_flip = None
            machine.clock_offset_ms = machine.clock_drift_permille = 0
            machine.start()

    def require_core_progress(self) -> tuple[int, int]:
        """Require new heights and everything wanted of the quorum in time; return first finality and the time."""
        start_ms = self.timeline.now_ms
        start_height = len(self.oracle.ledger.blocks)
        goal = max(start_height + HEIGHTS_WANTED, HEIGHTS_MIN)
        self._feed()

        def is_done() -> bool:
            ledger = self.oracle.ledger
            if len(ledger.blocks) <= goal or len(ledger.places) < TRANSACTIONS_MIN:
                return False
            self._is_feeding = False
            lowest = min(self.oracle.heights[number] for number in self._core)
            return lowest >= goal and self._is_all_final(lowest)

        if not self.timeline.run_until(start_ms + CORE_BOUND_MS, is_done):
            raise Violation(f"L1: no progress of {sorted(self._core)} in {CORE_BOUND_MS} ms: {self._state()}")
        later = [time_ms for time_ms in self.oracle.finality_times if time_ms > start_ms]
        return later[0] - start_ms, self.timeline.now_ms - start_ms

    def _is_all_final(self, height: int) -> bool:
        unmet, places = self.oracle.clients.unmet, self.oracle.ledger.places
        unmet -= {wanted for wanted in unmet if places.get(wanted, height + 1) <= height}
        return not unmet

    def _state(self) -> str:
        missing = [each for each in self.oracle.clients.wanted if each not in self.oracle.ledger.places]
        return f"{len(missing)} transactions wait; " + "; ".join(map(_describe, self.machines))

    # Everybody.

    def require_convergence(self) -> int:
        """Heal all and require one chain; return the time it took."""
        start_ms = self.timeline.now_ms
        self.links.weather.loss_permille = self.links.weather.straggler_permille = 0
        self.links.weather.delay_max_ms = 15
        self._heal(self.links.machines)
        self.links.calm = set(self.links.machines)
        self.links.heal()
        goal = len(self.oracle.ledger.blocks) - 1

        def is_done() -> bool:
            return all(self.oracle.heights[machine.number] >= goal for machine in self._must_converge())

        if not self.timeline.run_until(start_ms + CONVERGENCE_BOUND_MS, is_done):
            raise Violation(f"L1: no convergence in {CONVERGENCE_BOUND_MS} ms: {self._state()}")
        return self.timeline.now_ms - start_ms

    def require_quiet(self) -> None:
        """Let clients fall silent and require heartbeats and, among the honest, nothing else."""
        self._is_silent = True
        self.timeline.run_until(self.timeline.now_ms + SETTLING_MS)
        height, view = len(self.oracle.ledger.blocks), self._highest_view()
        self.timeline.run_until(self.timeline.now_ms + QUIET_MS)
        blocks = len(self.oracle.ledger.blocks) - height
        lowest, highest = QUIET_BLOCKS
        if blocks < lowest:
            raise Violation(f"L2: {blocks} blocks in {QUIET_MS} idle ms: {self._state()}")
        views = self._highest_view() - view
        if not self.schedule.byzantine and (blocks > highest or views > 2 * highest):
            raise Violation(f"L2: {blocks} blocks, {views} views in {QUIET_MS} idle ms: {self._state()}")

    def _highest_view(self) -> int:
        drivers = [machine.driver for machine in self._must_converge() if machine.driver is not None]
        return max(driver.core.current_view for driver in drivers)

    def _must_converge(self) -> list[Machine]:
        return [machine for machine in self.machines if machine.keeps_rules]

    def check(self) -> None:
        """Check what can only be checked at the end."""
        self.oracle.check_history()
        self.oracle.check_final_root()
        for machine in self._must_converge():
            self.oracle.check_store(machine)


def _quicken(machine: Machine) -> None:
    machine.disk.latency_ms = 0


def _empty(machine: Machine) -> None:
    machine.disk.is_full = False


def _describe(machine: Machine) -> str:
    if machine.driver is None or not machine.is_up:
        return f"{machine.member} down"
    core = machine.driver.core
    return (
        f"{machine.member} view {core.current_view} final {core.finalized.view} "
        f"height {machine.driver.chain.tip.header.height} {core.standing.value}"
    )


def run(schedule: Schedule, *, listener: Callable[[int, str], None] | None = None) -> Outcome:
    """Run a schedule to its end. Raises Violation, or whatever the code under test raises."""
    with _silence(), _no_collection(), signatures(are_real=schedule.are_signatures_real):
        return _run(World(schedule), listener)


@contextmanager
def _silence() -> Iterator[None]:
    logger = logging.getLogger("node")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _no_collection() -> Iterator[None]:
    """A world is small and dies whole: looking for cycles in it while it lives is of no use."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _run(world: World, listener: Callable[[int, str], None] | None) -> Outcome:
    schedule, timeline, oracle = world.schedule, world.timeline, world.oracle
    timeline.listener = listener
    world.storm()
    world.heal_core()
    first_finality_ms, healed_ms = world.require_core_progress()
    converged_ms = world.require_convergence()
    if schedule.seed % 3 == 0:
        world.require_quiet()
    world.check()
    return Outcome(
        schedule.seed,
        schedule.validators_count,
        tuple(name for _, name in schedule.byzantine),
        len(oracle.ledger.blocks) - 1,
        len(oracle.ledger.places),
        world.faults_count,
        first_finality_ms,
        healed_ms,
        converged_ms,
        timeline.events_count,
        timeline.trace_hash(),
        timeline.sometimes,
    )
