"""The Matern 5/2 kernel and its derivatives: the covariance of a random function's values and gradients.

With d_i = (x_i - x'_i) / l_i, r = sqrt(5 sum_i d_i^2) and k = (1 + r + r^2 / 3) e^-r:

    cov(F(x), F(x'))           = k
    cov(F(x), dF/dx'_j)        = A d_j / l_j                               A = 5/3 (1 + r) e^-r
    cov(dF/dx_i, dF/dx'_j)     = (A delta_ij - B d_i d_j) / (l_i l_j)      B = 25/3 e^-r

Source: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), equation 4.17 and section 9.4. Twice
differentiable functions, no smoother: a front's curvature jumps where its set of active constraints changes, and the smoother
squared-exponential kernel oscillated there.
"""

from __future__ import annotations

import numpy as np

from dualsweep.trainer.dual.problem import Vector


def joint_covariance(left: Vector, right: Vector, lengths: Vector) -> Vector:
    """Covariances [n (1 + m), N (1 + m)] between values and gradients at `left` [n, m] and at `right` [N, m].

    Rows and columns hold all values first, then the derivatives along the first coordinate, along the second, and so on.
    """
    (count, size), other = left.shape, len(right)
    apart = (left[:, None, :] - right[None, :, :]) / lengths
    r = np.sqrt(5.0 * (apart**2).sum(axis=2))
    decay = np.exp(-r)
    kernel, first, second = (1.0 + r + r**2 / 3.0) * decay, 5.0 / 3.0 * (1.0 + r) * decay, 25.0 / 3.0 * decay
    blocks = np.empty((1 + size, count, 1 + size, other))
    blocks[0, :, 0, :] = kernel
    for i in range(size):
        slope = first * apart[:, :, i] / lengths[i]
        blocks[0, :, 1 + i, :], blocks[1 + i, :, 0, :] = slope, -slope
        for j in range(i + 1):
            bend = (first * (i == j) - second * apart[:, :, i] * apart[:, :, j]) / (lengths[i] * lengths[j])
            blocks[1 + i, :, 1 + j, :] = blocks[1 + j, :, 1 + i, :] = bend
    return blocks.reshape((1 + size) * count, (1 + size) * other)
