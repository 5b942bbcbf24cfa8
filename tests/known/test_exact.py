"""The exact answers against the optimality conditions and brute force, and the verdicts that rest on them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.known import exact, models
from tests.known.cases import aligned, exact_alignment
from tests.known.verdicts import Ending, Near

FAMILIES = {"line": (models.LEFT, models.RIGHT), "equal": models.SHIFTED, "unequal": models.CORNERS}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_product_has_no_duality_gap(family: str) -> None:
    """The largest KL of the primal is the dual's value, and all that have a weight are level with it."""
    means, covariances = (np.array(each) for each in zip(*FAMILIES[family], strict=True))
    weights, kls = exact.composition_and(means, covariances)
    dual = -exact.log_normaliser(weights, means, covariances)
    assert weights.sum() == pytest.approx(1) and (weights > 0.05).all()
    np.testing.assert_allclose(kls, dual, rtol=1e-5)


def test_the_product_of_methods_line_and_of_equal_covariances() -> None:
    means, covariances = (np.array(each) for each in zip(models.LEFT, models.RIGHT, strict=True))
    weights, kls = exact.composition_and(means, covariances)
    np.testing.assert_allclose(weights, [0.198, 0.802], atol=1e-4)
    np.testing.assert_allclose(kls, 3.1515, atol=1e-4)
    means, covariances = (np.array(each) for each in zip(*models.SHIFTED[:2], strict=True))
    away = means[0] - means[1]
    weights, kls = exact.composition_and(means, covariances)
    np.testing.assert_allclose(weights, 0.5)
    np.testing.assert_allclose(kls, away @ np.linalg.solve(covariances[0], away) / 8)


def test_the_normaliser_by_quadrature() -> None:
    means, covariances = np.array([[-1.0], [1.0]]), np.array([[[0.3]], [[0.5]]])
    weights = np.array([0.3, 0.6])  # off the simplex, too
    x = np.linspace(-12, 12, 100_001)
    logs = -0.5 * (x - means) ** 2 / covariances[:, 0] - 0.5 * np.log(2 * np.pi * covariances[:, 0])
    wanted = np.log(np.trapezoid(np.exp(weights @ logs), x))
    assert exact.log_normaliser(weights, means, covariances) == pytest.approx(wanted, abs=1e-6)


def test_of_three_rewards_the_last_does_not_bind() -> None:
    wanted, _ = exact_alignment(aligned(3, "", "backpropagation", 10, 16))
    assert (wanted[:2] > 0).all() and wanted[2] == 0


def test_verdicts_can_fail() -> None:
    assert Near("x", [1.0, 2.05], [1.0, 2.0], 0.03, relative=True).ok
    assert not Near("x", [1.0, 2.07], [1.0, 2.0], 0.03, relative=True).ok
    assert not Near("x", [1.04, 2.0], [1.0, 2.0], 0.03, relative=True).ok
    assert not Near("x", float("nan"), 1.0, 0.03).ok
    assert Near("x", [1.0, 0.02], [1.0, 0.0], 0.03, relative=True).ok
    assert not Near("x", [1.0, 0.04], [1.0, 0.0], 0.03, relative=True).ok
    ended = {"status": "infeasible", "reason": "`a` is at 1 and `b` at 2"}
    assert Ending(ended, "infeasible", ["a", "b"], ["c"]).ok
    assert not Ending(ended, "infeasible", ["a"], ["b"]).ok
    assert not Ending(ended, "infeasible", ["a", "c"], []).ok
    assert not Ending(ended, "converged", ["a"], []).ok
