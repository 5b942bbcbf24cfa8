"""Records as MLflow takes them: its limits, its names, and which of its answers are its last word."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

from dualsweep.analysis import long_tags
from dualsweep.sweeps.tracking.spool import Record
from dualsweep.trainer import metric_names
from dualsweep.trainer.config.masking import masked_in, masked_json

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric, Run
    from mlflow.exceptions import MlflowException

#: MLflow's limits for one request, and for the length of names and values.
METRICS, TAGS = 1000, 100
KEY, PARAM, TAG, DIGEST = 250, 6000, 8000, 36
#: Characters of params or tags in one request: a server takes a million in all, with names, and text in text has more.
_TEXT = 400_000
_CHANGED = "dualsweep.changed_params"
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


@dataclass
class KnownParams:
    """The params that a run has in MLflow, which never changes one, and the values of those that have another one now; None where
    its tag has never been written.
    """

    there: dict[str, str]
    changed: dict[str, str] | None

    @classmethod
    def of(cls, run: Run) -> Self:
        """Those of a run as MLflow has it."""
        tag, changed = long_tags.joined(run.data.tags).get(_CHANGED), None
        if tag is not None:
            try:
                changed = {str(key): str(value) for key, value in json.loads(tag).items()}
            except (ValueError, AttributeError):  # a person's
                changed = {}
        return cls(dict(run.data.params), changed)


def send_params(client: MlflowClient, run_id: str, params: Mapping[str, str], known: KnownParams) -> dict[str, str]:
    """Sends the params that a run does not have, and adds them to those that are `known` of it, as MLflow takes them, with
    their secrets hidden.

    Those with another value now come back as a tag, once there are any also where there are none any more.

    Raises:
        mlflow.exceptions.MlflowException: the store does not answer, or refuses; `known` has what had arrived.
    """
    from mlflow.entities import Param

    wanted = {taken_name(key): value[:PARAM] for key, value in masked_in(dict(params)).items()}
    for part in _requests({key: value for key, value in wanted.items() if key not in known.there}):
        client.log_batch(run_id, params=[Param(key, value) for key, value in part])
        known.there |= dict(part)
    others = {key: value for key, value in (known.changed or {}).items() if key not in wanted}
    changed = others | {key: value for key, value in wanted.items() if known.there[key] != value}
    if known.changed is None and not changed:
        return {}
    known.changed = changed
    return {_CHANGED: json.dumps(changed)}


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
