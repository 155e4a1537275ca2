"""Chaos: real node processes, real disks and sockets, faults at random, and a judge of what clients were told."""
