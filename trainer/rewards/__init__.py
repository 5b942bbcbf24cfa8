"""Rewards r(x): one value for each sample, differentiable or not, for alignment (CCA §3).

One reward is one file in `shipped/`, found by itself. Nothing here imports torch before a reward is built.
"""
