"""A person's yes to an act that cannot be undone, or that binds somebody.

Rule 1: yes is `--yes`, or what is typed at a terminal under what the act does. Nothing else is one: not silence, not a
pipe, not the end of a file.
Rule 2: it is asked before anything is signed, sent, made or destroyed.
"""

import sys
from collections.abc import Iterable

from cli.exits import wrong_usage
from cli.output import confirm, tell

YES_OPTION = "--yes"


def require_yes(question: str, *, yes: bool, command: str, shown: Iterable[str] = ()) -> None:
    """Return where a person agrees; `shown` is what they are shown before, a line each.

    Raises CommandError where nobody can be asked, click.Abort where the answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise wrong_usage(
            command,
            expected=f"{YES_OPTION}, or a terminal to ask at",
            found="neither",
            cure=f"Give {YES_OPTION} where whom it binds was shown it and agreed.",
        )
    tell(shown)
    confirm(question)
