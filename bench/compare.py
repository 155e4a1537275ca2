"""A regression check between two runs: it compares ratios, never wall time.

    python -m bench.compare OLD.json NEW.json [--worse 0.15]

Each file is one report or a list of them. A ratio is a figure by its limit of the same run on the same machine, so a
slower machine moves both. Exit code 1 where a benchmark of the old run is missing or its ratio is worse by more
than the share that is allowed.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import click


@dataclass(frozen=True, slots=True)
class Ratio:
    """A benchmark's ratio, and which way is better."""

    value: float
    is_lower_better: bool


def read_ratios(path: Path) -> dict[str, Ratio]:
    """Return the ratios of a file of reports, by name."""
    content = json.loads(path.read_text())
    reports = content if isinstance(content, list) else [content]
    return {
        report["name"]: Ratio(float(report["ratio"]), bool(report["is_lower_better"]))
        for report in reports
        if report["ratio"] is not None
    }


def regressions(old: dict[str, Ratio], new: dict[str, Ratio], worse: float) -> list[str]:
    """Return what is missing, or worse by more than this share."""
    found: list[str] = []
    for name, before in old.items():
        after = new.get(name)
        if after is None:
            found.append(f"{name}: expected a ratio, found none")
            continue
        limit = before.value * (1 + worse) if before.is_lower_better else before.value * (1 - worse)
        is_worse = after.value > limit if before.is_lower_better else after.value < limit
        if is_worse:
            bound = "at most" if before.is_lower_better else "at least"
            found.append(f"{name}: expected {bound} {limit:.4f} (before {before.value}), found {after.value}")
    return found


@click.command()
@click.argument("old", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("new", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--worse", default=0.15, show_default=True, help="The share by which a ratio may be worse.")
def main(old: Path, new: Path, worse: float) -> None:
    """Compare the ratios of two runs."""
    before, after = read_ratios(old), read_ratios(new)
    for name, ratio in before.items():
        found = after.get(name)
        click.echo(f"{name:<12}{ratio.value:>10.4f} -> {'none' if found is None else f'{found.value:.4f}'}")
    problems = regressions(before, after, worse)
    for problem in problems:
        click.echo(problem, err=True)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
