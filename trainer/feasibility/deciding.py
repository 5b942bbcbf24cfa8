"""Every constraint's standing, look by look at the draws of a final evaluation.

Each constraint is tested sequentially (`trainer/feasibility/spending.py`) on the data that `feasibility.on` names. Violated is
final; met stays as it is while others are drawn for, unless a later look shows a violation: both have an error of their own,
which that does not raise. Held-out data beside may show a violation too, so its level is divided between the two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dualsweep.trainer.dual.problem import ConstrainedProblem, Vector
from dualsweep.trainer.evaluation.drawn import DrawnValues, Moments
from dualsweep.trainer.feasibility.held_out import HeldOut
from dualsweep.trainer.feasibility.spending import looks
from dualsweep.trainer.feasibility.stages import stages
from dualsweep.trainer.feasibility.standing import Criticals, Slack, Standing, fixed_criticals, judged, overall
from dualsweep.trainer.recipe.recipe import Recipe


@dataclass(frozen=True)
class Decision:
    """What is decided of each constraint [m] so far: its standing, and what held-out data say; None where it has none."""

    standings: tuple[Standing, ...]
    held_out: tuple[HeldOut | None, ...]

    @property
    def final(self) -> bool:
        """Whether more draws are of no use: all are met, or one is violated."""
        return overall(self.standings) != "undecided"


@dataclass(frozen=True)
class Deciding:
    """The tests of a problem's m constraints.

    relaxations  [m] what resilient budgets have given way by
    ends         the draws of each value until each look
    on_held_out  whether constraints are judged on held-out data where they have some
    two          whether there are held-out data
    """

    problem: ConstrainedProblem
    relaxations: Vector
    ends: tuple[int, ...]
    on_held_out: bool = False
    two: bool = False

    @classmethod
    def of(cls, recipe: Recipe, problem: ConstrainedProblem, relaxations: Vector) -> Deciding:
        two = recipe.data is not None and recipe.data.holdout > 0
        return cls(problem, relaxations, stages(recipe), recipe.feasibility.on == "held_out", two)

    def first(self) -> Decision:
        nothing: Standing = "undecided"
        return Decision(tuple(nothing for _ in self.problem.names), tuple(None for _ in self.problem.names))

    def look(self, before: Decision, number: int, trained: DrawnValues, held_out: DrawnValues) -> Decision:
        """The decision after look `number`, counted from 0, at all that was drawn until then."""
        tolerances = self.problem.tolerated(trained.mean)
        found = zip(before.standings, self.slacks(trained), self.slacks(held_out), tolerances.tolist(), strict=True)
        each = [self._judged(i, number, *one) for i, one in enumerate(found)]
        return Decision(tuple(standing for standing, _ in each), tuple(held for _, held in each))

    def _judged(
        self, i: int, number: int, before: Standing, slack: Slack, held: Slack, tolerance: float
    ) -> tuple[Standing, HeldOut | None]:  # fmt: skip
        kind, known = self.problem.kinds[i], math.isfinite(held.value)
        own = held if self.on_held_out and known else slack
        standing = after(before, judged(own, kind, tolerance, self.criticals(i)[number]))
        if not known:
            return standing, None
        alone = judged(held, kind, tolerance, fixed_criticals(self.problem.confidence, self._among, kind))
        told = HeldOut(held.value, held.error, held.units, standing if self.on_held_out else alone)
        return ("violated" if alone == "violated" and not self.on_held_out else standing), told

    def slacks(self, drawn: DrawnValues) -> list[Slack]:
        """Each slack's estimate; NaN where an expectation that it needs was not drawn."""
        problem, size = self.problem, len(self.problem.names)
        if problem.simplex or not size:
            return [Slack(math.nan, math.nan)] * size
        rows = np.eye(size, 1 + size, 1)
        rows[:, 0] = -1.0 * problem.relative
        moments = drawn.moments(-problem.signs[:, None] * rows)
        return _estimates(problem.signs * problem.budgets + self.relaxations, moments)

    @property
    def _among(self) -> int:
        return len(self.problem.names) * (2 if self.two and not self.on_held_out else 1)

    def criticals(self, i: int) -> list[Criticals]:
        """The critical values of constraint i at each look."""
        shares = tuple(end / self.ends[-1] for end in self.ends)
        return looks(self.problem.confidence, self._among, self.problem.kinds[i], shares)


def after(before: Standing, now: Standing) -> Standing:
    """The standing after one more look."""
    return now if before == "undecided" or now == "violated" else before


def _estimates(constants: Vector, moments: Moments) -> list[Slack]:
    """The slacks, `constants` [m] plus combinations of the drawn means."""
    with np.errstate(all="ignore"):
        errors = np.sqrt(moments.variance)
        skewness = np.nan_to_num(moments.third / errors**3, posinf=0.0, neginf=0.0)
    columns = (constants + moments.mean, errors, skewness, moments.degrees, moments.units)
    return [Slack(*each) for each in zip(*(column.tolist() for column in columns), strict=True)]
