"""What Ray Tune is handed: the driver's trainings, each again where its process died, as many at a time as fit."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ray.tune.search import Searcher

from dualsweep.sweeps.trials.runs import Run
from dualsweep.sweeps.trials.waits import Waits
from dualsweep.trainer.errors import TrainingPaused
from dualsweep.trainer.metric_point import Payload
from dualsweep.trainer.ray_shell.job import Job
from dualsweep.trainer.ray_shell.slot import Renewal
from dualsweep.trainer.ray_shell.training_handle import is_loss


class TrialDriver(Protocol):
    """Who decides what runs, and hears how it goes; everything is called in the driver's process, one call at a time."""

    def next(self) -> tuple[Run, Job] | None:
        """The next training, or None when there is none left to start."""

    def to_run(self) -> int:
        """How many trainings have not ended, those among them that have not begun."""

    def started(self, run: Run) -> None: ...

    def reported(self, run: Run, payload: dict[str, Any]) -> bool:
        """Takes a report; whether the training is over, by its own last report or because it is to stop."""

    def kept(self, run: Run, payload: dict[str, Any]) -> Sequence[Payload]:
        """The reports, this one and earlier ones, of which all is where no kill reaches it; `paused` in it: it waits for that."""

    def recovers(self, run: Run, reason: str) -> None:
        """The training's own process died; another one goes on from its checkpoint."""

    def moves(self, run: Run, reason: str) -> None:
        """The training has given up its own process, with nothing lost; another one goes on with it where it fits."""

    def waits(self, run: Run, reason: str) -> None:
        """The training has not gone on for a while."""

    def interrupted(self, run: Run, reason: str) -> None:
        """Processes of the training died, more often than it is started again here; a later command goes on with it."""

    def lost(self, run: Run, reason: str) -> None:
        """The training ended without a result."""


#: How often a training whose own process died goes on from its checkpoint; one more death interrupts it.
MOST_DEATHS = 3


class Unpickled:
    """Tune keeps a copy of what it was given, for a way of continuing that we don't use: an empty one."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Handout(Unpickled, Searcher):
    """Hands out the driver's trainings, and those again, as another of Tune's trials, whose process died or was given up.

    `side_by_side` says how many may be handed out at a time.
    """

    def __init__(self, driver: TrialDriver, renewal: Renewal, side_by_side: Callable[[], int]) -> None:
        super().__init__()
        self.driver, self._renewal, self._side_by_side = driver, renewal, side_by_side
        self._live: set[str] = set()
        self._idle = False
        self._taken_back: dict[str, str] = {}
        self._given: dict[str, tuple[Run, Job]] = {}
        self._again: deque[tuple[Run, Job]] = deque()
        self._ends: dict[str, list[str]] = {}
        self.waits = Waits()

    def suggest(self, trial_id: str) -> Any:  # a configuration, or Tune's word for none now or for the end
        if len(self._live) >= (most := self._side_by_side()):
            return None
        following = self._again.popleft() if self._again else self.driver.next()
        if following is None:
            return None if self._given else Searcher.FINISHED  # of those that run one may be handed out again
        run, job = self._given[trial_id] = following
        self._live.add(trial_id)
        self._idle = False
        self.waits.heard(trial_id, time.monotonic(), "a place for its own process")
        beside = max(1, min(most, self.driver.to_run()))
        return {"name": run.name, "job": job, "renewal": self._renewal, "beside": beside}

    def of(self, trial_id: str) -> Run | None:
        """The training of one of Tune's trials, which has not ended for the driver."""
        return self._given[trial_id][0] if trial_id in self._given else None

    def ended(self, trial_id: str) -> tuple[Run, Job] | None:
        """Takes note that a training has ended; None where that was known."""
        self.waits.over(trial_id)
        return self._given.pop(trial_id, None)

    def died(self, trial_id: str, error: BaseException | None) -> None:
        """A training's own process died or raised an error: it goes on in another, unless the same error came before.

        After so many deaths it is interrupted. One that was taken back, or has saved and left, has died of nothing.
        """
        if (given := self.ended(trial_id)) is None:
            return
        (run, _), reason = given, _told(error)
        if why := self._taken_back.pop(trial_id, "") or _left(error):
            self._again.append(given)
            self.driver.moves(run, why)
            return
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
        """Results are taken when they are reported, and ends without one by a listener; here is room for another."""
        self._live.discard(trial_id)
        self._idle = not error

    def beyond(self, now: float) -> list[str]:
        """Trainings to be taken back: those that wait for places, where more are handed out than may be at a time.

        And one of them where Tune keeps the process of one that has ended for the next: its slot has the places, and goes on with
        the one that is handed out again.
        """
        excess = max(len(self._live) - self._side_by_side(), int(self._idle))
        return self.waits.for_places(now)[:excess] if excess > 0 else []

    def take_back(self, trial_id: str, reason: str) -> None:
        """One whose process is being ended, to be handed out again later."""
        self._taken_back[trial_id] = reason

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study in the output folder is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see `save`."""


def _told(error: BaseException | None) -> str:
    """Of a death the first sentence that Ray says of it; of an error in the process its last line."""
    lines = str(error or "").strip().splitlines() or ["it was lost"]
    if error is None or is_loss(error):
        return next((line for line in lines if "died" in line or "dead" in line), lines[0]).split(". ")[0].rstrip(".")
    return lines[-1]


def _left(error: BaseException | None) -> str:
    """Why a training has saved and left its process; empty where it has not."""
    cause = getattr(error, "cause", None) or error
    return str(cause) if isinstance(cause, TrainingPaused) else ""
