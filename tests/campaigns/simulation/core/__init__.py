"""A seeded world for the consensus core: virtual time, a lossy network, disks that lose what is not synced."""
