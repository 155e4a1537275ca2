"""Repair: what of a stopped node's home is damaged, and a home that starts again (docs/sync.md, Repair).

Rule 1: nothing is deleted. What is damaged is renamed aside, as evidence, and examined by links to its files, so
that it stays as it was found.
Rule 2: the chain is not mended but fetched again from peers, verified like anything that a stranger says. A node
whose votes may be lost observes until it is safe.
Rule 3: keys and settings cannot be fetched. They are named, with what to do, and left alone.
Rule 4: a home that a node runs on is left alone.
Rule 5: a chain is moved aside only where peers hold it, or where the operator names what is given up: advice that heals
one node would, followed on all at once, end the chain.
Rule 6: what the disk refuses is no damage, and nothing is moved for it. Nor is a chain of another genesis. One of
another storage version is moved, as a step of an upgrade, and not called damaged.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ledger.errors import LedgerError, LuohuError
from ledger.genesis import genesis_tip
from ledger.rules.blocks import EncodedHeader
from ledger.rules.state import MEMBERS_KEY, VALIDATOR, StateView
from ledger.trees.merkle import Frontier
from ledger.trees.statepages import check_pages, walk
from ledger.trees.statetree import value_hash
from node.errors import StoreError, StoreRefused, VoteLogError
from node.files.configfile import ConfigError
from node.files.durablefile import FileLock, FileLocked, PrivateFileError, read_private
from node.home.holdings import AskPeers, Question, peers_in
from node.home.home import (
    KEY_FILES,
    KEYS,
    MEMBER_KEY,
    TLS_CERTIFICATE,
    TLS_CERTIFICATES,
    TLS_KEY,
    VALIDATOR_KEY,
    VALIDATOR_KEYS,
    Home,
)
from node.home.reached import REACHED_FILE, Reached
from node.network.registry import Peer
from node.storage.database import DatabaseError, DatabaseRefused
from node.storage.examining import examined
from node.storage.leveldb import LevelDatabase
from node.storage.quarantine import DAMAGED, OTHER_VERSION, keep_aside
from node.storage.store import Store, StoreOfAnotherChain, StoreOfAnotherVersion, find_tip
from node.storage.tables import refused
from node.storage.votelog import VoteLog, VoteLogForeign, VoteLogOfAnotherVersion

CHAIN: Final = "chain"
VOTES: Final = "votes"
SNAPSHOTS: Final = "snapshots"
CORE_LOG: Final = "core-log"
NODE_LOCK: Final = "node.lock"
KEY_FILE_SIZE_MAX: Final = 64 * 1024
ALL: Final = "all"
"""What is given up where nobody knows any more how high the chain was."""

_FETCHED: Final = "the next start fetches the chain from peers. Wait until it votes before the next node"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be: where, what was expected and found, where it is kept, what happens next.

    `is_repaired` says whether nothing is left for anybody to do.
    """

    part: str
    where: str
    expected: str
    found: str
    kept_at: Path | None
    cure: str
    is_repaired: bool


def repair(home: Home, ask: AskPeers, *, give_up: str | None = None) -> list[Finding]:
    """Examine a home, put aside what is damaged, and return what was found.

    `ask` asks peers what they hold. `give_up` names what may be lost: the height up to which blocks are given up, or
    "all". Raises ConfigError, StoreRefused or OSError.
    """
    home.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        lock = FileLock(home.data / NODE_LOCK)
    except FileLocked as error:
        cure = "stop the node first: Ctrl-C, or a SIGTERM to its process"
        raise ConfigError(
            where=f"{home.path}", expected="a node that does not run", found="one that does", cure=cure
        ) from error
    try:
        return [
            *_repair_chain(home, ask, give_up),
            *_repair_votes(home),
            *_repair_snapshot_store(home),
            *sorted(_check_keys(home), key=lambda each: each.where),
        ]
    finally:
        lock.release()


# The chain


@dataclass(frozen=True, slots=True)
class ChainProblem:
    """Why a stored chain cannot be used, and what is known of it all the same."""

    expected: str
    found: str
    tip: EncodedHeader | None = None
    peers: dict[str, Peer] = field(default_factory=dict)
    reason: str = DAMAGED
    cure: str | None = None
    """What to do where moving the chain aside would be wrong."""


def _repair_chain(home: Home, ask: AskPeers, give_up: str | None) -> Iterator[Finding]:
    path = home.data / CHAIN
    if not os.path.lexists(path):
        return
    problem = examine_chain(home)
    if problem is None:
        return
    where = f"{path}"
    if problem.cure is not None:
        yield Finding(CHAIN, where, problem.expected, problem.found, None, problem.cure, is_repaired=False)
        return
    last_copy = _find_last_copy(home, problem, ask, give_up)
    if last_copy is not None:
        yield last_copy
        return
    kept = keep_aside(path, reason=problem.reason)
    yield Finding(CHAIN, where, problem.expected, problem.found, kept, _FETCHED, is_repaired=True)


def examine_chain(home: Home) -> ChainProblem | None:
    """Return why the stored chain of a home cannot be used; None where every record is whole. Raises StoreRefused."""
    path, genesis = home.data / CHAIN, home.genesis
    if not path.is_dir():
        return ChainProblem("a directory", "something else")
    with examined(path, within=home.data) as copy:
        try:
            with closing(Store.open(copy.path, genesis)) as store:
                copy.stop_merging()
                problem = _find_damage(store)
                if problem is None:
                    return None
                expected, found = problem
                peers = _peers_of(home, store)
                return ChainProblem(expected, copy.in_original(found), store.tip().encoded_header, peers)
        except StoreRefused:
            raise
        except StoreOfAnotherChain as error:
            return ChainProblem(error.expected, error.found, cure=error.cure)
        except StoreOfAnotherVersion as error:
            expected, found, reason = error.expected, f"{error.found}; nothing is damaged", OTHER_VERSION
        except StoreError as error:
            expected, found, reason = copy.in_original(error.expected), copy.in_original(error.found), DAMAGED
    with examined(path, within=home.data) as copy:
        return ChainProblem(expected, found, find_tip(copy.path), _peers_of_genesis(home), reason)


def _find_damage(store: Store) -> tuple[str, str] | None:
    try:
        check_store(store)
    except StoreRefused:
        raise
    except StoreError as error:
        return error.expected, error.found
    except LedgerError as error:
        return f"{error.where}: {error.expected}", error.found
    return None


def _peers_of(home: Home, store: Store) -> dict[str, Peer]:
    try:
        # A damaged state may hold no record of members at all.
        is_told = store.find_value(MEMBERS_KEY) is not None
        return _peers_in(home, store) if is_told else _peers_of_genesis(home)
    except (LedgerError, StoreError):
        return _peers_of_genesis(home)


def _peers_of_genesis(home: Home) -> dict[str, Peer]:
    return _peers_in(home, genesis_tip(home.genesis.content).state)


def _peers_in(home: Home, state: StateView) -> dict[str, Peer]:
    node = home.settings.node
    return {} if node is None else peers_in(state, home.member, node)


def _find_last_copy(home: Home, problem: ChainProblem, ask: AskPeers, give_up: str | None) -> Finding | None:
    """Return why this chain must stay where it is; None where peers hold it, or it was given up (rule 5)."""
    question = _question(home, problem)
    lost = ALL if question.height is None else f"{question.height}"
    if question.height == 0 or give_up == lost:
        return None
    try:
        holdings = ask(question)
    except (LuohuError, OSError) as error:
        told = f"nobody that could be asked: {error}"
    else:
        if holdings.suffice(question):
            return None
        told = holdings.told(question)
    blocks = "all blocks" if question.height is None else f"the blocks up to {lost}"
    cure = (
        "it stays where it is. Start the other nodes and run this again. If no other node has them, do not move this "
        f"chain anywhere. To give up {blocks} in every running chain all the same: luohu node repair --home "
        f"{home.path} --give-up {lost}"
    )
    expected = f"{problem.expected}; or peers that hold {question.words}"
    return Finding(
        CHAIN, f"{home.data / CHAIN}", expected, f"{problem.found}; {told}", None, cure, is_repaired=False
    )


def _question(home: Home, problem: ChainProblem) -> Question:
    reached = Reached(home.path / REACHED_FILE, home.genesis.content.chain_id).height
    if problem.tip is not None and problem.tip.header.height >= reached:
        return Question(problem.tip.header.height, problem.tip.hash, problem.peers)
    return Question(reached or None, None, problem.peers)


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


# The vote log


def _repair_votes(home: Home) -> Iterator[Finding]:
    path = home.data / VOTES
    if not _may_have_voted(home):
        return
    cure = (
        "the next start observes, and votes again by itself once the others have passed all it may have forgotten, "
        "which takes a quorum of validators that remember their votes"
    )
    content = home.genesis.content
    if not os.path.lexists(path):
        _begin_amnesiac(home)
        found = "no file"
        expected = "the log of a validator that has voted"
        yield Finding(VOTES, f"{path}", expected, found, None, cure, is_repaired=True)
        return
    try:
        log, recovery = VoteLog.open(
            path, chain_id=content.chain_id, validator=home.member, expected_existing=True
        )
        log.close()
    except VoteLogForeign as error:
        kept = keep_aside(path)
        _begin_amnesiac(home)
        expected = f"the votes of {home.member}"
        yield Finding(VOTES, f"{path}", expected, str(error), kept, cure, is_repaired=True)
        return
    except VoteLogOfAnotherVersion as error:
        yield Finding(VOTES, f"{path}", error.expected, error.found, None, error.cure, is_repaired=False)
        return
    except VoteLogError as error:
        raise ConfigError(
            where=f"{path}", expected="a readable vote log", found=error.found, cure=error.cure
        ) from error
    damage = recovery.damage
    if damage is not None:
        expected, kept_at = "an intact vote log", damage.kept_at
        yield Finding(VOTES, f"{path}", expected, damage.detail, kept_at, cure, is_repaired=True)


def _may_have_voted(home: Home) -> bool:
    """Say whether votes may have been cast from this home: it opened a vote log, or has blocks as a validator."""
    if (home.data / f"{VOTES}.lock").exists() or os.path.lexists(home.data / VOTES):
        return True
    members = home.genesis.content.members
    own = next((each for each in members if each.id == home.member), None)
    is_founder = own is not None and own.node is not None and own.node.kind == VALIDATOR
    # Governors may have added it since genesis: then its key says that it may have voted.
    is_validator = is_founder or any((home.path / KEYS).glob(VALIDATOR_KEYS))
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
    found = _find_unreadable(home, path)
    if found is not None:
        kept = keep_aside(path)
        cure = "the node makes its next snapshot when it is due"
        yield Finding(SNAPSHOTS, f"{path}", "a readable database", found, kept, cure, is_repaired=True)


def _find_unreadable(home: Home, path: Path) -> str | None:
    if not path.is_dir():
        return "something else"
    with examined(path, within=home.data) as copy:
        try:
            with (
                closing(LevelDatabase.open(copy.path)) as database,
                closing(database.iterate(b"", None)) as records,
            ):
                copy.stop_merging()
                for _ in records:
                    continue
        except DatabaseRefused as error:
            raise refused(error) from error
        except DatabaseError as error:
            return copy.in_original(f"{error}")
    return None


# Keys


def _check_keys(home: Home) -> Iterator[Finding]:
    """Look at the key files without opening them: passphrases are not asked for here."""
    keys = home.path / KEYS
    names = [path.name for path in sorted(keys.glob(KEY_FILES))]
    if MEMBER_KEY not in names:
        yield _missing_key(keys / MEMBER_KEY, "luohu governance propose keys")
    if _may_have_voted(home) and not list(keys.glob(VALIDATOR_KEYS)):
        yield _missing_key(
            keys / VALIDATOR_KEY, "luohu key rotate --role validator, or luohu governance propose node"
        )
    has_identity = any(path.with_suffix(".pem").exists() for path in keys.glob(TLS_CERTIFICATES))
    if home.settings.node is not None and not has_identity:
        lost = TLS_CERTIFICATE if (keys / TLS_KEY).exists() else TLS_KEY
        yield _missing_key(keys / lost, "luohu key rotate --role tls, or luohu governance propose node")
    for name in names:
        path = keys / name
        try:
            content = read_private(path, size_max=KEY_FILE_SIZE_MAX)
        except PrivateFileError as error:
            yield Finding(KEYS, f"{path}", error.expected, error.found, None, error.cure, is_repaired=False)
            continue
        if not content.startswith(b"-----BEGIN ") or not content.rstrip().endswith(b"-----"):
            cure = "put it back from a backup; if there is none, replace the key: luohu key rotate"
            found = f"{len(content)} other bytes"
            yield Finding(KEYS, f"{path}", "a PEM file", found, None, cure, is_repaired=False)


def _missing_key(path: Path, replaced_by: str) -> Finding:
    cure = f"put it back from a backup; if there is none, have it replaced: {replaced_by}"
    return Finding(KEYS, f"{path}", "a PEM file", "no file", None, cure, is_repaired=False)
