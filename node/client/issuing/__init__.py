"""What a bureau's systems issue documents with (docs/issuing.md)."""

from node.client.issuing.blocking import BlockingIssuance, BlockingIssuer
from node.client.issuing.draft import Draft, draft_of_bytes, draft_of_file
from node.client.issuing.issuer import Issuance, Issuer, Pacing
from node.client.issuing.outbox import Outbox
from node.client.issuing.register import ReferenceTaken, Register, RegisterError
from node.client.nodes import Nodes

__all__ = [
    "BlockingIssuance",
    "BlockingIssuer",
    "Draft",
    "Issuance",
    "Issuer",
    "Nodes",
    "Outbox",
    "Pacing",
    "ReferenceTaken",
    "Register",
    "RegisterError",
    "draft_of_bytes",
    "draft_of_file",
]
