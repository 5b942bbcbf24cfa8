"""A trained model in MLflow's `pyfunc` flavour: `mlflow.pyfunc.load_model(uri).predict(table)` draws samples.

MLflow imports this module by name (its `loader_module`), so nothing is pickled, and the package must be installed. Torch comes
with the first load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from dualsweep.trainer.engine.sample_command import Restored


class SamplingModel:
    """Samples from the averaged weights of a checkpoint."""

    def __init__(self, restored: Restored) -> None:
        self._restored = restored

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> NDArray[np.float32]:
        """Return samples [sum of counts, *shape], for images […, channels, height, width].

        Each row of `model_input` is a batch: `count` samples, from `seed` (0) in `steps` of the sampler (the recipe's).

        Raises:
            ValueError: a count or a number of steps below 1, or more steps than the schedule has.
        """
        from dualsweep.trainer.engine.sample_command import draw

        batches = []
        for row in model_input.to_dict("records"):
            count, seed, steps = _whole(row, "count"), _whole(row, "seed", 0), _whole(row, "steps", None)
            if count is None or count < 1 or (steps is not None and steps < 1):
                raise ValueError(f"a row must have a count of at least 1, and steps of at least 1 or none, but got {row}")
            batches.append(draw(self._restored, count, seed=seed or 0, steps=steps).numpy())
        return np.concatenate(batches)


def _whole(row: dict[Any, Any], name: str, otherwise: int | None = None) -> int | None:
    value = row.get(name)
    return otherwise if value is None or value != value else int(value)


def _load_pyfunc(data_path: str) -> SamplingModel:
    """What MLflow calls with the folder of the checkpoint."""
    from dualsweep.trainer.engine.sample_command import restore

    return SamplingModel(restore(data_path))
