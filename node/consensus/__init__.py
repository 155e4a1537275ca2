"""The pure consensus core: events in, effects out (docs/consensus.md)."""
