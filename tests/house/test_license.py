"""Whoever gets the wheel gets the licence: its whole text, and its name where tools look for it."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from tests.support.sources import ROOT

pytestmark = pytest.mark.slow

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"


def build_wheel(folder: Path) -> Path:
    """Build the wheel of a copy of the sources, so that nothing is left beside the originals."""
    source, built = folder / "source", folder / "built"
    built.mkdir()
    ignored = shutil.ignore_patterns("__pycache__")
    for package in ("ledger", "node", "cli", "scenarios"):
        shutil.copytree(ROOT / package, source / package, ignore=ignored)
    for name in ("pyproject.toml", PROJECT["readme"], "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-c", BUILD, str(built)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = built.glob("*.whl")
    return wheel


def test_the_wheel_holds_the_licence(tmp_path: Path) -> None:
    with zipfile.ZipFile(build_wheel(tmp_path)) as wheel:
        records = f"luohu_ledger-{PROJECT['version']}.dist-info"
        assert wheel.read(f"{records}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
        metadata = Parser().parsestr(wheel.read(f"{records}/METADATA").decode())
    assert metadata.get_all("License-File") == PROJECT["license-files"] == ["LICENSE"]
    assert metadata["License-Expression"] == PROJECT["license"] == "Apache-2.0"


def test_the_licence_is_the_whole_of_apache_2_0() -> None:
    text = (ROOT / "LICENSE").read_text("ascii")
    assert text.split()[:6] == ["Apache", "License", "Version", "2.0,", "January", "2004"]
    for heading in (
        "1. Definitions.",
        "9. Accepting Warranty",
        "END OF TERMS AND CONDITIONS",
        "APPENDIX: How",
    ):
        assert heading in text
