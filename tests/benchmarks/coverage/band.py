"""The band as a whole, its width beside Bonferroni's, contradictions, and the knee, on fronts that are known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import norm

from dualsweep.analysis.certified.band import band
from dualsweep.analysis.certified.contradictions import consistency, crossing_errors
from dualsweep.analysis.certified.fixed import Fixed, attained_with
from dualsweep.analysis.certified.hull import lower_hull
from dualsweep.analysis.certified.observations import Observations, Vector
from dualsweep.analysis.recommendation.knee import Knee, find_knee
from dualsweep.analysis.recommendation.points import Points
from dualsweep.analysis.trials import Trial
from tests.analysis.certified.drawn import half_squares, measured, problem_of
from tests.analysis.recommendation.bent import bent_front
from tests.benchmarks.coverage import Row

#: Standard errors of the band, 95.45 %; Bonferroni's band has the same confidence over its 2n one-sided statements.
_Z = 2.0
#: Widths differ little from sweep to sweep, so that fewer give their mean.
_WIDTHS = 400
_SWEEPS, _NOISE, _SIGMA, _EXACT = 2000, 0.02, 0.02, 1e-9


def rows(scale: float) -> Iterator[Row]:
    """Every claim; at full scale of 2,000 sweeps each, some hours on one core, most of them those of 200 trials."""
    sweeps = max(10, int(_SWEEPS * scale))
    for name in ("A1", "H1", "A3", "H3"):
        for count in (5, 12, 40, 200):
            for common in (0.0, 0.9):
                yield from _whole(name, count, common, sweeps)
    yield _fixed()
    for count in (12, 40, 200):
        yield from _contradictions(count, sweeps)
    yield from _knees(sweeps)


@dataclass(frozen=True)
class _Sides:
    lower: Vector
    upper: Vector

    @property
    def width(self) -> Vector:
        with np.errstate(invalid="ignore"):
            return self.upper - self.lower


def _bonferroni(trials: Observations, at: Vector, z: float) -> _Sides:
    """The band of single planes and points, each at z errors."""
    planes = np.min(trials.crossings, axis=0) - at @ trials.prices.T - z * np.sqrt(_plane_variances(trials, at))
    upper = lower_hull(at, trials.attained, trials.objective + z * np.sqrt(trials.own_variances), trials.signed)
    return _Sides(planes.max(axis=1), upper)


def _plane_variances(trials: Observations, at: Vector) -> Vector:
    """Variances [N, n] of the planes' heights at budgets `at` [N, m]: of f, of lambda . g, and of lambda . (g - b)."""
    own = trials.objective_error**2 + ((trials.multipliers * trials.value_errors) ** 2).sum(axis=1)
    away = trials.values[None, :, :] - at[:, None, trials.shared]
    result: Vector = own + ((away * trials.multiplier_errors) ** 2).sum(axis=2)
    return result


def _whole(name: str, count: int, common: float, sweeps: int) -> Iterator[Row]:
    case = problem_of(name)
    at = case.grid()
    truth, z = case.solve(at)[0], float(norm.isf(norm.sf(_Z) / count))  # the same confidence
    covered, margins = 0, np.zeros((min(sweeps, _WIDTHS), 2))
    for seed in range(sweeps):
        trials = measured(case, count, _NOISE, common, seed)
        bounds = band(trials, at, _Z)
        covered += bool((bounds.lower <= truth + _EXACT).all() and (truth <= bounds.upper + _EXACT).all())
        if seed >= len(margins):
            continue
        bare = band(trials, at, 0.0)
        ours = _Sides(bounds.lower, bounds.upper).width - _Sides(bare.lower, bare.upper).width
        theirs = _bonferroni(trials, at, z).width - _bonferroni(trials, at, 0.0).width
        closed = np.isfinite(ours) & np.isfinite(theirs)
        margins[seed] = ours[closed].mean(), theirs[closed].mean()
    share, ratio = covered / sweeps, float(np.divide(*margins.mean(axis=0)))
    what = f"{name}, {count} trials" + (f", common draws ({common:g})" if common else "")
    yield Row(f"band holds everywhere: {what}", "≥ 95 % of sweeps", f"{100 * share:.1f} % of {sweeps}", share >= 0.95)
    limit = {40: 0.85, 200: 0.8}.get(count) if common else 1.0
    if limit is not None:
        yield Row(f"margin over Bonferroni's: {what}", f"≤ {limit:g}", f"{ratio:.3f}", ratio <= limit)


def _fixed() -> Row:
    """1/2 sum (1 - b_i)^2 whose second budget, 0.75, is kept with 0.25 to spare; multipliers twice too large."""
    b, grid = np.linspace(0.0, 1.0, 6), np.linspace(0.0, 1.0, 201)[:, None]
    asked = np.column_stack([b, np.full(6, 0.5)])
    f, _, prices = half_squares(asked)
    reached = [attained_with([Fixed(0.25, 0.0, 2 * price)], one) for price, one in zip(prices[:, 1], f, strict=True)]
    nothing = np.zeros((6, 1))
    trials = Observations(
        asked[:, :1], f - 0.5 * prices[:, 1], asked[:, :1], prices[:, :1], np.zeros(6), nothing, nothing,
        np.zeros(1, dtype=np.intp), np.zeros(1, dtype=np.bool_), reached=np.array(reached),
    )  # fmt: skip
    below = band(trials, grid, 2.0).upper < half_squares(np.column_stack([grid, np.full(201, 0.75)]))[0] - _EXACT
    return Row(
        "upper side below the front, a fixed budget kept with room",
        "0 % of the grid",
        f"{100 * below.mean():.0f} %",
        not below.any(),
    )


def _contradictions(count: int, sweeps: int) -> Iterator[Row]:
    case, rng, false, detected = problem_of("A1"), np.random.default_rng(count), 0, 0
    for seed in range(sweeps):
        trials = measured(case, count, _NOISE, 0.0, seed)
        exact = consistency(trials, 2.0)
        false += bool(exact.contradictions or exact.short)
        plane = int(rng.integers(count))
        spoilt = consistency(_too_high(trials, plane), 2.0)
        detected += plane in spoilt.short or any(each.plane == plane for each in spoilt.contradictions)
    share, power = false / sweeps, detected / sweeps
    yield Row(f"exact convex sweeps contradicted, {count} trials", "≤ 5 %", f"{100 * share:.1f} % of {sweeps}", share <= 0.05)
    yield Row(f"plane 6 errors above another trial found, {count} trials", "≥ 95 %", f"{100 * power:.1f} %", power >= 0.95)


def _too_high(trials: Observations, plane: int) -> Observations:
    """With one trial's plane 6 of their errors above that other trial which is nearest to lying below it."""
    f, g, prices = problem_of("A1").solve(trials.asked)
    slack, errors = f + g @ prices[plane] - f[plane] - g[plane] @ prices[plane], crossing_errors(trials)[:, plane]
    needed = np.where(np.arange(len(trials)) == plane, np.inf, slack + 6.0 * errors)
    objective = trials.objective.copy()
    objective[plane] += float(needed.min())
    return replace(trials, objective=objective, reached=trials.objective)


def _knees(sweeps: int) -> Iterator[Row]:
    for count in (12, 40, 60):
        claimed = float(np.mean([_knee("straight", count, seed)[0].row is not None for seed in range(sweeps)]))
        yield Row(f"knee claimed on a straight front, {count} points", "≤ 5 %", f"{100 * claimed:.1f} %", claimed <= 0.05)
        for kind in ("kink", "parabola"):
            knees = [_knee(kind, count, seed) for seed in range(sweeps)]
            there = [(each, true) for each, true in knees if each.row is not None]
            share = len(there) / sweeps
            yield Row(f"{kind} of 6 errors found, {count} points", "≥ 95 %", f"{100 * share:.1f} %", share >= 0.95)
            named = float(np.mean([true == each.row or true in each.alike for each, true in there]))
            yield Row(f"true knee of a {kind} named, {count} points", "≥ 95 %", f"{100 * named:.1f} %", named >= 0.95)
            if (kind, count) == ("kink", 12):
                near = float(np.mean([abs((each.row or 0) - true) <= 1 for each, true in there]))
                yield Row("kink found within one point, 12 points", "≥ 95 %", f"{100 * near:.1f} %", near >= 0.95)


def _knee(kind: str, count: int, seed: int) -> tuple[Knee, int]:
    """The knee of a front that bulges by 6 errors of its sums, and where it truly is."""
    rng, errors = np.random.default_rng(seed), np.full((count, 2), _SIGMA)
    values, true = bent_front(kind, count, 6 * _SIGMA * np.sqrt(2))
    trials = tuple(Trial(f"{row:04d}", "", "converged") for row in range(count))
    return find_knee(Points(("a", "b"), trials, values + errors * rng.standard_normal(values.shape), errors)), true
