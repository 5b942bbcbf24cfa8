"""The certified band of a sweep's front, along one budget at a time, from what its trials logged.

With one searched budget that is the whole band. With several it is the slice through a trial's other budgets, where those of
the front's trials are the ones people ask for; where nothing is on the front, those of the trial that violates least are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dualsweep.analysis.certified.axes import Axis, Box
from dualsweep.analysis.certified.band import band
from dualsweep.analysis.certified.contradictions import Contradiction, consistency
from dualsweep.analysis.certified.fixed import Fixed, along_plane, attained_with
from dualsweep.analysis.certified.hull import QHULL_UP_TO
from dualsweep.analysis.certified.observations import Observations, Vector
from dualsweep.analysis.certified.seeds import widened
from dualsweep.analysis.certified.surrogate import Surrogate
from dualsweep.analysis.common_draws import correlations, read_draws, related
from dualsweep.analysis.front import Front, find_front
from dualsweep.analysis.noise import known, multiplier_errors
from dualsweep.analysis.recommendation.words import listed
from dualsweep.analysis.text import number
from dualsweep.analysis.trials import JUDGED_STATUSES, Budget, SweepRecord, Trial
from dualsweep.trainer.result import Z

OBJECTIVE = "objective"
_POINTS = 41
#: Trials beyond these only narrow the band a little. Kriging solves for (1 + budgets) numbers a trial, some hundred times.
_TRIALS, _NUMBERS = 200, 80
_SLICED = 40
#: Points of all slices together that may take linear programs, at some milliseconds each (`QHULL_UP_TO`).
_PROGRAMS = 1000
#: Contradictions, and trials, that are named one by one.
_NAMED = 3


@dataclass(frozen=True)
class Slice:
    """The band along `budget`, at `at` [N] in the user's numbers: `lower` and `upper` [N], and the `front` [N] predicted between.

    `through` is the id of the trial whose other budgets are kept, None where there are no others. Infinite sides are unknown.
    """

    budget: Budget
    through: str | None
    at: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    front: tuple[float, ...]


@dataclass(frozen=True)
class Certificate:
    """Whether the trials agree with one convex front that each of them reached, and in sentences where they do not.

    Trials that merely did not reach the front leave the band certified: their planes are not used.
    """

    certified: bool = True
    sentences: tuple[str, ...] = ()


def with_draws(record: SweepRecord, tracking_uri: str) -> SweepRecord:
    """Return the record with what the trials drew that its bands rest on, as far as the store has it."""
    useful = [trial for trial in record.trials if _says_something(trial, record.budgets)]
    if not record.budgets or len(useful) < 2:
        return record
    return replace(record, drawn=read_draws(tracking_uri, _representative(useful, find_front(record), _TRIALS)))


def certificate(record: SweepRecord, front: Front) -> Certificate:
    """Holds the trials that the bands rest on against each other; empty where there is no band."""
    useful = [trial for trial in record.trials if _says_something(trial, record.budgets)]
    if not record.budgets or len(useful) < 2:
        return Certificate()
    trials = _representative(useful, front, _TRIALS)
    box = _box(record.budgets)
    findings = consistency(_observations(record, trials, box), Z)
    said = [_contradiction(trials, each) for each in findings.contradictions[:_NAMED]]
    if (more := len(findings.contradictions) - len(said)) > 0:
        said.append(f"So {'does' if more == 1 else 'do'} {more} more pair{'' if more == 1 else 's'} of trials.")
    if said:
        said.append("The band holds only if the trainings converged.")
    if findings.short:
        ids = [trials[row].trial_id for row in findings.short]
        shown = ids if len(ids) <= _NAMED else [*ids[:_NAMED], f"{len(ids) - _NAMED} more"]
        one = len(ids) == 1
        said.append(
            f"Trial{'' if one else 's'} {listed(shown)} did not reach the front: chords of other trials lie below. "
            f"The multipliers of {'it' if one else 'these'} are not used for the band."
        )
    return Certificate(not findings.contradictions, tuple(said))


def _contradiction(trials: Sequence[Trial], contradiction: Contradiction) -> str:
    by = f", {contradiction.depth / contradiction.error:.1f} standard errors" if contradiction.error else ""
    below, plane = trials[contradiction.below].trial_id, trials[contradiction.plane].trial_id
    return f"Trial {below} lies below the plane of trial {plane} by {number(contradiction.depth)}{by}."


def slices(record: SweepRecord, front: Front) -> list[Slice]:
    """Return every band there is to draw: one along each budget, through each trial of the front (at most 40) where it matters.

    With several budgets and no front it goes through the least violating trial. Of more than 4 budgets it is drawn through fewer
    trials, whose points take a linear program each, and of more than 24 not at all. Empty also where no budget was searched, too
    few trials say anything of the front, or there is no trial to slice through.
    """
    budgets = record.budgets
    useful = [trial for trial in record.trials if _says_something(trial, budgets)]
    if not budgets or len(useful) < 2:
        return []
    box = _box(budgets)
    most = _SLICED if len(budgets) <= QHULL_UP_TO else _PROGRAMS // (_POINTS * len(budgets))
    through = _through(useful, front, most) if len(budgets) > 1 else [None]
    if not through:
        return []
    places, lines = [], []
    for trial in through:
        for place, budget in enumerate(budgets):
            numbers = _numbers(budget, useful)
            asked = np.tile([_asked(trial, each) if trial else 0.0 for each in budgets], (len(numbers), 1))
            asked[:, place] = numbers
            places.append(asked * [axis.sign for axis in box.axes])
            lines.append((budget, trial.trial_id if trial else None, numbers))
    sides = _sides(record, useful, front, box, np.concatenate(places))
    made = []
    for line, (budget, trial_id, numbers) in enumerate(lines):
        lower, upper, middle = sides[:, line * _POINTS : (line + 1) * _POINTS]
        made.append(Slice(budget, trial_id, tuple(numbers), tuple(lower), tuple(upper), tuple(middle)))
    return made


def _sides(record: SweepRecord, useful: Sequence[Trial], front: Front, box: Box, at: Vector) -> Vector:
    """Lower side, upper side and predicted front [3, N] at budgets `at` [N, m], in the objective's own direction."""
    bounds = band(_observations(record, _representative(useful, front, _TRIALS), box), at, Z)
    few = _representative(useful, front, _NUMBERS // (1 + len(record.budgets)))
    middle, _ = Surrogate.of(_observations(record, few, box), box).predict(at)
    sides = np.stack([bounds.lower, bounds.upper, np.clip(middle, bounds.lower, bounds.upper)])
    return sides if _sign(record) > 0 else -sides[[1, 0, 2]]


def _sign(record: SweepRecord) -> float:
    return -1.0 if record.maximizes else 1.0


def _box(budgets: Sequence[Budget]) -> Box:
    return Box(tuple(Axis(each.low, each.high, each.sense, each.log) for each in budgets))


def _asked(trial: Trial, budget: Budget) -> float:
    value = trial.params.get(budget.parameter)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _says_something(trial: Trial, budgets: Sequence[Budget]) -> bool:
    outcomes = {each.name: each for each in trial.constraints}
    names = [name for budget in budgets for name in budget.constraints]
    known = [trial.metric(OBJECTIVE), *(_asked(trial, budget) for budget in budgets)]
    for name in names:
        known += [outcomes[name].value, outcomes[name].multiplier] if name in outcomes else [math.nan]
    known += [each.multiplier * each.slack for each in trial.constraints if each.name not in names]
    return trial.status in JUDGED_STATUSES and all(map(math.isfinite, known))


def _representative(trials: Sequence[Trial], front: Front, most: int) -> list[Trial]:
    """The front's trials, and of the rest as many as there is room for, evenly over the sweep; fewer only widen the band."""
    best = front.members
    first = [trial for trial in trials if trial.trial_id in best]
    rest = [trial for trial in trials if trial.trial_id not in best]
    kept = [_evenly(each, room) for each, room in ((first, most), (rest, most - min(len(first), most)))]
    return [trial for part in kept for trial in part]


def _evenly(trials: Sequence[Trial], most: int) -> list[Trial]:
    if len(trials) <= most:
        return list(trials)
    return [trials[int(place)] for place in np.linspace(0, len(trials) - 1, most)] if most else []


def _through(useful: Sequence[Trial], front: Front, most: int) -> list[Trial | None]:
    ids = frozenset(trial.trial_id for trial in useful)
    shown = front.trials or ((front.least_violating,) if front.least_violating else ())
    return [*_evenly([trial for trial in shown if trial.trial_id in ids], most)]


def _numbers(budget: Budget, trials: Sequence[Trial]) -> Vector:
    """The budget's range and as far beyond it as values landed, within half of its width, so that the drawn points lie in it."""
    names = frozenset(budget.constraints)
    landed = [max(each.value for each in trial.constraints if each.name in names) for trial in trials]
    width = budget.high - budget.low
    low = max(min(budget.low, *landed), budget.low - width / 2)
    high = min(max(budget.high, *landed), budget.high + width / 2)
    if budget.log:
        return np.geomspace(max(low, budget.low / 2), high, _POINTS)
    return np.linspace(low, high, _POINTS)


def _observations(record: SweepRecord, trials: Sequence[Trial], box: Box) -> Observations:
    """The trials as arrays; a plane takes constraints with a fixed budget as met exactly, a point needs them to hold.

    A standard error that was not measured counts as 0, as where feasibility is judged; a multiplier's, where it is not known, is
    what a run must have it to count as settled.
    """
    budgets, sign = record.budgets, _sign(record)
    names = [(name, axis.sign) for each, axis in zip(budgets, box.axes, strict=True) for name in each.constraints]
    shared = np.array([place for place, each in enumerate(budgets) for _ in each.constraints], dtype=np.intp)
    searched = frozenset(name for name, _ in names)
    objective, reached, variances, values, errors, multipliers, measured = [], [], [], [], [], [], []
    for trial in trials:
        outcomes = {each.name: each for each in trial.constraints}
        fixed = [Fixed.of(each) for each in trial.constraints if each.name not in searched]
        f = sign * trial.metric(OBJECTIVE)
        objective.append(along_plane(fixed, f))
        reached.append(attained_with(fixed, f))
        own = known(trial.metric("objective_error")) ** 2
        variances.append(own + sum((each.multiplier * each.error) ** 2 for each in fixed))
        values.append([to_b * outcomes[name].value for name, to_b in names])
        errors.append([known(outcomes[name].slack_error) for name, _ in names])
        multipliers.append([outcomes[name].multiplier for name, _ in names])
        measured.append([outcomes[name].multiplier_error for name, _ in names])
    trainings, prices = np.array([trial.sound or trial.replicates for trial in trials]), np.array(multipliers)
    figures = widened(np.column_stack([np.sqrt(variances), np.array(errors)]), trainings)
    price_errors, sizes = widened(multiplier_errors(measured, prices), trainings), figures.ravel()
    drawn, own_names = [record.drawn.get(trial.trial_id) for trial in trials], [name for name, _ in names]
    common = correlations(drawn, own_names)
    if common is not None:
        turned = np.tile([sign, *(to_b for _, to_b in names)], len(trials))
        common = common * np.outer(turned * sizes, turned * sizes)
    signs = [axis.sign for axis in box.axes]
    return replace(
        Observations.none(shared, box.signed),
        asked=np.array([[_asked(trial, each) for each in budgets] for trial in trials]) * signs,
        objective=np.array(objective), reached=np.array(reached), objective_error=figures[:, 0],
        values=np.array(values), value_errors=figures[:, 1:],
        multipliers=prices, multiplier_errors=price_errors, covariance=common,
        related=related(drawn, own_names),
    )  # fmt: skip
