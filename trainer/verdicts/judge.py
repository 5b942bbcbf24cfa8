"""The verdicts: one word for each constraint, the first whose conditions hold, in the order of `_RULES` (docs/explain.md)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dualsweep.trainer.feasibility.standing import Slack, standing_of
from dualsweep.trainer.recipe.amortised import Amortised
from dualsweep.trainer.recipe.dual import Dual
from dualsweep.trainer.recipe.fields import Constraint
from dualsweep.trainer.result import ConstraintOutcome, Result, Z
from dualsweep.trainer.verdicts.case import LIGHT, Case
from dualsweep.trainer.verdicts.held_out import evidence_of, gap_of, held_out_alone
from dualsweep.trainer.verdicts.keys import beyond_draws
from dualsweep.trainer.verdicts.limit import ZERO, limits
from dualsweep.trainer.verdicts.oscillation import LARGEST, oscillation
from dualsweep.trainer.verdicts.trend import linearity, slope
from dualsweep.trainer.verdicts.verdict import Histories, Trace, Verdict, Word

#: A multiplier moves when it changes by more than this share of its larger end over the tail; less is settled
#: (`dualsweep.trainer.result.verdict` allows the same).
MOVING = 0.1
#: Where the violation is not seen to shrink, a multiplier of at least this weight runs away: the constraint counts as much as
#: the objective (whose weight is 1) and does not yield. Below it, the multiplier may simply not have had the time.
HEAVY = 1.0
#: More time than this many runs is no advice: what closes as slowly is not closing.
MOST_RUNS = 10.0


def verdicts(
    histories: Histories,
    result: Result,
    dual: Dual,
    constraints: Sequence[Constraint],
    measured_by: Mapping[str, str] | None = None,
    amortised: Amortised | None = None,
) -> list[Verdict]:
    """One verdict for each constraint, in the recipe's order; none for a run without constraints.

    `histories` are of the points by step (`histories_of`); missing and non-finite points are passed over, and a run without
    any is judged by its result alone. `measured_by` are the keys that advice may name (`dualsweep.trainer.verdicts.keys`);
    `amortised` is the recipe's section, in whose place nothing of `dual` moves a multiplier.
    """
    dual = dual if amortised is None else Dual()
    traces = {each.name: Trace.of(histories, each.name, after=dual.warmup) for each in constraints}
    relative = {each.name: each.relative_to is not None for each in constraints}
    ends = {name: each.multiplier for name, each in result.constraints.items() if name in traces}
    ends |= {name: float(trace.multipliers[-1]) for name, trace in traces.items() if len(trace.steps)}
    limit_of, judged = limits(ends, dual, relative, amortised), []
    for name, trace in traces.items():
        outcome = result.constraints.get(name)
        if outcome is None or not math.isfinite(outcome.slack):
            judged.append(_unknown(name, trace, result))
            continue
        turned = outcome.kind == "equals" and outcome.multiplier < 0
        sharper = (measured_by or {}).get(name, "train.batch_size")
        parts = beyond_draws(next(each for each in constraints if each.name == name), result.metrics)
        own = trace.turned() if turned else trace
        case = Case(name, outcome, own, dual, limit_of[name], result.steps, sharper, relative[name], parts, amortised is not None)
        judged.append(next(verdict for rule in _RULES if (verdict := rule(case)) is not None))
    return judged


def _unknown(name: str, trace: Trace, result: Result) -> Verdict:
    seen = trace.slacks[np.isfinite(trace.slacks)]
    last = f"; its last slack in training was {seen[-1]:+.3g}" if len(seen) else ""
    evidence = {"last_slack": float(seen[-1]), "points": float(len(seen))} if len(seen) else {}
    sentence = f"the run {result.status.replace('_', ' ')} without a final value of this constraint{last}"
    return Verdict(name, "unknown", sentence, f"fix what ended the run: {result.reason}", evidence)


def _infeasible(case: Case) -> Verdict | None:
    if not case.limit.pressed or case.outcome.kind == "minimax" or case.dual.rule == "fixed":
        return None
    if not (case.end_slack.below(Z) or case.outcome.standing == "violated"):
        return None
    best = case.best_value()
    sentence = (
        f"infeasible at this budget: best value {best:.3g}, budget {case.outcome.budget:.3g}, "
        f"with {case.limit.sentence(case.multiplier)}"
    )
    closing = slope(case.tail.steps, case.tail.slacks)
    advice = f"loosen to {case.budget_key(case.loosest_needed())}"
    if case.limit.raised_by:
        advice += f", or raise {case.limit.raised_by}"
    if closing.above(Z):
        # The limit was reached in so many steps; at its pace the violation needs so many more.
        trained = float(case.whole.steps[-1])
        remedy = f"try {case.step_of(trained / (trained - case.end_slack.value / closing.value))}, or a larger dual.patience"
        advice = f"the violation was still shrinking at step {case.steps}: {remedy}; else {advice}"
    evidence = {"closing": closing.value, "closing_error": closing.error}
    return _verdict(case, "infeasible", sentence, advice, best_value=best, limit=case.limit.largest, **evidence)


def _oscillating(case: Case) -> Verdict | None:
    detected = oscillation(case.tail.multipliers, case.dual_steps) if case.dual.rule != "fixed" else None
    if detected is None:
        return None
    size = f"at least {detected.excess:.0f}x" if detected.excess >= LARGEST else f"{detected.excess:.2g}x"
    sentence = (
        f"step size {size} too large: the multiplier oscillates with period {detected.period:.3g} dual steps "
        f"({detected.mean:.2g} ± {detected.swing:.1g})"
    )
    advice = f"try {case.step_of(1 / detected.excess)}"
    return _verdict(
        case, "oscillating", sentence, advice, **{f"oscillation_{key}": value for key, value in vars(detected).items()}
    )


def _rising(case: Case) -> Verdict | None:
    """Rising or runaway: the multiplier grows to the end against a violation."""
    tail, end = case.tail, case.end.multipliers
    if len(tail.steps) < 6 or case.dual.rule == "fixed" or not case.end_slack.below(Z):
        return None
    grown = float(end[-1] - tail.multipliers[0])
    if grown <= MOVING * abs(float(end[-1])):
        return None
    closing = slope(tail.steps, tail.slacks)
    violation = -case.end_slack.value
    evidence = {"linearity": linearity(tail.steps, tail.multipliers), "closing": closing.value, "closing_error": closing.error}
    runs = _runs_needed(case, closing.value) if closing.above(Z) else math.inf
    if runs <= MOST_RUNS:
        sentence = f"still rising at the last step ({end[-1]:.3g}), with the violation ({violation:.2g}) shrinking: out of steps"
        steps = math.ceil(runs * case.steps / case.dual.every) * case.dual.every
        advice = f"try train.steps {steps}, or {case.step_of(runs)} ({runs:.2g}x)"
        return _verdict(case, "rising", sentence, advice, runs_needed=runs, **evidence)
    heavy = min(HEAVY, case.limit.largest / 2)
    if end[-1] < heavy:
        factor = min(heavy / float(end[-1]), 100.0)
        sentence = f"still rising at the last step, and too light to matter yet ({end[-1]:.3g}; the objective weighs 1)"
        return _verdict(case, "rising", sentence, f"try {case.step_of(factor)} ({factor:.2g}x)", **evidence)
    best = case.best_value()
    sentence = (
        f"the multiplier runs away: at {end[-1]:.3g} and rising to the end, while the violation stays at "
        f"{violation:.2g} ± {case.end_slack.error:.1g}; best value {best:.3g}"
    )
    looser = case.budget_key(case.loosest_needed())
    advice = f"loosen to {looser}: the model cannot do better at any price, or not in {case.steps} steps"
    return _verdict(case, "runaway", sentence, advice, best_value=best, **evidence)


def _runs_needed(case: Case, closing: float) -> float:
    """How many runs of this length it takes until the violation v is within the errors e of the final evaluation.

    A violation that shrinks at the rate `closing` a step closes as v exp(-t / tau), tau = (mean violation) / closing, which
    takes tau ln(v / e) more steps. The same factor on the step size shortens tau by it.
    """
    violation = -case.end_slack.value
    tau = max(-float(np.nanmean(case.tail.slacks)), violation) / closing
    target = Z * max(case.error, 1e-3 * violation)
    trained = float(case.whole.steps[-1] - case.whole.steps[0])
    return 1.0 + tau * max(math.log(violation / target), 0.1) / trained


def _inactive(case: Case) -> Verdict | None:
    """Inactive, or noisy where it is only noise that lifts the multiplier off zero, but so far that the model feels it."""
    if not (case.at_zero and case.room > 0) or case.outcome.standing == "violated":
        return None
    if abs(case.multiplier) > LIGHT and case.dual.rule != "fixed":
        return _noisy(case)
    if case.outcome.kind == "minimax":
        return _verdict(case, "inactive", f"not among the largest values: {case.slack:.3g} below, at no weight", "")
    value = case.value_at(case.room)
    sentence = f"the budget does not bind: {_slack(case.outcome)} of room, multiplier {case.multiplier:.2g}"
    advice = f"it may be tightened by {case.room:.2g}, to {case.budget_key(value)}, at no cost"
    return _verdict(case, "inactive", sentence, advice, room=case.room)


def _noisy(case: Case) -> Verdict:
    """A multiplier that falls by eta s a dual step, is pushed by noise of the size eta e, and is cut off at zero, has the mean
    eta e^2 / (2 s) (a reflected random walk; Harrison 1985, *Brownian Motion and Stochastic Flow Systems*): in proportion to eta.
    """
    factor = 2 * abs(case.multiplier) / LIGHT  # to half of what is taken as zero
    sentence = (
        f"met ({_slack(case.outcome)}), with a multiplier that noise lifts off zero: {case.multiplier:.2g} on average, and zero "
        "in between"
    )
    advice = f"try {case.step_of(1 / factor)} ({factor:.2g}x smaller), or measure the slack better ({case.measured_by})"
    return _verdict(case, "noisy", sentence, advice, room=case.room)


def _falling(case: Case) -> Verdict | None:
    tail, end = case.tail, case.end.multipliers
    if len(tail.steps) < 6 or case.dual.rule == "fixed" or case.at_zero or not case.room or not case.end_slack.above(Z):
        return None
    if case.outcome.kind == "minimax":  # a weight on its way to zero, where nothing is required
        return None
    fall = float(tail.multipliers[0] - end[-1])
    if fall <= MOVING * float(tail.multipliers[0]):
        return None
    # What ascent takes off the multiplier at this slack until it is at zero, where the budget stops to bind.
    pace = fall / float(tail.steps[-1] - tail.steps[0])
    more = float(end[-1]) / pace
    sentence = (
        f"met ({_slack(case.outcome)}), but still paying: the multiplier is on its way down from "
        f"{case.whole.multipliers.max():.3g}, at {end[-1]:.3g}"
    )
    loss = case.outcome.kind != "at_least" and case.measured_by != "rollout.batch_size"  # what falls all through training
    ways = "a smaller step or a relative budget" if loss and not case.relative else "or a smaller step"
    advice = f"at this pace it is at zero after {more:.0f} more steps; it rose too high early: try dual.warmup, {ways}"
    return _verdict(case, "falling", sentence, advice, steps_to_zero=more, fall=fall)


def _settled(case: Case) -> Verdict:
    outcome = case.outcome
    if outcome.standing == "violated":
        gap = f"; in training it was {case.end_slack.value:+.2g} ± {case.end_slack.error:.1g}" if len(case.end.steps) > 2 else ""
        where = "violated on held-out data, though not on training data" if held_out_alone(outcome) else "violated"
        sentence = f"{where}: {_slack(outcome)}, multiplier {case.multiplier:.3g}{gap}"
        return _verdict(case, "violated", sentence, _against_violation(case))
    told = f"{_slack(outcome)}, multiplier {case.multiplier:.3g}"
    undecided = outcome.standing == "undecided"
    advice = _to_decide(case) if undecided else ""
    if abs(case.slack) <= max(Z * case.error, outcome.tolerance) and abs(case.multiplier) > ZERO:
        kept = "; whether it is kept within its tolerance is undecided" if undecided else " and is kept"
        binds = "among the largest values" if outcome.kind == "minimax" else f"the budget binds{kept}"
        return _verdict(case, "active", f"{binds}: {told}", advice)
    if undecided:
        return _verdict(case, "undecided", f"neither met nor violated with confidence: {told}", advice)
    return _verdict(case, "met", f"met: {told}", "")


def _to_decide(case: Case) -> str:
    """What would decide a constraint: more draws, more held-out images where these leave it open, or more of what draws leave."""
    outcome, parts = case.outcome, case.beyond_draws
    if sum(each**2 for each in parts.values()) > case.error**2 / 2:
        return f"{max(parts, key=parts.__getitem__)}, or raise feasibility.tolerance, to tell"
    own = standing_of(Slack(outcome.slack + outcome.relaxation, outcome.slack_error), outcome.kind, outcome.tolerance)
    held_out = outcome.held_out is not None and outcome.held_out.standing == "undecided" and own != "undecided"
    more = "hold out more images (data.holdout)" if held_out else "raise feasibility.draws"
    return f"{more}, or raise feasibility.tolerance, to tell"


def _against_violation(case: Case) -> str:
    """What to change where a constraint ends violated, by what its multiplier did and what its slack was in training."""
    if held_out_alone(case.outcome):
        return "give it more data, or train for fewer steps: the model knows these by heart"
    if case.amortised:
        return "train longer, or raise amortised.points: its multiplier is read off the front that is measured at these"
    if case.dual.rule == "fixed":
        return "raise dual.start, or let dual.rule move the multiplier"
    sharper = f"measure the slack better ({case.measured_by})"
    ends, seen = case.end.multipliers, case.whole.multipliers
    if len(ends) < 3:
        return f"train longer, or {sharper}"
    if not case.end_slack.below(Z):
        return f"train longer, or {sharper}: in training it is within errors, which the multiplier goes by"
    if float(np.max(ends)) >= (1 - MOVING) * float(np.max(seen)):
        factor = f", or {case.step_of(2.0)}" if case.rule.proportional else ""
        return f"train longer{factor}: the multiplier stands at its highest and the violation is not gone"
    return f"train longer, or {sharper}: the multiplier came down to {ends[-1]:.3g} before the violation was gone"


_RULES: tuple[Callable[[Case], Verdict | None], ...] = (_infeasible, _oscillating, _rising, _inactive, _falling, _settled)


def _slack(outcome: ConstraintOutcome) -> str:
    relaxed = f" with the budget relaxed by {outcome.relaxation:.3g}" if outcome.relaxation else ""
    within = f" (tolerance {outcome.tolerance:.2g})" if outcome.tolerance else ""
    return f"slack {outcome.slack:+.3g} ± {outcome.slack_error:.1g}{within}{relaxed}"


def _verdict(case: Case, word: Word, sentence: str, suggestion: str, **more: float) -> Verdict:
    evidence = {
        "value": case.outcome.value,
        "budget": case.outcome.budget,
        "slack": case.outcome.slack,
        "slack_error": case.outcome.slack_error,
        "tolerance": case.outcome.tolerance,
        **evidence_of(case.outcome),
        "training_slack": case.side * case.end_slack.value,
        "training_slack_error": case.end_slack.error,
        "multiplier": case.multiplier,
        "multiplier_peak": float(np.max(case.whole.multipliers)) * case.side if len(case.whole.steps) else math.nan,
        "points": float(len(case.whole.steps)),
    }
    return Verdict(case.name, word, sentence + gap_of(case.outcome), suggestion, evidence | more)
