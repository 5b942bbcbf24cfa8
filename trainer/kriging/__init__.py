"""Gradient-enhanced kriging: Gaussian processes through values and gradients with known errors."""
