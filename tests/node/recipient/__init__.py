"""A recipient's own routes."""
