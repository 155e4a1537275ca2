"""Reads everything that a stopped node has stored: exit code 0 where it is whole, 3 where it is damaged.

`python -m tests.chaos.scan HOME` names the damage in one line. Every record is read with its checksum, blocks are
compared with their headers and with each other, and the whole state with the state root of the tip.
"""

import sys
from pathlib import Path

from ledger.errors import LedgerError
from ledger.statepages import check_pages, walk
from ledger.statetree import value_hash
from node.home import Home
from node.storage.store import Store, StoreError

DAMAGED = 3


def scan(path: Path) -> str | None:
    """Return what is damaged in a home's stored chain, or None."""
    home = Home.open(path)
    try:
        store = Store.open(home.data / "chain", home.genesis)
    except StoreError as error:
        return str(error)
    try:
        return _scan_blocks(store) or _scan_state(store)
    except (StoreError, LedgerError) as error:
        return str(error)
    finally:
        store.close()


def _scan_blocks(store: Store) -> str | None:
    before = store.find_header(0)
    assert before is not None, "an open store has a genesis"
    for height in range(1, store.tip().header.height + 1):
        block = store.load_block(height)
        if block is None:
            return f"height {height}: expected a stored block, found nothing"
        if block.header.parent_hash != before.hash:
            return f"height {height}: expected a block on {before.hash.hex()}, found one on another"
        if store.find_height(block.hash) != height:
            return f"height {height}: expected its index, found {store.find_height(block.hash)}"
        store.find_certificate(height)
        before = block.sealed
    for _ in store.pending():
        pass
    return None


def _scan_state(store: Store) -> str | None:
    root = store.tip().header.state_root
    check_pages(store, root, [path for path, _ in store.pages()])
    expected = dict(walk(store, root))
    found = {key: value_hash(value) for key, value in store.values()}
    wrong = [key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)]
    return f"expected the state of the tip, found {len(wrong)} other records" if wrong else None


def main() -> None:
    """Scan the home named by the first argument."""
    found = scan(Path(sys.argv[1]))
    if found is not None:
        print(found)
        sys.exit(DAMAGED)


if __name__ == "__main__":
    main()
