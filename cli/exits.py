"""Exit codes, and the one shape in which every command that does not succeed says why.

Rule 1: 0 is fine; 1 means that the answer is no; 2 that the call, a path, a trusted root or a configuration
is wrong; 3 that a node cannot be reached or is not ready. An interruption ends with 130, as in any shell.
Rule 2: every error says what was expected, what was found and what to do about it. None is a traceback.
Rule 3: bytes from outside that are refused are an answer (1); the user's own set-up that is refused is 2.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ledger.errors import LedgerError
from ledger.verdicts import VerificationError

FINE: Final = 0
NO: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3
INTERRUPTED: Final = 130

_CURES: Final = {
    "encoding": "Use the file as it was handed over, whole and unchanged; fetch it again where it was damaged.",
    "signature": "Use the key that this was made for, or have it signed again.",
    "proof": "Refresh the proof with `luohu proof refresh`.",
    "trust": "Check the trusted root with the network operator: `luohu trust check trust.json`.",
    "genesis": "Fetch genesis.json again from the network operator.",
    "wrong-chain": "Use files, homes and nodes of one network only.",
}
# Errors of the node that commands meet, by module: importing it here would load aiohttp or plyvel.
_USAGE_ERRORS: Final = (
    ("node.client.wallet", "WalletError"),
    ("node.client.issuing.register", "RegisterError"),
    ("node.storage.store", "StoreError"),
    ("node.storage.votelog", "VoteLogError"),
    ("node.run", "StartRefused"),
)
_NO_ERRORS: Final = (("node.client.client", "Refused"),)
_UNREACHABLE_ERRORS: Final = (
    ("node.client.client", "Unreachable"),
    ("node.client.client", "BadAnswer"),
    ("node.api.service", "NotReady"),
)

_CURE_OTHERWISE: Final = "Correct what was found and try again; `--help` on the command shows an example."


class CommandError(Exception):
    """A command that ends without success: its exit code, and what to tell the user."""

    def __init__(
        self, exit_code: int, where: str, *, expected: str, found: str, cure: str, code: str
    ) -> None:
        super().__init__(f"{where}: expected {expected}, found {found}")
        self.exit_code = exit_code
        self.where = where
        self.expected = expected
        self.found = found
        self.cure = cure
        self.code = code


def wrong_usage(where: str, *, expected: str, found: str, cure: str, code: str = "usage") -> CommandError:
    """Return the error of a call, a path or a configuration that is wrong."""
    return CommandError(exit_code=USAGE, where=where, expected=expected, found=found, cure=cure, code=code)


def unreachable(where: str, *, expected: str, found: str, cure: str, code: str) -> CommandError:
    """Return the error of a node that cannot be reached or cannot answer yet."""
    return CommandError(
        exit_code=UNREACHABLE, where=where, expected=expected, found=found, cure=cure, code=code
    )


def refused(error: LedgerError, *, cure: str | None = None) -> CommandError:
    """Return a refusal of the rules as the answer no."""
    return _of_ledger(NO, error, cure)


def unusable(error: LedgerError, *, cure: str | None = None) -> CommandError:
    """Return a refusal of the user's own set-up: a trusted root, a genesis, a home, a key."""
    return _of_ledger(USAGE, error, cure)


def unreadable(path: str, error: OSError) -> CommandError:
    """Return the error of a path that cannot be read or written."""
    found = error.strerror or type(error).__name__
    cure = "Check the path and its permissions."
    return wrong_usage(path, expected="a usable path", found=found, cure=cure, code="path")


def _of_ledger(exit_code: int, error: LedgerError, cure: str | None) -> CommandError:
    if cure is None and isinstance(error, VerificationError):
        cure = error.refusal.next_step.en
    return CommandError(
        exit_code=exit_code,
        where=error.where or "input",
        expected=error.expected,
        found=error.found,
        cure=cure or _CURES.get(error.code, _CURE_OTHERWISE),
        code=error.code,
    )


@contextmanager
def own_configuration(cure: str | None = None) -> Iterator[None]:
    """Turn a refusal of the rules inside into a wrong configuration (exit code 2)."""
    try:
        yield
    except LedgerError as error:
        raise unusable(error, cure=cure) from error


def error_families() -> tuple[type[Exception], ...]:
    """Return every kind of error that a command may end with. Imports no more than what can have raised."""
    from node.files.durablefile import PrivateFileError
    from node.files.keyfiles import KeyFileError

    return (
        CommandError,
        LedgerError,
        OSError,
        PrivateFileError,
        KeyFileError,
        *_loaded(_USAGE_ERRORS),
        *_loaded(_NO_ERRORS),
        *_loaded(_UNREACHABLE_ERRORS),
    )


def explain(error: Exception) -> CommandError:
    """Return how a command ends on an error of one of the families."""
    if isinstance(error, CommandError):
        return error
    if isinstance(error, _loaded(_UNREACHABLE_ERRORS)):
        return _of_node(UNREACHABLE, error, "unreachable")
    if isinstance(error, _loaded(_NO_ERRORS)):
        return _of_node(NO, error, "refused")
    if isinstance(error, LedgerError):
        cure = getattr(error, "cure", None)
        return unusable(error, cure=cure) if error.code == "config" else refused(error, cure=cure)
    if isinstance(error, ConnectionError | TimeoutError):
        found = str(error) or type(error).__name__
        cure = "Check the URL, and that the node runs: `luohu node status --url URL`."
        return unreachable("node", expected="an answer", found=found, cure=cure, code="unreachable")
    if isinstance(error, OSError) and not hasattr(error, "cure"):
        return _of_system(error)
    return _of_node(USAGE, error, "configuration")


def _of_system(error: OSError) -> CommandError:
    if error.filename is not None:
        return unreadable(str(error.filename), error)
    found = error.strerror or str(error) or type(error).__name__
    cure = "Check the address, the disk and the permissions."
    return wrong_usage("system", expected="success", found=found, cure=cure, code="system")


def _of_node(exit_code: int, error: Exception, code: str) -> CommandError:
    """Node errors carry `expected`, `found` and `cure`; one that does not says all in its message."""
    return CommandError(
        exit_code=exit_code,
        where=str(getattr(error, "where", _place(error))),
        expected=str(getattr(error, "expected", "success")),
        found=str(getattr(error, "found", error)),
        cure=str(getattr(error, "cure", _CURE_OTHERWISE)),
        code=str(getattr(error, "code", code)),
    )


def _place(error: Exception) -> str:
    """Return what stands before `: expected` in a message."""
    place, separator, _ = str(error).partition(": expected ")
    return place if separator else type(error).__name__


def _loaded(names: tuple[tuple[str, str], ...]) -> tuple[type[Exception], ...]:
    """Return the classes whose modules are loaded: what was never imported was never raised."""
    modules = ((sys.modules.get(module), name) for module, name in names)
    return tuple(getattr(module, name) for module, name in modules if module is not None)
