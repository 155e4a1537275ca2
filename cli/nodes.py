"""Nodes as commands see them: making one from a home, and reading from one over its API.

Rule 1: whatever a node answers is checked for its shape before it is used; a node is never believed where
a proof can be had.
Rule 2: an answer is bounded in size and time. No answer, or none of a node, is exit code 3.
"""

import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import aiohttp

from cli.exits import NO, UNREACHABLE, CommandError, unreachable, wrong_usage
from ledger.blocks import BLOCK_TRANSACTIONS_MAX, HEADER_SIZE_MAX, Block, SealedHeader
from ledger.certificates import QuorumCertificate
from ledger.codec import ENCODED_SIZE_MAX
from ledger.errors import EncodingError, LedgerError
from ledger.keys import PrivateKey
from ledger.records import Json, from_json, parse_json, to_json, unpack
from ledger.state import VALIDATOR
from ledger.transactions import TRANSACTION_SIZE_MAX, Transaction
from node.home import Home
from node.keyfiles import Protection
from node.run import NodeParts
from node.service import Status

ANSWER_SIZE_MAX: Final = 512 * 1024 * 1024
ANSWER_SECONDS_MAX: Final = 30.0
BLOCKS_PER_ANSWER: Final = 16
HTTP_OK: Final = 200
HTTP_UNAVAILABLE: Final = 503

_URL: Final = re.compile(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?/?", re.ASCII)
_REACH_CURE: Final = "Check the URL, and that the node runs: `luohu network status DIR`."


@dataclass(frozen=True, slots=True)
class NodeReport:
    """A node's status, and what it waits for where it is not ready."""

    status: Status
    waits_for: str | None


def node_parts(home: Home, protection: Protection) -> NodeParts:
    """Return what a node on this home is made of. Raises ConfigError or KeyFileError."""
    member = next((each for each in home.genesis.content.members if each.id == home.member), None)
    is_validator = member is not None and member.node is not None and member.node.kind == VALIDATOR
    validator_key: PrivateKey | None = home.load_validator_key(protection) if is_validator else None
    return NodeParts(
        member=home.member,
        genesis=home.genesis,
        settings=home.require_node(),
        identity=home.load_tls_identity(protection),
        validator_key=validator_key,
        member_key=home.load_member_key(protection),
        data=home.data,
    )


def configure_log() -> None:
    """Send the node's log to standard error, one event a line."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )


class NodeReader:
    """Reads from one node. Use it as an asynchronous context manager."""

    def __init__(self, url: str) -> None:
        """Take the URL of a node's API. Raises CommandError where it is none."""
        if not _URL.fullmatch(url):
            raise wrong_usage(
                "--url",
                expected="the URL of a node's API, like http://127.0.0.1:7201",
                found=ascii(url)[:80],
                cure="See `luohu network status DIR`, or ask the node's operator.",
            )
        self.url = url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "NodeReader":
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX)
        self._session = aiohttp.ClientSession(timeout=timeout)
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def status(self) -> Status:
        """Return the node's status."""
        with _answer_of(self.url):
            return from_json(Status, await self._ask("/v1/status"))

    async def waits_for(self) -> str | None:
        """Return None where the node is ready, else what it waits for."""
        try:
            await self._ask("/v1/ready")
        except CommandError as error:
            if error.code != "not-ready":
                raise
            return error.found
        return None

    async def blocks(self, height: int) -> list[tuple[Block, QuorumCertificate | None]]:
        """Return final blocks from a height on, each with its certificate where it has one of its own."""
        answer = await self._ask(f"/v1/blocks?from={height}&count={BLOCKS_PER_ANSWER}")
        with _answer_of(self.url):
            listed = _require_keys(answer, "blocks")["blocks"]
            if not isinstance(listed, list) or len(listed) > BLOCKS_PER_ANSWER:
                raise EncodingError("blocks", f"at most {BLOCKS_PER_ANSWER} blocks", "something else")
            blocks = [_decode_block(each) for each in listed]
            for offset, (block, _) in enumerate(blocks):
                if block.header.height != height + offset:
                    raise EncodingError("blocks", f"block {height + offset}", f"{block.header.height}")
            return blocks

    async def _ask(self, path: str) -> Json:
        assert self._session is not None, "a reader is used inside its context"
        parts: list[bytes] = []
        size = 0
        try:
            async with self._session.get(self.url + path, allow_redirects=False) as response:
                async for part in response.content.iter_any():
                    size += len(part)
                    if size > ANSWER_SIZE_MAX:
                        break
                    parts.append(part)
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            found = str(error) or type(error).__name__
            raise unreachable(
                self.url, expected="an answer", found=found, cure=_REACH_CURE, code="unreachable"
            ) from error
        with _answer_of(self.url):
            if size > ANSWER_SIZE_MAX:
                raise EncodingError("answer", f"at most {ANSWER_SIZE_MAX} bytes", "more")
            answer = parse_json(b"".join(parts), size_max=ANSWER_SIZE_MAX)
            if status != HTTP_OK:
                raise _refusal(self.url, status, answer)
            return answer


async def ask_status(url: str) -> NodeReport:
    """Return a node's status and readiness. Raises CommandError where it does not answer."""
    async with NodeReader(url) as reader:
        waits_for = await reader.waits_for()
        return NodeReport(await reader.status(), waits_for)


def report_json(url: str, report: NodeReport) -> dict[str, Json]:
    """Return the JSON form of a node's report."""
    return {
        "url": url,
        "is_ready": report.waits_for is None,
        "waits_for": report.waits_for,
        **to_json(report.status),
    }


@contextmanager
def _answer_of(url: str) -> Iterator[None]:
    """Turn what is no answer of a node into exit code 3."""
    try:
        yield
    except LedgerError as error:
        raise unreachable(
            url,
            expected=f"a node's answer: {error.expected}",
            found=error.found,
            cure=_REACH_CURE,
            code="not-a-node",
        ) from error


def _refusal(url: str, status: int, answer: Json) -> CommandError:
    refusal = _require_keys(answer, "error")["error"]
    texts = {key: str(value) for key, value in refusal.items()} if isinstance(refusal, dict) else {}
    return CommandError(
        UNREACHABLE if status == HTTP_UNAVAILABLE else NO,
        texts.get("where", url),
        expected=texts.get("expected", "an answer"),
        found=texts.get("found", f"HTTP status {status}"),
        cure=texts.get("cure", _REACH_CURE),
        code=texts.get("code", "not-a-node"),
    )


def _require_keys(value: Json, *keys: str) -> Mapping[str, Json]:
    if not isinstance(value, dict) or set(value) != set(keys):
        raise EncodingError("answer", f"an object with the keys {sorted(keys)}", "something else")
    return value


def _decode_block(value: Json) -> tuple[Block, QuorumCertificate | None]:
    found = _require_keys(value, "header", "transactions", "certificate")
    transactions, certificate = found["transactions"], found["certificate"]
    if not isinstance(transactions, list) or len(transactions) > BLOCK_TRANSACTIONS_MAX:
        raise EncodingError("transactions", f"at most {BLOCK_TRANSACTIONS_MAX} of them", "something else")
    sealed = SealedHeader.decode(_unhex(found["header"], HEADER_SIZE_MAX))
    decoded = tuple(Transaction.decode(_unhex(each, TRANSACTION_SIZE_MAX)) for each in transactions)
    if certificate is None:
        return Block(sealed, decoded), None
    return Block(sealed, decoded), unpack(QuorumCertificate, _unhex(certificate, ENCODED_SIZE_MAX))


def _unhex(value: Json, size_max: int) -> bytes:
    if not isinstance(value, str) or len(value) > 2 * size_max:
        raise EncodingError("answer", f"hexadecimal of at most {size_max} bytes", "something else")
    try:
        return bytes.fromhex(value)
    except ValueError as error:
        raise EncodingError("answer", "hexadecimal", "other characters") from error
