"""What a sweep does next, decided from records alone: which training runs, when a trial is over, what stops it, where it starts.

No file, study, MLflow or Ray: `sweeps/runner.py` reads and writes. It writes a point or an end down before it is taken here, so
what is decided depends on what is on the disk, and after a kill the same is decided again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from dualsweep.sweeps.continuation import Continuing
from dualsweep.sweeps.early_stopping.early_stopper import EarlyStopper, Point, Stop, stopped
from dualsweep.sweeps.early_stopping.watched import Watched
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.records.trial_record import TrialRecord, trial_name
from dualsweep.sweeps.records.trial_start import ProposedTrial, TrialStart
from dualsweep.sweeps.trials.runs import Ended, OpenTrial, Run, Seed
from dualsweep.trainer.result import Result


@dataclass(frozen=True)
class Reported:
    """What a training has reported, without a final evaluation: its points in order, and the seconds from first to last."""

    points: Sequence[Point] = ()
    seconds: float = 0.0


_NOTHING = Reported()


@dataclass(frozen=True)
class Halt:
    """A decision to stop a trial: at which of its trainings, why, and after how many seconds of that one."""

    run: Run
    stop: Stop
    seconds: float


class Conductor:
    """Decides the course of one sweep. A trial is one training, or one for each seed, and open until all of them have ended."""

    def __init__(self, plan: Plan, unfinished: Iterable[ProposedTrial] = ()) -> None:
        """`unfinished` are trials that an earlier command left: they come before new ones, in their order."""
        rules = plan.early_stopping
        self._plan = plan
        self._continuing = Continuing(plan) if plan.sweep.continuation is not None else None
        self._stopper = EarlyStopper(rules, plan.objectives, plan.required) if rules is not None else None
        self._unfinished = deque(unfinished)
        self._open: dict[int, OpenTrial] = {}
        self._waiting: deque[Run] = deque()

    @property
    def stops_early(self) -> bool:
        """Whether a trial may be stopped: only then are reported points asked for."""
        return self._stopper is not None

    @property
    def to_end(self) -> int:
        """How many trainings have not ended, of the trials that were asked for."""
        return sum(len(trial.waiting) for trial in self._open.values()) + len(self._unfinished) * len(self._plan.seeds)

    def next(self) -> Run | ProposedTrial | None:
        """A training to start; or, where no open trial has one, an unfinished trial to take up; None to ask for a new one."""
        if self._waiting:
            return self._waiting.popleft()
        return self._unfinished.popleft() if self._unfinished else None

    def wants_start(self, asked: ProposedTrial) -> bool:
        """Whether it is still to be decided where a trial starts."""
        return self._continuing is not None and asked.start is None

    def start(self, asked: ProposedTrial, ended: Iterable[TrialRecord], is_there: Callable[[str], bool]) -> TrialStart:
        """Where a trial starts, of those that have ended, whose checkpoint `is_there`.

        Raises:
            InputError: the trial's values make no valid recipe.
        """
        return TrialStart() if self._continuing is None else self._continuing.start(asked.params, ended, is_there)

    def recall(self, record: TrialRecord, reported: Mapping[Seed, Reported]) -> None:
        """A trial that was over when the sweep began, with what its trainings reported: others are compared with it."""
        if self._stopper is not None:
            self._recall(OpenTrial.of(self._plan, record), reported, self._stopper)

    def take_up(
        self, asked: ProposedTrial, ended: Mapping[Seed, Result], reported: Mapping[Seed, Reported]
    ) -> tuple[OpenTrial, Halt | None]:
        """Takes up a trial; its trainings that have not ended wait for their turn, unless it is to stop at once.

        `ended` is how its trainings ended that have, `reported` what each has reported, by seed.

        Raises:
            InputError: the trial's values make no valid recipe.
        """
        trial = OpenTrial(self._plan, asked, ended)
        self._open[trial.number] = trial
        halt = None if self._stopper is None else self._resumed(trial, reported, self._stopper)
        if halt is None:
            self._waiting += trial.waiting
            self._forget_if_over(trial)
        return trial, halt

    def is_running(self, run: Run) -> bool:
        """Whether a training has not ended: not by itself, and not because its trial was stopped."""
        trial = self._open.get(run.number)
        return trial is not None and run in trial.waiting

    def take(self, run: Run, step: int, metrics: Mapping[str, float]) -> Stop | None:
        """Takes a point of a running training: whether its trial stops there."""
        return self._stopper.take(run.name, step, metrics) if self._stopper is not None else None

    def end(self, run: Run, result: Result) -> OpenTrial:
        """Takes the end of a training; returns its trial, which has a record where it is now over."""
        trial = self._open[run.number]
        self._end(trial, run, result)
        self._forget_if_over(trial)
        return trial

    def stop(self, halt: Halt, last: Mapping[Seed, Point]) -> tuple[OpenTrial, list[Ended]]:
        """Stops a training, and with it all others of its trial: its figures would be means without one that counts.

        `last` has the last point that each reported, by seed, where it has one. Returns the trial and what ends now, in order.
        """
        run, because = halt.run, f"training {halt.run.name} of this trial was stopped: {halt.stop.reason}"
        trial = self._open[run.number]
        self._waiting = deque(each for each in self._waiting if each.number != run.number)
        ended = []
        for training in sorted(trial.waiting, key=lambda waiting: waiting != run):  # this one first, the others by their seeds
            stop, seconds = (halt.stop, halt.seconds) if training == run else (Stop(halt.stop.rule, because), 0.0)
            ended.append((training, stopped(last.get(training.seed), stop, training.recipe, seconds)))
        for training, result in ended:
            self._end(trial, training, result)
        self._forget_if_over(trial)
        return trial, ended

    def _end(self, trial: OpenTrial, run: Run, result: Result) -> None:
        trial.end(run, result)
        if self._stopper is not None:
            self._stopper.end(run.name, result)

    def _forget_if_over(self, trial: OpenTrial) -> None:
        if not trial.waiting:
            del self._open[trial.number]

    def _recall(self, trial: OpenTrial, reported: Mapping[Seed, Reported], stopper: EarlyStopper) -> None:
        for run, result in trial.ended:
            stopper.recall(self._watched(run), reported.get(run.seed, _NOTHING).points, result)

    def _resumed(self, trial: OpenTrial, reported: Mapping[Seed, Reported], stopper: EarlyStopper) -> Halt | None:
        """What was decided of a trial before a kill, on its ends or its points, is decided again."""
        self._recall(trial, reported, stopper)
        halts = [
            Halt(run, Stop(str(result.stopped_by), result.reason), result.seconds)
            for run, result in trial.ended
            if result.status == "stopped"
        ]
        for run in trial.waiting:
            stop = stopper.begin(self._watched(run), reported.get(run.seed, _NOTHING).points)
            if stop is not None:
                halts.append(Halt(run, stop, reported.get(run.seed, _NOTHING).seconds))
        return halts[0] if halts else None

    def _watched(self, run: Run) -> Watched:
        return Watched.of(run.name, run.recipe, trial_name(run.number), stands=run.seed == self._plan.seeds[0])
