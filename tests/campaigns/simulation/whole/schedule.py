"""A schedule: everything that is decided about a history before it begins, as data.

Rule 1: `plan` draws a whole schedule from one `random.Random(seed)`; running it draws nothing more. What a
message or a power cut meets follows from the schedule's seed and from its own place.
Rule 2: a schedule is stored as JSON and replayed as it stands, whatever `plan` has become since.
Rule 3: what is planned for after `storm_ms` is a reserve: it strikes until there were faults enough, and no longer.
Rule 4: at most f members are Byzantine or lose votes that they cast, taken together.
"""

import json
import random
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tests.campaigns.simulation.whole.byzantine import ACTORS

FORMAT = 1
STORM_MS = 15_000
LOSSES_COUNT = 3
RESERVE_MS = 16_000
REINSTATE_MS = 3_000
TRANSACTIONS_COUNT = 160


CHANGES = (
    *("rotate", "replace", "replace", "remove", "add", "rotate-tls", "rotate-tls") * 2,
    *("suspend", "suspend", "suspend", "member-key", "lost-key", "names", "names", "roles", "roles"),
    "new-member",
    *("schema", "issuers", "issuers", "purpose", "notices", "parameters", "parameters", "outvoted"),
)
CUTS = ("isolate", "split", "ring", "one-way")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, at a time. What `targets` and `numbers` mean depends on the kind (world.py)."""

    at_ms: int
    kind: str
    targets: tuple[int, ...] = ()
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Weather:
    """How bad the network is in the storm, in thousandths and milliseconds."""

    loss_permille: int
    duplicate_permille: int
    straggler_permille: int
    delay_max_ms: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """One history in advance."""

    seed: int
    validators_count: int
    are_signatures_real: bool
    byzantine: tuple[tuple[int, str], ...]
    weather: Weather
    storm_ms: int
    transactions_count: int
    pace_ms: int
    core_salt: int
    faults: tuple[Fault, ...]

    def to_json(self) -> str:
        """Return the schedule as text."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Schedule":
        """Return the schedule that was stored."""
        value = json.loads(text)
        assert value.pop("format") == FORMAT, "a schedule of this format"
        faults = tuple(
            Fault(each["at_ms"], each["kind"], tuple(each["targets"]), tuple(each["numbers"]))
            for each in value.pop("faults")
        )
        byzantine = tuple((number, name) for number, name in value.pop("byzantine"))
        return cls(**{**value, "weather": Weather(**value["weather"])}, faults=faults, byzantine=byzantine)

    @classmethod
    def load(cls, path: Path) -> "Schedule":
        """Read a stored schedule."""
        return cls.from_json(path.read_text())

    def without(self, places: set[int]) -> "Schedule":
        """Return the schedule with some of its faults left out."""
        kept = tuple(fault for place, fault in enumerate(self.faults) if place not in places)
        return replace(self, faults=kept)


def plan(seed: int, *, validators_count: int | None = None, byzantine: str | None = None) -> Schedule:
    """Return the schedule of a seed, perhaps of a given size or with a given actor."""
    chance = random.Random(seed)
    count = (
        chance.choice((4, 4, 4, 4, 4, 4, 5, 5, 7, 7, 10)) if validators_count is None else validators_count
    )
    spare = (count - 1) // 3
    actors: list[tuple[int, str]] = []
    is_byzantine = chance.randrange(5) < 3
    if is_byzantine or byzantine is not None:
        actors = [
            (number, byzantine or chance.choice(tuple(ACTORS)))
            for number in chance.sample(range(count), spare)
        ]
        spare = 0
    weather = Weather(
        chance.choice((0, 0, 20, 100, 300)),
        chance.choice((0, 50, 300)),
        chance.choice((0, 20, 100)),
        chance.choice((5, 15, 60, 150)),
    )
    storm = _Storm(chance, count, [number for number, _ in actors], spare)
    faults = storm.faults()
    if "snapshot-forger" in {name for _, name in actors}:
        faults = tuple(sorted((*faults, *storm.losses()), key=lambda fault: fault.at_ms))
    return Schedule(
        seed,
        count,
        chance.randrange(12) == 0,
        tuple(sorted(actors)),
        weather,
        STORM_MS,
        TRANSACTIONS_COUNT,
        chance.choice((25, 40, 60)),
        chance.randrange(2**32),
        faults,
    )


class _Storm:
    """Draws faults, one after the other, over the storm's time."""

    def __init__(self, chance: random.Random, count: int, actors: list[int], spare: int) -> None:
        self._chance = chance
        self._count = count
        self._honest = [number for number in range(count) if number not in actors]
        self._spare = spare
        self._far_off: set[int] = set()
        self._kinds = (
            ("crash", 8),
            ("crash-at", 14),
            ("kill", 6),
            ("pause", 6),
            ("isolate", 5),
            ("split", 3),
            ("ring", 2),
            ("one-way", 5),
            ("heal", 5),
            ("clog", 6),
            ("slow-disk", 5),
            ("full-disk", 4),
            ("rot-database", 3),
            ("flip-read", 4),
            ("rot-log-copy", 3),
            ("lose-database", 2),
            ("clock-step", 4),
            ("clock-drift", 3),
            ("outage", 1),
            ("forget-votes", 2),
        )
        self._has_changes = chance.randrange(2) == 0

    def faults(self) -> tuple[Fault, ...]:
        """Return the storm, in order of time."""
        names = [name for name, _ in self._kinds]
        weights = [weight for _, weight in self._kinds]
        found: list[Fault] = []
        at_ms = self._chance.randint(300, 900)
        while at_ms < STORM_MS + RESERVE_MS:
            fault = self._draw(at_ms, self._chance.choices(names, weights)[0])
            if fault is not None:
                found.append(fault)
                found += self._mended(fault)
                at_ms += self._chance.randint(80, 1_000)
        found += self._weather()
        if self._has_changes:
            found += self._changes()
        return tuple(sorted(found, key=lambda fault: fault.at_ms))

    def _mended(self, fault: Fault) -> list[Fault]:
        """Mend most cuts after a while: a network that stays in pieces does nothing that could go wrong."""
        if fault.kind not in CUTS or self._chance.randrange(3) == 0:
            return []
        return [Fault(fault.at_ms + self._chance.randint(200, 2_500), "heal")]

    def _weather(self) -> list[Fault]:
        """Return turns of the weather, over the storm's time: more calm ones than rough ones."""
        chance, found = self._chance, []
        at_ms = chance.randint(1_000, 4_000)
        while at_ms < STORM_MS:
            loss = chance.choice((0, 0, 0, 20, 100, 300))
            numbers = (
                loss,
                chance.choice((0, 50, 300)),
                chance.choice((0, 20, 100)),
                chance.choice((5, 15, 60, 150)),
            )
            found.append(Fault(at_ms, "weather", (), numbers))
            at_ms += chance.randint(1_000, 4_000)
        return found

    def _changes(self) -> list[Fault]:
        """Return changes of the validator set, over the storm's time."""
        chance, found = self._chance, [Fault(400, "register-spare", (0,))]
        at_ms = chance.randint(1_500, 3_000)
        while at_ms < STORM_MS:
            kind = chance.choice(CHANGES)
            # The spare, which is the last machine, has no validator key to rotate at first, but a certificate.
            target = chance.randrange(self._count + (kind == "rotate-tls"))
            found.append(Fault(at_ms, kind, (target,)))
            if kind == "suspend":
                # Asked for again, it is the reinstatement.
                found.append(Fault(at_ms + REINSTATE_MS, kind, (target,)))
            at_ms += chance.randint(500, 2_500)
        return found

    def losses(self) -> list[Fault]:
        """Return losses of databases late in the storm: who lost one asks for a snapshot."""
        return [
            Fault(
                self._chance.randint(STORM_MS // 2, STORM_MS),
                "lose-database",
                (self._chance.choice(self._honest),),
                (self._chance.randrange(2**32),),
            )
            for _ in range(LOSSES_COUNT)
        ]

    def _draw(self, at_ms: int, kind: str) -> Fault | None:
        chance, count = self._chance, self._count
        target = chance.randrange(count)
        salt = chance.randrange(2**32)
        match kind:
            case "crash":
                return Fault(at_ms, kind, (target,), (salt, chance.choice((50, 300, 1_500, 4_000))))
            case "crash-at":
                among = chance.randrange(3)
                return Fault(at_ms, kind, (target,), (chance.randrange((24, 16, 36)[among]), among))
            case "kill":
                return Fault(at_ms, kind, (target,), (chance.choice((50, 300, 1_500)),))
            case "pause":
                return Fault(at_ms, kind, (target,), (chance.randint(100, 3_000),))
            case "isolate":
                return Fault(at_ms, kind, (target,))
            case "split":
                side = chance.sample(range(count), chance.randint(1, count - 1))
                return Fault(at_ms, kind, tuple(sorted(side)))
            case "ring":
                return Fault(at_ms, kind, tuple(chance.sample(range(count), count)))
            case "one-way":
                side = chance.sample(range(count), chance.randint(1, max(1, count // 3)))
                return Fault(at_ms, kind, tuple(sorted(side)), (chance.randrange(2),))
            case "clog":
                one, other = chance.sample(range(count), 2)
                return Fault(at_ms, kind, (one, other), (chance.randint(200, 4_000),))
            case "slow-disk":
                return Fault(at_ms, kind, (target,), (chance.choice((5, 20, 80, 250)),))
            case "full-disk":
                return Fault(at_ms, kind, (target,), (chance.randint(200, 3_000),))
            case "rot-database" | "rot-log-copy":
                return Fault(at_ms, kind, (target,), (salt,))
            case "flip-read":
                return Fault(at_ms, kind, (target,), (chance.randrange(60),))
            case "clock-step":
                return Fault(at_ms, kind, (target,), (self._step_ms(target),))
            case "clock-drift":
                return Fault(at_ms, kind, (target,), (chance.randint(-20, 20),))
            case "forget-votes":
                if self._spare == 0 or target not in self._honest:
                    return None
                self._spare -= 1
                self._honest.remove(target)
                return Fault(at_ms, kind, (target,), (chance.randrange(3), salt))
            case _:
                return Fault(at_ms, kind, (target,), (salt,))

    def _step_ms(self, target: int) -> int:
        """Step far in no more than f clocks: a quorum that is ahead makes blocks that the rest must wait for."""
        is_far = self._chance.randrange(2) == 0
        if is_far and len(self._far_off | {target}) <= (self._count - 1) // 3:
            self._far_off.add(target)
            return self._chance.choice((-60_000, 60_000))
        return self._chance.choice((-700, -80, 80, 700))
