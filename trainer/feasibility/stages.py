"""How many draws a final evaluation takes before it looks whether every constraint is decided.

Only the recipe says, no clock: so a run repeats to the bit, on any number of workers.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dualsweep.trainer.recipe.recipe import Recipe

#: The default cap, over all values together, in samples of the training: a draw is a forward pass, a third of a training
#: sample's cost, so that it takes half of the training's time at most. A trajectory costs as much either way.
SHARE = 1.5
#: Looks are so far apart, about; a cap that is nearer to the first stage than `LEAST` is not worth another look.
FACTOR, LEAST = 2.0, 1.5


def stages(recipe: Recipe) -> tuple[int, ...]:
    """The draws of each value until each look, rising to the cap; the first are `evaluation.loss_draws`.

    One look where there is nothing to decide.
    """
    first = recipe.evaluation.loss_draws
    ratio = draws_at_most(recipe) / first
    if ratio < LEAST or all(each.kind == "minimax" for each in recipe.constraints):
        return (first,)
    more = max(1, round(math.log(ratio, FACTOR)))
    return tuple(round(first * ratio ** (look / more)) for look in range(1 + more))


def last_look(recipe: Recipe) -> int:
    """The draws of each value at the last look, if none before it decides; the points of an amortised front have one look."""
    return recipe.evaluation.loss_draws if recipe.amortised is not None else stages(recipe)[-1]


def draws_at_most(recipe: Recipe) -> int:
    """The cap for each value, at least the first stage.

    Values on the same draws (all rewards of a trajectory, all KLs of a product) count once; with held-out feasibility values on
    data are drawn twice.
    """
    sources = Counter(each.term.source for each in recipe.terms)
    data = sources["data"] * (2 if recipe.feasibility.on == "held_out" else 1) + (sources["product"] > 0)
    trajectories = int(sources["rollout"] > 0)
    if recipe.feasibility.draws is not None:
        cap = recipe.feasibility.draws // max(1, data + trajectories)
    else:
        steps, caps = recipe.train.steps, list[int]()
        if data:
            caps.append(int(SHARE * steps * recipe.train.batch_size) // data)
        if trajectories:
            caps.append(steps * recipe.rollout.batch_size)
        cap = min(caps, default=0)
    return max(cap, recipe.evaluation.loss_draws)
