"""A verdict's advice follows from its evidence and names keys that the recipe's formulation uses."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from pathlib import Path

import pytest

from dualsweep.trainer.feasibility.held_out import HeldOut
from dualsweep.trainer.recipe.dual import Dual
from dualsweep.trainer.recipe.fields import Constraint
from dualsweep.trainer.recipe.load import load_recipe
from dualsweep.trainer.verdicts.judge import verdicts
from dualsweep.trainer.verdicts.keys import measured_by
from tests.trainer.verdicts.test_judge import C, histories, result

RECIPES = Path(__file__).parents[3] / "sweeps" / "recipes"


@pytest.mark.parametrize("file", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_keys_are_those_that_measure_the_constraint(file: Path) -> None:
    recipe, _ = load_recipe(file, [])
    keys_by_name = measured_by(recipe)
    assert set(keys_by_name) == {each.name for each in recipe.constraints}
    along = {recipe.constraints[each.column - 1].name for each in recipe.terms if each.column and each.term.source == "rollout"}
    for name, keys in keys_by_name.items():
        assert (keys == "rollout.batch_size") == (name in along)
        assert all(isinstance(reduce(getattr, key.split("."), recipe), int) for key in keys.split(", "))


def test_separate_batches_have_a_size_of_their_own() -> None:
    recipe, _ = load_recipe(RECIPES / "digits.yaml", ["train.batches=separate"])
    assert set(measured_by(recipe).values()) == {"train.constraint_batch"}


def test_a_floor_counts_for_nothing_in_an_amortised_training() -> None:
    recipe, _ = load_recipe(RECIPES / "digits.yaml", ["amortised={}"])
    assert set(measured_by(recipe).values()) == {"train.batch_size"}


@pytest.mark.parametrize(
    ("multipliers", "slacks", "said"),
    [
        (lambda t: 0.3 * min(1.0, 4 * t), lambda t: -0.1, "the multiplier stands at its highest and the violation is not gone"),
        (lambda t: 0.9 if t < 0.5 else 0.3, lambda t: -0.1, "the multiplier came down to 0.3 before the violation was gone"),
        (lambda t: 0.3, lambda t: 0.0, "or measure the slack better (rollout.batch_size): in training it is within errors"),
    ],
)
def test_what_is_violated_is_told_by_what_its_multiplier_did(multipliers, slacks, said) -> None:
    constraint = C.model_copy(update={"name": "c"})
    [verdict] = verdicts(
        histories(multipliers, slacks), result(-0.1, 0.3), Dual(), [constraint], {"c": "rollout.batch_size"}
    )  # fmt: skip
    assert verdict.word == "violated" and said in verdict.suggestion
    assert "floor" not in verdict.suggestion and "no longer answers" not in verdict.suggestion


@pytest.mark.parametrize(("relative_to", "advised"), [(None, True), ("objective", False)])
def test_a_relative_budget_is_advised_only_where_it_is_none_yet(relative_to, advised) -> None:
    constraint = C.model_copy(update={"name": "c", "relative_to": relative_to})
    falling = histories(lambda t: 0.9 * (1 - 0.9 * t), lambda t: 0.1)
    [verdict] = verdicts(falling, result(0.1, 0.3), Dual(), [constraint])
    assert verdict.word == "falling" and ("relative budget" in verdict.suggestion) == advised


@pytest.mark.parametrize(("slack", "told"), [(0.1, "hold out more images (data.holdout)"), (0.0, "raise feasibility.draws")])
def test_what_held_out_images_leave_open_is_not_decided_by_draws(slack, told) -> None:
    ended = result(slack, 0.3, error=0.02)
    outcome = replace(ended.constraints["c"], decided="undecided", held_out=HeldOut(0.01, 0.1, 40, "undecided"))
    [verdict] = verdicts(histories(lambda t: 0.3, lambda t: 0.05), replace(ended, constraints={"c": outcome}), Dual(), [C])
    assert verdict.suggestion == f"{told}, or raise feasibility.tolerance, to tell"


CLOSE = Constraint.model_validate({"name": "c", "closeness": {"samples": 256}, "at_most": 0.5})
SAMPLED = Constraint.model_validate({"name": "c", "samples": {"of": "left"}, "at_most": 0.5})


@pytest.mark.parametrize(
    ("constraint", "parts", "told"),
    [
        (CLOSE, {"samples_error/c": 0.018}, "take more samples of the frozen model (constraints.c.closeness.samples)"),
        (SAMPLED, {"samples_error/c": 0.018}, "take more samples of the frozen model (constraints.c.samples.count)"),
        (C, {"scale_error/c": 0.018}, "take the scale from more samples (rollout.normalization_samples)"),
        (C, {"scale_error/c": 0.013, "judge_error/c": 0.012}, "take the scale from more samples"),
        (CLOSE, {"samples_error/c": 0.01}, "raise feasibility.draws"),
    ],
)
def test_what_more_draws_would_leave_open_names_what_lessens_it(constraint, parts, told) -> None:
    ended = replace(result(0.0, 0.3, error=0.02), metrics=parts)
    [verdict] = verdicts(histories(lambda t: 0.3, lambda t: 0.05), ended, Dual(), [constraint])
    assert verdict.suggestion.startswith(told)


@pytest.mark.parametrize(("judge", "told"), [(0.019, "give the judge more labelled images"), (0.01, "raise feasibility.draws")])
def test_what_a_judges_error_leaves_open_is_not_decided_by_draws(judge: float, told: str) -> None:
    ended = replace(result(0.0, 0.3, error=0.02), metrics={"judge_error/c": judge})
    [verdict] = verdicts(histories(lambda t: 0.3, lambda t: 0.05), ended, Dual(), [C])
    assert verdict.suggestion.startswith(told)
