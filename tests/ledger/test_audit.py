"""The audit: a clean chain is clean, and every kind of tampering is named with block and record."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from ledger.audit import DEEDS, DEEDS_SHOWN, VERIFICATIONS, Audit, AuditReport
from ledger.encoding.records import pack, unpack
from ledger.rules.blocks import Block, EncodedHeader
from ledger.rules.certificates import QuorumCertificate
from ledger.rules.operations import OPERATION_CLASSES, RecordVerification
from ledger.rules.proposals import ChangeNames
from ledger.rules.state import Anchor, anchor_key
from tests.support.consortium import Ledger, make_genesis
from tests.support.governors import enact
from tests.support.story import BANK, ISSUER, RELAY, Story, tell

Blocks = list[tuple[Block, QuorumCertificate | None]]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    story = tell(tmp_path_factory.mktemp("audit"))
    operation = RecordVerification(
        story.consent_key.public, story.consent.consent_id, 0, bytes(32), "verified"
    )
    story.send(BANK, operation)
    story.send(RELAY, story.consent.withdrawal)
    yield story
    story.world.close()


def blocks_of(story: Story) -> Blocks:
    store = story.world.nodes["hk-operator"].store
    found: Blocks = []
    for height in range(1, store.tip().header.height + 1):
        block = store.load_block(height)
        assert block is not None
        found.append((block, store.find_certificate(height)))
    return found


def replay(story: Story, blocks: Blocks) -> tuple[Audit, AuditReport]:
    audit = Audit(story.world.genesis)
    for block, certificate in blocks:
        if not audit.replay(block, certificate):
            break
    return audit, audit.finish()


def test_a_clean_chain_says_who_did_what(story: Story) -> None:
    audit, report = replay(story, blocks_of(story))
    store = story.world.nodes["hk-operator"].store
    audit.check_state(store.values())
    audit.check_pages(store.pages())
    assert report.is_clean
    assert report.final_height == report.height == store.tip().header.height
    assert report.documents[ISSUER] == 5
    assert report.deeds[VERIFICATIONS][BANK] == 1
    use = report.consents[story.consent.consent_id]
    assert (use.sources, use.recipient, len(use.verification_heights)) == (("HK",), BANK, 1)
    assert use.ended_height is not None


def test_the_audit_knows_what_each_operation_counts_as() -> None:
    assert set(DEEDS) == set(OPERATION_CLASSES)
    for shown in ("name", "words"):
        assert len({getattr(deed, shown) for deed in DEEDS_SHOWN}) == len(DEEDS_SHOWN)


def test_an_altered_stored_record_is_named_with_its_block(story: Story) -> None:
    audit, report = replay(story, blocks_of(story))
    key = anchor_key(ISSUER, story.proof.anchor_root)
    store = story.world.nodes["hk-operator"].store
    stored = dict(store.values())
    anchor = unpack(Anchor, stored[key])
    stored[key] = pack(replace(anchor, leaf_count=6))
    audit.check_state(stored.items())
    (finding,) = report.findings
    assert finding.height == anchor.height
    assert key.hex() in finding.record
    assert "anchor" in finding.expected
    assert finding.expected != finding.found


def test_a_missing_and_an_added_record_are_findings(story: Story) -> None:
    audit, report = replay(story, blocks_of(story))
    stored = dict(story.world.nodes["hk-operator"].store.values())
    del stored[anchor_key(ISSUER, story.proof.anchor_root)]
    stored[bytes(32)] = b"\x90"
    audit.check_state(stored.items())
    assert {finding.found == "nothing" for finding in report.findings} == {True, False}


def test_an_altered_page_is_a_finding(story: Story) -> None:
    audit, report = replay(story, blocks_of(story))
    pages = dict(story.world.nodes["hk-operator"].store.pages())
    path, page = next(iter(pages.items()))
    pages[path] = page[:-1] + bytes([page[-1] ^ 1])
    audit.check_pages(pages.items())
    assert [path.hex() in finding.record for finding in report.findings] == [True]


def test_a_derived_page_is_named_only_where_nothing_else_is(story: Story) -> None:
    store = story.world.nodes["hk-operator"].store
    pages = dict(store.pages())
    derived, path = (min(path for path in pages if (path[-1] == 0) is is_root) for is_root in (True, False))
    damaged = dict.fromkeys((derived, path), b"another")

    def named(changed: dict[bytes, bytes], values: dict[bytes, bytes]) -> list[str]:
        audit, report = replay(story, blocks_of(story))
        audit.check_state(values.items())
        audit.check_pages((pages | changed).items(), lambda each: each == derived)
        return [finding.record for finding in report.findings]

    whole = dict(store.values())
    short = dict(list(whole.items())[1:])
    assert named({}, whole) == []
    assert named({derived: b"another"}, whole) == [f"state page {derived.hex()}"]
    assert named(damaged, whole) == [f"state page {path.hex()}"]
    (record,) = named({derived: b"another"}, short)
    assert record.startswith("state record")


def test_a_missing_derived_page_is_named(story: Story) -> None:
    audit, report = replay(story, blocks_of(story))
    pages = dict(story.world.nodes["hk-operator"].store.pages())
    del pages[b"\x00"]
    audit.check_pages(pages.items(), lambda path: path == b"\x00")
    assert [(finding.record, finding.found) for finding in report.findings] == [("state page 00", "nothing")]


def test_a_block_left_out_stops_the_replay(story: Story) -> None:
    blocks = blocks_of(story)
    _, report = replay(story, blocks[:1] + blocks[2:])
    assert not report.is_clean
    assert report.height == blocks[0][0].header.height


def test_a_header_with_another_state_root_is_named(story: Story) -> None:
    blocks = blocks_of(story)
    block, certificate = blocks[1]
    forged = EncodedHeader.encode(replace(block.header, state_root=bytes(32)))
    blocks[1] = (Block(forged, block.transactions), certificate)
    _, report = replay(story, blocks)
    assert "state_root" in report.findings[0].record


def test_a_certificate_of_another_block_is_a_finding(story: Story) -> None:
    blocks = blocks_of(story)
    blocks[0] = (blocks[0][0], blocks[-1][1])
    _, report = replay(story, blocks)
    assert report.findings[0].record == "quorum certificate"


def test_a_last_block_without_certificate_is_a_finding(story: Story) -> None:
    blocks = blocks_of(story)
    blocks[-1] = (blocks[-1][0], None)
    _, report = replay(story, blocks)
    assert "certificate" in report.findings[0].record


def test_members_have_the_names_that_governors_gave_them_last() -> None:
    ledger = Ledger.start()
    enact(ledger, ChangeNames(BANK, "新名", "新名字", "New name"), 0)
    audit = Audit(make_genesis())
    assert audit.finish().member_names[BANK] != "New name"
    assert all(audit.replay(executed.block, None) for executed in ledger.blocks)
    names = audit.finish().member_names
    assert names[BANK] == "New name"
    assert set(names) == {member.id for member in make_genesis().content.members}
