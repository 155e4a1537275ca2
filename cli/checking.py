"""The processes that check signatures while a replay goes on, one for each core but the replay's own."""

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager


@contextmanager
def checking_pool() -> Iterator[ProcessPoolExecutor]:
    """Lend a pool; its processes start with the first work, and end with the block."""
    workers_count = max(1, (os.cpu_count() or 1) - 1)
    # A fresh interpreter: nothing of this process, its keys or its open database goes along.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers_count, mp_context=context)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
