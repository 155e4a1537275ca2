"""The node: it acts on the rules in `ledger`, with real clocks, disks and sockets."""
