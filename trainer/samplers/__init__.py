"""Samplers: a model's own chain or diffusers' for evaluation, trajectories with gradients, and annealed Langevin steps.

No model, no term.
"""
