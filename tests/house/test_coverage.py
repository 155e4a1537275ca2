"""Coverage is added up by package, and a fall of its total fails."""

from pathlib import Path

import pytest

from tests.support import coveragereport
from tests.support.coveragereport import Reached, by_package


def summary(statements: int, lines: int, branches: int, taken: int) -> dict[str, int]:
    return {
        "num_statements": statements,
        "covered_lines": lines,
        "num_branches": branches,
        "covered_branches": taken,
    }


def test_files_of_a_folder_add_up() -> None:
    files = {
        "node/api/server.py": summary(8, 6, 2, 0),
        "node/api/routes.py": summary(10, 10, 0, 0),
        "node/run.py": summary(4, 1, 0, 0),
    }
    assert by_package(files) == {"node": Reached(4, 1), "node/api": Reached(20, 16)}
    assert by_package(files)["node/api"].percent == 80.0


def test_nothing_to_reach_is_all_reached() -> None:
    assert by_package({"node/__init__.py": summary(0, 0, 0, 0)})["node"].percent == 100.0


@pytest.mark.parametrize(("total", "code"), [(90.0, 0), (89.9, 1)])
def test_a_total_below_what_is_expected_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], total: float, code: int
) -> None:
    class Measured:
        """What coverage measured, with a total of the test's choice."""

        def load(self) -> None:
            return None

        def json_report(self, *, outfile: str) -> float:
            Path(outfile).write_text('{"files": {}}')
            return total

        def get_option(self, name: str) -> float:
            assert name == "report:fail_under"
            return 90.0

    monkeypatch.setattr("coverage.Coverage", Measured)
    assert coveragereport.main() == code
    assert "at least 90.0 %" in capsys.readouterr().out
