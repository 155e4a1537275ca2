"""A relay between a client and an honest node that lies: real HTTP on loopback, whatever the lie makes of each answer.

A lie takes what was asked, which it may pass on to the honest node or not, and returns what the client is answered.
"""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from ledger.encoding.digests import digest
from ledger.encoding.records import from_json, pack, to_json, unpack
from ledger.errors import EncodingError
from ledger.proofs import Evidence
from ledger.rules.state import LEAF_SIZE_MAX, VALIDATORS_KEY, Consent, Ended, Leaf
from ledger.rules.transactions import Transaction
from ledger.trust import FinalizedHeader

ANSWER_S = 10


@dataclass(frozen=True, slots=True)
class Said:
    """An answer over HTTP."""

    status: int
    body: bytes
    content_type: str = "application/json"
    location: str | None = None

    @property
    def json(self) -> dict[str, Any]:
        return cast(dict[str, Any], json.loads(self.body))

    def with_json(self, value: object) -> "Said":
        return replace(self, body=json.dumps(value).encode())


@dataclass(frozen=True, slots=True)
class Asked:
    """A question over HTTP, and the honest node that could answer it."""

    node: str
    method: str
    path: str
    body: bytes

    @property
    def is_submission(self) -> bool:
        return self.method == "POST" and self.path in ("/v1/transactions", "/v1/relay")

    @property
    def is_state(self) -> bool:
        return self.path.startswith("/v1/state/")

    @property
    def is_evidence(self) -> bool:
        return self.path == "/v1/evidence"

    def pass_on(self, path: str | None = None) -> Said:
        """Return what the honest node answers, to this question or to another."""
        headers = {"Content-Type": "application/json"}
        data = self.body if self.method == "POST" else None
        question = urllib.request.Request(self.node + (path or self.path), data, headers, method=self.method)
        try:
            with urllib.request.urlopen(question, timeout=ANSWER_S) as answer:
                return Said(answer.status, answer.read())
        except urllib.error.HTTPError as error:
            return Said(error.code, error.read())


Lie = Callable[[Asked], Said]


@contextmanager
def lying(node: str, lie: Lie) -> Iterator[str]:
    """Serve a lie in front of an honest node's URL; yield the URL of the lie."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            said = lie(Asked(node, self.command, self.path, body))
            self.send_response(said.status)
            self.send_header("Content-Type", said.content_type)
            self.send_header("Content-Length", f"{len(said.body)}")
            if said.location is not None:
                self.send_header("Location", said.location)
            with suppress(ConnectionError):  # a client that has given up
                self.end_headers()
                self.wfile.write(said.body)

        do_GET = do_POST = answer

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# -- submissions --------------------------------------------------------------------------------------------


def throw_away(asked: Asked) -> Said:
    """Say of whatever is submitted that it is final, and send it nowhere."""
    if not asked.is_submission:
        return asked.pass_on()
    if asked.path == "/v1/relay":
        return Said(200, json.dumps(_final(b"\xab" * 32)).encode())
    sent = json.loads(asked.body)["transactions"]
    ids = [Transaction.decode(bytes.fromhex(each)).id for each in sent]
    return Said(200, json.dumps({"results": [_final(each) for each in ids]}).encode())


def say_another_block(asked: Asked) -> Said:
    """Send on what is submitted, and say that it is final in another block."""
    said = asked.pass_on()
    if not asked.is_submission:
        return said
    value = said.json
    for result in value.get("results", [value]):
        if result["state"] == "final":
            result.update(height=999, time_ms=1)
    return said.with_json(value)


def refuse_as(code: str) -> Lie:
    """Refuse whatever is submitted, with a code that the ledger has."""

    def lie(asked: Asked) -> Said:
        return _no(code) if asked.is_submission else asked.pass_on()

    return lie


def _final(identity: bytes) -> dict[str, object]:
    return {"id": identity.hex(), "state": "final", "height": 999, "time_ms": 1, "error": None}


def _no(code: str, status: int = 400) -> Said:
    error = {"code": code, "where": "relay", "expected": "nothing", "found": "a lie", "cure": "believe it"}
    return Said(status, json.dumps({"error": error}).encode())


# -- leaves -------------------------------------------------------------------------------------------------


def alter_leaf(shape: type[Leaf], alter: Callable[[Any], Any]) -> Lie:
    """Throw away what is submitted, and alter each leaf of a kind that is shown."""

    def lie(asked: Asked) -> Said:
        said = throw_away(asked)
        if not asked.is_state or said.status != 200:
            return said
        value = said.json
        if value["value"] is None:
            return said
        try:
            record = unpack(shape, bytes.fromhex(value["value"]), size_max=LEAF_SIZE_MAX)
        except EncodingError:
            return said  # a leaf of another kind
        value["value"] = pack(alter(record)).hex()
        return said.with_json(value)

    return lie


def say_ended(asked: Asked) -> Said:
    """Say of every consent that it has ended."""
    return alter_leaf(Consent, lambda found: replace(found, ended=Ended("holder", 999, 1)))(asked)


def say_active(asked: Asked) -> Said:
    """Say of every consent that it stands."""
    return alter_leaf(Consent, lambda found: replace(found, ended=None))(asked)


def show_key(other: bytes) -> Lie:
    """Throw away what is submitted, and show the evidence of another key for every one."""

    def lie(asked: Asked) -> Said:
        return asked.pass_on(f"/v1/state/{other.hex()}") if asked.is_state else throw_away(asked)

    return lie


def show_nothing(asked: Asked) -> Said:
    """Throw away what is submitted, and show the absence of another key for every one."""
    if not asked.is_state:
        return throw_away(asked)
    return asked.pass_on(f"/v1/state/{digest(b'a key that nobody has').hex()}")


def invent_leaves(*leaves: Leaf) -> Lie:
    """Throw away what is submitted, and show leaves that nobody recorded, with the evidence of another one."""
    invented = {f"/v1/state/{leaf.state_key().hex()}": leaf for leaf in leaves}

    def lie(asked: Asked) -> Said:
        leaf = invented.get(asked.path)
        if leaf is None:
            return throw_away(asked)
        some = asked.pass_on(f"/v1/state/{VALIDATORS_KEY.hex()}")
        return some.with_json({**some.json, "value": pack(leaf).hex()})

    return lie


# -- evidence -----------------------------------------------------------------------------------------------


def alter_evidence(alter: Callable[[FinalizedHeader], FinalizedHeader]) -> Lie:
    """Alter header or certificate of all evidence."""

    def lie(asked: Asked) -> Said:
        said = asked.pass_on()
        if asked.is_state and said.status == 200:
            value = said.json
            value["at"] = to_json(alter(from_json(FinalizedHeader, value["at"])))
            return said.with_json(value)
        if asked.is_evidence and said.status == 200:
            found = unpack(Evidence, bytes.fromhex(said.json["evidence"]))
            assert found.certificate is not None
            at = alter(FinalizedHeader(found.header, found.certificate))
            changed = replace(found, header=at.header, certificate=at.certificate)
            return said.with_json({"evidence": pack(changed).hex()})
        return said

    return lie


def drop_vote(asked: Asked) -> Said:
    """Leave a vote out of every certificate, so that no quorum is left."""

    def alter(at: FinalizedHeader) -> FinalizedHeader:
        signatures = at.certificate.signatures[:-1]
        return replace(at, certificate=replace(at.certificate, signatures=signatures))

    return alter_evidence(alter)(asked)


def drop_certificate(asked: Asked) -> Said:
    """Leave the certificates out altogether."""
    said = asked.pass_on()
    if asked.is_state and said.status == 200:
        value = said.json
        value["at"]["certificate"] = None
        return said.with_json(value)
    if asked.is_evidence and said.status == 200:
        found = unpack(Evidence, bytes.fromhex(said.json["evidence"]))
        return said.with_json({"evidence": pack(replace(found, certificate=None)).hex()})
    return said


def drop_evidence(asked: Asked) -> Said:
    """Say what a leaf is, and give no evidence."""
    said = asked.pass_on()
    if asked.is_state and said.status == 200:
        return said.with_json({"value": said.json["value"]})
    return _no("unknown", 404) if asked.is_evidence else said


class Replay:
    """Records what an honest node answers, and says the same for ever after `begin`. Then it sends nothing on."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str, bytes], Said] = {}
        self._is_replaying = False

    def begin(self) -> None:
        self._is_replaying = True

    def __call__(self, asked: Asked) -> Said:
        if asked.is_submission:
            return throw_away(asked) if self._is_replaying else asked.pass_on()
        place = (asked.method, asked.path, asked.body)
        if not self._is_replaying:
            self._answers[place] = asked.pass_on()
        # What was never asked before is said to be unknown.
        return self._answers.get(place) or _no("unknown", 404)


# -- no answers ---------------------------------------------------------------------------------------------


def say_unknown(_asked: Asked) -> Said:
    """Refuse to show anything, as if nothing were there."""
    return _no("unknown", 404)


def say_null(asked: Asked) -> Said:
    """Throw away what is submitted, and say that every leaf is absent, without evidence."""
    if not asked.is_state:
        return throw_away(asked)
    return asked.pass_on().with_json({"value": None, "absence": None})


def send_html(_asked: Asked) -> Said:
    """Answer as a portal does that wants one to log in."""
    return Said(200, b"<!DOCTYPE html><title>Welcome</title>", "text/html")


def send_garbage(_asked: Asked) -> Said:
    """Answer with bytes that are nothing."""
    return Said(200, bytes(range(256)))


def fail(_asked: Asked) -> Said:
    """Answer as a broken proxy does."""
    return Said(502, b"Bad Gateway", "text/plain")


def redirect(asked: Asked) -> Said:
    """Send the client to the honest node by a redirection, which no client follows."""
    return Said(307, b"", location=asked.node + asked.path)
