"""What members, wallets and auditors use to talk to a node."""
