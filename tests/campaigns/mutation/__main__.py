"""Run the verifier's tests against every mutant.

python -m tests.campaigns.mutation [--status] [--journal FILE] [MODULE...]

The tests are collected once. Then each mutant has a process of its own, forked from this one, in which the faulty
function takes the place of the true one; where the fault is outside functions, everything of ours is loaded
anew. A mutant is killed when a test fails, or when the tests do not end in time. What survives must be listed in
survivors.json with the argument why it is equivalent; anything else fails the run. What each mutant came to is kept
in a journal: a run that was interrupted goes on where it was, and survivors are tried again.
"""

import argparse
import importlib.abc
import importlib.machinery
import inspect
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import pytest

from tests.campaigns.mutation.mutants import Mutant, mutants_of
from tests.campaigns.mutation.results import (
    JOURNAL,
    RESULT,
    Fate,
    FateJournal,
    describe_age,
    fate_of,
    source_of,
    write_result,
)
from tests.support.sources import ROOT, module_of

# Others can be named: archives, bundles, filenames, disclosure, sdjwt, sets and presentedsets have their tests here
# too, and survivors without an argument.
MODULES = ("verifier", "proofs", "certificates", "statetree", "merkle", "trust")
TESTS = (
    "tests/campaigns/mutation/test_forgeries_together.py",
    "tests/ledger/test_trust.py",
    "tests/ledger/test_verifier_bounds.py",
    "tests/ledger/test_verifier_memory.py",
    "tests/ledger/test_proof_limits.py",
    "tests/ledger/rules/test_certificates.py",
    "tests/ledger/trees/test_merkle.py",
    "tests/ledger/trees/test_statetree.py",
    "tests/ledger/test_archives.py",
    "tests/ledger/test_bundles.py",
    "tests/ledger/test_filenames.py",
    "tests/ledger/test_disclosure.py",
    "tests/ledger/test_sets.py",
)
# The tests that are likeliest to kill a module's mutants run first.
FIRST = {
    "certificates": "tests/ledger/rules/test_certificates.py",
    "merkle": "tests/ledger/trees/test_merkle.py",
    "statetree": "tests/ledger/trees/test_statetree.py",
    "trust": "tests/ledger/test_trust.py",
    "proofs": "tests/ledger/test_proof_limits.py",
    "archives": "tests/ledger/test_archives.py",
    "bundles": "tests/ledger/test_bundles.py",
    "filenames": "tests/ledger/test_filenames.py",
    "disclosure": "tests/ledger/test_disclosure.py",
    "sdjwt": "tests/ledger/test_disclosure.py",
    "sets": "tests/ledger/test_sets.py",
    "presentedsets": "tests/ledger/test_sets.py",
}
# The tools were loaded before pytest could rewrite them, which it says in a warning.
FLAGS = ("-x", "-q", "-s", "-p", "no:cacheprovider", "--hypothesis-seed=0")
QUIET = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
# Of processor time, so that a busy machine kills no mutant; and of all time, for what only waits.
SECONDS_MAX = 30
WAITING_SECONDS_MAX = 3_600
SURVIVORS = Path(__file__).with_name("survivors.json")
SURVIVORS_SHARE_MAX = 0.02


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Serves one mutant in the place of its module."""

    def __init__(self, mutant: Mutant) -> None:
        self._name = _dotted(mutant.module)
        self._code = _compiled(mutant)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(fullname, self) if fullname == self._name else None

    def exec_module(self, module: ModuleType) -> None:
        exec(self._code, module.__dict__)


class Run:
    """The plugin that takes the place of pytest's loop over the collected tests."""

    def __init__(self, mutants: Sequence[Mutant], journal: FateJournal) -> None:
        self._mutants, self._journal = mutants, journal
        self.tests_pass = False

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        assert session.testscollected, "there are tests"
        self.tests_pass = _survives(session, None)
        for tried, mutant in enumerate(self._mutants if self.tests_pass else (), 1):
            if tried % 25 == 0:
                print(f"{tried} of {len(self._mutants)} tried", flush=True)
            fate = fate_of(mutant, survived=_survives(session, mutant))
            self._journal.append(fate)
            if fate.survived:
                print(f"survived: ledger/{mutant.module}.py:{mutant.line}: {mutant.change}", flush=True)
        return True


def _survives(session: pytest.Session, mutant: Mutant | None) -> bool:
    """Say whether every test passes with a mutant, or, for None, without one."""
    child = os.fork()
    if child == 0:
        failed = 1
        try:
            signal.setitimer(signal.ITIMER_PROF, SECONDS_MAX)
            signal.alarm(WAITING_SECONDS_MAX)
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            failed = _run_tests(session, mutant)
        finally:
            os._exit(failed)  # whatever happens, the child never runs on as a second parent
    _, status = os.waitpid(child, 0)
    return status == 0


def _run_tests(session: pytest.Session, mutant: Mutant | None) -> int:
    if mutant is not None and not mutant.is_in_function:
        return _run_loaded_anew(mutant)
    if mutant is not None:
        _exchange_functions(mutant)
    first = _first(mutant)
    items = sorted(session.items, key=lambda item: not item.nodeid.startswith(first))
    for item, following in zip(items, [*items[1:], None], strict=True):
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            return 1
    return 0


def _run_loaded_anew(mutant: Mutant) -> int:
    for name in list(sys.modules):
        if name.split(".")[0] in ("ledger", "node") or name.startswith(("tests.", "test_")):
            del sys.modules[name]
    sys.meta_path.insert(0, _Finder(mutant))
    ordered = sorted(TESTS, key=lambda test: test != _first(mutant))
    return int(any(pytest.main([*FLAGS, *QUIET, test]) for test in ordered))


def _dotted(module: str) -> str:
    return module_of(source_of(module))


def _first(mutant: Mutant | None) -> str:
    return TESTS[0] if mutant is None else FIRST.get(mutant.module, TESTS[0])


def _exchange_functions(mutant: Mutant) -> None:
    codes = dict(_function_codes(_compiled(mutant)))
    for function in _functions(sys.modules[_dotted(mutant.module)]):
        if function.__qualname__ in codes:
            function.__code__ = codes[function.__qualname__]


def _compiled(mutant: Mutant) -> CodeType:
    return compile(mutant.source, f"<{_dotted(mutant.module)}, mutant {mutant.number}>", "exec")


def _function_codes(code: CodeType) -> Iterator[tuple[str, CodeType]]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant.co_qualname, constant
            if not constant.co_flags & inspect.CO_NEWLOCALS:
                yield from _function_codes(constant)


def _functions(owner: ModuleType | type) -> Iterator[FunctionType]:
    name = owner.__name__ if isinstance(owner, ModuleType) else owner.__module__
    for value in list(vars(owner).values()):
        plain = (
            value.fget if isinstance(value, property) else inspect.unwrap(getattr(value, "__func__", value))
        )
        if isinstance(plain, FunctionType) and plain.__module__ == name:
            yield plain
        elif isinstance(owner, ModuleType) and isinstance(value, type) and value.__module__ == name:
            yield from _functions(value)


def _mutants(modules: Sequence[str]) -> list[Mutant]:
    sources = {module: source_of(module).read_text() for module in modules}
    return [mutant for module, source in sources.items() for mutant in mutants_of(module, source)]


def _argued() -> set[tuple[str, str, str]]:
    listed = json.loads(SURVIVORS.read_text())["survivors"]
    return {(item["module"], item["change"], item["place"]) for item in listed if item["equivalent because"]}


def _report(fates: Sequence[Fate], *, result: Path | None) -> int:
    survivors, argued = [fate for fate in fates if fate.survived], _argued()
    unargued = [fate for fate in survivors if (fate.module, fate.change, fate.place) not in argued]
    for fate in unargued:
        print(f"without an argument: ledger/{fate.module}.py:{fate.line}: {fate.change} | {fate.place}")
    print(f"{len(fates)} mutants, {len(survivors)} survived, {len(unargued)} of them without an argument")
    if result is not None:
        write_result(result, fates, TESTS)
    return int(bool(unargued) or len(survivors) > SURVIVORS_SHARE_MAX * len(fates))


def main() -> int:
    """Run the mutants that the journal lacks and report; 0 where every survivor is argued for and they are few."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", default=list(MODULES))
    parser.add_argument(
        "--journal", type=Path, default=JOURNAL, help="where what was found is kept as it goes"
    )
    parser.add_argument("--json", type=Path, help="write the result of a complete run there")
    parser.add_argument("--again", action="store_true", help="try again what survived")
    parser.add_argument(
        "--status", action="store_true", help="say whether the kept result is stale; run nothing"
    )
    options = parser.parse_args()
    if options.status:
        print(describe_age(RESULT, TESTS))
        return 0
    os.chdir(ROOT)
    mutants = _mutants(options.modules)
    journal = FateJournal(options.journal, options.modules)
    known = {place for place, fate in journal.fates.items() if not (options.again and fate.survived)}
    run = Run([mutant for mutant in mutants if (mutant.module, mutant.number) not in known], journal)
    pytest.main([*FLAGS, *QUIET, *TESTS], plugins=[run])
    if not run.tests_pass:
        print("the tests fail without a mutant")
        return 1
    return _report([journal.fates[mutant.module, mutant.number] for mutant in mutants], result=options.json)


if __name__ == "__main__":
    sys.exit(main())
