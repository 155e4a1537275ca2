"""What is installed is what is in the source: every package, and the data that commands read."""

import tomllib
from pathlib import Path

from node.scenarios import scenarios_directory

ROOT = Path(__file__).resolve().parents[1]
SETUP = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_every_package_is_installed() -> None:
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for top in ("ledger", "node", "cli")
        for path in (ROOT / top).rglob("*.py")
    }
    assert found | {"scenarios"} == set(SETUP["packages"])


def test_the_scenarios_are_installed_where_the_code_looks_for_them() -> None:
    assert scenarios_directory() == ROOT / "scenarios", (
        "beside the packages, in the source and installed alike"
    )
    data = SETUP["package-data"]["scenarios"]
    installed = {path for pattern in data for path in (ROOT / "scenarios").glob(pattern) if path.is_file()}
    assert installed == {path for path in (ROOT / "scenarios").rglob("*") if path.is_file()}
    assert len(installed) > 6
