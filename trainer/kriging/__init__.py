"""Gradient-enhanced kriging: Gaussian processes through values and gradients with known errors.

Knows nothing of fronts or multipliers.
"""
