"""Data sets as numbered examples with classes, by source, divided and thinned; what is known of them before they are read.

What a step draws from them is in `sources/`.
"""
