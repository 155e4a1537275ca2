"""What every record is made of: canonical bytes, shapes, digests and keys."""
