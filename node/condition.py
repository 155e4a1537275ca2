"""Is a node well? What it observes goes in, its condition comes out (docs/operators.md, Is it well).

Rule 1: this decides alone. Status, readiness, log and metrics show one condition, so that they cannot disagree.
Rule 2: it is a function of observations: the same ones give the same condition, in the same order, worst trouble first.
Rule 3: each trouble says what was found and who does what about it.
Rule 4: a node is ready where nothing that clients need is missing. What only an operator must see costs no readiness.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

WELL: Final = "well"

DISK_FULL: Final = "disk-full"
NO_QUORUM: Final = "no-quorum"
AMNESIA: Final = "amnesia"
ASKING: Final = "asking"
NO_FINALITY: Final = "no-finality"
FIRST_BLOCK: Final = "first-block"
BEHIND: Final = "behind"
SYNC_STALLED: Final = "sync-stalled"
RULES_UNKNOWN: Final = "rules-unknown"
KEY_MISUSED: Final = "key-misused"
CLOCKS_DISAGREE: Final = "clocks-disagree"
KEY_MISSING: Final = "key-missing"
CHAIN_MISSING: Final = "chain-missing"
LARGE_PACKETS_LOST: Final = "large-packets-lost"
DISK_LOW: Final = "disk-low"

CODES: Final = (
    DISK_FULL,
    NO_QUORUM,
    AMNESIA,
    ASKING,
    NO_FINALITY,
    CHAIN_MISSING,
    FIRST_BLOCK,
    BEHIND,
    SYNC_STALLED,
    RULES_UNKNOWN,
    KEY_MISUSED,
    CLOCKS_DISAGREE,
    KEY_MISSING,
    LARGE_PACKETS_LOST,
    DISK_LOW,
)
"""Every trouble, worst first."""

QUORUM_PATIENCE_MS: Final = 3_000
"""How long fewer peers than a quorum needs are taken for a connection that is dialled again."""
HEARTBEAT_SLACK_MS: Final = 2_000
"""How much later than its heartbeat an idle network's block may be."""
ASKING_PATIENCE_MS: Final = 3_000
"""How long the question at the start may take: a quorum that is up answers within a second."""
FINALITY_PATIENCE_MS: Final = 30_000
HEARTBEATS_MISSED_MAX: Final = 3
STALLED_PATIENCE_MS: Final = 30_000
CLOCK_DIFFERENCE_MS: Final = 2_000
"""How far two clocks may be apart. Blocks of a leader that is ahead by more wait until its turn is nearly over."""
DISK_LOW_SIZE: Final = 1024 * 1024 * 1024
DISK_FULL_SIZE: Final = 4 * 1024 * 1024
"""Less than a largest block and what the database writes beside it: the next one may fail, and then the node stops."""


@dataclass(frozen=True, slots=True)
class Observations:
    """What one node sees of itself and of its peers. Times are of its monotonic clock, in milliseconds.

    The defaults are those of a node that sees nothing wrong.
    """

    member: str = ""
    now_ms: int = 0
    began_ms: int = 0
    heartbeat_ms: int = 10_000
    validators: Sequence[str] = ()
    is_validator: bool = False
    """Whether it takes part in the epoch as a validator, key included."""
    lacks: str | None = None
    """What its home lacks, for which a member of the set follows instead of voting; None where nothing is."""
    lack_cure: str = ""
    lacks_key: bool = False
    """Whether that is the validator key which the epoch names."""
    is_lack_waited_out: bool = False
    """Whether catching up alone ends it."""
    down_since_ms: Mapping[str, int] = field(default_factory=dict)
    """The other validators that are not connected, and since when."""
    below_quorum_since_ms: int | None = None
    silent: Sequence[str] = ()
    """Validators that are connected, of whom no vote came for a while."""
    final_ms: int | None = None
    """When a block became final here last, in this run of the node."""
    has_first_block: bool = True
    is_behind: bool = False
    height: int = 0
    known_height: int = 0
    """The greatest height that peers say is final: f + 1 of them, where so many say it."""
    known_epoch: int = 0
    stalled_ms: int = 0
    """How long nothing came of what catching up asked for."""
    asked: Sequence[str] = ()
    asks_since_ms: int | None = None
    """Since when it asks for its own latest votes; None where it does not."""
    unanswered: Sequence[str] = ()
    observes_since_ms: int | None = None
    """Since when it observes, as it forgot votes; None where it does not."""
    until_view: int = 0
    finalized_view: int = 0
    clock_offsets_ms: Mapping[str, int] = field(default_factory=dict)
    """How far each validator's clock is ahead of this node's, where that is known."""
    disk_free_size: int | None = None
    """Bytes that the node may still write; None where that is not known."""
    key_misused_how: str | None = None
    """How it shows that somebody else signs with this node's key, or shows its certificate."""
    key_misused_count: int = 0
    """How often that was seen, in this run of the node."""
    misbehaviour_count: int = 0
    """How many validators were seen misbehaving, in this run of the node."""
    unknown_protocol: int | None = None
    """Rules that governors announced and this release does not know; None where it knows them."""
    protocol_height: int = 0
    """The first height of these rules."""
    swallowing: Sequence[str] = ()
    """Peers to whom small packets pass and large ones do not."""

    @property
    def quorum(self) -> int:
        """How many validators a quorum needs."""
        return len(self.validators) - self.faulty_max

    @property
    def faulty_max(self) -> int:
        """How many validators may fail."""
        return max(0, len(self.validators) - 1) // 3

    @property
    def connected(self) -> tuple[str, ...]:
        """The validators that are connected, this node among them where it is one."""
        own = () if self.is_validator else (self.member,)
        return tuple(each for each in self.validators if each not in self.down_since_ms and each not in own)

    @property
    def final_age_ms(self) -> int:
        """How long ago a block became final here; since the start where none has."""
        return self.now_ms - (self.began_ms if self.final_ms is None else self.final_ms)


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is not well: what was found, and who does what about it.

    `waits_for` is what the node needs before it is ready, None where it is ready all the same. `since_ms` is None where
    the trouble began when it was first seen.
    """

    code: str
    found: str
    cure: str
    waits_for: str | None = None
    since_ms: int | None = None
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """How a node is: its troubles, worst first, and what they were seen by."""

    troubles: tuple[Trouble, ...] = ()
    observations: Observations = field(default_factory=Observations)

    @property
    def state(self) -> str:
        """The code of the worst trouble, or that the node is well."""
        return self.troubles[0].code if self.troubles else WELL

    @property
    def obstacle(self) -> Trouble | None:
        """The worst trouble for which the node is not ready."""
        return next((each for each in self.troubles if each.waits_for is not None), None)

    @property
    def waits_for(self) -> str | None:
        """What the node waits for before it is ready; None where it is."""
        obstacle = self.obstacle
        return None if obstacle is None else f"{obstacle.waits_for}: {obstacle.found}"

    def find(self, code: str) -> Trouble | None:
        """Return the trouble of this code, if there is one."""
        return next((each for each in self.troubles if each.code == code), None)


def judge(seen: Observations) -> Condition:
    """Return the condition that these observations mean."""
    found = [trouble for judged in _JUDGES for trouble in (judged(seen),) if trouble is not None]
    return Condition(tuple(sorted(found, key=lambda each: CODES.index(each.code))), seen)


def show_lasting(milliseconds: int) -> str:
    """Return a duration for people: 95 s, 4 min 46 s, 2 h 5 min, 3 d 2 h."""
    seconds = max(0, milliseconds) // 1_000
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 2 * 3_600:
        return f"{seconds // 60} min {seconds % 60} s"
    if seconds < 48 * 3_600:
        return f"{seconds // 3_600} h {seconds % 3_600 // 60} min"
    return f"{seconds // 86_400} d {seconds % 86_400 // 3_600} h"


# -- agreement ------------------------------------------------------------------------------------------


def _no_quorum(seen: Observations) -> Trouble | None:
    since_ms = seen.below_quorum_since_ms
    if not seen.is_validator or since_ms is None or not _is_quorum_missed(seen, since_ms):
        return None
    missing = [
        f"{member} for {show_lasting(seen.now_ms - down_ms)}"
        for member, down_ms in sorted(seen.down_since_ms.items())
    ]
    return Trouble(
        NO_QUORUM,
        f"{_connected(seen)}, needs {seen.quorum}; missing {', '.join(missing)}; {_last_final(seen)}",
        "Start the nodes that are missing, or mend the links to them: ask their operators. It goes on by itself then.",
        waits_for="a quorum",
        since_ms=since_ms,
    )


def _is_quorum_missed(seen: Observations, since_ms: int) -> bool:
    """Say whether too few peers mean that no quorum is there. Others may have one, and tell what is final."""
    if seen.final_ms is None or seen.final_ms <= since_ms + QUORUM_PATIENCE_MS:
        return seen.now_ms - since_ms >= QUORUM_PATIENCE_MS
    return seen.now_ms - seen.final_ms >= seen.heartbeat_ms + HEARTBEAT_SLACK_MS


def _no_finality(seen: Observations) -> Trouble | None:
    patience_ms = max(FINALITY_PATIENCE_MS, HEARTBEATS_MISSED_MAX * seen.heartbeat_ms)
    if not seen.validators or seen.final_age_ms < patience_ms or _no_quorum(seen) is not None:
        return None
    reasons = [_connected(seen)]
    if seen.silent:
        reasons.append(f"no vote came from {_list(seen.silent)}")
    if not _is_quorum_of_clocks(seen):
        reasons.append("no quorum of clocks agrees")
    return Trouble(
        NO_FINALITY,
        f"{_last_final(seen)}; {'; '.join(reasons)}",
        "Look at the other nodes: who does not vote has amnesia, another clock, or links that fail.",
        waits_for="new final blocks",
        since_ms=seen.began_ms if seen.final_ms is None else seen.final_ms,
    )


def _first_block(seen: Observations) -> Trouble | None:
    if seen.has_first_block:
        return None
    found = f"none is final yet; {_connected(seen)}"
    cure = "Start the other validators; a new node fetches the chain as soon as it is connected."
    return Trouble(FIRST_BLOCK, found, cure, waits_for="the first final block", since_ms=seen.began_ms)


def _amnesia(seen: Observations) -> Trouble | None:
    since_ms = seen.observes_since_ms
    if since_ms is None:
        return None
    lasting = show_lasting(seen.now_ms - since_ms)
    return Trouble(
        AMNESIA,
        f"its vote log lacks votes that it cast, so it observes, for {lasting}: finality must pass view "
        f"{seen.until_view} and is at {seen.finalized_view}; {_connected(seen)}",
        f"It ends by itself while {seen.quorum} other validators vote. Where fewer can, see docs/operators.md, "
        "Two that forgot.",
        waits_for="the end of its amnesia",
        since_ms=since_ms,
    )


def _asking(seen: Observations) -> Trouble | None:
    since_ms = seen.asks_since_ms
    if since_ms is None or seen.now_ms - since_ms < ASKING_PATIENCE_MS:
        return None
    answers = len(seen.validators) - 1 - len(seen.unanswered)
    return Trouble(
        ASKING,
        f"it has asked for {show_lasting(seen.now_ms - since_ms)} for the votes that it cast before: {answers} of "
        f"{seen.quorum - 1} answers came; none from {_list(seen.unanswered)}",
        "Start the nodes that do not answer, or mend the links to them. It votes as soon as enough have answered.",
        waits_for="answers about its own votes",
        since_ms=since_ms,
    )


def _behind(seen: Observations) -> Trouble | None:
    if not seen.is_behind:
        return None
    found = (
        f"block {seen.height} is here, and peers say that {max(seen.known_height, seen.height + 1)} is final"
    )
    cure = "Wait: it fetches them. `luohu node status` shows how far it is."
    return Trouble(BEHIND, found, cure, waits_for="the blocks that others have made final")


def _sync_stalled(seen: Observations) -> Trouble | None:
    if seen.stalled_ms < STALLED_PATIENCE_MS:
        return None
    asked = f"from {_list(seen.asked)}" if seen.asked else "and nobody can be asked"
    return Trouble(
        SYNC_STALLED,
        f"nothing came for {show_lasting(seen.stalled_ms)}, {asked}",
        "Look at the links to these peers, and at whether any node holds what is missing.",
    )


# -- the node itself ------------------------------------------------------------------------------------


def _key_misused(seen: Observations) -> Trouble | None:
    if seen.key_misused_how is None:
        return None
    return Trouble(
        KEY_MISUSED,
        seen.key_misused_how,
        "Find the other process at once, and stop one of the two: a copy of this home, or its validator key elsewhere. "
        "If nobody of yours runs it, rotate the validator key. Then start this node anew.",
        is_error=True,
    )


def _rules_unknown(seen: Observations) -> Trouble | None:
    if seen.unknown_protocol is None:
        return None
    return Trouble(
        RULES_UNKNOWN,
        f"from block {seen.protocol_height} on the network follows rules {seen.unknown_protocol}, which this release "
        f"does not know: the node stops before it, {seen.protocol_height - seen.height - 1} blocks from here",
        "Install the release that knows these rules, and start the node again, before that block.",
        is_error=True,
    )


def _key_missing(seen: Observations) -> Trouble | None:
    if seen.lacks is None or not seen.lacks_key:
        return None
    return Trouble(KEY_MISSING, f"it lacks {seen.lacks}, and follows instead of voting", seen.lack_cure)


def _chain_missing(seen: Observations) -> Trouble | None:
    if seen.lacks is None or seen.lacks_key:
        return None
    waits_for = seen.lacks if seen.is_lack_waited_out else None
    found = "it follows instead of voting until then"
    return Trouble(CHAIN_MISSING, found if waits_for else f"it lacks {seen.lacks}", seen.lack_cure, waits_for)


def _disk_full(seen: Observations) -> Trouble | None:
    if seen.disk_free_size is None or seen.disk_free_size >= DISK_FULL_SIZE:
        return None
    found = f"{_size(seen.disk_free_size)} are free: the node stops at the first write that fails"
    return Trouble(
        DISK_FULL,
        found,
        "Make room, then start the node anew if it has stopped.",
        "room on its disk",
        None,
        True,
    )


def _disk_low(seen: Observations) -> Trouble | None:
    if seen.disk_free_size is None or not DISK_FULL_SIZE <= seen.disk_free_size < DISK_LOW_SIZE:
        return None
    found = f"{_size(seen.disk_free_size)} are free, less than {_size(DISK_LOW_SIZE)}"
    return Trouble(DISK_LOW, found, "Make room on the disk of `data/`: the chain only grows.")


# -- clocks and links -----------------------------------------------------------------------------------


def _clocks_disagree(seen: Observations) -> Trouble | None:
    others = _other_clocks(seen)
    if not others:
        return None
    told = ", ".join(f"{member} {_offset(offset_ms)}" for member, offset_ms in sorted(others.items()))
    alike = _largest_group(others.values())
    agreeing = _agreeing_count(seen)
    if agreeing >= seen.quorum:
        return Trouble(
            CLOCKS_DISAGREE,
            f"clocks differ from this node's, with which {agreeing} of {len(seen.validators)} agree: {told}",
            "Ask these operators to set their clocks (NTP). No restart is needed.",
        )
    if len(alike) > max(agreeing, seen.faulty_max):
        middle = sorted(alike)[len(alike) // 2]
        way = "behind" if middle > 0 else "ahead of"
        return Trouble(
            CLOCKS_DISAGREE,
            f"this node's clock is {show_lasting(abs(middle))} {way} {len(alike)} others, which agree: {told}",
            "Set this machine's clock (NTP). No restart is needed.",
            is_error=True,
        )
    return Trouble(
        CLOCKS_DISAGREE,
        f"no quorum of clocks agrees; beside this node's: {told}",
        "Find out with the other operators which clocks are right, and set the others (NTP). No restart is needed.",
        is_error=True,
    )


def _other_clocks(seen: Observations) -> dict[str, int]:
    offsets = seen.clock_offsets_ms.items()
    return {member: offset_ms for member, offset_ms in offsets if abs(offset_ms) >= CLOCK_DIFFERENCE_MS}


def _agreeing_count(seen: Observations) -> int:
    """Return how many validators may have this node's clock: whose clock is not known is counted as one of them."""
    return len(seen.validators) - len(_other_clocks(seen))


def _is_quorum_of_clocks(seen: Observations) -> bool:
    """Say whether a quorum may have clocks that agree, this node's own or others."""
    others = _other_clocks(seen)
    return max(_agreeing_count(seen), len(_largest_group(others.values()))) >= seen.quorum


def _largest_group(offsets: Iterable[int]) -> list[int]:
    """Return the most of these that lie within the difference that clocks may have."""
    ordered = sorted(offsets)
    groups = [[each for each in ordered if 0 <= each - low < CLOCK_DIFFERENCE_MS] for low in ordered]
    return max(groups, key=len, default=[])


def _large_packets_lost(seen: Observations) -> Trouble | None:
    if not seen.swallowing:
        return None
    return Trouble(
        LARGE_PACKETS_LOST,
        f"small packets reach {_list(seen.swallowing)}, and large ones did not: the path seems to swallow them; "
        "the node sends small ones meanwhile",
        "Have the network let ICMP `fragmentation needed` through, or set net.ipv4.tcp_mtu_probing=1 on both machines.",
    )


_JUDGES: Final = (
    _disk_full,
    _no_quorum,
    _amnesia,
    _asking,
    _no_finality,
    _first_block,
    _behind,
    _sync_stalled,
    _rules_unknown,
    _key_misused,
    _clocks_disagree,
    _key_missing,
    _chain_missing,
    _large_packets_lost,
    _disk_low,
)


# -- words ----------------------------------------------------------------------------------------------


def _connected(seen: Observations) -> str:
    return f"connected {len(seen.connected)} of {len(seen.validators)} validators"


def _last_final(seen: Observations) -> str:
    if seen.final_ms is None:
        return f"no block became final since the start {show_lasting(seen.final_age_ms)} ago"
    return f"last final block {show_lasting(seen.final_age_ms)} ago"


def _offset(offset_ms: int) -> str:
    return f"{show_lasting(abs(offset_ms))} {'ahead' if offset_ms > 0 else 'behind'}"


def _size(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


def _list(members: Sequence[str]) -> str:
    return ", ".join(sorted(members))
