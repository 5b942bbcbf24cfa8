"""The amortised front: one network for a whole range of multipliers, and what is read off it (docs/amortised.md).

The network's own conditioning is in `models/multiplier_embedding.py`.
"""
