"""A trained model in MLflow's `pyfunc` flavour: `mlflow.pyfunc.load_model(uri).predict(table)` draws samples.

MLflow imports this module by name (its `loader_module`), so nothing is pickled: from the package where it is installed, else from
the copy that the model carries. Torch comes with the first load.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from dualsweep.trainer.engine.sample_command import Restored

#: As in `exported_model.py`; `steps` of the sampler are the recipe's unless given.
ASKED: Mapping[str, tuple[str, Any]] = {
    "num_samples": ("long", 1),
    "seed": ("long", 0),
    "steps": ("long", None),
    "label": ("string", None),
}


class SamplingModel:
    """Samples from the averaged weights of a checkpoint."""

    def __init__(self, restored: Restored) -> None:
        self._restored = restored

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> NDArray[np.float32]:
        """Return samples [sum of num_samples, *shape], for images […, channels, height, width].

        Each row of `model_input` is a batch: `num_samples` samples, from `seed`, in `steps` of the sampler, of the class `label`;
        what a row leaves out is that of `params`. Models that 0.1 logged say `count` for `num_samples`.

        Raises:
            MlflowException: of what a server answers with 400: nothing that is known here, a number of samples or of steps below
                1, more steps than the schedule has, a class that the model does not know.
        """
        from dualsweep.sweeps.tracking.exported_model import refused, rows_of, whole
        from dualsweep.trainer.config.diagnostics import InputError
        from dualsweep.trainer.engine.sample_command import draw

        batches = []
        for row in rows_of(model_input.rename(columns={"count": "num_samples"}), params, ASKED):
            try:
                count, seed = whole(row, "num_samples", 1, ASKED), whole(row, "seed", 0, ASKED)
                steps = whole(row, "steps", 1, ASKED) if "steps" in row else None
                batches.append(draw(self._restored, count, seed=seed, steps=steps, label=row.get("label")).numpy())
            except InputError as error:
                raise refused(f"`label` {error.diagnostics[0].sentence}") from None
            except ValueError as error:
                raise refused(str(error)) from None
        return np.concatenate(batches)


def _load_pyfunc(data_path: str) -> SamplingModel:
    """What MLflow calls with the folder of the checkpoint.

    Where this file itself is the model's, whoever loads the model runs its code: then the user's module beside it may run too.
    """
    from dualsweep.trainer.engine.sample_command import restore
    from dualsweep.trainer.exporting.own_code import own_code
    from dualsweep.trainer.trust import trust_all, trusts_all

    code = Path(__file__).resolve().parents[3]
    path, before = own_code(data_path), trusts_all()
    if path is not None and code == Path(data_path).resolve().parents[1] / "code":
        module = path.partition(":")[0].partition(".")[0]
        trust_all(before or (code / module).is_dir() or (code / f"{module}.py").is_file())
    try:
        return SamplingModel(restore(data_path))
    finally:
        trust_all(before)
