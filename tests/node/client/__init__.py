"""What members, wallets and auditors use."""
