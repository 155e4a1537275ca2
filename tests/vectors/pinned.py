"""The pinned proofs as they stand in proofs.json and present.json: see make_proofs and make_present."""

import base64
import json
from collections.abc import Iterator
from typing import Any, TypeAlias

from tests.vectors import make_present, make_proofs

Vectors: TypeAlias = dict[str, Any]

VECTORS: Vectors = json.loads(make_proofs.PATH.read_bytes())
PRESENT_VECTORS: Vectors = json.loads(make_present.PATH.read_bytes())


def proofs(vectors: Vectors = VECTORS) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield each case with its proof file."""
    known = {"": b""}
    for case in vectors["cases"]:
        splice = case["proof"]
        base = known[splice["based_on"]]
        insert = base64.b64decode(splice["insert"])
        proof = base[: splice["start"]] + insert + base[splice["end"] :] + bytes(splice.get("zeros", 0))
        known[case["name"]] = proof
        yield case, proof


def trust_of(case: dict[str, Any], vectors: Vectors = VECTORS) -> bytes:
    """Return the trust.json of a case."""
    trust = vectors["trusts"][case["trust"]]
    return json.dumps({**trust, "genesis": vectors["genesis"][trust["genesis"]]}).encode()


def document_of(case: dict[str, Any], vectors: Vectors = VECTORS) -> bytes:
    """Return the document of a case."""
    document = vectors["documents"][case["document"]]
    return base64.b64decode(document["start"]) + bytes(document["zeros"])


def request_of(case: dict[str, Any], vectors: Vectors = VECTORS) -> bytes:
    """Return the content of the request file of a case."""
    return base64.b64decode(vectors["requests"][case["request"]])
