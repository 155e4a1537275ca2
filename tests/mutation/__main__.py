"""Run the verifier's tests against every mutant: python -m tests.mutation [--json FILE] [MODULE...]

Each mutant runs in a process of its own, forked from one that has loaded the tools but none of our modules.
A mutant is killed when a test fails, or when the tests do not end in time. What survives must be listed in
survivors.json with the argument why it is equivalent; anything else fails the run.
"""

import argparse
import contextlib
import importlib.abc
import importlib.machinery
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

# Loaded once, here, and shared by every mutant's process.
import cryptography.hazmat.primitives.serialization
import hypothesis.strategies
import msgpack
import nacl.bindings
import pytest

from tests.mutation.mutants import Mutant, mutants_of

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("verifier", "proofs", "certificates", "statetree", "merkle", "trust")
TESTS = (
    "tests/mutation/test_forgeries_together.py",
    "tests/test_trust.py",
    "tests/test_verifier_bounds.py",
    "tests/test_proof_limits.py",
    "tests/test_certificates.py",
    "tests/test_merkle.py",
    "tests/test_statetree.py",
)
# The tests that are likeliest to kill a module's mutants run first.
FIRST = {
    "certificates": "tests/test_certificates.py",
    "merkle": "tests/test_merkle.py",
    "statetree": "tests/test_statetree.py",
    "trust": "tests/test_trust.py",
    "proofs": "tests/test_proof_limits.py",
}
SECONDS_MAX = 90
SURVIVORS = Path(__file__).with_name("survivors.json")
SURVIVORS_SHARE_MAX = 0.02
LOADED = (cryptography, hypothesis, msgpack, nacl)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Serves one mutant in the place of its module."""

    def __init__(self, mutant: Mutant) -> None:
        self._name = f"ledger.{mutant.module}"
        self._code = compile(mutant.source, f"<{self._name}, mutant {mutant.number}>", "exec")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(fullname, self) if fullname == self._name else None

    def exec_module(self, module: ModuleType) -> None:
        exec(self._code, module.__dict__)


def survives(mutant: Mutant | None) -> bool:
    """Say whether every test passes with a mutant, or, for None, without one."""
    child = os.fork()
    if child == 0:
        failed = 1
        try:
            failed = _run_tests(mutant)
        finally:
            os._exit(failed)  # whatever happens, the child never runs on as a second parent
    _, status = os.waitpid(child, 0)
    return status == 0


def _run_tests(mutant: Mutant | None) -> int:
    """Run the tests in this process and return 0 where they pass."""
    signal.alarm(SECONDS_MAX)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    if mutant is not None:
        sys.meta_path.insert(0, _Finder(mutant))
    # The tools were loaded before pytest could rewrite them, which it says in a warning.
    arguments = ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0"]
    arguments += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    first = FIRST.get(mutant.module, TESTS[0]) if mutant is not None else TESTS[0]
    ordered = sorted(TESTS, key=lambda test: test != first)
    return int(any(pytest.main([*arguments, test]) for test in ordered))


def _mutants(modules: list[str]) -> Iterator[Mutant]:
    for module in modules:
        yield from mutants_of(module, (ROOT / "ledger" / f"{module}.py").read_text())


def _argued() -> dict[str, str]:
    listed = json.loads(SURVIVORS.read_text())["survivors"]
    return {f"{item['module']}: {item['change']}": item["equivalent because"] for item in listed}


def main() -> int:
    """Run all mutants and report; 0 where every survivor is argued for and they are few."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", default=list(MODULES))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.chdir(ROOT)
    if not survives(None):
        print("the tests fail without a mutant")
        return 1
    started, counted, survivors = time.monotonic(), Counter[str](), []
    for mutant in _mutants(options.modules):
        counted[mutant.module] += 1
        if survives(mutant):
            survivors.append(mutant)
            print(f"survived: ledger/{mutant.module}.py:{mutant.line}: {mutant.change}", flush=True)
    total = sum(counted.values())
    argued = _argued()
    unargued = [m for m in survivors if f"{m.module}: {m.change}" not in argued]
    print(f"{total} mutants, {len(survivors)} survived, {len(unargued)} of them without an argument")
    if options.json is not None:
        report = {
            "commit": _commit(),
            "mutants": total,
            "mutants of each module": dict(counted),
            "survived": [{"module": m.module, "line": m.line, "change": m.change} for m in survivors],
            "survivors in percent": round(100 * len(survivors) / total, 2),
            "minutes": round((time.monotonic() - started) / 60, 1),
        }
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return int(bool(unargued) or len(survivors) > SURVIVORS_SHARE_MAX * total)


def _commit() -> str:
    with contextlib.suppress(OSError):
        ran = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
        return ran.stdout.strip()
    return "unknown"


if __name__ == "__main__":
    sys.exit(main())
