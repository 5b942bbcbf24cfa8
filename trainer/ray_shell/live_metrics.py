"""What Ray's own metrics (its dashboard, Prometheus, Grafana) show of the trainings that run, as gauges of each process.

A gauge can't be taken back while its process lives, and a slot's takes one training after another: at a training's end its
gauges are 0.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from ray.util.metrics import Gauge

#: By the last part of the name, what it is of a training: `dualsweep_step_seconds` and so on.
DESCRIPTIONS: Mapping[str, str] = {
    "step": "primal steps done",
    "step_seconds": "seconds of a primal step, over the steps since the last report",
    "staleness_dual_steps": "dual steps by which the multipliers of the last primal step lag behind the newest",
    "coordinator_wait_seconds": "seconds that the last dual step waited for the coordinator's answer",
    "coordinator_queue": "slack reports that wait in the coordinator for those of other workers, and reports not yet fetched",
    "read_ahead_examples": "examples that lie ready for the steps to come",
}
_TAGS = ("run", "trial", "rank")


class LiveMetrics:
    """The gauges of one training in one process; `output` is where the training writes, `rank` the worker's, or "coordinator"."""

    def __init__(self, output: str, rank: str) -> None:
        self._tags = {**tags(output), "rank": rank}
        self._gauges: dict[str, Gauge] = {}

    def show(self, values: Mapping[str, float]) -> None:
        """Sets gauges by the names of `DESCRIPTIONS`."""
        for name, value in values.items():
            if name not in self._gauges:
                self._gauges[name] = Gauge(f"dualsweep_{name}", DESCRIPTIONS[name], _TAGS)
            self._gauges[name].set(value, self._tags)

    def end(self) -> None:
        """The training is over in this process."""
        self.show(dict.fromkeys(self._gauges, 0.0))


def tags(output: str) -> dict[str, str]:
    """Which training it is, from where it writes: of `…/digits/trials/0003` the run is `digits`, the trial `0003`."""
    run, trials, trial = output.rstrip("/").rpartition("/trials/")
    named = {"run": posixpath.basename(run if trials else trial), "trial": trial if trials else ""}
    # Ray takes ASCII alone, and a gauge that it refuses would end the training.
    return {key: value.encode("ascii", "backslashreplace").decode() for key, value in named.items()}
