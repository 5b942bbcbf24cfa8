"""Numbers as tables show them."""

from __future__ import annotations

import math

import pytest

from dualsweep.analysis.text import number, outcome_parts, setting
from dualsweep.analysis.trials import ConstraintRecord


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (-0.00007338, "-0.00007338"), (9.9996e-5, "0.0001"), (1.23456e-6, "0.000001235"), (-4.2e-7, "-4.2e-07"),
     (0.123456, "0.1235"), (123456.0, "1.235e+05"), (math.inf, "inf"), (None, "—"), (math.nan, "—")],
)  # fmt: skip
def test_exponents_stand_only_where_digits_would_be_lost_in_zeros(value: float | None, shown: str) -> None:
    assert number(value) == shown
    if value is not None and not math.isnan(value):
        assert setting(value) == shown


@pytest.mark.parametrize(
    ("kind", "value", "budget", "standing", "shown"),
    [
        ("at_least", -0.01778, 0.2253, "undecided", "-0.01778 ≱ 0.2253"),  # of an alignment on few samples
        ("at_least", 0.3, 0.2253, "met", "0.3 ≥ 0.2253"),
        ("at_most", 0.1844, 0.1842, "met", "0.1844 ≰ 0.1842"),
        ("at_most", 0.1842, 0.1842, "met", "0.1842 ≤ 0.1842"),
        ("equals", 0.701, 0.7, "met", "0.701 ≈ 0.7"),
        ("equals", 0.9, 0.7, "violated", "0.9 ≠ 0.7"),
        ("equals", 0.7, 0.7, "met", "0.7 = 0.7"),
        ("at_most", math.nan, 0.5, "undecided", "— ≤ 0.5"),
    ],
)
def test_a_printed_relation_is_true(kind, value, budget, standing, shown) -> None:
    slack = value - budget if kind == "at_least" else budget - value
    outcome = ConstraintRecord("c", value, budget, slack, 0.15, 1.0, kind == "equals", kind=kind, standing=standing)
    assert outcome_parts(outcome)[0] == shown
