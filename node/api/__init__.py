"""The HTTP API for clients."""
