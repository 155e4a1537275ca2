"""The journal: what it keeps of later epochs for a node that lost its chain and not its votes."""

from pathlib import Path

import pytest

from ledger.rules.certificates import NULLIFY, Subject, Vote
from node.consensus.config import Config
from node.consensus.core import Simplex
from node.consensus.effects import Persist
from node.consensus.journal import Amnesia, Floor, JournalRecord, VoteCast, epoch_of_record
from node.consensus.restore import find_amnesia
from node.consensus.rounds import FinalizedTip
from node.replica.journal import VoteLogJournal
from node.storage.voteframes import PAGE_SIZE
from tests.support.node_world import make_genesis

CONTENT = make_genesis().content
EARLIER = Floor(0, 7)
VOTE = VoteCast(Vote(Subject(NULLIFY, 0, 9, None, None), 1, bytes(64)))
LATER = VoteCast(Vote(Subject(NULLIFY, 2, 5, None, None), 1, bytes(64)))


def open_journal(path: Path) -> tuple[VoteLogJournal, tuple[JournalRecord, ...]]:
    journal, records, _ = VoteLogJournal.open(
        path, chain_id=CONTENT.chain_id, validator="hk-bureau", epoch=0, has_voted=False
    )
    return journal, records


def core_of(epoch: int, records: tuple[JournalRecord, ...]) -> Simplex:
    tip = FinalizedTip(0, bytes(32), None)
    return Simplex(
        Config(), CONTENT.validators, 0, epoch, records, tip, lambda subject: bytes(64), lambda signed: True
    )


def test_votes_of_later_epochs_outlive_a_rewriting_in_an_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "votes"
    journal, _ = open_journal(path)
    journal.persist(Persist((EARLIER, LATER)))
    journal.close()
    journal, records = open_journal(path)
    assert journal.ahead_of(0) == (LATER,)
    assert journal.ahead_of(2) == ()
    journal.amnesia_ended(core_of(0, records))
    journal.close()
    journal, records = open_journal(path)
    assert records == (LATER,)
    journal.amnesia_ended(core_of(3, records))
    journal.close()
    journal, records = open_journal(path)
    assert records == ()
    journal.close()


def test_every_record_tells_its_epoch() -> None:
    assert [epoch_of_record(record) for record in (EARLIER, LATER, Amnesia(4, None))] == [0, 2, 4]


def damage_last_but_one(path: Path) -> None:
    """Damage both copies of the group before the last, so that it is no torn append."""
    content = bytearray(path.read_bytes())
    content[-4 * PAGE_SIZE] ^= 1
    content[-3 * PAGE_SIZE] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("told", [(Amnesia(0, 3),), (Amnesia(0, 3), Amnesia(0, 0))])
def test_what_an_earlier_amnesia_left_does_not_hide_a_later_one(
    tmp_path: Path, told: tuple[Amnesia, ...]
) -> None:
    """It was over, votes were cast since, and they are lost: nothing that is left says so but the header."""
    path = tmp_path / "votes"
    journal, _ = open_journal(path)
    for records in (told, (VOTE,), (LATER,)):
        journal.persist(Persist(records))
    journal.close()
    damage_last_but_one(path)
    journal, found = open_journal(path)
    assert VOTE not in found and LATER in found
    assert find_amnesia(found, 0) == Amnesia(0, None)
    journal.close()
    # In a process that ended before it asked, the header alone remembers.
    journal, found = open_journal(path)
    assert find_amnesia(found, 0) == (Amnesia(0, None) if told[-1].until_view == 0 else told[-1])
    journal.close()


def test_a_process_that_ended_before_its_amnesia_was_cleared_away_clears_it_when_it_opens(
    tmp_path: Path,
) -> None:
    path = tmp_path / "votes"
    journal, _ = open_journal(path)
    journal.persist(Persist((VOTE, Amnesia(0, None), Amnesia(0, 3), Amnesia(0, 0))))
    journal.close()
    for _ in range(2):
        journal, records = open_journal(path)
        assert records == (VOTE,)
        journal.close()


def test_amnesia_that_finality_has_passed_lasts_until_its_end_is_recorded() -> None:
    assert find_amnesia((Amnesia(0, 3),), 0) == Amnesia(0, 3)
    assert find_amnesia((Amnesia(0, 3),), 1) == Amnesia(1, None)
    assert find_amnesia((Amnesia(0, 3), Amnesia(0, 0)), 0) is None


def test_the_log_is_rewritten_when_it_is_large(tmp_path: Path) -> None:
    path = tmp_path / "votes"
    journal, records, _ = VoteLogJournal.open(
        path,
        chain_id=CONTENT.chain_id,
        validator="hk-bureau",
        epoch=0,
        has_voted=False,
        compaction_size=16 * PAGE_SIZE,
    )
    core = core_of(0, records)
    sizes = []
    for _ in range(40):
        journal.persist(Persist((EARLIER,)))
        journal.finalized(core)
        sizes.append(path.stat().st_size)
    journal.close()
    assert max(sizes) < 20 * PAGE_SIZE and sizes != sorted(sizes)
