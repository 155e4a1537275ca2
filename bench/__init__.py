"""One claim a file, each measured beside its own limit in the same run."""
