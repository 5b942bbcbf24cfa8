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
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import ray
from ray import cloudpickle, tune
from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneError, Tuner
from ray.tune.execution import class_cache
from ray.tune.search import Searcher

from dualsweep.cluster.resources import TRIAL_RESOURCES
from dualsweep.sweeps.interrupts import asked_to_end
from dualsweep.sweeps.trials.runs import Run
from dualsweep.sweeps.trials.waits import Waits
from dualsweep.sweeps.tune_trial import INTERRUPTED, WAITS, TuneTrial
from dualsweep.trainer.metric_point import Payload
from dualsweep.trainer.ray_shell.job import Job
from dualsweep.trainer.ray_shell.receipts import acknowledge
from dualsweep.trainer.ray_shell.slot import FRESH, Renewal
from dualsweep.trainer.ray_shell.training_handle import is_loss

#: Progress is ours to show, and points go to the spool: Tune's own tables and result files are not needed.
_SILENT = {"RAY_AIR_NEW_OUTPUT": "0", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "TUNE_PRINT_ALL_TRIAL_ERRORS": "0"}


class TrialDriver(Protocol):
    """Who decides what runs, and hears how it goes; everything is called in the driver's process, one call at a time."""

    def next(self) -> tuple[Run, Job] | None:
        """The next training, or None when there is none left to start."""

    def started(self, run: Run) -> None: ...

    def reported(self, run: Run, payload: dict[str, Any]) -> bool:
        """Takes a report; whether the training is over, by its own last report or because it is to stop."""

    def kept(self, run: Run, payload: dict[str, Any]) -> Sequence[Payload]:
        """The reports, this one and earlier ones, of which all is where no kill reaches it; `paused` in it: it waits for that."""

    def recovers(self, run: Run, reason: str) -> None:
        """The training's own process died; another one goes on from its checkpoint."""

    def waits(self, run: Run, reason: str) -> None:
        """The training has not gone on for a while."""

    def interrupted(self, run: Run, reason: str) -> None:
        """Processes of the training died, more often than it is started again here; a later command goes on with it."""

    def lost(self, run: Run, reason: str) -> None:
        """The training ended without a result."""


#: How often a training whose own process died goes on from its checkpoint; one more death interrupts it.
MOST_DEATHS = 3


def run_trials(driver: TrialDriver, concurrent: int, folder: Path, *, warm: bool = True, ends: bool = False) -> None:
    """Runs trainings until the driver has none left, at most `concurrent` at a time. Ctrl-C ends them and returns: what was
    reported is kept.

    `warm`: processes take one training after another; else each training has its own. `ends`: the cluster ends afterwards, so
    that a command which was asked to end need not end each process by itself.

    Raises:
        OSError: what is reported can't be written down.
    """
    _keep_quiet()
    searcher = _Searcher(driver, Renewal() if warm else FRESH)
    tuner = Tuner(
        tune.with_resources(TuneTrial, dict(TRIAL_RESOURCES)),
        tune_config=tune.TuneConfig(
            num_samples=-1,  # the searcher says when there are no more
            max_concurrent_trials=concurrent,
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
            callbacks=[_Listener(searcher, ends)],
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


class _Unpickled:
    """Tune keeps a copy of what it was given, for a way of continuing that we don't use: an empty one."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Searcher(_Unpickled, Searcher):
    """Hands out the driver's trainings, and those again, as another of Tune's trials, whose process died."""

    def __init__(self, driver: TrialDriver, renewal: Renewal) -> None:
        super().__init__()
        self.driver, self._renewal = driver, renewal
        self._given: dict[str, tuple[Run, Job]] = {}
        self._again: deque[tuple[Run, Job]] = deque()
        self._ends: dict[str, list[str]] = {}
        self.waits = Waits()

    def suggest(self, trial_id: str) -> Any:  # a configuration, or Tune's word for none now or for the end
        following = self._again.popleft() if self._again else self.driver.next()
        if following is None:
            return None if self._given else Searcher.FINISHED  # of those that run one may be handed out again
        run, job = self._given[trial_id] = following
        self.waits.heard(trial_id, time.monotonic(), "a place for its own process")
        return {"name": run.name, "job": job, "renewal": self._renewal}

    def of(self, trial_id: str) -> Run | None:
        """The training of one of Tune's trials, which has not ended for the driver."""
        return self._given[trial_id][0] if trial_id in self._given else None

    def ended(self, trial_id: str) -> tuple[Run, Job] | None:
        """Takes note that a training has ended; None where that was known."""
        self.waits.over(trial_id)
        return self._given.pop(trial_id, None)

    def died(self, trial_id: str, error: BaseException | None) -> None:
        """A training's own process died or raised an error: it goes on in another, unless the same error came before.

        After so many deaths it is interrupted.
        """
        if (given := self.ended(trial_id)) is None:
            return
        (run, _), reason = given, _told(error)
        before = self._ends.setdefault(run.name, [])
        before.append(reason)
        if error is not None and not is_loss(error) and reason in before[:-1]:
            self.driver.lost(run, reason)
        elif len(before) > MOST_DEATHS:
            self.driver.interrupted(run, f"its own process died {len(before)} times, at last: {reason}")
        else:
            self._again.append(given)
            self.driver.recovers(run, reason)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Results are taken when they are reported; this hears only of trials that ended without one (see `_Listener`)."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study in the output folder is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see `save`."""


class _Reports(_Unpickled, tune.Stopper):
    """Passes reports on to the driver, who may answer that the training is to end: Tune asks this before all else."""

    def __init__(self, searcher: _Searcher) -> None:
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


class _Listener(_Unpickled, tune.Callback):
    """Passes starts and ends on to the driver, and ends what is silent."""

    def __init__(self, searcher: _Searcher, ends: bool) -> None:
        self._searcher, self._driver, self._ends = searcher, searcher.driver, ends
        self._begun: set[str] = set()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        run = self._searcher.of(trial.trial_id)
        self._searcher.waits.heard(trial.trial_id, time.monotonic())
        if run is not None and run.name not in self._begun:
            self._begun.add(run.name)
            self._driver.started(run)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if self._ends and asked_to_end.is_set():
            raise KeyboardInterrupt  # here nothing is half done; Tune would end one process after another
        now = time.monotonic()
        for trial_id, reason in self._searcher.waits.due(now):
            if (run := self._searcher.of(trial_id)) is not None:
                self._driver.waits(run, reason)
        dead = set(self._searcher.waits.dead(now))
        for trial in (each for each in trials if each.trial_id in dead):
            self._searcher.waits.heard(trial.trial_id, now)
            if (actor := trial.temporary_state.ray_actor) is not None:
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


def _told(error: BaseException | None) -> str:
    """Of a death the first sentence that Ray says of it; of an error in the process its last line."""
    lines = str(error or "").strip().splitlines() or ["it was lost"]
    if error is None or is_loss(error):
        return next((line for line in lines if "died" in line or "dead" in line), lines[0]).split(". ")[0].rstrip(".")
    return lines[-1]
