"""How long a batch of a million takes an issuer: collecting, ordering and hashing it, and a path out of it.

    python -m bench.batches --json

The limit of forming is what the tree's hashes alone would take: two for each leaf.
"""

import random
import resource
import time
from pathlib import Path
from typing import Final

import click

from bench.report import Report, progress
from ledger.encoding.digests import digest
from ledger.trees.merkle import verify_inclusion
from node.client.issuing.draft import Draft, draft_of_bytes
from node.client.issuing.register import Register
from node.files.folders import passing_folder

COLLECTED: Final = 20_000
CHUNK: Final = 1_000
PATHS: Final = 20_000
ISSUER: Final = "hk-bureau"
SCHEMA: Final = "hk.credit-report"


def draft(number: int) -> Draft:
    """Return the draft of one small bearer document."""
    return draft_of_bytes(
        b"SAMPLE %d" % number,
        media_type="application/json",
        schema=SCHEMA,
        holder_key=None,
        reference=f"{number}",
    )


def seconds_to_collect(register: Register, count: int) -> float:
    """Return how long it takes to make documents of drafts, a thousand in each synced write."""
    drafts = [draft(number) for number in range(count)]
    start = time.perf_counter()
    for first in range(0, count, CHUNK):
        register.collect(drafts[first : first + CHUNK], now_ms=0)
    return time.perf_counter() - start


def fill(register: Register, count: int) -> None:
    """Put that many more documents into the register, whose openings are of no use."""
    source = random.Random(1)
    with register.change():
        register._connection.executemany(
            "INSERT INTO documents (schema, commitment, opening) VALUES (?, ?, ?)",
            ((SCHEMA, source.randbytes(32), source.randbytes(260)) for _ in range(count)),
        )


def seconds_of_hashes(count: int) -> float:
    """Return how long that many hashes of an inner node's size take."""
    node = bytes(65)
    start = time.perf_counter()
    for _ in range(count):
        digest(node)
    return time.perf_counter() - start


def resident_mib() -> float:
    """Return the most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024


@click.command()
@click.option("--leaves", default=1_000_000, show_default=True, help="Documents in the batch.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (the only form).")
def main(leaves: int, as_json: bool) -> None:
    """Measure a batch of a million in one register."""
    del as_json
    with (
        passing_folder(None, prefix="luohu-bench-") as directory,
        Register.open(Path(directory) / "issued.sqlite", chain_id=bytes(32), issuer=ISSUER) as register,
    ):
        progress("collecting", 0)
        collecting = seconds_to_collect(register, min(COLLECTED, leaves))
        progress("filling", 0.1)
        fill(register, max(0, leaves - COLLECTED))
        before = resident_mib()
        progress("forming", 0.4)
        start = time.perf_counter()
        (batch,) = register.form_batches(leaves)
        forming = time.perf_counter() - start
        after = resident_mib()
        progress("paths", 0.8)
        start = time.perf_counter()
        tree = register.tree(batch)
        reading = time.perf_counter() - start
        source = random.Random(2)
        start = time.perf_counter()
        for _ in range(PATHS):
            path = tree.path(source.randrange(leaves))
        paths = time.perf_counter() - start
        issued = register.document(1)
        assert issued.leaf is not None, "every document has its place"
        path = tree.path(issued.leaf)
        verify_inclusion(issued.commitment, path, size=leaves, root=batch.root)
        file_size = register.path.stat().st_size
        hashes = seconds_of_hashes(2 * leaves)
    progress("done", 1)
    Report(
        name="batches",
        figure=leaves / forming,
        unit="leaves per second, ordered by chance, hashed and stored",
        limit=leaves / hashes,
        limit_is="two hashes a leaf alone",
        details={
            "leaves": leaves,
            "forming_seconds": round(forming, 2),
            "collected_per_second": round(min(COLLECTED, leaves) / collecting),
            "memory_before_mib": round(before),
            "memory_while_forming_mib": round(after),
            "tree_mib": round(len(tree.nodes) / 2**20, 1),
            "tree_read_ms": round(1_000 * reading, 1),
            "paths_per_second": round(PATHS / paths),
            "siblings": len(path.siblings),
            "register_bytes_per_document": round(file_size / leaves),
        },
    ).print()


if __name__ == "__main__":
    main()
