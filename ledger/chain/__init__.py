"""Blocks on blocks: overlays, execution, snapshots, and signatures checked ahead."""
