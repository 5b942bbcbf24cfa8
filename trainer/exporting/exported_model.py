"""Samples of an exported model from MLflow: `mlflow.pyfunc.load_model(uri).predict(table)`.

MLflow carries this file with the model and imports it by name; it needs MLflow, torch and diffusers alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from diffusers import DiffusionPipeline

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

#: Samples that are made together.
_AT_ONCE = 250


class ExportedModel:
    """The pipeline of a folder, asked row by row."""

    def __init__(self, pipeline: Any) -> None:
        pipeline.set_progress_bar_config(disable=True)
        self._pipeline = pipeline

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> NDArray[np.float32]:
        """Return samples [sum of counts, channels, height, width] in [-1, 1], as the model was evaluated.

        Each row of `model_input` is `count` samples, from `seed` (0), of `prompt` (the model's own).

        Raises:
            ValueError: a count below 1, or a prompt for a model of none.
        """
        parts = []
        for row in model_input.to_dict("records"):
            given = {name: value for name, value in row.items() if value is not None and value == value}  # none is NaN
            count = int(given.get("count", 0))
            if count < 1:
                raise ValueError(f"a row must have a count of at least 1, but got {row}")
            generator = torch.Generator().manual_seed(int(given.get("seed", 0)))
            for start in range(0, count, _AT_ONCE):
                size = min(_AT_ONCE, count - start)
                made = self._pipeline(size, prompt=given.get("prompt"), generator=generator, output_type="pt").images
                parts.append(2 * made.numpy() - 1)
        return np.concatenate(parts)


def _load_pyfunc(data_path: str) -> ExportedModel:
    """What MLflow calls with the folder of the pipeline."""
    return ExportedModel(DiffusionPipeline.from_pretrained(data_path, custom_pipeline=data_path, trust_remote_code=True))
