"""The command in a process of its own, under a clock that stands."""

import sys

_SCRIPT = """
import cli.verify
from node.clock import SystemClock
SystemClock.wall_ms = lambda self: {now_ms}
cli.verify.now_ms = lambda: {now_ms}
from cli.main import main
main()
"""


def luohu_at(now_ms: int, arguments: list[str]) -> list[str]:
    """Return the command line of `luohu` whose clock says `now_ms` where it verifies or serves."""
    return [sys.executable, "-c", _SCRIPT.format(now_ms=now_ms), *arguments]
