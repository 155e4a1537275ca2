"""Overlays: what a block changes, above the state of its parent.

Rule 1: a block that is not final is never written into the stored state. It is an overlay of changed leaves
and changed tree pages; on finalization the store takes it over whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ledger.rules.blocks import Block, EncodedHeader, Header
from ledger.rules.state import StateView
from ledger.trees.merkle import Frontier
from ledger.trees.statepages import PageSource


class State(StateView, PageSource, Protocol):
    """The leaves and the tree pages of one version of the state."""


@dataclass(frozen=True, slots=True)
class Tip:
    """A block to build on: its header, the state after it, and the history up to and including it."""

    encoded_header: EncodedHeader
    state: State
    history: Frontier

    @property
    def header(self) -> Header:
        return self.encoded_header.header


@dataclass(frozen=True, slots=True)
class Overlay:
    """What a block changes, above the state of its parent."""

    values: Mapping[bytes, bytes]
    pages: Mapping[bytes, bytes | None]
    below: State

    def find_value(self, key: bytes) -> bytes | None:
        state: State = self
        while isinstance(state, Overlay):
            value = state.values.get(key)
            if value is not None:
                return value
            state = state.below
        return state.find_value(key)

    def load_page(self, path: bytes) -> bytes | None:
        state: State = self
        while isinstance(state, Overlay):
            if path in state.pages:
                return state.pages[path]
            state = state.below
        return state.load_page(path)


@dataclass(frozen=True, slots=True)
class Executed:
    """A block that was executed: the block, its overlay, and the history that its children extend."""

    block: Block
    overlay: Overlay
    history: Frontier

    def tip(self) -> Tip:
        """Return the block as something to build on."""
        return Tip(self.block.encoded_header, self.overlay, self.history)
