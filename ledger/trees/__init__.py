"""RFC 9162 trees, the state tree with its proofs, and its stored pages."""
