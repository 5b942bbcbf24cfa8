"""The figures of a review: an interactive page, static pictures and dual trajectories.

What they show is computed elsewhere in `analysis/`.
"""
