"""The shipped terms: one file each, found by `dualsweep.trainer.terms.registry`.

Imports nothing heavy before a term is built; what several share is in `terms/`.
"""
