"""Every verdict on dynamics for which it is known to be true, and on figures at hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from dualsweep.trainer.metric_point import MetricPoint
from dualsweep.trainer.recipe.amortised import Amortised
from dualsweep.trainer.recipe.bound import Kind
from dualsweep.trainer.recipe.dual import Dual
from dualsweep.trainer.recipe.fields import Constraint
from dualsweep.trainer.result import ConstraintOutcome, Result, failed
from dualsweep.trainer.verdicts.judge import verdicts
from dualsweep.trainer.verdicts.text import COLOURS, evidence_lines, markdown, to_json
from dualsweep.trainer.verdicts.verdict import Histories, Verdict, histories_of
from tests.margins import Sampled
from tests.trainer.recipes import digits
from tests.trainer.verdicts.dynamics import EVERY, Dynamics

STEPS = 1000
C = digits().constraints[0].model_copy(update={"name": "c"})
RELATIVE = digits().constraints[1]


def result(slack: float, multiplier: float, error: float = 0.01, kind: Kind = "at_most", status: Any = "out_of_steps") -> Result:
    """A run whose constraint `c` has budget 0.5, with a tolerance of 0.025."""
    value = 0.5 + slack if kind == "at_least" else 0.5 - slack
    outcome = ConstraintOutcome(value, 0.5, slack, error, multiplier, kind, tolerance=0.025)
    return Result(status, "because", 1.0, 0.1, {"c": outcome}, outcome.standing, STEPS, 1.0, None)


def histories(multipliers: Any, slacks: Any, noise: float = 0.01) -> Histories:
    """A point every 5 steps; the multipliers and slacks are functions of the share of the run, with noise on the slacks."""
    steps = np.arange(EVERY, STEPS + 1, EVERY)
    draws = np.random.default_rng(0).standard_normal(len(steps)) * noise
    series = {
        "multiplier/c": [multipliers(step / STEPS) for step in steps],
        "slack/c": [slacks(step / STEPS) + draw for step, draw in zip(steps, draws, strict=True)],
        "slack_error/c": [noise] * len(steps),
    }
    return {
        name: [(int(step), float(value)) for step, value in zip(steps, values, strict=True)] for name, values in series.items()
    }


def one(found: Histories, ended: Result, constraint: Constraint = C, **dual: Any) -> Verdict:
    [verdict] = verdicts(found, ended, Dual(**dual), [constraint.model_copy(update={"name": "c"})])
    assert verdict.name == "c" and verdict.word in COLOURS and verdict.sentence and evidence_lines(verdict)
    return verdict


def test_met_active_inactive_and_violated_once_the_multiplier_has_settled() -> None:
    steady = histories(lambda t: 0.3, lambda t: 0.0)
    active = one(steady, result(0.005, 0.3))
    assert active.word == "active" and not active.suggestion and active.evidence["slack_error"] == 0.01
    assert one(steady, result(0.1, 0.3)).word == "met"
    violated = one(steady, result(-0.1, 0.3))
    assert violated.word == "violated" and violated.suggestion
    inactive = one(histories(lambda t: 0.0, lambda t: 0.2), result(0.2, 0.0))
    assert inactive.word == "inactive" and inactive.evidence["room"] == pytest.approx(0.18)
    assert "constraints.c.at_most 0.32" in inactive.suggestion  # 0.5 - 0.18: met there by exactly two standard errors
    inactive = one(histories(lambda t: 0.0, lambda t: 0.2), result(0.2, 0.0, kind="at_least"))
    assert "constraints.c.at_least 0.68" in inactive.suggestion


@pytest.mark.parametrize(
    ("slack", "error", "word", "says"),
    [
        (-0.0273, 0.02, "active", "the budget binds; whether it is kept within its tolerance is undecided: slack -0.0273 ± 0.02"),
        (-0.01, 0.001, "active", "the budget binds and is kept: slack -0.01 ± 0.001 (tolerance 0.025)"),
        (-0.0273, 0.0001, "violated", "violated: slack -0.0273 ± 0.0001 (tolerance 0.025)"),
    ],
)
def test_a_budget_is_said_to_be_kept_only_where_its_slack_says_so(slack: float, error: float, word: str, says: str) -> None:
    verdict = one(histories(lambda t: 0.3, lambda t: 0.0), result(slack, 0.3, error))
    assert verdict.word == word and verdict.sentence.startswith(says)
    assert ("is kept:" in verdict.sentence) == (" and is kept:" in says)


def test_a_multiplier_that_noise_lifts_off_zero_now_and_then_is_inactive(sampled: Sampled) -> None:
    case = Dynamics(target=-0.2, noise=0.3)  # the optimum without the constraint has a slack of 0.2
    words = [one(case.run(case.critical, STEPS, seed), result(0.2, 0.003)).word for seed in sampled.seeds(10)]
    sampled.at_least("share that is inactive", words.count("inactive") / 10, 0.7)


def walk(step_size: float, slack: float, noise: float) -> float:
    """The mean of lambda <- max(0, lambda - step_size (slack + lambda + noise z)) in the long run, from its transition matrix."""
    grid = np.linspace(0, 1.2, 601)
    edges = np.concatenate([[-np.inf], (grid[:-1] + grid[1:]) / 2, [np.inf]])
    towards = grid - step_size * (slack + grid)
    step = np.diff(norm.cdf((edges - towards[:, None]) / (step_size * noise)), axis=1)
    return float(np.linalg.matrix_power(step, 512)[0] @ grid)


def test_a_multiplier_that_only_noise_holds_up_is_noisy_and_inactive_at_the_step_size_suggested(sampled: Sampled) -> None:
    case = Dynamics(rate=0.8, target=-0.2, noise=1.0)
    judged = [one(case.run(0.1, 2 * STEPS, seed), result(0.2, 0.1), step_size=0.1) for seed in sampled.seeds(20)]
    noisy = [each for each in judged if each.word == "noisy"]
    sampled.at_least("share that is noisy", len(noisy) / len(judged), 0.5)
    sampled.near("mean multiplier", np.mean([each.evidence["multiplier"] for each in noisy]), walk(0.1, 0.2, 1.0), rel=0.3)
    step_sizes = [float(each.suggestion.split("dual.step_size ")[1].split(" ")[0]) for each in noisy]
    # A slower walk needs longer to have a mean.
    again = [
        one(case.run(step_size, 5 * STEPS, seed), result(0.2, 0.0), step_size=step_size).word
        for seed, step_size in zip(sampled.seeds(20), step_sizes, strict=False)
    ]
    sampled.at_least("share that is then inactive", again.count("inactive") / len(again), 0.1)


def test_oscillating_names_the_factor_the_period_and_the_step_size_to_try(sampled: Sampled) -> None:
    case = Dynamics()
    step_size = 12 * case.critical
    found = [one(case.run(step_size, 1500, seed), result(0.0, 1.0), step_size=step_size, cap=50.0) for seed in sampled.seeds(60)]
    sampled.at_least("share that oscillates", [each.word for each in found].count("oscillating") / len(found), 0.8)
    tried = [float(each.suggestion.split("dual.step_size ")[1]) for each in found if each.word == "oscillating"]
    sampled.between("median step size to try, of the critical", np.median(tried) / case.critical, 1 / 1.5, 1.5)
    oscillating = next(each for each in found if each.word == "oscillating")
    assert "period" in oscillating.sentence and "x too large" in oscillating.sentence


def test_dual_steps_count_and_not_primal_steps() -> None:
    """The same series with five primal steps for each dual step: the factor is that of dual steps."""
    case = Dynamics()
    run = case.run(12 * case.critical, 1500)
    stretched = {name: [(5 * step, value) for step, value in series] for name, series in run.items()}
    assert one(run, result(0, 1)).evidence == one(stretched, result(0, 1), every=5).evidence


def test_runaway_names_the_best_value_and_the_budget_that_is_met() -> None:
    rising = histories(lambda t: 5 * t, lambda t: -0.31)
    runaway = one(rising, result(-0.3, 5.0), step_size=0.016)
    assert runaway.word == "runaway" and runaway.evidence["linearity"] > 0.99
    assert "best value 0.8" in runaway.sentence and "constraints.c.at_most 0.8" in runaway.suggestion


def test_infeasible_names_them_too_unless_the_violation_was_still_shrinking() -> None:
    capped = histories(lambda t: min(10.0, 20 * t), lambda t: -0.31)
    infeasible = one(capped, result(-0.3, 10.0, status="infeasible"))
    assert infeasible.word == "infeasible" and "best value 0.8," in infeasible.sentence
    assert "loosen to constraints.c.at_most 0.8" in infeasible.suggestion
    assert "loosen to constraints.c.at_least 0.2" in one(capped, result(-0.3, 10.0, kind="at_least")).suggestion
    shrinking = one(histories(lambda t: min(10.0, 20 * t), lambda t: -1 + 0.6 * t), result(-0.4, 10.0, status="infeasible"))
    # -0.46 over the last fifth, closing by 0.6 in 1000 steps: 767 more to go, so the limit should come 1.77 times later.
    assert shrinking.word == "infeasible" and "still shrinking" in shrinking.suggestion
    assert f"dual.step_size {0.03 / 1.77:.2g}" in shrinking.suggestion


def test_relative_constraints_are_at_their_limit_when_their_sum_is() -> None:
    both = [RELATIVE, RELATIVE.model_copy(update={"name": "d"})]
    traces = dict(histories(lambda t: min(0.65, 2 * t), lambda t: -0.1))
    traces |= {name.replace("/c", "/five"): series for name, series in traces.items()}
    traces["multiplier/d"] = [(step, 0.3) for step, _ in traces["multiplier/c"]]
    outcome = ConstraintOutcome(0.12, 0.02, -0.1, 0.01, 0.65)
    met = ConstraintOutcome(0.01, 0.02, 0.01, 0.01, 0.3)
    ended = Result("infeasible", "", 1.0, 0.1, {"five": outcome, "d": met}, "violated", STEPS, 1.0, None)
    found = verdicts(traces, ended, Dual(), both)
    assert [each.word for each in found] == ["infeasible", "active"]
    assert "with the multiplier at 0.65 and the sum over relative constraints at its limit 0.95" in found[0].sentence
    [alone] = verdicts(traces | {"multiplier/five": [(STEPS, 0.95)]}, ended, Dual(), [RELATIVE])
    assert alone.word == "infeasible" and "with the multiplier at its limit 0.95" in alone.sentence


def amortised(multiplier: float, **section: Any) -> Verdict:
    """The verdict on a violated constraint of an amortised training, whose `dual` says what it does not follow."""
    dual, spec = Dual(rule="fixed", cap=10.0), Amortised(multipliers={"high": 30.0}, **section)  # type: ignore[arg-type]
    [verdict] = verdicts({}, result(-0.1, multiplier), dual, [C], {"c": "train.batch_size"}, spec)
    return verdict


def test_an_amortised_multiplier_is_at_its_limit_at_the_end_of_its_own_range() -> None:
    at_end = amortised(29.9)
    assert at_end.word == "infeasible" and "with the multiplier at its limit 30" in at_end.sentence
    assert at_end.suggestion == "loosen to constraints.c.at_most 0.6, or raise amortised.multipliers.high"
    own = amortised(5.0, by_constraint={"c": {"high": 5.0}})
    assert own.word == "infeasible" and own.suggestion.endswith("or raise amortised.by_constraint.c.high")


def test_within_its_range_a_violated_amortised_constraint_is_advised_by_what_its_multiplier_was_read_off() -> None:
    within = amortised(12.0)
    assert within.word == "violated" and within.suggestion.startswith("train longer, or raise amortised.points")


def test_relative_amortised_multipliers_are_at_their_limit_when_their_sum_is() -> None:
    both = [RELATIVE, RELATIVE.model_copy(update={"name": "d"})]
    outcome = ConstraintOutcome(0.12, 0.02, -0.1, 0.01, 0.475)
    ended = Result("infeasible", "", 1.0, 0.1, {"five": outcome, "d": outcome}, "violated", STEPS, 1.0, None)
    for verdict in verdicts({}, ended, Dual(), both, amortised=Amortised()):
        assert verdict.word == "infeasible" and "amortised" not in verdict.suggestion
        assert "at 0.475 and the sum over relative constraints at its limit 0.95" in verdict.sentence


@pytest.mark.parametrize("constants", [0.7, 1.5, 2.5])
def test_rising_tells_how_many_runs_it_takes(constants: float) -> None:
    """A violation exp(-t / tau) is within two errors, 0.02, at t = tau ln(1 / 0.02), in runs of `constants` tau each."""
    slack = lambda t: -math.exp(-constants * t)  # noqa: E731
    found = histories(lambda t: 1 - math.exp(-constants * t), slack)
    verdict = one(found, result(slack(1), 0.5), step_size=0.01)
    runs = math.log(1 / 0.02) / constants
    assert verdict.word == "rising" and verdict.evidence["runs_needed"] == pytest.approx(runs, rel=0.35)
    assert f"train.steps {math.ceil(verdict.evidence['runs_needed'] * STEPS)}" in verdict.suggestion
    assert f"dual.step_size {0.01 * verdict.evidence['runs_needed']:.2g}" in verdict.suggestion


def test_a_multiplier_too_light_to_matter_is_too_slow_and_not_running_away() -> None:
    verdict = one(histories(lambda t: 0.02 * t, lambda t: -0.3), result(-0.3, 0.02), step_size=0.0001)
    assert verdict.word == "rising" and "dual.step_size 0.005" in verdict.suggestion  # 50 times, to weigh as much as f


def test_slow_ascent_needs_about_the_runs_that_it_says(sampled: Sampled) -> None:
    """Real dynamics: run again for the number of steps suggested, the violation is gone."""
    case = Dynamics(noise=0.02)
    histories_ = case.run(case.critical / 8, 500, sampled.seed)
    slack = float(np.mean([value for _, value in histories_["slack/c"][-10:]]))
    short = result(slack, 0.5, error=0.02)
    verdict = one(histories_, Result(**{**vars(short), "steps": 500}), step_size=case.critical / 8)
    assert verdict.word == "rising"
    steps = int(verdict.suggestion.split("train.steps ")[1].split(",")[0])
    longer = case.run(case.critical / 8, steps // EVERY * EVERY, sampled.seed)
    sampled.between("slack at the end", np.mean([value for _, value in longer["slack/c"][-10:]]), -0.06, 0.03)


def test_falling_says_that_the_constraint_is_still_paid_for() -> None:
    verdict = one(histories(lambda t: 2 * (1 - 0.9 * t), lambda t: 0.1), result(0.1, 0.3))
    assert verdict.word == "falling" and verdict.evidence["steps_to_zero"] == pytest.approx(0.2 / (1.8 / STEPS), rel=0.02)


@pytest.mark.parametrize("side", [1, -1])
def test_an_equality_is_judged_from_the_side_that_presses(side: float) -> None:
    steady = histories(lambda t: side * 0.3, lambda t: 0.0)
    active = one(steady, result(0.0, side * 0.3, kind="equals"))
    assert active.word == "active" and active.evidence["multiplier"] == pytest.approx(side * 0.3)
    assert one(steady, result(0.1, side * 0.3, kind="equals")).word == "violated", "too much is as bad as too little"
    rising = one(histories(lambda t: side * 5 * t, lambda t: -side * 0.3), result(-side * 0.3, side * 5, kind="equals"))
    assert rising.word == "runaway" and f"constraints.c.equals {0.5 + side * 0.3:.4g}" in rising.suggestion


def test_a_resilient_budget_is_judged_by_what_it_has_relaxed_to() -> None:
    """lambda = 0.3 at alpha = 2 gives way by 0.15: a slack of -0.15 is where it binds."""
    relaxed = {**histories(lambda t: 0.3, lambda t: -0.15), "relaxation/c": [(step, 0.15) for step in range(5, STEPS + 1, 5)]}
    outcome = ConstraintOutcome(0.65, 0.5, -0.15, 0.01, 0.3, "at_most", relaxation=0.15)
    ended = Result("converged", "", 1.0, 0.1, {"c": outcome}, "met", STEPS, 1.0, None)
    verdict = one(relaxed, ended, rule="resilient", alpha=2.0)
    assert verdict.word == "active" and "relaxed by 0.15" in verdict.sentence
    assert verdict.evidence["training_slack"] == pytest.approx(0, abs=0.005)


def test_minimising_the_largest_value_has_no_budget_to_tighten() -> None:
    outcomes = {
        "c": ConstraintOutcome(0.5, 0.5, 0.0, 0.01, 1.0, "minimax"),
        "d": ConstraintOutcome(0.2, 0.5, 0.3, 0.01, 0.0, "minimax"),
    }
    traces = {**histories(lambda t: 1.0, lambda t: 0.0)}
    traces |= {"multiplier/d": [(step, 0.0) for step, _ in traces["multiplier/c"]]}
    ended = Result("converged", "", 1.0, 0.1, outcomes, "met", STEPS, 1.0, None)
    largest, other = verdicts(traces, ended, Dual(rule="simplex", cap=0.5), [C, C.model_copy(update={"name": "d"})])
    assert (largest.word, other.word) == ("active", "inactive") and not other.suggestion and "largest" in largest.sentence


def test_a_weight_on_its_way_down_pays_for_no_budget_where_the_largest_value_is_minimised() -> None:
    falling = histories(lambda t: 0.9 * (1 - 0.9 * t), lambda t: 0.1)
    outcome = ConstraintOutcome(0.2, 0.5, 0.3, 0.01, 0.3, "minimax")
    ended = Result("converged", "", 1.0, 0.1, {"c": outcome}, "met", STEPS, 1.0, None)
    [verdict] = verdicts(falling, ended, Dual(rule="simplex", cap=0.5), [C.model_copy(update={"name": "c"})])
    assert verdict.word != "falling" and "relative budget" not in verdict.suggestion and "met" not in verdict.sentence.split()


def test_the_step_size_proposed_is_the_constraints_own_and_only_given_where_the_rule_is_proportional_to_it() -> None:
    run = Dynamics().run(16 * Dynamics().critical, 1500)
    verdict = one(run, result(0.0, 1.0), step_size={"c": 0.4})
    assert verdict.suggestion == f"try dual.step_size.c {0.4 / verdict.evidence['oscillation_excess']:.2g}"
    assert one(run, result(0.0, 1.0), rule="newton").suggestion == "try a smaller dual.trust"
    assert one(run, result(0.0, 1.0), rule="augmented_lagrangian").suggestion == "try a smaller dual.step_size"


def test_fixed_multipliers_have_no_dynamics() -> None:
    steady = histories(lambda t: 20.0, lambda t: -0.1)
    verdict = one(steady, result(-0.1, 20.0), rule="fixed", start=20.0)
    assert verdict.word == "violated" and "dual.start" in verdict.suggestion


def test_missing_and_non_finite_points_are_passed_over() -> None:
    whole = histories(lambda t: 5 * t, lambda t: -0.31)
    holes = {
        name: [(step, math.nan if step % 20 else value) for step, value in series if step % 35] for name, series in whole.items()
    }
    assert one(holes, result(-0.3, 5.0)).word == "runaway"
    for found in ({}, {"multiplier/c": [(5, 0.1)]}, {"multiplier/c": [(5, math.nan)]}, {"multiplier/c": whole["multiplier/c"]}):
        assert one(found, result(0.2, 0.1)).word == "met" and one(found, result(-0.2, 0.1, error=math.nan)).word == "undecided"


def test_a_run_that_broke_off_is_unknown_and_says_why() -> None:
    verdict = one(histories(lambda t: 0.1, lambda t: -0.2, noise=0), failed("out of memory"))
    assert verdict.word == "unknown" and "out of memory" in verdict.suggestion and "-0.2" in verdict.sentence
    assert verdicts({}, failed("out of memory"), Dual(), [C])[0].word == "unknown"


def test_a_run_without_constraints_has_no_verdicts() -> None:
    ended = Result("converged", "", 1.0, 0.1, {}, "met", STEPS, 1.0, None)
    assert verdicts({"objective": [(1, 1.0)]}, ended, Dual(), []) == []


def test_the_warm_up_is_left_out() -> None:
    """A wave that stops with the warm-up is none of the dual's."""
    wave = histories(lambda t: 1 + (math.sin(300 * t) if t < 0.8 else 0), lambda t: 0.0)
    assert one(wave, result(0.0, 1.0)).word == "oscillating" and one(wave, result(0.0, 1.0), warmup=800).word == "active"


def test_histories_leave_the_final_evaluation_out() -> None:
    points = [MetricPoint(5, {"multiplier/c": 0.1}), MetricPoint(10, {"multiplier/c": 0.2, "system/seconds": 3.0})]
    final = MetricPoint(10, {"multiplier/c": 0.15}, final=True)
    assert histories_of([*points, final]) == {"multiplier/c": [(5, 0.1), (10, 0.2)], "system/seconds": [(10, 3.0)]}


def test_the_page_and_the_data_hold_every_verdict() -> None:
    verdict = one(histories(lambda t: 5 * t, lambda t: -0.31), result(-0.3, 5.0))
    page = markdown("run 1", "out_of_steps", "because", [verdict])
    assert page.startswith("# run 1\n\nout of steps: because\n\n## c: runaway\n\n") and verdict.suggestion in page
    bare = one({}, result(0.2, 0.1))
    assert "nan" not in markdown("run 1", "converged", "", [bare])
    [plain] = to_json([bare])
    assert plain["word"] == "met" and plain["evidence"]["training_slack"] is None and plain["evidence"]["slack"] == 0.2
