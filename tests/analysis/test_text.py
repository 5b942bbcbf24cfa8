"""Numbers as tables show them."""

from __future__ import annotations

import math

import pytest

from dualsweep.analysis.text import number, setting


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (-0.00007338, "-0.00007338"), (9.9996e-5, "0.0001"), (1.23456e-6, "0.000001235"), (-4.2e-7, "-4.2e-07"),
     (0.123456, "0.1235"), (123456.0, "1.235e+05"), (math.inf, "inf"), (None, "—"), (math.nan, "—")],
)  # fmt: skip
def test_exponents_stand_only_where_digits_would_be_lost_in_zeros(value: float | None, shown: str) -> None:
    assert number(value) == shown
    if value is not None and not math.isnan(value):
        assert setting(value) == shown
