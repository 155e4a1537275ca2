"""The names that peers go by: a registered node's id, or that of whoever answers for it and cannot be pinned."""

from typing import Final

# Not a character of node ids.
_MARK: Final = "?"


def unpinned(peer_id: str) -> str:
    """Return the name under which whoever answers at a peer's address is known while it cannot be pinned."""
    return peer_id + _MARK


def is_unpinned(name: str) -> bool:
    """Say whether a name is that of a peer that cannot be pinned."""
    return name.endswith(_MARK)


def registered(name: str) -> str:
    """Return the id of the node that a peer is, or answers for."""
    return name.removesuffix(_MARK)
