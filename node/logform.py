"""The form of a log: one event is one line, whoever chose its values (docs/operators.md, The form of a line).

Rule 1: a line is time, level, logger, the name of the event, then `name=value` for each field.
Rule 2: a value of visible characters without space, `"`, `=` and backslash stands as it is. Every other one is a JSON
string, in which what a reader would not see is escaped too. So no value ends its line, its field or its quotes.
Rule 3: a traceback is a field, `trace`, in the same form: it makes no further line.
Rule 4: this form is put on where lines are written, so no call can leave it out.
"""

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Final, TextIO

from node.visibletext import ascii_json, is_seen, visible

_PLAIN: Final = re.compile(r'[^\s"=\\]+')


def log_value(text: str) -> str:
    """Return a value as it stands in a line (rule 2)."""
    if _PLAIN.fullmatch(text) and visible(text) == text:
        return text
    pieces = (
        character if is_seen(character) and character not in '"\\' else ascii_json(character)[1:-1]
        for character in text
    )
    return f'"{"".join(pieces)}"'


class Fields:
    """Fields whose names only the program knows when it runs. They are told as `name=value`, each value by rule 2."""

    def __init__(self, fields: Iterable[tuple[str, int | str]]) -> None:
        self._fields = tuple(fields)

    def __str__(self) -> str:
        return " ".join(f"{name}={log_value(f'{value}')}" for name, value in self._fields)


class _Value:
    """An argument of a line that shows itself by rule 2, whichever conversion asks."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return log_value(f"{self._value}")

    def __repr__(self) -> str:
        return log_value(repr(self._value))


class LogForm(logging.Formatter):
    """Writes a record as one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        line = f"{self.formatTime(record)} {record.levelname} {record.name} {_message_of(record)}"
        if record.exc_info:
            line += f" trace={log_value(self.formatException(record.exc_info))}"
        if record.stack_info:
            line += f" stack={log_value(record.stack_info)}"
        return line


def log_to(stream: TextIO) -> None:
    """Send the log of this process to a stream, in this form."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LogForm())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def guard_unset_log() -> None:
    """Give this form to what a process writes before, or without, `log_to`, and to warnings of Python's."""
    assert logging.lastResort is not None, "nobody has taken away what writes them"
    logging.lastResort.setFormatter(LogForm())
    logging.captureWarnings(capture=True)


def _message_of(record: logging.LogRecord) -> str:
    # The event and its fields' names are ours. What a library says in one piece may be of any text.
    text, arguments = visible(f"{record.msg}"), record.args
    if isinstance(arguments, tuple) and arguments:
        return text % tuple(map(_guarded, arguments))
    if isinstance(arguments, Mapping) and arguments:
        return text % {name: _guarded(value) for name, value in arguments.items()}
    return text


def _guarded(value: object) -> object:
    return value if isinstance(value, int | float | Fields) else _Value(value)
