"""A checkpoint as a model of MLflow's `pyfunc` flavour, with the code that it needs: what `mlflow models serve` takes."""

from __future__ import annotations

import importlib.metadata
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dualsweep.sweeps.tracking import sampling_model
from dualsweep.sweeps.tracking.carried_code import REQUIRED, copy_of_ours, module_of
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.trust import is_own

#: The folder in a model's `data` that is a pipeline of diffusers.
PIPELINE = "pipeline"


def save(folder: Path, checkpoint: Path) -> None:
    """Write a checkpoint as a model of MLflow's `pyfunc` flavour into a new folder.

    It carries all that it needs, as an exported pipeline; of a model that cannot be exported it is the checkpoint with the code
    that samples it, and its metadata say what is needed beside.
    """
    from dualsweep.trainer.exporting.own_code import own_code

    path = own_code(str(checkpoint))
    if path is not None:
        module = module_of(path) if is_own(str(checkpoint)) else None
        needs = f"{path} to be imported" if module is None else f"what {module.name} imports"
        _save_checkpoint(folder, checkpoint, needs, module)
        return
    from dualsweep.trainer.engine.sample_command import restore
    from dualsweep.trainer.exporting.folder import write_pipeline

    with tempfile.TemporaryDirectory() as beside:
        pipeline = Path(beside) / PIPELINE
        pipeline.mkdir()
        try:
            restored = restore(str(checkpoint))
            write_pipeline(restored, pipeline)
        except TrainingError as error:
            _save_checkpoint(folder, checkpoint, f"what could not be carried: {error}", None)
            return
        shape = restored.space.decoded(restored.shape)
        _save_pipeline(folder, pipeline, shape, restored.predictor.reads_text)


def _save_pipeline(folder: Path, pipeline: Path, shape: tuple[int, ...], of_text: bool) -> None:
    from dualsweep.sweeps.tracking import exported_model

    packages = ["torch", "diffusers", "numpy", *(["transformers"] if of_text else [])]
    loader, code = exported_model.__name__.rpartition(".")[2], [str(exported_model.__file__)]
    _save(folder, pipeline, loader, code, "nothing", packages, exported_model.ASKED, shape)


def _save_checkpoint(folder: Path, checkpoint: Path, needs: str, module: Path | None) -> None:
    """With our own code and the user's module, as far as it is known where that lies."""
    with tempfile.TemporaryDirectory() as beside:
        code = [str(copy_of_ours(Path(beside))), *([] if module is None else [str(module)])]
        _save(folder, checkpoint, sampling_model.__name__, code, needs, REQUIRED, sampling_model.ASKED, None)


def _save(
    folder: Path, data: Path, loader: str, code: list[str], needs: str, packages: Sequence[str],
    asked: Mapping[str, tuple[str, Any]], shape: tuple[int, ...] | None,
) -> None:  # fmt: skip
    """Into a new folder; `shape` is that of a sample where it is known."""
    import mlflow.pyfunc
    import numpy as np
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec

    columns: list[ColSpec | TensorSpec] = [ColSpec(kind, name, required=False) for name, (kind, _) in asked.items()]
    params = ParamSchema([ParamSpec(name, kind, otherwise) for name, (kind, otherwise) in asked.items()])
    outputs = None if shape is None else Schema([TensorSpec(np.dtype(np.float32), (-1, *shape))])
    mlflow.pyfunc.save_model(
        path=str(folder), loader_module=loader, data_path=str(data), code_paths=code, metadata={"dualsweep.needs": needs},
        signature=ModelSignature(inputs=Schema(columns), outputs=outputs, params=params),
        input_example=(pd.DataFrame({"num_samples": [4], "seed": [0]}), {"seed": 0}),
        # Named here, since MLflow would start a process and load the model to guess them; without the build's own part, which
        # no index has.
        pip_requirements=[f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in packages],
    )  # fmt: skip
