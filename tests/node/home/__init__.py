"""Homes, development networks, repair."""
