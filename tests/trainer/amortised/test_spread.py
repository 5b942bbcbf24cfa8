"""The multipliers that are drawn: the range is covered evenly, whatever part of the batch a worker has; draws are unbiased."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dualsweep.trainer.amortised.spread import MultiplierRange, sequence
from dualsweep.trainer.engine.dual_side import multiplier_range_of
from dualsweep.trainer.recipe.bound import RELATIVE_LIMIT
from dualsweep.trainer.recipe.train import Train
from dualsweep.trainer.sources.mixture_batch import Mixture, Parts, draw_amortised
from dualsweep.trainer.terms.timesteps import Timesteps
from tests.trainer.recipes import digits


def spread(**amortised) -> MultiplierRange:
    return multiplier_range_of(digits(amortised=amortised))


def test_a_recipe_that_is_not_amortised_has_none():
    with pytest.raises(ValueError, match="must have `amortised` to draw multipliers, but tiny has none"):
        multiplier_range_of(digits())


def test_ranges_by_name_and_the_limit_of_relative_constraints():
    found = spread(multipliers={"high": 5.0}, by_constraint={"four": {"low": 0.01, "high": 2.0}})
    assert found.low.tolist() == [0.01, 0.003] and found.high.tolist() == [2.0, RELATIVE_LIMIT]


def test_units_and_multipliers_are_inverse_and_reach_both_ends():
    multiplier_range = spread()
    units = np.random.default_rng(0).random((50, 2))
    assert multiplier_range.units(multiplier_range.multipliers(units)) == pytest.approx(units)
    assert multiplier_range.multipliers(np.array([[0.0, 0.0], [1.0, 1.0]])) == pytest.approx(
        np.array([[0, 0], [3.0, RELATIVE_LIMIT]])
    )


def test_several_relative_multipliers_stay_in_the_domain_of_the_dual_function():
    relative = [{"name": f"c{k}", "data": {"classes": [k]}, "at_most": 0.0, "relative_to": "objective"} for k in (4, 5)]
    found = multiplier_range_of(digits(constraints=relative, amortised={}))
    drawn, _ = found.draw(0, 4096)
    assert drawn.sum(axis=1).max() <= RELATIVE_LIMIT + 1e-12 and (drawn.sum(axis=1) > 0.9).any()


def test_draws_are_even_over_the_range_but_for_the_zeros(sampled):
    multiplier_range = replace(spread(zeros=0.2), seed=sampled.seed)
    drawn, more = multiplier_range.draw(3, 4096, more=2)
    sampled.near("share of zeros", (drawn == 0).mean(axis=0), [0.2, 0.2], abs=0.01)
    sampled.near("share of double zeros", ((drawn[:, 0] == 0) & (drawn[:, 1] == 0)).mean(), 0.04, abs=0.01)
    for column in multiplier_range.units(drawn).T:
        ordered = np.sort(column[column > 0])
        assert np.abs(ordered - (np.arange(len(ordered)) + 0.5) / len(ordered)).max() < 0.01
    assert more.shape == (4096, 2) and np.abs(np.sort(more[:, 1]) - (np.arange(4096) + 0.5) / 4096).max() < 0.01


def test_a_sequence_goes_on_where_it_was_and_depends_on_the_seed():
    whole = sequence(1, 0, 100, 3)
    assert np.allclose(np.concatenate([sequence(1, 0, 40, 3), sequence(1, 40, 60, 3)]), whole)
    assert not np.allclose(sequence(2, 0, 100, 3), whole)


@pytest.mark.parametrize("points", [3, 32])
def test_what_is_measured_begins_without_multipliers_and_reaches_the_end(points):
    one = spread(by_constraint={"four": {}})
    multipliers = one.measured(points)
    assert multipliers.shape == (points, 2) and (multipliers[0] == 0).all() and multipliers.max(axis=0) == pytest.approx(one.high)
    assert points < 10 or (multipliers[8:] == 0).any(axis=1).sum() >= 4  # faces
    assert (one.problem.project(multipliers[-1], 3.0) == pytest.approx(multipliers[-1])) and (multipliers >= 0).all()


def test_a_batch_estimates_the_mean_of_the_normalised_lagrangians(sampled):
    """Every draw's expected weighted value, over the range, against a sum over the same multipliers without sampling parts."""
    multiplier_range = replace(spread(), seed=sampled.seed)
    rows = [np.array([0]), np.array([1]), np.array([2])]
    values = np.array([1.0, -3.0, 10.0])
    mixture = Mixture(np.arange(3), Parts.of(rows), Timesteps(50), Train(steps=1, batch_size=1 << 18), sampled.seed)
    batch = draw_amortised(multiplier_range, mixture, np.zeros(3, dtype=np.int64), 0)
    assert batch.multipliers is not None
    exact = (multiplier_range.problem.mixture_weights(batch.multipliers) @ values).mean()
    sampled.near("mean", (batch.weight * values[batch.part]).sum(), exact, abs=0.025)
    assert (batch.index == batch.part).all()
    sampled.near("timesteps", np.bincount(batch.timestep, minlength=50), (1 << 18) / 50, abs=100)


def test_the_draws_of_a_part_are_spread_over_the_range_as_the_lagrangian_weighs_it(sampled):
    multiplier_range = replace(spread(), seed=sampled.seed)
    parts = Parts.of([np.array([0]), np.array([1]), np.array([2])])
    mixture = Mixture(np.arange(3), parts, Timesteps(50), Train(steps=1, batch_size=1 << 18), sampled.seed)
    batch = draw_amortised(multiplier_range, mixture, np.zeros(3, dtype=np.int64), 0)
    assert batch.multipliers is not None and (batch.multipliers[batch.part == 1, 0] > 0).all()
    weights, units = (
        np.abs(multiplier_range.problem.mixture_weights(batch.multipliers)),
        multiplier_range.units(batch.multipliers),
    )
    for part in range(3):
        weighted = (weights[:, [part]] * units).sum(0) / weights[:, part].sum()
        sampled.near(f"units of the draws of part {part}", units[batch.part == part].mean(0), weighted, abs=0.01)


def test_the_kth_example_of_a_part_is_the_same_in_whatever_batches_it_comes():
    """Draws of 4 steps of 32 are those of 8 steps of 16 by part and number, of each part from its first on."""
    spread_of_seed, parts = replace(spread(), seed=4), Parts.of([np.arange(1000), np.arange(1000, 1100), np.arange(2000, 2010)])
    examples: dict[int, dict[tuple[int, int], int]] = {}
    for size in (32, 16):
        mixture, first = (
            Mixture(np.arange(3), parts, Timesteps(50), Train(steps=1, batch_size=size), 4),
            np.zeros(3, dtype=np.int64),
        )
        examples[size] = {}
        for step in range(128 // size):
            batch = draw_amortised(spread_of_seed, mixture, first, step)
            first = first + np.bincount(batch.part, minlength=3)
            keys = zip(batch.part.tolist(), batch.number.tolist(), strict=True)
            examples[size] |= dict(zip(keys, batch.index.tolist(), strict=True))
    assert examples[32] == examples[16] and len(examples[32]) == 128 and len(set(examples[32].values())) > 50
