"""One constrained training as a user writes it: its sections, one file each, their rules together, and how it is read.

Imports nothing heavy, and no file of the user's: what needs those is in `checks/`.
"""
