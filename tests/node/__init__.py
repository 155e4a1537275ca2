"""Whole nodes and networks of them."""
