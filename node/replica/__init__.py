"""One member's copy of the chain that takes part: events in, blocks out."""
