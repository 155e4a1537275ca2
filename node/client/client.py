"""A node's client: asynchronous and typed.

Rule 1: nothing a node answers is believed: it is bounded in size and time, decoded strictly, and proofs are
verified by whoever has a trusted root. No redirection is followed.
Rule 2: three families of failure: `Unreachable` (no answer, or not ready), `RefusedByNode` (the answer is no) and
`BadAnswer` (what came is not what this API sends).
Rule 3: what a refusal says is bounded and printable: a node cannot write to the reader's terminal.
"""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

import aiohttp

from ledger.encoding.arguments import (
    describe,
    require_bytes,
    require_duration,
    require_each,
    require_instance,
)
from ledger.encoding.digests import HASH_SIZE
from ledger.encoding.keys import PublicKey
from ledger.encoding.records import Json, from_json, pack, parse_json, to_json, unpack
from ledger.errors import LedgerError, WrongCall
from ledger.genesis import Genesis, genesis_from_json
from ledger.proofs import EVIDENCE_SIZE_MAX, Evidence, EvidenceRequest, ProvenLeaf
from ledger.rules.blocks import BLOCK_TRANSACTIONS_MAX, Block, EncodedHeader
from ledger.rules.certificates import QuorumCertificate
from ledger.rules.operations import Grant, Withdraw
from ledger.rules.proposals import Proposal
from ledger.rules.state import (
    PARAMETERS_KEY,
    VALIDATORS_KEY,
    Consent,
    Leaf,
    Member,
    Misbehaviour,
    Node,
    Parameters,
    Purpose,
    Schema,
    Validators,
    Verification,
    consent_key,
    decode_leaf,
    member_key,
    node_key,
    purpose_key,
    schema_key,
    verification_key,
)
from ledger.rules.transactions import Transaction
from ledger.trees.statetree import AbsenceProof, InclusionProof
from ledger.trust import FinalizedHeader, TrustPath
from node.api.service import FINAL, PENDING, REFUSED, ProvenValue
from node.consent.textbundle import TEXTS_SIZE_MAX
from node.errors import BadAnswer, ClientError, RefusedByNode, Unreachable
from node.evidence import DocumentsEvidence, DocumentsRequest

ANSWER_SIZE_MAX: Final = 64 * 1024 * 1024
EVENT_SIZE_MAX: Final = 16 * 1024 * 1024
CONNECT_S: Final = 5.0
ANSWER_S: Final = 15.0
# As long as a node takes to send one.
TEXTS_S: Final = 30.0
SILENCE_S: Final = 60.0
BLOCKS_MAX: Final = 64
TEXT_SIZE_MAX: Final = 1_000


E = TypeVar("E", RefusedByNode, Unreachable)
L = TypeVar("L", bound=Leaf)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a transaction: `final` with height and time in milliseconds, `pending`, or `refused`."""

    id: bytes
    state: str
    height: int | None
    time_ms: int | None
    refusal: RefusedByNode | None

    def require_final(self) -> "Result":
        """Return this result if it is final. Raises RefusedByNode or Unreachable."""
        if self.refusal is not None:
            raise self.refusal
        if self.state != FINAL:
            cure = "Ask for it later: a transaction is recorded until its deadline, or never."
            raise Unreachable(
                code="not-final",
                where="transaction",
                expected="finality in time",
                found=self.state,
                cure=cure,
            )
        return self


@dataclass(frozen=True, slots=True)
class NodeTrouble:
    """One thing that is not well at a node, since when by its clock, and who does what about it."""

    code: str
    found: str
    cure: str
    since_ms: int


@dataclass(frozen=True, slots=True)
class NodeCondition:
    """Whether a node is well, its worst trouble first. `waits_for` is None where it is ready.

    `clock_offsets_ms` says how far other validators' clocks are ahead of the node's. Sizes are bytes.
    """

    state: str
    waits_for: str | None
    troubles: tuple[NodeTrouble, ...]
    validators: tuple[str, ...]
    quorum: int
    connected: tuple[str, ...]
    last_final_ms: int | None
    known_height: int
    clock_offsets_ms: tuple[tuple[str, int], ...]
    disk_free_size: int | None


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """Where a node stands, and which release it runs. `condition` is None where that release does not tell it."""

    version: str
    member: str
    kind: str
    epoch: int
    chain_id: str
    height: int
    block_hash: str
    state_root: str
    time_ms: int
    is_voting: bool
    peers_connected: tuple[str, ...]
    lack: str | None = None
    condition: NodeCondition | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that became final: an `operation`, or a `block` after all of its operations.

    `cursor` is where to resume: `follow` with it yields what comes next.
    """

    kind: str
    cursor: str
    content: dict[str, Json]


class Client:
    """One node's API. Use `connect`, which closes it."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url.rstrip("/")
        self._session = session

    @classmethod
    @asynccontextmanager
    async def connect(cls, url: str) -> AsyncIterator["Client"]:
        """Open a client for a node's URL, like http://127.0.0.1:7100."""
        require_instance("url", url, str, cure="Give the URL of one node; Nodes.connect takes a list.")
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            yield cls(url, session)

    # -- submissions ------------------------------------------------------------------------------------

    async def submit(self, transactions: Sequence[Transaction], *, wait_ms: int = 10_000) -> list[Result]:
        """Submit transactions and wait for them to be final. A refusal is in its result, not raised."""
        require_each("transactions", transactions, Transaction, cure="Give a list of signed transactions.")
        require_duration("wait_ms", wait_ms)
        body: dict[str, Json] = {
            "transactions": [transaction.encoded.hex() for transaction in transactions],
            "wait_ms": wait_ms,
        }
        answer = await self._post("/v1/transactions", body, wait_ms)
        results = _list(answer, "results")
        if len(results) != len(transactions):
            raise _bad("results", f"{len(transactions)} results", f"{len(results)}")
        return [
            _result_of(transaction, result) for transaction, result in zip(transactions, results, strict=True)
        ]

    async def relay(self, operations: Sequence[Grant | Withdraw], *, wait_ms: int = 10_000) -> Result:
        """Have the node's member carry one holder's operations; wait for them to be final."""
        for each in require_each("operations", operations, object, cure="Give a list of operations."):
            if not isinstance(each, Grant | Withdraw):
                cure = "Give the grant or withdrawal of a consent file."
                raise WrongCall(
                    where="operations", expected="Grant or Withdraw", found=describe(each), cure=cure
                )
        require_duration("wait_ms", wait_ms)
        body: dict[str, Json] = {"operations": [pack(each).hex() for each in operations], "wait_ms": wait_ms}
        return _result(await self._post("/v1/relay", body, wait_ms))

    # -- proofs and records -----------------------------------------------------------------------------

    async def evidence(self, request: EvidenceRequest) -> Evidence:
        """Return the node's newest evidence for a proof."""
        require_instance("request", request, EvidenceRequest, cure="Give an EvidenceRequest.")
        answer = await self._post("/v1/evidence", {"request": to_json(request)}, 0)
        return _decoded(Evidence, _hex(answer, "evidence"))

    async def documents_evidence(self, request: DocumentsRequest) -> DocumentsEvidence:
        """Return the node's newest evidence of up to 1,024 documents, all under one header. Nothing of it is verified.

        A document that is revoked has none in it: `evidence` says why.
        """
        cure = "Give a DocumentsRequest."
        asked = to_json(require_instance("request", request, DocumentsRequest, cure=cure))
        answer = await self._post("/v1/evidence/documents", {"request": asked}, 0)
        with _decoding():
            found = from_json(DocumentsEvidence, answer)
            found.check_answers(request)
        return found

    async def member(self, member: str) -> Member:
        """Return a member's record."""
        require_instance("member", member, str, cure="Give the member's id.")
        value = await self._state_value(member_key(member), f"member {member}")
        with _decoding():
            return decode_leaf(Member, member_key(member), value)

    async def members(self) -> list[Member]:
        """Return every member's record."""
        answer = await self._get("/v1/members")
        with _decoding():
            return [from_json(Member, each) for each in _list(answer, "members")]

    async def consent(self, key: PublicKey, consent_id: bytes) -> Consent:
        """Return a consent's record."""
        require_instance("key", key, PublicKey, cure="Give the consent key, PublicKey.from_text(text).")
        require_bytes("consent_id", consent_id, cure="Give the consent's id.", size=HASH_SIZE)
        place = consent_key(key, consent_id)
        value = await self._state_value(place, "consent")
        with _decoding():
            return decode_leaf(Consent, place, value)

    async def proposal(self, proposal: bytes) -> tuple[Proposal, str]:
        """Return a proposal, and whether it is open, passed, rejected or expired."""
        return _proposal(await self._get(f"/v1/proposals/{proposal.hex()}"))

    async def proposals(self, start: bytes | None = None) -> tuple[list[tuple[Proposal, str]], bytes | None]:
        """Return some proposals with what has become of them, newest first, and where to go on."""
        answer = await self._get("/v1/proposals" + ("" if start is None else f"?from={start.hex()}"))
        listed = _list(answer, "proposals")
        following = None if answer.get("next") is None else _hex(answer, "next")
        with _decoding():
            return [_proposal(_object(each)) for each in listed], following

    async def validators(self) -> Validators:
        """Return the current and the pending validator set."""
        value = await self._state_value(VALIDATORS_KEY, "validators")
        with _decoding():
            return decode_leaf(Validators, VALIDATORS_KEY, value)

    async def parameters(self) -> Parameters:
        """Return the limits that bind every block."""
        value = await self._state_value(PARAMETERS_KEY, "parameters")
        with _decoding():
            return decode_leaf(Parameters, PARAMETERS_KEY, value)

    async def schema(self, code: str) -> Schema:
        """Return the record of a kind of document."""
        value = await self._state_value(schema_key(code), f"schema {code}")
        with _decoding():
            return decode_leaf(Schema, schema_key(code), value)

    async def purpose(self, code: str) -> Purpose:
        """Return the record of a purpose."""
        value = await self._state_value(purpose_key(code), f"purpose {code}")
        with _decoding():
            return decode_leaf(Purpose, purpose_key(code), value)

    async def node(self, member: str) -> Node:
        """Return the registration of a member's node."""
        value = await self._state_value(node_key(member), f"node of {member}")
        with _decoding():
            return decode_leaf(Node, node_key(member), value)

    async def misbehaviour(self) -> list[Misbehaviour]:
        """Return misbehaviour on record, newest first."""
        answer = await self._get("/v1/misbehaviour")
        with _decoding():
            return [from_json(Misbehaviour, each) for each in _list(answer, "misbehaviour")]

    async def verification(self, key: PublicKey, consent_id: bytes, slot: int) -> Verification:
        """Return what was recorded under a slot of a consent."""
        place = verification_key(key, consent_id, slot)
        value = await self._state_value(place, f"verification {slot}")
        with _decoding():
            return decode_leaf(Verification, place, value)

    async def find_leaf(self, shape: type[L], key: bytes) -> L | None:
        """Return what the node says that the state holds under a 32-byte key, or None. Nothing of it is verified."""
        answer = await self._get(f"/v1/state/{key.hex()}")
        if answer.get("value") is None:
            return None
        with _decoding():
            return decode_leaf(shape, key, _hex(answer, "value"))

    async def prove(self, key: bytes) -> ProvenValue:
        """Return the node's evidence of what the state holds under a 32-byte key. Nothing of it is verified."""
        answer = await self._get(f"/v1/state/{key.hex()}")
        value = None if answer.get("value") is None else _hex(answer, "value")
        with _decoding():
            at = from_json(FinalizedHeader, answer.get("at"))
            path = from_json(TrustPath, answer.get("trust_path"))
            if value is None:
                return ProvenValue(None, None, from_json(AbsenceProof, answer.get("absence")), at, path)
            leaf = ProvenLeaf(value, from_json(InclusionProof, answer.get("inclusion")))
            return ProvenValue(value, leaf, None, at, path)

    async def _state_value(self, key: bytes, what: str) -> bytes:
        answer = await self._get(f"/v1/state/{key.hex()}")
        if answer.get("value") is None:
            cure = "Check the identifiers, and that this is the right network."
            raise RefusedByNode(
                code="unknown", where=what, expected="a record on the ledger", found="none", cure=cure
            )
        return _hex(answer, "value")

    # -- the chain --------------------------------------------------------------------------------------

    async def trust_path(self) -> TrustPath:
        """Return the handovers from genesis to the node's present epoch. Nothing of it is verified."""
        answer = await self._get(f"/v1/state/{VALIDATORS_KEY.hex()}")
        with _decoding():
            return from_json(TrustPath, answer.get("trust_path"))

    async def blocks(self, start: int) -> list[tuple[Block, QuorumCertificate | None]]:
        """Return some final blocks from a height on, with the certificates of those that have their own."""
        answer = await self._get(f"/v1/blocks?from={start}&count={BLOCKS_MAX}")
        listed = _list(answer, "blocks")
        if len(listed) > BLOCKS_MAX:
            raise _bad("blocks", f"at most {BLOCKS_MAX}", f"{len(listed)}")
        return [_block(each, height) for height, each in enumerate(listed, start)]

    async def block(self, height: int) -> tuple[Block, QuorumCertificate | None]:
        """Return one final block, with its certificate where it has its own."""
        return _block(await self._get(f"/v1/blocks/{height}"), height)

    async def genesis(self) -> Genesis:
        """Return the verified genesis that the node runs on."""
        answer = await self._get("/v1/genesis")
        with _decoding():
            return genesis_from_json(answer)

    async def texts(self, wanted: bytes) -> bytes:
        """Return the text bundle that the node sends for a 32-byte hash, as it came. Nothing of it is verified."""
        require_bytes("wanted", wanted, cure="Give a bundle's hash, or a notice's version.", size=HASH_SIZE)
        path = f"/v1/texts/{wanted.hex()}"
        status, content = await self._exchange("GET", path, None, TEXTS_S, size_max=TEXTS_SIZE_MAX)
        if status != 200:
            raise _refused(status, _answer(path, content))
        return content

    async def status(self) -> NodeStatus:
        """Return where the node stands."""
        answer = await self._get("/v1/status")
        peers = _list(answer, "peers_connected")
        return NodeStatus(
            version=_text(answer, "version"),
            member=_text(answer, "member"),
            kind=_text(answer, "kind"),
            epoch=_number(answer, "epoch"),
            chain_id=_hex(answer, "chain_id").hex(),
            height=_number(answer, "height"),
            block_hash=_hex(answer, "block_hash").hex(),
            state_root=_hex(answer, "state_root").hex(),
            time_ms=_number(answer, "time_ms"),
            is_voting=_flag(answer, "is_voting"),
            peers_connected=tuple(_text({"peer": peer}, "peer") for peer in peers),
            condition=None if answer.get("condition") is None else _condition(answer["condition"]),
            # A node of an earlier release does not say.
            lack=None if answer.get("lack") is None else _text(answer, "lack"),
        )

    async def require_ready(self) -> None:
        """Return where the node can serve. Raises Unreachable."""
        await self._get("/v1/ready")

    async def events(self, cursor: int) -> AsyncIterator[dict[str, Json]]:
        """Yield final blocks above a height, as they come: height, hash, time and counts of each."""
        async for event in self.follow(f"{cursor}"):
            if event.kind == "block":
                yield event.content

    async def follow(self, cursor: str) -> AsyncIterator[Event]:
        """Yield every operation and block that becomes final after a cursor, which is that of an event, or a
        height. Raises Unreachable where the node falls silent: resume from the last event's cursor.
        """
        path = f"/v1/events?from={cursor}"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
        try:
            async with self._session.get(self.url + path, timeout=timeout, allow_redirects=False) as response:
                if response.status != 200:
                    content = await _read_bounded(response, ANSWER_SIZE_MAX)
                    raise _refused(response.status, _answer(path, content))
                async for lines in _event_lines(response):
                    yield _event(lines)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from error

    # -- wire -------------------------------------------------------------------------------------------

    async def _get(self, path: str) -> dict[str, Json]:
        return await self._ask("GET", path, None, ANSWER_S)

    async def _post(self, path: str, body: Mapping[str, Json], wait_ms: int) -> dict[str, Json]:
        return await self._ask("POST", path, json.dumps(body), ANSWER_S + wait_ms / 1000)

    async def _ask(self, method: str, path: str, body: str | None, seconds: float) -> dict[str, Json]:
        status, content = await self._exchange(method, path, body, seconds, size_max=ANSWER_SIZE_MAX)
        answer = _answer(path, content)
        if status != 200:
            raise _refused(status, answer)
        return answer

    async def _exchange(
        self, method: str, path: str, body: str | None, seconds: float, *, size_max: int
    ) -> tuple[int, bytes]:
        """Return the status and content of an answer of at most `size_max` bytes."""
        headers = {} if body is None else {"Content-Type": "application/json"}
        data = None if body is None else io.BytesIO(body.encode())
        try:
            async with (
                asyncio.timeout(seconds),
                self._session.request(
                    method, self.url + path, data=data, headers=headers, allow_redirects=False
                ) as response,
            ):
                return response.status, await _read_bounded(response, size_max)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> Unreachable:
        cure = f"Check that the node runs: luohu node status --url {self.url}"
        found = str(error) or type(error).__name__
        return Unreachable(code="unreachable", where=self.url, expected="an answer", found=found, cure=cure)


async def _read_bounded(response: aiohttp.ClientResponse, size_max: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > size_max:
            raise _bad("size", f"at most {size_max} bytes", "more")
        parts.append(part)
    return b"".join(parts)


async def _event_lines(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, str]]:
    """Yield the fields of each event. A comment, which keeps the connection alive, has none."""
    buffer = b""
    async for piece in response.content.iter_any():
        buffer += piece
        *whole, buffer = buffer.split(b"\n\n")
        if len(buffer) > EVENT_SIZE_MAX or any(len(event) > EVENT_SIZE_MAX for event in whole):
            raise _bad("event", f"at most {EVENT_SIZE_MAX} bytes", "more")
        for event in whole:
            try:
                lines = event.decode().split("\n")
            except UnicodeDecodeError as error:
                raise _bad("event", "UTF-8", "other bytes") from error
            named = (line.partition(": ") for line in lines if line and not line.startswith(":"))
            fields = {name: value for name, _, value in named}
            if fields:
                yield fields


def _event(fields: dict[str, str]) -> Event:
    if set(fields) != {"id", "event", "data"}:
        raise _bad("event", "id, event and data", ascii(sorted(fields))[:80])
    with _decoding():
        return Event(
            fields["event"], fields["id"], _object(parse_json(fields["data"], size_max=EVENT_SIZE_MAX))
        )


def _proposal(answer: dict[str, Json]) -> tuple[Proposal, str]:
    with _decoding():
        return from_json(Proposal, answer.get("record")), _text(answer, "status")


def _bad(where: str, expected: str, found: str) -> BadAnswer:
    cure = "Check that the URL is that of a Luohu node of this version."
    return BadAnswer(
        code="bad-answer", where=f"answer: {where}", expected=expected, found=_shown(found), cure=cure
    )


@contextmanager
def _decoding() -> Iterator[None]:
    """Turn what does not decode into BadAnswer."""
    try:
        yield
    except LedgerError as error:
        raise _bad(error.where, error.expected, error.found) from error


def _answer(path: str, content: bytes) -> dict[str, Json]:
    try:
        return _object(parse_json(content, size_max=ANSWER_SIZE_MAX))
    except LedgerError as error:
        raise _bad(path, error.expected, error.found) from error


def _refused(status: int, answer: dict[str, Json]) -> ClientError:
    """Return what a status other than 200 says: not ready, no, or, for a node's own failure, nothing."""
    if status == 503:
        return _refusal(Unreachable, answer)
    if 400 <= status < 500:
        return _refusal(RefusedByNode, answer)
    return _bad("status", "200, 4xx or 503", f"{status}")


def _refusal(kind: type[E], answer: dict[str, Json]) -> E:
    error = _object(answer.get("error"))
    texts = {name: _shown(_text(error, name)) for name in ("code", "where", "expected", "found", "cure")}
    return kind(
        code=texts["code"],
        where=texts["where"],
        expected=texts["expected"],
        found=texts["found"],
        cure=texts["cure"],
    )


def _shown(text: str) -> str:
    """Return a text that is safe to print, and not too long."""
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text[:TEXT_SIZE_MAX]
    )


def _result_of(transaction: Transaction, value: Json) -> Result:
    result = _result(value)
    # A node that could not decode a transaction, or no longer holds it, names none.
    if result.id != transaction.id and (result.id or result.state == FINAL):
        raise _bad("result", f"transaction {transaction.id.hex()}", result.id.hex() or "none")
    return result


def _result(value: Json) -> Result:
    answer = _object(value)
    state, error = _text(answer, "state"), answer.get("error")
    if state not in (FINAL, PENDING, REFUSED) or (error is not None) != (state == REFUSED):
        raise _bad("result", "final, pending, or refused with an error", state)
    refusal = None
    if error is not None:
        refusal = _refusal(RefusedByNode, {"error": error})
    is_final = state == FINAL
    return Result(
        _hex(answer, "id"),
        state,
        _number(answer, "height") if is_final else None,
        _number(answer, "time_ms") if is_final else None,
        refusal,
    )


def _condition(value: Json) -> NodeCondition:
    answer = _object(value)
    quorum = _object(answer.get("quorum"))
    return NodeCondition(
        state=_shown(_text(answer, "state")),
        waits_for=None if answer.get("waits_for") is None else _shown(_text(answer, "waits_for")),
        troubles=tuple(_trouble(each) for each in _list(answer, "troubles")),
        validators=_texts(quorum, "validators"),
        quorum=_number(quorum, "needed"),
        connected=_texts(quorum, "connected"),
        last_final_ms=_optional_number(answer, "last_final_ms"),
        known_height=_number(answer, "known_height"),
        clock_offsets_ms=tuple(_offset(each) for each in _list(answer, "clock_offsets")),
        disk_free_size=_optional_number(answer, "disk_free_size"),
    )


def _trouble(value: Json) -> NodeTrouble:
    answer = _object(value)
    code, found, cure = (_shown(_text(answer, name)) for name in ("code", "found", "cure"))
    return NodeTrouble(code, found, cure, _number(answer, "since_ms"))


def _offset(value: Json) -> tuple[str, int]:
    answer = _object(value)
    return _shown(_text(answer, "member")), _number(answer, "offset_ms")


def _block(value: Json, height: int) -> tuple[Block, QuorumCertificate | None]:
    answer = _object(value)
    listed = _list(answer, "transactions")
    if len(listed) > BLOCK_TRANSACTIONS_MAX:
        raise _bad("transactions", f"at most {BLOCK_TRANSACTIONS_MAX}", f"{len(listed)}")
    with _decoding():
        encoded_header = EncodedHeader.decode(_hex(answer, "header"))
        encoded = [_hex({"transaction": each}, "transaction") for each in listed]
        transactions = tuple(Transaction.decode(each) for each in encoded)
        has_own = answer.get("certificate") is not None
        certificate = unpack(QuorumCertificate, _hex(answer, "certificate")) if has_own else None
    if encoded_header.header.height != height:
        raise _bad("block", f"height {height}", f"{encoded_header.header.height}")
    return Block(encoded_header, transactions), certificate


def _decoded(shape: type[Evidence], encoded: bytes) -> Evidence:
    with _decoding():
        return unpack(shape, encoded, size_max=EVIDENCE_SIZE_MAX)


def _object(value: Json) -> dict[str, Json]:
    if type(value) is not dict:
        raise _bad("value", "an object", type(value).__name__)
    return value


def _list(answer: dict[str, Json], key: str) -> list[Json]:
    value = answer.get(key)
    if not isinstance(value, list):
        raise _bad(key, "a list", type(value).__name__)
    return value


def _texts(answer: dict[str, Json], key: str) -> tuple[str, ...]:
    return tuple(_shown(_text({key: each}, key)) for each in _list(answer, key))


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


def _optional_number(answer: dict[str, Json], key: str) -> int | None:
    return None if answer.get(key) is None else _number(answer, key)


def _flag(answer: dict[str, Json], key: str) -> bool:
    value = answer.get(key)
    if type(value) is not bool:
        raise _bad(key, "true or false", type(value).__name__)
    return value


def _hex(answer: dict[str, Json], key: str) -> bytes:
    text = _text(answer, key)
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    # fromhex takes capitals and spaces as well; a pattern would be a hundred times as slow.
    if found.hex() != text:
        raise _bad(key, "lower case hexadecimal", "something else")
    return found
