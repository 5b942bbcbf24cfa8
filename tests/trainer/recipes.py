"""Small recipes that the tests share."""

from __future__ import annotations

from typing import Any

from dualsweep.trainer.recipe.recipe import Recipe


def digits(**sections: Any) -> Recipe:
    """A tiny constrained training on the digits; `sections` are merged over it."""
    plain: dict[str, Any] = {
        "name": "tiny",
        "formulation": "constrained_training",
        "model": {"unet": {"channels": [8, 16], "norm_groups": 8}},
        "schedule": {"timesteps": 50},
        "data": {"source": "digits", "keep": {4: 0.1, 5: 0.1}},
        "constraints": [
            {"name": "four", "data": {"classes": [4]}, "at_most": 0.5},
            {"name": "five", "data": {"classes": [5]}, "at_most": 0.02, "relative_to": "objective"},
        ],
        "dual": {"step_size": 0.1},
        "train": {"steps": 20, "batch_size": 16, "lr": 2e-3, "log_every": 5},
        "evaluation": {"samples": 16, "sample_steps": 4, "loss_draws": 64, "judge": {"epochs": 1}, "grid": 16},
        "checkpoint": {"every": 7},
    }
    for name, value in sections.items():
        plain[name] = {**plain[name], **value} if isinstance(plain.get(name), dict) else value
    return Recipe.model_validate(plain)
