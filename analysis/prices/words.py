"""Prices in sentences, with their numbers."""

from __future__ import annotations

import math

from dualsweep.analysis.prices.price import Price
from dualsweep.analysis.text import number
from dualsweep.analysis.trials import Trial

_SHOWN = 2.0
NOT_SEARCHED = "Budgets are not priced: none differs from trial to trial, so that nothing shows what another would do."
NOT_SETTLED = (
    "Budgets are not priced: the dual steps were too few to tell whether the multipliers settled (train.steps, dual.every)."
)


def sentence(price: Price, trial: Trial) -> str:
    """What a price says, or why it is not believed."""
    if price.verdict == "disagrees":
        return f"The price of {price.budget.label} has not converged: {_says(price)}, {_seen(price)}."
    if price.verdict == "slack":
        beside = f"beside room that is left ({_room(price, trial)})"
        return f"The price of {price.budget.label} has not converged: {_says(price)}, {beside}."
    return _buys(price)


def trouble(trial: Trial, other: Trial, excess: float, error: float, lacking: float) -> str:
    """Another trial that lies below a trial's supporting plane."""
    text = (
        f"Trial {trial.trial_id} has not converged: at its own multipliers, trial {other.trial_id} is better by "
        f"{number(excess)}{_give(error)}"
    )
    if lacking > 1e-6:
        return f"{text}, and at any multipliers some trial is better by {number(lacking)}."
    return f"{text}."


def shown_range(price: Price) -> str:
    """The slopes that the values allow, in words: `0.2 to 0.4`, `at least 0.2`, `at most 0.4`, `any`, `none`."""
    low, high = price.low, price.high
    if math.isnan(low):
        return "none"
    above = math.isfinite(low) and (low > 0 or price.budget.kind == "equals")
    if above and math.isfinite(high):
        return f"{number(low)} to {number(high)}"
    if above:
        return f"at least {number(low)}"
    return f"at most {number(high)}" if math.isfinite(high) else "any"


def _says(price: Price) -> str:
    return f"the multiplier says {number(price.price)}{_give(price.error)}"


def _seen(price: Price) -> str:
    if math.isnan(price.low):
        return "and no price fits the values of the other trials"
    return f"the other trials' values {shown_range(price)}"


def _give(error: float) -> str:
    return f" ± {_SHOWN * error:.2g}" if error > 0 else ""


def _room(price: Price, trial: Trial) -> str:
    parts = []
    for outcome in trial.constraints:
        if outcome.name in price.budget.constraints and outcome.slack > 0:
            parts.append(f"`{outcome.name}` {number(outcome.slack)}{_give(outcome.slack_error)}")
    return ", ".join(parts)


def _buys(price: Price) -> str:
    step = f"{price.step:g}"
    low, high = price.gain_low, price.gain_high
    move = f"Loosening {price.budget.label} by {step}"
    if price.budget.kind == "equals":
        way = "Raising" if price.price >= 0 else "Lowering"
        move = f"{way} {price.budget.label} by {step}"
        low, high = sorted(abs(price.price) * price.step + side * _SHOWN * price.error * price.step for side in (-1, 1))
    if price.price == 0 and price.error == 0:
        return f"{move} buys nothing."
    if low <= 0:
        return f"{move} buys nothing that can be told from noise (at most {high:.2g} of the objective)."
    within = f" ({low:.2g} to {high:.2g})" if price.error > 0 else ""
    return f"{move} buys {abs(price.gain):.2g} of the objective{within}."
