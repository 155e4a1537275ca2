"""Counterexamples as steps that a reader can follow and a machine can repeat.

Rule 1: a replay uses no memory of the search: it runs the cores from their start, step by step.
Rule 2: a trace is text, one step a line, and `parse_trace` reads what `write_trace` wrote.
"""

from collections.abc import Iterable, Sequence

from ledger.rules.certificates import FINALIZE, NULLIFY, Subject
from tests.campaigns.exploration.node import EPOCH, VALIDATORS_COUNT, Node, name_of, proposal_of
from tests.campaigns.exploration.process import Action, Process, run
from tests.campaigns.exploration.properties import Public, Violation, check
from tests.campaigns.exploration.scope import TraceStep


def honest_indices(byzantine: int) -> list[int]:
    """Return the honest validators, in order."""
    return [index for index in range(VALIDATORS_COUNT) if index != byzantine]


def replay(
    steps: Iterable[TraceStep], byzantine: int, *, answers_at_once: bool, judges_views: bool = True
) -> list[Node]:
    """Repeat a trace on fresh cores and check every claim on the way. Raises Violation or CoreStopped."""
    nodes = {index: Process.boot(index, byzantine) for index in honest_indices(byzantine)}
    for index, action, point in steps:
        process = run(nodes[index], action, byzantine, answers_at_once=answers_at_once)
        nodes[index] = process.freeze() if point is None else process.restart(point)
        check([Public(node.said, node.certificates, node.accuses_honest) for node in nodes.values()])
        wrong = nodes[index].wrong_view
        if wrong is not None and judges_views:
            raise Violation(wrong)
    return list(nodes.values())


def write_trace(steps: Iterable[TraceStep]) -> str:
    """Return a trace as text: validator, action, subject, honest signers, Byzantine one, crash point."""
    return "\n".join(_write_step(step) for step in steps)


def _write_step(step: TraceStep) -> str:
    index, (kind, subject, count, by_byzantine), point = step
    words = [f"validator={index}", f"action={kind}", f"count={count}", f"byzantine={int(by_byzantine)}"]
    if subject is not None:
        words.append(f"subject={name_of(subject).replace(' ', ',')}")
    if point is not None:
        words.append(f"crash={point}")
    return " ".join(words)


def parse_trace(text: str) -> list[TraceStep]:
    """Return the steps of a written trace."""
    return [_parse_step(dict(word.split("=") for word in line.split())) for line in text.split("\n") if line]


def _parse_step(words: dict[str, str]) -> TraceStep:
    subject = _parse_subject(words["subject"].split(",")) if "subject" in words else None
    action: Action = (words["action"], subject, int(words["count"]), words["byzantine"] == "1")
    return int(words["validator"]), action, int(words["crash"]) if "crash" in words else None


def _parse_subject(words: Sequence[str]) -> Subject:
    if words[0] == NULLIFY:
        return Subject(NULLIFY, EPOCH, int(words[1]), None, None)
    kind, block, _, parent_view = words
    proposal = proposal_of(int(block[:-1]), int(parent_view), block[-1])
    if kind == FINALIZE:
        return Subject(FINALIZE, EPOCH, proposal.view, proposal.parent_view, proposal.block_hash)
    return proposal
