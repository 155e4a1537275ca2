"""The ledger as several nodes show it: proven under a trusted root; without one, told (docs/proven-and-told.md).

Rule 1: with a trusted root nothing counts that evidence under it does not show: the verifier's own functions reach the
header from the root, and the leaf from the header. The key that is looked up is computed here.
Rule 2: a lasting fact counts under any header. A passing one, and that there is nothing, counts under a fresh one.
Rule 3: one answer is too few where it is missing, does not verify, is stale, shows something else than was asked for,
or is a refusal. Then the next node is asked, until one settles the question or none is left. For a passing fact all are
asked at once, and the newest header counts: a liar may show what was true a moment ago.
Rule 4: an act has ended when evidence shows what it was for. What a node says of the submission decides nothing.
Rule 5: two blocks of one height that both verify mean that more than f validators signed both: nothing is believed.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeGuard, TypeVar

from ledger.errors import LedgerError
from ledger.proofs import Evidence, EvidenceRequest, require_leaf, verify_leaf
from ledger.rules.blocks import EncodedHeader
from ledger.rules.state import (
    PARAMETERS_KEY,
    Anchor,
    Consent,
    Leaf,
    Member,
    Node,
    Parameters,
    Purpose,
    Schema,
    anchor_key,
    consent_key,
    member_key,
    node_key,
    purpose_key,
    revocation_key,
    schema_key,
)
from ledger.selftest import require_fit
from ledger.trees.statetree import verify_absent
from ledger.trust import Pins, TrustedRoot, verify_header
from node.client.answers import Answer, Proven, Recorded, Told
from node.client.client import Client, Result
from node.client.nodes import BUSY_CODES, Nodes
from node.errors import BadAnswer, ClientError, RefusedByNode, Unproven, Unreachable
from node.localtime import show_time

FRESH_MS: Final = 5 * 60_000
"""How much older than the clock here a fresh header may be. An idle network makes a block every 10 s."""
AHEAD_MS: Final = 60_000
"""How much later than the clock here it may be."""
HEADERS_REMEMBERED_MAX: Final = 256

OTHERS_CURE: Final = "Ask more nodes, of both sides: --url may be repeated. Nothing was destroyed; try again."
CLOCK_CURE: Final = (
    "Check the clock of this computer. If it is right, ask more nodes, of both sides, with --url."
)

L = TypeVar("L", bound=Leaf)

Lacks = Callable[[Answer[L | None]], str | None]
"""Says what an answer lacks, as one would tell it; None where it settles the question."""


class TwoHistories(LedgerError):
    """Two final blocks of one height: the validators that both rest on cannot be believed (rule 5)."""

    code = "two-histories"


class LedgerClient:
    """Asks nodes about the ledger, and has them record what members and holders signed."""

    def __init__(self, nodes: Nodes, root: TrustedRoot | None, now_ms: Callable[[], int]) -> None:
        """Take nodes, a trusted root, and the clock here, in milliseconds of the Unix epoch.

        Raises LedgerError where the root is not sound, UnfitEnvironment where libraries here err.
        """
        self.nodes = nodes
        self.root = root
        self._now_ms = now_ms
        self._pins: Pins | None = None
        self._hashes: OrderedDict[int, bytes] = OrderedDict()
        if root is not None:
            require_fit()
            root.check()
            self._pins = Pins(root)

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, urls: Sequence[str], root: TrustedRoot | None, now_ms: Callable[[], int]
    ) -> AsyncIterator["LedgerClient"]:
        """Open clients for nodes' URLs, like http://127.0.0.1:7201. Asks nothing yet."""
        async with Nodes.connect(urls) as nodes:
            yield cls(nodes, root, now_ms)

    async def chain_id(self) -> bytes:
        """Return the 32-byte id of the chain: the root's; without a root, as a node tells it."""
        if self.root is not None:
            return self.root.chain_id
        failures: list[ClientError] = []
        for client in self.nodes.clients:
            try:
                return bytes.fromhex((await client.status()).chain_id)
            except ClientError as error:
                failures.append(error)
        raise _most_telling(failures)

    # -- questions --------------------------------------------------------------------------------------

    async def find(self, shape: type[L], key: bytes, lacks: Lacks[L], *, what: str) -> Answer[L | None]:
        """Return the first node's answer that lacks nothing (rule 3); `what` names the question in errors.

        Raises Unproven where answers came and none settles it, else RefusedByNode, BadAnswer or Unreachable; and
        TwoHistories at once (rule 5).
        """
        missing: list[str] = []
        failures: list[ClientError] = []
        for client in self.nodes.clients:
            try:
                answer = await self._ask(client, shape, key)
            except ClientError as error:
                failures.append(self._as_unproven(client, error))
                continue
            lacking = lacks(answer)
            if lacking is None:
                self.nodes.prefer(client)
                return answer
            missing.append(f"{client.url} shows {lacking}")
        raise self._unsettled(what, missing, failures)

    async def newest(self, shape: type[L], key: bytes, lacks: Lacks[L], *, what: str) -> Answer[L | None]:
        """Return, of all nodes' answers that lack nothing, the one under the newest header (rule 3).

        Without a root it is the first one: a height that is told says nothing. Raises as `find`.
        """
        if self.root is None:
            return await self.find(shape, key, lacks, what=what)
        clients = self.nodes.clients
        asked = (self._ask(client, shape, key) for client in clients)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        missing: list[str] = []
        failures: list[ClientError] = []
        settling: list[tuple[Proven[L | None], Client]] = []
        for client, answer in zip(clients, answers, strict=True):
            if isinstance(answer, ClientError):
                failures.append(self._as_unproven(client, answer))
            elif isinstance(answer, BaseException):
                raise answer
            elif (lacking := lacks(answer)) is not None:
                missing.append(f"{client.url} shows {lacking}")
            else:
                assert isinstance(answer, Proven), "under a root nothing is told"
                settling.append((answer, client))
        if not settling:
            raise self._unsettled(what, missing, failures)
        found, client = max(settling, key=lambda each: each[0].height)
        self.nodes.prefer(client)
        return found

    async def current(self, shape: type[L], key: bytes, *, what: str) -> Answer[L | None]:
        """Return what stands under a key now: where proven, under a fresh header (rule 2). Raises as `find`."""
        return await self.newest(shape, key, self.staleness, what=what)

    async def lasting(
        self, shape: type[L], key: bytes, holds: Callable[[L], bool], *, what: str
    ) -> Answer[L]:
        """Return the first answer that shows a lasting fact, whatever its age (rule 2). Raises as `find`."""
        return _present(await self.find(shape, key, lambda answer: _unlike(answer, holds), what=what))

    async def passing(
        self, shape: type[L], key: bytes, holds: Callable[[L], bool], *, what: str
    ) -> Answer[L]:
        """Return the newest answer where it shows a passing fact (rule 2). Raises as `find`."""

        answer = await self.current(shape, key, what=what)
        lacking = _unlike(answer, holds)
        if lacking is not None:
            raise self._unsettled(what, [f"the newest answer shows {lacking}"], [])
        return _present(answer)

    async def member(self, member: str) -> Answer[Member]:
        """Return a member's record as it stands now. Raises RefusedByNode where none has this id, and as `find`."""
        what = f"member {member}"
        answer = await self.current(Member, member_key(member), what=what)
        if answer.value is None:
            raise _unknown(what)
        return _present(answer)

    async def parameters(self) -> Answer[Parameters]:
        """Return the limits that bind every block now. Raises as `find`."""
        what = "the limits of the network"
        answer = await self.current(Parameters, PARAMETERS_KEY, what=what)
        if answer.value is None:
            raise _unknown(what)
        return _present(answer)

    async def schema(self, code: str) -> Answer[Schema | None]:
        """Return a kind of document, which lasts, or that there is none now. Raises as `find`."""
        return await self.newest(Schema, schema_key(code), self._lacks_absence, what=f"schema {code}")

    async def purpose(self, code: str) -> Answer[Purpose | None]:
        """Return a purpose, which lasts, or that there is none now. Raises as `find`."""
        return await self.newest(Purpose, purpose_key(code), self._lacks_absence, what=f"purpose {code}")

    async def node(self, member: str) -> Answer[Node]:
        """Return the registration of a member's node as it stands now. Raises as `member`."""
        what = f"node of {member}"
        answer = await self.current(Node, node_key(member), what=what)
        if answer.value is None:
            raise _unknown(what)
        return _present(answer)

    def _lacks_absence(self, answer: Answer[object]) -> str | None:
        """Say what an answer lacks where what is there lasts, and only that there is nothing passes."""
        return None if answer.value is not None else self.staleness(answer)

    def staleness(self, answer: Answer[object]) -> str | None:
        """Say what makes a proven answer stale by the clock here; None where it is fresh, or told."""
        if isinstance(answer, Told):
            return None
        now_ms = self._now_ms()
        if now_ms - answer.time_ms > FRESH_MS:
            return f"an older state{_as_of(answer)}, while the clock here says {show_time(now_ms)}"
        if answer.time_ms - now_ms > AHEAD_MS:
            return f"a later time{_as_of(answer)} than the clock here, which says {show_time(now_ms)} and is slow"
        return None

    async def evidence(self, request: EvidenceRequest, *, instead_of: Evidence) -> Answer[Evidence]:
        """Return evidence for a proof: under a root it is verified, fresh, and no older than what it replaces.

        Raises RefusedByNode, Unproven, BadAnswer or Unreachable.
        """
        failures: list[ClientError] = []
        for client in self.nodes.clients:
            try:
                answer = self._check_evidence(client.url, request, await client.evidence(request), instead_of)
            except ClientError as error:
                failures.append(self._as_told(client, error))
                continue
            self.nodes.prefer(client)
            return answer
        raise _most_telling(failures)

    # -- acts -------------------------------------------------------------------------------------------

    async def act(
        self,
        send: Callable[[Client], Awaitable[Result | None]],
        shape: type[L],
        key: bytes,
        holds: Callable[[L], bool],
        *,
        what: str,
    ) -> Recorded[L]:
        """Have something recorded, by one node after another, until an answer shows that it is (rule 4).

        `send` submits it by one node, and may be called several times: it must be of no effect twice. Raises Unproven
        where a node says that it is final and none shows it; RefusedByNode where nodes refuse it, and none shows that
        it is there all the same; else BadAnswer or Unreachable.
        """
        heights: set[int] = set()
        failures: list[ClientError] = []
        unshown: list[ClientError] = []
        for client in self.nodes.clients:
            try:
                result = await send(client)
                if result is not None and (height := result.require_final().height) is not None:
                    heights.add(height)
            except ClientError as error:
                failures.append(self._as_told(client, error))
            try:
                return Recorded(await self.lasting(shape, key, holds, what=what), frozenset(heights))
            except ClientError as error:
                unshown.append(error)
        if not heights and failures:
            raise _most_telling(failures)
        raise unshown[-1]

    # -- one node ---------------------------------------------------------------------------------------

    async def _ask(self, client: Client, shape: type[L], key: bytes) -> Answer[L | None]:
        if self._pins is None:
            return Told(await client.find_leaf(shape, key), key, client.url)
        proven = await client.prove(key)
        evidence = proven.present or proven.absent
        assert evidence is not None, "the client lets through one of the two"
        try:
            leaf, header = verify_leaf(
                self._pins, proven.at, proven.trust_path, evidence, shape, key, at_ms=self._now_ms()
            )
        except LedgerError as error:
            raise unproven(client.url, error) from error
        self._remember(client.url, header)
        return Proven(leaf, key, header.header.height, header.header.time_ms, header.hash)

    def _check_evidence(
        self, url: str, request: EvidenceRequest, found: Evidence, instead_of: Evidence
    ) -> Answer[Evidence]:
        key = anchor_key(request.issuer, request.root)
        if self._pins is None:
            return Told(found, key, url)
        try:
            header = verify_evidence(self._pins, request, found, at_ms=self._now_ms())
        except LedgerError as error:
            raise unproven(url, error) from error
        self._remember(url, header)
        proven = Proven(found, key, header.header.height, header.header.time_ms, header.hash)
        lacking = self.staleness(proven)
        if lacking is None and self._is_older(header, instead_of):
            lacking = f"evidence that is older than what the proof has{_as_of(proven)}"
        if lacking is not None:
            cure = CLOCK_CURE if "clock" in lacking else OTHERS_CURE
            raise Unproven(code="unproven", where=url, expected="evidence of now", found=lacking, cure=cure)
        return proven

    def _is_older(self, header: EncodedHeader, than: Evidence) -> bool:
        """Say whether a header is older than evidence that the trusted root reaches; any other is no measure."""
        assert self._pins is not None, "only what verified is compared"
        try:
            other = verify_header(
                self._pins, than.header, than.certificate, than.trust_path, at_ms=self._now_ms()
            )
        except LedgerError:
            return False
        return header.header.height < other.encoded_header.header.height

    def _remember(self, url: str, header: EncodedHeader) -> None:
        """Take note of a header that verified. Raises TwoHistories where another of its height did (rule 5)."""
        height = header.header.height
        known = self._hashes.setdefault(height, header.hash)
        if len(self._hashes) > HEADERS_REMEMBERED_MAX:
            self._hashes.popitem(last=False)
        if known != header.hash:
            cure = "Believe no node. Tell the operators of both sides: more validators signed twice than may ever err."
            raise TwoHistories(
                where=f"block {height} of {url}",
                expected=known.hex(),
                found=f"{header.hash.hex()}, which verifies too",
                cure=cure,
            )

    def _unsettled(self, what: str, missing: Sequence[str], failures: Sequence[ClientError]) -> ClientError:
        """Return the error of a question that no answer settles: what each lacks, or that there was none."""
        if not missing:
            return _most_telling(failures)
        return Unproven(
            code="unproven",
            where=what,
            expected="a node that shows it" if self.root is None else "evidence under the trusted root",
            found="; ".join(missing),
            cure=CLOCK_CURE if any("clock" in each for each in missing) else OTHERS_CURE,
        )

    def _as_unproven(self, client: Client, error: ClientError) -> ClientError:
        """Return a failure; under a root a refusal to show a leaf is no answer: that there is none has a proof."""
        if self.root is None or not isinstance(error, RefusedByNode) or error.code in BUSY_CODES:
            return error
        return Unproven(
            code="unproven",
            where=client.url,
            expected="evidence of what is there, or that there is nothing",
            found=f"a refusal [{error.code}]: {error.found}",
            cure=OTHERS_CURE,
        )

    def _as_told(self, client: Client, error: ClientError) -> ClientError:
        """Return a failure; of a refusal under a root it is said that it is the node's word."""
        if self.root is None or not isinstance(error, RefusedByNode):
            return error
        where = f"{error.where}, as {client.url} says"
        return RefusedByNode(
            code=error.code, where=where, expected=error.expected, found=error.found, cure=error.cure
        )


def verify_evidence(pins: Pins, request: EvidenceRequest, evidence: Evidence, *, at_ms: int) -> EncodedHeader:
    """Return the header under which evidence shows what was asked for. Raises LedgerError.

    What the leaves say of the document is the verifier's question, whoever asks for evidence.
    """
    header = verify_header(
        pins, evidence.header, evidence.certificate, evidence.trust_path, at_ms=at_ms
    ).encoded_header
    require_leaf(evidence.anchor, Anchor, anchor_key(request.issuer, request.root), header)
    require_leaf(evidence.issuer, Member, member_key(request.issuer), header)
    verify_absent(
        header.header.state_root, revocation_key(request.issuer, request.commitment), evidence.unrevoked
    )
    if request.consent_key is None or request.consent_id is None:
        return header
    if evidence.consent is None:
        raise LedgerError(where="evidence", expected="the consent that was asked for", found="none")
    key = consent_key(request.consent_key, request.consent_id)
    granted = require_leaf(evidence.consent.consent, Consent, key, header).granted
    if granted is None:
        raise LedgerError(where="evidence", expected="a granted consent", found="one that was never granted")
    require_leaf(evidence.consent.recipient, Member, member_key(granted.terms.recipient), header)
    return header


def unproven(url: str, error: LedgerError) -> Unproven:
    """Return what is said of a node whose evidence does not verify."""
    return Unproven(
        code="unproven",
        where=f"{error.where or 'evidence'} of {url}",
        expected=error.expected,
        found=error.found,
        cure="Do not believe this node: its evidence is not under the trusted root. Ask another one with --url.",
    )


def has_leaf(answer: Answer[L | None]) -> TypeGuard[Answer[L]]:
    """Say whether an answer shows a leaf, not that there is none."""
    return answer.value is not None


def _present(answer: Answer[L | None]) -> Answer[L]:
    assert has_leaf(answer), "whoever asked looked"
    return answer


def _unlike(answer: Answer[L | None], holds: Callable[[L], bool]) -> str | None:
    """Say what an answer shows where it is not what is asked for."""
    if answer.value is not None and holds(answer.value):
        return None
    return ("nothing such" if answer.value is None else "another state") + _as_of(answer)


def _as_of(answer: Answer[object]) -> str:
    return f" as of block {answer.height}, {show_time(answer.time_ms)}" if isinstance(answer, Proven) else ""


def _unknown(what: str) -> RefusedByNode:
    cure = "Check the identifiers, and that this is the right network."
    return RefusedByNode(
        code="unknown", where=what, expected="a record on the ledger", found="none", cure=cure
    )


def _most_telling(failures: Sequence[ClientError]) -> ClientError:
    """Return the failure that says most: a refusal, then an answer that is none, then silence."""

    def rank(error: ClientError) -> int:
        if isinstance(error, RefusedByNode):
            return 1 if error.code in BUSY_CODES else 4
        return 3 if isinstance(error, Unproven) else 2 if isinstance(error, BadAnswer) else 0

    assert failures, "every node was asked"
    found = max(failures, key=rank)
    if isinstance(found, RefusedByNode) and found.code in BUSY_CODES:
        return Unreachable(
            code=found.code, where=found.where, expected=found.expected, found=found.found, cure=found.cure
        )
    return found
