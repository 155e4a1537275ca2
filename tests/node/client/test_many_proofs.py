"""Proofs of many documents from one question: the same bytes as one by one, whatever a node answers."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ledger.encoding.records import pack
from ledger.errors import LedgerError
from ledger.proofs import EvidenceRequest, Proof
from ledger.rules.operations import RevokeDocument
from node.client.issuing.outbox import PROOFS_AT_ONCE, Settled
from node.client.issuing.register import Register, State
from node.client.nodes import Nodes
from node.errors import Unreachable
from node.evidence import DocumentsEvidence, DocumentsRequest, UnknownLeaf
from tests.node.client.test_issuing import HOLDER, ISSUER, Bureau, Served, opened
from tests.support.consortium import NOTICE, START_MS, make_transaction
from tests.support.memory_node import MemoryNode

Change = Callable[[DocumentsEvidence], DocumentsEvidence]


@dataclass(slots=True)
class ChangingNode(MemoryNode):
    """A node that changes what it answers about many documents."""

    change: Change = lambda found: found

    async def documents_evidence(self, request: DocumentsRequest) -> DocumentsEvidence:
        # The class that a slotted dataclass makes is another one than `super()` would look for.
        return self.change(await MemoryNode.documents_evidence(self, request))


def unrevoked_with(index: int, other: int | None) -> Change:
    """Return what puts the absence of another document, or none, in the place of one's."""

    def change(found: DocumentsEvidence) -> DocumentsEvidence:
        proofs = [*found.anchors[0].unrevoked]
        proofs[index] = None if other is None else proofs[other]
        return replace(
            found, anchors=(replace(found.anchors[0], unrevoked=tuple(proofs)), *found.anchors[1:])
        )

    return change


def old(_found: DocumentsEvidence) -> DocumentsEvidence:
    """Answer as a release does that has no such question."""
    raise UnknownLeaf(where="path", expected="a known path", found="/v1/evidence/documents")


def busy(_found: DocumentsEvidence) -> DocumentsEvidence:
    """Answer as a node does that has no room for such a question."""
    raise LedgerError(code="busy", where="documents", expected="room", found="none")


def collect(bureau: Bureau, register: Register, count: int) -> list[Path]:
    paths = [bureau.directory / f"{number}.proof" for number in range(count)]
    drafts = [bureau.draft(f"{number}", proof_path=path) for number, path in enumerate(paths)]
    register.collect(drafts, now_ms=START_MS)
    return paths


def kinds_of(node: MemoryNode) -> list[type]:
    """Return what was asked about documents: the first question of each batch confirms its anchor."""
    return [type(each) for each in node.requests][1:]


def check_all(bureau: Bureau, register: Register, paths: list[Path]) -> None:
    """Check that each proof is there, verifies, and is what a question of its own gives, byte for byte."""
    for number, path in enumerate(paths):
        content = path.read_bytes()
        bureau.verify(bureau.draft(f"{number}"), Proof.decode(content))
        assert content == bureau.prove(register, f"{number}").encode()


def test_proofs_of_one_question_are_those_of_a_question_each_byte_for_byte(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        paths = collect(bureau, register, 20)
        assert len(bureau.settle(register).delivered) == 20
        assert kinds_of(bureau.node) == [DocumentsRequest]
        check_all(bureau, register, paths)


def test_as_many_as_go_into_one_question_are_asked_about_in_it_and_one_more_in_the_next(
    tmp_path: Path,
) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        collect(bureau, register, PROOFS_AT_ONCE + 2)
        assert len(bureau.settle(register).delivered) == PROOFS_AT_ONCE + 2
    first, second = bureau.node.requests[1:]
    assert isinstance(first, DocumentsRequest) and len(first.anchors[0].commitments) == PROOFS_AT_ONCE
    assert isinstance(second, DocumentsRequest) and len(second.anchors[0].commitments) == 2


def test_one_document_is_asked_about_alone(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        collect(bureau, register, 1)
        bureau.settle(register)
    assert kinds_of(bureau.node) == [EvidenceRequest]


def test_documents_of_several_batches_are_in_one_question(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        paths = [tmp_path / f"{number}.proof" for number in range(6)]
        drafts = [
            bureau.draft(f"{number}", proof_path=path, schema=(NOTICE, bureau.draft("a").schema)[number % 2])
            for number, path in enumerate(paths)
        ]
        register.collect(drafts, now_ms=START_MS)
        assert len(bureau.settle(register).delivered) == 6
        (request,) = [each for each in bureau.node.requests if isinstance(each, DocumentsRequest)]
        assert [len(each.commitments) for each in request.anchors] == [3, 3]
        for number, path in enumerate(paths):
            assert path.read_bytes() == bureau.prove(register, f"{number}").encode()


def test_a_revoked_document_is_refused_by_name_and_the_others_have_their_proofs(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        paths = collect(bureau, register, 5)
        register.form_batches(10)
        found = register.find("3")
        assert found is not None
        bureau.node.extend(make_transaction(ISSUER, RevokeDocument(found.commitment, "error")))
        settled = bureau.settle(register)
        assert [(each.id, each.refusal.code) for each in settled.refused if each.refusal] == [
            (found.id, "revoked")
        ]
        assert [path.exists() for path in paths] == [True, True, True, False, True]
        # It alone was asked about again.
        alone = [each.commitment for each in bureau.node.requests[1:] if isinstance(each, EvidenceRequest)]
        assert alone == [found.commitment]


@pytest.mark.parametrize(
    "change",
    {
        "a revocation that is none": unrevoked_with(2, None),
        "the absence of another": unrevoked_with(2, 3),
        "no such question": old,
        "of one too few": lambda found: replace(
            found, anchors=(replace(found.anchors[0], unrevoked=found.anchors[0].unrevoked[1:]),)
        ),
        "another issuer's record": lambda found: replace(found, issuers=(found.anchors[0].anchor,)),
        "a header without its quorum": lambda found: replace(
            found,
            at=replace(
                found.at,
                certificate=replace(found.at.certificate, signatures=found.at.certificate.signatures[:-1]),
            ),
        ),
    }.items(),
    ids=lambda each: each[0],
)
def test_what_one_question_does_not_prove_another_node_or_a_question_of_its_own_does(
    tmp_path: Path, change: tuple[str, Change]
) -> None:
    honest = MemoryNode()
    liar = ChangingNode(ledger=honest.ledger, certificates=honest.certificates, clock=honest.clock)
    bureau = Bureau(tmp_path, liar, honest)
    with opened(bureau) as register:
        paths = collect(bureau, register, 5)
        bureau.settle_only(register, [])
        liar.change = change[1]
        settled = bureau.settle(register)
        assert len(settled.delivered) == 5 and settled.refused == ()
        check_all(bureau, register, paths)


def test_a_node_that_answers_one_question_wrongly_still_gives_what_each_question_of_its_own_proves(
    tmp_path: Path,
) -> None:
    node = ChangingNode(change=unrevoked_with(2, 3))
    bureau = Bureau(tmp_path, node)
    with opened(bureau) as register:
        paths = collect(bureau, register, 5)
        assert len(bureau.settle(register).delivered) == 5
        check_all(bureau, register, paths)


@pytest.mark.parametrize("change", [old, busy])
def test_a_node_without_room_or_of_an_older_release_gives_each_proof_to_a_question_of_its_own(
    tmp_path: Path, change: Change
) -> None:
    node = ChangingNode(change=change)
    bureau = Bureau(tmp_path, node)
    with opened(bureau) as register:
        paths = collect(bureau, register, 5)
        assert len(bureau.settle(register).delivered) == 5
        assert kinds_of(node) == [DocumentsRequest, *[EvidenceRequest] * 5]
        check_all(bureau, register, paths)


def test_where_no_node_proves_anything_nothing_is_written_and_all_waits(tmp_path: Path) -> None:
    node = ChangingNode()
    bureau = Bureau(tmp_path, node)
    with opened(bureau) as register:
        paths = collect(bureau, register, 5)
        node.change = lambda found: replace(found, issuers=(found.anchors[0].anchor,))
        with pytest.raises(Unreachable):
            bureau.settle(register)
        assert register.counts() == {State.ANCHORED: 5} and not any(path.exists() for path in paths)
        node.change = lambda found: found
        assert len(bureau.settle(register).delivered) == 5


def test_a_question_about_many_says_root_and_commitments_and_nothing_else(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        collect(bureau, register, 3)
        bureau.settle(register)
        issued = [register.require(f"{number}") for number in range(3)]
    (request,) = [each for each in bureau.node.requests if isinstance(each, DocumentsRequest)]
    (anchor,) = request.anchors
    assert anchor.commitments == tuple(each.commitment for each in issued)
    assert (request.consent_key, request.consent_id, request.from_epoch) == (None, None, 0)
    sent = pack(request)
    for each in issued:
        assert each.opening is not None
        for secret in (each.opening.salt, each.opening.content_root, each.opening.metadata, HOLDER.data):
            assert secret not in sent


def test_what_cannot_be_written_is_named_and_the_others_are(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        paths = collect(bureau, register, 4)
        paths[1].mkdir()

        async def settle() -> Settled:
            async with Served(bureau.nodes) as urls, Nodes.connect(urls) as nodes:
                return await bureau.outbox(register, nodes).settle()

        settled = asyncio.run(settle())
        assert [each.proof_path for each, _ in settled.unwritten] == [paths[1]]
        assert [path.is_file() for path in paths] == [True, False, True, True]
