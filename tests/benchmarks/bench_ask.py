"""A suggestion after 500 and 1,000 finished trials: `Study.ask()` beside Optuna's own samplers with the same trials, in turns.

    python -m tests.benchmarks.bench_ask [--finished 500 1000] [--rounds 10] [--more 60] [--consecutive 64] [--gp]

Trials as the demo's, over its search space, in journals on the disk; Optuna's study has been open all the time, with its sampler
seeded and started as ours. At most `--more` turns follow until the ratio is known to 5 %. `--gp` adds one suggestion of Optuna's
GPSampler, which takes minutes.

`dual_informed` judges the end after some trials only, so its suggestions are so many consecutive ones of a study just opened, a
trial ending after each: their mean has every verdict that was due at its share, the first one's too, and the worst is printed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import optuna
from optuna.samplers import BaseSampler, GPSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from dualsweep.sweeps.dual_informed.outcome import Outcome
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.studies.samplers import distributions
from dualsweep.sweeps.studies.study import Study
from tests.benchmarks.common import ROOT
from tests.benchmarks.demo_store import NAMES, MadeTrial, made_trials
from tests.benchmarks.rows import RUNS, Interval, holds

#: Required: of Optuna's TPE, and seconds of `dual_informed`.
OF_OPTUNA, INFORMED = 1.2, 0.2


class Onward(Study):
    """A study that goes on where its sampler would end it, at the same cost."""

    @property
    def stopped(self) -> None:
        """Never, which is judged all the same."""
        _ = super().stopped


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finished", type=int, nargs="+", default=[500, 1000])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--more", type=int, default=60)
    parser.add_argument("--consecutive", type=int, default=64)
    parser.add_argument("--gp", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kept = [
        holding
        for finished in options.finished
        for holding in (beside_optuna(finished, options), informed(finished, options.consecutive))
    ]
    sys.exit(not all(kept))


def informed(finished: int, consecutive: int) -> bool:
    """Whether `dual_informed` takes no longer than it may after so many trials, in the mean of consecutive suggestions."""
    plan, seconds = _plan("dual_informed"), []
    made = list(made_trials(plan, "", finished + consecutive))
    with tempfile.TemporaryDirectory() as place:
        ask = ours(plan, Path(place) / "dual_informed", made[:finished])
        for trial in made[finished:]:
            started = time.perf_counter()
            tell = ask()
            seconds.append(time.perf_counter() - started)
            tell(trial)
    mean, middle, worst = statistics.fmean(seconds), statistics.median(seconds), max(seconds)
    print(f"{finished} finished: dual_informed {mean:.3f} s in the mean, half within {middle:.3f} s, worst {worst:.2f} s")
    return holds(f"{finished} finished, dual_informed, s in the mean of {consecutive}", mean, f"<= {INFORMED}")


def _plan(sampler: str) -> Plan:
    return load_plan(ROOT / "sweeps/digits.yaml", [f"sampler.name={sampler}", "trials=100000"])


def beside_optuna(finished: int, options: argparse.Namespace) -> bool:
    """Whether `tpe` takes no longer than it may of Optuna's own time after so many trials."""
    plan = _plan("tpe")
    made = list(made_trials(plan, "", finished + options.rounds + options.more + 1))
    trials, later = made[:finished], made[finished:]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        asks = {"tpe": ours(plan, folder / "tpe", trials)}
        asks["Optuna's TPE"] = optunas(plan, folder, trials, TPESampler(seed=1, n_startup_trials=5))
        if options.gp:
            asks["Optuna's GPSampler"] = optunas(plan, folder, trials, GPSampler(seed=1, n_startup_trials=5))
        seconds: dict[str, list[float]] = {name: [] for name in asks}
        for turn, trial in enumerate(later):  # the first is for warming up
            if turn > options.rounds and _beside(seconds).half_width <= RUNS:
                break
            for name, ask in asks.items() if turn % 2 else reversed(asks.items()):
                if turn < 2 or "GP" not in name:
                    started = time.perf_counter()
                    tell = ask()
                    seconds[name].append(time.perf_counter() - started)
                    tell(trial)
    medians = {name: statistics.median(each[1:]) for name, each in seconds.items()}
    print(f"{finished} finished: " + ", ".join(f"{name} {1000 * each:.0f} ms" for name, each in medians.items()))
    return _beside(seconds).holds(f"{finished} finished, tpe of Optuna's", f"<= {OF_OPTUNA}", RUNS)


def _beside(seconds: Mapping[str, Sequence[float]]) -> Interval:
    return Interval.over(seconds["tpe"][1:], seconds["Optuna's TPE"][1:])


Tell = Callable[[MadeTrial], object]


def ours(plan: Plan, output: Path, trials: Sequence[MadeTrial]) -> Callable[[], Tell]:
    """What asks our study, which has these trials; it returns what tells of the trial that was asked for."""
    study, space = Onward(plan, output), distributions(plan)
    for number, trial in enumerate(trials):
        study._write(number, create_trial(state=TrialState.RUNNING, params=trial.asked, distributions=space))
        _told(study, number, trial)

    def ask() -> Tell:
        number = study.ask().number
        return lambda trial: _told(study, number, trial)

    return ask


def _told(study: Study, number: int, trial: MadeTrial) -> None:
    """As the conductor does."""
    metrics = trial.metrics
    values, multipliers = ({name: metrics[f"{what}/{name}"] for name in NAMES} for what in ("value", "multiplier"))
    errors, unsure = ({name: metrics[f"{what}_error/{name}"] for name in NAMES} for what in ("slack", "multiplier"))
    outcome = Outcome(metrics["objective"], values, multipliers, metrics["objective_error"], errors, unsure)
    study.tell(number, [metrics[name] for name in study.plan.objectives], _slacks(trial), outcome=outcome)


def optunas(plan: Plan, folder: Path, trials: Sequence[MadeTrial], sampler: BaseSampler) -> Callable[[], Tell]:
    """The same of Optuna's own study, with those of the constraints that decide, as our samplers see them."""
    storage = JournalStorage(JournalFileBackend(str(folder / f"{type(sampler).__name__}.journal")))
    study = optuna.create_study(storage=storage, sampler=sampler, directions=[*plan.objectives.values()])
    space, required = distributions(plan), frozenset(NAMES) if plan.required is None else plan.required
    for trial in trials:
        constraints = {name: -slack for name, slack in _slacks(trial).items() if name in required}
        values = [trial.metrics[name] for name in plan.objectives]
        study.add_trial(create_trial(values=values, params=trial.asked, distributions=space, constraints=constraints))

    def ask() -> Tell:
        live = study.ask(space)
        return lambda trial: study.tell(live, [trial.metrics[name] for name in plan.objectives])

    return ask


def _slacks(trial: MadeTrial) -> dict[str, float]:
    """What the study is told of the constraints: with their tolerances."""
    return {name: trial.metrics[f"slack/{name}"] + trial.metrics[f"tolerance/{name}"] for name in NAMES}


if __name__ == "__main__":
    main()
