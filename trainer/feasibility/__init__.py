"""Whether a constraint is met, violated, or neither is known yet: with confidence, and within a tolerance (docs/recipe.md)."""
