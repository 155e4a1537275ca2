"""The chain as a node holds it: what is final, what is not, and the bodies of both."""
