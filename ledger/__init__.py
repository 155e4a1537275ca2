"""The rules of the ledger: pure functions over bytes, with no clock, disk, socket or randomness."""
