"""What is installed is what is in the source: every package, and the data that commands read."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from functools import partial
from pathlib import Path

import pytest

from node.consent.scenarios import scenarios_directory
from tests.support.sources import ROOT

pytestmark = pytest.mark.slow

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUP = PROJECT["tool"]["setuptools"]


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


BASE = ("nacl", "msgpack", "cryptography", "cffi", "pycparser", "_cffi_backend")
VERIFY_A_VECTOR = """
import base64, json, sys
from ledger.trust import parse_trusted_root
from ledger.requests import Request
from ledger.verifier import Verifier
vectors = json.load(open(sys.argv[1]))
case = vectors["cases"][0]
trust = {**vectors["trusts"][case["trust"]], "genesis": vectors["genesis"][0]}
request = Request.decode(base64.b64decode(vectors["requests"][case["request"]]))
document = base64.b64decode(vectors["documents"][case["document"]]["start"])
proof = base64.b64decode(case["proof"]["insert"])
verifier = Verifier(parse_trusted_root(json.dumps(trust)))
verdict = verifier.verify(document, proof, request=request, now_ms=case["at_ms"])
print("verified" if verdict.issuer.member == "hk-bureau" else "something else")
"""


def test_the_base_installation_verifies_and_says_what_to_install_for_more(tmp_path: Path) -> None:
    """Run with the library's own dependencies alone, linked into an empty folder."""
    site = Path(sysconfig.get_paths()["purelib"])
    for path in site.iterdir():
        if path.name.split(".")[0] in BASE:
            (tmp_path / path.name).symlink_to(path)
    for package in ("ledger", "node", "cli"):
        (tmp_path / package).symlink_to(ROOT / package)
    check_installation([sys.executable, "-S"], {"PYTHONPATH": str(tmp_path)}, tmp_path)


@pytest.mark.skipif("LUOHU_LARGE" not in os.environ, reason="downloads; `make large` runs it")
def test_a_fresh_environment_with_the_base_installation_alone(tmp_path: Path) -> None:
    python = install_into(tmp_path / "venv", sys.executable, f"{ROOT}")
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format", "freeze"], capture_output=True, text=True, check=True
    ).stdout
    assert not {"aiohttp", "plyvel", "plyvel-ci", "plyvel-next", "click"} & {
        line.partition("=")[0] for line in listed.splitlines()
    }
    check_installation([python], {}, tmp_path)


def check_installation(python: list[str], environment: dict[str, str], folder: Path) -> None:
    """Verify a pinned proof, and call the command, with what is installed."""
    script = folder / "verify_vector.py"
    script.write_text(VERIFY_A_VECTOR)
    vectors = str(ROOT / "tests" / "vectors" / "proofs.json")
    done = subprocess.run(
        [*python, str(script), vectors],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "verified\n"), done.stderr
    done = subprocess.run(
        [*python, "-c", "from cli.main import main; main()"],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "or '.[recipient]' to verify documents alone" in done.stderr
    assert "python -m pip install '.[node]'" in done.stderr and "Traceback" not in done.stderr


def install_into(folder: Path, python: str, requirement: str) -> str:
    """Install into a fresh environment of an interpreter. Return the environment's own."""
    subprocess.run([python, "-m", "venv", str(folder)], check=True, timeout=60)
    own = str(folder / "bin" / "python")
    install = [own, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", requirement]
    subprocess.run(install, check=True, timeout=300, cwd=folder)
    return own


def promised_pythons() -> list[str]:
    """Return every minor version that `requires-python` allows, but for the one that runs this."""
    bounds = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["project"]["requires-python"])
    assert bounds is not None, "the promise has another form"
    minors = range(int(bounds[1]), int(bounds[2]))
    return [f"3.{minor}" for minor in minors if minor != sys.version_info.minor]


def find_python(version: str) -> str | None:
    """Return the interpreter of a version that this machine has, on the path or beside this one in a pyenv."""
    beside = sorted(Path(sys.base_prefix).parent.glob(f"{version}.*/bin/python{version}"))
    candidates = [found for found in (shutil.which(f"python{version}"), *map(str, beside)) if found]
    # Names on the path may stand for interpreters that are not there.
    ask = partial(subprocess.run, capture_output=True, check=False, timeout=60)
    return next((found for found in candidates if ask([found, "--version"]).returncode == 0), None)


@pytest.mark.skipif("LUOHU_LARGE" not in os.environ, reason="downloads; `make large` runs it")
@pytest.mark.parametrize("version", promised_pythons())
def test_nodes_run_on_every_python_that_is_promised(version: str, tmp_path: Path) -> None:
    """The database has another package on newer ones; what else differs, the whole story meets."""
    found = find_python(version)
    if found is None:
        pytest.skip(f"this machine has no Python {version}")
    own = install_into(tmp_path / "venv", found, f"{ROOT}[node]")
    command = [str(Path(own).with_name("luohu")), "demo"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert told.returncode == 0, told.stdout + told.stderr
