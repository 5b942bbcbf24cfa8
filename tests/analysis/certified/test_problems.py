"""The problems themselves: the slope of the front is minus the multipliers, and what a trial says holds."""

from __future__ import annotations

import numpy as np
import pytest

from tests.analysis.certified.problems import problem


@pytest.mark.parametrize("name", ["A1", "A2", "A3", "B3", "C1", "C2"])
def test_multipliers_are_minus_the_slope_of_the_front(name: str) -> None:
    case, step = problem(name), 1e-5
    units = np.random.default_rng(0).uniform(0.02, 0.98, (12, case.size))
    at = case.tight + (case.loose - case.tight) * units
    _, values, multipliers = case.solve(at)
    assert (values <= at + 1e-8).all() and (multipliers >= 0).all()
    for i in range(case.size):
        aside = step * np.eye(case.size)[i]
        slopes = (case.solve(at + aside)[0] - case.solve(at - aside)[0]) / (2 * step)
        assert slopes == pytest.approx(-multipliers[:, i], abs=1e-6)


def test_known_answers() -> None:
    # docs/method.md, "Minority classes", has other weights; at one active class these are quick to write down.
    at = np.array([[-np.log(0.2), -np.log(0.01), -np.log(0.01)]])
    objective, values, multipliers = problem("B3").solve(at)
    others = 0.99 / 0.8  # 1 + L, were the other two free: they are held up at 0.01
    held = (0.97) / (1 - 0.2 - 0.02)
    assert held > others
    assert np.exp(-values[0]) == pytest.approx([0.2, 0.01, 0.01])
    assert multipliers[0] == pytest.approx([held * 0.2 - 0.01, held * 0.01 - 0.01, held * 0.01 - 0.01])
    assert objective[0] == pytest.approx(0.01 * np.log(0.01 / 0.2) + 0.97 * np.log(0.97 / 0.78))
    assert problem("A1").solve(np.array([[-1.5]]))[0] == pytest.approx(1.125)


@pytest.mark.parametrize("name", ["A3", "B3", "C2"])
def test_the_base_model_is_the_loosest_corner(name: str) -> None:
    base = problem(name).base()
    assert base.objective == pytest.approx(0, abs=1e-12)
    assert base.multipliers == pytest.approx(0, abs=1e-7)
