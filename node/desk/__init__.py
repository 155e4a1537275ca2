"""A recipient's own doors to the verifier: many documents at once, and a service on loopback."""
