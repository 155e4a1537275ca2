"""What the machine under the tests offers, and how long they wait for it."""

import os

PATIENCE_S = 120.0
"""How long a test waits for what must happen. Where all is well it is never waited out, however slow the machine."""


def jobs_of_machine() -> int:
    """Return how many processes can work at once here."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1))
