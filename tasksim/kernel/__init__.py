"""Time, order, chance and processes. Has never heard of a message."""
