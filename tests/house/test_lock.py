"""The lock is whole: every dependency has one release in its range, with hashes, and nothing says where to fetch it."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.sources import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCKS = {path.stem: path for path in sorted((ROOT / "requirements").glob("*.lock"))}
LIBRARY: list[str] = PROJECT["project"]["dependencies"]
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
RENEWAL: list[str] = PROJECT["dependency-groups"]["renewal"]
# Atheris is outside the lock (docs/decisions/0010); the rest of this extra is the extra `dev`.
OUTSIDE = "atheris"

PIN = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[0-9][0-9a-z.]*)(?: ; (?P<marker>[^\\#/]+))? \\")
HASH = re.compile(r"    --hash=sha256:(?P<hash>[0-9a-f]{64})(?P<more> \\)?")
# A remark names packages, and files of this repository.
REMARK = re.compile(
    r" *#[A-Za-z0-9 :_-]*|"
    r"    # +(?:via )?(?:-c requirements/dev\.lock|luohu-ledger \(pyproject\.toml(?::renewal)?\))"
)


@dataclass(frozen=True, slots=True)
class Pin:
    """One release of a package, where it is installed, and what its files hash to."""

    name: str
    version: str
    marker: str | None
    hashes: frozenset[str]

    def applies(self, environment: dict[str, str]) -> bool:
        """Whether an installation into an environment takes it."""
        return self.marker is None or Marker(self.marker).evaluate(environment)


def environments() -> Iterator[dict[str, str]]:
    """Yield the Pythons and platforms that are promised."""
    bounds = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["project"]["requires-python"])
    assert bounds is not None, "the promise has another form"
    for minor in range(int(bounds[1]), int(bounds[2])):
        for system, machine in (
            ("linux", "x86_64"),
            ("linux", "aarch64"),
            ("darwin", "arm64"),
            ("darwin", "x86_64"),
        ):
            yield {
                "python_version": f"3.{minor}",
                "python_full_version": f"3.{minor}.1",
                "sys_platform": system,
                "platform_machine": machine,
                "platform_python_implementation": "CPython",
                "implementation_name": "cpython",
            }


def find_foreign(text: str) -> list[str]:
    """Return the lines that are no release, hash or remark: an index, an option, a host, a path of some machine."""
    lines = text.splitlines()
    return [line for line in lines if not any(kind.fullmatch(line) for kind in (PIN, HASH, REMARK))]


def read_pins(text: str) -> list[Pin]:
    """Return the releases of a lock, each with the hashes below it."""
    pins: list[Pin] = []
    hashes: set[str] = set()
    opened: re.Match[str] | None = None
    for line in text.splitlines():
        if (pin := PIN.fullmatch(line)) is not None:
            assert opened is None, f"{line}: the release before it has no last hash"
            opened, hashes = pin, set()
        elif (digest := HASH.fullmatch(line)) is not None:
            assert opened is not None, "a hash stands below its release"
            hashes.add(digest["hash"])
            if digest["more"] is None:
                pins.append(Pin(opened["name"], opened["version"], opened["marker"], frozenset(hashes)))
                opened = None
    assert opened is None, "the last release has no hash"
    return pins


PINS = {name: read_pins(path.read_text("utf-8")) for name, path in LOCKS.items()}


def named(lock: str) -> list[str]:
    """Return the requirements that a lock is made for."""
    everything = [line for extra in ("recipient", "node", "dev") for line in EXTRAS[extra]]
    lines = {"library": LIBRARY, "dev": [*LIBRARY, *everything], "renewal": RENEWAL}[lock]
    return [line for line in lines if Requirement(line).name != PROJECT["project"]["name"]]


def find_missing(lines: list[str], pins: list[Pin]) -> list[str]:
    """Return each requirement with the first environment in which not exactly one release within its range applies."""
    missing = []
    for line in lines:
        requirement = Requirement(line)
        for environment in environments():
            if requirement.marker is not None and not requirement.marker.evaluate(environment):
                continue
            same = [pin for pin in pins if pin.name == canonicalize_name(requirement.name)]
            chosen = [pin for pin in same if pin.applies(environment)]
            if len(chosen) != 1 or not requirement.specifier.contains(chosen[0].version):
                missing.append(line)
                break
    return missing


def test_there_is_a_lock_for_each_installation() -> None:
    assert set(LOCKS) == {"library", "dev", "renewal"}
    # Nothing that an extra names is left out, but for what its comment says.
    assert set(EXTRAS) == {"recipient", "node", "dev", "fuzz"}
    assert [Requirement(line).name for line in EXTRAS["fuzz"]] == [PROJECT["project"]["name"], OUTSIDE]


@pytest.mark.parametrize("lock", list(LOCKS))
def test_every_dependency_has_one_release_within_its_range_wherever_it_is_needed(lock: str) -> None:
    assert len(named(lock)) >= 1
    assert find_missing(named(lock), PINS[lock]) == []


@pytest.mark.parametrize("lock", list(LOCKS))
def test_a_lock_holds_releases_with_hashes_and_says_nowhere_from_where(lock: str) -> None:
    text = LOCKS[lock].read_text("utf-8")
    assert find_foreign(text) == []
    assert len(PINS[lock]) == len(re.findall(r"^\w", text, re.MULTILINE)), "each is read"


def test_every_dependency_has_a_range() -> None:
    for line in [*named("dev"), *RENEWAL, *PROJECT["build-system"]["requires"], EXTRAS["fuzz"][1]]:
        operators = sorted(each.operator for each in Requirement(line).specifier)
        assert operators == ["<", ">="], line


def test_the_library_s_lock_is_a_part_of_the_whole_one_and_no_more_than_the_library_needs() -> None:
    assert set(PINS["library"]) <= set(PINS["dev"])
    node = {canonicalize_name(Requirement(line).name) for line in [*EXTRAS["recipient"], *EXTRAS["node"]]}
    assert not node & {pin.name for pin in PINS["library"]}


def test_the_lock_holds_what_builds_us() -> None:
    (backend,) = PROJECT["build-system"]["requires"]
    assert backend in EXTRAS["dev"]


def test_make_installs_by_the_lock_alone() -> None:
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", ".venv/installed"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    installs = [line for line in done.stdout.splitlines() if " install " in line]
    assert len(installs) == 2
    assert "--require-hashes --requirement requirements/dev.lock" in installs[0]
    assert "--no-deps --no-build-isolation" in installs[1]


# -- the tests above would notice ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://packages.example/simple",
        "--find-links wheels",
        "--trusted-host packages.example",
        "# from https://packages.example/simple",
        "    # from packages.example",
        "    # via luohu-ledger (/home/someone/pyproject.toml)",
        "click @ https://packages.example/click.whl",
        "click==8.2.0",
        "click>=8.2 \\",
        "    --hash=md5:00",
    ],
)
def test_a_line_that_names_a_place_or_lacks_a_hash_is_noticed(line: str) -> None:
    text = LOCKS["library"].read_text("utf-8")
    assert find_foreign(f"{text}{line}\n") == [line]


@pytest.mark.parametrize(
    ("line", "pins"),
    [
        ("click>=8.2,<9", []),
        ("click>=8.2,<9", [Pin("click", "9.0", None, frozenset())]),
        ("click>=8.2,<9", [Pin("click", "8.2", "sys_platform == 'linux'", frozenset())]),
        ("click>=8.2,<9", [Pin("click", "8.2", None, frozenset()), Pin("click", "8.3", None, frozenset())]),
        ("click>=8.2,<9", [Pin("click", "8.2", "python_full_version < '3.14'", frozenset())]),
    ],
)
def test_a_dependency_without_its_release_is_noticed(line: str, pins: list[Pin]) -> None:
    assert find_missing([line], pins) == [line]


def test_a_release_without_a_hash_is_noticed() -> None:
    digest = "0" * 64
    with pytest.raises(AssertionError, match="no last hash"):
        read_pins(f"click==8.2.0 \\\naiohttp==3.14.5 \\\n    --hash=sha256:{digest}\n")
    with pytest.raises(AssertionError, match="last release has no hash"):
        read_pins("click==8.2.0 \\\n")
