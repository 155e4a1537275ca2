"""Catching up over real drivers and stores: from honest peers, from liars of every kind, and across crashes."""

import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ledger.chain.overlays import Executed
from ledger.chain.snapshots import SnapshotError, decode_chunk, encode_chunks
from ledger.encoding.keys import PublicKey
from ledger.encoding.records import pack
from ledger.rules.blocks import EncodedHeader
from ledger.rules.certificates import QuorumCertificate, ValidatorSet
from ledger.rules.state import Anchor, require_validators
from ledger.rules.transactions import Transaction
from ledger.trees.merkle import Tree
from ledger.trust import Handover, TrustPath
from node.chain.chain import Chain
from node.consensus.startup import Participation
from node.errors import NodeStopped
from node.messages import (
    Consensus,
    FinalBlocks,
    NotHeld,
    PeerMessage,
    SnapshotChunk,
    SnapshotOffer,
    StoredBlock,
    SyncRequest,
    WantChunk,
    WantFinal,
    WantSnapshot,
    decode_peer_message,
    encode_peer_message,
)
from node.peernames import is_unpinned, registered, unpinned
from node.sync.checker import Question, SenderKey, verdicts
from node.sync.host import SyncTuning
from node.sync.prevalidation import ANSWER_MS
from node.sync.snapshot import Phase
from tests.node.replica.test_handover import change_validators
from tests.support.catching_up import check_whole, grow, is_level, memory, run_until
from tests.support.node_world import (
    FIVE,
    VALIDATORS,
    World,
    WorldNode,
    make_genesis,
)

__all__ = ("memory",)

SLEEPER = "hk-operator"
LATE_MS = 300
TUNING = SyncTuning(span=4, snapshot_distance=7, offers_ms=1_000)
Meddle = Callable[[PeerMessage], PeerMessage | None]


@pytest.fixture
def world(memory: Path) -> Iterator[World]:
    world = World(memory, tuning=TUNING, interval=4, chunk_size=700)
    world.is_lost = is_single_block
    for member in VALIDATORS:
        world.start(member)
    world.run(1_000)
    yield world
    world.close()


@pytest.fixture
def near(memory: Path) -> Iterator[World]:
    """A world whose nodes never take snapshots."""
    world = World(memory, tuning=replace(TUNING, snapshot_distance=10_000), interval=4)
    world.is_lost = is_single_block
    for member in VALIDATORS:
        world.start(member)
    world.run(1_000)
    yield world
    world.close()


def is_single_block(_source: str, target: str, data: bytes) -> bool:
    """Lose what consensus fetches one by one, so that sync is what catches up."""
    return target == SLEEPER and isinstance(decode_peer_message(data), StoredBlock)


def sleep_and_wake(world: World, blocks: int, *, empty: bool = False) -> WorldNode:
    world.kill(SLEEPER)
    grow(world, blocks)
    if empty:
        shutil.rmtree(world.directory / SLEEPER)
    return world.start(SLEEPER)


def meddle_with(world: World, meddle: Meddle, *liars: str, towards: str = SLEEPER) -> None:
    """Change what these peers send to one node."""

    def on_the_wire(source: str, target: str, data: bytes) -> bytes | None:
        if source not in liars or target != towards:
            return data
        changed = meddle(decode_peer_message(data))
        return None if changed is None else encode_peer_message(changed)

    world.liars |= set(liars)
    world.meddle = on_the_wire


def named(world: World) -> set[str]:
    return {liar for _, liar, _ in world.punished}


# Honest peers


@pytest.mark.parametrize("empty", [False, True])
def test_a_node_far_behind_takes_a_snapshot_and_then_blocks_and_votes_again(
    world: World, empty: bool
) -> None:
    node = sleep_and_wake(world, 14, empty=empty)
    run_until(world, lambda: is_level(world))
    first, end = node.store.gap()
    assert first < end
    assert end % 4 == 1
    check_whole(node)
    run_until(world, lambda: node.driver.core.standing is Participation.VOTING, milliseconds=120_000)
    world.kill("mainland-bank")  # now every vote counts
    grow(world, 3, first=500)
    run_until(world, lambda: is_level(world))
    assert list(node.store.values()) == list(world.nodes["sz-operator"].store.values())


def test_a_node_that_is_near_takes_blocks_and_keeps_every_one(world: World) -> None:
    node = sleep_and_wake(world, 5)
    run_until(world, lambda: is_level(world))
    assert node.store.gap() == (0, 0)
    assert all(node.store.load_block(height) for height in range(node.store.tip().header.height + 1))


def test_blocks_come_from_several_peers_in_spans(near: World) -> None:
    asked: dict[str, set[int]] = {}

    def note(source: str, target: str, data: bytes) -> bytes:
        message = decode_peer_message(data)
        if source == SLEEPER and isinstance(message, WantFinal):
            asked.setdefault(target, set()).add(message.height)
        return data

    near.meddle = note
    sleep_and_wake(near, 24, empty=True)
    run_until(near, lambda: is_level(near))
    assert len(asked) == 3
    assert sum(len(heights) for heights in asked.values()) > 5


def test_nothing_is_fetched_a_second_time_while_it_is_executed(
    near: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def note(source: str, _target: str, data: bytes) -> bytes:
        message = decode_peer_message(data)
        # A question for a height that cannot be asks how far a peer is.
        if source == SLEEPER and isinstance(message, WantFinal) and message.height < 1_000:
            asked.append(message.height)
        return data

    monkeypatch.setattr("node.sync.blocks.TRANSACTIONS_MIN", 1)
    near.kill(SLEEPER)
    grow(near, 24)
    near.meddle = note
    near.checker = LateChecker(near)
    near.start(SLEEPER)
    run_until(near, lambda: is_level(near))
    assert len(asked) > 5
    assert sorted(asked) == sorted(set(asked))


def test_each_block_of_an_answer_keeps_the_state_that_it_left(
    near: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are executed on one growing set of changes: what the later ones change is not the earlier ones' state."""
    compared = 0
    commit_final = Chain.commit_final

    def compare(chain: Chain, path: list[Executed], certificate: QuorumCertificate | None) -> None:
        nonlocal compared
        expected: dict[bytes, bytes] = {}
        for executed, following in itertools.pairwise(path):
            expected |= executed.overlay.values
            for key in following.overlay.values:
                assert executed.overlay.find_value(key) == expected.get(key, chain.store.find_value(key))
                compared += 1
        commit_final(chain, path, certificate)

    monkeypatch.setattr(Chain, "commit_final", compare)
    sleep_and_wake(near, 24, empty=True)
    run_until(near, lambda: is_level(near))
    assert compared > 10


def test_a_restored_node_serves_what_it_has_and_says_what_it_lacks(world: World) -> None:
    sleep_and_wake(world, 14, empty=True)
    run_until(world, lambda: is_level(world))
    world.kill("hk-bureau")
    shutil.rmtree(world.directory / "hk-bureau")
    others = ("mainland-bank", "sz-operator")
    heard: list[NotHeld] = []

    def only_the_restored(source: str, target: str, data: bytes) -> bytes | None:
        message = decode_peer_message(data)
        if source == SLEEPER and target == "hk-bureau" and isinstance(message, NotHeld):
            heard.append(message)
        is_answer = isinstance(message, FinalBlocks | SnapshotOffer | SnapshotChunk | NotHeld)
        return None if source in others and is_answer else data

    world.meddle = only_the_restored
    node = world.start("hk-bureau")
    run_until(world, lambda: is_level(world), milliseconds=120_000)
    first, end = node.store.gap()
    assert first < end
    assert any(message.from_height == world.nodes[SLEEPER].store.gap()[1] for message in heard)
    check_whole(node)


def test_a_snapshot_leads_across_epochs(memory: Path) -> None:
    world = World(memory, genesis=make_genesis(FIVE), tuning=TUNING, interval=4, chunk_size=700)
    for member in FIVE:
        world.start(member)
    world.run(2_000)
    world.kill(SLEEPER)
    four = tuple(member for member in FIVE if member != "mainland-bank")
    change_validators(world, four, voters=tuple(member for member in FIVE if member != SLEEPER))
    grow(world, 12)
    node = world.start(SLEEPER)
    run_until(world, lambda: is_level(world))
    assert node.store.gap()[1] > 4
    assert node.driver.engine.epoch == 1
    assert require_validators(node.store).current.index_of("mainland-bank") is None
    handover = node.store.find_handover(0)
    assert handover == world.nodes["sz-operator"].store.find_handover(0)
    run_until(world, lambda: node.driver.core.standing is Participation.VOTING, milliseconds=120_000)
    grow(world, 2, first=900)
    run_until(world, lambda: is_level(world))
    world.close()


def test_an_offer_that_answers_what_was_asked_before_a_handover_blames_nobody(memory: Path) -> None:
    world = World(memory, genesis=make_genesis(FIVE), tuning=TUNING, interval=4, chunk_size=700)
    for member in FIVE:
        world.start(member)
    world.run(2_000)
    four = tuple(member for member in FIVE if member != "mainland-bank")
    change_validators(world, four, voters=tuple(member for member in FIVE if member != SLEEPER))
    grow(world, 8)
    old = world.nodes["hk-bureau"].driver._sync_server.answer("x", WantSnapshot(0, 0), 0)
    assert isinstance(old, SnapshotOffer) and old.trust_path.from_epoch == 0
    node = world.nodes[SLEEPER]
    fetch = node.driver.sync._snapshot
    assert node.driver.engine.epoch == 1
    fetch.phase, fetch._awaited = Phase.OFFERS, {"hk-bureau": 0}
    fetch.receive_offer("hk-bureau", old)
    assert fetch._awaited == {"hk-bureau": 1} and not fetch._offers
    fetch.receive_offer("hk-bureau", old)
    assert not fetch._awaited and not fetch._offers
    fetch._awaited = {"hk-bureau": 1}
    with pytest.raises(SnapshotError, match="a path from epoch 1"):
        fetch.receive_offer("hk-bureau", from_another_epoch(old))
    world.close()


def test_progress_is_shown_and_ends(world: World) -> None:
    node = sleep_and_wake(world, 14, empty=True)
    phases = set()
    for _ in range(400):
        progress = node.driver.sync.progress(world.now_ms)
        if progress is not None:
            phases.add(progress.phase)
            assert progress.height <= progress.target_height
        world.run(5)
    assert {"offers", "chunks", "blocks"} <= phases
    assert node.driver.sync.progress(world.now_ms) is None


def test_a_node_alone_says_how_long_nothing_came(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="node")
    world.kill(SLEEPER)
    grow(world, 5)
    world.meddle = lambda source, target, data: (
        None if target == SLEEPER and isinstance(decode_peer_message(data), FinalBlocks) else data
    )
    node = world.start(SLEEPER)
    world.run(20_000)
    progress = node.driver.sync.progress(world.now_ms)
    assert progress is not None
    assert progress.stalled_ms >= 15_000
    assert "sync.progress phase=blocks" in caplog.text
    assert "sync.stalled peer=" in caplog.text
    world.meddle = lambda _source, _target, data: data
    run_until(world, lambda: is_level(world))


# Crashes


def test_a_crash_while_chunks_come_asks_only_for_the_rest(world: World) -> None:
    node = sleep_and_wake(world, 14, empty=True)
    asked: list[int] = []

    def note(source: str, _target: str, data: bytes) -> bytes:
        message = decode_peer_message(data)
        if source == SLEEPER and isinstance(message, WantChunk):
            asked.append(message.index)
        return data

    world.meddle = note
    while (
        node.snapshot_store.fetching is None
        or len(node.snapshot_store.fetched(node.snapshot_store.fetching)) < 4
    ):
        world.run(5)
    entry = node.snapshot_store.fetching
    here = node.snapshot_store.fetched(entry)
    total = entry.description.chunks_count
    assert total > 6
    world.kill(SLEEPER)
    asked.clear()
    again = world.start(SLEEPER)
    run_until(world, lambda: is_level(world))
    assert not here & set(asked)
    assert set(asked) == set(range(total)) - here
    assert again.store.gap()[1] == entry.description.encoded_header().header.height + 1
    assert again.snapshot_store.newest() is not None
    check_whole(again)


def test_crashes_at_every_moment_of_a_sync_lose_nothing(world: World) -> None:
    world.kill(SLEEPER)
    grow(world, 14)
    shutil.rmtree(world.directory / SLEEPER)
    node = world.start(SLEEPER)
    for step in range(60):
        world.run(3 + step % 7 * 10)
        world.kill(SLEEPER)
        node = world.start(SLEEPER)
        check_whole(node)
    run_until(world, lambda: is_level(world))
    check_whole(node)


def test_a_damaged_chunk_in_the_snapshot_store_is_fetched_again(world: World) -> None:
    node = sleep_and_wake(world, 14, empty=True)
    while node.driver.sync._snapshot.phase is not Phase.INSTALL:
        world.run(1)
    entry = node.snapshot_store.fetching
    assert entry is not None
    node.snapshot_store.drop_chunk(entry, entry.description.chunks_count - 1)
    run_until(world, lambda: is_level(world))
    assert node.store.gap()[0] < node.store.gap()[1]
    check_whole(node)


# Liars


def forge_state(offer: SnapshotOffer, chunks: dict[int, bytes]) -> SnapshotOffer:
    """A snapshot that agrees with itself and not with its header: every anchor has one more document."""
    forged = [forge_leaf(value) for index in sorted(chunks) for _, value in decode_chunk(chunks[index])]
    made = list(encode_chunks(forged, size=700))
    chunks.clear()
    chunks.update(enumerate(made))
    description = replace(
        offer.description,
        leaves_count=len(forged),
        leaves_size=sum(map(len, forged)),
        chunks_count=len(made),
        chunks_root=Tree(made).root(),
    )
    return replace(offer, description=description)


def forge_leaf(value: bytes) -> bytes:
    from ledger.encoding.records import unpack

    if b"\xa6anchor" not in value[:8]:
        return value
    leaf = unpack(Anchor, value)
    return pack(replace(leaf, leaf_count=leaf.leaf_count + 1))


def chunks_of(node: WorldNode) -> dict[int, bytes]:
    entry = node.snapshot_store.newest()
    assert entry is not None
    found = {
        index: node.snapshot_store.load_raw(entry, index) for index in range(entry.description.chunks_count)
    }
    return {index: chunk for index, chunk in found.items() if chunk is not None}


def forger(world: World, liar: str) -> Meddle:
    chunks = chunks_of(world.nodes[liar])
    forged: list[SnapshotOffer] = []

    def meddle(message: PeerMessage) -> PeerMessage:
        if isinstance(message, SnapshotOffer):
            if not forged:
                forged.append(forge_state(message, chunks))
            return forged[0]
        if isinstance(message, NotHeld) and message.what == "chunk" and forged:
            path = Tree(chunks.values()).path(message.index)
            root = forged[0].description.chunks_root
            return SnapshotChunk(message.height, root, message.index, chunks[message.index], path.siblings)
        return message

    return meddle


def test_a_forged_snapshot_is_outvoted_by_honest_validators(world: World) -> None:
    world.kill(SLEEPER)
    grow(world, 14)
    shutil.rmtree(world.directory / SLEEPER)
    meddle_with(world, forger(world, "hk-bureau"), "hk-bureau")
    node = world.start(SLEEPER)
    run_until(world, lambda: is_level(world))
    assert not node.driver.sync._snapshot._forged
    check_whole(node)


def test_a_forged_snapshot_that_nobody_contradicts_is_downloaded_once_and_never_installed(
    world: World,
) -> None:
    world.kill(SLEEPER)
    grow(world, 14)
    shutil.rmtree(world.directory / SLEEPER)
    lie = forger(world, "hk-bureau")
    meddle_with(world, lie, "hk-bureau")
    alone = world.meddle

    def nobody_else(source: str, target: str, data: bytes) -> bytes | None:
        is_offer = isinstance(decode_peer_message(data), SnapshotOffer)
        if is_offer and source != "hk-bureau" and not world.punished:
            return None
        return alone(source, target, data)

    world.meddle = nobody_else
    node = world.start(SLEEPER)
    installed: list[bytes] = []
    install = node.store.install
    node.store.install = lambda *parts: installed.append(parts[1].header) or install(*parts)  # type: ignore
    run_until(world, lambda: bool(world.punished))
    assert not installed
    assert node.store.tip().header.height < 8
    assert named(world) == {"hk-bureau"}
    run_until(world, lambda: is_level(world), milliseconds=120_000)
    assert len(node.driver.sync._snapshot._forged) == 1
    check_whole(node)


def other_header(offer: SnapshotOffer) -> SnapshotOffer:
    header = offer.description.encoded_header().header
    forged = EncodedHeader.encode(replace(header, state_root=bytes(32)))
    return replace(offer, description=replace(offer.description, header=forged.encoded))


def fewer_signatures(certificate: QuorumCertificate) -> QuorumCertificate:
    return replace(certificate, signatures=certificate.signatures[:2])


def without_quorum(offer: SnapshotOffer) -> SnapshotOffer:
    if offer.certificate is not None:
        return replace(offer, certificate=fewer_signatures(offer.certificate))
    history = offer.trust_path.history
    assert history is not None
    newer = replace(history.newer, certificate=fewer_signatures(history.newer.certificate))
    return replace(offer, trust_path=replace(offer.trust_path, history=replace(history, newer=newer)))


def own_handover(offer: SnapshotOffer) -> SnapshotOffer:
    """A validator set of the liar's own, introduced by a seal that nobody signed for it."""
    history = offer.trust_path.history
    certified = history.newer if history is not None else None
    if certified is None:
        assert offer.certificate is not None
        from ledger.trust import FinalizedHeader

        certified = FinalizedHeader(offer.description.header, offer.certificate)
    mine = ValidatorSet(()) if False else require_set()
    path = TrustPath(offer.trust_path.from_epoch, (Handover(certified, mine),), history)
    return replace(offer, trust_path=path)


def require_set() -> ValidatorSet:
    from ledger.rules.certificates import Validator
    from tests.support.node_world import private_key

    return ValidatorSet((Validator("hk-bureau", private_key("hk-bureau validator").public),))


def wrong_frontier(offer: SnapshotOffer) -> SnapshotOffer:
    history = offer.description.history
    changed = replace(history, peaks=(bytes(32), *history.peaks[1:]))
    return replace(offer, description=replace(offer.description, history=changed))


def from_another_epoch(offer: SnapshotOffer) -> SnapshotOffer:
    return replace(offer, trust_path=replace(offer.trust_path, from_epoch=3))


@pytest.mark.parametrize(
    "forge", [other_header, without_quorum, own_handover, wrong_frontier, from_another_epoch]
)
def test_an_offer_that_does_not_verify_names_its_sender_and_is_refused(
    world: World, forge: Callable[[SnapshotOffer], SnapshotOffer]
) -> None:
    world.kill(SLEEPER)
    grow(world, 14)
    shutil.rmtree(world.directory / SLEEPER)
    meddle_with(world, lambda each: forge(each) if isinstance(each, SnapshotOffer) else each, "hk-bureau")
    node = world.start(SLEEPER)
    run_until(world, lambda: is_level(world))
    assert named(world) == {"hk-bureau"}
    assert node.store.gap()[0] < node.store.gap()[1]
    check_whole(node)


def flipped(chunk: SnapshotChunk) -> SnapshotChunk:
    return replace(chunk, chunk=chunk.chunk[:-1] + bytes([chunk.chunk[-1] ^ 1]))


def without_path(chunk: SnapshotChunk) -> SnapshotChunk:
    return replace(chunk, siblings=chunk.siblings[:-1])


@pytest.mark.parametrize("forge", [flipped, without_path])
def test_a_wrong_chunk_names_its_sender_and_others_are_asked(
    world: World, forge: Callable[[SnapshotChunk], SnapshotChunk]
) -> None:
    world.kill(SLEEPER)
    grow(world, 14)
    shutil.rmtree(world.directory / SLEEPER)
    meddle_with(world, lambda each: forge(each) if isinstance(each, SnapshotChunk) else each, "hk-bureau")
    node = world.start(SLEEPER)
    run_until(world, lambda: is_level(world))
    assert named(world) == {"hk-bureau"}
    check_whole(node)


@pytest.mark.parametrize("kind", [FinalBlocks, SnapshotOffer, SnapshotChunk])
def test_who_stalls_is_set_aside_and_others_are_asked(
    world: World, kind: type[PeerMessage], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING", logger="node.sync")
    world.kill(SLEEPER)
    grow(world, 14)
    shutil.rmtree(world.directory / SLEEPER)
    meddle_with(world, lambda each: None if isinstance(each, kind) else each, "hk-bureau", "sz-operator")
    node = world.start(SLEEPER)
    run_until(world, lambda: is_level(world))
    assert not world.punished
    assert kind is SnapshotOffer or "sync.stalled peer=" in caplog.text
    check_whole(node)


def substituted(answer: FinalBlocks) -> FinalBlocks:
    """Blocks with a transaction of another."""
    bodies = [each for block in answer.blocks for each in block.transactions]
    changed = tuple(
        StoredBlock(block.header, tuple(bodies[-1] for _ in block.transactions)) for block in answer.blocks
    )
    return replace(answer, blocks=changed)


def without_one(answer: FinalBlocks) -> FinalBlocks:
    return replace(answer, blocks=answer.blocks[:1] + answer.blocks[2:])


def cut_short(answer: FinalBlocks) -> FinalBlocks:
    return replace(answer, blocks=answer.blocks[:-1])


def shifted(answer: FinalBlocks) -> FinalBlocks:
    return replace(answer, blocks=answer.blocks[1:])


def uncertified(answer: FinalBlocks) -> FinalBlocks:
    if answer.certificate is None:
        return replace(answer, history=None)
    return replace(answer, certificate=fewer_signatures(answer.certificate))


def proven_twice(answer: FinalBlocks) -> FinalBlocks:
    return replace(answer, certificate=None, history=None)


@pytest.mark.parametrize("forge", [substituted, without_one, cut_short, shifted, uncertified, proven_twice])
def test_forged_blocks_name_their_sender_and_nothing_of_them_is_executed(
    near: World, forge: Callable[[FinalBlocks], FinalBlocks]
) -> None:
    near.kill(SLEEPER)
    grow(near, 14)
    meddle_with(
        near,
        lambda each: forge(each) if isinstance(each, FinalBlocks) and len(each.blocks) > 2 else each,
        "hk-bureau",
    )
    node = near.start(SLEEPER)
    run_until(near, lambda: is_level(near))
    assert named(near) == {"hk-bureau"}
    assert node.store.gap() == (0, 0)
    check_whole(node)


def test_a_snapshot_whose_chunks_never_come_is_given_up_for_another(world: World) -> None:
    world.kill(SLEEPER)
    grow(world, 14)
    shutil.rmtree(world.directory / SLEEPER)
    lie = forger(world, "hk-bureau")

    def tease(message: PeerMessage) -> PeerMessage | None:
        told = lie(message)
        return None if isinstance(told, SnapshotChunk) else told

    meddle_with(world, tease, "hk-bureau")
    alone = world.meddle
    world.meddle = lambda source, target, data: (
        None
        if source != "hk-bureau" and world.now_ms < until and is_offer(data)
        else alone(source, target, data)
    )
    until = world.now_ms + 3_000
    node = world.start(SLEEPER)
    run_until(world, lambda: is_level(world), milliseconds=120_000)
    assert not world.punished
    check_whole(node)


def kind_of(data: bytes) -> type:
    return type(decode_peer_message(data))


def stuck(world: World, is_held_back: Callable[[str, bytes], bool], *, empty: bool = True) -> WorldNode:
    """Wake the sleeper among peers of whom some give nothing, for so long that all of these are set aside."""
    world.meddle = lambda source, target, data: (
        None if target == SLEEPER and is_held_back(source, data) else data
    )
    node = sleep_and_wake(world, 14, empty=empty)
    world.run(25_000)
    assert not is_level(world)
    return node


def test_a_holder_that_comes_back_is_found_within_ten_seconds(world: World) -> None:
    """The one that gives chunks again was set aside like all others."""
    node = stuck(world, lambda _source, data: kind_of(data) is SnapshotChunk)
    held_back = (SnapshotChunk, FinalBlocks)
    world.meddle = lambda source, target, data: (
        None if target == SLEEPER and source != "hk-bureau" and kind_of(data) in held_back else data
    )
    run_until(world, lambda: is_level(world), milliseconds=10_000)
    check_whole(node)


def test_a_holder_that_offered_nothing_is_found_within_ten_seconds(world: World) -> None:
    """One stated the snapshot and is gone; the others hold it, and were never heard when offers were asked for."""
    gone = "hk-bureau"
    node = stuck(
        world,
        lambda source, data: (
            kind_of(data) in ((SnapshotChunk,) if source == gone else (SnapshotOffer, SnapshotChunk))
        ),
    )
    world.meddle = lambda source, target, data: (
        None if target == SLEEPER and source == gone and kind_of(data) is SnapshotChunk else data
    )
    run_until(world, lambda: is_level(world), milliseconds=10_000)
    check_whole(node)


def test_holders_of_another_snapshot_are_found_within_ten_seconds(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody has the snapshot any more that was chosen: others are two further by now."""
    caplog.set_level("INFO", logger="node.sync")
    node = stuck(world, lambda _source, data: kind_of(data) is SnapshotChunk)
    world.meddle = lambda _source, target, data: (
        None if target == SLEEPER and kind_of(data) in (SnapshotOffer, SnapshotChunk, FinalBlocks) else data
    )
    grow(world, 20, first=500)
    chosen = [message for message in caplog.messages if message.startswith("sync.snapshot_chosen")]
    world.meddle = lambda _source, target, data: (
        None if target == SLEEPER and kind_of(data) is FinalBlocks and not node.store.gap()[1] else data
    )
    run_until(world, lambda: is_level(world), milliseconds=10_000)
    assert len([message for message in caplog.messages if message.startswith("sync.snapshot_chosen")]) > len(
        chosen
    )
    check_whole(node)


def test_a_snapshot_that_nobody_offered_before_is_found_within_ten_seconds(world: World) -> None:
    node = stuck(world, lambda _source, data: kind_of(data) in (SnapshotOffer, SnapshotChunk, FinalBlocks))
    world.meddle = lambda source, target, data: (
        None if target == SLEEPER and kind_of(data) is FinalBlocks and not node.store.gap()[1] else data
    )
    run_until(world, lambda: is_level(world), milliseconds=10_000)
    check_whole(node)


def test_a_holder_of_blocks_that_comes_back_is_found_within_ten_seconds(near: World) -> None:
    node = stuck(near, lambda _source, data: kind_of(data) is FinalBlocks, empty=False)
    near.meddle = lambda source, target, data: (
        None if target == SLEEPER and source != "hk-bureau" and kind_of(data) is FinalBlocks else data
    )
    run_until(near, lambda: is_level(near), milliseconds=10_000)
    check_whole(node)


def test_a_quorum_whose_member_still_fetches_goes_on_within_ten_seconds_of_a_holder(world: World) -> None:
    """Three of four: the sleeper is needed, and the only holder of its snapshot was out of reach for long."""
    stuck(world, lambda _source, data: kind_of(data) in (SnapshotChunk, FinalBlocks))
    world.kill("mainland-bank")
    world.run(15_000)
    height = world.nodes["hk-bureau"].store.tip().header.height
    world.meddle = lambda source, target, data: (
        None if target == SLEEPER and source != "hk-bureau" and kind_of(data) is SnapshotChunk else data
    )
    run_until(world, lambda: world.nodes["hk-bureau"].store.tip().header.height > height, milliseconds=10_000)


def test_who_lied_is_not_asked_again_even_where_nobody_else_can_be(world: World) -> None:
    def lie(message: PeerMessage) -> PeerMessage | None:
        if isinstance(message, SnapshotChunk):
            return replace(message, chunk=message.chunk[:-1] + bytes([message.chunk[-1] ^ 1]))
        return message

    world.kill(SLEEPER)
    grow(world, 14)
    shutil.rmtree(world.directory / SLEEPER)
    asked: list[tuple[int, str]] = []

    def note(source: str, target: str, data: bytes) -> bytes | None:
        if source == SLEEPER and kind_of(data) is WantChunk:
            asked.append((world.now_ms, target))
        if target != SLEEPER:
            return data
        changed = lie(decode_peer_message(data))
        return None if changed is None else encode_peer_message(changed)

    world.liars |= {member for member in VALIDATORS if member != SLEEPER}
    world.meddle = note
    world.start(SLEEPER)
    world.run(20_000)
    told = {peer for _, peer, _ in world.punished}
    assert told
    for liar in told:
        times = [time for time, peer in asked if peer == liar]
        assert max(times) - min(times) < 5_000, "asked again while set aside for a lie"


def test_how_far_others_are_is_told_though_all_of_them_are_set_aside(near: World) -> None:
    node = stuck(near, lambda _source, data: kind_of(data) is FinalBlocks, empty=False)
    height = near.nodes["hk-bureau"].store.tip().header.height
    progress = node.driver.sync.progress(near.now_ms)
    assert progress is not None
    assert height - 1 <= progress.target_height <= height
    assert node.driver.sync.known_height() == progress.target_height


def test_one_that_claims_more_than_all_others_moves_nothing_that_is_told(near: World) -> None:
    node = near.nodes[SLEEPER]
    meddle_with(
        near,
        lambda each: replace(each, tip_height=2**52) if isinstance(each, FinalBlocks | NotHeld) else each,
        "hk-bureau",
    )
    for peer in VALIDATORS:
        if peer != SLEEPER:
            node.driver.sync.probe(peer)
    near.run(1_000)
    assert node.driver.sync.known_height() < 1_000


def is_offer(data: bytes) -> bool:
    return isinstance(decode_peer_message(data), SnapshotOffer)


def test_a_height_that_nobody_reached_costs_its_claimant_its_turn(near: World) -> None:
    near.kill(SLEEPER)
    grow(near, 20)
    meddle_with(
        near,
        lambda each: replace(each, tip_height=2**52) if isinstance(each, FinalBlocks | NotHeld) else each,
        "hk-bureau",
    )
    node = near.start(SLEEPER)
    run_until(near, lambda: is_level(near))
    near.run(10_000)
    before = near.count
    near.run(1_000)
    assert near.count - before < 300, "no storm of questions"
    check_whole(node)


def test_answers_that_nobody_asked_for_change_nothing(world: World) -> None:
    grow(world, 10)
    node, other = world.nodes[SLEEPER], world.nodes["hk-bureau"]
    tip = node.store.tip().encoded_header
    entry = other.snapshot_store.newest()
    assert entry is not None
    offer = other.driver._sync_server.answer("x", __import__("node.messages").messages.WantSnapshot(0, 0), 0)
    blocks = other.driver._sync_server.answer("x", WantFinal(1, 4), 0)
    chunk = other.driver._sync_server.answer(
        "x", WantChunk(entry.description.encoded_header().header.height, entry.description.chunks_root, 0), 0
    )
    for message in (offer, blocks, chunk):
        assert message is not None
        node.driver.receive("hk-bureau", encode_peer_message(message))
    assert node.store.tip().encoded_header == tip
    assert node.snapshot_store.fetching is None
    assert not world.punished


def test_a_certified_block_that_executes_otherwise_here_stops_the_node(
    near: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ledger.chain.execution import Divergence

    near.kill(SLEEPER)
    grow(near, 5)
    node = near.start(SLEEPER)

    def diverge(*_: object, **__: object) -> None:
        raise Divergence(height=1, field="state_root", claimed=bytes(32), computed=bytes(32))

    monkeypatch.setattr("node.sync.blocks.execute_block", diverge)
    tip = node.store.tip().encoded_header
    with pytest.raises(NodeStopped, match="executes to another result"):
        near.run(20_000)
    assert node.store.tip().encoded_header == tip


# Signatures checked ahead


@dataclass
class Checked:
    verdicts: bytes | None
    is_settled: bool = True


@dataclass
class StubChecker:
    """A checker that answers by a function; where that gives nothing, never."""

    answer: Callable[[Question], bytes] | None
    asked_count: int = 0
    was_given_up: bool = False

    def submit(self, transactions: Sequence[bytes], keys: dict[str, PublicKey]) -> Checked | None:
        if self.was_given_up:
            return None
        self.asked_count += 1
        if self.answer is None:
            return Checked(None, is_settled=False)
        question = Question(
            tuple(SenderKey(member, key) for member, key in keys.items()), tuple(transactions)
        )
        return Checked(self.answer(question))

    def give_up(self) -> None:
        self.was_given_up = True


class LateAnswer:
    """Verdicts that come some time after the question."""

    def __init__(self, world: World, question: Question) -> None:
        self._world, self._due_ms, self._question = world, world.now_ms + LATE_MS, question

    @property
    def is_settled(self) -> bool:
        return self._world.now_ms >= self._due_ms

    @property
    def verdicts(self) -> bytes:
        return verdicts(self._question)


@dataclass
class LateChecker:
    """A checker whose answers take their time, so that an answer of a peer is executed over several ticks."""

    world: World

    def submit(self, transactions: Sequence[bytes], keys: dict[str, PublicKey]) -> LateAnswer:
        senders = tuple(SenderKey(member, key) for member, key in keys.items())
        return LateAnswer(self.world, Question(senders, tuple(transactions)))

    def give_up(self) -> None:
        raise AssertionError("it answers in time")


def catch_up_with(near: World, monkeypatch: pytest.MonkeyPatch, checker: StubChecker) -> int:
    """Have a node catch up with a checker; return how many signatures it checked itself."""
    monkeypatch.setattr("node.sync.blocks.TRANSACTIONS_MIN", 1)
    near.kill(SLEEPER)
    grow(near, 10)
    near.checker = checker
    node = near.start(SLEEPER)
    own = 0
    verified = node.driver.chain.verified
    verify = verified.verify

    def counted(transaction: Transaction, key: PublicKey) -> None:
        nonlocal own
        own += (transaction.id, key) not in verified._known
        verify(transaction, key)

    monkeypatch.setattr(verified, "verify", counted)
    run_until(near, lambda: is_level(near))
    assert checker.asked_count >= 10
    assert not near.punished
    check_whole(node)
    return own


def test_signatures_that_were_checked_ahead_are_not_checked_again(
    near: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    checker = StubChecker(verdicts)
    assert catch_up_with(near, monkeypatch, checker) == 0
    assert not checker.was_given_up


def test_a_checker_that_refuses_everything_costs_its_work_and_nothing_else(
    near: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    checker = StubChecker(lambda question: bytes(len(question.transactions)))
    assert catch_up_with(near, monkeypatch, checker) >= 10


def test_a_checker_that_never_answers_is_given_up_and_the_node_checks_itself(
    near: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    checker = StubChecker(None)
    before_ms = near.now_ms
    assert catch_up_with(near, monkeypatch, checker) >= 10
    assert checker.was_given_up
    assert near.now_ms - before_ms >= ANSWER_MS


# Serving


def test_what_a_peer_is_given_is_bounded_and_refills(world: World) -> None:
    from node.sync import server

    grow(world, 4)
    serving = world.nodes[SLEEPER].driver._sync_server
    answered = 0
    while isinstance(serving.answer("greedy", WantFinal(1, 4), 0), FinalBlocks):
        answered += 1
    assert answered <= server.BUDGET_MAX // server.QUESTION_COST
    assert isinstance(serving.answer("other", WantFinal(1, 4), 0), FinalBlocks)
    serving.forget("greedy")
    told = serving.answer("greedy", WantFinal(1, 4), 0)
    assert isinstance(told, NotHeld)
    assert told.what == "busy"
    assert isinstance(serving.answer("greedy", WantFinal(1, 4), 100), FinalBlocks)


def test_a_busy_peer_is_asked_again_and_neither_named_nor_set_aside(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING", logger="node.sync")
    world.kill(SLEEPER)
    grow(world, 14)
    shutil.rmtree(world.directory / SLEEPER)
    turns = itertools.count()

    def busy(message: PeerMessage) -> PeerMessage:
        if isinstance(message, FinalBlocks | SnapshotChunk) and next(turns) % 2:
            index = message.index if isinstance(message, SnapshotChunk) else 0
            return NotHeld("busy", message.height, index, 0, 0)
        return message

    meddle_with(world, busy, *(member for member in VALIDATORS if member != SLEEPER))
    node = world.start(SLEEPER)
    run_until(world, lambda: is_level(world))
    assert next(turns) > 4
    assert not world.punished
    assert "sync.stalled" not in caplog.text
    check_whole(node)


def test_blocks_that_no_certificate_names_directly_are_served_by_their_place_in_history(
    world: World,
) -> None:
    node = world.nodes[SLEEPER]
    grow(world, 6)
    batch_key = b"C"
    database = node.store._database
    from node.storage.database import WriteBatch

    keys = [key for key, _ in database.iterate(batch_key, b"D")]
    batch = WriteBatch()
    for key in keys[:-1]:
        batch.delete(key)
    database.write(batch, is_synced=True)
    answer = node.driver._sync_server.answer("x", WantFinal(1, 3), 0)
    assert isinstance(answer, FinalBlocks)
    assert answer.certificate is None
    assert answer.history is not None
    world.kill("hk-bureau")
    shutil.rmtree(world.directory / "hk-bureau")
    others = ("mainland-bank", "sz-operator")
    world.meddle = lambda source, _target, data: (
        None if source in others and isinstance(decode_peer_message(data), FinalBlocks) else data
    )
    world.start("hk-bureau")
    run_until(world, lambda: is_level(world))


# Peers that cannot be pinned


def test_a_node_fetches_from_peers_that_it_cannot_pin_and_never_votes_with_them(world: World) -> None:
    world.kill(SLEEPER)
    grow(world, 14)
    shutil.rmtree(world.directory / SLEEPER)
    node = WorldNode(world, SLEEPER)
    sent: list[PeerMessage] = []
    receive = node.driver.receive

    def send(peer_id: str, data: bytes) -> bool:
        assert is_unpinned(peer_id)
        sent.append(decode_peer_message(data))
        world.deliver(SLEEPER, registered(peer_id), data)
        return True

    # A peer that is not pinned is none that a broadcast reaches; what comes from it comes by its own name.
    node.send = send  # type: ignore[method-assign]
    node.broadcast = lambda data: 0  # type: ignore[method-assign]
    node.driver.receive = lambda peer, data: receive(unpinned(peer), data)  # type: ignore[method-assign]
    world.nodes[SLEEPER] = node
    node.driver.start()
    for other in VALIDATORS:
        if other != SLEEPER:
            world.nodes[other].driver.peer_up(SLEEPER)
            node.driver.peer_up(unpinned(other))
    run_until(world, lambda: is_level(world))
    assert node.store.gap()[0] < node.store.gap()[1]
    check_whole(node)
    assert sent
    assert all(isinstance(message, SyncRequest) for message in sent)
    assert node.driver.core.standing is Participation.ASKING
    with pytest.raises(AssertionError, match="only fetch"):
        node.driver.send(unpinned("hk-bureau"), Consensus(b"a vote"))
