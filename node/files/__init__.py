"""Files that survive a crash: durable writing, configuration, keys."""
