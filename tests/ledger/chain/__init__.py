"""Execution, snapshots, and signatures checked ahead."""
