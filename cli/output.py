"""What the commands print: text for people or one JSON value for programs, in one place.

Rule 1: with `--json` standard output holds exactly one JSON value, an error included.
Rule 2: the answer goes to standard output; errors in words and progress go to standard error.
Rule 3: text that came from outside cannot steer the terminal: what is not printable is escaped.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

import click

from cli.exits import CommandError
from ledger.encoding.records import Json

JSON_OPTION: Final = "--json"

F = TypeVar("F", bound=Callable[..., object])


def json_option(command: F) -> F:
    """Add `--json` to a command, as the argument `as_json`."""
    option = click.option(JSON_OPTION, "as_json", is_flag=True, help="Print one JSON value instead of text.")
    return option(command)


def print_answer(*, as_json: bool, value: Mapping[str, Json], lines: Iterable[str]) -> None:
    """Print an answer: the JSON value, or its lines for people."""
    if as_json:
        click.echo(json.dumps(value, indent=2))
        return
    for line in lines:
        click.echo(printable(line))


def print_error(error: CommandError, *, as_json: bool) -> None:
    """Print why a command did not succeed."""
    if as_json:
        content = {
            "code": error.code,
            "where": error.where,
            "expected": error.expected,
            "found": error.found,
            "cure": error.cure,
            "exit_code": error.exit_code,
        }
        click.echo(json.dumps({"error": content}, indent=2))
        return
    click.echo(printable(f"luohu: {error.where} [{error.code}]"), err=True)
    for name, text in (("expected", error.expected), ("found", error.found), ("cure", error.cure)):
        click.echo(printable(f"  {name + ':':<10}{text}"), err=True)


def warn(text: str) -> None:
    """Tell people something that changes neither the answer nor how the command ends."""
    click.echo(printable(f"luohu: {text}"), err=True)


def fields(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Return names and values as aligned lines."""
    listed = list(rows)
    width = max((len(name) for name, _ in listed), default=0) + 2
    return [f"  {name:<{width}}{value}" for name, value in listed]


def printable(text: str) -> str:
    """Return text with every character escaped that is not printable."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


class Progress:
    """A progress bar on standard error, drawn only where that is a terminal."""

    WIDTH: Final = 30

    def __init__(self, label: str, total_count: int) -> None:
        self._label = label
        self._total_count = max(1, total_count)
        self._shown: int | None = None
        self._is_drawn = sys.stderr.isatty()

    def update(self, done_count: int) -> None:
        """Say how much is done; draws only where the bar changes."""
        percent = min(100, 100 * done_count // self._total_count)
        if not self._is_drawn or percent == self._shown:
            return
        self._shown = percent
        bar = "#" * (percent * self.WIDTH // 100)
        click.echo(f"\r{self._label} [{bar:<{self.WIDTH}}] {percent:3d}%", nl=False, err=True)

    def finish(self) -> None:
        """End the line of the bar."""
        if self._shown is not None:
            click.echo("", err=True)
