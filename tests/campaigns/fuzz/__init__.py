"""Fuzzing: whatever bytes arrive, each decoder and the verifier answer within their declared error family."""
