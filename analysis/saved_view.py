"""A saved view of the sweep's experiment in MLflow's own charts, where a plain click opens a run.

MLflow keeps a view as an experiment tag holding the compressed state of its page; the format is internal to
MLflow's UI (as of 3.17) and a version that does not know it shows its ordinary page instead.
"""

from __future__ import annotations

import base64
import itertools
import json
import logging
import time
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from dualsweep.analysis.links import view_link
from dualsweep.analysis.trials import SweepRecord
from dualsweep.trainer import metric_names
from dualsweep.trainer.config.wording import first_line

if TYPE_CHECKING:
    from mlflow import MlflowClient

_TAG = "mlflow.sharedViewState."
#: Without this tag a fresh MLflow opens the experiment in its GenAI mode, which has no charts of runs.
_KIND_TAG, _KIND = "mlflow.experimentKind", "custom_model_development"
_KEY_LENGTH = 16
_SECTION = "dualsweep"
_NAME = "Pareto front"
_SCATTERS_SHOWN, _CONSTRAINTS_SHOWN, _CONTOURS_SHOWN = 3, 4, 2
_log = logging.getLogger(__name__)


def save_view(client: MlflowClient, record: SweepRecord) -> str | None:
    """Save the view of a sweep in its experiment, where it is not there yet, and return its link in the UI.

    None where this MLflow refuses such a tag: its users have everything but the view.
    """
    from mlflow.exceptions import MlflowException

    key = record.parent_run_id[:_KEY_LENGTH]
    tags = client.get_experiment(record.experiment_id).tags
    try:
        if _KIND_TAG not in tags:
            client.set_experiment_tag(record.experiment_id, _KIND_TAG, _KIND)
        state = _packed(_page_state(record, _searched_params(client, record)))
        known = json.loads(tags.get(_TAG + key, "{}"))
        if known.get("state") != state:
            view = _view(tags, key, state, known.get("createdAt"))
            client.set_experiment_tag(record.experiment_id, _TAG + key, json.dumps(view))
    except MlflowException as error:
        _log.warning("this MLflow keeps no saved views, so there is none of the front (%s)", first_line(error))
        return None
    return view_link(record.experiment_id, key)


def saved_view_link(client: MlflowClient, record: SweepRecord) -> str | None:
    """Return the link of a sweep's saved view in the UI, None where it has none."""
    key = record.parent_run_id[:_KEY_LENGTH]
    return view_link(record.experiment_id, key) if _TAG + key in client.get_experiment(record.experiment_id).tags else None


def _view(tags: Mapping[str, str], key: str, state: str, created: int | None) -> dict[str, object]:
    """The tag's content; of several sweeps in one experiment each view has a name of its own."""
    now = int(time.time() * 1000)
    others = any(name.startswith(_TAG) and name != _TAG + key for name in tags)
    name = f"{_NAME} {key[:6]}" if others else _NAME
    return {"name": name, "createdAt": created or now, "updatedAt": now, "state": state}


def _packed(state: dict[str, object]) -> str:
    text = json.dumps(state, separators=(",", ":"), sort_keys=True)
    return "deflate;" + base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _searched_params(client: MlflowClient, record: SweepRecord) -> list[str]:
    """Return the searched parameters that MLflow can put on an axis: those a trial logged by that name."""
    if not record.trials:
        return []
    logged = client.get_run(record.trials[0].run_id).data.params
    return [name for name in record.searched if name in logged]


def _page_state(record: SweepRecord, params: list[str]) -> dict[str, object]:
    first, direction = next(iter(record.objectives.items()))
    # One diverged trial would stretch the axes until the rest is a dot.
    shown = f"tags.`mlflow.parentRunId` = '{record.parent_run_id}' AND tags.`dualsweep.status` != 'diverged'"
    return {
        "searchFilter": shown,
        "orderByKey": f"metrics.`{first}`",
        "orderByAsc": direction == "minimize",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [
            *(f"tags.`dualsweep.{name}`" for name in ("status", "front", "feasible", "missed", "rank", "knee")),
            *(f"metrics.`{name}`" for name in _shown_metrics(record)),
            *(f"params.`{name}`" for name in params),
        ],
        "columnOrder": [],
        "columnWidths": {},
        "runsHiddenMode": "SHOWALL",
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "globalLineChartConfig": {},
        "compareRunSections": [_section()],
        "compareRunCharts": _charts(record, params),
    }


def _section() -> dict[str, object]:
    return {
        "uuid": _SECTION,
        "name": "Pareto front",
        "display": True,
        "isReordered": True,
        "deleted": False,
        "isGenerated": False,
        "columns": 2,
        "cardHeight": 480,
    }


def _shown_metrics(record: SweepRecord) -> list[str]:
    """The objectives, then the values and multipliers of as many constraints as a screen holds."""
    names = record.constraint_names[:_CONSTRAINTS_SHOWN]
    return list(dict.fromkeys([*record.objectives, *(f"{what}/{name}" for what in ("value", "multiplier") for name in names)]))


def _charts(record: SweepRecord, params: list[str]) -> list[dict[str, object]]:
    """The objectives against each other and against each constraint, coloured by its multiplier; everything at once."""
    objectives, names = list(record.objectives), record.constraint_names[:_CONSTRAINTS_SHOWN]
    pairs = list(itertools.combinations(objectives, 2))[:_SCATTERS_SHOWN]
    pairs += [(metric_names.value(name), objectives[0]) for name in names if metric_names.value(name) not in objectives]
    charts: list[dict[str, object]] = [{"type": "SCATTER", "xaxis": _metric(x), "yaxis": _metric(y)} for x, y in pairs]
    # The multiplier is the slope of the front in the budget: shown as colour over the trade-off.
    charts += [
        {
            "type": "CONTOUR",
            "xaxis": _metric(metric_names.value(name)),
            "yaxis": _metric(objectives[0]),
            "zaxis": _metric(metric_names.multiplier(name)),
        }
        for name in names[:_CONTOURS_SHOWN]
    ]
    metrics = [*_shown_metrics(record), metric_names.RANK]
    charts.append({"type": "PARALLEL", "selectedParams": params, "selectedMetrics": metrics, "showAllRuns": True})
    common = {"runsCountToCompare": 100, "metricSectionId": _SECTION, "deleted": False, "isGenerated": False}
    return [{"uuid": f"{_SECTION}-{place}", **common, **chart} for place, chart in enumerate(charts)]


def _metric(name: str) -> dict[str, str]:
    return {"key": name, "type": "METRIC"}
