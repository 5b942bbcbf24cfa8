"""The measures of the digits benchmark against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.stats import qmc

from tests.benchmarks.informed_digits.volumes import attained, course, fewest, mixtures


@pytest.mark.parametrize("size", [2, 3])
def test_mixtures_dominate_what_a_linear_program_says(size: int) -> None:
    rng = np.random.default_rng(size)
    points, reference = rng.random((8, size)), np.full(size, 0.9)
    inside = points[(points < reference).all(axis=1)]

    def dominated(at: np.ndarray) -> bool:
        weights = np.ones((1, len(inside)))
        return bool(linprog(np.zeros(len(inside)), inside.T, at, weights, [1.0], (0, None)).status == 0)

    cloud = reference * qmc.Sobol(size, seed=0).random_base2(9)
    share = np.mean([dominated(at) for at in cloud])
    assert mixtures(points, reference) == pytest.approx(share * reference.prod(), abs=0.02)


def test_volumes_by_hand() -> None:
    points, reference = np.array([[1.0, 3.0], [3.0, 1.0], [9.0, 0.0]]), np.array([4.0, 4.0])
    assert attained(points, reference) == 5.0
    assert mixtures(points, reference) == pytest.approx(7.0)  # 3 x 3, less the triangle below the line between them
    assert course(points, [True, False, True], reference, attained).tolist() == [3.0, 3.0, 3.0]
    assert fewest(points, reference, attained, 3.0) == 1 and fewest(points, reference, attained, 5.0) == 2
