"""Which room may import which. A room is a folder of the library or the node, or some modules at their top.

Rule 1: an import that is not in the table is found, and so is an entry of the table that no import uses any more.
Rule 2: there is no circle between rooms.
Rule 3: tests, benchmarks and examples may import everything. Nothing imports them, but tests and themselves.
"""

from collections.abc import Mapping, Set
from functools import cache
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.support.sources import ROOT, imported, module_of, parsed, path_of

# Some modules at the top are a room of their own, for all others stand on them.
WORDS = (
    "clock",
    "condition",
    "diskfaults",
    "errors",
    "evidence",
    "lifeline",
    "localtime",
    "logform",
    "measurements",
    "messages",
    "peernames",
    "progress",
    "version",
    "visibletext",
    "workers",
)
ROOM_OF = {"ledger.errors": "ledger errors"} | {f"node.{name}": "node words" for name in WORDS}

# A room, and all that it may import, lowest first.
MAY_IMPORT = {
    # Decides: pure functions over bytes.
    "ledger errors": "",
    "ledger.encoding": "ledger errors",
    "ledger.trees": "ledger errors, ledger.encoding",
    "ledger.rules": "ledger errors, ledger.encoding, ledger.trees",
    "ledger.chain": "ledger errors, ledger.encoding, ledger.trees, ledger.rules",
    # What people outside import.
    "ledger": "ledger errors, ledger.encoding, ledger.trees, ledger.rules, ledger.chain",
    # Made of the shapes; `ledger.encoding.recordcode` loads it by its name, so no import leads to it.
    "ledger.generated": "ledger.encoding, ledger.trees, ledger.rules, ledger.chain, ledger",
    # What every room of the node speaks. Messages carry what the rules and their chain declare.
    "node words": "ledger errors, ledger.encoding, ledger.trees, ledger.rules, ledger.chain, ledger",
    "node.files": "ledger errors, ledger.encoding, node words",
    # A function of events: nothing of the node but itself.
    "node.consensus": "ledger errors, ledger.encoding, ledger.rules",
    # TLS identities are keys in files, and certificates in the parts that the rules name.
    "node.network": "ledger errors, ledger.encoding, ledger.rules, node words, node.files",
    "node.storage": (
        "ledger errors, ledger.encoding, ledger.trees, ledger.rules, ledger.chain, ledger, node words, node.files"
    ),
    "node.chain": "ledger errors, ledger.encoding, ledger.rules, ledger.chain, node words, node.storage",
    "node.sync": (
        "ledger errors, ledger.encoding, ledger.trees, ledger.rules, ledger.chain, ledger, node words, "
        "node.storage, node.chain"
    ),
    # Where the core meets chain, disks and peers. It knows no route and no client.
    "node.replica": (
        "ledger errors, ledger.encoding, ledger.trees, ledger.rules, ledger.chain, node words, node.files, "
        "node.consensus, node.storage, node.chain, node.sync"
    ),
    "node.consent": "ledger errors, ledger.encoding, ledger.rules, ledger, node words, node.files",
    # A new home gets the consensus timings, TLS identities and scenarios that it begins with; `repair` opens its store.
    "node.home": (
        "ledger errors, ledger.encoding, ledger.trees, ledger.rules, ledger, node words, node.files, "
        "node.consensus, node.network, node.storage, node.consent"
    ),
    # What a node offers, with no engine behind it: `node.running` gives it one.
    "node.api": "ledger errors, ledger.encoding, ledger.trees, ledger.rules, ledger, node words, node.files",
    # The other end of the API, so it shares the API's words. Rotation reads a home and makes a TLS identity.
    "node.client": (
        "ledger errors, ledger.encoding, ledger.trees, ledger.rules, ledger, node words, node.files, node.network, "
        "node.consent, node.home, node.api"
    ),
    "node.client.issuing": (
        "ledger errors, ledger.encoding, ledger.trees, ledger.rules, ledger, node words, node.files, node.client"
    ),
    # Made of the shapes, as in the ledger.
    "node.generated": (
        "ledger.encoding, ledger.generated, node words, node.client, node.consensus, node.consent, node.home, "
        "node.replica, node.storage, node.sync"
    ),
    # No node: a service on loopback with the API's routes and limits. It opens files that others name.
    "node.recipient": "ledger errors, ledger.encoding, ledger.trees, ledger, node words, node.files, node.api",
    # The process, which puts all of it together.
    "node": (
        "ledger errors, ledger.encoding, ledger.trees, ledger.rules, ledger.chain, ledger, node words, "
        "node.files, node.consensus, node.network, node.storage, node.chain, node.sync, node.replica, "
        "node.consent, node.home, node.api"
    ),
    # `audit` reads a stopped node's store, `explain` its core log, `serve` is a recipient's, `node` the process.
    "cli": (
        "ledger errors, ledger.encoding, ledger.rules, ledger, node words, node.files, "
        "node.network, node.storage, node.replica, node.consent, node.home, node.api, node.client, "
        "node.client.issuing, node.recipient, node"
    ),
}
OUTSIDE = ("tests", "bench", "examples")
FOLDERS = ("ledger", "node", "cli", *OUTSIDE)

Arrows = dict[tuple[str, str], str]


def table() -> set[tuple[str, str]]:
    return {(room, other) for room, names in MAY_IMPORT.items() for other in names.split(", ") if other}


def room_of(module: str) -> str:
    """Return the room of a module. Raises KeyError where the table has no row for its folder."""
    if module in ROOM_OF:
        return ROOM_OF[module]
    top, _, _ = module.partition(".")
    room = top if top in OUTSIDE else module.rpartition(".")[0]
    if room not in (*MAY_IMPORT, *OUTSIDE):
        raise KeyError(f"{room} is a room without a row in the table")
    return room


def find_module(name: str) -> str | None:
    """Return the module of ours that holds a name, or that it is. A folder itself holds nothing."""
    while name.partition(".")[0] in FOLDERS:
        if path_of(name).is_file():
            return name
        name = name.rpartition(".")[0]
    return None


def arrows_of(sources: Mapping[str, str]) -> Arrows:
    """Return each arrow between two rooms of these modules, with an import that draws it."""
    found: Arrows = {}
    for module, source in sources.items():
        for name in imported(parsed(source)):
            imports = find_module(name)
            if imports is not None and room_of(imports) != room_of(module):
                found.setdefault((room_of(module), room_of(imports)), f"{module} imports {imports}")
    return found


def find_wrong(arrows: Arrows, listed: Set[tuple[str, str]]) -> list[str]:
    """Return every arrow that is not listed, and every listed one that is not drawn."""
    wrong = [told for arrow, told in arrows.items() if arrow not in listed and arrow[0] not in OUTSIDE]
    wrong += [
        told
        for (room, other), told in arrows.items()
        if room in OUTSIDE and other in OUTSIDE and room != "tests"
    ]
    return wrong + [f"{room} imports {other} no more" for room, other in listed - arrows.keys()]


def find_circle(arrows: Set[tuple[str, str]]) -> list[str]:
    """Return rooms that import each other in a circle, if any do."""
    order: TopologicalSorter[str] = TopologicalSorter()
    for room, other in arrows:
        order.add(room, other)
    try:
        order.prepare()
    except CycleError as error:
        return [f"{room}" for room in error.args[1]]
    return []


@cache
def our_arrows() -> Arrows:
    files = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    return arrows_of({module_of(path): path.read_text() for path in sorted(files)})


def test_rooms_import_what_the_table_says_and_nothing_else() -> None:
    assert find_wrong(our_arrows(), table()) == []


def test_there_is_no_circle_between_rooms() -> None:
    assert find_circle(table()) == []
    assert find_circle(our_arrows().keys()) == []


def test_every_row_of_the_table_is_a_room() -> None:
    modules = {module_of(path) for top in ("ledger", "node", "cli") for path in (ROOT / top).rglob("*.py")}
    assert {room_of(module) for module in modules} == set(MAY_IMPORT)
    assert set(ROOM_OF) <= modules


# A module, a line that it must not hold, and what is said of it.
MUTANTS = {
    "upward": ("ledger.trees.fake", "from ledger.rules.state import find", "imports ledger.rules.state"),
    "from the top": ("ledger.rules.fake", "import ledger.trust", "imports ledger.trust"),
    "beside": ("node.api.fake", "from node.replica.driver import Driver", "imports node.replica.driver"),
    "a module of a folder": (
        "node.client.fake",
        "from node.storage import store",
        "imports node.storage.store",
    ),
    "within a function": (
        "node.consensus.fake",
        "def f():\n    from node.clock import Clock",
        "imports node.clock",
    ),
    "for types alone": (
        "node.sync.fake",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from node.api.service import Status",
        "imports node.api.service",
    ),
    "the node of a rule": ("ledger.fake", "import node.messages", "imports node.messages"),
    "a test": ("cli.fake", "from tests.support.sources import ROOT", "imports tests.support.sources"),
    "a test of a benchmark": ("bench.fake", "import tests.support.sources", "imports tests.support.sources"),
    "a benchmark of an example": ("examples.fake", "from bench.load import rate", "imports bench.load"),
}


@pytest.mark.parametrize(("module", "source", "told"), MUTANTS.values(), ids=MUTANTS)
def test_an_import_that_is_not_in_the_table_is_found(module: str, source: str, told: str) -> None:
    (wrong,) = find_wrong(our_arrows() | arrows_of({module: source}), table())
    assert wrong == f"{module} {told}"


def test_what_lies_in_the_own_room_or_is_listed_is_not_found() -> None:
    source = (
        "import os\nfrom ledger.errors import LedgerError\nfrom ledger.rules import state\nimport tests.ours"
    )
    assert set(arrows_of({"ledger.rules.fake": source})) == {("ledger.rules", "ledger errors")}
    assert find_wrong(our_arrows() | arrows_of({"tests.fake": "import bench.load, cli.main"}), table()) == []


def test_an_entry_that_no_import_uses_is_found() -> None:
    listed = table() | {("node.files", "node.api")}
    assert find_wrong(our_arrows(), listed) == ["node.files imports node.api no more"]


def test_a_circle_is_found() -> None:
    circle = find_circle(table() | {("ledger.encoding", "ledger.chain")})
    assert {"ledger.encoding", "ledger.chain"} <= set(circle)


def test_a_room_without_a_row_is_found() -> None:
    with pytest.raises(KeyError, match=r"node\.attic is a room without a row"):
        arrows_of({"node.attic.fake": "import node.clock"})
