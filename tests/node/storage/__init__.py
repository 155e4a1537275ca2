"""What is on disk, after any crash."""
