"""Which point of a front to take: its knee, and the one that the user's own preference names, each with the reason in words."""
