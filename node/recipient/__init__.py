"""A recipient's own routes to the verifier: many documents at once, and a service on loopback."""
