"""The processes that check signatures while a replay goes on, one for each core but the replay's own."""

import os

from node.workers import Workers


def checking_pool() -> Workers:
    """Return a pool, for a `with` statement."""
    return Workers(max(1, (os.cpu_count() or 1) - 1))
