"""What contradicts the certificate: a trial below another's plane by more than their errors allow.

If every training were a minimiser of its Lagrangian and the problem convex, no trial would lie below another's plane:
f_i + lambda_j . g_i >= f_j + lambda_j . g_j. Where one does, beyond errors, there are two cases. Trial j lies above a chord of
other trials: it merely did not reach the front, and its plane says nothing. Or it does not: then the multipliers of j are
wrong or the problem is not convex, and the band holds only if the trainings converged.

Over all pairs together at most 5 % of exact sweeps are contradicted by chance: each pair has its share of that (Bonferroni),
counting those pairs that are near enough to a tie to matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from dualsweep.analysis.certified.hull import lower_hull
from dualsweep.analysis.certified.observations import Observations, Vector

#: The share of exact convex sweeps in which anything is contradicted, at most.
_CHANCE = 0.05
#: A pair counts as near a tie within so many errors: of those at a tie, 1 in 40 is further.
_NEAR = 2.0
#: A contradicted trial lies above a chord where it does by so many errors.
_ABOVE = 2.0
#: Differences below this part of the objectives' size are those of rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Contradiction:
    """Trial `below` lies below the plane of trial `plane` (rows) by `depth`, of which `error` is the standard error."""

    below: int
    plane: int
    depth: float
    error: float


@dataclass(frozen=True)
class Consistency:
    """What the trials say of each other.

    short           rows of trials that did not reach the front: others' chords lie below them
    contradictions  for each other trial whose plane is contradicted, the one that lies farthest below it, in errors
    allowed         [n] the least crossing of each trial's plane that errors allow: its own, or what others' make of it
    """

    short: tuple[int, ...]
    contradictions: tuple[Contradiction, ...]
    allowed: Vector

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Whose planes are used, [n]."""
        return ~np.isin(np.arange(len(self.allowed)), self.short)


def consistency(trials: Observations, z: float) -> Consistency:
    """Holds every trial against every other's plane; with `z` = 0 errors count for nothing."""
    crossings = trials.crossings
    own = np.diag(crossings)
    depths, errors = own[None, :] - crossings, crossing_errors(trials)
    depths = np.where(np.isfinite(trials.points)[:, None], depths, -np.inf)  # [below, plane]
    np.fill_diagonal(depths, -np.inf)
    rounding = _ROUNDING * max(1e-300, float(np.abs(crossings).max(initial=0.0)))
    near = int((depths > -_NEAR * errors - rounding).sum())
    limit = -float(ndtri(_CHANCE / max(1, near))) if z > 0 else 0.0
    beyond = depths - limit * errors - rounding
    flagged = np.flatnonzero((beyond > 0).any(axis=0))
    short = tuple(int(j) for j in flagged if z > 0 and _above_a_chord(trials, int(j)))
    contradictions = []
    for plane in (int(j) for j in flagged if int(j) not in short):
        sure = np.where(beyond[:, plane] > 0, depths[:, plane] / np.maximum(errors[:, plane], rounding), -np.inf)
        below = int(np.argmax(sure))
        if below not in short:
            contradictions.append(Contradiction(below, plane, float(depths[below, plane]), float(errors[below, plane])))
    allowed = np.where((beyond > 0).any(axis=0), own - np.max(beyond, axis=0, initial=-np.inf), own)
    return Consistency(short, tuple(contradictions), allowed)


def crossing_errors(trials: Observations) -> Vector:
    """Standard errors [n, n] of f_i + lambda_j . g_i - f_j - lambda_j . g_j for trial i [row] at j's multipliers [column]."""
    loads, own_covariance = trials.loads, trials.own_covariance
    there, own = np.einsum("ja,iab,jb->ij", loads, trials.within_covariance, loads, optimize=True), np.diag(own_covariance)
    if trials.covariance is None:
        mixed = own_covariance
    else:
        mixed = np.einsum("ja,iajb,jb->ij", loads, trials.errors_covariance, loads, optimize=True)
    away = trials.values[:, None, :] - trials.values[None, :, :]
    tilt = np.einsum("ijk,jk->ij", away**2, trials.multiplier_errors**2)
    return np.asarray(np.sqrt(np.maximum(there + own[None, :] - 2.0 * mixed, 0.0) + tilt))


def _above_a_chord(trials: Observations, row: int) -> bool:
    """Whether a trial lies above the chords of the others, beyond errors."""
    others = np.isfinite(trials.points) & (np.arange(len(trials)) != row)
    if not others.any() or not np.isfinite(trials.points[row]):
        return False
    errors = np.sqrt(trials.own_variances)
    height = lower_hull(trials.attained[[row]], trials.attained[others], trials.points[others], trials.signed)[0]
    spread = _ABOVE * float(np.hypot(errors[row], np.median(errors[others])))
    return bool(trials.points[row] - height > spread + _ROUNDING * abs(height))
