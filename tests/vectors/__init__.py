"""Pinned bytes, and the scripts that made them."""
