"""The pinned proofs as they stand in proofs.json: see make_proofs."""

import base64
import json
from collections.abc import Iterator
from typing import Any

from tests.vectors.make_proofs import PATH

VECTORS: dict[str, Any] = json.loads(PATH.read_bytes())


def proofs() -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield each case with its proof file."""
    known = {"": b""}
    for case in VECTORS["cases"]:
        splice = case["proof"]
        base = known[splice["based_on"]]
        insert = base64.b64decode(splice["insert"])
        proof = base[: splice["start"]] + insert + base[splice["end"] :] + bytes(splice.get("zeros", 0))
        known[case["name"]] = proof
        yield case, proof


def trust_of(case: dict[str, Any]) -> bytes:
    """Return the trust.json of a case."""
    trust = VECTORS["trusts"][case["trust"]]
    return json.dumps({**trust, "genesis": VECTORS["genesis"][trust["genesis"]]}).encode()


def document_of(case: dict[str, Any]) -> bytes:
    """Return the document of a case."""
    document = VECTORS["documents"][case["document"]]
    return base64.b64decode(document["start"]) + bytes(document["zeros"])


def request_of(case: dict[str, Any]) -> bytes:
    """Return the content of the request file of a case."""
    return base64.b64decode(VECTORS["requests"][case["request"]])
