"""Which point of a front to take: its knee, and the one that the user's own preference names, with the reason in words.

What a preference is stands in `analysis/preference.py`.
"""
