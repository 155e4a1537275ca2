"""What a node holds of the chain."""
