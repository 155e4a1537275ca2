"""Abuse: floods at a node's API and peer port, and what they cost everybody else."""
