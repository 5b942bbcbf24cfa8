"""Where per-sample values come from in a primal step, and how their gradients reach the model.

The values themselves are in `terms/`, the chains in `samplers/`.
"""
