"""The recommendation of a sweep: the knee, the user's preferred point, and the reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dualsweep.analysis.front import Front, ended_infeasible, named
from dualsweep.analysis.noise import APART
from dualsweep.analysis.prices.shadow import Pricing
from dualsweep.analysis.recommendation.knee import Knee, find_knee
from dualsweep.analysis.recommendation.points import Points
from dualsweep.analysis.recommendation.preferred import Choice, by_weights, that_meets
from dualsweep.analysis.recommendation.words import going_on, listed, own_budgets, sentences
from dualsweep.analysis.text import number
from dualsweep.analysis.trials import ConstraintRecord, SweepRecord, Trial

#: So many points are named one by one; the JSON file has all.
_NAMED = 6


@dataclass(frozen=True)
class Recommendation:
    """Which point to take.

    `knee` is a trial of the front or None, `knee_reason` says why in words, in either case. `preferred` is what the user's own
    preference names, None where nothing meets it or there is no preference (then `preferred_reason` is empty too); `nearest` is
    then the trial that comes nearest to it or, where no trial may be on the front, that violates least.
    """

    knee: Trial | None
    knee_reason: str
    preferred: Trial | None = None
    preferred_reason: str = ""
    nearest: Trial | None = None
    #: The trials of the front that are not told apart from the knee.
    alike: tuple[Trial, ...] = ()

    @property
    def trial(self) -> Trial | None:
        """The one to take: what the user prefers, else the knee."""
        return self.preferred or (None if self.preferred_reason else self.knee)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reasons, the user's preference first."""
        return tuple(reason for reason in (self.preferred_reason, self.knee_reason) if reason)

    def words_of(self, trial: Trial) -> tuple[str, ...]:
        """What a trial is: `preferred`, `knee`, both or none of them."""
        return tuple(name for name, each in (("preferred", self.preferred), ("knee", self.knee)) if _same(each, trial))

    @property
    def named(self) -> tuple[Trial, ...]:
        """Every trial that it names, each once."""
        found = {each.trial_id: each for each in (self.preferred, self.knee, self.nearest) if each is not None}
        return tuple(found.values())

    def to_json(self) -> dict[str, Any]:
        """The form of `--json` files (docs/prices.md)."""
        names = {"trial": self.trial, "preferred": self.preferred, "knee": self.knee, "nearest": self.nearest}
        ids = {name: each.trial_id if each is not None else None for name, each in names.items()}
        alike = {"knee_alike": [each.trial_id for each in self.alike]}
        return {**ids, "preferred_reason": self.preferred_reason or None, "knee_reason": self.knee_reason, **alike}


def recommend(record: SweepRecord, front: Front) -> Recommendation:
    """The recommendation of a sweep, with the preference that it records."""
    points = Points.of(record, front.trials)
    knee = find_knee(points)
    at = None if knee.row is None else front.trials[knee.row]
    pricing, choice = Pricing(record), Choice(None, "")
    if not front.trials:
        return Recommendation(None, _nothing(record, front, pricing), nearest=front.least_violating)
    if record.prefer is not None:
        choose = by_weights(record, front, record.prefer) if record.prefer.weights else None
        choice = choose or that_meets(record, front, record.prefer, pricing)
    preferred, nearest = (choice.trial, None) if choice.meets else (None, choice.trial)
    reason = choice.reason + (own_budgets(record, preferred) if preferred is not None else "")
    knee_reason = _knee_reason(points, knee, front) + (own_budgets(record, at) if at is not None else "")
    alike = tuple(front.trials[row] for row in _alike(points, knee)) if at is not None else ()
    alike += front.tied if knee.why == "one" else ()
    return Recommendation(at, knee_reason, preferred, reason, nearest, alike)


def _same(one: Trial | None, other: Trial) -> bool:
    return one is not None and one.trial_id == other.trial_id


def _knee_reason(points: Points, knee: Knee, front: Front) -> str:
    if knee.why == "one":
        others = len(points.trials) - 1
        tie = f"; {named(front.tied)} {'is' if len(front.tied) == 1 else 'are'} not told apart from it" if front.tied else ""
        return (
            f"Trial {points.trials[0].trial_id}: the only point of the front"
            + (f", {others + 1} times" * bool(others))
            + f"{tie}."
        )
    if knee.why == "two":
        first = points.trials[0].trial_id
        there = next(j for j in range(len(points.trials)) if (points.lower[j] != points.lower[0]).any())
        return "No knee: the front has two points. " + sentences([f"from {first}, {going_on(points, 0, there)}"])
    if knee.why == "concave":
        return _concave(knee)
    if knee.row is None:
        return _straight(knee)
    name = points.trials[knee.row].trial_id
    alike = _alike(points, knee)
    steps = [going_on(points, knee.row, j) for j in points.neighbours(knee.row) if j not in alike]
    parts = [f"Trial {name}: the knee", "; ".join(steps)]
    if alike:
        ids = [points.trials[j].trial_id for j in alike]
        shown = ids if len(ids) <= _NAMED else [*ids[: _NAMED - 1], f"{len(ids) - _NAMED + 1} more"]
        parts.append(f"{listed(shown)} {'is' if len(ids) == 1 else 'are'} not told apart from it")
    return sentences(parts)


def _straight(knee: Knee) -> str:
    """Why there is no knee where the front is straight within errors."""
    if APART * knee.error >= 1.0:
        return (
            "No knee: the errors are as large as the front itself, so its points are not told apart; more draws "
            "(evaluation.loss_draws, evaluation.samples) tell more."
        )
    noise = f" ± {APART * knee.error:.2g}" if knee.error else ""
    return (
        f"No knee: the front is straight within errors (it bulges by {max(0.0, knee.bulge):.2g}{noise} of its ranges), so "
        "every point is about the same bargain. Say what you prefer (`prefer`)."
    )


def _concave(knee: Knee) -> str:
    """Why there is no knee where the front bends away from the best."""
    noise = f" ± {APART * knee.error:.2g}" if knee.error else ""
    return (
        f"No knee: the front bends the other way, by {-knee.bulge:.2g}{noise} of its ranges, so that points between its ends are "
        "the worse bargains. Say what you prefer (`prefer`)."
    )


def _alike(points: Points, knee: Knee) -> list[int]:
    """The rows that noise does not tell apart from the knee: those that may be it, and those that are as good in everything."""
    return [j for j in range(len(points.trials)) if j != knee.row and (j in knee.alike or points.alike(knee.row or 0, j))]


def _nothing(record: SweepRecord, front: Front, pricing: Pricing) -> str:
    """What to do where nothing is feasible: who comes nearest, what it lacks, and what the budgets in its way cost."""
    least = front.least_violating
    if least is None:
        return front.note
    decide = {each.name for each in least.constraints} if record.required is None else record.required
    missed = [each for each in least.constraints if each.name in decide and each.standing != "met" and each.violation > 0]
    none = "nothing is feasible" if record.admission(least) == "violated" else "nothing is known to be feasible"
    gave_up = ended_infeasible(least) if record.admission(least) == "violated" else ""
    lacks = f": it {gave_up}" if gave_up else f": {listed([_lack(each) for each in missed])}" if missed else ""
    text = sentences([f"{none}; trial {least.trial_id} comes nearest{lacks}"])
    prices = [price for price in pricing.of([least]).prices if decide & set(price.budget.constraints)]
    worst = max(prices, key=lambda price: price.gain, default=None)
    return f"{text} {worst.sentence}" if worst is not None and worst.believed and worst.gain_low > 0 else text


def _lack(outcome: ConstraintRecord) -> str:
    relaxed = f" (relaxed by {number(outcome.relaxation)})" if outcome.relaxation else ""
    return f"`{outcome.name}` misses its budget {number(outcome.budget)}{relaxed} by {number(outcome.violation)}"
