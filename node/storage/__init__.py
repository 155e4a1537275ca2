"""What a node keeps on disk: the chain and its state in LevelDB, its votes in a file of their own."""
