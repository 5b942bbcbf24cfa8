"""A trained model out again, as a pipeline of diffusers that needs none of this: its files, and the one sampler that it carries.

Who trained it, and what became of its constraints, is written beside it in `sweeps/exporting/`.
"""
