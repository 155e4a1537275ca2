"""Catching up with peers that are not trusted, by blocks or by a snapshot, and serving those who do (docs/sync.md)."""
