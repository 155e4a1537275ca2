"""What the tests tell at their end, beside passing: how often the simulation met what it is there for."""

import pytest

SUMMARIES: dict[str, list[str]] = {}
"""Lines to print at the end, by title. Tests add to it."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the summaries."""
    for title, lines in SUMMARIES.items():
        terminalreporter.section(title)
        for line in lines:
            terminalreporter.write_line(line)
