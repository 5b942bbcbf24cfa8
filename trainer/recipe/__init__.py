"""One constrained training as a user writes it: its sections, one file each, their rules together, and how it is read.

No check of the user's files: these are in `checks/`. Imports nothing heavy.
"""
