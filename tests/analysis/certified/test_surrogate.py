"""Kernel derivatives against finite differences; a fit against what it was fitted to, and against fronts it was not."""

from __future__ import annotations

import numpy as np
import pytest

from dualsweep.analysis.certified.axes import Axis, Box
from dualsweep.analysis.certified.surrogate import Surrogate
from dualsweep.trainer.kriging.kernel import joint_covariance
from dualsweep.trainer.kriging.process import fit
from tests.analysis.certified.problems import Problem, problem
from tests.analysis.certified.test_band import trials_of


def box_of(case: Problem) -> Box:
    return Box(tuple(Axis(float(low), float(high)) for low, high in zip(case.tight, case.loose, strict=True)))


def test_derivatives_of_the_kernel() -> None:
    rng = np.random.default_rng(0)
    left, right, lengths, step = rng.normal(size=(4, 3)), rng.normal(size=(5, 3)), np.array([0.5, 1.0, 2.0]), 1e-4

    def values(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return joint_covariance(a, b, lengths)[:4, :5]

    covariance = joint_covariance(left, right, lengths).reshape(4, 4, 4, 5)  # [what, left, what, right]
    distance = np.sqrt((((left[:, None] - right[None]) / lengths) ** 2).sum(axis=2))
    r = np.sqrt(5) * distance
    assert covariance[0, :, 0, :] == pytest.approx((1 + r + r**2 / 3) * np.exp(-r))
    for i in range(3):
        e = step * np.eye(3)[i]
        assert covariance[1 + i, :, 0, :] == pytest.approx(
            (values(left + e, right) - values(left - e, right)) / (2 * step), abs=1e-6
        )
        assert covariance[0, :, 1 + i, :] == pytest.approx(
            (values(left, right + e) - values(left, right - e)) / (2 * step), abs=1e-6
        )
        for j in range(3):
            h = step * np.eye(3)[j]
            both = values(left + e, right + h) - values(left + e, right - h)
            both -= values(left - e, right + h) - values(left - e, right - h)
            assert covariance[1 + i, :, 1 + j, :] == pytest.approx(both / (4 * step**2), abs=1e-5)
    joint = joint_covariance(left, left, lengths)
    assert joint == pytest.approx(joint.T) and np.linalg.eigvalsh(joint).min() > 0


def test_a_clean_fit_goes_through_values_and_gradients() -> None:
    points = np.random.default_rng(1).uniform(size=(6, 2))
    values, gradients = np.sin(points).sum(axis=1), np.cos(points)
    fitted = fit(points, values, gradients, np.zeros(6), np.zeros((6, 2)))
    found, slopes = fitted.predict(points)
    assert found == pytest.approx(values, abs=1e-5) and slopes == pytest.approx(gradients, abs=1e-4)
    between = np.random.default_rng(2).uniform(0.2, 0.8, (20, 2))
    assert fitted.predict(between)[0] == pytest.approx(np.sin(between).sum(axis=1), abs=5e-3)


def test_known_noise_is_not_followed() -> None:
    rng = np.random.default_rng(3)
    points = np.linspace(0, 1, 15)[:, None]
    noisy = points[:, 0] ** 2 + 0.1 * rng.standard_normal(15)
    found = fit(points, noisy, 2 * points, np.full(15, 0.01), np.zeros((15, 1))).predict(points)[0]
    assert np.abs(found - points[:, 0] ** 2).max() < 0.05 < np.abs(noisy - points[:, 0] ** 2).max()


@pytest.mark.parametrize(("name", "most"), [("A1", 0.2), ("A3", 4.0), ("B3", 2.5), ("C2", 4.0)])
def test_fronts_from_a_few_trials(name: str, most: float) -> None:
    """Mean errors in percent of the front's range at 5 trials; prices are the negative slopes of what is predicted."""
    case = problem(name)
    at = case.grid()[:: max(1, len(case.grid()) // 200)]
    fitted = Surrogate.of(trials_of(case, 5, 0.0, 0), box_of(case))
    truth = case.solve(at)[0]
    assert 100 * np.abs(fitted.predict(at)[0] - truth).mean() / np.ptp(truth) < most
    inner, step = case.tight + 0.4 * (case.loose - case.tight), 1e-6
    e = step * np.eye(case.size)[0]
    slope = (fitted.predict((inner + e)[None])[0] - fitted.predict((inner - e)[None])[0]) / (2 * step)
    assert fitted.predict(inner[None])[1][0, 0] == pytest.approx(-slope[0], rel=1e-4)


@pytest.mark.parametrize(("axis", "numbers"), [
    (Axis(0.1, 10.0, log=True), [0.1, 1.0, 10.0]),
    (Axis(0.1, 10.0, "at_least", log=True), [10.0, 1.0, 0.1]),
    (Axis(2.0, 8.0, step=1.0), [2.0, 5.0, 8.0]),
    (Axis(2.0, 8.0, "at_least"), [8.0, 5.0, 2.0]),
])  # fmt: skip
def test_axes_run_from_tight_to_loose(axis: Axis, numbers: list[float]) -> None:
    box, units = Box((axis,)), np.array([[0.0], [0.5], [1.0]])
    budgets = box.to_budgets(units)
    assert budgets[:, 0] * axis.sign == pytest.approx(numbers)
    assert (np.diff(budgets[:, 0]) > 0).all()
    assert box.to_units(budgets) == pytest.approx(units)
    step = 1e-6
    slopes = 2 * step / (box.to_units(budgets[1:2] + step) - box.to_units(budgets[1:2] - step))
    assert box.slopes(budgets[1:2]) == pytest.approx(slopes, rel=1e-4)
