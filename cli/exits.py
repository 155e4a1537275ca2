"""Exit codes, and the one shape in which every command that does not succeed says why.

Rule 1: 0 is fine; 1 means that the answer is no; 2 that the call, a path, a trusted root or a configuration
is wrong; 3 that a node cannot be reached, is not ready or does not show what it says. An interruption ends with
130, as in any shell.
Rule 2: every error says what was expected, what was found and what to do about it. None is a traceback.
What a node says to programs, its routes and fields, is said as whoever gave the command can do it.
Rule 3: bytes from outside that are refused are an answer (1); the user's own set-up that is refused is 2.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ledger.errors import LedgerError, LuohuError, UnfitEnvironment
from ledger.verdicts import VerificationError
from node.diskfaults import CURES
from node.errors import BadAnswer, ClientError, NotReady, RefusedByNode, SetupError, Unreachable

FINE: Final = 0
NO: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3
INTERRUPTED: Final = 130
FULL: Final = (errno.ENOSPC, errno.EDQUOT)

_CURES: Final = {
    "encoding": "Use the file as it was handed over, whole and unchanged; fetch it again where it was damaged.",
    "signature": "Use the key that this was made for, or have it signed again.",
    "proof": "Refresh the proof with `luohu proof refresh`.",
    "trust": "Check the trusted root with the network operator: `luohu trust check trust.json`.",
    "genesis": "Fetch genesis.json again from the network operator.",
    "wrong-chain": "Use files, homes and nodes of one network only.",
}
# What a node says to programs, as whoever gave a command can do it.
_CURES_OF_REFUSALS: Final = {
    "expired": "Give the command again: it signs anew. Refused again, this computer's clock is behind: set it.",
    "beyond-horizon": "Set this computer's clock, which is ahead of the network's; then give the command again.",
    "wrong-chain": "Use files, homes and nodes of one network only.",
    "consent-period": "Ask the bank for a new request with another end.",
}
_FOR_PROGRAMS: Final = ("/v1/", "_ms")
_CURE_OTHERWISE: Final = "Correct what was found and try again; `--help` on the command shows an example."


class CommandError(LuohuError):
    """A command that ends without success: its exit code, and what to tell the user."""

    cure: str

    def __init__(
        self, *, exit_code: int, where: str, expected: str, found: str, cure: str, code: str
    ) -> None:
        super().__init__(where=where, expected=expected, found=found, cure=cure, code=code)
        self.exit_code = exit_code


ERROR_FAMILIES: Final = (
    CommandError,
    LedgerError,
    UnfitEnvironment,
    SetupError,
    ClientError,
    NotReady,
    OSError,
)
"""Whatever a command may end with. Anything else is a fault of ours."""


def wrong_usage(where: str, *, expected: str, found: str, cure: str, code: str = "usage") -> CommandError:
    """Return the error of a call, a path or a configuration that is wrong."""
    return CommandError(exit_code=USAGE, where=where, expected=expected, found=found, cure=cure, code=code)


def require_posix(command: str) -> None:
    """Check that the system is one that nodes run on. Raises CommandError with exit code 2."""
    if not hasattr(os, "fork"):
        raise wrong_usage(
            command,
            expected="Linux or macOS",
            found="a system without what nodes and their files need",
            cure="Give it on the machine of the node: docs/windows.md lists what runs here.",
            code="system-unfit",
        )


def unreachable(where: str, *, expected: str, found: str, cure: str, code: str) -> CommandError:
    """Return the error of a node that cannot be reached or cannot answer yet."""
    return CommandError(
        exit_code=UNREACHABLE, where=where, expected=expected, found=found, cure=cure, code=code
    )


def refused(error: LedgerError, *, cure: str | None = None) -> CommandError:
    """Return a refusal of the rules as the answer no."""
    return _of_error(NO, error, cure)


def unusable(error: LedgerError, *, cure: str | None = None) -> CommandError:
    """Return a refusal of the user's own set-up: a trusted root, a genesis, a home, a key."""
    return _of_error(USAGE, error, cure)


def unreadable(path: str, error: OSError) -> CommandError:
    """Return the error of a path that cannot be read or written."""
    if isinstance(error, SetupError):
        return _of_error(USAGE, error)
    found = error.strerror or type(error).__name__
    if error.errno is not None and error.errno in FULL:
        cure = CURES[error.errno]
        return wrong_usage(path, expected="room on the disk", found=found, cure=cure, code="disk-full")
    cure = CURES.get(error.errno or 0, "Check the path and its permissions.")
    return wrong_usage(path, expected="a usable path", found=found, cure=cure, code="path")


def _of_error(exit_code: int, error: LuohuError, cure: str | None = None) -> CommandError:
    cure = cure or error.cure
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


def _cure_of_refusal(error: RefusedByNode) -> str | None:
    """Return a cure in place of what a node says to programs; None where its own is one for people."""
    known = _CURES_OF_REFUSALS.get(error.code)
    if known is None and any(each in f"{error.cure}" for each in _FOR_PROGRAMS):
        known = _CURES.get(error.code, _CURE_OTHERWISE)
    return known


@contextmanager
def own_configuration(cure: str | None = None) -> Iterator[None]:
    """Turn a refusal of the rules inside into a wrong configuration (exit code 2)."""
    try:
        yield
    except LedgerError as error:
        raise unusable(error, cure=cure) from error


def explain(error: Exception) -> CommandError:
    """Return how a command ends on an error of one of the families."""
    match error:
        case CommandError():
            return error
        case Unreachable() | BadAnswer() | NotReady():
            return _of_error(UNREACHABLE, error)
        case RefusedByNode():
            return _of_error(NO, error, _cure_of_refusal(error))
        case LedgerError():
            return _of_error(NO, error)
        case SetupError() | UnfitEnvironment():
            return _of_error(USAGE, error)
        case ConnectionError() | TimeoutError():
            found = str(error) or type(error).__name__
            cure = "Check the URL, and that the node runs: `luohu node status --url URL`."
            return unreachable("node", expected="an answer", found=found, cure=cure, code="unreachable")
        case _:
            assert isinstance(error, OSError), "one of ERROR_FAMILIES"
            return _of_system(error)


def _of_system(error: OSError) -> CommandError:
    if error.filename is not None:
        return unreadable(str(error.filename), error)
    found = error.strerror or str(error) or type(error).__name__
    cure = CURES.get(error.errno or 0, "Check the address, the disk and the permissions.")
    return wrong_usage("system", expected="success", found=found, cure=cure, code="system")
