"""Which finished trial a new one continues, and with which multipliers.

The neighbour is the nearest in units of the box of budgets, among trials that ended well, whose checkpoint is there, and whose
recipe poses the same problem to the same network (`trainer/checks/warm_start_files.py`). Its multipliers are not taken over:
they are those of other budgets, and on steep fronts far off. The new ones are predicted at the new budgets by the kriging of all
such trials (`analysis/certified/`), whose slope they are.

A start is decided when a trial is first taken up, and kept in the study before anything is run (`sweeps/runner.py`): whatever is
killed, the same trial starts from the same place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dualsweep.analysis.certified.observations import Vector
from dualsweep.analysis.certified.surrogate import Surrogate, anchors
from dualsweep.sweeps.dual_informed.observing import Translator
from dualsweep.sweeps.dual_informed.of_plan import outcome_of, translator_of
from dualsweep.sweeps.dual_informed.outcome import Outcome
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.records.trial_record import TrialRecord
from dualsweep.sweeps.records.trial_start import TrialStart
from dualsweep.trainer.checks.warm_start_files import other_problem
from dualsweep.trainer.engine.stated_problem import problem_of
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import Result

#: Trials that ended so have weights and multipliers of their budgets; an infeasible one's multipliers are at their limit.
_USABLE = ("converged", "out_of_steps")


@dataclass(frozen=True)
class _Finished:
    """A trial that may be continued, by its budgets' parameters."""

    record: TrialRecord
    recipe: Recipe
    outcome: Outcome


class Continuing:
    """Decides the starts of a sweep's trials."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._translator = plan, translator_of(plan)
        self._known: dict[int, _Finished | None] = {}

    def start(self, params: Mapping[str, Any], ended: Iterable[TrialRecord], is_there: Callable[[str], bool]) -> TrialStart:
        """The start of a trial with these values: at the nearest of the `ended` whose checkpoints are there, else anew.

        Raises:
            InputError: the values make no valid recipe.
        """
        recipe, translator = self._plan.trial_recipe(params), self._translator
        alike = [each for each in self._finished(ended) if other_problem(recipe, each.recipe) is None]
        here = translator.box.to_units(translator.asked([params]))
        there = [translator.box.to_units(translator.asked([each.record.params])) for each in alike]
        order = np.argsort([float(np.linalg.norm(each - here)) for each in there], kind="stable")
        for near in (alike[index] for index in order):
            if checkpoints := _checkpoints(near.record, is_there):
                multipliers = _predicted(translator, params, alike, near)
                return TrialStart.of(near.record.id, checkpoints, _projected(multipliers, recipe))
        return TrialStart()

    def _finished(self, ended: Iterable[TrialRecord]) -> list[_Finished]:
        """Every trial that may be continued."""
        for record in ended:
            if record.number not in self._known:
                self._known[record.number] = self._read(record)
        return [each for each in self._known.values() if each is not None]

    def _read(self, record: TrialRecord) -> _Finished | None:
        outcome = outcome_of(self._plan, record.result, record.trainings) if record.result.status in _USABLE else None
        return None if outcome is None else _Finished(record, self._plan.trial_recipe(record.params), outcome)


def _checkpoints(record: TrialRecord, is_there: Callable[[str], bool]) -> dict[int | None, str]:
    """The checkpoints of a trial's trainings, by seed, that are there."""
    runs: Mapping[Any, Result] = {None: record.result} if record.replicates is None else record.replicates.runs
    return {
        seed: each.checkpoint
        for seed, each in runs.items()
        if each.status in _USABLE and each.checkpoint is not None and is_there(each.checkpoint)
    }


def _predicted(
    translator: Translator, params: Mapping[str, Any], alike: Sequence[_Finished], near: _Finished
) -> dict[str, float]:
    """The multipliers of every constraint at the budgets in `params`, from at least one finished trial.

    A budget's price is shared out among its constraints as the neighbour's is; constraints whose budgets are fixed have the
    neighbour's multipliers.
    """
    trials = translator.observed([(each.record.params, each.outcome) for each in alike])
    row, here = len(trials) - len(alike) + list(alike).index(near), translator.asked([params])
    _, prices = Surrogate.of(trials, translator.box).predict(here)
    box = translator.box
    convex = _convex(prices[0], trials.prices[row], (here - anchors(trials))[row], box.loose - box.tight)
    predicted = np.where(box.signed, convex, np.maximum(convex, 0.0))
    multipliers = {name: each.multiplier for name, each in near.record.result.constraints.items()}
    for budget, price in zip(translator.budgets, predicted.tolist(), strict=True):
        whole = sum(multipliers[name] for name in budget.constraints)
        for name in budget.constraints:
            share = multipliers[name] / whole if whole else 1.0 / len(budget.constraints)
            multipliers[name] = price * share
    return multipliers


def _projected(multipliers: Mapping[str, float], recipe: Recipe) -> dict[str, float]:
    """The nearest that a run of the recipe can have."""
    problem = problem_of(recipe)
    nearest = problem.project(np.array([multipliers[name] for name in problem.names]), recipe.dual.cap)
    return dict(zip(problem.names, nearest.tolist(), strict=True))


def _convex(prices: Vector, near: Vector, way: Vector, span: Vector) -> Vector:
    """The prices [m] nearest to those predicted that a convex front allows a step `way` [m] from budgets with the prices `near`.

    Its slope does not fall: (l - l_near) . (b - b_near) <= 0. Kriging, which does not know, takes prices back to 0 away from few
    trials, at the tight end of all places. Distances are in units of the box, `span` [m].
    """
    change, step = (prices - near) * span, way / span
    beyond = float(change @ step)
    if beyond > 0:
        change = change - beyond * step / float(step @ step)
    return np.asarray(near + change / span)
