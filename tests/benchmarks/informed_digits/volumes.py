"""What a user can have of a set of trained models, as hypervolume: each model by itself, and mixtures of them.

**Attained**: what single models dominate. **Mixtures**: drawing a sample from model j with probability alpha_j has as expected
losses exactly sum_j alpha_j (f_j, g_j), whatever the models are, so everything on or above the convex hull of what was attained
can be had without another training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import moocore
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

Vector = NDArray[np.float64]
Volume = Callable[[Vector, Vector], float]


def attained(points: Vector, reference: Vector) -> float:
    """The volume that points [n, d] dominate below the reference point [d]; all coordinates are minimised."""
    inside = points[(points < reference).all(axis=1)]
    return float(moocore.hypervolume(inside, ref=reference)) if len(inside) else 0.0


def mixtures(points: Vector, reference: Vector) -> float:
    """The volume that mixtures of them dominate.

    That set is the convex hull of the boxes between each point and the reference point: x lies in it exactly where a mixture
    is no larger in any coordinate.
    """
    inside = points[(points < reference).all(axis=1)]
    if not len(inside):
        return 0.0
    inside = moocore.filter_dominated(inside)
    size = len(reference)
    masks = (np.arange(2**size)[:, None] >> np.arange(size)) & 1 == 1
    corners = np.where(masks[None], reference, inside[:, None, :]).reshape(-1, size)
    span = reference - inside.min(axis=0)
    return float(ConvexHull((corners - reference) / span).volume * span.prod())


def course(points: Vector, usable: Sequence[bool], reference: Vector, volume: Volume) -> Vector:
    """The volume [n] after each of the first n trials, of those usable."""
    good = np.asarray(usable, dtype=np.bool_)
    return np.array([volume(points[: k + 1][good[: k + 1]], reference) for k in range(len(points))])


def fewest(points: Vector, reference: Vector, volume: Volume, wanted: float) -> int:
    """How many of the points [n, d] have this volume together, picked one by one for the largest."""
    chosen: list[int] = []
    while len(chosen) < len(points):
        volumes = [volume(points[[*chosen, i]], reference) for i in range(len(points))]
        chosen.append(int(np.argmax(volumes)))
        if max(volumes) >= wanted:
            break
    return len(chosen)
