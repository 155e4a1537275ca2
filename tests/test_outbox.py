"""Anchoring under power cuts, and what a refresh tells a node: salts outlive every crash, nothing else leaves."""

import asyncio
from pathlib import Path

import pytest

from ledger.commitments import Opening
from ledger.proofs import EvidenceRequest, Proof
from ledger.records import pack
from ledger.trust import TrustedRoot
from ledger.verifier import Verifier
from node.client import issuer
from node.client.client import Client, Unreachable
from node.client.holder import refresh
from node.client.issuer import Anchored, Document, finish, media_type_of, prepare, waiting_batches
from tests.consortium import CHAIN_ID, REPORT, make_genesis, member_key_of
from tests.crashing_disk import CrashingDisk, Loss, PowerCut
from tests.memory_node import MemoryNode, serve

ISSUER = "hk-bureau"
HOLDER = member_key_of("holder").public
STEPS = 7 + 6 * 2
"""One directory sync, and a file replaced for the batch and for each proof."""


class Desk:
    """An issuer's documents and outbox."""

    def __init__(self, directory: Path) -> None:
        self.outbox = directory / "data" / "outbox"
        self.outbox.parent.mkdir(parents=True)
        self.files = [directory / name for name in ("report.pdf", "report.json")]
        for number, file in enumerate(self.files):
            file.write_bytes(b"SAMPLE %d " % number * 100)

    def prepare(self, node: MemoryNode) -> Path:
        documents = [Document(file, HOLDER, None) for file in self.files]
        return prepare(
            documents,
            chain_id=CHAIN_ID,
            issuer=ISSUER,
            schema=REPORT,
            now_ms=node.clock.now_ms,
            outbox=self.outbox,
        )

    def proof_of(self, file: Path) -> Proof:
        return Proof.decode(issuer.proof_path_of(file).read_bytes())


async def finish_all(node: MemoryNode, desk: Desk) -> list[Anchored]:
    async with serve(node) as url, Client.connect(url) as client:
        return [
            await finish(client, batch, key=member_key_of(ISSUER), now_ms=node.clock.now_ms)
            for batch in waiting_batches(desk.outbox)
        ]


def anchor_all(node: MemoryNode, desk: Desk) -> None:
    desk.prepare(node)
    asyncio.run(finish_all(node, desk))


def anchors_count(node: MemoryNode) -> int:
    return sum(len(executed.block.transactions) for executed in node.ledger.blocks)


@pytest.mark.parametrize("loss", Loss)
def test_whenever_the_power_goes_every_anchored_document_gets_its_proof(
    loss: Loss, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier = Verifier(TrustedRoot(1, make_genesis(), ()))
    for step in range(1, STEPS + 1):
        node, desk = MemoryNode(), Desk(tmp_path / f"{step}")
        with monkeypatch.context() as cut:
            cut.setattr(issuer, "POSIX_FILES", CrashingDisk(tmp_path, crash_at=step, loss=loss))
            with pytest.raises(PowerCut):
                anchor_all(node, desk)
        was_anchored = anchors_count(node)
        assert was_anchored <= len(waiting_batches(desk.outbox)), "nothing is sent before its salts are kept"
        asyncio.run(finish_all(node, desk))
        assert waiting_batches(desk.outbox) == []
        if not was_anchored and not issuer.proof_path_of(desk.files[0]).exists():
            anchor_all(node, desk)
        assert anchors_count(node) == 1, "a batch is recorded once"
        for file in desk.files:
            proof = desk.proof_of(file).encode()
            verifier.verify_anchor(file.read_bytes(), proof, at_ms=node.clock.now_ms)


def test_an_undisturbed_anchoring_takes_exactly_the_steps_that_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = CrashingDisk(tmp_path)
    monkeypatch.setattr(issuer, "POSIX_FILES", disk)
    anchor_all(MemoryNode(), Desk(tmp_path / "desk"))
    assert disk.steps_count == STEPS


def test_a_batch_that_is_not_final_yet_stays_in_the_outbox(tmp_path: Path) -> None:
    node, desk = MemoryNode(is_holding=True), Desk(tmp_path)
    batch = desk.prepare(node)
    with pytest.raises(Unreachable, match="finality"):
        asyncio.run(finish_all(node, desk))
    assert waiting_batches(desk.outbox) == [batch]
    assert not issuer.proof_path_of(desk.files[0]).exists()
    node.is_holding = False
    (anchored,) = asyncio.run(finish_all(node, desk))
    assert anchored.height == 1 and len(anchored.proof_paths) == 2


def test_each_document_has_a_salt_of_its_own_even_when_it_is_anchored_again(tmp_path: Path) -> None:
    node, desk = MemoryNode(), Desk(tmp_path)
    anchor_all(node, desk)
    first = [desk.proof_of(file).opening for file in desk.files]
    anchor_all(node, desk)
    again = [desk.proof_of(file).opening for file in desk.files]
    assert len({opening.salt for opening in first + again}) == 4
    assert [opening.content_root for opening in first] == [opening.content_root for opening in again]


def test_a_refresh_sends_identifiers_and_the_commitment_and_nothing_else(tmp_path: Path) -> None:
    node, desk = MemoryNode(), Desk(tmp_path)
    anchor_all(node, desk)
    proof = desk.proof_of(desk.files[0])
    node.requests.clear()

    async def refresh_it() -> Proof:
        async with serve(node) as url, Client.connect(url) as client:
            return await refresh(client, proof, None)

    node.extend()
    refreshed = asyncio.run(refresh_it())
    expected = EvidenceRequest(ISSUER, proof.anchor_root, proof.opening.commitment(), None, None, 0)
    assert node.requests == [expected]
    sent = pack(expected)
    secrets = (proof.opening.salt, proof.opening.content_root, proof.opening.metadata)
    assert not any(secret in sent for secret in secrets)
    assert refreshed.opening == proof.opening and refreshed.evidence.header != proof.evidence.header


def test_media_types_are_the_same_on_every_machine_and_fit_a_commitment() -> None:
    assert media_type_of(Path("a.pdf")) == "application/pdf"
    assert media_type_of(Path("a.json")) == "application/json"
    assert media_type_of(Path("a")) == media_type_of(Path("a.unheard-of")) == "application/octet-stream"
    for media_type in issuer._MEDIA_TYPES.types_map[True].values():
        Opening(media_type, 1, bytes(32), bytes(32), b"-").commitment()
