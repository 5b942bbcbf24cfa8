"""The figures of a review: an interactive page, static pictures and dual trajectories."""
