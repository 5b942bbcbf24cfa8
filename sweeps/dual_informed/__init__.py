"""Placing constrained trainings by what their multipliers say of the front: see `sampler.py` and docs/informed.md."""
