"""A member's home on disk: settings, keys' places, development networks, repair."""
