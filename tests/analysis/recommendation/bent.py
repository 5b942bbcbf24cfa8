"""Fronts of two objectives whose knee is known."""

from __future__ import annotations

import numpy as np

from dualsweep.analysis.recommendation.points import Vector


def bent_front(kind: str, count: int, bulge: float) -> tuple[Vector, int]:
    """`count` points [n, 2] from (0, 1) to (1, 0), evenly along the first, and the row of the knee.

    The sums lie `bulge` below the line: at one point in the middle with straight sides (`kink`), along a `parabola`, or nowhere
    (`straight`).
    """
    x, middle = np.linspace(0.0, 1.0, count), count // 2
    depth = {
        "straight": np.zeros(count),
        "kink": np.where(x < x[middle], x / x[middle], (1 - x) / (1 - x[middle])),
        "parabola": 4 * x * (1 - x),
    }[kind]
    values = np.column_stack([x, 1 - x - bulge * depth])
    return values, int(np.argmin(values.sum(axis=1)))
