"""Published objects, by content key."""
