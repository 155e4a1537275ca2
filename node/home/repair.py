"""Repair: what of a stopped node's home is damaged, and a home that starts again (docs/sync.md, Repair).

Rule 1: nothing is deleted. What is damaged is renamed aside, as evidence, and examined by links to its files, so
that it stays as it was found.
Rule 2: the chain is not mended but fetched again from peers, verified like anything that a stranger says. A node
whose votes may be lost observes until it is safe.
Rule 3: keys and settings cannot be fetched. They are named, with what to do, and left alone.
Rule 4: a home that a node runs on is left alone.
"""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.errors import LedgerError
from ledger.genesis import Genesis
from ledger.rules.state import VALIDATOR
from ledger.trees.merkle import Frontier
from ledger.trees.statepages import check_pages, walk
from ledger.trees.statetree import value_hash
from node.errors import StoreError, VoteLogError
from node.files.configfile import ConfigError
from node.files.durablefile import POSIX_FILES, FileLock, FileLocked, PrivateFileError, read_private
from node.files.folders import copy_file, passing_folder
from node.files.reading import open_within
from node.home.home import KEYS, MEMBER_KEY, TLS_CERTIFICATE, TLS_KEY, VALIDATOR_KEY, Home
from node.storage.database import DatabaseError
from node.storage.leveldb import LevelDatabase
from node.storage.quarantine import keep_aside
from node.storage.store import Store
from node.storage.votelog import VoteLog, VoteLogForeign

CHAIN: Final = "chain"
VOTES: Final = "votes"
SNAPSHOTS: Final = "snapshots"
CORE_LOG: Final = "core-log"
NODE_LOCK: Final = "node.lock"
KEY_FILE_SIZE_MAX: Final = 64 * 1024

# Files of LevelDB that are never changed once they are written, so that a link to them is enough.
_UNCHANGING: Final = frozenset((".ldb", ".sst"))


@dataclass(frozen=True, slots=True)
class Finding:
    """Something damaged: where, what was expected and found, where it is kept, and what happens next."""

    part: str
    where: str
    expected: str
    found: str
    kept_at: Path | None
    cure: str

    @property
    def is_repaired(self) -> bool:
        """Whether nothing is left for anybody to do."""
        return self.part in (CHAIN, VOTES, SNAPSHOTS)


def repair(home: Home) -> list[Finding]:
    """Examine a home, put aside what is damaged, and return what was found. Raises ConfigError or OSError."""
    home.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        lock = FileLock(home.data / NODE_LOCK)
    except FileLocked as error:
        cure = "stop the node first: Ctrl-C, or a SIGTERM to its process"
        raise ConfigError(
            where=f"{home.path}", expected="a node that does not run", found="one that does", cure=cure
        ) from error
    try:
        return [*_repair_chain(home), *_repair_votes(home), *_repair_snapshot_store(home), *_check_keys(home)]
    finally:
        lock.release()


# The chain


def _repair_chain(home: Home) -> Iterator[Finding]:
    path = home.data / CHAIN
    if not os.path.lexists(path):
        return
    problem = find_chain_damage(path, home.genesis)
    if problem is not None:
        expected, found = problem
        kept = keep_aside(path)
        cure = "the next start fetches the chain from peers, verifying everything"
        yield Finding(CHAIN, f"{path}", expected, found, kept, cure)


def find_chain_damage(path: Path, genesis: Genesis) -> tuple[str, str] | None:
    """Return what is wrong with a stored chain, as expected and found; None where every record is whole."""
    try:
        with _examined(path) as copy, closing(Store.open(copy, genesis)) as store:
            check_store(store)
    except StoreError as error:
        return error.expected, error.found
    except LedgerError as error:
        return f"{error.where}: {error.expected}", error.found
    return None


def check_store(store: Store) -> None:
    """Read and check every record of a store. Raises StoreError, or LedgerError about the state."""
    _check_blocks(store)
    _check_certificates(store)
    _check_state(store)
    for _ in store.pending():
        continue


def _check_blocks(store: Store) -> None:
    first_missing, end_missing = store.gap()
    tip, history = store.tip(), Frontier()
    parent: bytes | None = None
    for height in range(tip.header.height + 1):
        if first_missing <= height < end_missing:
            parent = None
            continue
        block = store.load_block(height)
        _require(block is not None, f"the block at height {height}", "none")
        assert block is not None
        follows = parent is None or block.header.parent_hash == parent
        _require(follows, f"a block at height {height} on the one below", "another parent")
        _require(store.find_height(block.hash) == height, f"the height of block {height} by its hash", "none")
        for index, transaction in enumerate(block.transactions):
            is_found = store.find_transaction(transaction.id) == (height, index)
            _require(is_found, f"the place of transaction {transaction.id.hex()}", "none or another")
        parent = block.hash
        if end_missing == 0:
            is_same = history.root() == block.header.history_root
            _require(is_same, f"the history root of block {height}", "another one")
            history, nodes = history.append(block.hash)
            for node in nodes:
                is_node = store.load_history_node(node.level, node.index) == node.hash
                _require(is_node, f"history node {node.level}, {node.index}", "another hash")
    if end_missing == 0:
        _require(history == tip.history, "the history of the tip", "another one")


def _check_certificates(store: Store) -> None:
    height = 0
    while (found := store.next_certificate(height)) is not None:
        certified, certificate = found
        encoded_header = store.find_header(certified)
        is_named = encoded_header is not None and encoded_header.is_named_by(certificate)
        _require(is_named, f"a certificate of the block at height {certified}", "one of another")
        height = certified + 1
    for epoch in range(store.tip().header.epoch):
        _require(store.find_handover(epoch) is not None, f"the seal of epoch {epoch}", "none")


def _check_state(store: Store) -> None:
    root = store.tip().header.state_root
    count = check_pages(store, root, (path for path, _ in store.pages()))
    for key, hashed in walk(store, root):
        value = store.find_value(key)
        found = "none" if value is None else "another one"
        _require(value is not None and value_hash(value) == hashed, f"the value of leaf {key.hex()}", found)
    values_count = sum(1 for _ in store.values())
    _require(values_count == count, f"{count} state values", f"{values_count}")


def _require(is_right: bool, expected: str, found: str) -> None:
    if not is_right:
        raise StoreError(expected=expected, found=found, cure="Fetch the chain again.")


@contextmanager
def _examined(path: Path) -> Iterator[Path]:
    """Give a copy of a database to open: opening one changes some of its files."""
    with passing_folder(path.parent, prefix=".examined-") as directory:
        copy = directory / path.name
        copy.mkdir()
        for each in path.iterdir() if path.is_dir() else ():
            if each.is_file() and each.name not in ("LOCK", "LOG", "LOG.old"):
                if each.suffix in _UNCHANGING:
                    POSIX_FILES.link(each, copy / each.name)
                else:
                    with open_within(path, each.name) as file:
                        copy_file(file, copy / each.name)
        yield copy


# The vote log


def _repair_votes(home: Home) -> Iterator[Finding]:
    path = home.data / VOTES
    if not _may_have_voted(home):
        return
    cure = "the next start observes, and votes again by itself once that is safe"
    content = home.genesis.content
    if not os.path.lexists(path):
        _begin_amnesiac(home)
        found = "no file"
        yield Finding(VOTES, f"{path}", "the log of a validator that has voted", found, None, cure)
        return
    try:
        log, recovery = VoteLog.open(
            path, chain_id=content.chain_id, validator=home.member, expected_existing=True
        )
        log.close()
    except VoteLogForeign as error:
        kept = keep_aside(path)
        _begin_amnesiac(home)
        yield Finding(VOTES, f"{path}", f"the votes of {home.member}", str(error), kept, cure)
        return
    except VoteLogError as error:
        advice = "check the file, its owner and the disk"
        raise ConfigError(
            where=f"{path}", expected="a readable vote log", found=str(error), cure=advice
        ) from error
    damage = recovery.damage
    if damage is not None:
        yield Finding(VOTES, f"{path}", "an intact vote log", damage.detail, damage.kept_at, cure)


def _may_have_voted(home: Home) -> bool:
    """Say whether votes may have been cast from this home: it opened a vote log, or has blocks as a validator."""
    if (home.data / f"{VOTES}.lock").exists() or os.path.lexists(home.data / VOTES):
        return True
    members = home.genesis.content.members
    own = next((each for each in members if each.id == home.member), None)
    is_validator = own is not None and own.node is not None and own.node.kind == VALIDATOR
    return is_validator and any(home.data.glob(f"{CHAIN}*"))


def _begin_amnesiac(home: Home) -> None:
    log, _ = VoteLog.open(
        home.data / VOTES,
        chain_id=home.genesis.content.chain_id,
        validator=home.member,
        expected_existing=True,
    )
    log.close()


# The snapshot store


def _repair_snapshot_store(home: Home) -> Iterator[Finding]:
    path = home.data / SNAPSHOTS
    if not os.path.lexists(path):
        return
    try:
        with (
            _examined(path) as copy,
            closing(LevelDatabase.open(copy)) as database,
            closing(database.iterate(b"", None)) as records,
        ):
            for _ in records:
                continue
    except DatabaseError as error:
        kept = keep_aside(path)
        cure = "the node makes its next snapshot when it is due"
        yield Finding(SNAPSHOTS, f"{path}", "a readable database", str(error), kept, cure)


# Keys


def _check_keys(home: Home) -> Iterator[Finding]:
    """Look at the key files without opening them: passphrases are not asked for here."""
    names = [MEMBER_KEY]
    if home.settings.node is not None:
        names += [TLS_KEY]
    if _may_have_voted(home):
        names += [VALIDATOR_KEY]
    for name in names:
        path = home.path / KEYS / name
        try:
            content = read_private(path, size_max=KEY_FILE_SIZE_MAX)
        except PrivateFileError as error:
            yield Finding(KEYS, f"{path}", error.expected, error.found, None, error.cure)
            continue
        if not content.startswith(b"-----BEGIN ") or not content.rstrip().endswith(b"-----"):
            yield _damaged_key(path, f"{len(content)} other bytes")
    certificate = home.path / KEYS / TLS_CERTIFICATE
    if home.settings.node is not None and not certificate.is_file():
        yield _damaged_key(certificate, "no file")


def _damaged_key(path: Path, found: str) -> Finding:
    cure = "put it back from a backup; if there is none, have governance set another"
    return Finding(KEYS, f"{path}", "a PEM file", found, None, cure)
