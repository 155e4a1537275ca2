"""Whole nodes in a seeded world: driver, core, chain, mempool, store and vote log over simulated machines."""
