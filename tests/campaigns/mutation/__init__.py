"""Mutation: every check of the verifier is shown to be necessary (`make mutate`)."""
