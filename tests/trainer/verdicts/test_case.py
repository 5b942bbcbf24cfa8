"""The figures that verdicts share, by hand, and what held-out data add."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from dualsweep.trainer.feasibility.held_out import HeldOut
from dualsweep.trainer.recipe.bound import RELATIVE_LIMIT
from dualsweep.trainer.recipe.dual import Dual
from dualsweep.trainer.result import ConstraintOutcome
from dualsweep.trainer.verdicts.case import Case, rounded
from dualsweep.trainer.verdicts.held_out import evidence_of, gap_of, held_out_alone
from dualsweep.trainer.verdicts.limit import Limit, limit_of
from dualsweep.trainer.verdicts.verdict import Trace

STEPS = np.arange(10, 101, 10)


def case(multipliers: Any = 0.3, slacks: Any = 0.0, dual: Dual | None = None, **outcome: Any) -> Case:
    """A run of 100 steps, a point every 10; its budget is 0.5."""
    fields = {"value": 0.5, "budget": 0.5, "slack": 0.0, "slack_error": 0.01, "multiplier": 0.3, **outcome}
    whole = Trace.of(
        {
            "multiplier/c": list(zip(STEPS.tolist(), np.broadcast_to(multipliers, 10).tolist(), strict=True)),
            "slack/c": list(zip(STEPS.tolist(), np.broadcast_to(slacks, 10).tolist(), strict=True)),
        },
        "c",
        after=0,
    )
    return Case("c", ConstraintOutcome(**fields), whole, dual or Dual(), Limit(100.0), 100)


def test_the_tail_is_the_last_three_fifths_and_the_end_the_last() -> None:
    constraint_case = case(multipliers=np.arange(10) / 10, slacks=np.arange(10) / 10)
    assert constraint_case.end.steps.tolist() == [90, 100] and constraint_case.multiplier == pytest.approx(0.85)
    assert constraint_case.tail.steps.tolist() == [50, 60, 70, 80, 90, 100]
    assert constraint_case.end_slack.value == pytest.approx(0.85)


def test_without_points_the_results_multiplier_counts() -> None:
    empty = Case("c", case().outcome, Trace.of({}, "c", after=0), Dual(), Limit(100.0), 100)
    assert empty.multiplier == 0.3 and not empty.at_zero and empty.dual_steps == 1.0


@pytest.mark.parametrize(
    ("kind", "slack", "error", "held_out", "room"),
    [
        ("at_most", 0.2, 0.05, None, 0.1),  # 0.2 less two standard errors
        ("at_least", 0.2, 0.05, None, 0.1),
        ("at_most", 0.05, 0.05, None, 0.0),
        ("equals", 0.2, 0.05, None, 0.0),
        ("at_most", 0.2, math.nan, None, 0.2),  # an error that is unknown takes nothing off
        ("at_most", 0.2, 0.05, HeldOut(0.1, 0.03, 50, "met"), 0.04),
        ("at_most", 0.2, 0.05, HeldOut(0.9, 0.03, 50, "met"), 0.1),
    ],
)
def test_room_is_what_is_left_beyond_two_errors(
    kind: str, slack: float, error: float, held_out: HeldOut | None, room: float
) -> None:
    assert case(kind=kind, slack=slack, slack_error=error, held_out=held_out).room == pytest.approx(room)


def test_what_a_resilient_budget_gave_way_by_is_no_violation() -> None:
    assert case(slack=-0.15, relaxation=0.2).slack == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("multipliers", "zero"),
    [
        (0.0, True), (0.0099, True), (0.011, False),
        ([1.0] * 8 + [0.0, 2.0], False),  # its quartile over the last two points is 0.5
        ([1.0] * 8 + [0.0005, 0.0005], True), ([1.0] * 8 + [0.0, 0.003], True),
    ],
)  # fmt: skip
def test_a_multiplier_ends_at_zero_on_average_or_by_coming_back_to_it(multipliers: Any, zero: bool) -> None:
    assert case(multipliers=multipliers).at_zero is zero


def test_dual_steps_between_points_are_counted_and_not_primal_steps() -> None:
    assert case(dual=Dual(every=5)).dual_steps == 2.0


@pytest.mark.parametrize(
    ("kind", "value", "slack", "looser", "key"),
    [
        ("at_most", 0.8, -0.3, 0.9, "c.at_most"),
        ("at_least", 0.2, -0.3, 0.1, "c.at_least"),
        ("equals", 0.8, -0.3, 0.9, "c.equals"),
    ],
)
def test_a_budget_that_is_missed_by_more_is_farther_out(kind: str, value: float, slack: float, looser: float, key: str) -> None:
    constraint_case = case(kind=kind, value=value, slack=slack, slacks=-0.4)
    assert constraint_case.value_at(slack) == pytest.approx(value) and constraint_case.value_at(-0.4) == pytest.approx(looser)
    assert constraint_case.loosest_needed() == pytest.approx(value)  # the better of the end, -0.3, and of the training, -0.4
    assert constraint_case.budget_key(value) == f"constraints.{key} {value:g}"


@pytest.mark.parametrize(("slack", "there", "needed"), [(-0.03, -0.08, 0.58), (-0.03, -0.01, 0.53), (0.01, -0.08, 0.58)])
def test_the_budget_that_is_needed_covers_held_out_data_too(slack: float, there: float, needed: float) -> None:
    constraint_case = case(value=0.5 - slack, slack=slack, slacks=-0.4, held_out=HeldOut(there, 0.01, 50, "violated"))
    assert constraint_case.loosest_needed() == pytest.approx(needed)
    assert constraint_case.best_value() == pytest.approx(0.5 - slack)


def test_an_equality_that_presses_from_above_is_seen_with_its_signs_turned() -> None:
    """Its trace is turned where the case is made; the figures that people read are turned back."""
    constraint_case = case(kind="equals", multiplier=-0.3, multipliers=0.3, value=0.3, slack=0.2)
    assert constraint_case.side == -1.0 and constraint_case.multiplier == pytest.approx(-0.3)
    assert constraint_case.value_at(-0.2) == pytest.approx(0.3) and constraint_case.value_at(0.0) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("rule", "size", "factor", "said"),
    [
        ("ascent", 0.1, 0.5, "dual.step_size 0.05"), ("mirror", {"c": 0.2}, 3.0, "dual.step_size.c 0.6"),
        ("newton", 0.1, 2.0, "a larger dual.trust"), ("secant", 0.1, 0.5, "a smaller dual.trust"),
        ("augmented_lagrangian", 0.1, 2.0, "a larger dual.step_size"),
    ],
)  # fmt: skip
def test_what_to_set_for_a_longer_or_shorter_step(rule: Any, size: Any, factor: float, said: str) -> None:
    assert case(dual=Dual(rule=rule, step_size=size)).step_of(factor) == said


def test_relative_budgets_have_the_lower_limit_of_two() -> None:
    assert limit_of(Dual(cap=50.0), relative=False) == 50.0
    assert limit_of(Dual(cap=50.0), relative=True) == RELATIVE_LIMIT
    assert limit_of(Dual(cap=0.1), relative=True) == 0.1


@pytest.mark.parametrize("value", [0.0, 1.0, 0.123, -0.123, 1234.0, 0.12345, -0.12345, 9.999, 1e-9, -7e8, 0.3, 0.1 + 0.2])
def test_rounding_keeps_three_digits_and_its_side(value: float) -> None:
    up, down = rounded(value, up=True), rounded(value, up=False)
    for each in (up, down):
        assert float(f"{each:.3g}") == pytest.approx(each, rel=1e-12)
    slack = 1e-9 * abs(value)
    assert down <= value + slack and up >= value - slack
    assert up - down <= 0.011 * abs(value)
    if float(f"{value:.3g}") == value:
        assert up == pytest.approx(value) == down


def test_rounding_leaves_what_is_not_finite() -> None:
    assert math.isnan(rounded(math.nan, up=True)) and rounded(math.inf, up=False) == math.inf


def outcome(slack: float, held_out: HeldOut | None) -> ConstraintOutcome:
    """An upper bound of 0.5 with a tolerance of 0.02."""
    return ConstraintOutcome(0.5 - slack, 0.5, slack, 0.03, 0.0, tolerance=0.02, held_out=held_out)


@pytest.mark.parametrize(
    ("slack", "standing", "alone"),
    [
        (0.1, "violated", True),
        (-0.01, "violated", True),
        (-0.05, "violated", False),
        (0.1, "met", False),
        (0.1, "undecided", False),
    ],
)
def test_held_out_data_contradict_alone_where_the_others_are_within_tolerance(slack: float, standing: Any, alone: bool) -> None:
    assert held_out_alone(outcome(slack, HeldOut(-0.2, 0.04, 30, standing))) is alone


def test_without_held_out_data_there_is_nothing_to_add() -> None:
    bare = outcome(0.1, None)
    assert (held_out_alone(bare), gap_of(bare), evidence_of(bare)) == (False, "", {})


@pytest.mark.parametrize(("there", "told"), [(0.0, False), (-0.001, True)])
def test_a_gap_is_told_beyond_two_standard_errors_of_the_difference(there: float, told: bool) -> None:
    """Errors of 0.03 and 0.04 are 0.05 together: a gap of 0.1 is just not told apart from noise."""
    said = gap_of(outcome(0.1, HeldOut(there, 0.04, 30, "undecided")))
    assert said.startswith("; held out: undecided (30 images")
    assert ("0.1 less room than on training data" in said) is told


def test_the_numbers_behind_held_out_data() -> None:
    found = evidence_of(outcome(0.1, HeldOut(-0.2, 0.04, 30, "violated")))
    assert found == {"held_out_slack": -0.2, "held_out_error": 0.04, "images": 30.0}
