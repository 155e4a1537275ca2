"""`luohu node explain`: what a node's core was told and decided, made again from its core log (docs/core-log.md)."""

import dataclasses
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from cli.exits import FINE, NO, require_posix, wrong_usage
from cli.files import FILE
from cli.output import Progress, json_option, print_answer
from cli.times import show_time
from ledger.encoding.records import Json
from ledger.errors import LedgerError
from ledger.rules.certificates import Subject

if TYPE_CHECKING:
    from node.replica.explain import Decision

SHOWN: Final = 20
DIGITS: Final = 8
VALIDATOR_FIELDS: Final = frozenset(("leader", "peer", "peers", "signer"))


@dataclasses.dataclass(slots=True)
class _Replayed:
    """One segment: what it is of, how many decisions were made again, and what is wrong with it."""

    name: str
    member: str | None = None
    epoch: int | None = None
    chain_id: str | None = None
    validators: str | None = None
    count: int = 0
    deviations_count: int = 0
    problem: LedgerError | None = None

    @property
    def is_fine(self) -> bool:
        return self.problem is None and self.deviations_count == 0


@click.command("explain")
@click.option("--home", "path", type=FILE, required=True, help="The member's home directory.")
@click.option(
    "--last", type=click.IntRange(0), default=SHOWN, show_default=True, help="How many decisions to show."
)
@json_option
def explain(path: Path, last: int, as_json: bool) -> int:
    """Make a node's latest decisions again from its core log, and show the last of them.

    Exit code 1 where one comes out otherwise than it was recorded, or a segment cannot be replayed.

    A log from somebody else may be read: put its segments into HOME/data/core-log of an empty folder. Who the
    validators were it says itself; compare chain and validators with what you know.

    \b
    Example:
      luohu node explain --home network/hk-bureau --last 50
    """
    require_posix("luohu node explain")
    from node.home.repair import CORE_LOG
    from node.replica.corelog import find_segments

    directory = path / "data" / CORE_LOG
    segments = find_segments(directory)
    if not segments:
        raise wrong_usage(
            str(directory),
            expected="the core log of a node that has run",
            found="none",
            cure="Name the home of a node, or start it first.",
            code="path",
        )
    progress = Progress("replaying", len(segments))
    shown: deque[Decision] = deque(maxlen=last)
    replayed: list[_Replayed] = []
    deviations: list[Decision] = []
    for number, segment in enumerate(segments):
        progress.update(number)
        replayed.append(_replay(segment, shown, deviations))
    progress.finish()
    _print(path, replayed, [*deviations, *shown], as_json=as_json)
    return FINE if all(each.is_fine for each in replayed) else NO


def _replay(path: Path, shown: "deque[Decision]", deviations: "list[Decision]") -> _Replayed:
    from node.replica.corelog import CoreLogError
    from node.replica.explain import open_segment, replay

    result = _Replayed(path.name)
    try:
        segment = open_segment(path)
        result.member, result.epoch = segment.opening.member, segment.opening.epoch
        result.chain_id = segment.opening.chain_id.hex()
        result.validators = None if segment.validators is None else segment.validators.digest().hex()
        for decision in replay(path):
            result.count += 1
            shown.append(decision)
            if decision.deviation is not None:
                result.deviations_count += 1
                if len(deviations) < (shown.maxlen or 0):
                    deviations.append(decision)
    except CoreLogError as error:
        result.problem = error
    return result


def _print(path: Path, replayed: list[_Replayed], shown: "list[Decision]", *, as_json: bool) -> None:
    count = sum(each.count for each in replayed)
    wrong = sum(each.deviations_count for each in replayed)
    verdict = "all came out as recorded" if not wrong else f"{wrong} came out otherwise than recorded"
    segments = "1 segment" if len(replayed) == 1 else f"{len(replayed)} segments"
    lines = [f"{count} decisions in {segments} were made again: {verdict}"]
    lines += [f"  {each.name} is not whole: {each.problem}" for each in replayed if each.problem is not None]
    told = dict.fromkeys((each.member, each.epoch, each.chain_id, each.validators) for each in replayed)
    for member, epoch, chain_id, validators in told:
        if member is not None:
            lines.append(
                f"  says: {member}, epoch {epoch}, chain {chain_id}, validators {validators or 'none'}"
            )
    lines += [line for decision in shown for line in _lines(decision)]
    value: dict[str, Json] = {
        "home": str(path),
        "decisions": count,
        "deviations": wrong,
        "segments": [
            {
                "name": each.name,
                "member": each.member,
                "epoch": each.epoch,
                "chain_id": each.chain_id,
                "validators": each.validators,
                "decisions": each.count,
                "deviations": each.deviations_count,
                "problem": None if each.problem is None else str(each.problem),
            }
            for each in replayed
        ],
        "last": [
            {
                "time_ms": each.time_ms,
                "view": each.view,
                "event": brief(each.event, each.members),
                "effects": [brief(effect, each.members) for effect in each.effects],
                "failure": each.failure,
                "deviation": each.deviation,
            }
            for each in shown
        ],
    }
    print_answer(as_json=as_json, value=value, lines=lines)


def _lines(decision: "Decision") -> Iterator[str]:
    members = decision.members
    yield f"  {show_time(decision.time_ms)} view {decision.view}: {brief(decision.event, members)}"
    for effect in decision.effects:
        yield f"      {brief(effect, members)}"
    if decision.failure is not None:
        yield f"      ended the node: {decision.failure}"
    if decision.deviation is not None:
        yield f"      DEVIATION: {decision.deviation}"


def brief(part: object, members: Sequence[str]) -> str:
    """Return an event, an effect or a part of one in a few words.

    Validators are named, hashes shown by their first digits, signatures left out.
    """
    match part:
        case Subject():
            parent = "" if part.parent_view is None else f" on view {part.parent_view}"
            block = "" if part.block_hash is None else f" block {part.block_hash.hex()[:DIGITS]}"
            return f"{part.kind} view {part.view}{block}{parent}"
        case bytes():
            return part.hex()[:DIGITS]
        case tuple():
            return ", ".join(brief(each, members) for each in part)
        case _ if dataclasses.is_dataclass(part) and not isinstance(part, type):
            named = [(field.name, getattr(part, field.name)) for field in dataclasses.fields(part)]
            shown = (
                _field(name, value, members) for name, value in named if not name.startswith("signature")
            )
            return f"{type(part).__name__}({', '.join(shown)})"
        case _:
            return str(part)


def _field(name: str, value: object, members: Sequence[str]) -> str:
    match value:
        case int() if name in VALIDATOR_FIELDS:
            return f"{name}={_named(value, members)}"
        case tuple() if name in VALIDATOR_FIELDS:
            return f"{name}={', '.join(_named(index, members) for index in value)}"
        case Subject():
            return brief(value, members)
        case _:
            return f"{name}={brief(value, members)}"


def _named(index: int, members: Sequence[str]) -> str:
    # A vote that a peer sent may name a signer whom the epoch does not have.
    return members[index] if index < len(members) else f"number {index}, who is none"
