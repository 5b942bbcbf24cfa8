"""What a verdict on one constraint is taken from, and the figures that several verdicts share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from dualsweep.trainer.dual.registry import RULES
from dualsweep.trainer.dual.rule import DualRule
from dualsweep.trainer.recipe.dual import Dual
from dualsweep.trainer.result import ConstraintOutcome, Z
from dualsweep.trainer.verdicts.limit import ZERO, Limit
from dualsweep.trainer.verdicts.trend import Measured, mean
from dualsweep.trainer.verdicts.verdict import END, TAIL, Trace

#: A mean multiplier up to this, a hundredth of the objective's weight, is what noise leaves of zero.
LIGHT = 0.01


@dataclass(frozen=True)
class Case:
    """One constraint at the end of a run.

    `whole` is its trace since the warm-up; for an equality whose multiplier is negative, `whole` and the figures taken from
    it have their signs turned, so that everywhere a growing multiplier presses against a negative slack. Slacks are net of
    what a resilient budget has given way by. `steps` are the run's; `measured_by` the recipe's keys that sharpen its slack in
    training (`trainer/verdicts/keys.py`); `relative` whether its budget is relative to the objective; `beyond_draws` the parts
    of its error that more draws would leave, by what lessens them; `amortised` whether its multiplier was read off a measured
    front.
    """

    name: str
    outcome: ConstraintOutcome
    whole: Trace
    dual: Dual
    limit: Limit
    steps: int
    measured_by: str = "train.batch_size"
    relative: bool = False
    beyond_draws: Mapping[str, float] = field(default_factory=dict)
    amortised: bool = False

    @cached_property
    def tail(self) -> Trace:
        return self.whole.last(TAIL)

    @cached_property
    def end(self) -> Trace:
        return self.whole.last(END)

    @cached_property
    def end_slack(self) -> Measured:
        """The mean slack over the last fifth, on training batches with the training weights."""
        return mean(self.end.slacks)

    @property
    def multiplier(self) -> float:
        """The mean over the last fifth, in the constraint's own sign; without points, that of the result."""
        return float(self.end.multipliers.mean()) * self.side if len(self.end.steps) else self.outcome.multiplier

    @property
    def side(self) -> float:
        """-1 for an equality that is pressed from above, else 1."""
        return -1.0 if self.outcome.kind == "equals" and self.outcome.multiplier < 0 else 1.0

    @property
    def error(self) -> float:
        return self.outcome.slack_error if math.isfinite(self.outcome.slack_error) else 0.0

    @property
    def slack(self) -> float:
        """The final slack, net of the relaxation."""
        return self.outcome.slack + self.outcome.relaxation

    @property
    def room(self) -> float:
        """The slack that is left beyond `Z` standard errors, also on held-out data; 0 where there is none, and for equalities."""
        if self.outcome.kind == "equals":
            return 0.0
        held_out = self.outcome.held_out
        elsewhere = held_out.slack - Z * held_out.error if held_out is not None else math.inf
        return max(0.0, min(self.slack - Z * self.error, elsewhere))

    @property
    def at_zero(self) -> bool:
        """Whether the multiplier ends at zero or, where noise lifts it, next to it (on average) or keeps coming back to it."""
        ends = np.abs(self.end.multipliers)
        return abs(self.multiplier) <= (LIGHT if len(ends) else ZERO) or bool(len(ends) and np.quantile(ends, 0.25) <= ZERO)

    @property
    def rule(self) -> DualRule:
        """What the rule says of itself; nothing of a user's own, whose code is not run to explain what it did."""
        return RULES[self.dual.rule] if isinstance(self.dual.rule, str) else replace(RULES["ascent"], proportional=False)

    @property
    def dual_steps(self) -> float:
        """Dual steps from one point to the next."""
        return float(np.median(np.diff(self.whole.steps))) / self.dual.every if len(self.whole.steps) > 1 else 1.0

    def value_at(self, slack: float) -> float:
        """The constraint's value where its slack is `slack`, in the signs of the trace."""
        direction = -1.0 if self.outcome.kind == "at_least" else 1.0
        return self.outcome.value + direction * (self.slack - self.side * slack)

    @property
    def best_slack(self) -> float:
        """The better one of the final evaluation and the last fifth of training, in the signs of the trace."""
        return max(slack for slack in (self.side * self.slack, self.end_slack.value) if math.isfinite(slack))

    def best_value(self) -> float:
        """The best value reached, on the data trained on."""
        return self.value_at(self.best_slack)

    def loosest_needed(self) -> float:
        """The tightest budget that is met: the best value reached, or that on held-out data where it is worse."""
        held_out = self.outcome.held_out
        return self.value_at(min(self.best_slack, self.side * held_out.slack if held_out is not None else math.inf))

    def budget_key(self, value: float) -> str:
        """`constraints.NAME.KIND VALUE`, the value rounded to three digits towards the looser side."""
        return f"constraints.{self.name}.{self.outcome.kind} {rounded(value, up=self.outcome.kind != 'at_least'):.4g}"

    def step_of(self, factor: float) -> str:
        """What to set so that the multiplier moves `factor` times as far in a step."""
        if not self.rule.proportional:
            return f"a {'larger' if factor > 1 else 'smaller'} {self.rule.sized_by}"
        sizes = self.dual.step_size
        key, size = (f"dual.step_size.{self.name}", sizes[self.name]) if isinstance(sizes, dict) else ("dual.step_size", sizes)
        return f"{key} {factor * size:.2g}"


def rounded(value: float, up: bool) -> float:
    """`value` to three significant digits, never below (`up`) or above it."""
    if value == 0 or not math.isfinite(value):
        return value
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 2)
    # A value that has three digits already must stay, whatever the last bit of the division says.
    quotient = round(value / unit, 9)
    return float((math.ceil if up else math.floor)(quotient) * unit)
