"""Looks at a training while it goes on: samples from the same noise each time, and the objective by bands of timesteps.

Both are of the averaged weights and draw nothing that the training draws, so that its numbers are the same bits with and without.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from dualsweep.trainer import metric_names
from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.engine.assembly import Prepared
from dualsweep.trainer.engine.sampled import sampled
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.evaluation.grid import sample_grid
from dualsweep.trainer.recipe.monitor import Monitor
from dualsweep.trainer.sources.mixture import MixtureSource

#: Keeps a picture of a step.
Keep = Callable[[int, bytes], None]
_log = logging.getLogger(__name__)


class Looks:
    """The looks that a recipe's `monitor` asks for."""

    def __init__(self, run: Prepared, spec: Monitor, keep: Keep) -> None:
        """`keep` is called on rank 0 alone; where it fails, the training goes on without the picture.

        Raises:
            TrainingError: there are to be pictures of what are no images.
        """
        self._run, self._spec, self._keep = run, spec, keep
        self._data = next((each for each in run.sources if isinstance(each, MixtureSource) and 0 in each.columns), None)
        shape = run.space.decoded(run.shape)
        if spec.samples and len(shape) != 3:
            raise TrainingError(
                f"monitor.samples must go with images [C, H, W], but got samples of shape {list(shape)}; write samples: 0"
            )

    def due(self, step: int) -> bool:
        """Whether there is one after so many steps."""
        return step % self._spec.every == 0

    def look(self, step: int, coefficients: Vector) -> dict[str, float]:
        """The metrics of a look after `step` steps; waits for the device. Every worker calls it."""
        started = time.monotonic()
        metrics: dict[str, float] = {}
        with self._run.primal.averaged(coefficients) as model:
            if self._spec.bands and self._data is not None:
                metrics |= self._by_bands(self._data)
            if self._spec.samples:
                samples = sampled(self._run, model, self._spec.samples)
                if samples is not None:
                    self._show(step, sample_grid(samples))
        return metrics | {metric_names.LOOK_SECONDS: time.monotonic() - started}

    def _by_bands(self, data: MixtureSource) -> dict[str, float]:
        spec = self._spec
        sums = data.held_out_by_band(spec.bands, spec.draws)
        if sums is None:
            return {}
        values = (self._run.host.total(sums) * (spec.bands / spec.draws)).tolist()
        by_band = {metric_names.validation(f"band_{number}"): value for number, value in enumerate(values, start=1)}
        return {metric_names.validation("objective"): sum(values) / len(values)} | by_band

    def _show(self, step: int, picture: bytes) -> None:
        try:
            self._keep(step, picture)
        except OSError as error:
            _log.warning("the samples after step %d are not kept: %s", step, error)


def looks_of(run: Prepared, keep: Keep) -> Looks | None:
    """The looks at a run; None where its recipe asks for none."""
    return None if run.recipe.monitor is None else Looks(run, run.recipe.monitor, keep)
