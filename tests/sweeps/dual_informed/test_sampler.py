"""The sampler from Optuna alone: any storage, stopped and gone on with, beside another sampler, in the user's signs and units."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import RandomSampler, TPESampler
from optuna.trial import Trial, TrialState, create_trial

from dualsweep.analysis.trials import Budget
from dualsweep.sweeps.dual_informed.outcome import ATTRIBUTE, Outcome, report
from dualsweep.sweeps.dual_informed.sampler import STOPPED, DualInformedSampler, Front
from tests.analysis.certified.problems import problem

TWO = [Budget(f"b{i}", (f"g{i}",), "at_most", -2.0, 0.0) for i in range(2)]
NAMES = [each.parameter for each in TWO]
BASE = Outcome(0.0, {"g0": 0.0, "g1": 0.0}, {"g0": 0.0, "g1": 0.0})


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def solved(budgets: list[float], name: str) -> Outcome:
    objective, values, multipliers = problem(name).solve(np.array([budgets]))
    names = [f"g{i}" for i in range(len(budgets))]
    return Outcome(
        float(objective[0]),
        dict(zip(names, values[0].tolist(), strict=True)),
        dict(zip(names, multipliers[0].tolist(), strict=True)),
    )


def two(trial: Trial) -> float:
    outcome = solved([trial.suggest_float(f"b{i}", -2.0, 0.0) for i in range(2)], "A2")
    trial.suggest_float("step_size", 1e-3, 1e-1, log=True)
    report(trial, outcome)
    return outcome.objective


def one(trial: Trial) -> float:
    outcome = solved([trial.suggest_float("b0", -2.0, 0.0)], "A1")
    report(trial, outcome)
    return outcome.objective


def sampler(seed: int = 0, **settings: Any) -> DualInformedSampler:
    return DualInformedSampler(TWO, base=BASE, seed=seed, beside=RandomSampler(seed=1), **{"tolerance": 0.0, **settings})


def front_of(study: optuna.Study, at: list[dict[str, float]]) -> Front:
    assert isinstance(study.sampler, DualInformedSampler)
    return study.sampler.front(study, at)


def params(study: optuna.Study) -> list[dict[str, Any]]:
    return [trial.params for trial in study.trials]


def only_budgets(study: optuna.Study) -> list[dict[str, Any]]:
    return [{name: each[name] for name in NAMES} for each in params(study)]


def test_it_is_a_function_of_its_seed() -> None:
    runs = []
    for seed in (0, 0, 1):
        study = optuna.create_study(sampler=sampler(seed))
        study.optimize(two, n_trials=6)
        runs.append(params(study))
    assert runs[0] == runs[1] != runs[2]
    assert runs[0][0] | {"step_size": 0} == {"b0": -2.0, "b1": -2.0, "step_size": 0}


def test_a_study_on_sqlite_goes_on_as_it_would_have(tmp_path: Path) -> None:
    straight = optuna.create_study(sampler=sampler())
    straight.optimize(two, n_trials=6)
    storage = f"sqlite:///{tmp_path}/study.db"
    for count in (2, 1, 3):
        study = optuna.create_study(study_name="s", storage=storage, sampler=sampler(), load_if_exists=True)
        study.optimize(two, n_trials=count)
    assert only_budgets(study) == only_budgets(straight)


def test_it_stops_by_itself_and_says_why() -> None:
    study = optuna.create_study(sampler=DualInformedSampler(TWO[:1]))
    study.optimize(one, n_trials=50)
    assert 3 < len(study.trials) < 12
    assert "narrower than the tolerance" in study.user_attrs[STOPPED]
    assert isinstance(study.sampler, DualInformedSampler)
    verdict = study.sampler.verdict(study)
    assert verdict.stop and verdict.reason == study.user_attrs[STOPPED] and verdict.gap <= 0.05


def test_of_many_trials_the_end_is_judged_by_the_first_ones() -> None:
    """With 136 to 143 ended trials it is that of the first 136, which leave the tight corner open, whoever asks."""
    study = optuna.create_study(sampler=DualInformedSampler(TWO[:1]))
    space: dict[str, BaseDistribution] = {"b0": FloatDistribution(-2.0, 0.0)}
    for b in [*np.linspace(-1.5, 0.0, 136), *[-2.0] * 7]:
        study.add_trial(create_trial(value=0.0, params={"b0": b}, distributions=space, user_attrs=outcome_of(b)))
    assert isinstance(study.sampler, DualInformedSampler)
    assert len(study.trials) == 143 and "band is open" in study.sampler.verdict(study).reason
    study.enqueue_trial({"b0": -2.0})
    study.optimize(one, n_trials=1)
    assert "narrower than the tolerance" in study.user_attrs[STOPPED]
    another = DualInformedSampler(TWO[:1]).verdict(study)  # one that has seen nothing of it
    assert another.stop and another.reason == study.sampler.verdict(study).reason


def outcome_of(b: float) -> dict[str, Any]:
    return {ATTRIBUTE: solved([b], "A1").to_json()}


def test_ask_and_tell_with_several_pending() -> None:
    study = optuna.create_study(sampler=sampler())
    space: dict[str, BaseDistribution] = {each.parameter: FloatDistribution(each.low, each.high) for each in TWO}
    pending = [study.ask(space) for _ in range(4)]
    assert len({str(trial.params) for trial in pending}) == 4
    for trial in pending[:3]:
        report(trial, solved(list(trial.params.values()), "A2"))
        study.tell(trial, 0.0)
    following = study.ask(space)
    assert all(following.params != trial.params for trial in pending)


def test_failed_and_pruned_trials_are_lived_with() -> None:
    count = iter(range(20))

    def flaky(trial: Trial) -> float:
        number = next(count)
        value = two(trial)
        if number in (0, 3):
            raise ValueError("lost")
        if number == 4:
            raise optuna.TrialPruned
        return value

    study = optuna.create_study(sampler=sampler())
    study.optimize(flaky, n_trials=9, catch=(ValueError,))
    states = [trial.state for trial in study.trials]
    assert states.count(TrialState.FAIL) == 2 and states.count(TrialState.PRUNED) == 1
    assert only_budgets(study)[1] == {"b0": -2.0, "b1": -2.0}  # the corner, once more
    rest = only_budgets(study)[1:]
    assert len({str(each) for each in rest}) == len(rest)


def test_the_front_in_the_users_signs() -> None:
    """Maximising -f with values of at least c is the same problem: the same trials, and the mirrored front."""
    mirrored = [replace(each, sense="at_least", low=0.0, high=2.0) for each in TWO]

    def other(trial: Trial) -> float:
        found = solved([-trial.suggest_float(f"b{i}", 0.0, 2.0) for i in range(2)], "A2")
        turned = Outcome(-found.objective, {name: -value for name, value in found.values.items()}, found.multipliers)
        report(trial, turned)
        return turned.objective

    plain, turned = optuna.create_study(sampler=sampler(ideal=0.0)), optuna.create_study(
        direction="maximize", sampler=DualInformedSampler(mirrored, direction="maximize", base=BASE, tolerance=0.0, ideal=0.0)
    )  # fmt: skip
    plain.optimize(two, n_trials=5)
    turned.optimize(other, n_trials=5)
    assert np.array([list(each.values()) for each in params(turned)]) == pytest.approx(
        -np.array([list(each.values()) for each in only_budgets(plain)])
    )
    at = [{"b0": -1.3, "b1": -0.7}, {"b0": -0.2, "b1": -1.9}]
    here = front_of(plain, at)
    there = front_of(turned, [{name: -number for name, number in each.items()} for each in at])
    assert there.objective == pytest.approx(-here.objective)
    assert there.lower == pytest.approx(-here.upper) and there.upper == pytest.approx(-here.lower)
    for name in NAMES:
        assert there.prices[name] == pytest.approx(here.prices[name])
    truth, _, prices = problem("A2").solve(np.array([list(each.values()) for each in at]))
    assert (here.lower <= truth + 1e-9).all() and (truth <= here.upper + 1e-9).all()
    assert here.objective == pytest.approx(truth, abs=0.15)
    assert here.prices["b0"] == pytest.approx(prices[:, 0], abs=0.4)


@pytest.mark.parametrize(("budget", "ask"), [
    (Budget("b", ("g",), "at_most", 0.05, 5.0, log=True), lambda trial: trial.suggest_float("b", 0.05, 5.0, log=True)),
    (Budget("b", ("g",), "at_most", 1.0, 40.0, whole=True), lambda trial: trial.suggest_int("b", 1, 40)),
])  # fmt: skip
def test_logarithmic_and_whole_budgets(budget: Budget, ask: Callable[[Trial], float]) -> None:
    """P*(b) = 1 / b, with lambda = 1 / b^2."""

    def inverse(trial: Trial) -> float:
        b = ask(trial)
        assert budget.low <= b <= budget.high and type(b) is (int if budget.whole else float)
        report(trial, Outcome(1 / b, {"g": b}, {"g": 1 / b**2}))
        return 1 / b

    study = optuna.create_study(sampler=DualInformedSampler([budget], tolerance=0.0, ideal=0.0))
    study.optimize(inverse, n_trials=7)
    found = [trial.params["b"] for trial in study.trials]
    assert found[0] == budget.low and len(set(found)) == len(found)
    at = np.linspace(budget.low, budget.high, 30)
    front = front_of(study, [{"b": float(b)} for b in at])
    assert (front.lower <= 1 / at + 1e-9).all() and (1 / at <= front.upper + 1e-9).all()
    assert np.abs(front.objective - 1 / at).mean() < 0.02 / budget.low


def test_one_budget_of_several_constraints() -> None:
    tied = [Budget("b", ("g0", "g1", "g2"), "at_most", -2.0, 0.0)]

    def objective(trial: Trial) -> float:
        outcome = solved([trial.suggest_float("b", -2.0, 0.0)] * 3, "A3")
        report(trial, outcome)
        return outcome.objective

    study = optuna.create_study(sampler=DualInformedSampler(tied, ideal=0.0))
    study.optimize(objective, n_trials=20)
    assert "tolerance" in study.user_attrs[STOPPED] and len(study.trials) < 12
    at = np.linspace(-2, 0, 21)
    truth, _, prices = problem("A3").solve(np.repeat(at[:, None], 3, axis=1))
    front = front_of(study, [{"b": float(b)} for b in at])
    assert front.objective == pytest.approx(truth, abs=0.02 * truth.max())
    assert front.prices["b"][5:15] == pytest.approx(prices.sum(axis=1)[5:15], rel=0.1)


def test_other_parameters_are_those_of_the_sampler_beside() -> None:
    """Also of one that wants to place everything itself."""
    beside = TPESampler(seed=0, multivariate=True, n_startup_trials=2)
    study = optuna.create_study(sampler=DualInformedSampler(TWO, base=BASE, tolerance=0.0, beside=beside))
    study.optimize(two, n_trials=5)
    alone = optuna.create_study(sampler=sampler())
    alone.optimize(two, n_trials=5)
    assert only_budgets(study) == only_budgets(alone)
    assert len({each["step_size"] for each in params(study)}) == 5


def half(trial: Trial) -> float:
    report(trial, solved([trial.suggest_float("b0", -2.0, 0.0)], "A1"))
    return trial.suggest_float("b1", -2.0, 0.0)


def test_misuse_is_answered() -> None:
    study = optuna.create_study(sampler=sampler())
    with pytest.raises(RuntimeError, match="must have an outcome"):
        study.optimize(lambda trial: trial.suggest_float("b0", -2.0, 0.0) + trial.suggest_float("b1", -2.0, 0.0), n_trials=2)
    with pytest.raises(RuntimeError, match=r"nothing of \['g1'\]"):
        optuna.create_study(sampler=sampler()).optimize(half, n_trials=2)
    with pytest.raises(ValueError, match="finite"):
        Outcome(math.nan, {}, {})
    with pytest.raises(ValueError, match="a value and a multiplier for each"):
        Outcome(0.0, {"a": 1.0}, {})
    with pytest.raises(ValueError, match="must have a budget"):
        DualInformedSampler([])
    with pytest.raises(ValueError, match="low < high"):
        DualInformedSampler([Budget("b", ("g",), "at_most", 1.0, 1.0)])
    with pytest.raises(ValueError, match="must bound one constraint"):
        DualInformedSampler([Budget("b", ("g", "h"), "equals", 0.0, 1.0)])
    with pytest.raises(ValueError, match="rest on a trial"):
        DualInformedSampler(TWO).front(optuna.create_study(), [{"b0": 0.0, "b1": 0.0}])


def test_the_example_of_the_guide(tmp_path: Path) -> None:
    from docs.examples import informed_alone

    trials, reason, objective = informed_alone.main(f"sqlite:///{tmp_path}/study.db")
    assert 3 < trials < 12 and "narrower than the tolerance" in reason
    assert objective == pytest.approx(0.49, abs=0.01)


def test_it_needs_neither_ray_nor_torch() -> None:
    code = (
        "import sys, dualsweep.sweeps.dual_informed; print([name for name in ('ray', 'torch', 'mlflow') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
