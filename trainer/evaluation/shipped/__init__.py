"""The shipped metrics of the samples, one file each.

What several share is in `evaluation/`.
"""
