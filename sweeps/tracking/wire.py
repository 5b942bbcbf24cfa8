"""Records as MLflow takes them: its limits, its names, and which of its answers are its last word."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dualsweep.analysis import long_tags
from dualsweep.sweeps.tracking.spool import Record
from dualsweep.trainer import metric_names
from dualsweep.trainer.config.masking import masked_in, masked_json

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric
    from mlflow.exceptions import MlflowException

#: MLflow's limits for one request, and for the length of names and values.
METRICS, TAGS = 1000, 100
KEY, PARAM, TAG, DIGEST = 250, 6000, 8000, 36
#: Characters of params or tags in one request: a server takes a million in all, with names, and text in text has more.
_TEXT = 400_000
#: Answers after which sending the same again is no use.
_REFUSED = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "INVALID_STATE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS")
#: Errors of a database that goes away, which MLflow calls a BAD_REQUEST as well, unless their driver calls them operational.
_PASSING = re.compile(
    r"\((\w+\.)+(InterfaceError|InternalError|DatabaseError|OperationalError)\)"
    r"|QueuePool limit|has been rolled back|Connection is closed|Can't reconnect"
)


def is_refusal(error: MlflowException) -> bool:
    """Whether MLflow will never take what it was sent, rather than not now."""
    return error.error_code in _REFUSED and not (error.error_code == "BAD_REQUEST" and _PASSING.search(str(error)))


def points_of(record: Record) -> dict[str, float]:
    """The metrics of a record by their names in MLflow; what is not finite is counted."""
    nonfinite = record.get("nonfinite")
    metrics = charted(record.get("metrics", {}), final=record.get("final", False))
    return metrics | {"nonfinite": float(len(nonfinite))} if nonfinite else metrics


def charted(metrics: Mapping[str, float], *, final: bool) -> dict[str, float]:
    """A point's metrics as MLflow is to chart them: without budgets, which do not change (`dualsweep.analysis.bounds`), and with
    the run's course first.
    """
    changing = {name: value for name, value in metrics.items() if not name.startswith(metric_names.BUDGET)}
    return changing if final else metric_names.course(changing) | changing


def nonfinite_tag(record: Record) -> dict[str, str]:
    """A tag that names what was not finite in a record."""
    names = record.get("nonfinite")
    return {"dualsweep.nonfinite": ", ".join(f"{name} = {value}" for name, value in names.items())} if names else {}


def dataset_input(described: Mapping[str, Any]) -> DatasetInput:
    """What a run was trained on (`data.json`), as MLflow's pages show it: source, digest, shape and the classes' counts."""
    import numpy as np
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.types.schema import Schema, TensorSpec

    schema = Schema([TensorSpec(np.dtype("float32"), (-1, *described["shape"]))]).to_dict()
    counts = {"num_rows": described["examples"], "classes": described["classes"]}
    described = masked_in(described)
    dataset = Dataset(
        described["name"][:KEY],
        described["digest"][:DIGEST],
        described["source"],
        json.dumps(described["recipe"]),
        json.dumps({"mlflow_tensorspec": {"features": schema, "targets": None}}),
        json.dumps(counts),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])


@lru_cache(4096)
def taken_name(key: str) -> str:
    """A name that MLflow takes: other characters become `_`, and it is a path without empty parts."""
    parts = [part for part in re.sub(r"[^\w.\- :/]", "_", key).split("/") if part not in ("", ".", "..")]
    return posixpath.join(*parts)[:KEY] if parts else "_"


def send_params(client: MlflowClient, run_id: str, params: Mapping[str, str], there: dict[str, str]) -> dict[str, str]:
    """Sends the params that a run does not have, and adds them to `there`, those that it has, as MLflow takes them, with their
    secrets hidden.

    MLflow never changes a param: those with another value now come back as a tag.

    Raises:
        mlflow.exceptions.MlflowException: the store does not answer, or refuses; `there` has what had arrived.
    """
    from mlflow.entities import Param

    wanted = {taken_name(key): value[:PARAM] for key, value in masked_in(dict(params)).items()}
    changed = {key: value for key, value in wanted.items() if there.get(key, value) != value}
    for part in _requests({key: value for key, value in wanted.items() if key not in there}):
        client.log_batch(run_id, params=[Param(key, value) for key, value in part])
        there |= dict(part)
    return {"dualsweep.changed_params": json.dumps(changed)} if changed else {}


def log_values(client: MlflowClient, run_id: str, metrics: list[Metric], tags: Mapping[str, str]) -> None:
    """Logs any number of values of any length, in as many requests as MLflow's limits ask for: tags of JSON are written in parts
    (`dualsweep.analysis.long_tags`), other values that are too long are cut. The secrets of tags are hidden.
    """
    from mlflow.entities import RunTag

    for start in range(0, len(metrics), METRICS):
        client.log_batch(run_id, metrics=metrics[start : start + METRICS])
    shown = {key: masked_json(str(value)) for key, value in tags.items()}
    for pairs in _requests({key: value[:TAG] for key, value in long_tags.in_parts(shown).items()}):
        client.log_batch(run_id, tags=[RunTag(key, value) for key, value in pairs])


def _requests(values: Mapping[str, str]) -> Iterator[list[tuple[str, str]]]:
    """Names and values in lists of what one request holds."""
    request: list[tuple[str, str]] = []
    size = 0
    for pair in values.items():
        length = sum(map(len, map(json.dumps, pair)))
        if request and (len(request) == TAGS or size + length > _TEXT):
            yield request
            request, size = [], 0
        request.append(pair)
        size += length
    if request:
        yield request
