"""The command `luohu`.

Rule 1: nothing here needs what the verifier library does not: where the rest is missing, it says what to
install instead of failing with a traceback.
Rule 2: whatever else is printed while a command runs, a traceback or a library's warning, is visible text too.
"""

import sys
from typing import Final

from node.logform import guard_unset_log

# Of the sources or the wheel: no package index has Luohu, and what has its name there is not ours.
EXTRA: Final = ".[node]"
RECIPIENT_EXTRA: Final = ".[recipient]"
# Packages that come with the extras, by the name they are imported under.
_OF_RECIPIENT: Final = frozenset({"click", "aiohttp"})
_PACKAGES: Final = _OF_RECIPIENT | {"plyvel", "plyvel_next", "prometheus_client"}


def main() -> None:
    """Run the command with the process's arguments, and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            # A terminal that cannot show a character gets its escape, never an error.
            reconfigure(errors="backslashreplace")
    guard_unset_log()
    try:
        from cli.output import guard_faults
        from cli.program import run

        guard_faults()
        code = run(sys.argv[1:])
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
    sys.exit(code)


if __name__ == "__main__":
    main()
