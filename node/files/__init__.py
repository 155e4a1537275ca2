"""Files that are named, and files that survive a crash: reading, durable writing, configuration, keys."""
