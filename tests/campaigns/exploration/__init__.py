"""Small-scope exhaustive exploration of the consensus core (docs/exploration.md)."""
