"""DAG and DAG-KL (trainer/sources/balance.py) through the whole trainer, against closed forms."""

from __future__ import annotations

from typing import Any

from tests.known.test_answers import CALL, CASES, recipe
from trainer.recipe import Recipe


def aligned(case: str, gradient: str, steps: int, **rollout: Any) -> Recipe:
    rewards, thresholds, _ = CASES[case]
    constraints = [
        {"name": name, "reward": {"call": CALL(f"black_box_{name}")}, "at_least": threshold}
        for name, threshold in zip(rewards, thresholds, strict=True)
    ]
    return recipe(
        "alignment", "plane", [2], constraints,
        dual={"rule": "newton", "step_size": 0.3, "every": 10, "staleness": 0},
        train={"steps": steps, "lr": 0.02, "lr_schedule": "wsd", "clip": None, "ema": 0.99},
        rollout={"steps": 10, "batch_size": 256, "gradient": gradient, "normalize": False, **rollout},
    )  # fmt: skip


def free(gradient: str, steps: int, beta: float, **rollout: Any) -> Recipe:
    """Samples from exp(beta r) alone."""
    return recipe(
        "alignment", "free_plane", [2], [{"name": "bowl", "reward": {"call": CALL("bowl")}, "at_least": 0.0}],
        dual={"rule": "fixed", "start": beta},
        train={"steps": steps, "lr": 0.02, "lr_schedule": "wsd", "clip": None, "ema": 0.99},
        rollout={
            "steps": 20, "batch_size": 256, "gradient": gradient, "normalize": False, "reference": "noising", **rollout,
        },
    )  # fmt: skip
