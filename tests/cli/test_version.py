"""The version has one place, pyproject.toml: the command tells it, and the changelog speaks of it."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cli.exits import FINE, USAGE
from cli.program import run
from node.version import UNINSTALLED, release
from tests.support.sources import ROOT, imported

VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]


def without_installation(arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a line of Python that sees the sources and the packages, but no record of any installation."""
    # An empty search path for records is what an interpreter has that runs sources as they are.
    script = (
        "import importlib.metadata as records; nothing = classmethod(lambda *_: iter(()));"
        "records.MetadataPathFinder.find_distributions = nothing; import sys;" + arguments
    )
    command = [sys.executable, "-c", script]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=False)


def test_the_command_tells_the_version_of_the_project(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == FINE
    assert capsys.readouterr() == (f"luohu {VERSION}\n", "")


def test_what_is_installed_is_the_version_of_the_project() -> None:
    assert release() == VERSION, "install again: make .venv/installed"


def test_sources_that_are_not_installed_say_so(tmp_path: Path) -> None:
    told = without_installation("from node.version import release; print(release())", tmp_path)
    assert (told.returncode, told.stdout) == (0, f"{UNINSTALLED}\n"), told.stderr
    told = without_installation("from cli.program import run; sys.exit(run(['--version']))", tmp_path)
    assert (told.returncode, told.stdout) == (USAGE, "")
    assert "sources that are not installed" in told.stderr and "cure:" in told.stderr
    assert "Traceback" not in told.stderr


def test_no_other_command_pays_for_the_version() -> None:
    script = (
        "import sys; from cli.program import run; run(sys.argv[1:]); print('node.version' in sys.modules)"
    )
    for arguments, is_loaded in ((["verify", "--help"], "False"), (["--version"], "True")):
        command = [sys.executable, "-c", script, *arguments]
        told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
        assert told.stdout.splitlines()[-1] == is_loaded, arguments


def test_the_version_is_found_with_the_standard_library_alone() -> None:
    names = set(imported(ast.parse((ROOT / "node" / "version.py").read_text("utf-8"))))
    assert {name.partition(".")[0] for name in names} == {"importlib", "typing"}


def test_the_changelog_begins_with_what_is_unreleased_and_then_has_this_version() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[:2] == ["Unreleased", VERSION]
