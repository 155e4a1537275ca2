"""A recipient's own doors."""
