"""One seed, one world: random faults for a while, then calm, in which the world must move.

Rule 1: at most f validators are Byzantine, dead for good, or restored from an old log, taken together.
Rule 2: after the storm all links are whole, everyone else runs, and within LIVENESS_BOUND_MS every honest node
has HEIGHTS_WANTED more blocks and every item, once.
"""

from collections import Counter
from dataclasses import dataclass

from node.consensus.config import Config
from tests.campaigns.simulation.core.byzantine import TEMPERS
from tests.campaigns.simulation.core.network import Network, Weather
from tests.campaigns.simulation.core.node import SimulatedNode
from tests.campaigns.simulation.core.oracle import Oracle, Violation
from tests.campaigns.simulation.core.signatures import make_validators
from tests.campaigns.simulation.core.world import World

LIVENESS_BOUND_MS = 120_000
HEIGHTS_WANTED = 6


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a seed gave."""

    seed: int
    validators_count: int
    temper: str
    heights: int
    views: int
    healed_after_ms: int
    events_count: int
    trace_hash: str
    sometimes: Counter[str]


class Cluster:
    """The nodes of one world, and what can be done to them."""

    def __init__(
        self,
        seed: int,
        *,
        validators_count: int = 4,
        weather: Weather | None = None,
        byzantine: dict[int, int] | None = None,
        config: Config | None = None,
        node_class: type[SimulatedNode] = SimulatedNode,
    ) -> None:
        self.world = World(seed)
        self.network = Network(self.world, weather or Weather())
        tempers = byzantine or {}
        self.oracle = Oracle(self.world, validators_count, frozenset(tempers))
        validators = make_validators(validators_count)
        self.nodes = [
            (TEMPERS[tempers[index]] if index in tempers else node_class)(
                self.world, self.network, self.oracle, validators, index, config or Config()
            )
            for index in range(validators_count)
        ]
        self.dead: set[int] = set()
        self.items_count = 0

    @property
    def honest(self) -> list[SimulatedNode]:
        """Nodes that keep the rules and are not dead for good."""
        faulty = self.oracle.faulty | self.dead
        return [node for node in self.nodes if node.index not in faulty]

    def start(self) -> None:
        """Start all."""
        for node in self.nodes:
            if node.index not in self.dead:
                node.start()

    def run(self, duration_ms: int) -> None:
        """Let time pass."""
        self.world.run_until(self.world.now_ms + duration_ms)

    def submit(self, node: SimulatedNode, *, is_gossiped: bool = True) -> None:
        """A client hands in an item."""
        self.items_count += 1
        if node.is_up:
            node.submit(self.items_count, is_gossiped=is_gossiped)

    def require_progress(self, bound_ms: int = LIVENESS_BOUND_MS) -> int:
        """Submit work and require that every honest node has it final in time; return the time it took."""
        start_ms = self.world.now_ms
        goals = {node.index: len(node.disk.chain) + HEIGHTS_WANTED for node in self.honest}

        def is_done() -> bool:
            return all(
                len(node.disk.chain) >= goals[node.index] and not node.pool - set(node.final_items())
                for node in self.honest
            )

        def feed() -> None:
            if not is_done() and self.world.now_ms < start_ms + bound_ms:
                self.submit(self.world.random.choice(self.honest))
                self.world.after(700, feed)

        feed()
        if not self.world.run_until(start_ms + bound_ms, is_done):
            state = [
                (
                    node.index,
                    node.core and (node.core.current_view, node.core.finalized.view),
                    len(node.disk.chain),
                )
                for node in self.nodes
            ]
            raise Violation(f"L1: no progress within {bound_ms} ms: {state}")
        return self.world.now_ms - start_ms

    def check(self) -> None:
        """Check what can only be checked at the end."""
        self.oracle.check_history()
        for node in self.honest:
            items = node.final_items()
            if len(items) != len(set(items)):
                raise Violation(f"I13: node {node.index} has an item final twice")


class Storm:
    """Random faults."""

    def __init__(self, cluster: Cluster, *, spare: int) -> None:
        self.cluster = cluster
        self.world = cluster.world
        self.spare = spare
        self.is_over = False

    def begin(self) -> None:
        """Plan the first faults."""
        random = self.world.random
        weather = self.cluster.network.weather
        weather.loss_permille = random.choice([0, 0, 20, 100, 300])
        weather.duplicate_permille = random.choice([0, 50, 300])
        weather.straggler_permille = random.choice([0, 20, 200])
        weather.delay_max_ms = random.choice([5, 20, 60, 200])
        crash_permille = random.choice([0, 0, 1, 2, 4])
        for node in self.cluster.nodes:
            node.crash_permille = crash_permille
            node.sync_max_ms = random.choice([0, 3, 40])
        self._next()

    def _next(self) -> None:
        if not self.is_over:
            self._strike()
            self.world.after(self.world.random.randint(200, 3_000), self._next)

    def _strike(self) -> None:
        random = self.world.random
        node = random.choice(self.cluster.nodes)
        fault = random.choice(["crash", "restart", "pause", "partition", "heal", "outage", "backup", "calm"])
        if fault == "crash" and node.is_up:
            node.crash()
        elif fault == "restart":
            self._restart_all()
        elif fault == "pause" and node.is_up:
            node.pause(random.randint(100, 4_000))
        elif fault == "partition":
            size = random.randint(1, len(self.cluster.nodes) - 1)
            self.cluster.network.partition(set(random.sample(range(len(self.cluster.nodes)), size)))
        elif fault == "heal":
            self.cluster.network.heal()
        elif fault == "outage" and random.randrange(3) == 0:
            self.world.sometimes["whole cluster restarted"] += 1
            for each in self.cluster.nodes:
                if each.is_up:
                    each.crash()
            self._restart_all()
        elif fault == "backup" and self.spare > 0 and node.index not in self.cluster.oracle.faulty:
            self._restore_backup(node)

    def _restart_all(self) -> None:
        for node in self.cluster.nodes:
            if not node.is_up and node.index not in self.cluster.dead:
                node.start()

    def _restore_backup(self, node: SimulatedNode) -> None:
        """From here on this validator counts as faulty."""
        self.spare -= 1
        self.cluster.oracle.faulty.add(node.index)
        if node.is_up:
            node.crash()
        node.disk.forget_last(min(self.world.random.randint(1, 60), len(node.disk.synced)))
        self.world.sometimes["log restored from a backup"] += 1
        node.start(log_is_damaged=self.world.chance(300))

    def end(self) -> None:
        """Calm: what is not dead for good runs, and the network works."""
        self.is_over = True
        weather = self.cluster.network.weather
        weather.loss_permille = weather.duplicate_permille = weather.straggler_permille = 0
        weather.delay_max_ms = 30
        for node in self.cluster.nodes:
            node.crash_permille = 0
            node.sync_max_ms = 3
        self._restart_all()
        self.cluster.network.heal()


def plan(seed: int, node_class: type[SimulatedNode] = SimulatedNode) -> tuple[Cluster, Storm]:
    """Return the world of a seed, not started yet."""
    dice = World(seed ^ 0x5EED).random
    count = dice.choice([4, 4, 4, 5, 7])
    spare = (count - 1) // 3
    byzantine: dict[int, int] = {}
    if dice.randrange(2) == 0:
        for index in dice.sample(range(count), spare):
            byzantine[index] = dice.randrange(len(TEMPERS))
        spare = 0
    cluster = Cluster(seed, validators_count=count, byzantine=byzantine, node_class=node_class)
    if spare > 0 and dice.randrange(4) == 0:
        spare -= 1
        cluster.dead.add(dice.randrange(count))
    return cluster, Storm(cluster, spare=spare)


def run_seed(
    seed: int, *, storm_ms: int = 15_000, node_class: type[SimulatedNode] = SimulatedNode
) -> Outcome:
    """Run one seed through storm and calm. Raises Violation or whatever the core raises."""
    cluster, storm = plan(seed, node_class)
    world = cluster.world
    cluster.start()
    storm.begin()

    def feed() -> None:
        if not storm.is_over:
            cluster.submit(world.random.choice(cluster.nodes), is_gossiped=world.chance(800))
            world.after(world.random.choice([30, 200, 500, 2_000]), feed)

    feed()
    cluster.run(storm_ms)
    storm.end()
    healed_after_ms = cluster.require_progress()
    cluster.check()
    tempers = sorted({type(node).__name__ for node in cluster.nodes if node.index in cluster.oracle.faulty})
    return Outcome(
        seed,
        len(cluster.nodes),
        "+".join(tempers) or "none",
        len(cluster.oracle.log),
        max(node.core.current_view for node in cluster.nodes if node.core is not None),
        healed_after_ms,
        world.events_count,
        world.trace_hash(),
        world.sometimes,
    )
