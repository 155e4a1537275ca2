"""TOML files read strictly.

Rule 1: every refusal names file and key, and says what was expected, what was found and what to do.
Rule 2: every key of a table is taken exactly once; what is left over is refused as unknown.
Rule 3: a file is bounded before it is parsed.
"""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final, cast

from ledger.encoding.jsonform import find_mark
from node.errors import SetupError
from node.files.reading import UnfitFile, open_named, open_within

CONFIG_FILE_SIZE_MAX: Final = 64 * 1024
TABLE_ITEMS_MAX: Final = 256


class ConfigError(SetupError):
    """A home, configuration or scenario that cannot be used."""

    code = "config"


def read_file(path: Path, *, size_max: int) -> bytes:
    """Return the content of a regular file of at most `size_max` bytes. Raises ConfigError."""
    return _read(path, lambda: open_named(path), size_max)


def read_file_within(folder: Path, name: str, *, size_max: int) -> bytes:
    """Return the content of a regular file below a folder that others may fill: no step of `name` is a link.

    Raises ConfigError, where it has more than `size_max` bytes too.
    """
    return _read(folder / name, lambda: open_within(folder, name), size_max)


def _read(path: Path, open_it: Callable[[], BinaryIO], size_max: int) -> bytes:
    try:
        with open_it() as file:
            content = file.read(size_max + 1)
    except UnfitFile as error:
        raise ConfigError(
            where=f"{path}", expected=error.expected, found=error.found, cure=error.cure
        ) from error
    except FileNotFoundError as error:
        raise ConfigError(
            where=f"{path}", expected="a file", found="nothing", cure="check the path"
        ) from error
    except OSError as error:
        found = error.strerror or "an error"
        raise ConfigError(
            where=f"{path}", expected="a readable file", found=found, cure="check the path and its owner"
        ) from error
    if len(content) > size_max:
        raise ConfigError(
            where=f"{path}", expected=f"at most {size_max} bytes", found="more", cure="name the right file"
        )
    return content


class Table:
    """One table of a TOML file, emptied key by key; `finish` refuses what nobody asked for."""

    __slots__ = ("_is_inner", "_known", "_left", "where")

    def __init__(self, values: dict[str, object], where: str, *, is_inner: bool = False) -> None:
        if len(values) > TABLE_ITEMS_MAX:
            raise ConfigError(
                where=where,
                expected=f"at most {TABLE_ITEMS_MAX} keys",
                found=f"{len(values)}",
                cure="remove some",
            )
        self.where = where
        self._is_inner = is_inner
        self._left = dict(values)
        self._known: list[str] = []

    def keys(self) -> tuple[str, ...]:
        """Return the keys not yet taken, in the order of the file."""
        return tuple(self._left)

    def text(self, key: str) -> str:
        """Take a text that is not empty. Raises ConfigError."""
        value = self._require(key, "a text")
        if type(value) is not str or not value:
            raise self.refusal(key, "a text that is not empty", _describe(value), "write it in quotes")
        return value

    def find_text(self, key: str) -> str | None:
        """Take a text that is not empty, or None where there is none. Raises ConfigError."""
        if key in self._left:
            return self.text(key)
        self._known.append(key)
        return None

    def texts(self, key: str) -> tuple[str, ...]:
        """Take a list of texts. Raises ConfigError."""
        expected = f"a list of up to {TABLE_ITEMS_MAX} texts"
        value = self._require(key, expected)
        if type(value) is not list or len(value) > TABLE_ITEMS_MAX:
            raise self.refusal(key, expected, _describe(value), 'write it as ["..."]')
        if not all(type(item) is str and item for item in value):
            raise self.refusal(key, expected, "other items in it", 'write it as ["..."]')
        return tuple(cast("list[str]", value))

    def integer(self, key: str, *, minimum: int, maximum: int) -> int:
        """Take an integer within bounds. Raises ConfigError."""
        expected = f"an integer from {minimum} to {maximum}"
        value = self._require(key, expected)
        if type(value) is not int or not minimum <= value <= maximum:
            raise self.refusal(key, expected, _describe(value), "write a number in that range")
        return value

    def flag(self, key: str) -> bool:
        """Take true or false. Raises ConfigError."""
        value = self._require(key, "true or false")
        if type(value) is not bool:
            raise self.refusal(key, "true or false", _describe(value), "write it without quotes")
        return value

    def table(self, key: str) -> "Table":
        """Take a table. Raises ConfigError."""
        return self._as_table(self._require(key, "a table"), self._at(key))

    def find_table(self, key: str) -> "Table | None":
        """Take a table, or None where there is none. Raises ConfigError."""
        self._known.append(key)
        if key not in self._left:
            return None
        return self._as_table(self._left.pop(key), self._at(key))

    def tables(self, key: str) -> tuple["Table", ...]:
        """Take a list of tables, empty where the key is absent. Raises ConfigError."""
        self._known.append(key)
        value = self._left.pop(key, [])
        expected = f"a list of up to {TABLE_ITEMS_MAX} tables"
        if type(value) is not list or len(value) > TABLE_ITEMS_MAX:
            raise self.refusal(key, expected, _describe(value), f"write each as [[{key}]]")
        return tuple(
            self._as_table(item, f"{self._at(key)}[{index}]") for index, item in enumerate(value, start=1)
        )

    def finish(self) -> None:
        """Refuse every key that was not taken. Raises ConfigError."""
        if self._left:
            known = ", ".join(sorted(self._known)) or "none"
            found = f"unknown {ascii(sorted(self._left)[0])[:80]}"
            raise ConfigError(
                where=self.where, expected=f"only the keys {known}", found=found, cure="correct or remove it"
            )

    def refusal(self, key: str, expected: str, found: str, cure: str) -> ConfigError:
        """Return the error that refuses the value of `key`."""
        return ConfigError(where=self._at(key), expected=expected, found=found, cure=cure)

    def _require(self, key: str, expected: str) -> object:
        self._known.append(key)
        if key not in self._left:
            raise self.refusal(key, expected, "nothing", "add it")
        return self._left.pop(key)

    def _at(self, key: str) -> str:
        return f"{self.where}.{key}" if self._is_inner else f"{self.where}: {key}"

    def _as_table(self, value: object, where: str) -> "Table":
        if type(value) is not dict:
            raise ConfigError(
                where=where, expected="a table", found=_describe(value), cure="write it as a TOML table"
            )
        return Table(value, where, is_inner=True)


def parse_table(content: bytes, where: str) -> Table:
    """Return the top table of a TOML text. Raises ConfigError."""
    if len(content) > CONFIG_FILE_SIZE_MAX:
        found = f"{len(content)} bytes"
        raise ConfigError(
            where=where,
            expected=f"at most {CONFIG_FILE_SIZE_MAX} bytes",
            found=found,
            cure="name the right file",
        )
    mark = find_mark(content)
    if mark is not None:
        cure = "save the file as UTF-8 without a byte-order mark (BOM)"
        raise ConfigError(where=where, expected="a TOML file in UTF-8 without one", found=mark, cure=cure)
    try:
        # UnicodeDecodeError and TOMLDecodeError are both ValueErrors; deep nesting exhausts the stack.
        values: dict[str, object] = tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            where=where, expected="a TOML file in UTF-8", found=str(error)[:120], cure="correct the file"
        ) from error
    return Table(values, where)


def load_table_within(folder: Path, name: str) -> Table:
    """Return the top table of a TOML file below a folder that others may fill. Raises ConfigError."""
    content = read_file_within(folder, name, size_max=CONFIG_FILE_SIZE_MAX)
    return parse_table(content, str(folder / name))


def _describe(value: object) -> str:
    match value:
        case dict():
            return "a table"
        case list():
            return f"a list of {len(value)}"
        case _:
            return ascii(value)[:80]
