"""The bridge to Ray Tune: Optuna is asked and told by our own searcher; Tune starts, watches and ends the trials.

Why not Tune's OptunaSearch: it cannot pass on constraints, leaves trials with a NaN running for ever, and tells stopped
trials as complete (field-tested with Ray 2.60 and Optuna 5.0). Why our own trial numbers: continuing an interrupted sweep
needs no state of Tune's, so a `kill -9` at any time is as good as Ctrl-C.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any, Protocol

from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneError, Tuner
from ray.tune.execution import class_cache
from ray.tune.search import Searcher

from dualsweep.cluster.resources import TRIAL_RESOURCES
from dualsweep.sweeps.trials.runs import Run
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.ray_shell.job import Job, result_in
from dualsweep.trainer.ray_shell.receipts import acknowledge
from dualsweep.trainer.ray_shell.slot import FRESH, Renewal, Slots
from dualsweep.trainer.ray_shell.training_handle import Training
from dualsweep.trainer.result import failed

#: Progress is ours to show, and points go to the spool: Tune's own tables and result files are not needed.
_SILENT = {"RAY_AIR_NEW_OUTPUT": "0", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}


class TrialDriver(Protocol):
    """Who decides what runs, and hears how it goes; everything is called in the driver's process, one call at a time."""

    def next(self) -> tuple[Run, Job] | None:
        """The next training, or None when there is none left to start."""

    def started(self, run: Run) -> None: ...

    def reported(self, run: Run, payload: dict[str, Any]) -> bool:
        """Takes a report; whether the training is over, by its own last report or because it is to stop."""

    def kept(self, run: Run, *, paused: bool) -> bool:
        """Whether all that was reported of a training is where no kill reaches it; `paused` is one that waits for that."""

    def recovers(self, run: Run, reason: str) -> None:
        """The training's own process died; another one goes on from its checkpoint."""

    def lost(self, run: Run, reason: str) -> None:
        """The training ended without a result."""


#: A step without a report ends after so many seconds, so that Tune can end one that is silent.
_SILENCE = 1.0
#: A training that is to be stopped has so many seconds to come to a dual step; other processes would take as long to start.
_STOPPING = 10.0
#: How often a training whose own process died goes on from its checkpoint; one more death fails it.
MOST_DEATHS = 3


class TuneTrial(tune.Trainable):
    """One training, which is one of Tune's trials. Its process and its slot's, Ray Train's workers, take one after another.

    A class and not a function, because Tune waits for `cleanup` before it ends the process: so a slot has given back its workers
    and its placement group when this process goes. A step is a report.
    """

    def setup(self, config: dict[str, Any]) -> None:
        self._slots = Slots(config["renewal"])
        self._begin(config["job"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes the next training; the one before has ended, or is stopped now."""
        self._training.stop(_STOPPING)
        self._begin(new_config["job"])
        return True

    def _begin(self, job: Job) -> None:
        self._job = job
        self._training = Training(job, self._slots)
        self._reports = self._training.reports(kept=False)

    def step(self) -> dict[str, Any]:
        """The next report, the last one with `done`; an empty one where there is none for a while."""
        silent_until = time.monotonic() + _SILENCE
        try:
            while (payload := next(self._reports, _OVER)) is None and time.monotonic() < silent_until:
                pass
        except TrainingError as error:
            if result_in(self._job.output) is not None:  # its end was written, and the runner finds it there
                return {"done": True}
            return {"step": 0, "steps": 0, "seconds": 0.0, "points": [], "result": failed(str(error)).to_json(), "done": True}
        return {"done": True} if payload is _OVER else dict(payload or {})

    def cleanup(self) -> None:
        self._slots.kill()


_OVER: dict[str, Any] = {}


def run_trials(driver: TrialDriver, count: int, concurrent: int, folder: Path, *, warm: bool = True) -> None:
    """Runs `count` trainings, at most `concurrent` at a time. Ctrl-C ends them and returns: what was reported is kept.

    `warm`: processes take one training after another; else each training has its own.

    Raises:
        OSError: what is reported can't be written down.
    """
    os.environ |= _SILENT
    # Tune would hand this process's AWS keys to trials (not to the workers behind them) by a way that Ray's agent logs.
    class_cache.ENV_VARS_TO_PROPAGATE -= {name for name in class_cache.ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")}
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    for copies in ("ray.train._internal.syncer", "ray.tune.execution.experiment_state"):
        logging.getLogger(copies).setLevel(logging.CRITICAL)  # of Tune's own state, which nothing of ours is read from
    searcher = _Searcher(driver, Renewal() if warm else FRESH)
    tuner = Tuner(
        tune.with_resources(TuneTrial, dict(TRIAL_RESOURCES)),
        tune_config=tune.TuneConfig(
            num_samples=count,
            max_concurrent_trials=concurrent,
            search_alg=searcher,
            reuse_actors=warm,
            trial_dirname_creator=lambda trial: f"trial-{trial.trial_id}",
        ),
        run_config=RunConfig(
            name="tune",
            storage_path=str(folder),
            failure_config=FailureConfig(max_failures=MOST_DEATHS),
            checkpoint_config=CheckpointConfig(checkpoint_at_end=False),  # trainings keep their own
            stop=_Reports(driver, searcher),
            callbacks=[_Listener(driver, searcher)],
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    except TuneError as error:  # which has as a text what was raised while a report was taken
        raise _refusal(error) or error from None


def _refusal(error: BaseException | None) -> OSError | None:
    """The error of the machine that an error came from, if there is one."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


class _Searcher(Searcher):
    """Hands out the driver's trainings; remembers which of Tune's ids is which."""

    def __init__(self, driver: TrialDriver, renewal: Renewal) -> None:
        super().__init__()
        self._driver, self._renewal = driver, renewal
        self.runs: dict[str, Run] = {}
        self.ended: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Tune keeps a copy of what it was given, for a way of continuing that we don't use."""
        return {}

    def suggest(self, trial_id: str) -> Any:  # a configuration, or Tune's word for the end
        following = self._driver.next()
        if following is None:
            return Searcher.FINISHED
        run, job = following
        self.runs[trial_id] = run
        return {"name": run.name, "job": job, "renewal": self._renewal}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Results are taken when they are reported; this hears only of trials that ended without one (see `_Listener`)."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study in the output folder is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see `save`."""


class _Reports(tune.Stopper):
    """Passes reports on to the driver, who may answer that the training is to end: Tune asks this before all else."""

    def __init__(self, driver: TrialDriver, searcher: _Searcher) -> None:
        self._driver, self._searcher = driver, searcher

    def __getstate__(self) -> dict[str, Any]:
        """Pickles nothing: Tune keeps a copy of what it was given, for a way of continuing that we don't use."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        if "points" not in result or trial_id in self._searcher.ended:
            return False
        run = self._searcher.runs[trial_id]
        over = self._driver.reported(run, result)
        if self._driver.kept(run, paused=result.get("paused", False)):
            acknowledge(result)
        if over:
            self._searcher.ended.add(trial_id)
        return over and not result.get("result")  # a training that has reported its result ends by itself

    def stop_all(self) -> bool:
        return False


class _Listener(tune.Callback):
    """Passes starts and ends on to the driver."""

    def __init__(self, driver: TrialDriver, searcher: _Searcher) -> None:
        self._driver, self._searcher = driver, searcher
        self._begun: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Pickles nothing: Tune keeps a copy of what it was given, for a way of continuing that we don't use."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if trial.trial_id not in self._begun:
            self._begun.add(trial.trial_id)
            self._driver.started(self._searcher.runs[trial.trial_id])

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._driver.recovers(self._searcher.runs[trial.trial_id], _last_line(trial.get_error()))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._end(trial, _last_line(trial.get_error()))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._end(trial, "its workers ended without a result")

    def _end(self, trial: Any, reason: str) -> None:
        if trial.trial_id not in self._searcher.ended:
            self._searcher.ended.add(trial.trial_id)
            self._driver.lost(self._searcher.runs[trial.trial_id], reason)


def _last_line(error: BaseException | None) -> str:
    """What a process died of, as far as Ray knows."""
    return (str(error or "").strip().splitlines() or ["its process died"])[-1]
