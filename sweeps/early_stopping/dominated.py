"""The rule `dominated`: the best that a trial can credibly end with is still dominated by a finished one.

The optimistic point has in each objective the better of what it has now and what its trend leads to at the last step, with z
standard errors; z gives all objectives together the confidence asked for (Bonferroni). Two things of the dual go beyond the
trend:

- A value is not below its budget at the end while its multiplier is positive: a slack that stays would take the multiplier
  back to zero (complementary slackness). A violated constraint may always come down to its budget.
- An objective may still fall by sum_i lambda_i s_i over the slacks s_i > 0, which the multipliers overpay for: the Lagrangian
  at the present multipliers bounds what feasible models reach (weak duality).

The finished trial counts with the last quarter of its own training points, z standard errors to its disadvantage: compared are
training weights with training weights, not with the averaged ones of a final evaluation, which are better.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import NormalDist

from dualsweep.analysis.trials import Direction
from dualsweep.sweeps.early_stopping.forecast import forecast
from dualsweep.sweeps.early_stopping.watched import Bound, Watched
from dualsweep.trainer import metric_names
from dualsweep.trainer.verdicts.trend import Measured


def dominated(
    trial: Watched,
    ended: Iterable[Watched],
    objectives: Mapping[str, Direction],
    confidence: float,
    required: frozenset[str] | None = None,
) -> str | None:
    """Which finished trial dominates a running one at its best, in words; None where none does.

    Only one that may be on the front does: it keeps the budgets of the constraints that are `required`, None for all of them.
    Another training of the same trial does not: they are one point.
    """
    z = NormalDist().inv_cdf(1.0 - (1.0 - confidence) / len(objectives))
    best = {metric: optimistic(trial, metric, direction, z) for metric, direction in objectives.items()}
    if any(value is None or not math.isfinite(value) for value in best.values()):
        return None
    for other in ended:
        if other.trial == trial.trial or not other.admitted(required):
            continue
        there = {metric: other.now(metric) for metric in objectives}
        if all(_worse(best[metric], there[metric], direction, z) for metric, direction in objectives.items()):
            parts = [f"{name} at best {best[name]:.4g}, there {_shown(there[name])}" for name in objectives]
            return f"dominated with {100 * confidence:.3g} % confidence by trial {other.trial}: {'; '.join(parts)}"
    return None


def optimistic(trial: Watched, metric: str, direction: Direction, z: float) -> float | None:
    """The best credible final value of a metric; None where its points do not tell."""
    if metric == metric_names.LARGEST_VALUE and direction == "minimize" and trial.bounds:
        parts = [optimistic(trial, metric_names.value(bound.name), direction, z) for bound in trial.bounds]
        known = [each for each in parts if each is not None]
        return max(known) if len(known) == len(parts) else None
    sign = -1.0 if direction == "maximize" else 1.0
    ahead, now = trial.forecast(metric, z), trial.now(metric)
    if ahead is None or not math.isfinite(now.error):
        return None
    present = sign * now.value - z * now.error
    final = ahead.low if sign > 0 else -ahead.high
    bound = next((each for each in trial.bounds if metric == metric_names.value(each.name)), None)
    if bound is not None and bound.kind == ("at_most" if sign > 0 else "at_least"):
        budget = sign * trial.histories[metric_names.budget(bound.name)][-1][1]
        if _stays_active(trial, bound, z):
            final = max(final, budget)
        elif sign * now.value > budget:
            final = min(final, budget)
    if metric == "objective":
        final = min(final, present) - _overpaid(trial, z)
    return sign * min(present, final)


def _stays_active(trial: Watched, bound: Bound, z: float) -> bool:
    """Whether the multiplier will still be positive at the last step, even at the lower end of its forecast."""
    steps, values = trial.series(metric_names.multiplier(bound.name))
    ahead = forecast(steps, values, float(trial.steps), z)
    return trial.moving and ahead is not None and ahead.low > 0


def _overpaid(trial: Watched, z: float) -> float:
    """What the objective may still fall by when multipliers give back what slacks do not need."""
    total = 0.0
    for bound in trial.bounds:
        price, slack = trial.now(metric_names.multiplier(bound.name)).value, trial.now(metric_names.slack(bound.name))
        room = slack.value + z * slack.error
        if bound.kind != "equals" and math.isfinite(price * room):
            total += price * max(0.0, room)
    return total


def _worse(best: float | None, there: Measured, direction: Direction, z: float) -> bool:
    if best is None or not math.isfinite(there.error):
        return False
    return best > there.value + z * there.error if direction == "minimize" else best < there.value - z * there.error


def _shown(there: Measured) -> str:
    return f"{there.value:.4g} ± {there.error:.1g}"
