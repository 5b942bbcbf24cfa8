"""What objective and constraints are expectations of, what terms are built with, and the losses they share.

Where their samples come from is in `sources/`.
"""
