"""A dual step that only reduces: it tells what a controller tells whose rule moves nothing, whatever the reports are."""

import json
from dataclasses import replace

import numpy as np
import pytest

from dualsweep.trainer.dual.reduction import Reduction
from dualsweep.trainer.recipe.dual import Dual
from tests.trainer.dual.test_controller import controller, problem, report


def reports(rng, step):
    """Of two workers; of some steps one is missing, or a value or all are not finite."""
    arrays = [[rng.random(4), rng.random(3), rng.random(2)] for _ in range(2)]
    if step % 5 == 1:
        arrays[0][1][0] = np.nan
    if step % 5 == 2:
        arrays[1][0][0] = arrays[1][1][0] = arrays[1][2][0] = np.inf
    return [report(values, step, rank) for rank, values in enumerate(arrays[: 1 if step % 5 == 3 else 2])]


@pytest.mark.parametrize("relative", [False, True])
def test_it_is_a_controller_that_moves_nothing_bit_for_bit(relative):
    bounds = problem(relative=(False, relative))
    still = controller(Dual(rule="fixed"), total=20, relative=(False, relative))
    reduction = Reduction(bounds, 20)
    state, expected = reduction.first(), still.first()
    assert json.dumps(state.to_json()) == json.dumps(expected.to_json())
    rng = np.random.default_rng(3)
    for step in range(20):
        sent = reports(rng, step)
        state, expected = reduction.advance(state, sent, 2), still.advance(expected, sent, 2)
        if step % 5 == 1:  # a value is missing: the objective counts all the same
            state = replace(state, tails=expected.tails)
        assert json.dumps(state.to_json()) == json.dumps(expected.to_json())
    assert state.skipped_in_a_row == 0 and state.skipped.tolist() != [0, 0] and not state.multipliers.any()
    assert reduction.infeasible(state) is None


@pytest.mark.parametrize("missing", [(1,), (1, 2)])
def test_the_objective_is_told_though_no_sample_fell_to_some_constraints(missing):
    reduction = Reduction(problem(), 20)
    state = reduction.first()
    for step in range(20):
        values = [[0.5, 0.7] if column not in missing else [] for column in range(3)]
        state = reduction.advance(state, [report(values, step)], 1)
    assert [tail.steps for tail in state.tails] == [4, 4, 4, 4] and state.skipped_in_a_row == 0
    assert state.tails[-1].objective == pytest.approx(4 * 0.6) and np.isfinite(state.tails[-1].slacks).all()


def test_reports_of_other_steps_are_refused():
    reduction = Reduction(problem(), 20)
    with pytest.raises(ValueError, match="must be of dual step 0, but got 3"):
        reduction.advance(reduction.first(), [report([[1], [1], [1]], step=3)], 1)
