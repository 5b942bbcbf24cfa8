"""Nobody is called feasible without the slacks it was judged from."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from dualsweep.analysis.judging import constraint_outcomes, judge
from dualsweep.analysis.trials import ConstraintRecord, SweepRecord, Trial
from dualsweep.trainer.feasibility.standing import Standing

GOOD = {
    "objective": 1.0,
    "value/four": 0.1,
    "budget/four": 0.12,
    "slack/four": 0.02,
    "slack_error/four": 0.002,
    "feasible": 1.0,
    "value/max": 0.1,
}


def trial(metrics: dict[str, float], status: str = "converged") -> Trial:
    return Trial("t", "r", status, metrics=metrics, constraints=constraint_outcomes(metrics, {}))


def verdict(metrics: dict[str, float], status: str = "converged", mates: tuple[Trial, ...] = ()) -> tuple[Standing | None, str]:
    judged = judge([trial(metrics, status), *mates], ["objective"])[0]
    return judged.standing, judged.doubt


def without(*names: str) -> dict[str, float]:
    return {name: value for name, value in GOOD.items() if name not in names}


@pytest.mark.parametrize("status", ["converged", "out_of_steps"])
def test_a_finished_trial_with_slacks_is_believed(status: str) -> None:
    assert verdict(GOOD, status) == ("met", "")
    assert verdict(GOOD | {"slack/four": -0.02}, status) == ("violated", "")
    assert verdict(GOOD | {"slack/four": -0.002}, status) == ("undecided", "")


@pytest.mark.parametrize("status", ["running", "failed", "diverged", "interrupted", "unknown"])
def test_a_trial_that_did_not_end_well_is_never_feasible(status: str) -> None:
    standing, doubt = verdict(GOOD, status)
    assert standing is None and status in doubt


def test_where_all_budgets_decide_one_that_ended_as_infeasible_is_not_admitted() -> None:
    assert verdict(GOOD, "infeasible") == ("met", "")
    record = SweepRecord("1", "s", "p", {"objective": "minimize"}, None, judge([trial(GOOD, "infeasible")], ["objective"]))
    assert record.admission(record.trials[0]) == "violated"


@pytest.mark.parametrize(
    ("metrics", "why"),
    [
        (without("feasible"), "'feasible' is missing"),
        (GOOD | {"feasible": math.nan}, "'feasible' is missing or not 0 or 1"),
        (GOOD | {"feasible": 0.5}, "not 0 or 1"),
        (without("slack/four"), "no finite slack for four"),
        (GOOD | {"slack/four": math.nan}, "no finite slack for four"),
        (GOOD | {"slack/four": math.inf}, "no finite slack for four"),
        (GOOD | {"multiplier/five": 0.0}, "no finite slack for five"),
    ],
)
def test_missing_evidence_is_doubt(metrics: dict[str, float], why: str) -> None:
    standing, doubt = verdict(metrics)
    assert standing is None and why in doubt


def test_an_unconstrained_sweep_needs_finite_objectives_only() -> None:
    assert verdict({"objective": 1.0, "feasible": 1.0}) == ("met", "")
    assert verdict({"objective": math.nan, "feasible": 1.0})[0] is None
    assert verdict({"feasible": 1.0})[0] is None


def test_a_trial_that_lost_its_slacks_among_others_that_have_them_is_doubted() -> None:
    standing, doubt = verdict({"objective": 1.0, "feasible": 1.0}, mates=(trial(GOOD),))
    assert standing is None and "no slack was logged" in doubt


def test_a_trial_whose_recipe_has_no_constraint_is_judged_by_its_figures() -> None:
    free = replace(trial({"objective": 1.0, "feasible": 1.0}), unconstrained=True)
    judged = judge([free, trial(GOOD)], ["objective"])[0]
    assert (judged.standing, judged.doubt) == ("met", "")


def test_constraints_are_found_by_name_and_aggregates_are_not_constraints() -> None:
    outcomes = constraint_outcomes(
        {"value/a/b": 1.0, "slack/a/b": 2.0, "value/max": 1.0, "violation/max": 0.0, "eval/x": 1.0}, {}
    )
    assert [outcome.name for outcome in outcomes] == ["a/b"]
    assert outcomes[0].slack == 2.0 and math.isnan(outcomes[0].multiplier)


@pytest.mark.parametrize(
    ("value", "budget", "slack", "relation"),
    [(0.1, 0.12, 0.02, "≤"), (0.9, 0.5, 0.4, "≥"), (0.3, 0.5, -0.2, "≥"), (0.7, 0.5, -0.2, "≤"), (0.5, 0.5, 0.0, "≤"),
     (0.1 + 0.2, 0.3, 0.0, "≤"), (1.0, 2.0, math.nan, "≤")],
)  # fmt: skip
def test_the_relation_follows_from_the_sign_of_the_slack(value: float, budget: float, slack: float, relation: str) -> None:
    assert ConstraintRecord("c", value, budget, slack, 0.0, 0.0).relation == relation


def test_an_equality_is_violated_on_either_side() -> None:
    found = constraint_outcomes({"value/a": 0.2, "budget/a": 0.5, "slack/a": 0.3}, {"constraints.a.equals": "0.5"})
    assert found[0].relation == "=" and found[0].slack == 0.3 and found[0].room == -0.3


@pytest.mark.parametrize(
    ("word", "kind", "relation"),
    [("at_most", "at_most", "≤"), ("at_least", "at_least", "≥"), ("equals", "equals", "="), (None, "minimax", "≤")],
)
def test_the_kind_is_that_of_the_recipe_whose_other_bounds_are_null(word: str | None, kind: str, relation: str) -> None:
    """As MLflow has them: a flattened recipe names every bound, and those it does not have are null."""
    params = {f"constraints.a.{key}": "0.5" if key == word else "null" for key in ("at_most", "at_least", "equals")}
    found = constraint_outcomes({"value/a": 0.5, "budget/a": 0.5, "slack/a": 0.0}, params)[0]
    assert (found.kind, found.relation, found.equality) == (kind, relation, kind == "equals")


def test_worst_slack_and_violation() -> None:
    known = trial(GOOD | {"slack/five": -0.3})
    assert known.worst_slack == -0.3 and known.violation == 0.3
    assert trial(GOOD | {"violation/max": 0.25}).violation == 0.25
    lost = trial(GOOD | {"slack/five": math.nan})
    assert math.isnan(lost.worst_slack) and math.isnan(lost.violation)
    assert math.isnan(trial({}).violation)
