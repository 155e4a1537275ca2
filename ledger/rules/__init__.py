"""What may be recorded, by whom, and what it changes."""
