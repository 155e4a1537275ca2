"""Coverage by package, from what `make coverage` measured: python -m tests.support.coveragereport.

Rule 1: what no test loads counts as well.
Rule 2: it fails where the total is below `fail_under` in pyproject.toml.
"""

import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory

import coverage


@dataclass(slots=True)
class Reached:
    """How many lines and branches a package has, and how many of them the tests reach."""

    all_count: int = 0
    reached_count: int = 0

    @property
    def percent(self) -> float:
        """The share that is reached; all of it where there is nothing to reach."""
        return 100 * self.reached_count / self.all_count if self.all_count else 100.0


def by_package(files: dict[str, dict[str, int]]) -> dict[str, Reached]:
    """Add up what coverage says of each file, by the folder that the file is in."""
    found: defaultdict[str, Reached] = defaultdict(Reached)
    for name, summary in files.items():
        package = found[PurePath(name).parent.as_posix()]
        package.all_count += summary["num_statements"] + summary["num_branches"]
        package.reached_count += summary["covered_lines"] + summary["covered_branches"]
    return dict(sorted(found.items()))


def main() -> int:
    """Print the table; 1 where the total is too low."""
    measured = coverage.Coverage()
    measured.load()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        total = measured.json_report(outfile=str(path))
        report = json.loads(path.read_text())
    packages = by_package({name: file["summary"] for name, file in report["files"].items()})
    for name, package in packages.items():
        print(f"{package.percent:6.1f} %  {name}")
    expected = float(str(measured.get_option("report:fail_under")))
    print(f"{total:6.1f} %  of lines and branches; at least {expected:.1f} % is expected")
    return int(total < expected)


if __name__ == "__main__":
    sys.exit(main())
