"""Load on a running network: transactions signed before the clock starts, and a generator process for each node."""

import multiprocessing
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.cluster import Cluster, cpu_seconds
from bench.generator import Generator
from bench.report import percentile
from ledger.encoding.keys import PrivateKey, PublicKey
from ledger.rules.operations import AnchorBatch
from ledger.rules.transactions import Transaction, TransactionBody
from node.files.folders import passing_folder
from node.home.development import development_key

SENDER: Final = "hk-bureau"
SCHEMA: Final = "hk.credit-report"
VALIDITY_MS: Final = 30 * 60_000
LIMIT_ROUNDS: Final = 3


@dataclass(frozen=True, slots=True)
class Found:
    """What a load came to: how many transactions became final, how long requests took, what it cost."""

    final_count: int
    seconds: float
    request_seconds: tuple[float, ...]
    node_cpu_seconds: float
    generator_cpu_seconds: float

    @property
    def rate(self) -> float:
        """Transactions final per second."""
        return self.final_count / self.seconds

    def details(self) -> dict[str, object]:
        """Return what a report shows beside the figure."""
        return {
            "final": self.final_count,
            "seconds": round(self.seconds, 2),
            "node_cpu_share": round(self.node_cpu_seconds / self.seconds, 3),
            "node_cpu_ms_per_transaction": round(1_000 * self.node_cpu_seconds / max(1, self.final_count), 3),
            "generator_cpu_share": round(self.generator_cpu_seconds / self.seconds, 3),
            "request_ms_p50": round(1_000 * percentile(self.request_seconds, 50), 2),
            "request_ms_p99": round(1_000 * percentile(self.request_seconds, 99), 2),
        }


def sign_transactions(
    chain_id: bytes, count: int, *, operations_count: int = 1, leaf_count: int = 1
) -> list[Transaction]:
    """Return that many signed transactions, each anchoring roots of its own."""
    source = random.Random(time.time_ns())
    key = development_key(SENDER, "member")
    valid_until_ms = time.time_ns() // 1_000_000 + VALIDITY_MS
    return [
        Transaction.sign(
            TransactionBody(
                chain_id,
                SENDER,
                valid_until_ms,
                tuple(
                    AnchorBatch(source.randbytes(32), leaf_count, SCHEMA, None)
                    for _ in range(operations_count)
                ),
            ),
            key,
        )
        for _ in range(count)
    ]


def drive(
    cluster: Cluster,
    transactions: Sequence[Transaction],
    *,
    clients: int,
    batch: int,
    seconds: float,
    period_ms: float = 0.0,
) -> Found:
    """Submit to all nodes at once, `clients` requests under way at each; wait until all of it is answered.

    With `period_ms` each client begins one request in that time, if the one before is answered.
    """
    share = len(transactions) // len(cluster.urls)
    with passing_folder(None, prefix="luohu-bench-") as directory:
        generators = [
            Generator(
                url,
                transactions[index * share : (index + 1) * share],
                Path(directory),
                clients=clients,
                batch=batch,
                seconds=seconds,
                period_ms=period_ms,
                phase_ms=index * period_ms / clients / len(cluster.urls),
            )
            for index, url in enumerate(cluster.urls)
        ]
        before = [cpu_seconds(process) for process in cluster.processes]
        start = time.perf_counter()
        for generator in generators:
            generator.go()
        outcomes = [generator.outcome() for generator in generators]
        elapsed = time.perf_counter() - start
        used = [cpu_seconds(process) for process in cluster.processes]
    return Found(
        sum(outcome.final_count for outcome in outcomes),
        elapsed,
        tuple(sorted(second for outcome in outcomes for second in outcome.request_seconds)),
        sum(after - earlier for earlier, after in zip(before, used, strict=True)),
        sum(outcome.cpu_seconds for outcome in outcomes),
    )


def period_ms_of(rate: float, *, nodes_count: int, clients: int, batch: int) -> float:
    """Return the period at which all clients together submit that many transactions per second."""
    return 1_000 * nodes_count * clients * batch / rate


def rate_of_signature_checks(count: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return raw verifications per second on this core: distinct keys and messages."""
    source = random.Random("signatures")
    signed: list[tuple[PublicKey, bytes, bytes]] = []
    for _ in range(count):
        key, message = PrivateKey.from_seed(source.randbytes(32)), source.randbytes(120)
        signed.append((key.public, message, key.sign("luohu/bench", message)))
    start = clock()
    for public, message, signature in signed:
        public.verify("luohu/bench", message, signature)
    return count / (clock() - start)


def rate_on_all_cores(count: int = 5_000) -> float:
    """Return raw signature checks per second on all idle cores together: the best of a few rounds.

    A round is short, and whoever else runs meanwhile takes a core from it; nobody adds one.
    """
    cores = multiprocessing.cpu_count()
    with multiprocessing.Pool(cores) as pool:
        return max(sum(pool.map(rate_of_signature_checks, [count] * cores)) for _ in range(LIMIT_ROUNDS))
