"""Canonical bytes, shapes, digests and keys."""
