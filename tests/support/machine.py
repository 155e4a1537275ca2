"""What the machine under the tests offers."""

import os


def jobs_of_machine() -> int:
    """Return how many processes can work at once here."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1))
