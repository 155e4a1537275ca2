"""What a node offers to its clients."""
