"""The terms: what objective and constraints are expectations of, with what they are built with and the losses they share.

Where their samples come from is in `sources/`.
"""
