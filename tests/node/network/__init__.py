"""The peer transport and its attackers."""
