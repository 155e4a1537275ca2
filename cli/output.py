"""What the commands print: text for people or one JSON value for programs, in one place.

Rule 1: with `--json` standard output holds exactly one JSON value, an error included.
Rule 2: the answer goes to standard output; errors in words, questions and progress go to standard error.
Rule 3: text that came from outside cannot steer the terminal, make a line or hide: each line that is printed is
visible text (`node.visibletext`), and JSON is ASCII without controls.
Rule 4: no other module of the command prints or asks, so none can forget rule 3.
"""

import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Final, TypeVar

import click

from cli.exits import CommandError
from cli.times import in_words
from ledger.encoding.records import Json
from node.visibletext import ascii_json, visible

JSON_OPTION: Final = "--json"

F = TypeVar("F", bound=Callable[..., object])


def json_option(command: F) -> F:
    """Add `--json` to a command, as the argument `as_json`."""
    option = click.option(JSON_OPTION, "as_json", is_flag=True, help="Print one JSON value instead of text.")
    return option(command)


def print_answer(*, as_json: bool, value: Mapping[str, Json], lines: Iterable[str]) -> None:
    """Print an answer: the JSON value, or its lines for people."""
    if as_json:
        click.echo(ascii_json(value, indent=2))
    else:
        print_lines(lines)


def print_error(error: CommandError, *, as_json: bool) -> None:
    """Print why a command did not succeed."""
    if as_json:
        content: dict[str, Json] = {
            "code": error.code,
            "where": error.where,
            "expected": error.expected,
            "found": error.found,
            "cure": error.cure,
            "exit_code": error.exit_code,
        }
        print_answer(as_json=True, value={"error": content}, lines=())
        return
    tell([f"luohu: {error.where} [{error.code}]"])
    expected, found = (
        in_words(text, code=error.code, where=error.where) for text in (error.expected, error.found)
    )
    told = (("expected", expected), ("found", found), ("cure", error.cure))
    tell(f"  {name + ':':<10}{text}" for name, text in told)


def print_lines(lines: Iterable[str]) -> None:
    """Print lines on standard output."""
    for line in lines:
        click.echo(visible(line))


def tell(lines: Iterable[str]) -> None:
    """Print lines on standard error: what is no answer."""
    for line in lines:
        click.echo(visible(line), err=True)


def print_fault(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of a fault of ours, for `sys.excepthook`. It quotes what it met, so each line has a mark."""
    told = "".join(traceback.format_exception(kind, error, trace))
    tell(
        ["luohu: a fault of its own; report it with these lines", *(f"| {line}" for line in told.split("\n"))]
    )


def guard_faults() -> None:
    """Have faults of this process told by `print_fault`, in its threads and where objects end, too."""
    sys.excepthook = print_fault
    threading.excepthook = lambda fault: _print_fault_of(fault.exc_type, fault.exc_value, fault.exc_traceback)
    sys.unraisablehook = lambda fault: _print_fault_of(fault.exc_type, fault.exc_value, fault.exc_traceback)


def _print_fault_of(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    print_fault(kind, kind() if error is None else error, trace)


def confirm(question: str) -> None:
    """Ask for a yes at the terminal. Raises click.Abort where the answer is no."""
    click.confirm(visible(question), abort=True, err=True)


def ask_hidden(text: str, *, is_new: bool) -> str:
    """Ask for what nobody may read over a shoulder; twice, where it is new."""
    answer: str = click.prompt(visible(text), hide_input=True, confirmation_prompt=is_new, err=True)
    return answer


def warn(text: str) -> None:
    """Tell people something that changes neither the answer nor how the command ends."""
    tell([f"luohu: {text}"])


def fields(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Return names and values as aligned lines."""
    listed = list(rows)
    width = max((len(name) for name, _ in listed), default=0) + 2
    return [f"  {name:<{width}}{value}" for name, value in listed]


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
