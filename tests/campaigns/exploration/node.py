"""One honest validator of the explored world between two events, and what makes two of them the same.

Rule 1: the core is the production core; it is copied by pickling, never modelled.
Rule 2: `Node.key` holds everything that later behaviour depends on, and nothing else (docs/exploration.md, The
world); `explorer.py` checks that claim on samples.
"""

import copyreg
import io
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256

from ledger.rules.certificates import (
    FINALIZE,
    NOTARIZE,
    NULLIFY,
    QuorumCertificate,
    Subject,
    ValidatorSet,
    Vote,
)
from node.consensus.config import Config
from node.consensus.core import Simplex
from node.consensus.journal import CertificateHeld, CertifyVerdict, JournalRecord, VoteCast
from node.consensus.rounds import FinalizedTip, Round
from tests.campaigns.simulation.core.signatures import make_validators

VALIDATORS_COUNT = 4
QUORUM = 3
EPOCH = 0
VALIDATORS = make_validators(VALIDATORS_COUNT)

RoundKey = tuple[int, object, object, object, object, object]


@cache
def block_hash(view: int, parent_view: int, letter: str) -> bytes:
    """Return the hash of a block: one for each view, parent and letter."""
    return sha256(f"{view}<{parent_view} {letter}".encode()).digest()


GENESIS = FinalizedTip(0, block_hash(0, 0, "genesis"), None)


def leader_of(view: int) -> int:
    """Return the leader of a view."""
    return (view + EPOCH) % VALIDATORS_COUNT


@cache
def proposal_of(view: int, parent_view: int, letter: str) -> Subject:
    """Return what a leader proposes."""
    return Subject(NOTARIZE, EPOCH, view, parent_view, block_hash(view, parent_view, letter))


def name_of(subject: Subject) -> str:
    """Return a subject as a reader of traces wants it: kind, view, letter of the block and parent."""
    if subject.kind == NULLIFY:
        return f"nullify {subject.view}"
    assert subject.parent_view is not None, "a block has a parent"
    letters = [
        letter
        for letter in "AB"
        if block_hash(subject.view, subject.parent_view, letter) == subject.block_hash
    ]
    return f"{subject.kind} {subject.view}{''.join(letters)} on {subject.parent_view}"


_SHARED: list[object] = []
_SHARED_NUMBERS: dict[int, int] = {}


def _load_shared(number: int) -> object:
    return _SHARED[number]


def _share(value: object) -> tuple[Callable[[int], object], tuple[int]]:
    """Keep a frozen value once and copy a reference to it: most of a core is votes and certificates."""
    number = _SHARED_NUMBERS.setdefault(id(value), len(_SHARED))
    if number == len(_SHARED):
        _SHARED.append(value)
    return _load_shared, (number,)


_FROZEN = (Config, FinalizedTip, QuorumCertificate, Subject, ValidatorSet, Vote)


def copy_out(core: Simplex) -> bytes:
    """Return the image of a core, from which any number of equal ones can be made."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, protocol=5)
    pickler.dispatch_table = copyreg.dispatch_table | dict.fromkeys(_FROZEN, _share)
    pickler.dump(core)
    return buffer.getvalue()


@dataclass(frozen=True, slots=True)
class Node:
    """An honest validator between two events."""

    index: int
    image: bytes
    clock_ms: int
    journal: tuple[JournalRecord, ...]
    said: frozenset[Subject]
    pending: frozenset[tuple[str, int, int, bytes]]
    has_crashed: bool
    accuses_honest: bool
    current_view: int
    finalized_view: int
    certificates: frozenset[Subject]
    position_key: tuple[object, ...]
    round_keys: tuple[RoundKey, ...]
    wrong_view: str | None = None

    def key(self, *, may_crash: bool, views: int) -> tuple[object, ...]:
        """Return what later behaviour depends on. Validators with the same views to lead share keys."""
        leads = tuple(view for view in range(1, views + 1) if leader_of(view) == self.index)
        journal = (
            journal_key(self.journal, self.finalized_view) if may_crash and not self.has_crashed else None
        )
        flags = (self.has_crashed, self.accuses_honest, self.wrong_view)
        # Beyond the last view explored nobody acts any more.
        rounds = tuple(found for found in self.round_keys if found[0] <= views)
        pending = frozenset(item for item in self.pending if item[1] <= views)
        return (leads, self.position_key, rounds, self.said, pending, journal, *flags)


def journal_key(journal: Sequence[JournalRecord], floor_view: int) -> frozenset[tuple[str, object]]:
    """Return what the journal restores: records above the floor, whoever signed the certificates."""
    found: set[tuple[str, object]] = set()
    for record in journal:
        match record:
            case VoteCast(vote) if vote.subject.view > floor_view:
                found.add(("vote", vote.subject))
            case CertificateHeld(certificate) if certificate.subject.view >= floor_view:
                found.add(("certificate", certificate.subject))
            case CertifyVerdict(_, view, _, verdict) if view > floor_view:
                found.add((verdict, view))
            case _:
                continue
    return frozenset(found)


def _round_key(found: Round, current_view: int) -> RoundKey:
    """Votes are left out (reduction: lazy votes), clocks too (time-outs are choices), and what has been decided."""
    is_open = found.view >= current_view and not {NOTARIZE, NULLIFY} & found.own.keys()
    may_finalize = not {NULLIFY, FINALIZE} & found.own.keys()
    return (
        found.view,
        frozenset(vote.subject for vote in found.own.values()),
        frozenset(certificate.subject for certificate in found.certificates.values()),
        found.certification.value,
        (found.proposal, found.is_equivocated) if may_finalize else (None, False),
        (found.is_verified, found.is_verify_requested, found.built_on) if is_open else (False, False, None),
    )


def round_keys(core: Simplex) -> tuple[RoundKey, ...]:
    rounds = core._rounds
    empty = _round_key(Round(0, 0), 0)[1:]
    keys = (_round_key(found, rounds.current_view) for found in rounds.above_finalized())
    return tuple(key for key in keys if key[1:] != empty)


def position_key(core: Simplex) -> tuple[object, ...]:
    rounds = core._rounds
    return (
        core.standing.value,
        rounds.current_view,
        rounds.finalized.view,
        rounds.finalized.block_hash,
        rounds.tip_view,
    )


def held_certificates(core: Simplex) -> frozenset[Subject]:
    rounds = core._rounds
    held = {
        certificate.subject
        for found in rounds.above_finalized()
        for certificate in found.certificates.values()
    }
    if rounds.finalized.certificate is not None:
        held.add(rounds.finalized.certificate.subject)
    return frozenset(held)
