"""Seeded worlds: of the consensus core alone, and of whole nodes."""
