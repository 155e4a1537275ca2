"""What a holder is told before consenting, and what remains of it."""
