"""Tracking that cannot hurt a run: everything goes to the local spool, and one thread replays it to MLflow.

While MLflow does not answer, training goes on, one warning is given, and the spool grows; it is tried again after 2, 4, ...
60 seconds, and by the next start of the same command. What MLflow has is in `tracking.json`, so a sweep that is continued
goes on in the same runs, and no point is there twice.
"""

from __future__ import annotations

import json
import shlex
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dualsweep.analysis.budgets import write_budgets
from dualsweep.analysis.preference import PREFER
from dualsweep.analysis.requirements import TAG as REQUIRED
from dualsweep.analysis.requirements import write_required
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.records.trial_record import trial_name
from dualsweep.sweeps.records.trial_start import TrialStart, begun_recipe
from dualsweep.sweeps.tracking.delivery import Delivery
from dualsweep.sweeps.tracking.kept_store import where_hidden
from dualsweep.sweeps.tracking.ledger import AMORTISED, SWEEP, Entry, Ledger
from dualsweep.sweeps.tracking.mlflow_settings import prepare
from dualsweep.sweeps.tracking.origin import origin
from dualsweep.sweeps.tracking.spool import FOLDER, Spool, points_in, tag_in
from dualsweep.sweeps.typed import same_again
from dualsweep.trainer.checks.unused_keys import in_use
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.config.wording import first_line
from dualsweep.trainer.metric_point import MetricPoint
from dualsweep.trainer.recipe.recipe import Recipe, flatten

#: The status of an MLflow run for each end of a trial (`dualsweep.trainer.result.Status`, and `interrupted`).
RUN_STATUS = {"failed": "FAILED", "diverged": "FAILED", "interrupted": "KILLED", "stopped": "KILLED"}
#: Seconds between two attempts in an outage, at most, and when all else has ended.
_LONGEST_WAIT, _WAIT_AT_END = 60.0, 1.0


class Tracker:
    """One sweep's tracking: a parent run, a child run for each trial, and below it one for each of its trainings where they are
    several. Nothing here raises for MLflow's sake.
    """

    def __init__(self, plan: Plan, output: Path, on_warning: Callable[[str], None], interval: float = 2.0) -> None:
        """Opens the spool in `output`, and starts the thread that replays it every `interval` seconds.

        `on_warning` gets one line for each outage or refused record, from that thread.
        """
        prepare()
        self.plan, self._folder, self._on_warning, self._interval = plan, output / FOLDER, on_warning, interval
        output.mkdir(parents=True, exist_ok=True)
        self.delivery = Delivery(
            plan.tracking_uri, Ledger.open(output, plan.tracking_uri, plan.experiment), self._folder, on_warning
        )
        self._refuses, self._paused = False, False
        self._origin = origin(plan.document.source)
        self._trials: dict[str, Spool] = {}
        self.sweep = self._named(SWEEP)
        self._begin()
        self._wake, self._stop = threading.Event(), threading.Event()
        self._down, self._until = "", 0.0
        self._thread = threading.Thread(target=self._replay, name="tracking", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def run_id(self) -> str | None:
        """The parent run's id; None while MLflow has not been reached."""
        return self.delivery.ledger.runs.get(SWEEP, Entry()).run_id

    def trial(self, number: int, params: Mapping[str, Any], seed: int | None = None, begun: TrialStart | None = None) -> Spool:
        """The spool of a trial that starts, or starts again: its run is RUNNING, with its recipe as params.

        With a `seed` it is that of the trial's training with this seed, one of several. `begun` is where it starts.

        Raises:
            InputError: the params make no valid recipe (`Plan.trial_recipe`).
        """
        spool = self._begun(number, params, seed)
        if begun is not None and begun.trial is not None:
            spool.tags({"dualsweep.continued_from": begun.trial})
        recipe = begun_recipe(self.plan.trial_recipe(params), self.plan.sweep.continuation, begun, seed)
        searched = {key: value for key, value in flatten(recipe).items() if key in params}
        spool.params(searched | in_use(recipe) | ({} if seed is None else {"seed": seed}))
        return spool

    def refuse_trial(self, number: int, params: Mapping[str, Any], reason: str) -> None:
        """A trial that cannot start, as its values make no valid recipe: its run has failed, with them as params."""
        spool, known = self._begun(number, params), flatten(self.plan.recipe)
        spool.params({key: value for key, value in params.items() if key in known})
        for seed in dict.fromkeys((None, *self.plan.seeds)):  # an earlier version may have begun its trainings
            if self.is_open(number, seed):
                self.end_trial(number, "failed", reason, seed)

    def _begun(self, number: int, params: Mapping[str, Any], seed: int | None = None) -> Spool:
        spool = self.spool(number, seed)
        spool.begin()
        asked = json.dumps(dict(params), default=str)
        spool.tags({"dualsweep.status": "running", "dualsweep.reason": "", "dualsweep.params": asked, **self._origin})
        return spool

    def end_trial(self, number: int, status: str, reason: str, seed: int | None = None) -> None:
        """A trial's end, or that of its training with this seed: one of `trainer/result.py`'s `Status`, or `interrupted`
        where it will be resumed.
        """
        spool = self.spool(number, seed)
        spool.tags({"dualsweep.status": status, "dualsweep.reason": reason})
        spool.end(RUN_STATUS.get(status, "FINISHED"))

    def amortised(self, recipe: Recipe) -> Spool:
        """The spool of the sweep's amortised training, which starts or starts again."""
        spool = self._named(AMORTISED)
        spool.begin()
        spool.tags({"dualsweep.status": "running", "dualsweep.reason": "", **self._origin})
        spool.params(in_use(recipe))
        return spool

    @property
    def amortised_is_open(self) -> bool:
        """Whether its run was begun and not ended."""
        return self._named(AMORTISED).status == "RUNNING"

    def end_amortised(self, status: str, reason: str) -> None:
        """Ends the amortised training's run with a status and a reason, as a trial's."""
        spool = self._named(AMORTISED)
        spool.tags({"dualsweep.status": status, "dualsweep.reason": reason})
        spool.end(RUN_STATUS.get(status, "FINISHED"))

    def end(self, status: str, run_status: str, reason: str = "") -> None:
        """The sweep's end: the tags `dualsweep.status` and `.reason`, and FINISHED, FAILED or KILLED for the parent run."""
        self.sweep.tags({"dualsweep.status": status, "dualsweep.reason": reason})
        self.sweep.end(run_status)

    def flush(self, timeout: float) -> bool:
        """Waits at most `timeout` seconds until MLflow has all that was spooled; says whether it has."""
        deadline = time.monotonic() + timeout
        while not self.delivery.has_all() and time.monotonic() < deadline and self._thread.is_alive():
            self._wake.set()
            time.sleep(0.05)
        return self.delivery.has_all()

    def close(self, timeout: float = 30.0) -> str | None:
        """Ends the thread once MLflow has all, tried for at most `timeout` s. Returns what was not delivered, for the user."""
        lost = self._unwritten()
        self._until = time.monotonic() + timeout
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout)
        waiting = self.delivery.waiting()
        if not waiting and not lost:
            return None
        why = f" ({self._down})" if self._down else ""
        place = f"MLflow at {masked(self.plan.tracking_uri)}"
        if lost:
            return (
                f"{waiting + lost} records were not delivered to {place}{why}; {lost} of them could not be written to "
                f"{self._folder} to the end: once there is room, {same_again()} has them anew from the trials' checkpoints"
            )
        return (
            f"{waiting} records were not delivered to {place}{why}; nothing is lost: they are in {self._folder}, and "
            f"{same_again()} delivers them, or `{shlex.join(['dualsweep', 'sync', str(self._folder.parent)])}`"
            f"{where_hidden(self.plan.tracking_uri)}"
        )

    def spool(self, number: int, seed: int | None = None) -> Spool:
        """The spool of a trial, or of its training with this seed, as it is."""
        return self._named(trial_name(number, seed))

    def kept(self, number: int, seed: int | None = None, *, paused: bool = False) -> bool:
        """Whether all that a training has reported is on the disk; of one that is `paused` until it is, people are told."""
        kept = self.spool(number, seed).sync()
        if paused and not kept and not self._paused:
            self._paused = True
            self._on_warning(
                f"training pauses until {self._folder} can be written: what waits to be is all that is kept in memory"
            )
        return kept

    def points(self, number: int, seed: int | None = None) -> list[MetricPoint]:
        """What a trial, or its training with this seed, has reported, as far as it is on the disk."""
        return points_in(self.spool(number, seed).path)

    def _named(self, name: str) -> Spool:
        if name not in self._trials:
            self._trials[name] = Spool(self._folder / f"{name}.jsonl", self._refused)
        return self._trials[name]

    def is_open(self, number: int, seed: int | None = None) -> bool:
        """Whether a trial's run, or that of its training with this seed, was begun and not ended."""
        return self.spool(number, seed).status == "RUNNING"

    def has_begun(self, number: int, seed: int | None = None) -> bool:
        """Whether such a run was ever begun."""
        return bool(self.spool(number, seed).status)

    def interrupt(self, number: int) -> None:
        """A trial that is not over is broken off, and its trainings that go on with it: the next start resumes them."""
        for seed in dict.fromkeys((None, *self.plan.seeds)):
            if self.is_open(number, seed):
                self.end_trial(number, "interrupted", "the sweep was interrupted; the same command continues", seed)

    def _begin(self) -> None:
        plan = self.plan
        self.sweep.begin()
        tags = {
            "dualsweep.status": "running",
            "dualsweep.objectives": json.dumps(plan.objectives),
            "dualsweep.search": json.dumps([each.name for each in plan.parameters]),
            "dualsweep.budgets": write_budgets(plan.ranges),
            REQUIRED: write_required(plan.required),
            "dualsweep.reference_point": json.dumps(plan.sweep.reference_point),
            **self._origin,
        }
        prefer = json.dumps(plan.preference and plan.preference.to_json())
        # Of a file that says what it said before, nothing is written: `front --prefer` may have put another in MLflow since.
        if prefer != (tag_in(self.sweep.path, PREFER) or "null"):
            tags[PREFER] = prefer
        self.sweep.tags(tags)
        search = {f"search.{each.name}": f"{each.kind.word} {list(each.kind.ends)}" for each in plan.parameters}
        sampler = plan.sweep.sampler
        self.sweep.params({"trials": plan.trials, "sampler.name": sampler.name, "sampler.seed": sampler.seed, **search})
        self.sweep.params({f"recipe.{key}": value for key, value in in_use(plan.recipe).items()})

    def _replay(self) -> None:
        """The writer's thread: a failure of MLflow's, of whatever kind, is waited out."""
        wait = self._interval
        while True:
            last = self._stop.is_set()
            self._unwritten()
            try:
                self.delivery.deliver()
                self._down, wait = "", self._interval
            except Exception as error:  # MLflow raises many kinds, and none of them may end a sweep
                if not self._down and not last:
                    self._on_warning(self._outage(error))
                self._down = _short(error)
                wait = min(_LONGEST_WAIT, max(2.0, 2 * wait))
            if last and (not self._down or time.monotonic() >= self._until):
                return
            self._wake.wait(_WAIT_AT_END if last else wait)
            self._wake.clear()

    def _unwritten(self) -> int:
        """How many records the disk refuses, after another try."""
        unwritten = sum(spool.flush() for spool in list(self._trials.values()))
        if self._refuses and not unwritten:
            self._refuses = self._paused = False
            self._on_warning(f"{self._folder} can be written again, and has all that was kept in memory")
        return unwritten

    def _refused(self, path: Path, reason: str) -> None:
        if not self._refuses:
            self._on_warning(f"{path} cannot be written ({reason}); training goes on, and what it reports is kept in memory")
        self._refuses = True

    def _outage(self, error: Exception) -> str:
        return (
            f"MLflow at {masked(self.plan.tracking_uri)} cannot be written to ({_short(error)}); "
            f"training goes on, and points are kept in {self._folder} until it can"
        )


def _short(error: Exception) -> str:
    line = first_line(error)
    return line if len(line) <= 200 else line[:197] + "..."
