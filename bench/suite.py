"""All benchmarks, one after another, and their results as JSON, as a table and as plots.

    python -m bench.suite --out bench/results [--quick] [NAME ...]

Rule 1: each benchmark is a process of its own, alone on the machine; one that fails is named, and the others go on.
Rule 2: one that does not end in time is ended, with every process that it started.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import click

from bench.plots import bar_plot

NAMES: Final = (
    "commit",
    "anchors",
    "finality",
    "query",
    "verify",
    "replay",
    "sync",
    "growth",
    "idle",
    "validators",
    "deploy",
)
"""Every benchmark; one that this checkout does not have is left out."""

FLOORS: Final = {
    "commit": "ratio 0.15, 0.4",
    "anchors": "3,000 and 10,000 per second",
    "finality": "ratio below 1 (less is better)",
    "query": "1,000 per second",
    "verify": "ratio 0.5, 0.7",
    "replay": "ratio 0.3, 0.6",
    "sync": "ratio 0.25, 0.5",
    "growth": "ratio 0.7",
    "idle": "ratio below 1 (less is better)",
}
"""What is promised of each figure; the details of a report hold the rest."""

BENCHMARK_S: Final = 400.0
GROWTH_S: Final = 900.0
"""Bounds, not what is expected: three minutes each, and ten for `growth`, on a machine that does nothing else."""

HERE: Final = Path(__file__).parent


def present_names() -> tuple[str, ...]:
    """Return the benchmarks of this checkout."""
    return tuple(name for name in NAMES if (HERE / f"{name}.py").exists())


def run(name: str, *, is_quick: bool) -> dict[str, object]:
    """Run one benchmark; return its report. Raises CalledProcessError, TimeoutExpired or ValueError."""
    command = [sys.executable, "-m", f"bench.{name}", "--json", *(["--quick"] if is_quick else [])]
    output = run_bounded(command, GROWTH_S if name == "growth" else BENCHMARK_S)
    report: dict[str, object] = json.loads(output)
    return report


def run_bounded(command: list[str], seconds: float) -> str:
    """Run a command; return what it printed. Raises CalledProcessError or TimeoutExpired, with nothing left running."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=HERE.parent, start_new_session=True
    ) as process:
        try:
            output, _ = process.communicate(timeout=seconds)
        finally:
            # What it started and did not end is of its process group. Nobody waits for an answer of these.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)
    return output


def table(reports: list[dict[str, object]]) -> str:
    """Return the reports as a table in Markdown."""
    lines = [
        "| benchmark | figure | unit | limit | ratio | the limit is | floor, goal | commit |",
        "| --- | ---: | --- | ---: | ---: | --- | --- | --- |",
    ]
    for each in reports:
        better = " (less is better)" if each["is_lower_better"] else ""
        lines.append(
            f"| `{each['name']}` | {each['figure']} | {each['unit']}{better} | {each['limit']} | "
            f"{each['ratio']} | {each['limit_is']} | {FLOORS.get(str(each['name']), 'stated')} | "
            f"{each.get('commit', '')} |"
        )
    return "\n".join(lines) + "\n"


def write_results(reports: list[dict[str, object]], directory: Path) -> None:
    """Write each report, all of them together, the table and the plot."""
    directory.mkdir(parents=True, exist_ok=True)
    for each in reports:
        (directory / f"{each['name']}.json").write_text(json.dumps(each, indent=2) + "\n")
    (directory / "all.json").write_text(json.dumps(reports, indent=2) + "\n")
    (directory / "table.md").write_text(table(reports))
    bars = [(f"{each['name']}", float(f"{each['ratio'] or 0}")) for each in reports]
    (directory / "ratios.svg").write_text(bar_plot("Figure by its limit", bars, mark=1.0))
    for name, series in _plotted(reports).items():
        (directory / f"{name}.svg").write_text(bar_plot(name.replace("-", " "), series))


def _plotted(reports: list[dict[str, object]]) -> dict[str, list[tuple[str, float]]]:
    """Return what grows with something: commits by records, and by validators."""
    found: dict[str, list[tuple[str, float]]] = {}
    for each in reports:
        details = each["details"]
        if each["name"] in ("growth", "validators") and isinstance(details, dict):
            found[f"commits-per-second-by-{each['name']}"] = [
                (key.replace("_", " "), float(inner["commits_per_second"]))
                for key, inner in details.items()
                if isinstance(inner, dict) and "commits_per_second" in inner
            ]
    return found


@click.command()
@click.argument("names", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where the results go.")
@click.option("--quick", is_flag=True, help="Smoke runs: the figures say nothing.")
def main(names: tuple[str, ...], out: Path, quick: bool) -> None:
    """Run benchmarks, all or those named."""
    reports: list[dict[str, object]] = []
    failed: list[str] = []
    for name in names or present_names():
        began = time.perf_counter()
        try:
            reports.append(run(name, is_quick=quick))
        except (subprocess.SubprocessError, ValueError) as error:
            failed.append(name)
            click.echo(f"{name}: {error}", err=True)
            continue
        click.echo(f"{name}: ratio {reports[-1]['ratio']} in {time.perf_counter() - began:.0f} s", err=True)
        write_results(reports, out)
    if reports:
        click.echo(table(reports), nl=False)
    if failed:
        raise click.ClickException(f"no report from {', '.join(failed)}")


if __name__ == "__main__":
    main()
