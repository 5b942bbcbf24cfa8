"""How numbers and constraints read, the same in every table, figure and description."""

from __future__ import annotations

import math
from decimal import Decimal

from dualsweep.analysis.noise import half_width
from dualsweep.analysis.trials import ConstraintRecord, Trial

#: With more constraints than this, tables and descriptions show the worst slack only.
MANY_CONSTRAINTS = 4
MISSING = "—"


def number(value: float | None) -> str:
    """Return a number with 4 significant digits, a dash where there is none."""
    return MISSING if value is None or math.isnan(value) else _digits(value)


def _digits(value: float) -> str:
    """Four significant digits, with an exponent only below 1e-6, as on the page: a table breaks a line in `7.3e-05`."""
    text = f"{value:.4g}"
    return f"{Decimal(text):f}" if 1e-6 <= abs(value) < 1e-4 else text


def ranged(trial: Trial, name: str) -> str:
    """Return a metric's value, with the half-width of its 95 % interval where its errors or several trainings tell one."""
    half = half_width(trial, name)
    return number(trial.metric(name)) + (f" ±{half:.2g}" if half > 0 else "")


def chance(trial: Trial) -> str:
    """Return the probability that one more training meets its budgets, a dash where nobody knows."""
    return MISSING if trial.feasibility is None else f"{trial.feasibility:.0%}"


def setting(value: object) -> str:
    """Return a searched parameter's value: floats with 4 significant digits, the rest as it stands."""
    return _digits(value) if isinstance(value, float) else str(value)


def verdict(trial: Trial) -> str:
    """Return what is known of a trial's budgets: `met`, `violated (NAMES)`, `undecided`, or `unknown`."""
    if trial.standing == "violated" and trial.missed:
        few = trial.missed if len(trial.missed) <= 2 else (*trial.missed[:1], f"{len(trial.missed) - 1} more")
        return f"violated ({', '.join(few)})"
    if trial.standing == "violated" and math.isfinite(trial.violation):
        return f"violated, by {number(trial.violation)}"
    return trial.standing or "unknown"


def outcome_parts(outcome: ConstraintRecord) -> tuple[str, str, str]:
    """Return `value ≤ budget` (`≰` where it is not), `±standard error` (empty where unknown), and `λ multiplier`."""
    error = "" if math.isnan(outcome.slack_error) else f"±{outcome.slack_error:.2g}"
    bound = f"{number(outcome.value)} {outcome.stated} {number(outcome.budget)}"
    multiplier = MISSING if math.isnan(outcome.multiplier) else f"{outcome.multiplier:.3g}"
    return bound, error, f"λ {multiplier}"


def worst_text(trial: Trial) -> str:
    """Return the constraint with the smallest slack as `slack ±standard error (name)`."""
    known = [outcome for outcome in trial.constraints if not math.isnan(outcome.slack)]
    if not known:
        return MISSING
    worst = min(known, key=lambda outcome: outcome.room)
    error = "" if math.isnan(worst.slack_error) else f" ±{worst.slack_error:.2g}"
    return f"{number(worst.room)}{error} ({worst.name})"
