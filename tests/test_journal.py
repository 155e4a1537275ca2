"""The journal: what it keeps of later epochs for a node that lost its chain and not its votes."""

from pathlib import Path

from ledger.certificates import NULLIFY, Subject, Vote
from node.consensus.config import Config
from node.consensus.core import Simplex
from node.consensus.effects import Persist
from node.consensus.journal import Amnesia, Floor, JournalRecord, VoteCast, epoch_of_record
from node.consensus.rounds import FinalizedTip
from node.journal import VoteLogJournal
from tests.node_world import make_genesis

CONTENT = make_genesis().content
EARLIER = Floor(0, 7)
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
