"""Trees and their proofs."""
