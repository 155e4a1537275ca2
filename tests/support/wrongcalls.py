"""What callers may get wrong: every public call with one argument of any other kind (ledger/encoding/arguments.py).

`CALLS` has the calls with good arguments; `ODD` makes an argument of each kind that somebody passed somewhere.
"""

import array
import asyncio
import io
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Final

from ledger.audit import Audit
from ledger.bundles import open_bundle
from ledger.consents import ConsentFile
from ledger.disclosure import verify_disclosure, verify_disclosure_as_of
from ledger.encoding.keys import PrivateKey, PublicKey
from ledger.genesis import parse_genesis
from ledger.presentedsets import (
    verify_set,
    verify_set_anchor,
    verify_set_anchor_as_of,
    verify_set_as_of,
)
from ledger.proofs import Proof
from ledger.receipts import check_receipt, check_receipt_of, parse_receipt
from ledger.requests import Request
from ledger.rules.blocks import Block
from ledger.sdjwt import decode as decode_sd_jwt
from ledger.sets import ShownSet
from ledger.trees.merkle import Content, ContentHasher
from ledger.trust import TrustedRoot, check_replaces, parse_trusted_root, trusted_root_to_json
from ledger.verifier import SuspendedIssuer, Verifier
from node.client.issuing import draft_of_bytes
from tests.attacks.forge import DOCUMENT, HOLDER, NOW_MS, honest, honest_from_checkpoint
from tests.attacks.shownsets import ALL, anchored, whole
from tests.support.consortium import REPORT
from tests.support.forging import with_fields
from tests.support.sources import ROOT

CORPUS: Final = ROOT / "tests" / "campaigns" / "fuzz" / "corpus"


class Index:
    """A whole number of another class, as those of numpy are."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __index__(self) -> int:
        return self._number


class Lying:
    """Says that it is a whole number, and is none."""

    def __index__(self) -> int:
        raise TypeError("only integer scalar arrays can be converted to a scalar index")


class Readable:
    """A file that gives whatever it was made of."""

    def __init__(self, piece: object) -> None:
        self._piece = piece

    def read(self, _size: int) -> object:
        return self._piece


async def awaited() -> bytes:
    """Something that must be awaited."""
    return b""


class Pending:
    """What must be awaited, and may be dropped: Python warns of a coroutine that is."""

    def __await__(self) -> Generator[None, None, bytes]:
        return awaited().__await__()


class Awaitable:
    """A file of a loop: what it reads must be awaited."""

    def read(self, _size: int) -> object:
        return Pending()


class Arriving:
    """Pieces that come in a loop."""

    def __aiter__(self) -> "Arriving":
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration


def released() -> memoryview:
    """A view that was given back."""
    view = memoryview(b"x")
    view.release()
    return view


def closed_future() -> object:
    """A future, which is no document yet."""
    loop = asyncio.new_event_loop()
    future = loop.create_future()
    loop.close()
    return future


def pieces() -> Iterator[object]:
    """Pieces of which the second is no bytes."""
    yield b"x"
    yield "y"


ODD: Final[dict[str, Callable[[], object]]] = {
    "none": lambda: None,
    "true": lambda: True,
    "false": lambda: False,
    "zero": lambda: 0,
    "minus one": lambda: -1,
    "past every time": lambda: 2**53,
    "a number of 20,000 digits": lambda: 10**20_000,
    "a float": lambda: 1.8e12,
    "not a number": lambda: float("nan"),
    "infinity": lambda: float("inf"),
    "less than infinity": lambda: float("-inf"),
    "a decimal": lambda: Decimal(NOW_MS),
    "a fraction": lambda: Fraction(NOW_MS),
    "a complex number": lambda: 1j,
    "a whole number of another class": lambda: Index(NOW_MS),
    "a negative one of another class": lambda: Index(-1),
    "a liar": Lying,
    "an empty text": lambda: "",
    "a text": lambda: "report.pdf",
    "a text of digits": lambda: f"{NOW_MS}",
    "a lone surrogate": lambda: "\ud800",
    "a path": lambda: Path("report.pdf"),
    "no bytes": lambda: b"",
    "bytes": lambda: b"LUOHU",
    "a bytearray": lambda: bytearray(b"LUOHU"),
    "a view": lambda: memoryview(b"LUOHU"),
    "a view of shorts": lambda: memoryview(array.array("H", [1, 2, 3])),
    "a view with gaps": lambda: memoryview(b"LUOHU")[::2],
    "a view backwards": lambda: memoryview(b"LUOHU")[::-1],
    "a view of two dimensions": lambda: memoryview(b"LUOHU!").cast("B", (2, 3)),
    "an empty view": lambda: memoryview(b""),
    "a view that was given back": released,
    "an array": lambda: array.array("d", [1.0, float("nan")]),
    "a list": list,
    "a list of numbers": lambda: [1, 2],
    "a list of texts": lambda: ["a", "b"],
    "a list of bytes": lambda: [b"a", bytearray(b"b"), memoryview(b"c")],
    "pieces with a text": pieces,
    "a tuple": lambda: (1, "a"),
    "a set": lambda: {b"a", b"b"},
    "a dict": lambda: {b"a": 1},
    "a range": lambda: range(3),
    "an object": object,
    "a class": lambda: Verifier,
    "a function": lambda: len,
    "a generator": lambda: (piece for piece in (b"a", b"b")),
    "a text file": lambda: io.StringIO("text"),
    "an empty text file": io.StringIO,
    "a binary file in text mode": lambda: io.TextIOWrapper(io.BytesIO(b"\xff\xfe")),
    "a binary file": lambda: io.BytesIO(b"LUOHU"),
    "a file that gives nothing": lambda: Readable(None),
    "a file that gives numbers": lambda: Readable(7),
    "a file that gives text": lambda: Readable("text"),
    "a file of a loop": Awaitable,
    "pieces of a loop": Arriving,
    "a coroutine": awaited,
    "a future": closed_future,
    "an exception": lambda: ValueError("x"),
    "a verifier": lambda: Verifier(honest().trust),
    "a trusted root": lambda: honest().trust,
    "a trusted root without a genesis": lambda: TrustedRoot(1, None, ()),  # type: ignore[arg-type]
    "a trusted root of texts": lambda: with_fields(honest().trust, checkpoints=("a", "b")),
    "a request": lambda: honest().request,
    "a request without a body": lambda: Request(None, bytes(64)),  # type: ignore[arg-type]
    "a request of noise": lambda: Request(b"noise", bytes(64)),
    "the body of a request": lambda: honest().request.decoded(),
    "a proof": lambda: honest().proof,
    "a hasher": ContentHasher,
    "a content": lambda: Content(5, bytes(32)),
    "a mode": lambda: SuspendedIssuer.REFUSE,
    "the name of a mode": lambda: "refuse",
}


@dataclass(frozen=True, slots=True)
class Call:
    """A public call with good arguments."""

    function: Callable[..., object]
    arguments: dict[str, Any]

    def given(self, name: str, value: object) -> object:
        """Call with another argument under one name."""
        return self.function(**{**self.arguments, name: value})


@cache
def calls() -> dict[str, Call]:
    """Return every public call by its name."""
    shown = honest()
    verifier, trust = Verifier(shown.trust), shown.trust
    asked: dict[str, Any] = {"document": DOCUMENT, "proof": shown.proof_bytes, "max_age_ms": 2**53 - 1}
    of_list: dict[str, Any] = {"documents": [(DOCUMENT, shown.proof_bytes)], "max_age_ms": 86_400_000}
    of_report: dict[str, Any] = {
        "verifier": verifier,
        "shown": b"a~b",
        "proof": shown.proof_bytes,
        "request": shown.request,
        "named_fields": ("a",),
    }
    consent = ConsentFile.decode((CORPUS / "consent-file" / "consent").read_bytes())
    receipt_text = (CORPUS / "receipt-json" / "receipt").read_bytes()
    receipt = parse_receipt(receipt_text)
    json_text = (CORPUS / "trust-json" / "trust").read_bytes()
    of_receipt: dict[str, Any] = {
        "file": receipt,
        "request": shown.request,
        "terms": consent.grant.decoded().terms,
        "consent_id": bytes(32),
    }
    shown_set = anchored(whole().manifest)
    of_set: dict[str, Any] = {
        "verifier": shown_set.verifier,
        "shown": whole().encode(),
        "proof": shown_set.proof_bytes,
        "files": [*ALL],
        "max_age_ms": 86_400_000,
    }
    draft: dict[str, Any] = {
        "document": DOCUMENT,
        "media_type": "application/pdf",
        "schema": REPORT,
        "holder_key": HOLDER.public,
        "reference": "a",
        "expires_ms": NOW_MS,
    }
    return {
        "Verifier": Call(Verifier, {"trust": trust, "suspended_issuer": SuspendedIssuer.REFUSE}),
        "verify": Call(verifier.verify, {**asked, "request": shown.request, "now_ms": NOW_MS}),
        "verify_as_of": Call(verifier.verify_as_of, {**asked, "request": shown.request, "at_ms": NOW_MS}),
        "verify_list": Call(verifier.verify_list, {**of_list, "request": shown.request, "now_ms": NOW_MS}),
        "verify_list_as_of": Call(
            verifier.verify_list_as_of, {**of_list, "request": shown.request, "at_ms": NOW_MS}
        ),
        "verify_anchor": Call(verifier.verify_anchor, {**asked, "now_ms": NOW_MS}),
        "verify_anchor_as_of": Call(verifier.verify_anchor_as_of, {**asked, "at_ms": NOW_MS}),
        "verify_disclosure": Call(verify_disclosure, {**of_report, "now_ms": NOW_MS}),
        "verify_disclosure_as_of": Call(verify_disclosure_as_of, {**of_report, "at_ms": NOW_MS}),
        "verify_set": Call(verify_set, {**of_set, "request": shown_set.request, "now_ms": NOW_MS}),
        "verify_set_as_of": Call(verify_set_as_of, {**of_set, "request": shown_set.request, "at_ms": NOW_MS}),
        "verify_set_anchor": Call(verify_set_anchor, {**of_set, "now_ms": NOW_MS}),
        "verify_set_anchor_as_of": Call(verify_set_anchor_as_of, {**of_set, "at_ms": NOW_MS}),
        "ShownSet.decode": Call(ShownSet.decode, {"data": whole().encode()}),
        "parse_trusted_root": Call(parse_trusted_root, {"text": json_text}),
        "trusted_root_to_json": Call(trusted_root_to_json, {"root": trust}),
        "check_replaces": Call(
            check_replaces,
            {"root": honest_from_checkpoint().trust, "kept": honest_from_checkpoint().trust},
        ),
        "newest_pin": Call(trust.newest_pin, {"at_ms": NOW_MS}),
        "Request.decode": Call(Request.decode, {"data": shown.request.encode()}),
        "Proof.decode": Call(Proof.decode, {"data": shown.proof_bytes}),
        "ConsentFile.decode": Call(ConsentFile.decode, {"data": consent.encode()}),
        "parse_receipt": Call(parse_receipt, {"text": receipt_text}),
        "check_receipt": Call(check_receipt, of_receipt),
        "check_receipt_of": Call(check_receipt_of, {"file": receipt, "consent": consent}),
        "parse_genesis": Call(parse_genesis, {"text": (CORPUS / "genesis-json" / "genesis").read_bytes()}),
        "sdjwt.decode": Call(decode_sd_jwt, {"data": (CORPUS / "sd-jwt" / "whole").read_bytes()}),
        "open_bundle": Call(open_bundle, {"file": io.BytesIO((CORPUS / "bundle" / "stored").read_bytes())}),
        "ContentHasher.update": Call(lambda piece: ContentHasher().update(piece), {"piece": b"piece"}),
        "Content": Call(Content, {"size": 5, "root": bytes(32)}),
        "PublicKey.from_text": Call(PublicKey.from_text, {"text": str(HOLDER.public)}),
        "PrivateKey.from_seed": Call(PrivateKey.from_seed, {"seed": bytes(32)}),
        "Audit": Call(Audit, {"genesis": trust.genesis}),
        "Audit.replay": Call(
            lambda block, certificate: Audit(trust.genesis).replay(block, certificate),
            {
                "block": Block(shown.chain.tips[1].encoded_header, ()),
                "certificate": shown.chain.certified(1).certificate,
            },
        ),
        "draft_of_bytes": Call(draft_of_bytes, draft),
    }


_TEXTS: Final = {"an empty text", "a text", "a text of digits", "a lone surrogate", "the name of a mode"}
_BYTES: Final = {
    "no bytes",
    "bytes",
    "a bytearray",
    "a view",
    "a view of shorts",
    "a view of two dimensions",
    "an empty view",
    "an array",
}
_WHOLE: Final = {"zero", "a whole number of another class"}
_REQUESTS: Final = {"a request", "a request of noise", "a request without a body"}
_ROOTS: Final = {"a trusted root", "a trusted root without a genesis", "a trusted root of texts"}
_FITTING: Final = {
    "document": {
        *_BYTES,
        "a list",
        "a list of bytes",
        "a generator",
        "a binary file",
        "a content",
    },
    **dict.fromkeys(("proof", "shown", "data", "piece", "seed", "text"), _BYTES),
    **dict.fromkeys(("now_ms", "at_ms", "max_age_ms"), _WHOLE),
    "size": {*_WHOLE, "past every time"},
    **dict.fromkeys(("trust", "root", "kept"), _ROOTS),
    **dict.fromkeys(("schema", "media_type", "public key"), _TEXTS),
    "request": _REQUESTS,
    "expires_ms": {*_WHOLE, "none"},
    "named_fields": {"a list", "a list of texts"},
    "files": {"a list"},
    "suspended_issuer": {"a mode"},
    "verifier": {"a verifier"},
    "file": {"a binary file"},
    "certificate": {"none"},
    "holder_key": {"none"},
    "reference": {*_TEXTS, "none"},
}


def is_fitting(call: str, name: str, odd: str) -> bool:
    """Say whether an odd argument is of the kind that a call takes, so that its content is judged."""
    if call == "PublicKey.from_text":
        name = "public key"
    if call == "Content" and name == "root":
        name = "root of content"
    if call in ("check_receipt", "check_receipt_of") and name == "file":
        return False
    # `draft_of_bytes` takes the bytes alone.
    if call == "draft_of_bytes" and name == "document":
        return odd in _BYTES
    return odd in _FITTING.get(name, set())
