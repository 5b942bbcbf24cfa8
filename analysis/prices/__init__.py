"""Shadow prices: what loosening a budget buys, by the multipliers, beside what the trials' values show without them.

Which point to take is in `recommendation/`.
"""
