"""What runs in the process of one of Ray Tune's trials: a training, whose workers are its slot's."""

from __future__ import annotations

import time
from typing import Any

from ray import tune

from dualsweep.trainer.errors import TrainingError, TrainingInterrupted
from dualsweep.trainer.ray_shell.job import Job, result_in
from dualsweep.trainer.ray_shell.slots import Slots
from dualsweep.trainer.ray_shell.training_handle import Training
from dualsweep.trainer.result import failed

#: A step without a report ends after so many seconds, so that Tune can end one that is silent.
_SILENCE = 1.0
#: A training that is to be stopped has so many seconds to come to a dual step; other processes would take as long to start.
_STOPPING = 10.0
#: Keys of a report: what the training waits for, and why it was interrupted.
WAITS, INTERRUPTED = "waits", "interrupted"


class TuneTrial(tune.Trainable):
    """One training, which is one of Tune's trials. Its process and its slot's, Ray Train's workers, take one after another.

    A class and not a function, because Tune waits for `cleanup` before it ends the process: so a slot has given back its workers
    and its placement group when this process goes. A step is a report.
    """

    def setup(self, config: dict[str, Any]) -> None:
        self._slots = Slots(config["renewal"])
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes the next training; the one before has ended, or is stopped now."""
        self._training.stop(_STOPPING)
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        self._job: Job = config["job"]
        self._training = Training(self._job, self._slots, config["beside"], moves=True)
        self._reports = self._training.reports(kept=False)

    def step(self) -> dict[str, Any]:
        """The next report, the last one with `done`; an empty one where there is none for a while.

        Raises:
            TrainingPaused: it goes on in another process, as the node of this one is about to go.
        """
        silent_until = time.monotonic() + _SILENCE
        try:
            while (payload := next(self._reports, _OVER)) is None and time.monotonic() < silent_until:
                pass
        except TrainingError as error:
            if result_in(self._job.output) is not None:  # its end was written, and the runner finds it there
                return {"done": True}
            return {"step": 0, "steps": 0, "seconds": 0.0, "points": [], "result": failed(str(error)).to_json(), "done": True}
        except TrainingInterrupted as error:
            return {INTERRUPTED: str(error), "done": True}
        return {"done": True} if payload is _OVER else dict(payload or {WAITS: self._training.waits_for})

    def cleanup(self) -> None:
        self._slots.kill()


_OVER: dict[str, Any] = {}
