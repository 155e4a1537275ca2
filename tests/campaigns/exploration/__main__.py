"""Explore and print the figures (docs/exploration.md).

python -m tests.campaigns.exploration --views 1 [--minutes M]
"""

import argparse
import sys
from collections.abc import Sequence

from tests.campaigns.exploration.explorer import Explorer
from tests.campaigns.exploration.replay import write_trace
from tests.campaigns.exploration.scope import Report, Scope


def scopes_of(views: int) -> list[Scope]:
    """Return what is explored for a number of views: every place of the Byzantine validator."""
    if views == 1:
        return [Scope(1, byzantine, crashes=1) for byzantine in (0, 1)]
    return [
        Scope(views, byzantine, crashes=crashes, answers_at_once=True, glued=True)
        for crashes in (0, 1)
        for byzantine in range(views + 1)
    ]


def describe(report: Report) -> str:
    """Return one line of figures."""
    scope = report.scope
    if report.failure is not None:
        outcome = f"FAILED {report.failure}"
    elif report.is_exhaustive:
        outcome = "exhausted"
    else:
        outcome = f"cut with {report.waiting} states not gone on from"
    return (
        f"views={scope.views} byzantine={scope.byzantine} crashes={scope.crashes} "
        f"reduction={'glued' if scope.glued else 'none'} states={report.states} "
        f"transitions={report.transitions} depth={report.depth} local_states={report.local_states} "
        f"core_calls={report.core_calls} key_checks={report.congruence_checks}/{report.outcomes_compared} "
        f"quiescent={report.quiescent} seconds={report.seconds:.0f}: {outcome}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Explore every scope; print figures, and the steps to a failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.exploration", description=__doc__)
    parser.add_argument("--views", type=int, choices=(1, 2, 3), default=1)
    parser.add_argument("--minutes", type=float, default=None, help="stop after this time in all")
    parser.add_argument("--byzantine", type=int, default=None, help="only this place of the Byzantine one")
    parser.add_argument("--crashes", type=int, choices=(0, 1), default=None, help="only with so many crashes")
    options = parser.parse_args(arguments)
    chosen = [
        scope
        for scope in scopes_of(options.views)
        if options.byzantine in (None, scope.byzantine) and options.crashes in (None, scope.crashes)
    ]
    failed = False
    for scope in chosen:
        seconds_max = None if options.minutes is None else options.minutes * 60 / len(chosen)
        report = Explorer(scope.within(seconds_max)).search()
        print(describe(report), flush=True)
        for name, count in sorted(report.rare.items()):
            print(f"  sometimes {count:>8}  {name}")
        if report.failure is not None:
            failed = True
            print(write_trace(report.trace))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
