"""Whether a constraint is met, violated or undecided: with confidence, and within a tolerance (docs/recipe.md).

The draws it is judged by are made in `evaluation/`.
"""
