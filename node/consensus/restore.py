"""From journal to rounds and back (docs/consensus.md, C1).

Rule 1: own votes, certificates and verdicts above the floor are restored before any event is handled.
Rule 2: the snapshot holds exactly the records that restore the same rounds, for compaction.
"""

from collections.abc import Sequence

from ledger.rules.certificates import FINALIZE, NOTARIZE, NULLIFY, QuorumCertificate, Vote
from node.consensus.journal import (
    INVALID,
    VALID,
    Amnesia,
    CertificateHeld,
    CertifyVerdict,
    Floor,
    JournalRecord,
    VoteCast,
)
from node.consensus.rounds import FinalizedTip, Round, Rounds
from node.consensus.viewstates import Certification
from node.consensus.votebook import KINDS


def find_floor(journal: Sequence[JournalRecord], epoch: int, finalized: FinalizedTip) -> FinalizedTip:
    """Return the higher of the store's finality and the journal's."""
    tip = finalized
    for record in journal:
        if isinstance(record, CertificateHeld):
            subject = record.certificate.subject
            if subject.kind == FINALIZE and subject.epoch == epoch and subject.view > tip.view:
                assert subject.block_hash is not None, "a finalization names a block"
                tip = FinalizedTip(subject.view, subject.block_hash, record.certificate)
    return tip


def find_highest_floor(journal: Sequence[JournalRecord], epoch: int) -> int:
    """Return the highest floor recorded; in a damaged log its finalization may be missing."""
    return max(
        (record.view for record in journal if isinstance(record, Floor) and record.epoch == epoch), default=0
    )


def find_amnesia(journal: Sequence[JournalRecord], epoch: int) -> Amnesia | None:
    """Return the amnesia that the journal still attests: it is over when it is recorded so, and not before."""
    records = [record for record in journal if isinstance(record, Amnesia)]
    if not records or records[-1].until_view == 0:
        return None
    last = records[-1]
    return last if last.epoch == epoch else Amnesia(epoch, None)


def restore_rounds(rounds: Rounds, journal: Sequence[JournalRecord]) -> None:
    """Put back what the journal holds above the floor."""
    floor_view = rounds.finalized.view
    for record in journal:
        match record:
            case VoteCast(vote) if vote.subject.epoch == rounds.epoch and vote.subject.view > floor_view:
                _restore_vote(rounds, vote)
            case CertificateHeld(certificate) if (
                certificate.subject.epoch == rounds.epoch and certificate.subject.view > floor_view
            ):
                _restore_certificate(rounds, certificate)
            case CertifyVerdict(epoch, view, block_hash, verdict) if (
                epoch == rounds.epoch and view > floor_view
            ):
                _restore_verdict(rounds, view, block_hash, verdict)
            case _:
                continue


def take_snapshot(rounds: Rounds, amnesia: Amnesia | None) -> tuple[JournalRecord, ...]:
    """Return the records that restore these rounds."""
    records: list[JournalRecord] = []
    if rounds.finalized.certificate is not None:
        records.append(CertificateHeld(rounds.finalized.certificate))
        records.append(Floor(rounds.epoch, rounds.finalized.view))
    for found in rounds.above_finalized():
        records.extend(_snapshot_round(found, rounds.epoch))
    if amnesia is not None:
        records.append(amnesia)
    return tuple(records)


def _restore_vote(rounds: Rounds, vote: Vote) -> None:
    found = rounds.at(vote.subject.view)
    found.own[vote.subject.kind] = vote
    found.votes.add(vote)
    if vote.subject.kind == NOTARIZE:
        found.propose(vote.subject)
        if found.proposal == vote.subject:
            found.is_verified = found.is_verify_requested = found.is_block_available = True
        if vote.signer == found.leader:
            found.built_on = vote.subject.parent_view
    rounds.enter(vote.subject.view)


def _restore_certificate(rounds: Rounds, certificate: QuorumCertificate) -> None:
    view = certificate.subject.view
    found = rounds.at(view)
    found.certificates[certificate.subject.kind] = certificate
    for signed in certificate.signatures:
        found.votes.add(Vote(certificate.subject, signed.signer, signed.signature))
    if certificate.subject.kind == NOTARIZE:
        found.notarize(certificate)
        rounds.enter(view)
    elif certificate.subject.kind == NULLIFY:
        rounds.enter(view + 1)


def _restore_verdict(rounds: Rounds, view: int, block_hash: bytes, verdict: str) -> None:
    found = rounds.at(view)
    notarization = found.certificates.get(NOTARIZE)
    if notarization is None or notarization.subject.block_hash != block_hash:
        return  # In a damaged log the notarization may be missing; the block is then certified again.
    if verdict == VALID:
        rounds.certify(view)
        rounds.enter(view + 1)
    else:
        found.certification = Certification.INVALID


def _snapshot_round(found: Round, epoch: int) -> list[JournalRecord]:
    records: list[JournalRecord] = [
        CertificateHeld(found.certificates[kind]) for kind in KINDS if kind in found.certificates
    ]
    verdicts = {Certification.VALID: VALID, Certification.INVALID: INVALID}
    notarization = found.certificates.get(NOTARIZE)
    if notarization is not None and found.certification in verdicts:
        assert notarization.subject.block_hash is not None, "a notarization names a block"
        verdict = verdicts[found.certification]
        records.append(CertifyVerdict(epoch, found.view, notarization.subject.block_hash, verdict))
    records.extend(VoteCast(found.own[kind]) for kind in KINDS if kind in found.own)
    return records
