"""The rows: what has been acknowledged about every upload, and what was published under every key."""
