"""The trial that a user's preference names, or where none does, the one that comes nearest and what it lacks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dualsweep.analysis.errors import nearest as nearest_name
from dualsweep.analysis.front import Front, to_minimise
from dualsweep.analysis.noise import APART, known, standard_error
from dualsweep.analysis.preference import Limit, Preference
from dualsweep.analysis.prices.price import Price
from dualsweep.analysis.prices.shadow import Pricing
from dualsweep.analysis.recommendation.points import Points
from dualsweep.analysis.recommendation.words import listed, sentences
from dualsweep.analysis.text import number
from dualsweep.analysis.trials import SweepRecord, Trial
from dualsweep.trainer import metric_names


@dataclass(frozen=True)
class Choice:
    """A trial with the reason it was chosen, in words; `meets` is False where it only comes nearest to what was asked."""

    trial: Trial | None
    reason: str
    meets: bool = True


def by_weights(record: SweepRecord, front: Front, preference: Preference) -> Choice:
    """The least weighted sum along the front."""
    points = Points.of(record, front.trials)
    unknown = [name for name in preference.weights if name not in points.names]
    if unknown or not front.trials:
        why = (
            f"{listed(unknown)} is no objective of the sweep. {nearest_name(unknown[0], points.names)}" if unknown else front.note
        )
        return Choice(None, f"Nothing is chosen by your weights: {why}")
    weights = np.array([preference.weights.get(name, 0.0) for name in points.names])
    values, errors = (points.scaled, points.scaled_errors) if preference.scale == "range" else (points.lower, points.errors)
    sums, uncertain = values @ weights, np.sqrt(errors**2 @ weights**2)
    order = [int(i) for i in np.argsort(sums, kind="stable")]
    best, trial = order[0], points.trials[order[0]]
    given = ", ".join(f"{name} {weight:g}" for name, weight in preference.weights.items())
    unit = "in parts of the ranges along the front" if preference.scale == "range" else "in their own units"
    parts = [f"Trial {trial.trial_id}: the best by your weights ({given}, {unit})"]
    alike = [i for i in order[1:] if sums[i] - sums[best] <= APART * math.hypot(uncertain[i], uncertain[best])]
    if alike:
        parts.append(f"{_ids([points.trials[i] for i in alike])} not told apart from it by them")
    elif len(order) > 1:
        second = points.trials[order[1]].trial_id
        parts[0] += f", at {number(float(sums[best]))} against {number(float(sums[order[1]]))} of {second}, the next best"
    return Choice(trial, sentences(parts))


def that_meets(record: SweepRecord, front: Front, preference: Preference, pricing: Pricing) -> Choice:
    """The best in one objective of the trials that keep every limit, whether on the front or not.

    Those that may be on the front come first. Where none of them keeps every limit, those of which that is undecided are asked.
    """
    known_best = [trial for trial in record.trials if math.isfinite(trial.metric(preference.best))]
    feasible = [trial for trial in known_best if record.admitted(trial)]
    unsure = [trial for trial in known_best if record.admission(trial) == "undecided"]
    if not feasible and not unsure:
        return Choice(None, f"Nothing is chosen by your limits: {front.note}")
    for limit in preference.meets:
        if not any(math.isfinite(trial.metric(limit.metric)) for trial in (*feasible, *unsure)):
            known_metrics = sorted({name for trial in (*feasible, *unsure) for name in trial.metrics})
            return Choice(None, f"No trial has the metric {limit.metric}. {nearest_name(limit.metric, known_metrics)}")
    asked = listed([str(limit) for limit in preference.meets])
    kind = "feasible trial" if record.required is None else "trial"
    meeting = _keeping(feasible, preference)
    if not meeting and not (meeting := _keeping(unsure, preference)):
        return _nearest(feasible or unsure, preference, f"No {kind} has {asked}", pricing, record.maximizes)
    direction = record.objectives.get(preference.best, "minimize")
    values = to_minimise([[trial.metric(preference.best)] for trial in meeting], [direction])[:, 0]
    best = meeting[int(np.argmin(values))]
    value = number(best.metric(preference.best))
    if best not in feasible:
        kind = "undecided trial"
    if len(meeting) == 1:
        parts = [f"Trial {best.trial_id}: the only {kind} with {asked}, at {preference.best} {value}"]
    else:
        parts = [f"Trial {best.trial_id}: the best {preference.best} ({value}) of the {len(meeting)} {kind}s with {asked}"]
    if best not in feasible:
        parts.append("no trial that is known to meet its budgets has that; more draws (feasibility.draws) tell whether it does")
    alike = [trial for trial in meeting if trial is not best and _alike(trial, best, preference.best)]
    if alike:
        parts.append(f"{_ids(alike)} not told apart from it in {preference.best}")
    return Choice(best, sentences([*parts, *_barely(best, preference.meets)]))


def _keeping(trials: Sequence[Trial], preference: Preference) -> list[Trial]:
    """The trials that keep every limit."""
    return [trial for trial in trials if all(each.shortfall(trial.metric(each.metric)) == 0 for each in preference.meets)]


def _alike(one: Trial, other: Trial, metric: str) -> bool:
    error = math.hypot(known(standard_error(one, metric)), known(standard_error(other, metric)))
    return abs(one.metric(metric) - other.metric(metric)) <= APART * error


def _barely(trial: Trial, limits: Sequence[Limit]) -> list[str]:
    """The limits that a trial keeps by less than its noise."""
    barely_kept = []
    for limit in limits:
        room, error = abs(trial.metric(limit.metric) - limit.bound), known(standard_error(trial, limit.metric))
        if error > 0 and room <= APART * error:
            barely_kept.append(f"it keeps {limit} by {room:.2g}, less than its noise (± {APART * error:.2g})")
    return barely_kept


def _nearest(feasible: Sequence[Trial], preference: Preference, none: str, pricing: Pricing, maximizes: bool) -> Choice:
    """The trial whose worst shortfall is least, in parts of the metrics' ranges, and what would make up for it."""
    spans = {limit.metric: _span(limit, feasible) for limit in preference.meets}

    def worst(trial: Trial) -> float:
        return max(limit.shortfall(trial.metric(limit.metric)) / spans[limit.metric] for limit in preference.meets)

    trial = min(feasible, key=worst)
    missed = [limit for limit in preference.meets if limit.shortfall(trial.metric(limit.metric)) > 0]
    lacks = [
        f"{limit.metric} is {number(trial.metric(limit.metric))}, {limit.shortfall(trial.metric(limit.metric)):.2g} too "
        f"{'much' if limit.sense == 'at_most' else 'little'}"
        for limit in missed
    ]
    parts = [none, f"trial {trial.trial_id} comes nearest: {listed(lacks)}"]
    prices = [price for price in pricing.of([trial]).prices if price.believed]
    helped = "at_least" if maximizes else "at_most"  # what loosening does to the objective
    for limit in missed:
        parts += _made_up(limit, limit.shortfall(trial.metric(limit.metric)), prices, helped)
    return Choice(trial, sentences(parts), meets=False)


def _made_up(limit: Limit, lacking: float, prices: Sequence[Price], helped: str) -> list[str]:
    """What closing a shortfall takes, to first order by the trial's prices; nothing where they say nothing of it.

    Loosening moves the objective towards what is `helped`, at_most or at_least; tightening a budget moves its value as that asks.
    """
    clear = [price for price in prices if price.gain_low > 0 and price.budget.kind != "equals"]
    if limit.metric == "objective" and clear and limit.sense == helped:
        cheapest = min(clear, key=lambda price: lacking / price.price / price.budget.range)
        by = lacking / cheapest.price
        return [f"by its price, loosening {cheapest.budget.label} by {by:.2g} would make up for the objective, to first order"]
    name = limit.metric.removeprefix(metric_names.VALUE)
    for price in clear:
        if name != limit.metric and price.budget.constraints == (name,) and limit.sense == price.budget.kind:
            cost = lacking * price.price
            return [f"by its price, tightening `{name}` by {lacking:.2g} costs at least {cost:.2g} of the objective"]
    return []


def _span(limit: Limit, trials: Sequence[Trial]) -> float:
    values = [value for trial in trials if math.isfinite(value := trial.metric(limit.metric))]
    return float(np.ptp(values)) or abs(limit.bound) or 1.0


def _ids(trials: Sequence[Trial]) -> str:
    """`0003 is`, `0003 and 0004 are`, with at most a few named."""
    shown = [trial.trial_id for trial in trials[:3]]
    if len(trials) > 3:
        shown = [*shown[:2], f"{len(trials) - 2} more"]
    return f"{listed(shown)} {'is' if len(trials) == 1 else 'are'}"
