"""Reading a sweep from MLflow: which sweep is meant, and its trials with their last values.

A sweep is a parent run tagged `dualsweep.kind` = `sweep` in the experiment of the sweep's name; its trials
are the runs whose tag `mlflow.parentRunId` names it. Nothing here writes.
"""

from __future__ import annotations

import contextlib
import gc
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from dualsweep.analysis.bounds import bounds_in
from dualsweep.analysis.budgets import read_budgets
from dualsweep.analysis.errors import ReviewError, nearest
from dualsweep.analysis.judging import constraint_outcomes, judge, split_intervals
from dualsweep.analysis.long_tags import joined
from dualsweep.analysis.preference import PREFER, read_preference
from dualsweep.analysis.requirements import TAG, read_required, required_of
from dualsweep.analysis.store import open_client
from dualsweep.analysis.trials import MARKS, Budget, Direction, SweepRecord, Trial
from dualsweep.trainer import metric_names
from dualsweep.trainer.config.masking import masked

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

_PAGE = 1000
_RUN_ID_LENGTH = 32
#: MLflow's SQL stores keep an infinite metric as the largest double of its sign.
_INFINITE = sys.float_info.max
#: Metrics that the review itself has written, and those that stand there twice.
_NOT_MEASURED = (metric_names.MARKS, metric_names.COURSE)
_STATUS_OF_RUN = {"RUNNING": "running", "SCHEDULED": "running", "FAILED": "failed", "KILLED": "interrupted"}


def read_sweep(tracking_uri: str, sweep: str) -> SweepRecord:
    """Read one sweep and all its trials.

    `sweep` is the sweep's name (its experiment's), an experiment id, or a parent run's id; the first two
    mean the newest sweep of the experiment.

    Raises:
        ReviewError: no store, experiment or sweep of that name, or its tags are not a sweep's.
    """
    from dualsweep.analysis.amortised import read_amortised  # loads numpy, which importing this file must not
    from dualsweep.analysis.bands import with_draws

    client = open_client(tracking_uri)
    experiment, parent = _find_parent(client, tracking_uri, sweep)
    tags = joined(parent.data.tags)
    objectives = _objectives(tags, parent.info.run_id)
    budgets = read_budgets(tags.get("dualsweep.budgets", "[]"), parent.info.run_id)
    found, amortised = _children(client, experiment.experiment_id, parent.info.run_id, budgets)
    trials = judge(found, list(objectives))
    decide = read_required(tags[TAG], parent.info.run_id) if TAG in tags else required_of(trials, budgets, objectives)
    record = SweepRecord(
        experiment_id=experiment.experiment_id,
        experiment_name=experiment.name,
        parent_run_id=parent.info.run_id,
        objectives=objectives,
        reference_point=_reference_point(tags, parent.info.run_id, len(objectives)),
        trials=trials,
        sampler=parent.data.params.get("sampler.name", ""),
        sampler_seed=parent.data.params.get("sampler.seed", ""),
        budgets=budgets,
        required=decide,
        maximizes=_maximizes(parent, objectives),
        prefer=read_preference(tags.get(PREFER), parent.info.run_id),
        amortised=read_amortised(client, amortised),
    )
    return with_draws(record, tracking_uri)


def _find_parent(client: MlflowClient, tracking_uri: str, sweep: str) -> tuple[Experiment, Run]:
    run = _run_or_none(client, sweep)
    if run is not None:
        kind = run.data.tags.get("dualsweep.kind")
        if kind != "sweep":
            parent = run.data.tags.get("mlflow.parentRunId")
            remedy = f"Its sweep is {parent!r}." if parent else "Give the sweep's name instead."
            raise ReviewError(f"A run must be tagged dualsweep.kind=sweep, but {sweep!r} has {kind!r}. {remedy}")
        experiment = client.get_experiment(run.info.experiment_id)
        if "deleted" in (run.info.lifecycle_stage, experiment.lifecycle_stage):
            whole = experiment.lifecycle_stage == "deleted"
            way = f"experiments restore --experiment-id {experiment.experiment_id}" if whole else f"runs restore --run-id {sweep}"
            raise ReviewError(
                f"A sweep's run must be there to be reviewed, but {sweep!r} of {experiment.name!r} was deleted in MLflow and "
                f"can be restored there (`mlflow {way}`). Restore it, or name another sweep."
            )
        return experiment, run
    experiment = _find_experiment(client, tracking_uri, sweep)
    parents = _parents(client, experiment.experiment_id)
    if not parents:
        raise ReviewError(
            f"An experiment must hold a run tagged dualsweep.kind=sweep, but {experiment.name!r} has none. "
            "Run the sweep first, or give the name of another experiment."
        )
    return experiment, parents[0]


def _run_or_none(client: MlflowClient, run_id: str) -> Run | None:
    from mlflow.exceptions import MlflowException

    if len(run_id) != _RUN_ID_LENGTH or not all(char in "0123456789abcdef" for char in run_id):
        return None
    try:
        return client.get_run(run_id)
    except MlflowException:
        return None


def _find_experiment(client: MlflowClient, tracking_uri: str, name: str) -> Experiment:
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None and name.isdigit():
        try:
            experiment = client.get_experiment(name)
        except MlflowException:
            experiment = None
    if experiment is not None and experiment.lifecycle_stage == "active":
        return experiment
    deleted = " It was deleted in MLflow and can be restored there." if experiment is not None else ""
    known = [other.name for other in client.search_experiments(max_results=_PAGE)]
    raise ReviewError(
        f"The sweep must be the name or id of an experiment in {masked(tracking_uri)!r}, or the id of a sweep's run, "
        f"but got {name!r}.{deleted} {nearest(name, known)}"
    )


def _parents(client: MlflowClient, experiment_id: str) -> list[Run]:
    return list(_search(client, experiment_id, "tags.`dualsweep.kind` = 'sweep'", ["attributes.start_time DESC"]))


def _children(
    client: MlflowClient, experiment_id: str, parent_run_id: str, budgets: Sequence[Budget]
) -> tuple[list[Trial], list[Run]]:
    """The sweep's trials by id, and its amortised trainings by their start.

    Of each trial the newest run counts, since a continued sweep may start a broken-off trial anew. Runs become trials one by one:
    MLflow's records of ten thousand take a gigabyte.
    """
    # The order makes pages stable: MLflow pages by offset.
    order = ["attributes.start_time ASC", "attributes.run_id ASC"]
    newest: dict[str, Trial] = {}
    amortised = []
    for run in _search(client, experiment_id, f"tags.`mlflow.parentRunId` = '{parent_run_id}'", order):
        kind = run.data.tags.get("dualsweep.kind")
        if kind == "trial":
            trial = _trial(run, budgets)
            newest[trial.trial_id] = trial
        elif kind == "amortised":
            amortised.append(run)
    return [newest[trial_id] for trial_id in sorted(newest)], amortised


def _search(client: MlflowClient, experiment_id: str, query: str, order: list[str]) -> Iterator[Run]:
    token: str | None = None
    while True:
        with _without_collecting():
            page = client.search_runs([experiment_id], query, max_results=_PAGE, order_by=order, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


@contextlib.contextmanager
def _without_collecting() -> Iterator[None]:
    """Without Python's search for cycles, which takes half of the time while a page's hundreds of thousands of rows are made."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _trial(run: Run, budgets: Sequence[Budget]) -> Trial:
    tags, info = joined(run.data.tags), run.info
    logged = {name: _finite_or_inf(value) for name, value in run.data.metrics.items() if not name.startswith(_NOT_MEASURED)}
    logged |= bounds_in(tags, info.run_id)
    metrics, intervals = split_intervals(logged)
    ended = info.end_time is not None and info.start_time is not None
    # `metrics` has values only; the steps they were logged at are in the run's wire form.
    own = (metric for metric in run.data.to_proto().metrics if not metric.key.startswith(metric_names.MARKS))
    steps = max((int(metric.step) for metric in own), default=None)
    return Trial(
        trial_id=tags.get("dualsweep.trial", info.run_id),
        run_id=info.run_id,
        status=tags.get("dualsweep.status") or _STATUS_OF_RUN.get(info.status, "unknown"),
        reason=tags.get("dualsweep.reason", ""),
        params=_searched(tags, info.run_id),
        metrics=metrics,
        constraints=constraint_outcomes(metrics, run.data.params, budgets),
        seconds=(info.end_time - info.start_time) / 1000 if ended else None,
        steps=steps,
        continued_from=tags.get("dualsweep.continued_from"),
        marked={name: tags[f"dualsweep.{name}"] for name in MARKS if f"dualsweep.{name}" in tags},
        artifacts=info.artifact_uri or "",
        model=tags.get("dualsweep.model", ""),
        replicates=int(tags.get("dualsweep.replicates", "1")),
        sound=_whole(tags.get("dualsweep.sound", "")),
        intervals=intervals,
        feasibility=metrics.get("feasibility"),
        unconstrained=run.data.params.get("constraints") == "[]",
        batch_size=_batch_size(run.data.params),
        workers=_whole(run.data.params.get("resources.workers", "").strip("[").split(",")[0]) or 1,  # of [LEAST, MOST] the least
    )


def _batch_size(params: Mapping[str, str]) -> int | None:
    """Samples of a primal step over all workers: trajectories where terms are on them, as in alignment."""
    section = "rollout" if params.get("formulation") == "alignment" else "train"
    return _whole(params.get(f"{section}.batch_size"))


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _finite_or_inf(value: float) -> float:
    return math.copysign(math.inf, value) if abs(value) >= _INFINITE else float(value)


def _searched(tags: Mapping[str, str], run_id: str) -> dict[str, object]:
    text = tags.get("dualsweep.params", "{}")
    try:
        params = json.loads(text)
    except json.JSONDecodeError:
        params = None
    if not isinstance(params, dict):
        raise ReviewError(
            f"The tag dualsweep.params of run {run_id} must be a JSON object, but got {text!r}. "
            "Correct the tag in MLflow, or delete the run."
        )
    return cast("dict[str, object]", params)


def _objectives(tags: Mapping[str, str], run_id: str) -> dict[str, Direction]:
    text = tags.get("dualsweep.objectives", "")
    try:
        objectives = json.loads(text)
    except json.JSONDecodeError:
        objectives = None
    if (
        not isinstance(objectives, dict)
        or not objectives
        or not all(direction in ("minimize", "maximize") for direction in objectives.values())
    ):
        raise ReviewError(
            f"The tag dualsweep.objectives of run {run_id} must be a JSON object of metric names "
            f"to 'minimize' or 'maximize', but got {text!r}. Correct the tag in MLflow, or run the sweep anew."
        )
    return cast("dict[str, Direction]", objectives)


def _maximizes(parent: Run, objectives: Mapping[str, Direction]) -> bool:
    if "objective" in objectives:
        return objectives["objective"] == "maximize"
    return parent.data.params.get("recipe.objective.maximize") == "true"


def _reference_point(tags: Mapping[str, str], run_id: str, dimensions: int) -> tuple[float, ...] | None:
    text = tags.get("dualsweep.reference_point")
    if text in (None, "null"):  # `null` takes back what an earlier start of the sweep said
        return None
    try:
        point = tuple(float(value) for value in json.loads(text or ""))
    except (json.JSONDecodeError, TypeError, ValueError):
        point = ()
    if len(point) != dimensions or not all(map(math.isfinite, point)):
        raise ReviewError(
            f"The tag dualsweep.reference_point of run {run_id} must be a JSON list of "
            f"{dimensions} finite numbers, one an objective, but got {text!r}. Correct or delete the tag."
        )
    return point
