"""Kinds of constraints: signs, slacks, coefficients, domains; and what a recipe may combine."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.optimize import linprog

from dualsweep.trainer.dual.controller import Controller
from dualsweep.trainer.dual.problem import ConstrainedProblem, Estimate
from dualsweep.trainer.engine.stated_problem import problem_of
from dualsweep.trainer.feasibility.deciding import Decision
from dualsweep.trainer.recipe.dual import ON_SIMPLEX, Dual
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import UNTOLD, ConstraintOutcome, outcomes, verdict
from tests.trainer.recipes import digits

KINDS = ConstrainedProblem(
    ("most", "least", "equal", "near"),
    np.array([1.0, 2.0, 3.0, 0.5]),
    np.array([False, False, False, True]),
    ("at_most", "at_least", "equals", "equals"),
    np.array([0.0, 0.0, 0.5, 0.0]),
)
MEANS = np.array([10.0, 1.5, 1.5, 2.0, 10.2])


def test_values_stay_in_the_users_units_and_slacks_are_positive_where_met():
    np.testing.assert_allclose(KINDS.values(MEANS), [1.5, 1.5, 2.0, 0.2])
    np.testing.assert_allclose(KINDS.slacks(MEANS), [-0.5, -0.5, 1.0, 0.3])
    np.testing.assert_allclose(KINDS.violations(KINDS.slacks(MEANS)), [0.5, 0.5, 1.0, 0.3])


def test_the_lagrangian_is_the_coefficients_times_the_means_up_to_what_no_mean_changes():
    multipliers, other = np.array([0.3, 0.2, -0.4, 0.1]), np.array([9.0, 1.0, 4.0, -2.0, 7.0])
    change = KINDS.lagrangian(MEANS, multipliers) - KINDS.lagrangian(other, multipliers)
    np.testing.assert_allclose(KINDS.coefficients(multipliers), [0.9, 0.3, -0.2, -0.4, 0.1])
    assert change == pytest.approx(KINDS.coefficients(multipliers) @ (MEANS - other))


def test_the_lagrangian_with_resilience_is_its_minimum_over_relaxations_by_brute_force():
    problem = ConstrainedProblem(("a",), np.array([1.0]), np.array([False]), softness=np.array([1 / 3.0]))
    u = np.linspace(-5, 5, 200001)
    brute = (2.0 + 0.5 * 3.0 * u**2 + 0.6 * (1.7 - 1.0 - u)).min()
    assert problem.lagrangian(np.array([2.0, 1.7]), np.array([0.6])) == pytest.approx(brute, abs=1e-9)


def test_projection_with_an_equality_among_relative_constraints_by_brute_force():
    problem = ConstrainedProblem(("a", "b"), np.zeros(2), np.ones(2, bool), ("at_most", "equals"))
    point = np.array([1.4, 0.3])
    grid = np.stack(np.meshgrid(np.linspace(0, 2, 401), np.linspace(-2, 2, 801)), -1).reshape(-1, 2)
    inside = grid[grid.sum(1) <= 0.95 + 1e-9]
    best = inside[((inside - point) ** 2).sum(1).argmin()]
    np.testing.assert_allclose(problem.project(point, 2.0), best, atol=6e-3)
    np.testing.assert_allclose(problem.project(np.array([0.2, -9.0]), 2.0), [0.2, -2.0])


def test_projection_with_a_cap_below_the_limit_by_hand():
    """Issue 11: (2, .5) with a cap of .6 is nearest to (.6, .35)."""
    problem = ConstrainedProblem(("a", "b"), np.zeros(2), np.ones(2, bool))
    np.testing.assert_allclose(problem.project(np.array([2.0, 0.5]), 0.6), [0.6, 0.35], atol=1e-12)


@pytest.mark.parametrize("seed", range(40))
def test_projection_is_the_solution_of_the_quadratic_program(seed):
    """Any cap, equalities, constraints that are not relative, and the simplex: no point of the domain makes an acute angle with
    what the projection cut off, which only the nearest point has (the domain is convex)."""
    rng = np.random.default_rng(seed)
    size, cap = int(rng.integers(1, 7)), float(rng.choice([0.05, 0.3, 0.6, 0.95, 3.0, 100.0]))
    kinds = tuple(rng.choice(["at_most", "at_least", "equals"], size))
    simplex = bool(seed % 8 == 0)
    relative = (rng.random(size) < 0.7) & (not simplex)
    problem = ConstrainedProblem(
        tuple(f"c{i}" for i in range(size)), np.zeros(size), relative, () if simplex else kinds, simplex=simplex
    )
    point = rng.normal(size=size) * float(rng.choice([0.3, 1.0, 5.0]))
    projected = problem.project(point, cap)
    low, high = (np.zeros(size), np.ones(size)) if simplex else (problem.lowest(cap), np.full(size, cap))
    assert (projected >= low).all() and (projected <= high).all()
    row, total = (np.ones(size), 1.0) if simplex else (relative.astype(float), 0.95)
    assert row @ projected <= total + 1e-12 and (not simplex or row @ projected == pytest.approx(1.0, abs=1e-12))
    # The variational inequality (point - projected) . (y - projected) <= 0 for all y of the domain,
    # at its worst y by a linear program.
    sums: dict[str, Any] = {"A_eq": row[None], "b_eq": [total]} if simplex else {"A_ub": row[None], "b_ub": [total]}
    worst: Any = linprog(-(point - projected), bounds=list(zip(low, high, strict=True)), **sums)
    assert -worst.fun - (point - projected) @ projected <= 1e-9 * max(1.0, cap)


def test_curvature_is_the_derivative_of_the_slacks_by_finite_differences():
    """p ~ q exp(-c . g) over eight states, its expectations summed by hand."""
    rng = np.random.default_rng(0)
    q, g = rng.dirichlet(np.ones(8)), rng.normal(size=(5, 8))

    def measured(multipliers):
        weights = q * np.exp(-KINDS.coefficients(multipliers) @ g)
        p = weights / weights.sum()
        return g @ p, (g * p) @ g.T - np.outer(g @ p, g @ p)

    at, small = np.array([0.3, 0.2, -0.4, 0.1]), 1e-6
    curvature = KINDS.curvature(measured(at)[1])
    for j, unit in enumerate(np.eye(4) * small):
        slope = (KINDS.slacks(measured(at + unit)[0]) - KINDS.slacks(measured(at - unit)[0])) / (2 * small)
        np.testing.assert_allclose(curvature[:, j], slope, atol=1e-7)


def test_curvature_is_unknown_only_where_a_pair_that_matters_was_not_measured():
    covariance = np.eye(5)
    covariance[0, :] = covariance[:, 0] = np.nan  # the objective: only the relative constraint needs it
    covariance[1, 2] = covariance[2, 1] = np.nan
    unknown = np.isnan(KINDS.curvature(covariance))
    expected = np.zeros((4, 4), bool)
    expected[3, :] = expected[:, 3] = expected[0, 1] = expected[1, 0] = True
    np.testing.assert_array_equal(unknown, expected)


def test_curvature_is_unknown_for_what_does_not_tilt():
    tilted = replace(KINDS, tilts=np.array([True, False, True, True]))
    unknown = np.isnan(tilted.curvature(np.eye(5)))
    assert unknown[1].all() and unknown[:, 1].all() and not np.delete(np.delete(unknown, 1, 0), 1, 1).any()
    aligned = {
        "name": "x", "formulation": "alignment", "model": {"call": "a:b", "shape": [2]}, "train": {"steps": 1},
        "models": {"other": {"call": "a:c"}},
        "constraints": [
            {"name": "r", "reward": "brightness", "at_least": 1}, {"name": "k", "path_kl": {"to": "other"}, "at_most": 1},
        ],
    }  # fmt: skip
    np.testing.assert_array_equal(problem_of(Recipe.model_validate(aligned)).tilts, [True, False])


def test_the_error_of_a_relative_slack_counts_what_was_measured_on_the_same_samples(sampled):
    rng = np.random.default_rng(sampled.seed)
    problem = ConstrainedProblem(("a", "b"), np.zeros(2), np.array([True, False]))
    runs = rng.multivariate_normal(np.zeros(3), [[1.0, 0.9, 0.0], [0.9, 1.2, 0.0], [0.0, 0.0, 2.0]], size=(500, 1600))
    covariance = np.cov(runs[0].T)
    variance = np.diag(covariance) / 1600
    joint = problem.slack_errors(Estimate(runs[0].mean(0), variance, covariance))
    pairs = runs[0, :, 1] - runs[0, :, 0]
    np.testing.assert_allclose(joint, [pairs.std(ddof=1) / 40, runs[0, :, 2].std(ddof=1) / 40])
    apart = problem.slack_errors(Estimate(runs[0].mean(0), variance))
    np.testing.assert_allclose(apart, [(variance[0] + variance[1]) ** 0.5, variance[2] ** 0.5])
    scatter = np.std([problem.slacks(each) for each in runs.mean(1)], axis=0)
    sampled.near("errors, of the scatter", joint / scatter, 1.0, abs=0.25)
    sampled.at_most("joint error, of that apart", joint[0] / apart[0], 0.5)


def test_a_minimax_problem_ignores_the_objective():
    problem = ConstrainedProblem(("a", "b"), np.full(2, np.nan), np.zeros(2, bool), simplex=True)
    means = np.array([np.nan, 0.7, 0.4])
    assert problem.objective(means) == 0.7 and problem.complete(means)
    np.testing.assert_allclose(problem.slacks(means), [0.0, 0.3])
    np.testing.assert_allclose(problem.coefficients(np.array([0.6, 0.4])), [0.0, 0.6, 0.4])
    assert problem.lagrangian(means, np.array([0.6, 0.4])) == pytest.approx(0.6 * 0.7 + 0.4 * 0.4)
    assert problem.objective_variance(Estimate(means, np.array([9.0, 0.1, 0.2]))) == 0.1


@pytest.mark.parametrize(
    "kind, slack, relaxation, standing",
    [
        ("at_most", -0.13, 0.0, "met"), ("at_most", -0.14, 0.0, "undecided"), ("at_most", 5.0, 0.0, "met"),
        ("at_most", -0.46, 0.0, "undecided"), ("at_most", -0.47, 0.0, "violated"), ("at_most", -1.0, 0.9, "met"),
        ("equals", 0.13, 0.0, "met"), ("equals", -0.14, 0.0, "undecided"), ("equals", 0.5, 0.0, "violated"),
        ("equals", 1.0, -0.9, "met"), ("at_least", float("nan"), 0.0, "undecided"), ("minimax", -9.0, 0.0, "met"),
    ],
)  # fmt: skip
def test_met_and_violated_are_told_with_confidence_within_the_tolerance_of_the_relaxed_budget(kind, slack, relaxation, standing):
    assert ConstraintOutcome(1.0, 1.0, slack, 0.1, 0.0, kind, relaxation, tolerance=0.3).standing == standing


DECISION = Decision(("met", "violated", "undecided", "met"), (None,) * 4)


def test_outcomes_say_their_kind_and_relaxation():
    by_name = outcomes(KINDS, Estimate(MEANS, np.full(5, 0.01)), np.array([0.1, 0.2, -0.4, 0.0]), np.full(4, 0.01), DECISION)
    assert [each.kind for each in by_name.values()] == ["at_most", "at_least", "equals", "equals"]
    assert [each.standing for each in by_name.values()] == list(DECISION.standings)
    assert (by_name["least"].budget, by_name["least"].value, by_name["least"].slack) == (2.0, 1.5, -0.5)
    assert by_name["equal"].relaxation == pytest.approx(-0.2)


def recipe(constraints, **dual) -> Recipe:
    data = {"classes": [4]}
    formulation = "composition_or" if dual.get("rule") in ON_SIMPLEX else "constrained_training"
    return digits(
        formulation=formulation,
        constraints=[{"name": f"c{i}", "data": data, **each} for i, each in enumerate(constraints)],
        dual=dual,
    )


@pytest.mark.parametrize(
    "constraints, dual, says",
    [
        ([{}], {}, "`constraints.0` must hold one of at_most, at_least and equals"),
        ([{"at_most": 1.0, "equals": 1.0}], {}, "`equals` must not stand beside `at_most`"),
        ([{"at_least": 1.0, "relative_to": "objective"}], {}, "`relative_to` must stand with"),
        ([{"at_most": 1.0}], {"rule": "simplex"}, "`constraints.0.at_most` must be left out where the largest"),
        ([{}, {"relative_to": "objective"}], {"rule": "mirror"}, "`constraints.1.relative_to` must be left out"),
        ([{"alpha": 2.0}], {"rule": "mirror"}, "`constraints.0.alpha` must be left out"),
        ([], {"rule": "simplex"}, "`dual.rule` simplex must have constraints to weigh"),
        ([{}], {"rule": "simplex", "start": 0.5}, "`dual.start` must be a weight for each"),
        ([{}], {"rule": "simplex", "start": {"c0": 0.5}}, "`dual.start` must sum to 1"),
        ([{}], {"rule": "simplex", "alpha": 1.0}, "`dual.alpha` must go with a rule that relaxes"),
        ([{"at_most": 1.0, "alpha": 1.0}], {"rule": "fixed"}, "`constraints.0.alpha` must go with a rule that relaxes"),
        ([{"at_most": 1.0}], {"rule": "resilient"}, "`dual.rule` must have an alpha to be resilient"),
        ([{"at_most": 1.0}], {"step_size": {"other": 0.1}}, "`dual.step_size` must name every constraint"),
        ([{"at_most": 1.0}], {"start": -0.1}, "`dual.start` must be >= 0, but got -0.1 for c0"),
        ([{"at_most": 1.0}], {"step_size": -1}, "must be a finite number > 0"),
        ([{"at_most": 1.0}], {"step_size": {"c0": float("nan")}}, "must be a finite number > 0"),
        ([{"at_most": 1.0}], {"start": "much"}, "must be a finite number"),
    ],
)
def test_what_does_not_fit_is_refused(constraints, dual, says):
    with pytest.raises(ValidationError) as caught:
        recipe(constraints, **dual)
    assert says in str(caught.value) and caught.value.error_count() == 1


def test_what_fits():
    problem = problem_of(
        recipe(
            [{"at_most": 1.0, "alpha": 4.0}, {"equals": 2.0}, {"at_least": 3.0}], alpha=2.0, start={"c0": 0, "c1": -1, "c2": 0}
        )
    )
    assert problem.kinds == ("at_most", "equals", "at_least") and not problem.simplex
    np.testing.assert_allclose(problem.softness, [0.25, 0.5, 0.5])
    assert problem_of(recipe([{}, {}], rule="mirror")).kinds == ("minimax", "minimax")


def test_a_minimax_run_whose_weighted_constraints_differ_has_not_converged():
    from tests.trainer.dual.test_simplex import settled

    level = {
        "a": ConstraintOutcome(0.7, 0.7, 0.0, 0.01, 0.6, "minimax"),
        "b": ConstraintOutcome(0.4, 0.7, 0.3, 0.01, 0.4, "minimax"),
    }
    status, reason = verdict(settled(2), level)
    assert status == "out_of_steps" and "`b` by 0.3" in reason
    level["b"] = ConstraintOutcome(0.4, 0.7, 0.3, 0.01, 0.0, "minimax")
    assert verdict(settled(2), level)[0] == "converged"


def test_a_run_of_too_few_dual_steps_says_so_whether_it_is_met_or_not():
    few = Controller(problem_of(recipe([{"at_most": 0.5}])), Dual(), 3).first()
    outcome = ConstraintOutcome(0.7, 0.5, -0.2, 0.01, 0.6)
    for slack, told in ((-0.2, "constraints violated: `a` by 0.2"), (0.2, "all steps used; ")):
        status, reason = verdict(few, {"a": replace(outcome, slack=slack)})
        assert status == "out_of_steps" and told in reason and reason.endswith(UNTOLD)


def test_a_run_without_constraints_is_not_told_that_they_are_met():
    from tests.trainer.dual.test_simplex import unmoved

    state = unmoved(Controller(problem_of(recipe([])), Dual(), 100), 0)
    assert verdict(state, {}) == ("converged", "the objective has settled")


def test_an_objective_that_is_maximised_keeps_its_unit_and_turns_the_lagrangian():
    problem = ConstrainedProblem(("near",), np.array([0.3]), np.array([False]), maximize=True)
    means, multipliers = np.array([2.0, 0.5]), np.array([4.0])
    assert problem.objective(means) == 2.0
    assert problem.lagrangian(means, multipliers) == pytest.approx(-2.0 + 4.0 * 0.2)
    np.testing.assert_allclose(problem.coefficients(multipliers), [-1.0, 4.0])
