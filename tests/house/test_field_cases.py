"""Every case that docs/log/field-cases.md calls closed names a test that is there."""

import ast
import re
from pathlib import Path

from tests.support.sources import ROOT, nodes_of, tree_of

PAGE = (ROOT / "docs" / "log" / "field-cases.md").read_text("utf-8")
_ROW = re.compile(r"^\| (?P<case>\d+) .*\| (?P<kind>[^|]+) \| (?P<held>[^|]+) \|$", re.MULTILINE)
_TEST = re.compile(r"`(?P<path>tests/[\w/]+\.py)(?:::(?P<name>\w+))?`")


def names_in(path: Path) -> set[str]:
    found = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in nodes_of(tree_of(path)) if isinstance(node, found)}


def find_faults(page: str) -> list[str]:
    """Return the cases that name no test and are not open, and the tests that are not there."""
    faults = []
    for row in _ROW.finditer(page):
        tests = [*_TEST.finditer(row["held"])]
        if not tests and not row["held"].startswith("open: "):
            faults.append(f"{row['case']}: neither a test nor what it closes with")
        for test in tests:
            path = ROOT / test["path"]
            is_there = path.is_file() and (test["name"] is None or test["name"] in names_in(path))
            if not is_there:
                faults.append(f"{row['case']}: {test[0]} is not there")
    return faults


def test_every_case_names_a_test_that_is_there_or_what_it_closes_with() -> None:
    assert find_faults(PAGE) == []


def test_each_row_is_read_and_each_case_stands_once() -> None:
    cases = [row["case"] for row in _ROW.finditer(PAGE)]
    listed = [line for line in PAGE.splitlines() if re.match(r"\| \d", line)]
    assert len(cases) == len(listed) == len(set(cases))
    assert {f"{number}" for number in range(1, 45)} == {*cases}


def test_a_case_without_a_test_and_a_test_that_is_gone_are_found() -> None:
    page = "| 1 a | b | |\n| 2 a | b | `tests/house/test_field_cases.py::test_nothing` |\n| 3 a | b | open: x |\n"
    assert len(find_faults(page.replace("| |", "| none |"))) == 2
