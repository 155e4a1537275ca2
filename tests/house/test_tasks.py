"""Every task that is started has somebody who sees it fail: else a node lives on that only looks alive."""

import ast
from collections import Counter

from tests.support.sources import ROOT

SEEN_BY = {
    "node/run.py": (3, "Node._has_ended ends the node"),
    "node/running.py": (1, "wakes who waits, and cannot fail"),
    "node/network/peers.py": (1, "PeerNetwork._reap closes the receive queue, which ends the node"),
    "node/network/connection.py": (3, "Connection.carry gathers them, and raises what is ours"),
    "node/network/listener.py": (
        1,
        "one stranger's welcome: the event loop tells it, and nothing else rests on it",
    ),
    "node/api/loopback.py": (1, "`accepting`, which whoever serves watches"),
    "node/sync/checkers.py": (
        2,
        "the driver checks itself what a process did not; the end of a killed process",
    ),
    "node/client/issuing/issuer.py": (2, "Issuer._abandon fails whoever waits"),
}


def test_whoever_starts_a_task_says_who_sees_that_it_failed() -> None:
    found: Counter[str] = Counter()
    for path in sorted((ROOT / "node").rglob("*.py")):
        for each in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(each, ast.Attribute) and each.attr == "create_task":
                found[path.relative_to(ROOT).as_posix()] += 1
    assert dict(found) == {path: count for path, (count, _) in SEEN_BY.items()}
