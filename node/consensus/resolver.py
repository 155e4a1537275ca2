"""Certificates and blocks that are missing here, and answers to others (docs/consensus.md, C15).

Rule 1: what is wanted is worked out anew in each step from rounds; only when and whom to ask is remembered.
Rule 2: at most WANTED_MAX requests are in flight, one for each key; another peer is asked after a timeout.
Rule 3: a peer is served at most SERVED_PER_SECOND_MAX requests in a second.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ledger.rules.certificates import FINALIZE, NOTARIZE, NULLIFY, QuorumCertificate
from node.consensus.config import Config
from node.consensus.effects import Effect, RequestBlock, Send
from node.consensus.messages import CertificateMessage, CertificateRequest
from node.consensus.rounds import Rounds
from node.consensus.viewstates import Certification

WANTED_MAX: Final = 64
WANTED_BLOCKS_MAX: Final = 64
SERVED_PER_SECOND_MAX: Final = 128


@dataclass(frozen=True, slots=True)
class Want:
    """A certificate that is missing, and who must have it (the leader that relied on it), if anybody must."""

    view: int
    kind: str
    holder: int | None


@dataclass(slots=True)
class PendingRequest:
    """When to ask next, and how often that was done."""

    ask_at_ms: int
    attempts_count: int


class Resolver:
    """Requests in flight, and what was served to whom."""

    __slots__ = ("_blocks", "_certificates", "_config", "_epoch", "_me", "_peers_up", "_served")

    def __init__(self, config: Config, epoch: int, me: int | None) -> None:
        self._config = config
        self._epoch = epoch
        self._me = me
        self._peers_up: list[int] = []
        self._certificates: dict[tuple[int, str], PendingRequest] = {}
        self._blocks: dict[int, PendingRequest] = {}
        self._served: dict[int, tuple[int, int]] = {}

    @property
    def peers_up(self) -> list[int]:
        """Connected validators, in order."""
        return self._peers_up

    def connect(self, peer: int) -> None:
        """Note that a validator can be asked."""
        if peer not in self._peers_up:
            self._peers_up = sorted([*self._peers_up, peer])

    def disconnect(self, peer: int) -> None:
        """Note that a validator cannot be asked."""
        self._peers_up = [other for other in self._peers_up if other != peer]

    def request(self, wants: Sequence[Want], now_ms: int) -> list[Effect]:
        """Ask for what is missing and not asked for yet; stop asking for all else."""
        effects: list[Effect] = []
        requests: dict[tuple[int, str], PendingRequest] = {}
        for want in wants:
            if len(requests) >= WANTED_MAX:
                break
            key = (want.view, want.kind)
            if key in requests:
                continue
            # What a leader relied on it has now; other gaps often close by themselves in a moment.
            delay_ms = 0 if want.holder is not None else self._config.fetch_delay_ms
            request = self._certificates.get(key, PendingRequest(now_ms + delay_ms, 0))
            requests[key] = request
            peer = self._choose(want, request.attempts_count)
            if now_ms >= request.ask_at_ms and peer is not None:
                effects.append(Send(peer, CertificateRequest(self._epoch, want.view, want.kind)))
                request.ask_at_ms = now_ms + self._config.fetch_timeout_ms
                request.attempts_count += 1
        self._certificates = requests
        return effects

    def request_blocks(self, rounds: Rounds, now_ms: int) -> list[Effect]:
        """Ask for blocks that are notarized, being certified, and not known to be here."""
        effects: list[Effect] = []
        requests: dict[int, PendingRequest] = {}
        for found in rounds.above_finalized():
            if found.certification is not Certification.PENDING or found.is_block_available:
                continue
            if len(requests) >= WANTED_BLOCKS_MAX:
                break
            request = self._blocks.get(found.view, PendingRequest(now_ms, 0))
            requests[found.view] = request
            if now_ms >= request.ask_at_ms:
                certificate = found.certificates[NOTARIZE]
                signers = tuple(
                    signed.signer for signed in certificate.signatures if signed.signer != self._me
                )
                assert certificate.subject.block_hash is not None, "a notarization names a block"
                effects.append(RequestBlock(certificate.subject.block_hash, signers))
                request.ask_at_ms = now_ms + self._config.fetch_timeout_ms
                request.attempts_count += 1
        self._blocks = requests
        return effects

    def may_serve(self, peer: int, now_ms: int) -> bool:
        """Tell whether a peer's request is within its budget, and charge it."""
        second, count = self._served.get(peer, (0, 0))
        if now_ms // 1_000 != second:
            second, count = now_ms // 1_000, 0
        self._served[peer] = (second, count + 1)
        return count < SERVED_PER_SECOND_MAX

    def next_deadline_ms(self) -> int | None:
        """Return when the next request is to be repeated."""
        if not self._blocks and not self._certificates:
            return None
        requests = [*self._blocks.values()]
        if self._peers_up:
            requests.extend(self._certificates.values())
        return min((request.ask_at_ms for request in requests), default=None)

    def _choose(self, want: Want, attempts_count: int) -> int | None:
        if want.holder is not None and attempts_count % 2 == 0:
            return want.holder
        if not self._peers_up:
            return None
        return self._peers_up[(want.view + attempts_count) % len(self._peers_up)]


def find_wants(rounds: Rounds) -> list[Want]:
    """Return what is missing here: first what the current proposal lacks, then gaps above the tip."""
    wants: list[Want] = []
    current = rounds.current
    proposal = current.proposal
    if proposal is not None and proposal.parent_view is not None and not current.is_verify_requested:
        missing = find_missing_ancestry(rounds, proposal.parent_view, rounds.current_view)
        if missing is not None:
            wants.append(Want(missing[0], missing[1], current.leader))
    view: int | None = rounds.tip_view
    while len(wants) < WANTED_MAX and view is not None:
        view = rounds.find_first_gap(view, rounds.current_view)
        if view is not None:
            wants.append(Want(view, NULLIFY, None))
    return wants


def find_missing_ancestry(rounds: Rounds, parent_view: int, view: int) -> tuple[int, str] | None:
    """Return view and kind of the first certificate that a block of `view` on `parent_view` lacks."""
    if not rounds.is_certified(parent_view):
        found = rounds.find(parent_view)
        has_notarization = found is not None and NOTARIZE in found.certificates
        # A notarization that is still being certified is not missing; certifying goes on by itself.
        return None if has_notarization else (parent_view, NOTARIZE)
    gap = rounds.find_first_gap(parent_view, view)
    return None if gap is None else (gap, NULLIFY)


def find_answer(rounds: Rounds, request: CertificateRequest) -> CertificateMessage | None:
    """Return what settles a requested view, or None. Notarizations are served once certified here."""
    certificate: QuorumCertificate | None = None
    if request.view <= rounds.finalized.view:
        certificate = rounds.finalized.certificate
    else:
        found = rounds.find(request.view)
        if found is not None and request.kind != FINALIZE:
            held = dict(found.certificates)
            if not found.is_certified:
                held.pop(NOTARIZE, None)
            other = NOTARIZE if request.kind == NULLIFY else NULLIFY
            certificate = held.get(request.kind, held.get(other))
    return None if certificate is None else CertificateMessage(certificate)
