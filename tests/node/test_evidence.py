"""Evidence of many documents in one question: what each alone would be answered, of one state, bounded."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from ledger.encoding.records import from_json, to_json
from ledger.errors import EncodingError, LedgerError
from ledger.proofs import Evidence, EvidenceRequest
from ledger.rules.operations import AnchorBatch, RevokeDocument
from ledger.rules.state import Anchor, Member, anchor_key, decode_leaf, member_key
from ledger.trees.statepages import PageSource, prove
from ledger.trees.statetree import AbsenceProof, InclusionProof
from node import evidence as evidence_module
from node.errors import NotReady
from node.evidence import (
    DOCUMENTS_MAX,
    PIECE_COUNT,
    AskedAnchor,
    DocumentsEvidence,
    DocumentsRequest,
    TooLarge,
    UnknownLeaf,
)
from tests.support.consortium import REPORT, make_grant, make_transaction
from tests.support.memory_node import MemoryNode
from tests.support.story import ISSUER, Story, running, tell

OTHER = "sz-operator"
GRANT = make_grant()


def hash_of(number: int) -> bytes:
    return number.to_bytes(32, "big")


def asked(*anchors: AskedAnchor, consent: bool = False, from_epoch: int = 0) -> DocumentsRequest:
    if not consent:
        return DocumentsRequest(anchors, None, None, from_epoch)
    return DocumentsRequest(anchors, GRANT.decoded().consent_key, GRANT.consent_id, from_epoch)


def documents(root: int, *commitments: int, issuer: str = ISSUER) -> AskedAnchor:
    return AskedAnchor(issuer, hash_of(root), tuple(map(hash_of, commitments)))


@pytest.fixture
def node() -> MemoryNode:
    """A node with three anchors, one revoked document and one consent."""
    node = MemoryNode()
    for root in (1, 2):
        node.extend(make_transaction(ISSUER, AnchorBatch(hash_of(root), 2_000, REPORT, None)))
    node.extend(make_transaction(ISSUER, RevokeDocument(hash_of(13), "error")))
    node.extend(make_transaction("hk-operator", GRANT))
    return node


def answer(node: MemoryNode, request: DocumentsRequest) -> DocumentsEvidence:
    return asyncio.run(node.documents_evidence(request))


def alone(node: MemoryNode, request: DocumentsRequest) -> Iterator[Evidence | None]:
    """Yield what a question for each document alone is answered."""
    for each in request.anchors:
        for commitment in each.commitments:
            one = EvidenceRequest(
                each.issuer,
                each.root,
                commitment,
                request.consent_key,
                request.consent_id,
                request.from_epoch,
            )
            try:
                yield node.evidence(one)
            except LedgerError as error:
                assert error.code == "revoked"
                yield None


@pytest.mark.parametrize("consent", [False, True])
def test_each_document_has_the_evidence_that_a_question_of_its_own_gets(
    node: MemoryNode, consent: bool
) -> None:
    many = range(100, 100 + 2 * PIECE_COUNT + 1)
    request = asked(documents(1, 11, 13, 12), documents(2, *many), documents(2, 13), consent=consent)
    found = answer(node, request)
    found.check_answers(request)
    assert [*found.each(request)] == [*alone(node, request)]
    assert [each is None for each in found.each(request)][:3] == [False, True, False], (
        "13 is revoked, and it alone"
    )
    assert len(found.issuers) == 1 and (found.consent is not None) == consent
    leaf = found.anchors[1].anchor
    assert decode_leaf(Anchor, anchor_key(ISSUER, hash_of(2)), leaf.value).root == hash_of(2)


def test_an_answer_survives_its_json_form(node: MemoryNode) -> None:
    request = asked(documents(1, 11, 13), documents(2, 12), consent=True)
    found = answer(node, request)
    assert from_json(DocumentsEvidence, to_json(found)) == found
    assert from_json(DocumentsRequest, to_json(request)) == request


def test_what_is_not_recorded_refuses_the_whole_question(node: MemoryNode) -> None:
    for request in (
        asked(documents(1, 11), documents(3, 12)),
        asked(documents(1, 11, issuer=OTHER)),
        asked(documents(1, 11, issuer="nobody")),
        DocumentsRequest((documents(1, 11),), GRANT.decoded().consent_key, hash_of(9), 0),
        DocumentsRequest((documents(1, 11),), GRANT.decoded().consent_key, None, 0),
        DocumentsRequest((documents(1, 11),), None, GRANT.consent_id, 0),
    ):
        with pytest.raises(UnknownLeaf):
            answer(node, request)
    with pytest.raises(NotReady):
        answer(MemoryNode(), asked(documents(1, 11)))


def test_as_many_documents_as_are_allowed_are_proven_and_one_more_is_refused(node: MemoryNode) -> None:
    most = asked(documents(1, *range(1_000, 1_000 + DOCUMENTS_MAX - 1)), documents(2, 1))
    found = answer(node, most)
    assert len([*found.each(most)]) == DOCUMENTS_MAX
    with pytest.raises(EncodingError, match=f"at most {DOCUMENTS_MAX}") as refused:
        asked(*most.anchors, documents(2, 2))
    assert refused.value.cure is not None and "fewer" in refused.value.cure
    encoded = to_json(most)
    encoded["anchors"] = [to_json(documents(1, *range(DOCUMENTS_MAX))), to_json(documents(2, 1))]
    with pytest.raises(EncodingError):
        from_json(DocumentsRequest, encoded)
    encoded["anchors"] = [{**to_json(documents(1, 1)), "commitments": []}]
    with pytest.raises(EncodingError):
        from_json(DocumentsRequest, encoded)


def test_an_answer_that_grows_too_large_is_refused(node: MemoryNode, monkeypatch: pytest.MonkeyPatch) -> None:
    request = asked(documents(1, *range(1_000, 1_000 + PIECE_COUNT)))
    found = answer(node, request)
    sizes = [
        len(each.proof.siblings) * 32 + len(each.value) for each in (found.anchors[0].anchor, *found.issuers)
    ]
    for proof in found.anchors[0].unrevoked:
        assert proof is not None
        sizes.append(len(proof.siblings) * 32 + (0 if proof.other is None else 64))
    monkeypatch.setattr(evidence_module, "DOCUMENTS_SIZE_MAX", sum(sizes))
    assert answer(node, request) == found
    monkeypatch.setattr(evidence_module, "DOCUMENTS_SIZE_MAX", sum(sizes) - 1)
    with pytest.raises(TooLarge) as refused:
        answer(node, request)
    assert refused.value.cure is not None and "fewer" in refused.value.cure


def test_a_turn_proves_a_piece_and_no_more(node: MemoryNode, monkeypatch: pytest.MonkeyPatch) -> None:
    proven: list[int] = []

    def counted(source: PageSource, root: bytes, key: bytes) -> InclusionProof | AbsenceProof:
        proven[-1] += 1
        return prove(source, root, key)

    @asynccontextmanager
    async def turn() -> AsyncIterator[None]:
        proven.append(0)
        yield

    monkeypatch.setattr(evidence_module, "prove", counted)
    request = asked(documents(1, *range(1_000, 1_000 + 3 * PIECE_COUNT)), documents(2, 1))
    at, path = node._certified(), node._path()
    asyncio.run(node._prover().documents_evidence(request, at, path, turn=turn))
    # The first has the anchor and the issuer beside its documents; the last only gathers what was found.
    assert proven == [PIECE_COUNT + 2, PIECE_COUNT, PIECE_COUNT, 2, 0]


@pytest.mark.parametrize(
    "change",
    [
        lambda found: {"issuers": found.issuers * 2},
        lambda found: {"anchors": found.anchors[:1]},
        lambda found: {"anchors": found.anchors[::-1]},
    ],
)
def test_an_answer_to_another_question_is_found(node: MemoryNode, change: object) -> None:
    request = asked(documents(1, 11, 12), documents(2, 14))
    found = answer(node, request)
    encoded = {name: getattr(found, name) for name in ("at", "trust_path", "issuers", "anchors", "consent")}
    other = DocumentsEvidence(**{**encoded, **change(found)})  # type: ignore[operator]
    with pytest.raises(LedgerError, match="expected 1 issuers"):
        other.check_answers(request)


# A running node.


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    told = tell(tmp_path_factory.mktemp("story"))
    yield told
    told.world.close()


def test_a_running_node_answers_as_it_does_for_each_alone(story: Story) -> None:
    node, proof = running(story.world), story.proof
    commitments = (proof.opening.commitment(), hash_of(1), hash_of(2))
    for key, identity in ((None, None), (story.consent_key.public, story.consent.consent_id)):
        request = DocumentsRequest((AskedAnchor(ISSUER, proof.anchor_root, commitments),), key, identity, 0)
        found = asyncio.run(node.documents_evidence(request))
        expected = [
            node.evidence(EvidenceRequest(ISSUER, proof.anchor_root, each, key, identity, 0))
            for each in commitments
        ]
        assert [*found.each(request)] == expected
        assert decode_leaf(Member, member_key(ISSUER), found.issuers[0].value).id == ISSUER


def test_all_of_an_answer_is_of_one_state_whatever_becomes_final_meanwhile(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, proof = running(story.world), story.proof
    late = hash_of(77)
    commitments = (*map(hash_of, range(PIECE_COUNT)), late)
    request = DocumentsRequest((AskedAnchor(ISSUER, proof.anchor_root, commitments),), None, None, 0)
    before = node.status()
    taken = 0
    turn = node._turns.turn

    @asynccontextmanager
    async def turn_and_block() -> AsyncIterator[None]:
        nonlocal taken
        taken += 1
        if taken == 2:  # the document is revoked before the piece that proves it
            story.send(ISSUER, RevokeDocument(late, "error"))
        async with turn():
            yield

    monkeypatch.setattr(node._turns, "turn", turn_and_block)
    found = asyncio.run(node.documents_evidence(request))
    assert taken == 3 and node.status().height > before.height
    assert found.anchors[0].unrevoked[-1] is not None, "as of the header that it names, it stands"
    for each in found.each(request):
        assert each is not None and each.header == found.at.header
    asked_again = asyncio.run(running(story.world).documents_evidence(request))
    assert asked_again.anchors[0].unrevoked[-1] is None
