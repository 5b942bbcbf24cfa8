"""The central dual step: reduce every worker's report once, move the multipliers once, publish a numbered version.

Pure: `advance` maps (state, reports) to the next state. The actor that hosts it adds only waiting (trainer/dual/coordinator.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dualsweep.trainer.dual.gains import gain, gains_of
from dualsweep.trainer.dual.problem import Booleans, ConstrainedProblem, Estimate, Vector
from dualsweep.trainer.dual.reduction import usable_estimate
from dualsweep.trainer.dual.registry import rule_of
from dualsweep.trainer.dual.rule import DualRule, Gains, Move
from dualsweep.trainer.dual.second_order import Measured
from dualsweep.trainer.dual.state import DualState, SlackReport
from dualsweep.trainer.recipe.bound import RELATIVE_LIMIT
from dualsweep.trainer.recipe.dual import Dual

#: Dual steps in a row without one usable value, after which the run is called diverged.
MOST_SKIPPED = 20
#: The limit of multipliers on losses above the objective's, which leaves the objective some.
_SUM = f"the limit of the sum over constraints with relative_to, {RELATIVE_LIMIT:g}"


@dataclass(frozen=True)
class Controller:
    """The problem, the rule and the length of the run: all that a dual step needs beside the state.

    `total` is the number of dual steps of the whole run.
    """

    problem: ConstrainedProblem
    dual: Dual
    total: int

    def first(self) -> DualState:
        return DualState.first(self.problem, self.dual)

    def advance(self, state: DualState, reports: Sequence[SlackReport], world: int) -> DualState:
        """One dual step on the reports of all `world` workers.

        A multiplier whose value is missing or not finite stays exactly as it is, and so do they all when a worker's
        report is missing: a partial sum is no estimate of the global batch's slack.

        Raises:
            ValueError: a report of another step, or two of one rank.
        """
        estimate = usable_estimate(self.problem, state, reports, world)
        if estimate is None:
            return state.skipping()
        slacks = self.problem.slacks(estimate.mean)
        usable = np.isfinite(slacks)
        average = self._averaged(state.average, slacks, usable)
        move = self._moved(state, estimate, average, usable)
        multipliers = move.multipliers
        relaxed = average + self.problem.relaxations(multipliers)
        moving = self.dual.rule != "fixed" and not self._warming(state)
        limited = self.problem.stuck(multipliers, relaxed, self.dual.cap) & usable & moving
        applied = self._applied(state, multipliers, relaxed, usable)
        return replace(
            state.with_multipliers(multipliers, applied).measuring(self.problem, estimate),
            memory=move.memory,
            average=average,
            at_cap=np.where(limited, state.at_cap + 1, 0),
            tails=state.tails_with(self.total, self.problem.objective(estimate.mean), slacks, multipliers, move.target),
        )

    def _averaged(self, average: Vector, slacks: Vector, usable: Booleans) -> Vector:
        known = np.isfinite(average)
        keep = np.where(known, self.dual.average, 0.0)
        blended = keep * np.where(known, average, 0.0) + (1.0 - keep) * np.where(usable, slacks, 0.0)
        result: Vector = np.where(usable, blended, average)
        return result

    def _moved(self, state: DualState, estimate: Estimate, average: Vector, usable: Booleans) -> Move:
        """The next multipliers, projected, and memory; both stay during the warm-up and where there is no usable slack."""
        if self._warming(state) or not len(average):
            return Move(state.multipliers, state.memory, np.full(len(average), np.nan))
        safe = np.where(usable, average, 0.0)
        if self._rule.second_order:
            measured = self._measured(estimate, safe, usable)
            move = self._rule.move(state.multipliers, state.memory, measured, self._gain(state), self._gains)
            return replace(move, multipliers=self.problem.project(move.multipliers, self.dual.cap))
        relaxed = safe + self.problem.relaxations(state.multipliers)
        move = self._rule.move(state.multipliers, state.memory, relaxed, self._gain(state), self._gains)
        multipliers = np.where(usable, move.multipliers, state.multipliers)
        return Move(self.problem.project(multipliers, self.dual.cap), np.where(usable, move.memory, state.memory))

    def _applied(self, state: DualState, multipliers: Vector, relaxed: Vector, usable: Booleans) -> Vector | None:
        """What the primal applies where that is not the multipliers: the augmented Lagrangian's, at the newest slacks."""
        if self._rule.ahead is None or self._warming(state):
            return None
        used = np.where(usable, self._rule.ahead(multipliers, relaxed, self._gain(state), self._gains), multipliers)
        return self.problem.project(used, self.dual.cap)

    def _measured(self, estimate: Estimate, slacks: Vector, usable: Booleans) -> Measured:
        """What a second-order rule sees. An average of slacks with coefficient a has (1 - a) / (1 + a) of one's variance."""
        errors = np.nan_to_num(self.problem.slack_errors(estimate))
        steady = np.sqrt((1.0 - self.dual.average) / (1.0 + self.dual.average))
        curvature = None if estimate.covariance is None else self.problem.curvature(estimate.covariance)
        cap = self.dual.cap
        highest = np.full(len(slacks), cap)
        return Measured(
            slacks, errors * steady, usable, curvature, self.problem.softness, self.problem.lowest(cap), highest,
            self.problem.relative, RELATIVE_LIMIT,
        )  # fmt: skip

    def _warming(self, state: DualState) -> bool:
        return state.version * self.dual.every < self.dual.warmup

    def _gain(self, state: DualState) -> float:
        return gain(self.dual, state.version - self.dual.warmup // self.dual.every, self._after_warmup)

    @property
    def _gains(self) -> Gains:
        return gains_of(self.dual, self.problem.names, self.problem.softness)

    @property
    def _rule(self) -> DualRule:
        return rule_of(self.dual.rule)

    @property
    def _after_warmup(self) -> int:
        return max(1, self.total - self.dual.warmup // self.dual.every)

    def infeasible(self, state: DualState) -> str | None:
        """Why the run is infeasible at its budgets, naming the constraint; None while it is not."""
        stuck = np.nonzero(state.at_cap >= self.dual.patience)[0]
        if not len(stuck):
            return None
        at_cap = np.abs(state.multipliers) >= self.dual.cap
        values = self.problem.values(state.means)
        where = {"at_most": "above", "at_least": "below"}
        reasons = [
            f"`{self.problem.names[i]}` is at {values[i]:.4g}, {where.get(self.problem.kinds[i], 'off')} its budget "
            f"{self.problem.budgets[i]:.4g}, with its multiplier ({state.multipliers[i]:.4g}) at "
            f"{'dual.cap' if at_cap[i] else _SUM} for {state.at_cap[i]} dual steps"
            for i in stuck
        ]
        raised = ", or raise dual.cap if the multiplier was still rising for good reason" if at_cap[stuck].any() else ""
        return "; ".join(reasons) + ": loosen that budget" + raised
