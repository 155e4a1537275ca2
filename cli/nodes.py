"""Nodes as commands see them: making one from a home, asking one over its API."""

import logging
import sys

from ledger.keys import PrivateKey
from ledger.state import VALIDATOR
from node.home import Home
from node.keyfiles import Protection
from node.run import NodeParts


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
