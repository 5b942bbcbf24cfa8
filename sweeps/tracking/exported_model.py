"""Samples of an exported model from MLflow: `mlflow.pyfunc.load_model(uri).predict(table, params)`, or `mlflow models serve`.

MLflow carries this file with the model and imports it by name; it needs MLflow, torch and diffusers alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from diffusers import DiffusionPipeline

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.exceptions import MlflowException
    from numpy.typing import NDArray

#: What a row of a table may say, or the params for all rows that don't: MLflow's type of it, and what stands for it otherwise,
#: where None is the model's own.
ASKED: Mapping[str, tuple[str, Any]] = {
    "num_samples": ("long", 1),
    "seed": ("long", 0),
    "prompt": ("string", None),
    "label": ("string", None),
    "guidance": ("double", None),
}
#: Samples that are made together at most, of a folder from before these said how many.
_AT_ONCE = 250
#: The pipeline's own words for what a request says.
_WORDS = {"`class_labels`": "`label`", "`guidance_scale`": "`guidance`"}


class ExportedModel:
    """The pipeline of a folder, asked row by row."""

    def __init__(self, pipeline: Any) -> None:
        pipeline.set_progress_bar_config(disable=True)
        self._pipeline = pipeline
        self._at_once = int(pipeline.scheduler.config["_exported"].get("at_once", _AT_ONCE))

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> NDArray[np.float32]:
        """Return samples [sum of num_samples, channels, height, width] in [-1, 1], as the model was evaluated.

        Each row of `model_input` is `num_samples` samples, from `seed`, of a `prompt` or of the class `label`, under `guidance`;
        what a row leaves out is that of `params`, or the model's own.

        Raises:
            MlflowException: of what a server answers with 400: nothing that is known here, fewer than one sample, or a prompt, a
                label or guidance that the model does not know.
        """
        asked = rows_of(model_input, params, ASKED)
        try:
            # Before any sample is made.
            turns = [self._pipeline.turns(each.get("prompt"), each.get("label")) for each in asked]
            return np.concatenate([self._samples(row, turn) for row, turn in zip(asked, turns, strict=True)])
        except ValueError as error:
            said = str(error)
            for own, word in _WORDS.items():
                said = said.replace(own, word)
            raise refused(said) from None

    def _samples(self, asked: Mapping[str, Any], turn: int) -> NDArray[np.float32]:
        """The samples of a row, in parts of whole turns where these are not longer; prompts and classes come equally often."""
        count = whole(asked, "num_samples", 1, ASKED)
        at_once = self._at_once // turn * turn or self._at_once
        generator = torch.Generator().manual_seed(whole(asked, "seed", 0, ASKED))
        parts = [
            self._pipeline(
                min(at_once, count - start), prompt=asked.get("prompt"), class_labels=asked.get("label"),
                guidance_scale=asked.get("guidance"), generator=generator, output_type="pt", first=start,
            ).images
            for start in range(0, count, at_once)
        ]  # fmt: skip
        return np.asarray(2 * torch.cat(parts).numpy() - 1, np.float32)


def rows_of(
    model_input: pd.DataFrame, params: Mapping[str, Any] | None, known: Mapping[str, tuple[str, Any]]
) -> list[dict[str, Any]]:  # fmt: skip
    """What each row of a request asks, of the names that are known; what it leaves out is that of `params`.

    Raises:
        MlflowException: neither rows nor params say anything, as where all names are mistaken.
    """
    rows = [_said(row, known) for row in model_input.to_dict("records")] or [{}]  # MLflow drops a row of no known columns
    given = _said(params or {}, known)
    if not any(rows) and all(value == known[name][1] for name, value in given.items()):
        raise refused(
            f"a request must say one of {', '.join(known)}, but got the columns {list(model_input.columns)} "
            'once MLflow has left out what it does not know; write {"dataframe_records": [{"num_samples": 4}]}'
        )
    return [{**given, **row} for row in rows]


def _said(given: Mapping[Any, Any], known: Mapping[str, tuple[str, Any]]) -> dict[str, Any]:
    """What is there of it; a table has NaN where a row leaves a number out."""
    return {name: value for name in known if (value := given.get(name)) is not None and value == value}


def whole(asked: Mapping[str, Any], name: str, least: int, known: Mapping[str, tuple[str, Any]]) -> int:
    """A whole number of a row, or what stands for it. Raises `ValueError` where it is none from `least` on."""
    value = asked.get(name, known[name][1])
    if not (least <= value < 2**63 and value == int(value)):
        raise ValueError(f"`{name}` must be a whole number from {least} on, but got {value}; write {known[name][1] or least}")
    return int(value)


def refused(said: str) -> MlflowException:
    """What a server answers with 400 and these words."""
    from mlflow.exceptions import MlflowException  # there wherever a pyfunc model is loaded

    refusal: MlflowException = MlflowException.invalid_parameter_value(said)
    return refusal


def _load_pyfunc(data_path: str) -> ExportedModel:
    """What MLflow calls with the folder of the pipeline."""
    return ExportedModel(DiffusionPipeline.from_pretrained(data_path, custom_pipeline=data_path, trust_remote_code=True))
