"""What each budget costs at a trial: its multiplier with an interval, beside the slope of the front that the values show.

Loosening a budget by d changes the best objective by -lambda d, to first order (the envelope theorem, docs/method.md). The
multiplier is believed where it agrees with the values of the other trials, which know nothing of it (`slopes.py`); where it
does not, the dual ascent, or the model under it, has not converged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from dualsweep.analysis.front import Front
from dualsweep.analysis.prices import words
from dualsweep.analysis.prices.attained import Attained, Vector, may_have_settled
from dualsweep.analysis.prices.budgets import Loosening, loosenings, searched_budgets
from dualsweep.analysis.prices.price import Price, Verdict
from dualsweep.analysis.prices.slopes import Polyhedron, local_slope, margin
from dualsweep.analysis.trials import SweepRecord, Trial

#: Room that counts as left beside a price: this part of the budget's range, and of the largest price of any trial.
_ROOM, _PRICED = 0.1, 0.05
_ROUNDING = 1e-6
#: Each takes two linear programs a budget: more than these are too many to wait for, and to read.
MOST = 60


@dataclass(frozen=True)
class Prices:
    """The prices of some trials, and by trial id what contradicts its multipliers as a whole, in words.

    `unpriced` says why there are no prices where some could be asked for.
    """

    prices: tuple[Price, ...] = ()
    troubles: Mapping[str, str] = field(default_factory=dict)
    unpriced: str = ""

    def of(self, trial_id: str) -> tuple[Price, ...]:
        """The prices of one trial, budget by budget."""
        return tuple(price for price in self.prices if price.trial_id == trial_id)

    def summary(self) -> str:
        """How many of the priced trials the others contradict, in a sentence; where there are none, why there are no prices."""
        total = len({price.trial_id for price in self.prices})
        if not total:
            return self.unpriced
        doubted = self.unconverged
        if not doubted:
            where = f"each of the {total} priced points" if total > 1 else "the priced point"
            return f"The multipliers agree with the other trials' values at {where}."
        some = ", ".join(doubted[:5]) + (f" and {len(doubted) - 5} more" if len(doubted) > 5 else "")
        which = f"{len(doubted)} of {total} priced points have" if total > 1 else "the priced point have"
        return f"The multipliers of {which} not converged, by the others' values: {some}."

    @property
    def unconverged(self) -> tuple[str, ...]:
        """The trials whose multipliers something contradicts, in the order of the prices."""
        doubted = {price.trial_id: None for price in self.prices if not price.believed or price.trial_id in self.troubles}
        return tuple(doubted)


def shadow_prices(record: SweepRecord, front: Front, also: Iterable[Trial] = ()) -> Prices:
    """The prices at `MOST` points of the front, evenly, and at those of `also`; with no front, at the least violating."""
    shown = front.trials or ((front.least_violating,) if front.least_violating else ())
    places = sorted({round(each) for each in np.linspace(0, len(shown) - 1, min(MOST, len(shown)))})
    chosen = {shown[place].trial_id: shown[place] for place in places} | {trial.trial_id: trial for trial in also}
    order = [trial for trial in shown if trial.trial_id in chosen]
    rest = [trial for trial in chosen.values() if trial not in order]
    return Pricing(record).of([*order, *rest])


@dataclass(frozen=True)
class Pricing:
    """Prices the trials of a sweep."""

    record: SweepRecord

    @cached_property
    def attained(self) -> Attained:
        return Attained.of(self.record)

    @cached_property
    def budgets(self) -> tuple[Loosening, ...]:
        return loosenings(self.record, searched_budgets(self.record, self.attained.names))

    def of(self, trials: Iterable[Trial]) -> Prices:
        """The prices of these trials, of the budgets that were searched.

        There are none of a trial without finite numbers, nor of one whose dual steps were too few to tell whether it settled.
        """
        asked = [(trial, j) for trial in trials if (j := self.attained.place(trial)) is not None and self.attained.names]
        if not self.budgets:
            return Prices(unpriced=words.NOT_SEARCHED if asked else "")
        prices: list[Price] = []
        troubles: dict[str, str] = {}
        for trial, j in asked:
            if not may_have_settled(trial):
                continue
            allowed = Polyhedron.at(self.attained, j)
            prices += [self._price(trial, j, allowed, budget) for budget in self.budgets]
            if trouble := self._trouble(j, allowed):
                troubles[trial.trial_id] = trouble
        return Prices(tuple(prices), troubles, words.NOT_SETTLED if asked else "")

    def _price(self, trial: Trial, j: int, allowed: Polyhedron, budget: Loosening) -> Price:
        attained = self.attained
        which = np.isin(attained.names, budget.constraints).astype(np.float64)
        price = float(attained.multipliers[j] @ which)
        error = float(np.sqrt(attained.multiplier_errors[j] ** 2 @ which))
        low, high = allowed.range_of(which) or (math.nan, math.nan)
        slope, slope_error = local_slope(attained, j, which)
        reach = margin(attained) * error + _ROUNDING * max(1e-12, float(np.abs(attained.multipliers @ which).max()))
        apart = not (price - reach <= high and price + reach >= low)
        verdict: Verdict = "disagrees" if apart else "slack" if self._slack(trial, j, budget, which) else "agrees"
        made = Price(trial.trial_id, budget, price, error, low, high, slope, slope_error, verdict)
        return replace(made, sentence=words.sentence(made, trial))

    def _slack(self, trial: Trial, j: int, budget: Loosening, which: Vector) -> bool:
        """Whether a constraint clearly has a price and clearly room, which a solution excludes (complementary slackness)."""
        if budget.kind == "equals":
            return False
        z = margin(self.attained)
        largest = float(np.abs(self.attained.multipliers @ which).max())
        for k in np.flatnonzero(which):
            outcome = next(each for each in trial.constraints if each.name == self.attained.names[k])
            priced = self.attained.multipliers[j, k] > max(z * self.attained.multiplier_errors[j, k], _PRICED * largest)
            if priced and outcome.slack > max(z * float(self.attained.value_errors[j, k]), _ROOM * budget.range):
                return True
        return False

    def _trouble(self, j: int, allowed: Polyhedron) -> str | None:
        """What the trial's plane as a whole is contradicted by: another trial that lies below it by more than noise."""
        attained, own = self.attained, self.attained.multipliers[j]
        away = attained.values[j] - attained.values
        excess = attained.objective[j] - attained.objective + away @ own
        variance = attained.objective_error**2 + attained.objective_error[j] ** 2
        variance = (
            variance + (own * attained.value_errors) ** 2 @ np.ones(len(own)) + ((own * attained.value_errors[j]) ** 2).sum()
        )
        variance = variance + (away * attained.multiplier_errors[j]) ** 2 @ np.ones(len(own))
        scale = _ROUNDING * max(1e-12, float(np.ptp(attained.objective)))
        beyond = (excess - scale) / np.maximum(np.sqrt(variance), scale)
        worst = int(np.argmax(beyond))
        if excess[worst] <= scale + margin(attained) * math.sqrt(variance[worst]):
            return None
        lacking = allowed.lacking * (float(np.ptp(attained.objective)) or 1.0)
        return words.trouble(
            attained.trials[j], attained.trials[worst], float(excess[worst]), math.sqrt(variance[worst]), lacking
        )
