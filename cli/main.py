"""The command `luohu`.

Rule 1: nothing here needs what the verifier library does not: where the rest is missing, it says what to
install instead of failing with a traceback.
Rule 2: whatever else is printed while a command runs, a traceback or a library's warning, is visible text too.
Rule 3: told to end, by a SIGTERM or because its terminal is gone, a command ends in good order, as when it is
interrupted: what it started ends, and what it made for itself is removed. It ends too where whoever it works for does.
"""

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Final

from cli.exits import INTERRUPTED
from node.lifeline import watch_lifeline
from node.logform import guard_unset_log

# Of the sources or the wheel: no package index has Luohu, and what has its name there is not ours.
EXTRA: Final = ".[node]"
RECIPIENT_EXTRA: Final = ".[recipient]"
# Packages that come with the extras, by the name they are imported under.
_OF_RECIPIENT: Final = frozenset({"click", "aiohttp"})
_PACKAGES: Final = _OF_RECIPIENT | {"plyvel", "plyvel_next", "prometheus_client"}
_ENDINGS: Final = ("SIGTERM", "SIGHUP")

Handler = Callable[[int, FrameType | None], None] | signal.Handlers


def main() -> None:
    """Run the command with the process's arguments, and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            # A terminal that cannot show a character gets its escape, never an error.
            reconfigure(errors="backslashreplace")
    guard_unset_log()
    try:
        _end_in_good_order()
        watch_lifeline()
        from cli.output import guard_faults
        from cli.program import run

        guard_faults()
        code = run(sys.argv[1:])
    except (KeyboardInterrupt, SystemExit):
        # Told to end, or interrupted before the command ran.
        sys.stderr.write("luohu: interrupted\n")
        code = INTERRUPTED
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _PACKAGES:
            raise
        smaller = f", or '{RECIPIENT_EXTRA}' to verify documents alone" if package in _OF_RECIPIENT else ""
        sys.stderr.write(
            f"luohu: this command\n  expected: the package {package}\n  found:    an installation without it\n"
            f"  cure:     python -m pip install '{EXTRA}'{smaller}; in the folder of Luohu's sources, or with the\n"
            "            path of its wheel in place of the dot\n"
        )
        code = 2
    # Nothing is left to be put in order.
    _replace_handlers(_interrupt, signal.SIG_DFL)
    sys.exit(code)


def _end_in_good_order() -> None:
    # A shell's `nohup` has a command go on without its terminal: what is ignored stays so.
    _replace_handlers(signal.SIG_DFL, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    # Whoever is impatient must not stop the cleaning up. The terminal's interrupt still does.
    _replace_handlers(_interrupt, signal.SIG_IGN)
    # No KeyboardInterrupt: the interpreter ends by a SIGINT of its own, in place of our code, if one was ever raised
    # where text was executed, as dataclasses do in imports.
    raise SystemExit(INTERRUPTED)


def _replace_handlers(old: Handler, new: Handler) -> None:
    for name in _ENDINGS:
        # Windows has one of the two.
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == old:
            signal.signal(number, new)


if __name__ == "__main__":
    main()
