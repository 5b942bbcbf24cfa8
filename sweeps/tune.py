"""The bridge to Ray Tune: Optuna is asked and told by our own searcher; Tune starts, watches and ends the trials.

Why not Tune's OptunaSearch: it cannot pass on constraints, leaves trials with a NaN running for ever, and tells stopped
trials as complete (field-tested with Ray 2.60 and Optuna 5.0). Why our own trial numbers: continuing an interrupted sweep
needs no state of Tune's, so a `kill -9` at any time is as good as Ctrl-C.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle, tune
from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneError, Tuner
from ray.tune.execution import class_cache

from dualsweep.cluster.resources import TRIAL_RESOURCES
from dualsweep.sweeps.handing_out import Handout, TrialDriver, Unpickled
from dualsweep.sweeps.interrupts import asked_to_end
from dualsweep.sweeps.tune_trial import INTERRUPTED, WAITS, TuneTrial
from dualsweep.trainer.ray_shell.receipts import acknowledge
from dualsweep.trainer.ray_shell.slot import FRESH, Renewal

#: Progress is ours to show, and points go to the spool: Tune's own tables and result files are not needed.
_SILENT = {"RAY_AIR_NEW_OUTPUT": "0", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "TUNE_PRINT_ALL_TRIAL_ERRORS": "0"}


#: More trainings than any cluster holds, for Tune: `Handout` knows how many may run, which Tune would fix once for all.
_ANY_NUMBER = 10_000


def run_trials(
    driver: TrialDriver, side_by_side: Callable[[], int], folder: Path, meanwhile: Callable[[], None], *, warm: bool = True,
    ends: bool = False,
) -> None:  # fmt: skip
    """Runs trainings until the driver has none left, at most `side_by_side` at a time. Ctrl-C ends them and returns.

    `meanwhile` is called once, while the processes of the first trainings start. `warm`: processes take one training after
    another; else each training has its own. `ends`: the cluster ends afterwards, so that a command which was asked to end need
    not end each process by itself.

    Raises:
        OSError: what is reported can't be written down.
    """
    _keep_quiet()
    searcher = Handout(driver, Renewal() if warm else FRESH, side_by_side)
    tuner = Tuner(
        tune.with_resources(TuneTrial, dict(TRIAL_RESOURCES)),
        tune_config=tune.TuneConfig(
            num_samples=-1,  # the searcher says when there are no more
            max_concurrent_trials=_ANY_NUMBER,
            search_alg=searcher,
            reuse_actors=warm,
            trial_dirname_creator=lambda trial: f"trial-{trial.trial_id}",
        ),
        run_config=RunConfig(
            name="tune",
            storage_path=str(folder),
            failure_config=FailureConfig(max_failures=0),  # Tune would not try again what dies before it has begun
            checkpoint_config=CheckpointConfig(checkpoint_at_end=False),  # trainings keep their own
            stop=_Reports(searcher),
            callbacks=[_Listener(searcher, meanwhile, ends)],
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    except KeyboardInterrupt:
        return
    except TuneError as error:  # which has as a text what was raised while a report was taken
        raise _refusal(error) or error from None


def _keep_quiet() -> None:
    """Of a sweep the driver tells; Tune says nothing, and hands nothing on that its agent would log."""
    os.environ |= _SILENT
    # Tune would hand this process's AWS keys to trials (not to the workers behind them) by a way that Ray's agent logs.
    class_cache.ENV_VARS_TO_PROPAGATE -= {name for name in class_cache.ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")}
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what died or failed, the driver tells
    for copies in ("ray.train._internal.syncer", "ray.tune.execution.experiment_state"):
        logging.getLogger(copies).setLevel(logging.CRITICAL)  # of Tune's own state, which nothing of ours is read from


def _refusal(error: BaseException | None) -> OSError | None:
    """The error of the machine that an error came from, if there is one."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


class _Reports(Unpickled, tune.Stopper):
    """Passes reports on to the driver, who may answer that the training is to end: Tune asks this before all else."""

    def __init__(self, searcher: Handout) -> None:
        self._searcher = searcher

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        run = self._searcher.of(trial_id)
        if run is None:
            return False
        self._searcher.waits.heard(trial_id, time.monotonic(), result.get(WAITS, ""))
        if INTERRUPTED in result:
            self._searcher.ended(trial_id)
            self._searcher.driver.interrupted(run, result[INTERRUPTED])
            return False
        if "points" not in result:
            return False
        over = self._searcher.driver.reported(run, result)
        for kept in self._searcher.driver.kept(run, result):
            acknowledge(kept)
        if over:
            self._searcher.ended(trial_id)
        return over and not result.get("result")  # a training that has reported its result ends by itself

    def stop_all(self) -> bool:
        return False


class _Listener(Unpickled, tune.Callback):
    """Passes starts and ends on to the driver, and ends what is silent."""

    def __init__(self, searcher: Handout, meanwhile: Callable[[], None], ends: bool) -> None:
        self._searcher, self._driver, self._ends = searcher, searcher.driver, ends
        self._begun: set[str] = set()
        self._meanwhile: Callable[[], None] | None = meanwhile
        self._before = 0  # trainings that had begun a step ago

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        run = self._searcher.of(trial.trial_id)
        self._searcher.waits.heard(trial.trial_id, time.monotonic())
        if run is not None and run.name not in self._begun:
            self._begun.add(run.name)
            self._driver.started(run)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if self._ends and asked_to_end.is_set():
            raise KeyboardInterrupt  # here nothing is half done; Tune would end one process after another
        if self._meanwhile is not None and 0 < self._before == len(self._begun):  # no other has begun: as many as fit have
            meanwhile, self._meanwhile = self._meanwhile, None
            meanwhile()
        self._before = len(self._begun)
        now = time.monotonic()
        for trial_id, reason in self._searcher.waits.due(now):
            if (run := self._searcher.of(trial_id)) is not None:
                self._driver.waits(run, reason)
        dead, beyond = set(self._searcher.waits.dead(now)), set(self._searcher.beyond(now))
        for trial in (each for each in trials if each.trial_id in dead | beyond):
            self._searcher.waits.heard(trial.trial_id, now)
            if (actor := trial.temporary_state.ray_actor) is not None:
                if trial.trial_id in beyond:
                    self._searcher.take_back(trial.trial_id, "it waits for places, which others have")
                ray.kill(actor)  # of which Tune then tells

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._searcher.died(trial.trial_id, _error_of(trial))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if (given := self._searcher.ended(trial.trial_id)) is not None:
            self._driver.lost(given[0], "its workers ended without a result")


def _error_of(trial: Any) -> BaseException | None:
    """What a trial's process died of or raised; None where Tune has not kept it, as it does of both."""
    with contextlib.suppress(OSError, TypeError):
        error: BaseException = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
        return error
    return None
