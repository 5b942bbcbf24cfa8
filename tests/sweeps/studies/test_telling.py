"""What samplers are told of constraints, and which of them they see."""

from __future__ import annotations

from dataclasses import replace

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from dualsweep.sweeps.studies.telling import OLD, seen, told_slacks
from dualsweep.trainer.recipe.bound import Kind
from dualsweep.trainer.result import ConstraintOutcome, failed


@pytest.mark.parametrize(
    ("kind", "slack", "relaxation", "tolerance", "told"),
    [
        ("at_most", 0.0, 0.0, 0.01, 0.01),  # a budget that binds is no violation
        ("at_most", -0.02, 0.0, 0.01, -0.01),
        ("at_least", -0.02, 0.03, 0.0, 0.01),
        ("equals", 0.02, 0.0, 0.01, -0.01),  # an equality is violated on either side
        ("equals", -0.02, 0.0, 0.01, -0.01),
        ("equals", 0.005, 0.0, 0.01, 0.005),
        ("minimax", 0.3, 0.0, 0.0, 0.3),
    ],
)
def test_a_slack_is_told_with_its_tolerance(kind: Kind, slack: float, relaxation: float, tolerance: float, told: float) -> None:
    outcome = ConstraintOutcome(1.0, 1.0, slack, 0.1, 0.5, kind, relaxation, tolerance=tolerance)
    result = replace(failed("as the test wants it"), constraints={"four": outcome})
    assert told_slacks(result) == {"four": pytest.approx(told)}


def test_samplers_see_only_what_decides() -> None:
    bounds = {"four": 0.5, "five": -0.5}
    trial = create_trial(state=TrialState.COMPLETE, values=[1.0], system_attrs={OLD: list(bounds.values())}, constraints=bounds)
    assert seen(trial, None).constraints == bounds
    assert seen(trial, frozenset({"five"})).constraints == {"five": -0.5} and seen(trial, frozenset()).constraints == {}
    study = optuna.create_study()
    study.add_trials([seen(trial, frozenset())])
    assert study.best_trials, "with no budget that decides it is no violation to have missed one"
    assert len(trial.constraints) == 4, "the trial that is kept stays as it was"


def test_a_trial_that_samplers_see_is_not_copied_deeply() -> None:
    trial = create_trial(value=1.0, user_attrs={"told": {"by": "name"}})
    study = optuna.create_study()
    study.add_trial(seen(trial, None))
    (kept,) = study.get_trials(deepcopy=False)
    assert kept.user_attrs["told"] is trial.user_attrs["told"]
    assert (kept.number, kept.values) == (0, [1.0]) and trial.number == -1
