"""The tests, by the room that they test; `tests/README.md` says which kind proves what."""
