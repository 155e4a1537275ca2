"""A node's client: asynchronous and typed.

Rule 1: nothing a node answers is believed: it is bounded, decoded strictly, and proofs are verified by whoever
has a trusted root.
Rule 2: three families of failure: `Unreachable` (no answer, or not ready), `Refused` (the answer is no) and
`BadAnswer` (what came is not what this API sends).
"""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import aiohttp

from ledger.blocks import Block, SealedHeader
from ledger.certificates import QuorumCertificate
from ledger.errors import LedgerError
from ledger.genesis import Genesis, genesis_from_json
from ledger.keys import PublicKey
from ledger.operations import Grant, Withdraw
from ledger.proofs import Evidence, EvidenceRequest
from ledger.records import Json, pack, parse_json, to_json, unpack
from ledger.state import Consent, Member, consent_key, decode_leaf, member_key
from ledger.transactions import Transaction

ANSWER_SIZE_MAX: Final = 64 * 1024 * 1024
EVENT_SIZE_MAX: Final = 16 * 1024 * 1024
CONNECT_S: Final = 5.0
ANSWER_S: Final = 15.0


class ClientError(Exception):
    """What a client may meet. Says what was expected and found, and the cure."""

    def __init__(self, code: str, where: str, *, expected: str, found: str, cure: str) -> None:
        super().__init__(f"{where}: expected {expected}, found {found}. {cure}")
        self.code = code
        self.where = where
        self.expected = expected
        self.found = found
        self.cure = cure


class Unreachable(ClientError):
    """The node does not answer, or is not ready."""


class Refused(ClientError):
    """The node's answer is no."""


class BadAnswer(ClientError):
    """What came is not an answer of this API."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a transaction: `final` with height and time in milliseconds, `pending`, or `refused`."""

    id: bytes
    state: str
    height: int | None
    time_ms: int | None
    refusal: Refused | None

    def require_final(self) -> "Result":
        """Return this result if it is final. Raises Refused or Unreachable."""
        if self.refusal is not None:
            raise self.refusal
        if self.state != "final":
            cure = "Ask for it later: a transaction is recorded until its deadline, or never."
            raise Unreachable(
                "not-final", "transaction", expected="finality in time", found=self.state, cure=cure
            )
        return self


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """Where a node stands."""

    member: str
    kind: str
    chain_id: str
    height: int
    block_hash: str
    state_root: str
    time_ms: int
    is_voting: bool
    peers_connected: tuple[str, ...]


class Client:
    """One node's API. Use `connect`, which closes it."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url.rstrip("/")
        self._session = session

    @classmethod
    @asynccontextmanager
    async def connect(cls, url: str) -> AsyncIterator["Client"]:
        """Open a client for a node's URL, like http://127.0.0.1:7100."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            yield cls(url, session)

    # -- submissions ------------------------------------------------------------------------------------

    async def submit(self, transactions: Sequence[Transaction], *, wait_ms: int = 10_000) -> list[Result]:
        """Submit transactions and wait for them to be final. A refusal is in its result, not raised."""
        body: dict[str, Json] = {
            "transactions": [transaction.encoded.hex() for transaction in transactions],
            "wait_ms": wait_ms,
        }
        answer = await self._post("/v1/transactions", body, wait_ms)
        results = _list(answer, "results")
        if len(results) != len(transactions):
            raise _bad("results", f"{len(transactions)} results", f"{len(results)}")
        return [_result(result) for result in results]

    async def relay(self, operations: Sequence[Grant | Withdraw], *, wait_ms: int = 10_000) -> Result:
        """Have the node's member carry one holder's operations; wait for them to be final."""
        body: dict[str, Json] = {"operations": [pack(each).hex() for each in operations], "wait_ms": wait_ms}
        return _result(await self._post("/v1/relay", body, wait_ms))

    # -- proofs and records -----------------------------------------------------------------------------

    async def evidence(self, request: EvidenceRequest) -> Evidence:
        """Return the node's newest evidence for a proof."""
        answer = await self._post("/v1/evidence", {"request": to_json(request)}, 0)
        return _decoded(Evidence, _hex(answer, "evidence"))

    async def member(self, member: str) -> Member:
        """Return a member's record."""
        value = await self._state_value(member_key(member), f"member {member}")
        return decode_leaf(Member, member_key(member), value)

    async def consent(self, key: PublicKey, consent_id: bytes) -> Consent:
        """Return a consent's record."""
        place = consent_key(key, consent_id)
        return decode_leaf(Consent, place, await self._state_value(place, "consent"))

    async def _state_value(self, key: bytes, what: str) -> bytes:
        answer = await self._get(f"/v1/state/{key.hex()}")
        if answer.get("value") is None:
            cure = "Check the identifiers, and that this is the right network."
            raise Refused("unknown", what, expected="a record on the ledger", found="none", cure=cure)
        return _hex(answer, "value")

    # -- the chain --------------------------------------------------------------------------------------

    async def blocks(self, start: int) -> list[tuple[Block, QuorumCertificate | None]]:
        """Return some final blocks from a height on, with the certificates of those that have their own."""
        answer = await self._get(f"/v1/blocks?from={start}&count=64")
        return [_block(each) for each in _list(answer, "blocks")]

    async def genesis(self) -> Genesis:
        """Return the verified genesis that the node runs on."""
        try:
            return genesis_from_json(await self._get("/v1/genesis"))
        except LedgerError as error:
            raise _bad(error.where, error.expected, error.found) from error

    async def status(self) -> NodeStatus:
        """Return where the node stands."""
        answer = await self._get("/v1/status")
        peers = _list(answer, "peers_connected")
        return NodeStatus(
            member=_text(answer, "member"),
            kind=_text(answer, "kind"),
            chain_id=_text(answer, "chain_id"),
            height=_number(answer, "height"),
            block_hash=_text(answer, "block_hash"),
            state_root=_text(answer, "state_root"),
            time_ms=_number(answer, "time_ms"),
            is_voting=answer.get("is_voting") is True,
            peers_connected=tuple(str(peer) for peer in peers),
        )

    async def require_ready(self) -> None:
        """Return where the node can serve. Raises Unreachable."""
        await self._get("/v1/ready")

    async def events(self, cursor: int) -> AsyncIterator[dict[str, Json]]:
        """Yield final blocks above a height, as they come."""
        try:
            async with self._session.get(f"{self.url}/v1/events?from={cursor}") as response:
                buffer = b""
                async for piece in response.content.iter_any():
                    buffer += piece
                    while b"\n\n" in buffer:
                        event, _, buffer = buffer.partition(b"\n\n")
                        for line in event.split(b"\n"):
                            if line.startswith(b"data: "):
                                yield _object(parse_json(line[6:], size_max=EVENT_SIZE_MAX))
                    if len(buffer) > EVENT_SIZE_MAX:
                        raise _bad("event", f"at most {EVENT_SIZE_MAX} bytes", "more")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from error

    # -- wire -------------------------------------------------------------------------------------------

    async def _get(self, path: str) -> dict[str, Json]:
        return await self._ask("GET", path, None, ANSWER_S)

    async def _post(self, path: str, body: Mapping[str, Json], wait_ms: int) -> dict[str, Json]:
        return await self._ask("POST", path, json.dumps(body), ANSWER_S + wait_ms / 1000)

    async def _ask(self, method: str, path: str, body: str | None, seconds: float) -> dict[str, Json]:
        headers = {} if body is None else {"Content-Type": "application/json"}
        data = None if body is None else io.BytesIO(body.encode())
        try:
            async with (
                asyncio.timeout(seconds),
                self._session.request(method, self.url + path, data=data, headers=headers) as response,
            ):
                content = await response.content.read(ANSWER_SIZE_MAX + 1)
                while not response.content.at_eof() and len(content) <= ANSWER_SIZE_MAX:
                    content += await response.content.read(ANSWER_SIZE_MAX + 1 - len(content))
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise self._unreachable(error) from error
        try:
            answer = _object(parse_json(content, size_max=ANSWER_SIZE_MAX))
        except LedgerError as error:
            raise _bad(path, error.expected, error.found) from error
        if status == 503:
            raise _refusal(Unreachable, answer)
        if status != 200:
            raise _refusal(Refused, answer)
        return answer

    def _unreachable(self, error: Exception) -> Unreachable:
        cure = f"Check that the node runs: luohu node status --url {self.url}"
        found = str(error) or type(error).__name__
        return Unreachable("unreachable", self.url, expected="an answer", found=found, cure=cure)


def _bad(where: str, expected: str, found: str) -> BadAnswer:
    cure = "Check that the URL is that of a Luohu node of this version."
    return BadAnswer("bad-answer", f"answer: {where}", expected=expected, found=found, cure=cure)


def _refusal(kind: type[Refused] | type[Unreachable], answer: dict[str, Json]) -> ClientError:
    error = _object(answer.get("error"))
    texts = {name: _text(error, name) for name in ("code", "where", "expected", "found", "cure")}
    return kind(
        texts["code"],
        texts["where"],
        expected=texts["expected"],
        found=texts["found"],
        cure=texts["cure"],
    )


def _result(value: Json) -> Result:
    answer = _object(value)
    error = answer.get("error")
    refusal = None
    if error is not None:
        found = _refusal(Refused, {"error": error})
        assert isinstance(found, Refused), "made as such"
        refusal = found
    height, time_ms = answer.get("height"), answer.get("time_ms")
    return Result(
        _hex(answer, "id"),
        _text(answer, "state"),
        height if isinstance(height, int) else None,
        time_ms if isinstance(time_ms, int) else None,
        refusal,
    )


def _block(value: Json) -> tuple[Block, QuorumCertificate | None]:
    answer = _object(value)
    try:
        sealed = SealedHeader.decode(_hex(answer, "header"))
        encoded = [bytes.fromhex(str(each)) for each in _list(answer, "transactions")]
        transactions = tuple(Transaction.decode(each) for each in encoded)
        has_own = answer.get("certificate") is not None
        certificate = unpack(QuorumCertificate, _hex(answer, "certificate")) if has_own else None
    except (LedgerError, ValueError) as error:
        raise _bad("block", "a block", str(error)) from error
    return Block(sealed, transactions), certificate


def _decoded(shape: type[Evidence], encoded: bytes) -> Evidence:
    try:
        return unpack(shape, encoded)
    except LedgerError as error:
        raise _bad(error.where, error.expected, error.found) from error


def _object(value: Json) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise _bad("value", "an object", type(value).__name__)
    return value


def _list(answer: dict[str, Json], key: str) -> list[Json]:
    value = answer.get(key)
    if not isinstance(value, list):
        raise _bad(key, "a list", type(value).__name__)
    return value


def _text(answer: dict[str, Json], key: str) -> str:
    value = answer.get(key)
    if not isinstance(value, str):
        raise _bad(key, "text", type(value).__name__)
    return value


def _number(answer: dict[str, Json], key: str) -> int:
    value = answer.get(key)
    if type(value) is not int:
        raise _bad(key, "a number", type(value).__name__)
    return value


def _hex(answer: dict[str, Json], key: str) -> bytes:
    try:
        return bytes.fromhex(_text(answer, key))
    except ValueError as error:
        raise _bad(key, "hexadecimal", "something else") from error
