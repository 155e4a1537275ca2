"""How many proofs a second `luohu anchor --manifest` gives on four nodes of one machine, by this source or another.

    python -m bench.proofs --count 20000 --source OLDER --source .

Each source is a checkout. They are measured one after the other, in the order given, `--times` times: what else the
machine does meets all of them. A call's own start and the finality of its anchor are in the figure, so small counts
show less.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import click

from node.files.folders import passing_folder

HOLDER: Final = "ed25519:f32475177d14da9a38f84a3622eded9dc5a0bd7fb9e66285fa54e37625c6ddd7"
COMMAND: Final = "import sys; from cli.program import run; sys.exit(run(sys.argv[1:]))"


def luohu(source: Path, *arguments: object) -> dict[str, object]:
    """Run a command of a checkout, and return its JSON answer. Raises CalledProcessError."""
    called = subprocess.run(
        [sys.executable, "-c", COMMAND, *map(str, arguments), "--json"],
        env={**os.environ, "PYTHONPATH": f"{source}"},
        cwd=source,
        stdout=subprocess.PIPE,
        check=True,
    )
    answer: dict[str, object] = json.loads(called.stdout)
    return answer


def write_manifest(folder: Path, count: int) -> Path:
    """Write so many small documents and the list of them."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}.pdf").write_bytes(b"SAMPLE %d" % number)
    manifest = folder / "manifest.csv"
    manifest.write_text("".join(f"{number}.pdf,{HOLDER},\n" for number in range(count)))
    return manifest


def seconds_of(source: Path, count: int) -> float:
    """Return how long a call for so many documents takes, on a new network. Raises CalledProcessError."""
    with passing_folder(None, prefix="luohu-bench-") as folder:
        network = Path(folder) / "network"
        luohu(source, "network", "new", network)
        luohu(source, "network", "up", network)
        try:
            manifest = write_manifest(Path(folder) / "documents", count)
            nodes = json.loads((network / "network.json").read_text())["nodes"]
            own = ["--schema", "hk.credit-report", "--home", network / "hk-bureau", "--url", nodes[0]["url"]]
            start = time.perf_counter()
            luohu(source, "anchor", "--manifest", manifest, *own)
            taken = time.perf_counter() - start
            found = len([*manifest.parent.glob("*.proof")])
            assert found == count, f"{count} documents have {found} proofs"
            return taken
        finally:
            luohu(source, "network", "down", network)


@click.command()
@click.option("--count", type=click.IntRange(1, 100_000), default=20_000, show_default=True)
@click.option("--times", type=click.IntRange(1, 100), default=1, show_default=True)
@click.option(
    "--source",
    "sources",
    type=click.Path(exists=True, path_type=Path, resolve_path=True),
    multiple=True,
    default=(Path(__file__).parents[1],),
    help="A checkout; may be repeated.",
)
def main(count: int, times: int, sources: tuple[Path, ...]) -> None:
    """Print one JSON line for each call: source, count, seconds, proofs a second, and the load before it."""
    for _ in range(times):
        for source in sources:
            load = os.getloadavg()[0]
            taken = seconds_of(source, count)
            line = {
                "source": f"{source}",
                "count": count,
                "seconds": round(taken, 1),
                "proofs_per_second": round(count / taken, 1),
                "load_before": round(load, 1),
            }
            click.echo(json.dumps(line))


if __name__ == "__main__":
    main()
