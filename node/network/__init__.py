"""Peers over mutually authenticated TLS 1.3."""
