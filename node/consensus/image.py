"""The image of a core: all of its state between two events, as records, and a core made of it again (docs/core-log.md).

Rule 1: an image holds data alone. What a core signs and verifies with is given by whoever makes a core of it.
Rule 2: a core made of an image decides as the first one goes on to, and has the same image.
Rule 3: an image from a stranger makes objects of the classes named here, of bounded size, and nothing else; what does
not fit is refused. It may describe a core that never was: that one can fail at any assertion of the core's.

One record has the state of the core, one each the rounds, which may be many where much is undecided.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Final

from ledger.encoding.records import Code, Hash, Height, Items, Milliseconds, Uint
from ledger.errors import EncodingError
from ledger.rules.certificates import (
    VALIDATORS_MAX,
    Kind,
    QuorumCertificate,
    Subject,
    ValidatorIndex,
    ValidatorSet,
    Vote,
)
from node.consensus.config import Config
from node.consensus.core import Simplex
from node.consensus.effects import (
    BAD_ANSWER,
    BAD_CERTIFICATE,
    BAD_SIGNATURE,
    CONFLICTING_VOTES,
    FOREIGN_VOTE,
    NOT_THE_LEADER,
)
from node.consensus.journal import Amnesia
from node.consensus.messages import Pace
from node.consensus.pacemaker import PeerPace
from node.consensus.resolver import WANTED_BLOCKS_MAX, WANTED_MAX, PendingRequest
from node.consensus.rounds import FinalizedTip, Round
from node.consensus.startup import Participation
from node.consensus.viewstates import Certification
from node.consensus.votebook import KINDS
from node.consensus.voter import (
    INVALID_PROPOSAL,
    LEADER_EQUIVOCATED,
    LEADER_NULLIFIED,
    NO_BLOCK,
    NOT_CERTIFIABLE,
)

DURATIONS_COUNT: Final = len(fields(Config))
PUNISHMENTS: Final = (
    BAD_SIGNATURE,
    FOREIGN_VOTE,
    NOT_THE_LEADER,
    BAD_CERTIFICATE,
    BAD_ANSWER,
    CONFLICTING_VOTES,
)
LATCHES: Final = (NO_BLOCK, INVALID_PROPOSAL, NOT_CERTIFIABLE, LEADER_NULLIFIED, LEADER_EQUIVOCATED)

Flag = Annotated[int, Uint(1)]
"""The codec has no booleans: 0 is no, 1 is yes."""
Count = Annotated[int, Uint(2**53 - 1)]


@dataclass(frozen=True, slots=True)
class PeerTime:
    """When something was, or is due, with a peer."""

    peer: ValidatorIndex
    time_ms: Milliseconds


@dataclass(frozen=True, slots=True)
class PeerAnswer:
    """The highest certified view in a peer's answer."""

    peer: ValidatorIndex
    view: Height


@dataclass(frozen=True, slots=True)
class PeerServed:
    """How many requests of a peer were served in a second."""

    peer: ValidatorIndex
    second: Milliseconds
    count: Count


@dataclass(frozen=True, slots=True)
class PeerSignal:
    """The pace that a peer told last."""

    peer: ValidatorIndex
    pace: Pace
    view: Height
    stale_at_ms: Milliseconds


@dataclass(frozen=True, slots=True)
class Punished:
    """What a peer was punished for while it is connected."""

    peer: ValidatorIndex
    reason: Annotated[str, Code(PUNISHMENTS)]


@dataclass(frozen=True, slots=True)
class CertificateWanted:
    """A request for a certificate."""

    view: Height
    kind: Kind
    ask_at_ms: Milliseconds
    attempts_count: Count


@dataclass(frozen=True, slots=True)
class BlockWanted:
    """A request for the block of a view."""

    view: Height
    ask_at_ms: Milliseconds
    attempts_count: Count


@dataclass(frozen=True, slots=True)
class PacemakerImage:
    """The pacemaker's data."""

    has_work: Flag
    certified_at_ms: Milliseconds
    last_block_at_ms: Milliseconds
    unfinalized_since_ms: Milliseconds | None
    heard: Annotated[tuple[PeerTime, ...], Items(VALIDATORS_MAX)]
    signals: Annotated[tuple[PeerSignal, ...], Items(VALIDATORS_MAX)]
    announced_view: Height
    announced_pace: Pace
    has_shown_work: Flag
    status_at_ms: Milliseconds


@dataclass(frozen=True, slots=True)
class ResolverImage:
    """The resolver's data."""

    peers_up: Annotated[tuple[ValidatorIndex, ...], Items(VALIDATORS_MAX)]
    certificates: Annotated[tuple[CertificateWanted, ...], Items(WANTED_MAX)]
    blocks: Annotated[tuple[BlockWanted, ...], Items(WANTED_BLOCKS_MAX)]
    served: Annotated[tuple[PeerServed, ...], Items(VALIDATORS_MAX)]


@dataclass(frozen=True, slots=True)
class StartupImage:
    """The data of the question at the start."""

    standing: Annotated[str, Code(tuple(each.value for each in Participation))]
    amnesia: Amnesia | None
    answers: Annotated[tuple[PeerAnswer, ...], Items(VALIDATORS_MAX)]
    ask_at_ms: Milliseconds
    forgotten_view: Height


@dataclass(frozen=True, slots=True)
class CoreImage:
    """All of a core but its rounds, of which `rounds_count` follow."""

    durations_ms: Annotated[tuple[Milliseconds, ...], Items(DURATIONS_COUNT, minimum=DURATIONS_COUNT)]
    validators: ValidatorSet
    me: ValidatorIndex | None
    epoch: Height
    stored_view: Height
    finalized_view: Height
    finalized_hash: Hash
    finalization: QuorumCertificate | None
    tip_view: Height
    current_view: Height
    is_started: Flag
    now_ms: Milliseconds
    standstill_at_ms: Milliseconds
    standstill_finalized_view: Height
    standstill_from_view: Height
    helped: Annotated[tuple[PeerTime, ...], Items(VALIDATORS_MAX)]
    punished: Annotated[tuple[Punished, ...], Items(VALIDATORS_MAX * len(PUNISHMENTS))]
    pacemaker: PacemakerImage
    resolver: ResolverImage
    startup: StartupImage
    rounds_count: Count


@dataclass(frozen=True, slots=True)
class RoundImage:
    """One view. Votes of others and of this node stand apart, as in the core."""

    view: Height
    votes: Annotated[tuple[Vote, ...], Items(VALIDATORS_MAX * len(KINDS))]
    accused: Annotated[tuple[ValidatorIndex, ...], Items(VALIDATORS_MAX)]
    certificates: Annotated[tuple[QuorumCertificate, ...], Items(len(KINDS))]
    own: Annotated[tuple[Vote, ...], Items(len(KINDS))]
    certification: Annotated[str, Code(tuple(each.value for each in Certification))]
    proposal: Subject | None
    is_verified: Flag
    is_verify_requested: Flag
    is_equivocated: Flag
    is_block_available: Flag
    built_on: Height | None
    clock_started_ms: Milliseconds | None
    leader_deadline_ms: Milliseconds | None
    advance_deadline_ms: Milliseconds | None
    retry_at_ms: Milliseconds | None
    latched: Annotated[str, Code(LATCHES)] | None


def take_image(core: Simplex) -> tuple[CoreImage, tuple[RoundImage, ...]]:
    """Return the image of a core. Raises EncodingError where it is not between two events."""
    emission, voter = core._emission, core._voter
    if emission._records or emission._effects or voter._dirty:
        raise EncodingError(where="core", expected="a core between two events", found="one within an event")
    rounds = core._rounds
    image = CoreImage(
        durations_ms=tuple(getattr(core._config, field.name) for field in fields(Config)),
        validators=rounds.validators,
        me=core._me,
        epoch=rounds.epoch,
        stored_view=core._stored_view,
        finalized_view=rounds.finalized.view,
        finalized_hash=rounds.finalized.block_hash,
        finalization=rounds.finalized.certificate,
        tip_view=rounds.tip_view,
        current_view=rounds.current_view,
        is_started=int(core._is_started),
        now_ms=core._now_ms,
        standstill_at_ms=core._standstill_at_ms,
        standstill_finalized_view=core._standstill_finalized_view,
        standstill_from_view=core._standstill_from_view,
        helped=tuple(PeerTime(*each) for each in core._helped_at_ms.items()),
        punished=tuple(Punished(*each) for each in sorted(emission._punished)),
        pacemaker=_pacemaker_of(core),
        resolver=_resolver_of(core),
        startup=_startup_of(core),
        rounds_count=len(rounds),
    )
    return image, tuple(_round_image(found) for found in rounds._rounds.values())


def _pacemaker_of(core: Simplex) -> PacemakerImage:
    pacemaker = core._pacemaker
    announced_view, announced_pace = pacemaker._announced
    return PacemakerImage(
        has_work=int(pacemaker._has_work),
        certified_at_ms=pacemaker._certified_at_ms,
        last_block_at_ms=pacemaker._last_block_at_ms,
        unfinalized_since_ms=pacemaker._unfinalized_since_ms,
        heard=tuple(PeerTime(*each) for each in pacemaker._heard_at_ms.items()),
        signals=tuple(
            PeerSignal(peer, told.pace, told.view, told.stale_at_ms)
            for peer, told in pacemaker._paces.items()
        ),
        announced_view=announced_view,
        announced_pace=announced_pace,
        has_shown_work=int(pacemaker._has_shown_work),
        status_at_ms=pacemaker._status_at_ms,
    )


def _resolver_of(core: Simplex) -> ResolverImage:
    resolver = core._resolver
    return ResolverImage(
        peers_up=tuple(resolver._peers_up),
        certificates=tuple(
            CertificateWanted(view, kind, request.ask_at_ms, request.attempts_count)
            for (view, kind), request in resolver._certificates.items()
        ),
        blocks=tuple(
            BlockWanted(view, request.ask_at_ms, request.attempts_count)
            for view, request in resolver._blocks.items()
        ),
        served=tuple(PeerServed(peer, *served) for peer, served in resolver._served.items()),
    )


def _startup_of(core: Simplex) -> StartupImage:
    startup = core._startup
    return StartupImage(
        standing=startup.standing.value,
        amnesia=startup.amnesia,
        answers=tuple(PeerAnswer(*each) for each in startup._answers.items()),
        ask_at_ms=startup._ask_at_ms,
        forgotten_view=startup._forgotten_view,
    )


def _round_image(found: Round) -> RoundImage:
    book = found.votes
    return RoundImage(
        view=found.view,
        votes=tuple(vote for kind in KINDS for vote in book._votes[kind].values()),
        accused=tuple(sorted(book._accused)),
        certificates=tuple(found.certificates.values()),
        own=tuple(found.own.values()),
        certification=found.certification.value,
        proposal=found.proposal,
        is_verified=int(found.is_verified),
        is_verify_requested=int(found.is_verify_requested),
        is_equivocated=int(found.is_equivocated),
        is_block_available=int(found.is_block_available),
        built_on=found.built_on,
        clock_started_ms=found.clock_started_ms,
        leader_deadline_ms=found.leader_deadline_ms,
        advance_deadline_ms=found.advance_deadline_ms,
        retry_at_ms=found.retry_at_ms,
        latched=found.latched,
    )


def make_core(
    image: CoreImage,
    rounds: Iterable[RoundImage],
    *,
    sign: Callable[[Subject], bytes],
    verify: Callable[[Vote | QuorumCertificate], bool],
) -> Simplex:
    """Return the core of an image, which signs and verifies as given. Raises LedgerError where it describes none."""
    _check_peers(image)
    finalized = FinalizedTip(image.finalized_view, image.finalized_hash, image.finalization)
    core = Simplex(
        Config(*image.durations_ms),
        image.validators,
        image.me,
        image.epoch,
        (),
        finalized,
        None if image.me is None else sign,
        verify,
    )
    core._stored_view = image.stored_view
    core._is_started = bool(image.is_started)
    core._now_ms = image.now_ms
    core._standstill_at_ms = image.standstill_at_ms
    core._standstill_finalized_view = image.standstill_finalized_view
    core._standstill_from_view = image.standstill_from_view
    core._helped_at_ms = {each.peer: each.time_ms for each in image.helped}
    core._emission._punished = {(each.peer, each.reason) for each in image.punished}
    core._rounds.tip_view = image.tip_view
    core._rounds.current_view = image.current_view
    for each in rounds:
        core._rounds._rounds[each.view] = _make_round(core, each)
    if len(core._rounds) != image.rounds_count:
        raise _misfit("rounds", f"{image.rounds_count} views, each once", f"{len(core._rounds)}")
    _put_pacemaker(core, image.pacemaker)
    _put_resolver(core, image.resolver)
    _put_startup(core, image.startup)
    return core


def _put_pacemaker(core: Simplex, image: PacemakerImage) -> None:
    pacemaker = core._pacemaker
    pacemaker._has_work = bool(image.has_work)
    pacemaker._certified_at_ms = image.certified_at_ms
    pacemaker._last_block_at_ms = image.last_block_at_ms
    pacemaker._unfinalized_since_ms = image.unfinalized_since_ms
    pacemaker._heard_at_ms = {each.peer: each.time_ms for each in image.heard}
    pacemaker._paces = {each.peer: PeerPace(each.pace, each.view, each.stale_at_ms) for each in image.signals}
    pacemaker._announced = (image.announced_view, image.announced_pace)
    pacemaker._has_shown_work = bool(image.has_shown_work)
    pacemaker._status_at_ms = image.status_at_ms


def _put_resolver(core: Simplex, image: ResolverImage) -> None:
    resolver = core._resolver
    resolver._peers_up = list(image.peers_up)
    resolver._certificates = {
        (each.view, each.kind): PendingRequest(each.ask_at_ms, each.attempts_count)
        for each in image.certificates
    }
    resolver._blocks = {
        each.view: PendingRequest(each.ask_at_ms, each.attempts_count) for each in image.blocks
    }
    resolver._served = {each.peer: (each.second, each.count) for each in image.served}


def _put_startup(core: Simplex, image: StartupImage) -> None:
    startup = core._startup
    startup.standing = Participation(image.standing)
    startup.amnesia = image.amnesia
    startup._answers = {each.peer: each.view for each in image.answers}
    startup._ask_at_ms = image.ask_at_ms
    startup._forgotten_view = image.forgotten_view


def _make_round(core: Simplex, image: RoundImage) -> Round:
    found = Round(image.view, core._rounds.leader_of(image.view))
    signers = [vote.signer for vote in (*image.votes, *image.own)]
    _check_indices(len(core.validators), [*signers, *image.accused])
    for vote in image.votes:
        found.votes.add(vote)
    found.votes._accused = set(image.accused)
    found.certificates = {each.subject.kind: each for each in image.certificates}
    found.own = {vote.subject.kind: vote for vote in image.own}
    found.certification = Certification(image.certification)
    found.proposal = image.proposal
    found.is_verified = bool(image.is_verified)
    found.is_verify_requested = bool(image.is_verify_requested)
    found.is_equivocated = bool(image.is_equivocated)
    found.is_block_available = bool(image.is_block_available)
    found.built_on = image.built_on
    found.clock_started_ms = image.clock_started_ms
    found.leader_deadline_ms = image.leader_deadline_ms
    found.advance_deadline_ms = image.advance_deadline_ms
    found.retry_at_ms = image.retry_at_ms
    found.latched = image.latched
    return found


def _check_peers(image: CoreImage) -> None:
    told: Sequence[PeerTime | PeerAnswer | PeerServed | PeerSignal | Punished] = (
        *image.helped,
        *image.punished,
        *image.pacemaker.heard,
        *image.pacemaker.signals,
        *image.resolver.served,
        *image.startup.answers,
    )
    own = [] if image.me is None else [image.me]
    _check_indices(len(image.validators), [*own, *image.resolver.peers_up, *(each.peer for each in told)])


def _check_indices(validators_count: int, indices: Iterable[int]) -> None:
    highest = max(indices, default=0)
    if highest >= validators_count:
        raise _misfit("validator index", f"one below {validators_count}", f"{highest}")


def _misfit(where: str, expected: str, found: str) -> EncodingError:
    return EncodingError(where=where, expected=expected, found=found)
