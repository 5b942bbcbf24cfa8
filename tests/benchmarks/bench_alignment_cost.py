"""What a reward more costs: a step of alignment with m rewards, of a step with one cheap reward. Required: 1 + 0.1 m.

python -m tests.benchmarks.bench_alignment_cost
"""

from __future__ import annotations

import torch

from dualsweep.trainer.recipe.recipe import Recipe
from tests.benchmarks.common import interleaved, loop_of, show

REWARDS = ["brightness", "contrast", "local_contrast", {"class_probability": 3}, {"class_probability": 8}]


def aligned(count: int) -> Recipe:
    """Alignment of a digits model, of random weights for the time alone, to the first `count` rewards."""
    constraints = [{"name": f"r{i}", "reward": each, "at_least": 0.5} for i, each in enumerate(REWARDS[:count])]
    return Recipe.model_validate(
        {
            "name": "cost", "formulation": "alignment", "model": {"unet": {"channels": [16, 32]}},
            "models": {"pretrained": {"unet": {"channels": [16, 32]}}}, "data": {"source": "digits"},
            "constraints": constraints, "dual": {"every": 5}, "train": {"steps": 10**8},
            "rollout": {"steps": 15, "batch_size": 64}, "checkpoint": {"every": 10**9},
        }
    )  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    cases = {f"{count} reward{'s' if count > 1 else ''}": loop_of(aligned(count)).advance for count in (1, 2, 3, 5)}
    ratios = show(interleaved(cases, rounds=5, steps=4, warmup=2), against="1 reward")
    for count in (2, 3, 5):
        print(f"{count} rewards: {ratios[f'{count} rewards']:.3f}, required at most {1 + 0.1 * count:.1f}")


if __name__ == "__main__":
    main()
