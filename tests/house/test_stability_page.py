"""The page of stable outputs says what the code does: exit codes, shapes of errors, the names of the Python API."""

import importlib
import json
import re

import pytest

from cli import exits
from cli.output import print_error
from node.api.openapi import describe
from tests.support.sources import ROOT, module_of

PAGE = (ROOT / "docs" / "stability.md").read_text("utf-8")


def section(heading: str) -> str:
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def shape_of(heading: str) -> list[str]:
    """Return the keys of the error that a section shows."""
    (shown,) = re.findall(r'\{"error": \{(.*)\}\}', section(heading))
    return re.findall(r'"(\w+)": …', shown)


def test_the_exit_codes_are_those_of_the_command() -> None:
    said = {int(number) for number in re.findall(r"(?:^|\. |code )(\d+):", section("The command"))}
    constants = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    assert said == constants


def test_the_errors_have_the_keys_that_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(exits.wrong_usage("a", expected="b", found="c", cure="d"), as_json=True)
    assert [*json.loads(capsys.readouterr().out)["error"]] == shape_of("The command")
    described = json.dumps(describe([], title="none"))
    (required,) = re.findall(r'"required": \[("code"[^\]]*)\]', described)
    assert required.replace('"', "").split(", ") == shape_of("The HTTP API")


def test_the_names_that_the_page_promises_exist_where_it_says() -> None:
    for module, name in re.findall(r"`(ledger\.[a-z.]+)\.([A-Z]\w+)`", section("Python")):
        assert hasattr(importlib.import_module(module), name), name
    promised = set(re.findall(r"`([A-Za-z_]+)`", section("Python").partition("\n- `ledger.trees")[0]))
    modules = [importlib.import_module(module_of(path)) for path in (ROOT / "ledger").glob("[a-z]*.py")]
    defined = {name for module in modules for name in vars(module)}
    assert len(promised) > 5
    assert promised <= defined, promised - defined
