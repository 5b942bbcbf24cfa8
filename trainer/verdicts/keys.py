"""Which keys of a recipe sharpen what a constraint is measured with, so that advice names keys that this recipe uses."""

from __future__ import annotations

from collections.abc import Mapping

from dualsweep.trainer import metric_names
from dualsweep.trainer.recipe.fields import Constraint
from dualsweep.trainer.recipe.recipe import Recipe

#: The keys of how many samples of a frozen model a term is on, by the term.
_SAMPLES = {"closeness": "samples", "samples": "count"}


def measured_by(recipe: Recipe) -> dict[str, str]:
    """By constraint, the keys in whose values its slack gets more samples in training, as people read them."""
    by_constraint = {}
    for named in recipe.terms:
        if named.column:
            by_constraint[recipe.constraints[named.column - 1].name] = _keys(recipe, named.term.source)
    return by_constraint


def _keys(recipe: Recipe, source: str) -> str:
    if source == "rollout":
        return "rollout.batch_size"
    if source != "data" or recipe.model.compose is not None:
        return "train.batch_size"
    if recipe.train.batches == "separate":
        return "train.constraint_batch"
    return "train.batch_size" if recipe.amortised is not None else "train.batch_size, train.floor"


def beyond_draws(constraint: Constraint, metrics: Mapping[str, float]) -> dict[str, float]:
    """What lessens the parts of a final value's error that more draws would leave, each with that part."""
    name = constraint.name
    samples = next((f"constraints.{name}.{word}.{key}" for word, key in _SAMPLES.items() if getattr(constraint, word, None)), "")
    parts = {
        "give the judge more labelled images (share.held_out, share.calibration)": metric_names.judge_error(name),
        "take the scale from more samples (rollout.normalization_samples)": metric_names.scale_error(name),
        f"take more samples of the frozen model{f' ({samples})' if samples else ''}": metric_names.samples_error(name),
    }
    return {remedy: metrics.get(metric, 0.0) for remedy, metric in parts.items()}
