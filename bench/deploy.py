"""How long from a fresh clone to the first verified document, by part.

    python -m bench.deploy --json

It clones this repository, installs into a virtual environment of its own, and runs the demo, which ends with a verified
document. The limit is the time of the installation alone: what this project's own code adds stands beside it.
"""

import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import click

from bench.report import Report, progress
from node.files.folders import passing_folder

ROOT: Final = Path(__file__).resolve().parent.parent
PART_S: Final = 170.0


def timed(command: list[str], directory: Path) -> float:
    """Run a command; return how long it took. Raises CalledProcessError."""
    began = time.perf_counter()
    subprocess.run(command, cwd=directory, check=True, capture_output=True, timeout=PART_S)
    return time.perf_counter() - began


@click.command()
@click.option("--quick", is_flag=True, help="A smoke run without the installation: its figure says nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (the only form).")
def main(quick: bool, as_json: bool) -> None:
    """Measure clone, installation and demo."""
    del as_json
    with passing_folder(None, prefix="luohu-bench-") as directory:
        clone = Path(directory) / "luohu"
        progress("cloning", 0)
        parts = {"clone": timed(["git", "clone", "--quiet", str(ROOT), str(clone)], Path(directory))}
        progress("installing", 0.1)
        if quick:
            parts["install"] = timed([sys.executable, "-m", "cli.main", "--help"], clone)
        else:
            parts["install"] = timed(["make", f"PYTHON={sys.executable}", ".venv/installed"], clone)
            progress("demo", 0.5)
            parts["demo"] = timed([str(clone / ".venv/bin/luohu"), "demo"], clone)
    progress("deploy", 1)
    Report(
        name="deploy",
        figure=sum(parts.values()),
        unit="seconds from a fresh clone to the first verified document",
        limit=parts["install"],
        limit_is="the installation of the packages alone, in the same run",
        details={f"{part}_seconds": round(seconds, 2) for part, seconds in parts.items()},
        is_lower_better=True,
    ).print()


if __name__ == "__main__":
    main()
