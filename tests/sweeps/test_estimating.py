"""How the figures of an estimate read."""

from __future__ import annotations

import pytest

from dualsweep.sweeps.estimating import amount, lasting, size


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.0004, "0.4 ms"),
        (0.134, "134 ms"),
        (0.9999, "1000 ms"),
        (1.01, "1.01 s"),
        (12.34, "12.3 s"),
        (99.99, "100 s"),
        (150.0, "2:30"),
    ],
)
def test_a_step_lasts(seconds: float, told: str) -> None:
    assert lasting(seconds) == told


@pytest.mark.parametrize(("number", "told"), [(0.02, "0.02"), (0.5, "0.5"), (9.87, "9.87"), (23.7, "24"), (12_345.0, "12,345")])
def test_images_a_second(number: float, told: str) -> None:
    assert amount(number) == told


@pytest.mark.parametrize("count", [0, 1, 999, 1_000, 1_023, 999_600, 1_023_000, 1_047_000, 10**9 - 1, 1_072_000_000, 10**13])
def test_a_size_has_no_power_of_ten(count: int) -> None:
    number, unit = size(count).split()
    assert "e" not in number and (float(number) <= 1024 or unit == "GB")
