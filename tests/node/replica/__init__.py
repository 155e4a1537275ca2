"""The part of a node that takes part in agreement."""
