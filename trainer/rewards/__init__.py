"""Rewards r(x) of samples, for alignment ([CCA] §3): what one is, how it is named, checked, normalised and loaded.

The rewards themselves are in `shipped/`. Nothing here imports torch before a reward is built.
"""
