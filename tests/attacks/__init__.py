"""Forgeries, one a file: each a change of a proof that verifies, and the step and code that refuse it."""
